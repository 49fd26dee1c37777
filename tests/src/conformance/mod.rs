//! Everything that `@modelcontextprotocol/conformance` 0.1.16 and 0.2.0-alpha.12 ask of a server, written
//! with rmcp and nothing of the hub, so that what the hub loses in between is the hub's fault.
//!
//! It answers both eras: where a tool needs something of the client, a legacy session gets a request, and a
//! request of 2026-07-28 gets `input_required`. It must never depend on the hub's code, and never be more
//! forgiving than the specification.

mod catalogue;
mod content;
mod input;
mod server;
mod sessions;
mod tools;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::serve::ListenerExt as _;
use rmcp::{
    ServiceExt as _,
    transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService},
};

use self::{server::Shared, sessions::Sessions};

pub(crate) use self::server::Conformance;

/// How soon a client is told to resume a stream that was closed.
const RETRY: Duration = Duration::from_millis(200);

/// Serves streamable HTTP at `/mcp` until the process ends, and prints its address first.
pub(crate) async fn serve_http(address: SocketAddr, legacy: bool) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    let port = address.port();
    let config = StreamableHttpServerConfig::default()
        .with_sse_retry(Some(RETRY))
        .with_allowed_origins([
            format!("http://127.0.0.1:{port}"),
            format!("http://localhost:{port}"),
        ]);
    let shared = Arc::new(Shared::new(legacy));
    let service = StreamableHttpService::new(
        move || Ok(Conformance::new(Arc::clone(&shared))),
        Arc::new(Sessions::new(RETRY)),
        config,
    );
    println!("listening on http://{address}/mcp");
    // Without this, each streamed answer waits about 44 ms for a delayed acknowledgement.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            eprintln!("cannot set TCP_NODELAY: {error}");
        }
    });
    axum::serve(listener, axum::Router::new().nest_service("/mcp", service)).await?;
    Ok(())
}

/// Serves standard input and output until the input ends.
pub(crate) async fn serve_stdio(legacy: bool) -> anyhow::Result<()> {
    let server = Conformance::new(Arc::new(Shared::new(legacy)));
    server.serve(rmcp::transport::stdio()).await?.waiting().await?;
    Ok(())
}
