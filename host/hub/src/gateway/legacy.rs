//! What the transports of the legacy era share: `initialize`, notifications, and requests within a session.

use std::sync::{Arc, atomic::AtomicBool};

use aih_mcp::{ErrorCode, ErrorObject, Id, ProtocolVersion, RawJson, RawObject, method};

use super::{
    Gateway,
    dispatch::Request,
    peer::RequestPeer,
    session::{Running, Session},
    stream::Stream,
};
use crate::{catalogue::Target, memory::Permit, provider::Client};

/// What a task that passes a notification on takes in memory beside the notification, in bytes.
const NOTIFICATION_COST: usize = 4 * 1024;

impl Request {
    /// A request of a session's client. What is said to the client meanwhile goes to `stream`.
    pub(super) fn in_session(
        session: &Arc<Session>,
        client: Arc<Client>,
        running: &Running,
        stream: &Arc<Stream>,
        method: Box<str>,
        params: Option<RawJson>,
    ) -> Self {
        Self {
            scope: session.scope.clone(),
            method,
            params,
            param_headers: None,
            client,
            peer: Arc::new(RequestPeer {
                session: session.clone(),
                stream: stream.clone(),
            }),
            cancel: running.cancel.clone(),
            made: AtomicBool::new(false),
        }
    }
}

impl Gateway {
    /// Answers a request of a session. The end of the session ends the request, whatever it waits for.
    ///
    /// # Errors
    /// Those of [`Gateway::answer`], or that the session ended.
    pub(super) async fn answer_within(
        &self,
        session: &Session,
        request: Request,
    ) -> Result<RawJson, ErrorObject> {
        tokio::select! {
            biased;
            () = session.ended.cancelled() => {
                Err(ErrorObject::new(ErrorCode::CANCELLED, "the session ended"))
            }
            outcome = self.answer(request) => outcome,
        }
    }

    /// Answers `initialize` on a fresh session.
    ///
    /// # Errors
    /// Parameters of another shape, a server that is not there, or a second `initialize`.
    pub async fn initialize(
        &self,
        session: &Arc<Session>,
        params: Option<&RawJson>,
    ) -> Result<RawJson, ErrorObject> {
        let bad = || {
            ErrorObject::invalid_params(
                "`initialize` needs `protocolVersion`, `capabilities` and `clientInfo`",
            )
        };
        let object = RawObject::parse(params.ok_or_else(bad)?).map_err(|_| bad())?;
        let requested: String = object.read("protocolVersion").ok_or_else(bad)?;
        let version = ProtocolVersion::negotiate_legacy(&requested);
        let capabilities = object
            .raw("capabilities")
            .filter(RawJson::is_object)
            .unwrap_or(RawJson::EMPTY_OBJECT);
        let client = session.introduce(version, object.raw("clientInfo").as_ref(), &capabilities)?;
        Ok(self
            .introduction(&session.scope, client)
            .await?
            .initialize_result(version))
    }
}

/// A notification of a client with a session.
pub(super) fn notified(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    method: &str,
    params: Option<RawJson>,
    mut permit: Permit,
) {
    match method {
        method::INITIALIZED => {}
        method::CANCELLED => {
            let id = params
                .as_ref()
                .and_then(|p| RawObject::parse(p).ok()?.raw("requestId"));
            if let Some(id) = id.and_then(Id::from_json) {
                session.cancel(&id);
            }
        }
        _ => {
            // What the hub does not know may name anything at the server.
            let known = matches!(method, method::PROGRESS | method::ROOTS_CHANGED);
            let about = if known { Target::Own } else { Target::Server };
            let Some(client) = session.client().cloned() else {
                return;
            };
            // What a task costs: their number is bounded with the bytes of the key.
            if permit.grow(NOTIFICATION_COST).is_err() {
                return;
            }
            let (gateway, session, method) = (gateway.clone(), session.clone(), method.to_owned());
            let tasks = gateway.tasks.clone();
            tasks.spawn(async move {
                // It stands for the bytes until every server has them.
                let _permit = permit;
                let snapshot = gateway.catalogue.snapshot_full();
                for offering in snapshot
                    .in_scope(&session.scope)
                    .filter(|o| o.permits(&about, &client.principal))
                {
                    offering.provider.notify(&method, params.clone(), &client).await;
                }
            });
        }
    }
}
