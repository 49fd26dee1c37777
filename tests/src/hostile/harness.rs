//! What the tests of bad input, faults and access share: the real `aih serve`, the hostile upstream, and
//! clients that send exactly what they are told to and keep every byte of what comes back.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::mpsc,
};

/// A key that may do all, in every hub whose configuration says nothing of keys.
pub(crate) const KEY: &str = "aih_key-of-the-admin-for-tests";
/// Longest wait for anything that should come at once.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// `sha256:…` of a key.
pub(crate) fn key_hash(key: &str) -> String {
    let digest = Sha256::digest(key.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Looks again and again until `look` finds something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let until = Instant::now() + SOON;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < until, "did not happen in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The hostile fixture's program.
pub(crate) fn fixture_program() -> &'static str {
    env!("CARGO_BIN_EXE_fixture-hostile")
}

/// The hub's program, built beside the fixture.
pub(crate) fn hub_program() -> PathBuf {
    let path = Path::new(fixture_program()).with_file_name("aih");
    assert!(
        path.is_file(),
        "build it first: cargo build -p aih (looked for {})",
        path.display()
    );
    path
}

type Lines = Arc<Mutex<String>>;

fn collect(source: impl AsyncRead + Unpin + Send + 'static, lines: &Lines) {
    let lines = lines.clone();
    tokio::spawn(async move {
        let mut source = BufReader::new(source).lines();
        while let Ok(Some(line)) = source.next_line().await {
            let mut all = lines.lock().unwrap();
            all.push_str(&line);
            all.push('\n');
        }
    });
}

/// A running hub. Dropping it kills it.
pub(crate) struct Hub {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    /// The folder of its configuration.
    pub(crate) dir: tempfile::TempDir,
    pub(crate) child: Child,
    pub(crate) pid: u32,
    output: Lines,
}

/// How a hub is started.
#[derive(Default)]
pub(crate) struct Start<'a> {
    pub(crate) config: &'a str,
    pub(crate) files: &'a [(&'a str, &'a str)],
    pub(crate) env: &'a [(&'a str, &'a str)],
    pub(crate) args: &'a [&'a str],
}

impl Start<'_> {
    /// Writes the files and spawns the program.
    pub(crate) fn spawn(&self) -> (tempfile::TempDir, Child) {
        let dir = tempfile::tempdir().unwrap();
        let mut config = format!("version: \"1.0\"\n{}\n", self.config);
        if !self.config.lines().any(|line| line == "auth:") {
            config.push_str(&format!(
                "auth:\n  api_keys:\n    - {{ name: admin, key_hash: \"{}\", permissions: [\"*\"] }}\n",
                key_hash(KEY)
            ));
        }
        std::fs::write(dir.path().join("aih-config.yaml"), config).unwrap();
        for (name, text) in self.files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut command = Command::new(hub_program());
        command
            .arg("serve")
            .arg("--config")
            .arg(dir.path().join("aih-config.yaml"));
        if !self.args.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command
            .args(["--log-format", "json"])
            .args(self.args)
            .envs(self.env.iter().copied())
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        (dir, command.spawn().unwrap())
    }

    /// Starts a hub and waits until it listens.
    pub(crate) async fn run(&self) -> Hub {
        let (dir, mut child) = self.spawn();
        let output = Lines::default();
        collect(child.stdout.take().unwrap(), &output);
        collect(child.stderr.take().unwrap(), &output);
        let url = eventually("the hub listens", || {
            assert_eq!(
                child.try_wait().unwrap(),
                None,
                "the hub ended: {}",
                output.lock().unwrap()
            );
            let all = output.lock().unwrap().clone();
            async move {
                let at = all.find("listening on http://")? + "listening on ".len();
                let rest = all.get(at..)?;
                let end = rest.find(|c: char| c == '"' || c == '\\' || c.is_whitespace())?;
                Some(rest.get(..end)?.to_owned())
            }
        })
        .await;
        let pid = child.id().unwrap();
        Hub {
            url,
            dir,
            child,
            pid,
            output,
        }
    }

    /// Runs the program to its end, which must come soon: exit code and all output.
    pub(crate) async fn fail(&self) -> (Option<i32>, String) {
        let (_dir, child) = self.spawn();
        let output = tokio::time::timeout(SOON, child.wait_with_output()).await;
        let output = output.expect("the program did not end").unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }
}

