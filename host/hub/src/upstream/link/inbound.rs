//! Messages that a server sends by itself, and the clients that get them.
//!
//! The hub does not guess. A message that names a request, a task or an elicitation goes to the client of that. A
//! message that names none goes to the owner of the connection, or to the clients of a key if no other key has used
//! the connection. Otherwise a question gets an error, and a notification goes to the hub's log.

use std::sync::Arc;

use aih_mcp::{
    Era, ErrorCode, ErrorObject, Id, Message, RawJson, RawObject,
    method::{self, meta},
};

use super::{
    connection::{Connection, InFlightRequest, ListSet, WaitingQuestion, lock},
    in_flight::Paused,
    owned_ids::IdKind,
};
use crate::provider::{Client, Peer};

/// Who answers a question.
struct Addressee {
    peer: Arc<dyn Peer>,
    client: Arc<Client>,
    /// The request that the question names.
    during: Option<u64>,
    /// The requests that it can belong to: their time-outs wait for the answer.
    flights: Vec<Arc<InFlightRequest>>,
}

impl Connection {
    /// Takes one message. Never blocks.
    pub(crate) fn incoming(self: &Arc<Self>, during: Option<u64>, message: Message) {
        match message {
            Message::Request { id, method, params } => self.asked(during, id, &method, params),
            Message::Notification { method, params } => self.notified(during, &method, params),
            Message::Response { .. } => {
                tracing::debug!(server = %self.server, "an answer that belongs to no question");
            }
        }
    }

