//! What a server says by itself, brought to the client that it concerns.
//!
//! A message is never guessed onto somebody: where it cannot be told whose it is, a request gets an error
//! and a notification goes to the log.

use std::sync::Arc;

use super::connection::{Connection, Flight, ListSet, lock};
use crate::{
    catalogue::provider::{Client, LogLevel, Peer},
    mcp::{
        Era, ErrorCode, ErrorObject, Id, Message, RawJson, RawObject,
        method::{self, meta},
    },
};

/// How many questions of one server may wait for clients at once.
const MAX_ASKS: usize = 64;

impl Connection {
    /// Takes one message. Never blocks.
    pub(crate) fn incoming(self: &Arc<Self>, during: Option<u64>, message: Message) {
        match message {
            Message::Request { id, method, params } => self.asked(during, id, &method, params),
            Message::Notification { method, params } => self.told(during, &method, params),
            Message::Response { .. } => {
                tracing::debug!(server = %self.server, "an answer to nothing");
            }
        }
    }

    /// The client whose request is the only one that can be meant.
    fn attributed(&self, during: Option<u64>) -> Option<Arc<Flight>> {
        if let Some(flight) = during.and_then(|id| self.flight(id)).filter(|f| f.call.is_some()) {
            return Some(flight);
        }
        let mut flights = self.client_flights();
        let last = flights.pop()?;
        // All requests on a connection of its own are the same client's.
        (flights.is_empty() || self.owner.is_some()).then_some(last)
    }

    /// Who answers a question.
    fn whom(&self, during: Option<u64>) -> Option<(Arc<dyn Peer>, Arc<Client>)> {
        let exact = during.and_then(|id| self.flight(id)).and_then(|f| f.call.clone());
        if exact.is_some() {
            return exact;
        }
        let session = self
            .owner
            .as_ref()
            .filter(|o| o.era() == Era::Legacy)
            .map(|o| (o.peer.clone(), o.clone()));
        // A running request first: its response stream is open for sure, a session's own stream may not be.
        self.attributed(None).and_then(|f| f.call.clone()).or(session)
    }

    fn asked(self: &Arc<Self>, during: Option<u64>, id: Id, method: &str, params: Option<RawJson>) {
        if method == method::PING {
            self.answer(id, Ok(RawJson::EMPTY_OBJECT));
            return;
        }
        let whom = self.whom(during);
        let no_roots = method == method::ROOTS_LIST
            && self.owner.is_none()
            && whom.as_ref().is_none_or(|(_, client)| !client.can("roots"));
        if no_roots {
            self.answer(id, Ok(RawJson::of(&serde_json::json!({ "roots": [] }))));
            return;
        }
        let Some((peer, _)) = whom else {
            let error = ErrorObject::new(ErrorCode::METHOD_NOT_FOUND, format!("{method}: no client to ask"));
            self.answer(id, Err(error));
            return;
        };
        let mut asks = lock(&self.asks);
        if asks.len() >= MAX_ASKS || asks.contains_key(&id) {
            drop(asks);
            let error = ErrorObject::internal(format!("{method}: {MAX_ASKS} questions wait already"));
            self.answer(id, Err(error));
            return;
        }
        let connection = self.clone();
        let method: Box<str> = method.into();
        let key = id.clone();
        // The table is locked until the entry is in, so the task cannot take it out before.
        let task = tokio::spawn(async move {
            let outcome = peer.ask(&connection.server, &method, params).await;
            lock(&connection.asks).remove(&id);
            connection.respond(id, outcome).await;
        });
        asks.insert(key, task.abort_handle());
    }

    fn answer(self: &Arc<Self>, id: Id, outcome: Result<RawJson, ErrorObject>) {
        let connection = self.clone();
        tokio::spawn(async move { connection.respond(id, outcome).await });
    }

    async fn respond(&self, id: Id, outcome: Result<RawJson, ErrorObject>) {
        if let Err(error) = self.send(Message::response(id, outcome)).await {
            tracing::debug!(server = %self.server, %error, "an answer did not reach the server");
        }
    }