impl Hub {
    /// A hub with this configuration; `version` and, where it has none, `auth` are added.
    pub(crate) async fn start(config: &str) -> Self {
        Start {
            config,
            ..Start::default()
        }
        .run()
        .await
    }

    /// All that it printed until now.
    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// The log rows so far that contain `text`.
    pub(crate) fn rows(&self, text: &str) -> usize {
        self.output().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits for a line of output that contains all of `words`.
    pub(crate) async fn logged(&self, words: &[&str]) -> String {
        eventually(
            &format!("a log row with {words:?} in:\n{}", self.output()),
            || {
                let all = self.output();
                let row = all.lines().find(|line| words.iter().all(|w| line.contains(w)));
                std::future::ready(row.map(str::to_owned))
            },
        )
        .await
    }

    /// Sends a signal to the hub itself.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.pid.try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// A REST request: status, headers and text.
    pub(crate) async fn get(
        &self,
        path: &str,
        key: Option<&str>,
        more: &[(&str, &str)],
    ) -> (StatusCode, HeaderMap, String) {
        let mut request = http().get(format!("{}{path}", self.url));
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

    /// Waits until the lists of `/mcp` hold all of `names`.
    pub(crate) async fn until_tools(&self, client: &Legacy, names: &[&str]) -> Vec<String> {
        eventually(
            &format!("the tools {names:?}; hub says:\n{}", self.output()),
            || async {
                let all = client.tool_names().await;
                names.iter().all(|n| all.iter().any(|t| t == n)).then_some(all)
            },
        )
        .await
    }
}

/// A fresh HTTP client, without proxies or redirects.
pub(crate) fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// The hostile fixture over HTTP. Dropping it kills it.
pub(crate) struct Fixture {
    pub(crate) url: String,
    /// A port that speaks no HTTP.
    pub(crate) noise: String,
    /// A port that accepts and never speaks.
    pub(crate) hole: String,
    child: Child,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_at(0).await
    }

    /// On this port, as after a restart.
    pub(crate) async fn start_at(port: u16) -> Self {
        let mut child = Command::new(fixture_program())
            .args(["--port", &port.to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| said[name].as_str().unwrap().to_owned();
        Self {
            url: text("url"),
            noise: text("noise"),
            hole: text("hole"),
            child,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.url.rsplit(':').next().unwrap().parse().unwrap()
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) async fn control(&self, path: &str, order: Value) {
        let answer = http()
            .post(format!("{}/control/{path}", self.url))
            .header("content-type", "application/json")
            .body(order.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 204, "{order}");
    }

    /// What a server was sent so far.
    pub(crate) async fn record(&self, path: &str) -> Vec<Value> {
        let answer = http()
            .get(format!("{}/record/{path}", self.url))
            .send()
            .await
            .unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }
}

/// The requests of a record with this method.
pub(crate) fn with_method<'r>(record: &'r [Value], method: &str) -> Vec<&'r Value> {
    record.iter().filter(|e| e["method"] == method).collect()
}

/// What a file written with `--record` holds.
pub(crate) fn read_record(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// All that came back for one message.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Whole messages, as text: those before the answer, then the answer.
    pub(crate) messages: Vec<String>,
    pub(crate) took: Duration,
}

impl Outcome {
    /// The last message: the answer.
    pub(crate) fn raw(&self) -> &str {
        self.messages.last().map_or("", String::as_str)
    }

    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(self.raw())
            .unwrap_or_else(|e| panic!("{e}: status {}, `{}`", self.status, self.raw()))
    }

    pub(crate) fn result(&self) -> Value {
        let value = self.value();
        assert!(value.get("result").is_some(), "an error: {value}");
        value["result"].clone()
    }

    /// The text of the first content block.
    pub(crate) fn text(&self) -> String {
        let result = self.result();
        result["content"][0]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("no text: {result}"))
            .to_owned()
    }

    pub(crate) fn error(&self) -> Value {
        let value = self.value();
        assert!(
            value.get("error").is_some(),
            "no error: {:.300}",
            value.to_string()
        );
        value["error"].clone()
    }

    pub(crate) fn code(&self) -> i64 {
        self.error()["code"].as_i64().unwrap()
    }

    /// The notifications of a method that came before the answer.
    pub(crate) fn notes(&self, method: &str) -> Vec<Value> {
        let values = self
            .messages
            .iter()
            .filter_map(|m| serde_json::from_str::<Value>(m).ok());
        values.filter(|v| v["method"] == method).collect()
    }
}

