//! The HTTP listener: connections, their limits, and a clean end.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{Router, extract::ConnectInfo};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::{TlsAcceptor, rustls};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::{config::Tls, quiet::Quiet};

/// Longest head of a request over HTTP/2, in bytes.
const MAX_HEAD: u32 = 64 * 1024;
/// Read buffer of an HTTP/1 connection, in bytes; bounds the head of a request.
const MAX_BUFFER: usize = 256 * 1024;
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Reads certificate and key.
///
/// # Errors
/// A file cannot be read, holds no PEM of that kind, or the two do not belong together.
pub fn tls(config: &Tls) -> anyhow::Result<TlsAcceptor> {
    let cert = || format!("server.tls.cert: {}", config.cert.display());
    let key = || format!("server.tls.key: {}", config.key.display());
    let chain = CertificateDer::pem_file_iter(&config.cert).with_context(cert)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().with_context(cert)?;
    anyhow::ensure!(!chain.is_empty(), "{}: there is no certificate in it", cert());
    let private = PrivateKeyDer::from_pem_file(&config.key).with_context(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(key)?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(server)))
}

/// Serves `router` until `stop` fires, then gives open requests `grace` to end.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: CancellationToken,
    grace: Duration,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD)
        .max_concurrent_streams(256);
    let builder = Arc::new(builder);
    let graceful = Arc::new(GracefulShutdown::new());
    loop {
        let (socket, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, mostly: wait for some to be given back.
                    tracing::warn!(target: "aih", %error, "a connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        // Without it each small event of a stream waits for the client's delayed acknowledgement (40 ms).
        // A socket that closed meanwhile cannot take it, which the first read tells.
        let _ = socket.set_nodelay(true);
        match &tls {
            None => connection(&builder, &graceful, socket, peer, router.clone()),
            Some(tls) => {
                let (tls, builder, graceful, router) =
                    (tls.clone(), builder.clone(), graceful.clone(), router.clone());
                tokio::spawn(async move {
                    match tokio::time::timeout(HANDSHAKE, tls.accept(socket)).await {
                        Ok(Ok(stream)) => connection(&builder, &graceful, stream, peer, router),
                        Ok(Err(error)) => tracing::debug!(target: "aih", %peer, %error, "no TLS handshake"),
                        Err(_) => tracing::debug!(target: "aih", %peer, "the TLS handshake took too long"),
                    }
                });
            }
        }
    }
    drop(listener);
    // A handshake that is still going on holds the other reference; its connection is cut off.
    if let Some(graceful) = Arc::into_inner(graceful) {
        let _ = tokio::time::timeout(grace, graceful.shutdown()).await;
    }
}

fn connection(
    builder: &Builder<TokioExecutor>,
    graceful: &GracefulShutdown,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
) {
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let mut router = router.clone();
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(ConnectInfo::<SocketAddr>(peer));
        async move { router.call(request).await.map_err(|never: Infallible| never) }
    });
    let connection = builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = Quiet::default().run(connection).await {
            tracing::debug!(target: "aih", %peer, error = %error, "a connection broke");
        }
    });
}
