//! The hub as a program of its own, in a folder of its own.

use std::time::Duration;

use reqwest::{StatusCode, header::HeaderMap};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::{Legacy, Modern, Program, SOON, client::http, eventually, tools};

/// A key that may do all, in every hub whose configuration says nothing of keys.
pub const KEY: &str = "aih_key-of-the-admin-for-tests";

/// Longest start of a program that is to fail.
const FAILS_WITHIN: Duration = SOON;

/// `sha256:…` of a key.
pub fn key_hash(key: &str) -> String {
    let digest = Sha256::digest(key.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A whole configuration: `rest`, with `version`, and with [`KEY`] where it says no `auth` of its own.
pub fn config(rest: &str) -> String {
    let mut config = format!("version: \"1.0\"\n{rest}\n");
    if !rest.lines().any(|line| line == "auth:") {
        config.push_str(&format!(
            "auth:\n  api_keys:\n    - {{ name: admin, key_hash: \"{}\", permissions: [\"*\"] }}\n",
            key_hash(KEY)
        ));
    }
    config
}

/// How a hub is started.
#[derive(Default)]
pub struct Start<'a> {
    /// Its configuration; see [`config`] for what is added.
    pub config: &'a str,
    /// Files below its folder.
    pub files: &'a [(&'a str, &'a str)],
    /// Further environment variables.
    pub env: &'a [(&'a str, &'a str)],
    /// Further arguments of `aih serve`.
    pub args: &'a [&'a str],
    /// It builds and compiles all components itself. Otherwise the hubs of all tests share what they made of the same
    /// sources, which takes minutes on a busy machine.
    pub own_cache: bool,
    /// How many files it may open: the soft and the hard limit.
    pub open_files: Option<(u64, u64)>,
}

impl Start<'_> {
    fn prepare(&self) -> (TempDir, std::process::Command) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in self.files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        if !self.own_cache {
            let data = folder.path().join("data");
            std::fs::create_dir_all(&data).unwrap();
            std::os::unix::fs::symlink(tools::shared_cache(), data.join("cache")).unwrap();
        }
        let file = folder.path().join("aih-config.yaml");
        std::fs::write(&file, config(self.config)).unwrap();
        let mut command = match self.open_files {
            None => Program::command(&tools::binary("aih")),
            Some((soft, hard)) => {
                let mut shell = Program::command(std::path::Path::new("/bin/sh"));
                let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
                shell.arg("-c").arg(script).arg(tools::binary("aih"));
                shell
            }
        };
        command.arg("serve").arg("--config").arg(file);
        if !self.args.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        if !self.args.contains(&"--log-format") {
            command.args(["--log-format", "json"]);
        }
        command
            .args(self.args)
            .envs(self.env.iter().copied())
            .current_dir(folder.path());
        (folder, command)
    }

    /// Starts a hub and waits until it listens.
    pub async fn run(&self) -> Hub {
        let (folder, command) = self.prepare();
        listening(folder, command).await
    }

    /// Runs the program to its end, which must come soon: exit code and all output.
    pub async fn fail(&self) -> (Option<i32>, String) {
        let (_folder, command) = self.prepare();
        let output = Program::run("aih", command, FAILS_WITHIN).await;
        (output.status.code(), output.text)
    }
}

async fn listening(folder: TempDir, command: std::process::Command) -> Hub {
    let program = Program::spawn("aih", command);
    const SAYS: &str = "listening on ";
    let line = program.wait_for_line(SAYS).await;
    let from = line.find(SAYS).unwrap() + SAYS.len();
    let rest = &line[from..];
    let end = rest.find(|c: char| c == '"' || c == '\\' || c.is_whitespace());
    Hub {
        base: rest[..end.unwrap_or(rest.len())].to_owned(),
        program,
        folder,
    }
}

/// A hub that runs.
pub struct Hub {
    /// Its process.
    pub program: Program,
    /// `http://127.0.0.1:PORT`.
    pub base: String,
    /// Its folder: `aih-config.yaml`, `data/`.
    pub folder: TempDir,
}

impl Hub {
    /// Ends it and starts it anew in the same folder: same configuration, same data, another port.
    pub async fn restart(self) -> Self {
        self.restart_at("127.0.0.1:0").await
    }

