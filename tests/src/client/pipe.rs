//! `aih stdio`, as a client starts it.

use std::process::{ExitStatus, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{Program, SOON, config, eventually, tools};

/// A process of `aih stdio`, its input and its output. It is killed with the value.
pub struct Pipe {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    _folder: TempDir,
}

impl Pipe {
    /// Starts one with this configuration (see [`config`]).
    pub fn start(rest: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("aih-config.yaml");
        std::fs::write(&file, config(rest)).unwrap();
        let mut command = Program::command(&tools::binary("aih"));
        command
            .args(["stdio", "--config"])
            .arg(file)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = Command::from(command).kill_on_drop(true).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let input = child.stdin.take();
        let _folder = folder;
        Self {
            child,
            input,
            output,
            _folder,
        }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &Value) {
        let input = self.input.as_mut().expect("the input is closed");
        input.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    /// Closes its input.
    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// The next message; `None` at the end of its output.
    pub async fn next(&mut self) -> Option<Value> {
        let line = tokio::time::timeout(SOON, self.output.next_line());
        let line = line.await.expect("nothing came").unwrap();
        line.map(|line| serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}")))
    }

    /// Sends a request and waits for its answer; other messages are thrown away.
    pub async fn request(&mut self, id: &str, method: &str, params: Value) -> Value {
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .await;
        loop {
            let message = self.next().await.expect("it ended");
            if message["id"] == id {
                return message;
            }
        }
    }

    /// Greets as a client of 2025-11-25 with these capabilities, and waits until this tool is there.
    pub async fn until_tool(&mut self, capabilities: Value, tool: &str) {
        let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities,
            "clientInfo": { "name": "pipe", "version": "1" } });
        self.request("hello", "initialize", hello).await;
        let this = tokio::sync::Mutex::new(self);
        eventually(&format!("the tool `{tool}`"), || async {
            let listed = this.lock().await.request("list", "tools/list", json!({})).await;
            let tools = listed["result"]["tools"].as_array().cloned().unwrap_or_default();
            tools.iter().any(|listed| listed["name"] == tool).then_some(())
        })
        .await;
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> ExitStatus {
        let ended = tokio::time::timeout(SOON, self.child.wait()).await;
        ended.expect("it did not end").unwrap()
    }
}
