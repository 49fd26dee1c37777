//! The hub under measurement: its configuration, and proof that it is what it should be.
//!
//! Keys and permissions are on, and permissions take something away, so that every call is matched.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use aih_benches::http::Connection;
use aih_benches::process::Program;
use aih_benches::session::{Endpoint, Session};
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// The client's key. It opens nothing but hubs that this program starts.
const KEY: &str = "aih_benchmark_key_that_opens_nothing_else_000000000";
/// What stands in front of the echo server's tools at the hub.
const PREFIX: &str = "echo__";
/// What stands in front of tools that the key may not use.
const SECRET_PREFIX: &str = "secret__";
/// How long the hub may take to be ready and to list the echo server's tools.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running hub.
pub(crate) struct Hub {
    /// The process.
    pub(crate) program: Program,
    /// From its start until `/api/v1/health` answered 200.
    pub(crate) ready: Duration,
    _folder: TempDir,
}

impl Hub {
    /// Starts a hub in front of the echo server at `upstream`.
    pub(crate) async fn start(path: &Path, upstream: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder for the hub")?;
        let config = folder.path().join("aih-config.yaml");
        std::fs::write(&config, configuration(upstream)).context("cannot write the hub's configuration")?;
        let arguments = [
            "serve".to_owned(),
            "--config".to_owned(),
            config.display().to_string(),
            "--listen".to_owned(),
            "127.0.0.1:0".to_owned(),
        ];
        let program = Program::start("the hub", path, &arguments, folder.path()).await?;
        let ready = healthy(&program).await?;
        Ok(Self {
            program,
            ready,
            _folder: folder,
        })
    }

    /// Where clients go.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint {
            address: self.program.address,
            key: Some(KEY.to_owned()),
            prefix: PREFIX,
        }
    }

    /// Waits until the hub lists that many tools of the echo server.
    pub(crate) async fn wait_for_tools(&self, tools: usize) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let names = Session::tool_names(&self.endpoint())
                .await
                .context("tools/list at the hub")?;
            let listed = names.iter().filter(|name| name.starts_with(PREFIX)).count();
            if listed == tools {
                return Ok(());
            }
            if Instant::now() > end {
                bail!(
                    "the hub lists {listed} of {tools} tools after {PATIENCE:?}; its last lines:\n{}",
                    self.program.last_lines()
                );
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// A hub that lets everybody do everything would be measured too kindly.
    pub(crate) async fn check_permissions(&self) -> Result<()> {
        let names = Session::tool_names(&self.endpoint()).await?;
        let seen = names.iter().find(|name| name.starts_with(SECRET_PREFIX));
        ensure!(
            seen.is_none(),
            "the hub shows {seen:?}, which the key may not use"
        );
        let stranger = Endpoint {
            key: None,
            ..self.endpoint()
        };
        ensure!(
            Session::tool_names(&stranger).await.is_err(),
            "the hub lists tools for a client without a key"
        );
        Ok(())
    }
}

/// Two upstreams, of which the key may use one.
fn configuration(upstream: SocketAddr) -> String {
    let mut hash = String::new();
    for byte in Sha256::digest(KEY.as_bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    format!(
        r#"version: "1.0"
name: "bench"
auth:
  api_keys:
    - name: "bench"
      key_hash: "sha256:{hash}"
      permissions: ["mcps/*", "!mcps/secret/*", "skills/*"]
mcps:
  external:
    - name: "echo"
      url: "http://{upstream}/mcp"
      transport: http
    - name: "secret"
      url: "http://{upstream}/mcp"
      transport: http
"#
    )
}

async fn healthy(program: &Program) -> Result<Duration> {
    let request = format!("GET /api/v1/health HTTP/1.1\r\nHost: {}\r\n\r\n", program.address);
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = match Connection::open(program.address).await {
            Ok(mut connection) => connection
                .exchange(request.as_bytes())
                .await
                .map(|head| head.status),
            Err(error) => Err(error),
        };
        match answer {
            Ok(200) => return Ok(program.started.elapsed()),
            answer if Instant::now() > end => bail!(
                "/api/v1/health is not 200 after {PATIENCE:?} but {answer:?}; the hub's last lines:\n{}",
                program.last_lines()
            ),
            _ => sleep(Duration::from_millis(1)).await,
        }
    }
}
