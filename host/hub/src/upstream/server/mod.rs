//! One upstream server as a [`Provider`].
//!
//! [`core`] is the state that callers and tasks share; [`sharing`] and [`own`] choose the connection of a request. [`supervisor`] has the tasks that keep connections and lists up
//! to date. [`lifecycle`] finds out how a server talks, [`greeting`] starts a process and greets it, [`start_turns`]
//! says how many start at one time, [`lists`] reads its lists, and [`backoff`] says when to connect again. [`clients`]
//! is the table of connections that belong to one client each, and [`own_lists`] reads the lists of such a connection.
//! [`subscriptions`] is the table of subscribed resources, and [`listen`] the long request of the modern era that brings
//! their updates.

mod backoff;
mod clients;
mod core;
mod greeting;
mod lifecycle;
mod listen;
mod lists;
mod own;
mod own_lists;
mod sharing;
mod start_turns;
mod subscriptions;
mod supervisor;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use aih_mcp::{Era, ErrorCode, ErrorObject, Message, RawJson, RawObject, headers::ParamHeader, method};
use aih_redact::OutsideText;
use async_trait::async_trait;
use futures::future::join_all;
use tokio::{sync::SemaphorePermit, time::Instant};

use self::{
    clients::Lease,
    core::{Core, HOUSEKEEPING, Retry},
};
use super::{
    known_lists::KnownLists,
    link::{
        connection::{CallError, Connection, lock},
        crashes::Parked,
    },
    spec::{ServerAddress, UpstreamSpec},
    transport::connector::{Connector, TransportKind},
};
use crate::{
    config::Transport as Choice,
    provider::{
        Answer, Call, ChangeSignal, Client, ClientKey, LogLevel, Offers, ParkedItem, Provider, ProviderKind,
        ProviderState, ProviderStatus,
    },
};

/// How long a modern server may take to confirm a subscription before it counts as taken.
const CONFIRM: Duration = Duration::from_secs(5);

/// How often a request that the server may have got is sent again, at most.
const MAX_REPEATS: usize = 8;
/// How often a request is sent again of which the server has seen nothing.
const MAX_NOT_SENT: usize = 8;

/// Why the server did not take a subscription.
struct SubscriptionError {
    error: ErrorObject,
    /// The connection was to blame and is given up: another one may do.
    again: bool,
}

impl From<ErrorObject> for SubscriptionError {
    fn from(error: ErrorObject) -> Self {
        Self { error, again: false }
    }
}

/// One upstream server: all its connections, lists and subscriptions.
pub struct UpstreamServer {
    core: Arc<Core>,
}

impl UpstreamServer {
    /// Starts to connect in the background; a disabled server only has a status. Needs a tokio runtime.
    pub fn start(spec: UpstreamSpec, connector: Arc<dyn Connector>, changes: ChangeSignal) -> Arc<Self> {
        Self::start_knowing(spec, connector, changes, None)
    }

    /// The same with the lists that the server had when the hub ran last, and the folder where its lists are kept.
    pub fn start_knowing(
        spec: UpstreamSpec,
        connector: Arc<dyn Connector>,
        changes: ChangeSignal,
        known: Option<(Arc<KnownLists>, Option<Offers>)>,
    ) -> Arc<Self> {
        let core = Core::new(spec, connector, changes, known);
        core.start();
        Arc::new(Self { core })
    }

    /// The server's own names in a tool call, and the tool's routing headers.
    fn inward(
        &self,
        method: &str,
        params: Option<RawJson>,
    ) -> Result<(Option<RawJson>, Arc<[ParamHeader]>), ErrorObject> {
        let rules = &self.core.spec.tools;
        let listing = self.core.listing.load();
        let ruled = lists::has_rules(rules);
        if method != method::TOOLS_CALL || (!ruled && listing.bindings.is_empty()) {
            return Ok((params, Arc::default()));
        }
        let (renamed, bindings) = {
            let fields = params.as_ref().and_then(|p| RawObject::parse(p).ok());
            let Some((mut fields, public)) = fields.and_then(|f| {
                let name = f.str("name")?.into_owned();
                Some((f, name))
            }) else {
                return Ok((params, Arc::default()));
            };
            let own = lists::own_name(rules, &public)
                .ok_or_else(|| ErrorObject::invalid_params(format!("unknown tool: {public}")))?;
            let bindings = listing.bindings.get(own).cloned().unwrap_or_default();
            if own == public {
                return Ok((params, bindings));
            }
            fields.set("name", &RawJson::of(own));
            (fields.to_json(), bindings)
        };
        Ok((Some(renamed), bindings))
    }

