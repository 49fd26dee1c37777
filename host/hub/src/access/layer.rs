//! The layer in front of all handlers: every request passes here before any handler sees it.
//!
//! Put it around the outermost router with [`protect`], so that the paths it sees are whole and nothing is served beside
//! it. It must never log a header that can hold a key, nor the query of a path.
//!
//! A path that no route serves needs no key: the answer is 404 for everybody. Clients look for the metadata of
//! OAuth at such paths, and wait for a person where they find 401. Nothing of the request is looked at, so nobody learns
//! there whether a key is right.
//!
//! A request is over when its [`Principal`] ends: while its body is on its way, while its handler works or waits,
//! and while a stream of answers is open. No handler has to look for that.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, OptionalFromRequestParts, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};
use http_body::{Frame, SizeHint};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::authority::Authority;
use super::cors;
use super::guard::{Guard, Rejection};
use super::key::{AuthError, KeyId, KeyRing, Principal};
use super::refusal::Refusal;

/// The path that answers without a key, for liveness probes; a key that is sent must still be right.
pub const OPEN_PATH: &str = "/api/v1/health";

/// The longest text of a request that goes into one log field, in characters.
const LOG_FIELD: usize = 200;

/// `--no-auth` on an address that others can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a hub without keys may listen on a loopback address only; listen on 127.0.0.1, or leave --no-auth out"
)]
pub struct NoAuthError;

/// What the layer decides by. Shared by all requests.
pub struct AccessState {
    /// The keys; a reload replaces them.
    pub authority: Arc<Authority>,
    guard: Guard,
    /// Everyone, where no keys are asked for.
    anonymous: Option<Arc<Principal>>,
    /// Is called for every request that is refused.
    listener: Option<Listener>,
}

/// A connection, to which this layer reports each valid key that a request on it has shown. The listener implements it.
pub trait Keyed: Send + Sync {
    /// A request on it had a valid key.
    fn note_key(self: Arc<Self>, key: KeyId);
}

/// The connection of a request, in the request's extensions.
#[derive(Clone)]
pub struct KeyedConnection(pub Arc<dyn Keyed>);

/// Is called for a refused request: with the reason, the address and the path. Never what was presented. It must not wait.
pub type Listener = Box<dyn Fn(&str, Option<IpAddr>, &str) + Send + Sync>;

impl fmt::Debug for AccessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessState")
            .field("authority", &self.authority)
            .field("guard", &self.guard)
            .field("anonymous", &self.anonymous)
            .finish_non_exhaustive()
    }
}

impl AccessState {
    /// Puts keys and guard together. With `no_auth` no key is asked for and every caller may do all. `listener` hears
    /// of refused requests.
    ///
    /// # Errors
    /// `no_auth` with a guard that does not listen on loopback.
    pub fn new(
        ring: KeyRing,
        guard: Guard,
        no_auth: bool,
        listener: Option<Listener>,
    ) -> Result<Arc<Self>, NoAuthError> {
        if no_auth && !guard.on_loopback() {
            return Err(NoAuthError);
        }
        let anonymous = no_auth.then(|| Arc::new(Principal::anonymous_admin()));
        Ok(Arc::new(Self {
            authority: Arc::new(Authority::new(ring)),
            guard,
            anonymous,
            listener,
        }))
    }

    /// Whether `server.ip_allowlist` lets this address connect at all.
    #[must_use]
    pub fn admits_address(&self, peer: IpAddr) -> bool {
        self.guard.admits_address(Some(peer))
    }

    /// A connection of an address that may not connect was closed: it leaves one log row, and the listener is called.
    pub fn refuse_connection(&self, peer: SocketAddr) {
        let refusal = Refusal::from(Rejection::Address);
        tracing::warn!(target: "aih::access", %peer, "refused: {refusal}");
        if let Some(listener) = &self.listener {
            listener(&refusal.to_string(), Some(peer.ip().to_canonical()), "");
        }
    }

    /// Refuses a request: it leaves one log row, and the listener is called.
    async fn refuse(&self, request: Request, refusal: Refusal) -> Response {
        log(&request, refusal);
        if let Some(listener) = &self.listener {
            let address = peer(&request).map(|peer| peer.ip().to_canonical());
            listener(&refusal.to_string(), address, cut(request.uri().path()));
        }
        refusal.answer(request).await
    }

    /// Whether no key is asked for.
    #[must_use]
    pub fn no_auth(&self) -> bool {
        self.anonymous.is_some()
    }

