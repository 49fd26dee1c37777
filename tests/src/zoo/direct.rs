//! A raw MCP client, directly at a server over stdio or through the hub, in either era.

use std::{process::Stdio, time::Duration};

use aih_tests::{Hub, KEY, Legacy, Modern};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
};

/// The revisions that are compared, one of each era.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// 2025-11-25.
    Legacy,
    /// 2026-07-28.
    Modern,
}

/// Longest wait for one answer of a server.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// Longest wait for the end of a server that was asked to end.
const ENDS_WITHIN: Duration = Duration::from_secs(3);

/// A client, and what it is connected to.
pub(crate) enum Client {
    Direct(Box<Direct>),
    Legacy(Legacy),
    Modern(Modern),
}

impl Client {
    /// Through the hub at this path.
    pub(crate) async fn through(hub: &Hub, path: &str, era: Era) -> Self {
        match era {
            Era::Legacy => {
                Self::Legacy(Legacy::connect_with(hub, path, KEY, capabilities(), answer_to).await)
            }
            Era::Modern => Self::Modern(Modern::new(hub, path, KEY, capabilities())),
        }
    }

    /// A result, or an error as `Err`.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let mut answer = match self {
            Self::Direct(direct) => direct.ask(method, params).await,
            Self::Legacy(client) => client.request(method, params).await.value(),
            Self::Modern(client) => ask_modern(client, method, params).await,
        };
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(answer["error"].take()),
        }
    }

    /// Ends a server that this client started.
    pub(crate) async fn end(self) {
        if let Self::Direct(direct) = self {
            direct.end().await;
        }
    }

    /// All pages of a list; nothing where the server has no such list.
    pub(crate) async fn list(&mut self, method: &str, member: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut params = json!({});
        while let Ok(mut page) = self.ask(method, params).await {
            if let Value::Array(items) = page[member].take() {
                all.extend(items);
            }
            match page["nextCursor"].take() {
                Value::Null => break,
                cursor => params = json!({"cursor": cursor}),
            }
        }
        all
    }
}

/// How often a server may ask something before it answers.
const MAX_QUESTIONS: usize = 5;

/// A request of the modern era, again with the answers to what the server asks.
async fn ask_modern(client: &Modern, method: &str, params: Value) -> Value {
    let mut answer = client.request(method, params.clone()).await.value();
    for _ in 0..MAX_QUESTIONS {
        if answer["result"]["resultType"] != "input_required" {
            break;
        }
        let mut again = params.clone();
        again["requestState"] = answer["result"]["requestState"].take();
        if let Some(questions) = answer["result"]["inputRequests"].as_object() {
            let answers = questions.iter().map(|(key, question)| {
                let method = question["method"].as_str().unwrap_or_default();
                (key.clone(), answer_to(method, &question["params"]))
            });
            again["inputResponses"] = Value::Object(answers.collect());
        }
        answer = client.request(method, again).await.value();
    }
    answer
}

/// A server that is a child of the test, and its stdio.
pub(crate) struct Direct {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    era: Era,
    next: u64,
    /// What the server said of itself.
    pub(crate) greeting: Value,
}

impl Direct {
    /// Starts a server and greets it; an error where it does not speak the era.
    pub(crate) async fn start(command: std::process::Command, era: Era) -> Result<Self, String> {
        let mut child = tokio::process::Command::from(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| format!("does not start: {e}"))?;
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut direct = Self {
            child,
            input,
            output: BufReader::new(output).lines(),
            era,
            next: 1,
            greeting: Value::Null,
        };
        let method = match era {
            Era::Legacy => "initialize",
            Era::Modern => "server/discover",
        };
        let mut answer = direct.ask(method, greeting(era)).await;
        if answer.get("result").is_none() {
            return Err(format!("{method}: {answer}"));
        }
        direct.greeting = answer["result"].take();
        if era == Era::Legacy {
            direct
                .send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
                .await;
        }
        Ok(direct)
    }

    async fn ask(&mut self, method: &str, mut params: Value) -> Value {
        let id = self.next;
        self.next += 1;
        if self.era == Era::Modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": capabilities(),
                "io.modelcontextprotocol/clientInfo": client_info(),
            });
        }
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
            .await;
        let answer = tokio::time::timeout(ANSWERS_WITHIN, self.answer(id)).await;
        answer.unwrap_or_else(|_| json!({"error": {"message": "the server does not answer"}}))
    }

    /// Lets the server end: its input ends, and SIGTERM comes if that does not help. Some servers write their files now.
    async fn end(mut self) {
        drop(self.input);
        if tokio::time::timeout(ENDS_WITHIN, self.child.wait()).await.is_ok() {
            return;
        }
        if let Some(pid) = self.child.id().and_then(|pid| pid.try_into().ok()) {
            // It may have ended by itself meanwhile.
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        // After that it is killed, for some servers take no notice of either.
        let _ = tokio::time::timeout(ENDS_WITHIN, self.child.wait()).await;
    }

    async fn answer(&mut self, id: u64) -> Value {
        while let Ok(Some(line)) = self.output.next_line().await {
            // Some servers print other things too.
            let Ok(message) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            match (message.get("method"), message.get("id")) {
                (Some(method), Some(question)) => {
                    let result = answer_to(method.as_str().unwrap_or_default(), &Value::Null);
                    self.send(json!({"jsonrpc": "2.0", "id": question, "result": result}))
                        .await;
                }
                (None, Some(found)) if *found == json!(id) => return message,
                _ => {}
            }
        }
        json!({"error": {"message": "the server ended"}})
    }

    async fn send(&mut self, message: Value) {
        // A server that has ended does not read any more, and then does not answer either.
        let _ = self.input.write_all(format!("{message}\n").as_bytes()).await;
        let _ = self.input.flush().await;
    }
}

/// Servers have tools that they list only to clients which can answer questions.
fn capabilities() -> Value {
    json!({"roots": {}, "sampling": {}, "elicitation": {}})
}

/// What a client answers to a server: that it has no roots. Others ask nothing.
fn answer_to(method: &str, _: &Value) -> Value {
    match method {
        "roots/list" => json!({"roots": []}),
        _ => json!({}),
    }
}

fn client_info() -> Value {
    json!({"name": "hostile-tests", "version": "1"})
}

/// The parameters of the first request.
fn greeting(era: Era) -> Value {
    match era {
        Era::Legacy => {
            json!({"protocolVersion": "2025-11-25", "capabilities": capabilities(), "clientInfo": client_info()})
        }
        Era::Modern => json!({}),
    }
}

/// What the hub says of a server to a client that begins at its own endpoint.
pub(crate) async fn greeting_through(hub: &Hub, path: &str, era: Era) -> Value {
    match era {
        Era::Legacy => {
            let request = aih_tests::client::http()
                .post(hub.url(path))
                .bearer_auth(KEY)
                .header("accept", "application/json, text/event-stream")
                .header("content-type", "application/json");
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": greeting(era)});
            let answer = request.body(body.to_string()).send().await.unwrap();
            let mut events = aih_tests::Events::new(answer);
            let mut answer: Value = serde_json::from_str(&events.next().await.unwrap()).unwrap();
            answer["result"].take()
        }
        Era::Modern => {
            let client = Modern::new(hub, path, KEY, capabilities());
            client.request("server/discover", greeting(era)).await.result()
        }
    }
}
