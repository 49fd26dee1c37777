//! Serves a router on a listener.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::{Request, Response, body::Incoming, header::EXPECT};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service as _;

use super::{
    accept::Acceptor,
    body::{Received, Sent},
    connection::{Connection, Reason},
    io::Watched,
    limits::Limits,
    registry::{Entry, Registry},
    stream::Streams,
};
use crate::{
    access::{AccessState, KeyedConnection},
    coalesce::CoalescingPoller,
};

/// Longest head of a request over HTTP/2, in bytes, as RFC 9113 counts it. h2 bounds its CONTINUATION frames by it.
const MAX_HEAD: u32 = 64 * 1024;
/// Read buffer of an HTTP/1 connection, in bytes; bounds the head of a request.
const MAX_BUFFER: usize = 256 * 1024;
/// Requests that one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 256;
/// Requests that a client cancelled before the hub took them up; one more ends the connection.
const MAX_PENDING_RESETS: usize = 20;
/// Streams that the hub had to reset because of the client's mistakes; one more ends the connection.
const MAX_ERROR_RESETS: usize = 256;
/// Bytes of bodies that a client may send ahead on one stream, and on all of a connection.
const WINDOW: u32 = 1024 * 1024;

/// What a listener serves with.
pub struct Listener {
    /// Handshakes with it; without one it speaks plain HTTP.
    pub tls: Option<TlsAcceptor>,
    /// Answers the requests.
    pub router: Router,
    /// Says which addresses may connect.
    pub access: Arc<AccessState>,
    /// Counts the connections, and has their limits.
    pub registry: Arc<Registry>,
}

struct Server {
    tls: Option<TlsAcceptor>,
    router: Router,
    registry: Arc<Registry>,
    builder: Builder<Streams>,
    stop: CancellationToken,
}

fn builder(limits: &Limits) -> Builder<Streams> {
    let mut builder = Builder::new(Streams { limit: limits.write });
    builder
        .http1()
        .timer(TokioTimer::new())
        // The registry looks for heads that do not come, and tells them from idle connections.
        .header_read_timeout(None)
        .max_buf_size(MAX_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .keep_alive_interval(limits.ping)
        .keep_alive_timeout(limits.pong);
    builder
}

/// Serves until `stop` fires, then gives open requests `grace` to end.
pub async fn serve(listener: TcpListener, with: Listener, stop: CancellationToken, grace: Duration) {
    let Listener {
        tls,
        router,
        access,
        registry,
    } = with;
    let limits = registry.limits().clone();
    let server = Arc::new(Server {
        tls,
        router,
        builder: builder(&limits),
        registry: registry.clone(),
        stop: stop.clone(),
    });
    let tasks = TaskTracker::new();
    let watch = tokio::spawn(watch(registry.clone()));
    let mut acceptor = Acceptor::new(listener);
    loop {
        let (socket, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = acceptor.next(&registry) => accepted,
        };
        if !access.admits_address(peer.ip()) {
            registry.count(Reason::Address);
            access.refuse_connection(peer);
            continue;
        }
        let Some(entry) = registry.admit(peer) else {
            tracing::warn!(target: "aih", %peer, "a connection is refused: there are too many");
            continue;
        };
        // Without it each small event of a stream waits for the client's delayed acknowledgement (40 ms).
        // A socket that closed meanwhile cannot take it, which the first read tells.
        let _ = socket.set_nodelay(true);
        tasks.spawn(server.clone().connection(socket, entry));
    }
    drop(acceptor);
    tasks.close();
    let _ = tokio::time::timeout(grace, tasks.wait()).await;
    watch.abort();
}

/// Closes what is overdue, until it is aborted.
async fn watch(registry: Arc<Registry>) {
    let mut beat = tokio::time::interval(registry.limits().beat());
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        registry.look();
    }
}

impl Server {
    async fn connection(self: Arc<Self>, socket: TcpStream, entry: Entry) {
        let connection = entry.connection.clone();
        let Some(tls) = &self.tls else {
            connection.becomes_ready();
            return self.http(socket, &connection).await;
        };
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(self.registry.limits().handshake, tls.accept(socket)) => shaken,
            () = connection.cut.cancelled() => return,
            () = self.stop.cancelled() => return,
        };
        match shaken {
            Ok(Ok(stream)) => {
                connection.becomes_ready();
                self.http(stream, &connection).await;
            }
            Ok(Err(error)) => {
                self.registry.count(Reason::Handshake);
                tracing::debug!(target: "aih", peer = %connection.peer(), %error, "a TLS handshake failed");
            }
            Err(_) => connection.close(Reason::Handshake),
        }
    }

    /// Speaks HTTP until the connection ends, or is cut off.
    async fn http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        connection: &Arc<Connection>,
    ) {
        let limits = self.registry.limits();
        let service = {
            let (router, connection, limits) = (self.router.clone(), connection.clone(), limits.clone());
            hyper::service::service_fn(move |request| {
                answer(router.clone(), connection.clone(), limits.clone(), request)
            })
        };
        let stream = TokioIo::new(Watched::new(stream, connection.clone(), limits.write));
        let serving = self.builder.serve_connection(stream, service);
        let serving = async {
            tokio::pin!(serving);
            tokio::select! {
                outcome = &mut serving => return outcome,
                () = connection.retired.cancelled() => serving.as_mut().graceful_shutdown(),
                () = self.stop.cancelled() => {
                    connection.retired.cancel();
                    serving.as_mut().graceful_shutdown();
                    // Requests that are running have the time that the whole hub has.
                    return serving.await;
                }
            }
            loop {
                let ended = tokio::time::timeout(limits.goodbye, &mut serving).await;
                match ended {
                    Ok(outcome) => return outcome,
                    // A request came at the last moment.
                    Err(_) if connection.is_busy() => {}
                    Err(_) => return Ok(()),
                }
            }
        };
        let outcome = tokio::select! {
            outcome = CoalescingPoller::default().run(serving) => outcome,
            () = connection.cut.cancelled() => Ok(()),
        };
        if let Err(error) = outcome {
            tracing::debug!(target: "aih", peer = %connection.peer(), error = %error, "a connection broke");
        }
    }
}

/// Counts a request whose client cancels it before there is a response.
struct Unanswered(Option<Arc<Connection>>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.cancelled();
        }
    }
}

async fn answer(
    mut router: Router,
    connection: Arc<Connection>,
    limits: Arc<Limits>,
    request: Request<Incoming>,
) -> Result<Response<Sent>, Infallible> {
    let http2 = request.version() == http::Version::HTTP_2;
    let busy = connection.begin(http2);
    let mut unanswered = Unanswered(http2.then(|| connection.clone()));
    let expects = request.headers().contains_key(EXPECT);
    let mut request = request.map(|body| match hyper::body::Body::is_end_stream(&body) {
        true => axum::body::Body::empty(),
        false => axum::body::Body::new(Received::new(body, connection.busy(), limits, expects)),
    });
    let extensions = request.extensions_mut();
    extensions.insert(ConnectInfo::<SocketAddr>(connection.peer()));
    extensions.insert(KeyedConnection(connection));
    let response = router.call(request).await?;
    unanswered.0 = None;
    Ok(response.map(|body| Sent::new(body, http2, busy)))
}
