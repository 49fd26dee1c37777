//! The MCP server that the official conformance suites ask for, and that the hub is put in front of.
//!
//! `fixture-conformance [--port N]` serves streamable HTTP on a loopback port (0: a free one) and prints
//! `listening on http://127.0.0.1:PORT/mcp` as its first line. `fixture-conformance --stdio` serves its
//! standard input and output instead. `--legacy` leaves out the revision without sessions (2026-07-28).

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;

#[path = "../conformance/mod.rs"]
mod conformance;

/// How to serve.
enum Mode {
    /// Streamable HTTP on this loopback port.
    Http(u16),
    /// Standard input and output.
    Stdio,
}

/// The mode, and whether to be a legacy server.
fn arguments() -> anyhow::Result<(Mode, bool)> {
    let (mut mode, mut legacy) = (Mode::Http(0), false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--legacy" => legacy = true,
            "--stdio" => mode = Mode::Stdio,
            "--port" => {
                let port = arguments.next().context("--port needs a number")?;
                mode = Mode::Http(
                    port.parse()
                        .with_context(|| format!("--port {port} is not a port"))?,
                );
            }
            other => {
                anyhow::bail!(
                    "unknown argument {other}: usage: fixture-conformance [--port N | --stdio] [--legacy]"
                )
            }
        }
    }
    Ok((mode, legacy))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match arguments()? {
        (Mode::Stdio, legacy) => conformance::serve_stdio(legacy).await,
        (Mode::Http(port), legacy) => {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            conformance::serve_http(address, legacy).await
        }
    }
}