    /// Who answers a question.
    fn addressee(&self, during: Option<u64>, params: Option<&RawJson>) -> Result<Addressee, &'static str> {
        if let Some(id) = during {
            let in_flight = self
                .in_flight(id)
                .ok_or("the request that it belongs to has ended")?;
            let (peer, client) = in_flight
                .call
                .clone()
                .ok_or("the request that it belongs to is the hub's own")?;
            return Ok(Addressee {
                peer,
                client,
                during: Some(id),
                flights: vec![in_flight],
            });
        }
        if let Some(task) = params.and_then(related_task) {
            let (peer, client) = self
                .common
                .owned_ids
                .owner(IdKind::Task, &task)
                .ok_or("no client has the task that it belongs to")?;
            return Ok(Addressee {
                peer,
                client,
                during: None,
                flights: Vec::new(),
            });
        }
        self.only_client()
    }

    /// Who answers a question that names no request.
    fn only_client(&self) -> Result<Addressee, &'static str> {
        let running = self.client_flights();
        let client = if let Some(owner) = &self.owner {
            owner.clone()
        } else {
            let several = "it names no request, and several keys use this connection";
            let clients = self.users.of_one_key().ok_or(several)?;
            let mut asked = running
                .iter()
                .filter_map(|f| f.call.as_ref().map(|(_, client)| client));
            match (asked.next(), &*clients) {
                (Some(first), _) => {
                    if asked.any(|other| other.key != first.key) {
                        return Err("it names no request, and requests of several clients run");
                    }
                    first.clone()
                }
                (None, [only]) => only.clone(),
                (None, _) => return Err("it names no request, and none runs"),
            }
        };
        // A running request first: its response stream is open for sure, a session's own stream may not be.
        let newest = running.last().and_then(|f| f.call.as_ref());
        let peer = match newest {
            Some((peer, _)) => peer.clone(),
            None if client.era() == Era::Legacy => client.peer.clone(),
            None => return Err("it names no request, and none runs"),
        };
        Ok(Addressee {
            peer,
            client,
            during: None,
            flights: running,
        })
    }

    fn asked(self: &Arc<Self>, during: Option<u64>, id: Id, method: &str, params: Option<RawJson>) {
        if method == method::PING {
            self.answer(id, Ok(RawJson::EMPTY_OBJECT));
            return;
        }
        let refuse = |code, why: &str| {
            let error = ErrorObject::new(code, format!("{method}: {why}"));
            tracing::debug!(server = %self.server, %error, "a question of the server is not passed on");
            self.answer(id.clone(), Err(error));
        };
        let addressee = self.addressee(during, params.as_ref());
        let no_roots = method == method::ROOTS_LIST
            && self.owner.is_none()
            && !addressee.as_ref().is_ok_and(|a| a.client.can("roots"));
        if no_roots {
            // What several share has no folders of one of them.
            self.answer(id, Ok(RawJson::of(&serde_json::json!({ "roots": [] }))));
            return;
        }
        let addressee = match addressee {
            Ok(addressee) => addressee,
            Err(why) => return refuse(ErrorCode::METHOD_NOT_FOUND, why),
        };
        let permit = match self.common.questions.open(&addressee.client) {
            Ok(permit) => permit,
            Err(why) => return refuse(ErrorCode::INTERNAL_ERROR, &why),
        };
        let mut asks = lock(&self.asks);
        if asks.contains_key(&id) {
            drop(asks);
            return refuse(
                ErrorCode::INVALID_REQUEST,
                "a question with this id waits already",
            );
        }
        if method == method::ELICITATION
            && let Some(name) = params.as_ref().and_then(|p| text(p, "elicitationId"))
            && let [in_flight] = &*addressee.flights
        {
            self.common
                .owned_ids
                .remember(IdKind::Elicitation, &name, in_flight);
        }
        let paused = Paused::new(&addressee.flights);
        let (connection, key) = (self.clone(), id.clone());
        let Addressee { peer, during, .. } = addressee;
        let method: Box<str> = method.into();
        // The table is locked until the entry is in, so the task cannot take it out before.
        let task = tokio::spawn(async move {
            let outcome = peer.ask(&connection.server, &method, params).await;
            drop(paused);
            lock(&connection.asks).remove(&id);
            connection.respond(id, outcome).await;
            // Until the answer is written, it takes the place: a server that reads nothing gets no new ones.
            drop(permit);
        });
        let task = task.abort_handle();
        asks.insert(key, WaitingQuestion { task, during });
    }

    /// Takes out the question with this id. The official SDKs take `5` and `"5"` for one.
    fn take_question(&self, id: &Id) -> Option<WaitingQuestion> {
        let mut asks = lock(&self.asks);
        asks.remove(id).or_else(|| {
            let value = id.value()?;
            let same = asks.keys().find(|asked| asked.value() == Some(value))?.clone();
            asks.remove(&same)
        })
    }

    /// The request with our id `ended` has ended: nobody needs to answer its questions any more.
    pub(super) fn end_questions(self: &Arc<Self>, ended: u64) {
        let left: Vec<Id> = {
            let mut asks = lock(&self.asks);
            if asks.is_empty() {
                return;
            }
            let left = asks.extract_if(|_, asking| asking.during == Some(ended));
            left.map(|(id, asking)| {
                asking.task.abort();
                id
            })
            .collect()
        };
        if self.is_gone() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        for id in left {
            let error = ErrorObject::new(ErrorCode::CANCELLED, "the request that it belongs to has ended");
            self.answer(id, Err(error));
        }
    }

    /// Remembers which tasks and elicitations a client's request has brought about.
    pub(super) fn remember_names(
        &self,
        in_flight: &Arc<InFlightRequest>,
        result: Option<&RawJson>,
        error: Option<&ErrorObject>,
    ) {
        let owned_ids = &self.common.owned_ids;
        let task = result.and_then(|r| text(&RawObject::parse(r).ok()?.raw("task")?, "taskId"));
        if let Some(task) = task {
            owned_ids.remember(IdKind::Task, &task, in_flight);
        }
        let Some(error) = error.filter(|e| e.code == ErrorCode::URL_ELICITATION_REQUIRED) else {
            return;
        };
        let data = error.data.as_ref().map(RawJson::to_value).unwrap_or_default();
        let all = data.get("elicitations").and_then(serde_json::Value::as_array);
        let names = all
            .into_iter()
            .flatten()
            .filter_map(|e| e.get("elicitationId")?.as_str());
        for name in names {
            owned_ids.remember(IdKind::Elicitation, name, in_flight);
        }
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

    fn notified(self: &Arc<Self>, during: Option<u64>, method: &str, params: Option<RawJson>) {
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
                    events.lists_changed(self.owner.as_ref(), which);
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
                if let Some(asking) = id.and_then(|id| self.take_question(&id)) {
                    asking.task.abort();
                }
            }
            method::ACKNOWLEDGED => {
                let id = during.or_else(|| subscription_id(params.as_ref()?));
                if let Some(in_flight) = id.and_then(|id| self.in_flight(id)) {
                    in_flight.acknowledge();
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
        let in_flight = number(&fields, meta::PROGRESS_TOKEN).and_then(|id| self.in_flight(id));
        let Some(in_flight) = in_flight else {
            tracing::debug!(server = %self.server, "progress of a request that does not run");
            return;
        };
        in_flight.touch();
        if let (Some(token), Some((peer, _))) = (&in_flight.token, &in_flight.call) {
            fields.set(meta::PROGRESS_TOKEN, token);
            peer.notify(&self.server, method::PROGRESS, Some(fields.to_json()));
        }
    }

    /// A log message, or what the hub does not know.
    fn pass_on(&self, during: Option<u64>, method: &str, params: Option<RawJson>) {
        let peers = self.recipients(during, method, params.as_ref());
        if peers.is_empty() {
            self.common.write_to_log(method, params.as_ref());
            return;
        }
        for peer in peers {
            // The peer filters what its client wants.
            peer.notify(&self.server, method, params.clone());
        }
    }

    /// Whom a notification concerns.
    fn recipients(&self, during: Option<u64>, method: &str, params: Option<&RawJson>) -> Vec<Arc<dyn Peer>> {
        let owner = self.owner.as_ref().filter(|o| o.era() == Era::Legacy);
        let peer_of = |in_flight: Arc<InFlightRequest>| in_flight.call.as_ref().map(|(peer, _)| peer.clone());
        if let Some(id) = during {
            let found = self.in_flight(id).and_then(peer_of);
            return found
                .or_else(|| owner.map(|o| o.peer.clone()))
                .into_iter()
                .collect();
        }
        let owned_ids = match method {
            method::TASK_STATUS => params.and_then(|p| text(p, "taskId")).map(|t| (IdKind::Task, t)),
            method::ELICITATION_COMPLETE => params
                .and_then(|p| text(p, "elicitationId"))
                .map(|e| (IdKind::Elicitation, e)),
            _ => params.and_then(related_task).map(|t| (IdKind::Task, t)),
        };
        if let Some((kind, name)) = owned_ids {
            let found = self.common.owned_ids.owner(kind, &name).map(|(peer, _)| peer);
            // The only client of a connection gets messages that name no request, too.
            return found
                .or_else(|| owner.map(|o| o.peer.clone()))
                .into_iter()
                .collect();
        }
        if let Some(owner) = owner {
            return vec![owner.peer.clone()];
        }
        let clients = match &self.owner {
            Some(owner) => Some(vec![owner.clone()]),
            None => self.users.of_one_key(),
        };
        let running = self.client_flights();
        let on_stream = |client: Arc<Client>| {
            let mut own = running.iter().filter_map(|f| f.call.as_ref());
            let mut own = own.by_ref().filter(|(_, other)| other.key == client.key);
            match (own.next(), own.next()) {
                // The one stream of the client that is open for sure.
                (Some((peer, _)), None) => peer.clone(),
                _ => client.peer.clone(),
            }
        };
        clients.into_iter().flatten().map(on_stream).collect()
    }
}

/// The text of a member.
fn text(object: &RawJson, member: &str) -> Option<String> {
    Some(RawObject::parse(object).ok()?.str(member)?.into_owned())
}

/// The task that a message says it belongs to (2025-11-25, Tasks).
fn related_task(params: &RawJson) -> Option<String> {
    memchr::memmem::find(params.bytes(), meta::RELATED_TASK.as_bytes())?;
    let meta = RawObject::parse(params).ok()?.raw("_meta")?;
    text(&RawObject::parse(&meta).ok()?.raw(meta::RELATED_TASK)?, "taskId")
}

fn subscription_id(params: &RawJson) -> Option<u64> {
    let meta = RawObject::parse(params).ok()?.raw("_meta")?;
    number(&RawObject::parse(&meta).ok()?, meta::SUBSCRIPTION_ID)
}

/// The number of the hub's own that a server sends back in `member`, in whatever form.
fn number(object: &RawObject<'_>, member: &str) -> Option<u64> {
    Id::from_json(object.raw(member)?)?.value()
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