    /// What is refused for a while, under the names that clients know.
    fn parked(&self) -> Vec<ParkedItem> {
        let shown = |parked: Parked| ParkedItem {
            name: self.core.spec.tools.public_name(&parked.item).to_owned(),
            seconds: parked.left.as_secs() + 1,
            everyone: parked.everyone,
        };
        let parked = self.core.common.crashes.parked(Instant::now());
        parked.into_iter().map(shown).collect()
    }

    /// The turn of a request, where the entry bounds how many run at one time.
    async fn turn(&self, call: &Call) -> Result<Option<SemaphorePermit<'_>>, ErrorObject> {
        let Some(turns) = &self.core.turns else {
            return Ok(None);
        };
        let limit = self.core.spec.call_timeout;
        tokio::select! {
            biased;
            turn = tokio::time::timeout(limit, turns.acquire()) => match turn {
                // Nobody closes the semaphore.
                Ok(turn) => Ok(turn.ok()),
                Err(_) => Err(ErrorObject::new(
                    ErrorCode::TIMED_OUT,
                    format!(
                        "server `{}`: other requests run, and this one had no turn within {} s; try again, or raise \
                         `concurrency` of the server in the configuration",
                        self.core.name,
                        limit.as_secs_f64()
                    ),
                )),
            },
            () = call.cancel.cancelled() => Err(CallError::Cancelled.into_object(&self.core.name)),
        }
    }

    /// A connection, unless the client gives up first.
    async fn lease(&self, call: &Call) -> Result<Lease, ErrorObject> {
        tokio::select! {
            biased;
            lease = self.core.lease(&call.client) => lease,
            () = call.cancel.cancelled() => Err(CallError::Cancelled.into_object(&self.core.name)),
        }
    }

    /// Tells all shared connections of a legacy server; the first error counts. A connection that turns out
    /// to be of no use is given up.
    async fn send_to_shared(&self, method: &str, uri: &str) -> Result<(), SubscriptionError> {
        let fields = [("uri", RawJson::of(uri))];
        let live: Vec<_> = self.core.live().filter(|c| c.era() == Era::Legacy).collect();
        let results = live.iter().map(|c| self.send_to(c, method, &fields));
        join_all(results).await.into_iter().collect()
    }

    async fn send_to(
        &self,
        connection: &Arc<Connection>,
        method: &str,
        fields: &[(&'static str, RawJson)],
    ) -> Result<(), SubscriptionError> {
        match connection.request(method, fields, HOUSEKEEPING).await {
            Ok(_) => Ok(()),
            Err(error) => Err(SubscriptionError {
                again: self.core.give_up_if_broken(connection, &error),
                error: error.into_object(&self.core.name),
            }),
        }
    }

    async fn try_subscribe(&self, uri: &str, client: &Arc<Client>) -> Result<(), SubscriptionError> {
        let core = &self.core;
        let lease = core.lease(client).await?;
        if lease.owner.is_some() && lease.era() == Era::Legacy {
            let fields = [("uri", RawJson::of(uri))];
            self.send_to(&lease, method::RESOURCES_SUBSCRIBE, &fields).await?;
            core.subscriptions.add(uri, client, true);
            return Ok(());
        }
        let _one = core.changing.lock().await;
        let known = core.subscriptions.is_shared(uri);
        if lease.era() == Era::Modern {
            if !lease.declares_member("resources", "subscribe") {
                return Err(ErrorObject::method_not_found(method::RESOURCES_SUBSCRIBE).into());
            }
            core.subscriptions.add(uri, client, false);
            if !known {
                core.version.send_modify(|v| *v += 1);
            }
            self.confirmed().await;
            return Ok(());
        }
        if !known {
            self.send_to_shared(method::RESOURCES_SUBSCRIBE, uri).await?;
        }
        for connection in core.live() {
            connection.users.note(client);
        }
        core.subscriptions.add(uri, client, false);
        Ok(())
    }

    /// Waits until the modern shared connections listen for what is wanted now.
    async fn confirmed(&self) {
        let version = *self.core.version.borrow();
        let waits = self
            .core
            .slots
            .iter()
            .filter(|s| s.live().is_some_and(|c| c.era() == Era::Modern))
            .map(|slot| async move {
                let mut confirmed = slot.confirmed.subscribe();
                // The sender lives as long as the slot, so this ends only when the version is there.
                let _ = confirmed.wait_for(|v| *v >= version).await;
            });
        // A server that confirms nothing does not keep the client waiting.
        let _ = tokio::time::timeout(CONFIRM, join_all(waits)).await;
    }

    /// Ends shared subscriptions that nobody wants any more.
    async fn drop_shared(&self, uris: &[String]) -> Result<(), SubscriptionError> {
        let _one = self.core.changing.lock().await;
        let mut outcome = Ok(());
        for uri in uris {
            if self.core.subscriptions.is_shared(uri) {
                continue;
            }
            outcome = outcome.and(self.send_to_shared(method::RESOURCES_UNSUBSCRIBE, uri).await);
        }
        self.core.version.send_modify(|v| *v += 1);
        outcome
    }

    /// Sends the lowest log level to the shared connections if it is not what it was.
    async fn send_lowest_level(&self, before: Option<LogLevel>) {
        let now = self.core.lowest_level();
        let Some(level) = now.filter(|_| now != before) else {
            return;
        };
        let live: Vec<_> = self
            .core
            .live()
            .filter(|c| c.era() == Era::Legacy && c.declares("logging"))
            .collect();
        join_all(live.iter().map(|c| self.core.send_level(c, level))).await;
    }
}

#[async_trait]
impl Provider for UpstreamServer {
    fn name(&self) -> &str {
        &self.core.name
    }

    fn status(&self) -> ProviderStatus {
        let core = &self.core;
        let profile = core.profile.load_full();
        let shared = core.live().count();
        let reason = core.spec.state.reason();
        let state = if reason.is_some() {
            ProviderState::Disabled
        } else if shared > 0 || core.is_dormant() {
            match core.unread().is_empty() {
                true => ProviderState::Up,
                false => ProviderState::Degraded,
            }
        } else if core.slots.iter().all(|s| lock(&s.attempts).ended == 0) {
            ProviderState::Starting
        } else {
            ProviderState::Down
        };
        let transport = match (&profile, &core.spec.kind) {
            (Some(profile), _) => profile.transport_kind,
            (None, ServerAddress::Stdio { .. }) => TransportKind::Stdio,
            (
                None,
                ServerAddress::Http {
                    transport: Choice::Sse,
                    ..
                },
            ) => TransportKind::Sse,
            (None, ServerAddress::Http { .. }) => TransportKind::Http,
        };
        ProviderStatus {
            name: core.name.to_string(),
            kind: ProviderKind::Mcp,
            state,
            last_error: reason
                .map(|reason| OutsideText::from(reason.to_string()))
                .or_else(|| core.last_error.load().as_deref().cloned())
                .filter(|_| state != ProviderState::Up),
            transport: transport.as_str().to_owned(),
            protocol: profile.map(|p| p.version.to_string()),
            connections: shared + core.pool.open(),
            restarts: core.restarts.load(Ordering::Relaxed),
            parked: self.parked(),
            flaws: core.listing.load().offers.flaws.clone(),
        }
    }

    fn settled(&self) -> bool {
        self.core.recalled || !self.is_starting()
    }

    fn is_starting(&self) -> bool {
        match self.status().state {
            ProviderState::Starting => true,
            ProviderState::Up | ProviderState::Degraded => !self.core.listed.load(Ordering::Acquire),
            ProviderState::Down | ProviderState::Disabled => false,
        }
    }

    fn offers(&self) -> Arc<Offers> {
        self.core.listing.load().offers.clone()
    }

    fn offers_for(&self, client: &Client) -> Option<Arc<Offers>> {
        self.core.offers_for(client)
    }

    fn own_tool_name<'n>(&'n self, listed: &'n str) -> Option<&'n str> {
        lists::own_name(&self.core.spec.tools, listed)
    }

    async fn request(
        &self,
        method: &str,
        params: Option<RawJson>,
        call: &Call,
    ) -> Result<Answer, ErrorObject> {
        let core = &self.core;
        let (params, bindings) = self.inward(method, params)?;
        let _turn = self.turn(call).await?;
        let mut repeats = core.slots.len().min(MAX_REPEATS);
        let mut not_sent = MAX_NOT_SENT;
        loop {
            let lease = self.lease(call).await?;
            if lease.is_gone() && not_sent > 0 {
                // It went between the choice and now.
                not_sent -= 1;
                continue;
            }
            let outcome = lease
                .call(method, params.clone(), &bindings, call, core.spec.call_timeout)
                .await;
            let error = match outcome {
                Ok(result) => {
                    return Ok(Answer {
                        result,
                        era: lease.era(),
                    });
                }
                Err(error) => error,
            };
            let left = match core.judge(&lease, method, &error) {
                Retry::No => None,
                Retry::NotSent => Some(&mut not_sent),
                Retry::Once => Some(&mut repeats),
            };
            let Some(left) = left.filter(|left| **left > 0) else {
                return Err(error.into_object(&core.name));
            };
            tracing::debug!(server = %core.name, method, %error, "once more");
            *left -= 1;
        }
    }

    async fn notify(&self, method: &str, params: Option<RawJson>, client: &Arc<Client>) {
        // Over a shared connection the server could not tell which client speaks, and may take it for another one.
        let own = self.core.has_own(client);
        let Some(connection) = own.then(|| self.core.pool.peek(&client.key)).flatten() else {
            return;
        };
        let params = super::link::outgoing::prepare(params, 0, connection.era(), client, None).params;
        if let Err(error) = connection.send(Message::notification(method, params)).await {
            tracing::debug!(server = %self.core.name, method, %error, "a notification did not reach the server");
        }
    }

    async fn subscribe(&self, uri: &str, client: &Arc<Client>) -> Result<(), ErrorObject> {
        self.core.subscriptions.room(uri, client)?;
        match self.try_subscribe(uri, client).await {
            Err(failed) if failed.again => self.try_subscribe(uri, client).await.map_err(|f| f.error),
            outcome => outcome.map_err(|f| f.error),
        }
    }

    async fn unsubscribe(&self, uri: &str, client: &Arc<Client>) -> Result<(), ErrorObject> {
        let core = &self.core;
        let own = core.subscriptions.own(&client.key).iter().any(|u| u == uri);
        let last = core.subscriptions.remove(uri, &client.key);
        let outcome = match core.pool.peek(&client.key) {
            Some(connection) if own => {
                let fields = [("uri", RawJson::of(uri))];
                self.send_to(&connection, method::RESOURCES_UNSUBSCRIBE, &fields)
                    .await
            }
            _ if last == Some(true) => self.drop_shared(&[uri.to_owned()]).await,
            _ => Ok(()),
        };
        match outcome {
            // The subscription ended with the connection.
            Err(failed) if failed.again => Ok(()),
            outcome => outcome.map_err(|f| f.error),
        }
    }

    async fn set_log_level(&self, client: &Arc<Client>) {
        let core = &self.core;
        let Some(level) = client.log_level() else {
            return;
        };
        let before = core.lowest_level();
        if core.has_own(client) {
            if let Some(connection) = core.pool.peek(&client.key).filter(|c| c.declares("logging")) {
                core.send_level(&connection, level).await;
            }
            return;
        }
        lock(&core.levels).insert(client.key.clone(), level);
        self.send_lowest_level(before).await;
    }

    fn release(&self, client: &ClientKey) {
        let core = &self.core;
        let own = core.pool.release(client);
        let before = core.lowest_level();
        lock(&core.levels).remove(client);
        let orphaned = core.subscriptions.remove_client(client);
        let this = Self { core: core.clone() };
        core.tasks.spawn(async move {
            if let Some(own) = own {
                own.close().await;
                this.core.take_place();
            }
            if !orphaned.is_empty() {
                // Best effort: a server that cannot be reached sends no updates anyway.
                let _ = this.drop_shared(&orphaned).await;
            }
            this.send_lowest_level(before).await;
        });
    }

    fn abandoned(&self, client: &ClientKey) {
        if let Some(connection) = self.core.pool.give_back(client) {
            tracing::debug!(server = %self.core.name, %client, "an abandoned client's connection is given back");
            let core = self.core.clone();
            self.core.tasks.spawn(async move {
                connection.close().await;
                core.take_place();
            });
        }
    }

    fn start_again(&self) {
        self.core.start_again();
        if !self.core.unread().is_empty() {
            self.core.refresh_all();
        }
    }

    async fn shutdown(&self, grace: Duration) {
        let core = &self.core;
        core.stop.cancel();
        let own: Vec<_> = core.pool.drain();
        core.tasks.close();
        let all = async {
            // The supervisors close the shared ones at the same time.
            join_all(own.iter().map(|c| c.close())).await;
            core.tasks.wait().await;
        };
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::warn!(server = %core.name, "did not end within {} s", grace.as_secs_f64());
        }
    }
}
