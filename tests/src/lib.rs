//! Harness of the end-to-end tests: it starts the real hub and real programs, and speaks raw MCP.
//!
//! Everything listens on free loopback ports and ends by its own process id. A failing test prints what the
//! hub logged.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness fails its test by panicking"
)]

pub mod client;
pub mod program;
pub mod real;
pub mod tools;

use std::{path::Path, time::Duration};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

pub use client::{Legacy, Modern};
pub use program::Program;

/// Longest time that a condition may take to become true.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `check` gives a value.
///
/// # Panics
/// It did not within [`PATIENCE`].
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut check: impl FnMut() -> F) -> T {
    let wait = async {
        loop {
            if let Some(value) = check().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("timed out waiting until {what}"))
}

/// The key of a started [`Hub`] that may do everything.
pub const ADMIN_KEY: &str = "aih_admin-key-of-the-tests";

/// `sha256:…` of a key.
pub fn key_hash(key: &str) -> String {
    let hash = Sha256::digest(key.as_bytes());
    let hex: String = hash.iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

/// A hub that runs as a process of its own, in a folder of its own.
pub struct Hub {
    /// Its process.
    pub program: Program,
    /// `http://127.0.0.1:PORT`.
    pub base: String,
    /// Its folder: `aih-config.yaml`, `data/`.
    pub folder: TempDir,
}

/// How to start a [`Hub`].
#[derive(Default)]
pub struct Start<'a> {
    /// Further arguments of `aih serve`.
    pub arguments: &'a [&'a str],
    /// Further environment variables.
    pub environment: &'a [(&'a str, &'a str)],
    /// Files below the folder.
    pub files: &'a [(&'a str, &'a str)],
}

/// A configuration with the admin key, and `rest` (YAML at top level; it must not say `auth`).
pub fn config(rest: &str) -> String {
    config_with_keys(&[("admin", ADMIN_KEY, "[\"*\"]")], rest)
}

/// A configuration with keys (name, key, permissions as a YAML list), and `rest`.
pub fn config_with_keys(keys: &[(&str, &str, &str)], rest: &str) -> String {
    let keys: String = keys
        .iter()
        .map(|(name, key, permissions)| {
            format!(
                "    - name: \"{name}\"\n      key_hash: \"{}\"\n      permissions: {permissions}\n",
                key_hash(key)
            )
        })
        .collect();
    format!("version: \"1.0\"\nname: \"test-hub\"\nauth:\n  api_keys:\n{keys}{rest}\n")
}

impl Hub {
    /// Starts a hub with this configuration and waits until it answers.
    pub async fn start(config: &str) -> Self {
        Self::start_with(config, Start::default()).await
    }

    /// Starts a hub that lets everyone in: for clients that cannot send a key.
    pub async fn start_open(config: &str) -> Self {
        Self::start_with(
            config,
            Start {
                arguments: &["--no-auth"],
                ..Start::default()
            },
        )
        .await
    }

    /// Starts a hub and waits until it answers.
    pub async fn start_with(config: &str, start: Start<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in start.files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::write(folder.path().join("aih-config.yaml"), config).unwrap();
        let mut command = Program::command(&tools::binary("aih"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "debug"])
            .args(start.arguments);
        command
            .current_dir(folder.path())
            .envs(start.environment.iter().copied());
        let program = Program::spawn("aih", command);
        let base = program.wait_for_line("listening on ").await;
        let base = base
            .split("listening on ")
            .nth(1)
            .unwrap()
            .split_whitespace()
            .next()
            .unwrap()
            .to_owned();
        Self {
            program,
            base,
            folder,
        }
    }

    /// An address of this hub.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A legacy client of the aggregated endpoint with the admin key.
    pub async fn legacy(&self) -> Legacy {
        Legacy::connect(&self.url("/mcp"), Some(ADMIN_KEY)).await
    }

    /// A modern client of the aggregated endpoint with the admin key.
    pub fn modern(&self) -> Modern {
        Modern::new(&self.url("/mcp"), Some(ADMIN_KEY))
    }

    /// Waits until the server `name` is up and has listed its tools.
    pub async fn until_up(&self, name: &str) {
        let client = client::http();
        until(&format!("server `{name}` is up"), || async {
            let request = client
                .get(self.url("/api/v1/registry/mcps"))
                .bearer_auth(ADMIN_KEY);
            let body: serde_json::Value = request.send().await.ok()?.json().await.ok()?;
            let mcp = body
                .get("mcps")?
                .as_array()?
                .iter()
                .find(|m| m.get("name") == Some(&name.into()))?
                .clone();
            let up = mcp.get("state")? == "up" && mcp.get("tools")?.as_u64()? > 0;
            up.then_some(())
        })
        .await;
    }

    /// The hub's process id.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Its resident memory in bytes.
    pub fn memory(&self) -> u64 {
        memory_of(self.pid())
    }
}

/// Resident memory of a process in bytes.
pub fn memory_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|l| l.starts_with("VmRSS:"))
        .expect("a live process has VmRSS");
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Whether a process is there (and no zombie).
pub fn alive(pid: u32) -> bool {
    std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim_start()
            .starts_with('Z')
    })
}