    /// Who calls; nobody only where no key is needed.
    fn admit(&self, request: &Request) -> Result<Option<Arc<Principal>>, Refusal> {
        if request.extensions().get::<MatchedPath>().is_none() {
            return Ok(None);
        }
        if let Some(anonymous) = &self.anonymous {
            return Ok(Some(Arc::clone(anonymous)));
        }
        match self.authority.authenticate(request.headers()) {
            Ok(principal) => Ok(Some(principal)),
            Err(AuthError::Missing) if is_open(request) => Ok(None),
            // Its body is signed; what is wrong with the signature is for the hook's own check to find.
            Err(_) if is_webhook(request) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_open(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && request.uri().path() == OPEN_PATH
}

/// `POST /api/v1/hooks/{name}/webhook`: senders hold no key of this hub, and may send credentials of their own.
fn is_webhook(request: &Request) -> bool {
    let name = request
        .uri()
        .path()
        .strip_prefix("/api/v1/hooks/")
        .and_then(|rest| rest.strip_suffix("/webhook"));
    *request.method() == Method::POST && name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

fn peer(request: &Request) -> Option<SocketAddr> {
    request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0)
}

/// The caller of a request, put into its extensions by [`layer`].
///
/// As an extractor it refuses with 401 where nobody is known; `Option<Caller>` does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub Arc<Principal>);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Refusal::Auth(AuthError::Missing).at(parts.uri.path()))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

/// Puts the checks in front of everything that `router` serves: address, Host and Origin ([`Guard`]), then CORS for pages
/// of `server.allowed_origins`, then the key.
///
/// The address of the peer comes from [`ConnectInfo`]`<SocketAddr>`; without it, an address list lets nobody in.
pub fn protect(router: Router, state: Arc<AccessState>) -> Router {
    let router = router.layer(from_fn_with_state(state.clone(), authenticate));
    let router = match cors::layer(&state.guard) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.layer(from_fn_with_state(state, guard))
}

/// Checks address, Host and Origin.
async fn guard(State(state): State<Arc<AccessState>>, request: Request, next: Next) -> Response {
    let peer = peer(&request).map(|peer| peer.ip());
    match state.guard.check(peer, request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(rejection) => state.refuse(request, rejection.into()).await,
    }
}

/// Checks the key, and puts the [`Caller`] into the request's extensions. The request ends with the caller's
/// [`Principal`].
async fn authenticate(State(state): State<Arc<AccessState>>, mut request: Request, next: Next) -> Response {
    match state.admit(&request) {
        Ok(None) => next.run(request).await,
        Ok(Some(principal)) => {
            if let Some(KeyedConnection(connection)) = request.extensions().get() {
                connection.clone().note_key(principal.id);
            }
            request.extensions_mut().insert(Caller(Arc::clone(&principal)));
            let path = request.uri().clone();
            tokio::select! {
                // A request that ends its own principal, such as a reload, gets its answer.
                biased;
                response = next.run(request) => response.map(|body| while_current(body, &principal)),
                () = principal.ended() => {
                    let refusal = match state.authority.principal(principal.id) {
                        Some(_) => Refusal::Changed,
                        None => Refusal::Auth(AuthError::Unknown),
                    };
                    let key = &*principal.name;
                    tracing::info!(target: "aih::access", key, "ended a request: {refusal}");
                    refusal.at(path.path())
                }
            }
        }
        Err(refusal) => state.refuse(request, refusal).await,
    }
}

/// The body, cut off when the principal ends. A body whose length is known was whole when it was handed over.
fn while_current(body: Body, principal: &Principal) -> Body {
    if body.size_hint().exact().is_some() {
        return body;
    }
    Body::new(RevocableBody {
        body: Some(body),
        ended: Box::pin(principal.until_ended()),
    })
}

struct RevocableBody {
    /// Dropped at the end, and with it what makes the answers.
    body: Option<Body>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl HttpBody for RevocableBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.body.is_some() && self.ended.as_mut().poll(cx).is_ready() {
            self.body = None;
        }
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        // It may end at any time, so the length that the inner body expects says nothing.
        SizeHint::default()
    }
}

fn log(request: &Request, refusal: Refusal) {
    let origin = header(request.headers(), &ORIGIN);
    tracing::warn!(
        target: "aih::access",
        peer = peer(request).map(tracing::field::display),
        method = %request.method(),
        path = ?cut(request.uri().path()),
        host = ?header(request.headers(), &HOST),
        origin = (!origin.is_empty()).then(|| tracing::field::debug(origin)),
        "refused: {refusal}"
    );
}

fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map_or("", cut)
}

fn cut(text: &str) -> &str {
    text.char_indices()
        .nth(LOG_FIELD)
        .and_then(|(end, _)| text.get(..end))
        .unwrap_or(text)
}

#[cfg(test)]
#[path = "layer_tests.rs"]
mod tests;
