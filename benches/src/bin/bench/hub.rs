//! The hub under measurement: its configuration, and proof that it is what it should be.
//!
//! Keys and permissions are on, and permissions take something away, so that every call is matched.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aih_benches::cell::Through;
use aih_benches::http::Connection;
use aih_benches::process::Program;
use aih_benches::session::{Endpoint, Session};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// The client's key. It opens nothing but hubs that this program starts.
const KEY: &str = "aih_benchmark_key_that_opens_nothing_else_000000000";
/// The key of who looks into the hub. It opens nothing else either.
const ADMIN: &str = "aih_benchmark_key_of_the_administrator_0000000000000";
/// The configuration's name.
const CONFIG: &str = "aih-config.yaml";
/// What stands in front of the echo server's tools at the hub.
const PREFIX: &str = "echo__";
/// What stands in front of tools that the key may not use.
const SECRET_PREFIX: &str = "secret__";
/// How long the hub may take to be ready and to list the echo server's tools.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a hub under measurement has beside the echo server and the one that its key may not use.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// More names of the echo server.
    pub(crate) servers: Vec<&'static str>,
    /// `plugins:` and `hooks:` of the configuration.
    pub(crate) yaml: String,
}

/// A running hub.
pub(crate) struct Hub {
    /// The process.
    pub(crate) program: Program,
    /// From its start until `/api/v1/health` answered 200.
    pub(crate) ready: Duration,
    /// Its configuration and its data.
    folder: Arc<TempDir>,
}

impl Hub {
    /// Starts a hub in front of the echo server at `upstream`.
    pub(crate) async fn start(path: &Path, upstream: SocketAddr, extras: &Extras) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder for the hub")?;
        let config = folder.path().join(CONFIG);
        std::fs::write(&config, configuration(upstream, extras))
            .context("cannot write the hub's configuration")?;
        Self::start_in(path, Arc::new(folder)).await
    }

    /// Stops the hub, and starts one with its configuration and its data.
    pub(crate) async fn again(self, path: &Path) -> Result<Self> {
        self.program.stop().await?;
        Self::start_in(path, self.folder).await
    }

    async fn start_in(path: &Path, folder: Arc<TempDir>) -> Result<Self> {
        let arguments = [
            "serve".to_owned(),
            "--config".to_owned(),
            folder.path().join(CONFIG).display().to_string(),
            "--listen".to_owned(),
            "127.0.0.1:0".to_owned(),
        ];
        let program = Program::start("the hub", path, &arguments, folder.path()).await?;
        let ready = healthy(&program).await?;
        Ok(Self {
            program,
            ready,
            folder,
        })
    }

    /// Where clients go.
    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint_of(PREFIX)
    }

    /// The hub as one way of a measurement.
    pub(crate) fn through(&self, endpoint: Endpoint) -> Through<'_> {
        Through {
            path: "hub",
            endpoint,
            program: &self.program,
        }
    }

    /// Where clients go who call the tools with this in front of their names.
    pub(crate) fn endpoint_of(&self, prefix: &'static str) -> Endpoint {
        Endpoint {
            address: self.program.address,
            key: Some(KEY.to_owned()),
            prefix,
        }
    }

    /// Waits until the hub lists that many tools of the echo server.
    pub(crate) async fn wait_for_tools(&self, tools: usize) -> Result<()> {
        self.wait_for(PREFIX, tools, PATIENCE).await
    }

    /// Waits until the hub lists that many tools with this in front of their names.
    pub(crate) async fn wait_for(&self, prefix: &str, tools: usize, patience: Duration) -> Result<()> {
        let end = Instant::now() + patience;
        loop {
            let names = Session::tool_names(&self.endpoint())
                .await
                .context("tools/list at the hub")?;
            let listed = names.iter().filter(|name| name.starts_with(prefix)).count();
            if listed == tools {
                return Ok(());
            }
            if Instant::now() > end {
                bail!(
                    "the hub lists {listed} of {tools} tools `{prefix}…` after {patience:?}; its last lines:\n{}",
                    self.program.last_lines()
                );
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// `GET` or `POST` of the REST API, with the administrator's key: the answer's status and JSON.
    pub(crate) async fn rest(&self, method: &str, path: &str, body: &str) -> Result<(u16, Value)> {
        let mut connection = Connection::open(self.program.address).await?;
        let request = self.rest_request(method, path, body);
        let head = connection.exchange(request.as_bytes()).await?;
        Ok((
            head.status,
            serde_json::from_slice(connection.body()).unwrap_or(Value::Null),
        ))
    }

    /// A request of the REST API, as bytes.
    pub(crate) fn rest_request(&self, method: &str, path: &str, body: &str) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {ADMIN}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.program.address,
            body.len()
        )
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

/// Two upstreams, of which the key may use one, and what else a measurement needs.
fn configuration(upstream: SocketAddr, extras: &Extras) -> String {
    let (key, admin) = (hash(KEY), hash(ADMIN));
    let mut text = format!(
        r#"version: "1.0"
name: "bench"
auth:
  api_keys:
    - name: "bench"
      key_hash: "sha256:{key}"
      permissions: ["mcps/*", "!mcps/secret/*", "plugins/*", "skills/*"]
    - name: "admin"
      key_hash: "sha256:{admin}"
      permissions: ["*"]
mcps:
  external:
"#
    );
    let servers = ["echo", "secret"].iter().chain(&extras.servers);
    for name in servers {
        text.push_str(&format!(
            "    - {{ name: {name}, url: \"http://{upstream}/mcp\", transport: http }}\n"
        ));
    }
    text.push_str(&extras.yaml);
    text
}

fn hash(key: &str) -> String {
    let mut hash = String::new();
    for byte in Sha256::digest(key.as_bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    hash
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