/// Answers a request of the server: its method and parameters to a result.
pub(crate) type Answers = fn(&str, &Value) -> Value;

/// Refuses everything that a server may ask.
pub(crate) fn no_answers(method: &str, _: &Value) -> Value {
    panic!("the server asked `{method}`")
}

/// Cuts an SSE stream into the data of its events.
pub(crate) struct Events {
    body: std::pin::Pin<Box<dyn futures::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    buffer: Vec<u8>,
}

impl Events {
    pub(crate) fn new(response: reqwest::Response) -> Self {
        Self {
            body: Box::pin(response.bytes_stream()),
            buffer: Vec::new(),
        }
    }

    /// The data of the next event that has some; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|w| w == b"\n\n") {
                let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let event = String::from_utf8(event).unwrap();
                let data: Vec<_> = event
                    .lines()
                    .filter_map(|line| line.strip_prefix("data:"))
                    .map(|data| data.strip_prefix(' ').unwrap_or(data))
                    .collect();
                let data = data.join("\n");
                if !data.is_empty() {
                    return Some(data);
                }
            }
            let more = self.body.next().await?.ok()?;
            self.buffer.extend_from_slice(&more);
        }
    }

    /// The next message of a method.
    pub(crate) async fn until(&mut self, method: &str) -> Value {
        let wait = async {
            loop {
                let data = self.next().await.expect("the stream ended");
                let Ok(value) = serde_json::from_str::<Value>(&data) else {
                    continue;
                };
                if value["method"] == method {
                    return value;
                }
            }
        };
        tokio::time::timeout(SOON, wait)
            .await
            .unwrap_or_else(|_| panic!("no {method} came"))
    }
}

/// One POST and all that comes back; `reply` takes answers to what the server asks meanwhile.
async fn exchange(request: reqwest::RequestBuilder, answers: Answers, reply: impl AsyncFn(Value)) -> Outcome {
    let began = Instant::now();
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let kind = headers.get("content-type").map_or("", |v| v.to_str().unwrap());
    let mut messages = Vec::new();
    if kind.starts_with("text/event-stream") {
        let mut events = Events::new(response);
        while let Some(data) = events.next().await {
            let value: Value = serde_json::from_str(&data).unwrap();
            messages.push(data);
            match (value.get("method").and_then(Value::as_str), value.get("id")) {
                (Some(method), Some(id)) => {
                    let result = answers(method, &value["params"]);
                    reply(json!({ "jsonrpc": "2.0", "id": id, "result": result })).await;
                }
                (None, _) => break,
                _ => {}
            }
        }
    } else {
        messages.push(response.text().await.unwrap());
    }
    Outcome {
        status,
        headers,
        messages,
        took: began.elapsed(),
    }
}

/// A client of 2025-11-25.
pub(crate) struct Legacy {
    http: reqwest::Client,
    pub(crate) url: String,
    key: String,
    pub(crate) session: String,
    answers: Answers,
    next: AtomicU64,
}

impl Legacy {
    /// Opens a session at `path` that can be asked nothing.
    pub(crate) async fn connect(hub: &Hub, path: &str, key: &str) -> Self {
        Self::connect_with(hub, path, key, json!({}), no_answers).await
    }

