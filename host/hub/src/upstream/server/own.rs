//! The connections that belong to one client each: opening one, and opening it again.

use std::sync::{Arc, atomic::Ordering};

use aih_mcp::{Era, ErrorCode, ErrorObject, method};

use super::{
    backoff,
    clients::{Entry, Lease},
    core::{Core, Slot},
    lifecycle::DialError,
    supervisor::jitter,
};
use crate::{
    provider::{Client, ClientKey},
    upstream::{
        link::connection::Connection,
        transport::{TransportError, connector::TransportKind},
    },
};

impl Core {
    /// The client's own connection, opened if need be.
    pub(crate) async fn own(&self, client: &Arc<Client>) -> Result<Lease, ErrorObject> {
        let pinned = |key: &ClientKey| !self.subscriptions.own(key).is_empty();
        let Some((hold, evicted)) = self.pool.hold(&client.key, pinned) else {
            return Err(ErrorObject::new(
                ErrorCode::UPSTREAM_UNAVAILABLE,
                format!(
                    "server `{}`: all {} connections for clients are in use; try again",
                    self.name,
                    self.pool.limit()
                ),
            ));
        };
        if let Some(evicted) = evicted {
            self.tasks.spawn(async move { evicted.close().await });
        }
        if let Some(connection) = hold.entry().live() {
            return Ok(Lease::own(connection, hold));
        }
        let Some(this) = self.this.upgrade() else {
            return Err(self.why_down());
        };
        let (entry, owner) = (hold.entry().clone(), client.clone());
        // A task of its own: a client that gives up leaves no half-open connection.
        let opened = self.tasks.spawn(async move {
            let opened = this.open_own(&entry, &owner).await;
            if opened.is_err() {
                this.take_place();
            }
            opened
        });
        match opened.await {
            Ok(Ok(connection)) => {
                self.recovered();
                Ok(Lease::own(connection, hold))
            }
            Ok(Err(error)) => {
                self.note(error.message.clone());
                Err(error)
            }
            Err(_) => Err(self.why_down()),
        }
    }

    async fn open_own(&self, entry: &Entry, client: &Arc<Client>) -> Result<Arc<Connection>, ErrorObject> {
        let _one = entry.opening.lock().await;
        if let Some(connection) = entry.live() {
            return Ok(connection);
        }
        let closing = || {
            ErrorObject::new(
                ErrorCode::UPSTREAM_UNAVAILABLE,
                format!("server `{}`: the client's session ended", self.name),
            )
        };
        if entry.is_released() {
            return Err(closing());
        }
        self.give_place().await;
        let connection = tokio::select! {
            dialed = self.dial_any(client) => dialed.map_err(|error| error.to_object(&self.name))?,
            () = self.stop.cancelled() => return Err(closing()),
        };
        // It is there again: who waits to connect the shared ones need not wait longer.
        self.start_again();
        self.replay_own(&connection, client).await;
        self.first_own_lists(entry, client, &connection).await;
        if entry.put(&connection) && !self.stop.is_cancelled() {
            Ok(connection)
        } else {
            connection.close().await;
            Err(closing())
        }
    }

    /// Tries the instances in turn until one can be reached.
    async fn dial_any(&self, client: &Arc<Client>) -> Result<Arc<Connection>, DialError> {
        let count = self.slots.len();
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let mut tried = 1;
        loop {
            let instance = (start + tried) % count.max(1);
            let dialed = self.dialer.dial(instance, Some(client), None).await;
            if let Err(DialError::Transport(error @ TransportError::Connect(_))) = &dialed {
                self.give_up_address(instance, error);
                if tried < count {
                    tried += 1;
                    continue;
                }
            }
            return dialed;
        }
    }

    /// The address of an instance cannot be connected to. Its shared connection, when it is one of requests that
    /// each go there anew, is of no use either, and nothing else would tell.
    fn give_up_address(&self, instance: usize, error: &TransportError) {
        let shared = self.slots.get(instance).and_then(Slot::live);
        if let Some(connection) = shared.filter(|connection| connection.transport_kind == TransportKind::Http)
        {
            connection.fail(error);
        }
    }

    /// Tells a new connection of a client what the client told the old one.
    async fn replay_own(&self, connection: &Arc<Connection>, client: &Arc<Client>) {
        if connection.era() == Era::Modern {
            return;
        }
        if let Some(level) = client.log_level().filter(|_| connection.declares("logging")) {
            self.send_level(connection, level).await;
        }
        for uri in self.subscriptions.own(&client.key) {
            self.send_subscription(connection, method::RESOURCES_SUBSCRIBE, &uri)
                .await;
        }
    }

    /// A client that has subscriptions must not need to ask before it gets updates again.
    pub(super) async fn reopen(&self, client: &Arc<Client>) {
        let mut failures = 0;
        while !self.stop.is_cancelled() && !self.subscriptions.own(&client.key).is_empty() {
            match self.own(client).await {
                Ok(_) => {
                    self.restarts.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Err(error) => {
                    tracing::debug!(server = %self.name, client = %client.key, %error, "not reopened");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(jitter(backoff::delay(failures))) => {}
                () = self.stop.cancelled() => return,
            }
            failures += 1;
        }
    }
}