    /// Ends it and starts it anew at its own address, as an operator does: its clients find it again.
    pub async fn restart_in_place(self) -> Self {
        let address = self.address().to_owned();
        self.restart_at(&address).await
    }

    async fn restart_at(mut self, address: &str) -> Self {
        self.program.signal(nix::sys::signal::Signal::SIGTERM);
        self.program.ended().await;
        let mut command = Program::command(&tools::binary("aih"));
        command
            .args(["serve", "--listen", address, "--log-format", "json"])
            .arg("--config")
            .arg(self.folder.path().join("aih-config.yaml"))
            .current_dir(self.folder.path());
        listening(self.folder, command).await
    }

    /// Ends it, as a crash would or in order, and starts it anew in the same folder and at the same address.
    pub async fn restart_here(mut self, crash: bool) -> Self {
        match crash {
            true => self.program.kill().await,
            false => {
                self.program.signal(nix::sys::signal::Signal::SIGTERM);
                self.program.ended().await;
            }
        }
        let mut command = Program::command(&tools::binary("aih"));
        command
            .args(["serve", "--listen", self.address(), "--log-format", "json"])
            .arg("--config")
            .arg(self.folder.path().join("aih-config.yaml"))
            .current_dir(self.folder.path());
        listening(self.folder, command).await
    }

    /// Starts a hub with this configuration (see [`config`]) and waits until it listens.
    pub async fn start(config: &str) -> Self {
        let start = Start {
            config,
            ..Start::default()
        };
        start.run().await
    }

    /// Starts a hub that lets everyone in: for clients that cannot send a key.
    pub async fn start_open(config: &str) -> Self {
        let start = Start {
            config,
            args: &["--no-auth"],
            ..Start::default()
        };
        start.run().await
    }

    /// An address of this hub.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        self.base.split("//").nth(1).unwrap()
    }

    /// A legacy client of all servers, with the key that may do all.
    pub async fn legacy(&self) -> Legacy {
        Legacy::connect(self, "/mcp", KEY).await
    }

    /// A modern client of all servers, with the key that may do all.
    pub fn modern(&self) -> Modern {
        Modern::new(self, "/mcp", KEY, serde_json::json!({}))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// All that it printed until now.
    pub fn output(&self) -> String {
        self.program.output()
    }

    /// The log rows so far that contain `text`.
    pub fn rows(&self, text: &str) -> usize {
        self.output().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits for a line of output that contains all of `words`.
    pub async fn logged(&self, words: &[&str]) -> String {
        eventually(&format!("a log row with {words:?}"), || {
            let all = self.output();
            let row = all.lines().find(|line| words.iter().all(|w| line.contains(w)));
            std::future::ready(row.map(str::to_owned))
        })
        .await
    }

    /// A REST request: status, headers and text.
    pub async fn get(
        &self,
        path: &str,
        key: Option<&str>,
        more: &[(&str, &str)],
    ) -> (StatusCode, HeaderMap, String) {
        let mut request = http().get(self.url(path));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, response.text().await.unwrap())
    }

    /// Lets the hub read its configuration again over REST, as an operator does, and answers what it says.
    pub async fn reload(&self) -> Value {
        let answer = http()
            .post(self.url("/api/v1/reload"))
            .bearer_auth(KEY)
            .send()
            .await
            .unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Waits until the lists of `/mcp` hold all of `names`.
    pub async fn until_tools(&self, client: &Legacy, names: &[&str]) -> Vec<String> {
        eventually(&format!("the tools {names:?}"), || async {
            let all = client.tool_names().await;
            names.iter().all(|n| all.iter().any(|t| t == n)).then_some(all)
        })
        .await
    }

    /// Waits until the server `name` is up and has listed its tools.
    pub async fn until_up(&self, name: &str) {
        eventually(&format!("server `{name}` is up"), || async {
            let (_, _, body) = self.get("/api/v1/registry/mcps", Some(KEY), &[]).await;
            let body: Value = serde_json::from_str(&body).unwrap();
            let mcp = body["mcps"].as_array()?.iter().find(|m| m["name"] == name)?;
            (mcp["state"] == "up" && mcp["tools"].as_u64()? > 0).then_some(())
        })
        .await;
    }
}