    /// Opens a session with these capabilities.
    pub(crate) async fn connect_with(
        hub: &Hub,
        path: &str,
        key: &str,
        capabilities: Value,
        answers: Answers,
    ) -> Self {
        let mut client = Self {
            http: http(),
            url: format!("{}{path}", hub.url),
            key: key.to_owned(),
            session: String::new(),
            answers,
            next: AtomicU64::new(1),
        };
        let opened = client
            .request(
                "initialize",
                json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities,
                    "clientInfo": { "name": "hostile-tests", "version": "1" } }),
            )
            .await;
        opened.result();
        client.session = opened.headers["mcp-session-id"].to_str().unwrap().to_owned();
        let status = client.notify("notifications/initialized", json!({})).await;
        assert_eq!(status, 202);
        client
    }

    /// A request with this session's headers.
    pub(crate) fn builder(&self, method: Method) -> reqwest::RequestBuilder {
        let mut request = self
            .http
            .request(method, &self.url)
            .bearer_auth(&self.key)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        if !self.session.is_empty() {
            request = request
                .header("mcp-session-id", &self.session)
                .header("mcp-protocol-version", "2025-11-25");
        }
        request
    }

    /// Sends this text as it is.
    pub(crate) async fn post(&self, body: impl Into<reqwest::Body>) -> Outcome {
        exchange(
            self.builder(Method::POST).body(body),
            self.answers,
            async |answer| {
                let sent = self.builder(Method::POST).body(answer.to_string()).send().await;
                assert_eq!(sent.unwrap().status(), 202);
            },
        )
        .await
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) async fn request(&self, method: &str, params: Value) -> Outcome {
        let body = json!({ "jsonrpc": "2.0", "id": self.next_id(), "method": method, "params": params });
        self.post(body.to_string()).await
    }

    pub(crate) async fn notify(&self, method: &str, params: Value) -> StatusCode {
        let body = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.post(body.to_string()).await.status
    }

    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Outcome {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
            .await
    }

    /// The standing stream.
    pub(crate) async fn standing(&self) -> Events {
        let response = self.builder(Method::GET).send().await.unwrap();
        assert_eq!(response.status(), 200);
        Events::new(response)
    }

    /// All tools, through all pages.
    pub(crate) async fn tools(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut params = json!({});
        loop {
            let result = self.request("tools/list", params).await.result();
            all.extend(result["tools"].as_array().unwrap().iter().cloned());
            match result.get("nextCursor") {
                Some(cursor) => params = json!({ "cursor": cursor }),
                None => return all,
            }
        }
    }

    pub(crate) async fn tool_names(&self) -> Vec<String> {
        let tools = self.tools().await;
        tools
            .iter()
            .map(|t| t["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Ends the session.
    pub(crate) async fn close(&self) -> StatusCode {
        self.builder(Method::DELETE).send().await.unwrap().status()
    }
}

/// A client of 2026-07-28.
pub(crate) struct Modern {
    http: reqwest::Client,
    url: String,
    key: String,
    capabilities: Value,
    next: AtomicU64,
}

impl Modern {
    pub(crate) fn new(hub: &Hub, path: &str, key: &str, capabilities: Value) -> Self {
        Self {
            http: http(),
            url: format!("{}{path}", hub.url),
            key: key.to_owned(),
            capabilities,
            next: AtomicU64::new(1),
        }
    }

    fn message(&self, method: &str, mut params: Value) -> (reqwest::RequestBuilder, String) {
        let mut meta = params["_meta"].as_object().cloned().unwrap_or_default();
        meta.insert(
            "io.modelcontextprotocol/protocolVersion".into(),
            "2026-07-28".into(),
        );
        meta.insert(
            "io.modelcontextprotocol/clientCapabilities".into(),
            self.capabilities.clone(),
        );
        meta.insert(
            "io.modelcontextprotocol/clientInfo".into(),
            json!({ "name": "hostile-tests", "version": "1" }),
        );
        params["_meta"] = Value::Object(meta);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut request = self
            .http
            .post(&self.url)
            .bearer_auth(&self.key)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method);
        if let Some(name) = params
            .get("name")
            .or_else(|| params.get("uri"))
            .and_then(Value::as_str)
        {
            request = request.header("mcp-name", name);
        }
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        (request, body.to_string())
    }

    pub(crate) async fn request(&self, method: &str, params: Value) -> Outcome {
        let (request, body) = self.message(method, params);
        exchange(request.body(body), no_answers, async |_| {}).await
    }

    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Outcome {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
            .await
    }

    /// The stream of `subscriptions/listen`, or of a call that is not waited for.
    pub(crate) async fn stream(&self, method: &str, params: Value) -> Events {
        let (request, body) = self.message(method, params);
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        Events::new(response)
    }
}

/// A channel's messages until none is there any more.
pub(crate) fn drain<T>(receiver: &mut mpsc::UnboundedReceiver<T>) -> Vec<T> {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

/// Processes whose command line contains `text`: (pid, command line). Zombies have none.
pub(crate) fn processes(text: &str) -> Vec<(u32, String)> {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    all.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(text).then_some((pid, line))
    })
    .collect()
}

/// How many of them are the fixture itself, not a shell or a guard in front of it.
pub(crate) fn servers(text: &str) -> usize {
    let is_fixture = |pid: u32| {
        std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("fixture-hostile"))
    };
    processes(text).iter().filter(|(pid, _)| is_fixture(*pid)).count()
}

/// A value of `/proc/PID/status` in kB, such as `VmRSS` or `VmHWM` (the most it ever was).
pub(crate) fn memory_kb(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|l| l.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