    fn told(self: &Arc<Self>, during: Option<u64>, method: &str, params: Option<RawJson>) {
        let events = || self.events.upgrade();
        match method {
            method::PROGRESS => self.progress(params),
            method::TOOLS_CHANGED | method::PROMPTS_CHANGED | method::RESOURCES_CHANGED => {
                let which = match method {
                    method::TOOLS_CHANGED => ListSet::TOOLS,
                    method::PROMPTS_CHANGED => ListSet::PROMPTS,
                    _ => ListSet::RESOURCES,
                };
                if let Some(events) = events() {
                    events.lists_changed(which);
                }
            }
            method::RESOURCE_UPDATED => {
                let Some(params) = without_subscription(params) else {
                    return;
                };
                let uri = RawObject::parse(&params)
                    .ok()
                    .and_then(|p| p.str("uri").map(|u| u.into_owned()));
                if let (Some(uri), Some(events)) = (uri, events()) {
                    events.resource_updated(self.owner.as_ref(), &uri, &params);
                }
            }
            method::CANCELLED => {
                let id = params
                    .as_ref()
                    .and_then(|p| RawObject::parse(p).ok()?.raw("requestId"))
                    .and_then(Id::from_json);
                if let Some(ask) = id.and_then(|id| lock(&self.asks).remove(&id)) {
                    ask.abort();
                }
            }
            method::ACKNOWLEDGED => {
                let id = during.or_else(|| subscription_id(params.as_ref()?));
                if let Some(flight) = id.and_then(|id| self.flight(id)) {
                    flight.acknowledge();
                }
            }
            _ => self.pass_on(during, method, without_subscription(params)),
        }
    }

    /// Brings progress to the request that asked for it, under the client's own token.
    fn progress(&self, params: Option<RawJson>) {
        let Some(params) = params else { return };
        let Ok(mut fields) = RawObject::parse(&params) else {
            return;
        };
        let flight = fields
            .read::<u64>(meta::PROGRESS_TOKEN)
            .and_then(|id| self.flight(id));
        let Some(flight) = flight else {
            tracing::debug!(server = %self.server, "progress of nothing that runs");
            return;
        };
        flight.touch();
        if let (Some(token), Some((peer, _))) = (&flight.token, &flight.call) {
            fields.set(meta::PROGRESS_TOKEN, token);
            peer.notify(&self.server, method::PROGRESS, Some(fields.to_json()));
        }
    }

    /// A log message, or what the hub does not know.
    fn pass_on(&self, during: Option<u64>, method: &str, params: Option<RawJson>) {
        let stream = during.and_then(|id| self.flight(id));
        // On a stream of the hub's own no client's request can be meant.
        let hubs_own = stream.as_ref().is_some_and(|f| f.call.is_none());
        let exact = stream.filter(|f| f.call.is_some());
        let flight = match (&exact, &self.owner) {
            (None, Some(owner)) if owner.era() == Era::Legacy => {
                owner.peer.notify(&self.server, method, params);
                return;
            }
            (Some(_), _) => exact,
            (None, _) if hubs_own => None,
            (None, _) => self.attributed(None),
        };
        let Some((flight, (peer, client))) = flight.as_ref().and_then(|f| Some((f, f.call.as_ref()?))) else {
            tracing::debug!(server = %self.server, method, ?params, "a notification for nobody");
            return;
        };
        if method == method::LOG_MESSAGE && !self.wanted(flight, client, params.as_ref()) {
            return;
        }
        peer.notify(&self.server, method, params);
    }

    /// Whether the client wants a log message of that level. A server that many share logs at the lowest
    /// level that any of them set; a modern client gets what its request asked for.
    fn wanted(&self, flight: &Flight, client: &Client, params: Option<&RawJson>) -> bool {
        if self.era() == Era::Modern {
            return true;
        }
        let level = params
            .and_then(|p| RawObject::parse(p).ok())
            .and_then(|p| p.str("level").and_then(|l| LogLevel::parse(&l)));
        match client.era() {
            Era::Modern => flight.level.is_some_and(|least| level.is_none_or(|l| l >= least)),
            Era::Legacy => client
                .log_level()
                .is_none_or(|least| level.is_none_or(|l| l >= least)),
        }
    }
}

fn subscription_id(params: &RawJson) -> Option<u64> {
    let meta = RawObject::parse(params).ok()?.raw("_meta")?;
    let object = RawObject::parse(&meta).ok()?;
    object
        .read::<u64>(meta::SUBSCRIPTION_ID)
        .or_else(|| object.str(meta::SUBSCRIPTION_ID)?.parse().ok())
}

/// Takes away the id of the hub's own subscription, which says nothing to a client.
fn without_subscription(params: Option<RawJson>) -> Option<RawJson> {
    let params = params?;
    let stripped = (|| {
        let mut fields = RawObject::parse(&params).ok()?;
        let old = fields.raw("_meta")?;
        let mut meta = RawObject::parse(&old).ok()?;
        meta.get(meta::SUBSCRIPTION_ID)?;
        meta.remove(meta::SUBSCRIPTION_ID);
        if meta.is_empty() {
            fields.remove("_meta");
        } else {
            fields.set("_meta", &meta.to_json());
        }
        Some(fields.to_json())
    })();
    Some(stripped.unwrap_or(params))
}
