//! The client as providers see it, for each era: where messages of a server go that are not an answer.

use std::sync::{Arc, Weak};

use aih_mcp::{ErrorObject, Message, RawJson, RawObject, method};
use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::{rewrite, session::Session, stream::Stream};
use crate::{
    catalogue::Scope,
    names::Namespace,
    provider::{LogLevel, Peer},
};

/// A provider's notification as the client of `scope` must see it.
fn exposed(scope: &Scope, provider: &str, method: &str, params: Option<RawJson>) -> Option<RawJson> {
    match params {
        Some(params) if *scope == Scope::All && method == method::RESOURCE_UPDATED => {
            Some(rewrite::expose_uri(&params, &Namespace::new(provider)))
        }
        params => params,
    }
}

/// The severity of a `notifications/message`.
fn level(params: Option<&RawJson>) -> Option<LogLevel> {
    LogLevel::parse(&RawObject::parse(params?).ok()?.str("level")?)
}

/// Reaches the client of a legacy session outside any request: the GET stream.
pub struct SessionPeer {
    session: Weak<Session>,
}

impl SessionPeer {
    /// The peer of `session`, which it does not keep alive.
    pub fn new(session: &Arc<Session>) -> Self {
        Self {
            session: Arc::downgrade(session),
        }
    }
}

/// The capability that a client must have declared to be asked `method`.
fn needed(method: &str) -> Option<&'static str> {
    match method {
        method::SAMPLING => Some("sampling"),
        method::ELICITATION => Some("elicitation"),
        method::ROOTS_LIST => Some("roots"),
        _ => None,
    }
}

fn cannot(session: &Session, method: &str) -> Result<(), ErrorObject> {
    match (needed(method), session.client()) {
        (Some(capability), Some(client)) if !client.can(capability) => {
            Err(ErrorObject::method_not_found(method))
        }
        _ => Ok(()),
    }
}

fn wants(session: &Session, method: &str, params: Option<&RawJson>) -> bool {
    if method != method::LOG_MESSAGE {
        return true;
    }
    let wanted = session.client().and_then(|c| c.log_level());
    wanted.is_none_or(|wanted| level(params).is_none_or(|level| level >= wanted))
}

#[async_trait]
impl Peer for SessionPeer {
    fn notify(&self, provider: &str, method: &str, params: Option<RawJson>) {
        if let Some(session) = self.session.upgrade()
            && wants(&session, method, params.as_ref())
        {
            let params = exposed(&session.scope, provider, method, params);
            // Only a question can fail.
            let _ = session.standing.push(&Message::notification(method, params));
        }
    }

    async fn ask(&self, _: &str, method: &str, params: Option<RawJson>) -> Result<RawJson, ErrorObject> {
        let session = self
            .session
            .upgrade()
            .ok_or_else(|| ErrorObject::internal("the client is gone"))?;
        cannot(&session, method)?;
        session.ask(&session.standing, method, params).await
    }
}

/// Reaches the client of a legacy session on the response stream of one request.
pub struct RequestPeer {
    /// The session.
    pub session: Arc<Session>,
    /// The response stream.
    pub stream: Arc<Stream>,
}

#[async_trait]
impl Peer for RequestPeer {
    fn notify(&self, provider: &str, method: &str, params: Option<RawJson>) {
        if wants(&self.session, method, params.as_ref()) {
            let params = exposed(&self.session.scope, provider, method, params);
            let stream = match self.stream.is_finished() {
                // The answer was quicker than what the server said before.
                true => &self.session.standing,
                false => &self.stream,
            };
            let _ = stream.push(&Message::notification(method, params));
        }
    }

    async fn ask(&self, _: &str, method: &str, params: Option<RawJson>) -> Result<RawJson, ErrorObject> {
        cannot(&self.session, method)?;
        self.session.ask(&self.stream, method, params).await
    }
}

/// The parameters of `notifications/progress` under another token.
fn with_token(params: &RawJson, token: &RawJson) -> RawJson {
    let Ok(mut object) = RawObject::parse(params) else {
        return params.clone();
    };
    object.set(method::meta::PROGRESS_TOKEN, token);
    object.to_json()
}

/// A question of a legacy server to a client of the modern era.
pub struct ClientQuestion {
    /// `sampling/createMessage`, `elicitation/create`, `roots/list`.
    pub method: Box<str>,
    /// Its parameters.
    pub params: Option<RawJson>,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<RawJson, ErrorObject>>,
}

/// Reaches a client of the modern era while one of its requests runs. Questions become `input_required`.
pub struct ModernPeer {
    /// Which names the client sees.
    pub scope: Scope,
    /// The stream of the response that is open now: a retry brings a new one.
    pub stream: ArcSwap<Stream>,
    /// The progress token of a retry, which progress of the waiting call goes under from then on.
    pub token: ArcSwapOption<RawJson>,
    /// What the request's `_meta` asked for; without it no log message is sent (2026-07-28).
    pub log_level: Option<LogLevel>,
    /// The client's capabilities.
    pub capabilities: RawJson,
    /// Takes the questions.
    pub asks: mpsc::Sender<ClientQuestion>,
}

#[async_trait]
impl Peer for ModernPeer {
    fn notify(&self, provider: &str, method: &str, params: Option<RawJson>) {
        if method == method::LOG_MESSAGE {
            let Some(wanted) = self.log_level else { return };
            if level(params.as_ref()).is_some_and(|level| level < wanted) {
                return;
            }
        }
        let params = match (&*self.token.load(), params) {
            (Some(token), Some(params)) if method == method::PROGRESS => Some(with_token(&params, token)),
            (_, params) => exposed(&self.scope, provider, method, params),
        };
        let _ = self.stream.load().push(&Message::notification(method, params));
    }

    async fn ask(&self, _: &str, method: &str, params: Option<RawJson>) -> Result<RawJson, ErrorObject> {
        let declared = |c| RawObject::parse(&self.capabilities).is_ok_and(|o| o.get(c).is_some());
        // Only these three can stand in `inputRequests` (2026-07-28, MRTR).
        if !needed(method).is_some_and(declared) {
            return Err(ErrorObject::method_not_found(method));
        }
        let (answer, answered) = oneshot::channel();
        let ask = ClientQuestion {
            method: method.into(),
            params,
            answer,
        };
        let gone = || ErrorObject::internal("the client did not come back with an answer");
        self.asks.send(ask).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}
