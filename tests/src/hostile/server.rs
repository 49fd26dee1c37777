//! One server, whatever carries its messages: sessions, lists, and what was received.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Mode, tools};

/// A message of the client, its values as they came.
#[derive(Deserialize)]
pub(crate) struct Incoming {
    #[serde(default)]
    pub(crate) id: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) method: Option<String>,
    #[serde(default)]
    pub(crate) params: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) result: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) error: Option<Box<RawValue>>,
}

impl Incoming {
    /// What is written down of it: an answer has `answer`, its id, in place of a method.
    pub(crate) fn entry(&self) -> Value {
        if self.method.is_some() {
            return json!({ "method": self.method, "params": self.fields() });
        }
        let read = |raw: &Option<Box<RawValue>>| {
            let value = raw
                .as_ref()
                .and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
            value.unwrap_or_default()
        };
        json!({ "answer": read(&self.id), "result": read(&self.result), "error": read(&self.error) })
    }

    /// The same with one more member.
    pub(crate) fn entry_with(&self, name: &str, value: Value) -> Value {
        let mut entry = self.entry();
        if let Value::Object(members) = &mut entry {
            members.insert(name.to_owned(), value);
        }
        entry
    }

    /// The parameters for reading.
    pub(crate) fn fields(&self) -> Value {
        let params = self.params.as_ref();
        params
            .and_then(|p| serde_json::from_str(p.get()).ok())
            .unwrap_or(Value::Null)
    }
}

/// What is sent back for a request.
pub(crate) enum Reply {
    /// The `result`, as it goes on the wire.
    Result(String),
    /// The `error`, as it goes on the wire.
    Error(String),
    /// Nothing, ever.
    Never,
    /// These bytes in place of an answer.
    Bytes(Vec<u8>),
    /// The result's beginning; then the connection ends.
    Cut(String),
    /// The result with another id.
    WrongId(String),
    /// The process ends.
    Exit,
}

impl Reply {
    /// A result from a value.
    pub(crate) fn of(value: &Value) -> Self {
        Self::Result(value.to_string())
    }

    /// An error.
    pub(crate) fn error(code: i64, message: &str) -> Self {
        Self::Error(json!({ "code": code, "message": message }).to_string())
    }
}

/// What belongs to one request.
pub(crate) struct Context {
    /// Messages that go out before the answer.
    pub(crate) out: mpsc::UnboundedSender<String>,
    /// The credentials that came with it.
    pub(crate) authorization: String,
    /// Fires when the client cancels or goes.
    pub(crate) cancel: CancellationToken,
}

/// A legacy session, or the one that all requests share.
pub(crate) struct Session {
    /// What is sent outside requests: the GET stream, or stdout.
    pub(crate) standing: broadcast::Sender<String>,
    pending: Mutex<HashMap<String, oneshot::Sender<String>>>,
    running: Mutex<HashMap<String, CancellationToken>>,
    subscribed: Mutex<BTreeSet<String>>,
}

impl Session {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            standing: broadcast::channel(1_024).0,
            pending: Mutex::default(),
            running: Mutex::default(),
            subscribed: Mutex::default(),
        })
    }
}

/// See the module.
pub(crate) struct Server {
    pub(crate) mode: Mode,
    pub(crate) sessions: Mutex<HashMap<String, Arc<Session>>>,
    /// For those who listen in the modern way.
    pub(crate) listeners: broadcast::Sender<String>,
    pub(crate) down: std::sync::atomic::AtomicBool,
    shared: Arc<Session>,
    added: Mutex<Vec<String>>,
    /// All tasks, whoever made them: their ids and results.
    tasks: Mutex<Vec<(String, String)>>,
    record: Mutex<Vec<Value>>,
    file: Option<String>,
    counter: AtomicU64,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Server {
    pub(crate) fn new(mode: Mode, file: Option<String>) -> Arc<Self> {
        Arc::new(Self {
            mode,
            sessions: Mutex::default(),
            listeners: broadcast::channel(1_024).0,
            down: std::sync::atomic::AtomicBool::new(false),
            shared: Session::new(),
            added: Mutex::default(),
            tasks: Mutex::default(),
            record: Mutex::default(),
            file,
            counter: AtomicU64::new(1),
        })
    }

    /// The session without an id.
    pub(crate) fn shared(&self) -> Arc<Session> {
        self.shared.clone()
    }

    /// Opens a session; no other has its id, whichever server or process it is of.
    pub(crate) fn open(&self) -> (String, Arc<Session>) {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", std::process::id());
        let session = Session::new();
        lock(&self.sessions).insert(id.clone(), session.clone());
        (id, session)
    }

    /// Writes down what came.
    pub(crate) fn note(&self, entry: Value) {
        if let Some(file) = &self.file {
            use std::io::Write as _;
            let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
            let _ = opened.and_then(|mut f| writeln!(f, "{entry}"));
        }
        lock(&self.record).push(entry);
    }

    /// All that came.
    pub(crate) fn noted(&self) -> Value {
        Value::Array(lock(&self.record).clone())
    }

    fn everyone(&self, message: &Value) {
        let text = message.to_string();
        let _ = self.shared.standing.send(text.clone());
        for session in lock(&self.sessions).values() {
            let _ = session.standing.send(text.clone());
        }
        let _ = self.listeners.send(text);
    }

    /// One more tool, and everyone is told.
    pub(crate) fn add_tool(&self, name: &str) {
        lock(&self.added).push(name.to_owned());
        self.everyone(&json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }));
    }

    /// Adds a tool, or takes it away where it is there.
    pub(crate) fn toggle_tool(&self, name: &str) {
        {
            let mut added = lock(&self.added);
            match added.iter().position(|known| known == name) {
                Some(at) => drop(added.remove(at)),
                None => added.push(name.to_owned()),
            }
        }
        self.everyone(&json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }));
    }

    /// Tells who subscribed to `subscribed` that the resource `uri`, a part of it, changed.
    pub(crate) fn touch(&self, uri: &str, subscribed: &str) {
        let text = json!({
            "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": uri },
        })
        .to_string();
        let sessions: Vec<_> = lock(&self.sessions).values().cloned().collect();
        for session in sessions.iter().chain([&self.shared]) {
            if lock(&session.subscribed).contains(subscribed) {
                let _ = session.standing.send(text.clone());
            }
        }
    }

    /// Takes a notification or an answer.
    pub(crate) fn hear(&self, session: &Session, message: &Incoming) {
        match (&message.method, &message.id) {
            (Some(method), _) if method == "notifications/cancelled" => {
                let id = message.fields().get("requestId").map(Value::to_string);
                if let Some(cancel) = id.and_then(|id| lock(&session.running).remove(&id)) {
                    cancel.cancel();
                }
            }
            (Some(_), _) => {}
            (None, Some(id)) => {
                let raw = match (&message.result, &message.error) {
                    (Some(result), _) => result.get().to_owned(),
                    (None, Some(error)) => format!("{{\"error\":{}}}", error.get()),
                    (None, None) => "null".to_owned(),
                };
                if let Some(asker) = lock(&session.pending).remove(id.get()) {
                    let _ = asker.send(raw);
                }
            }
            (None, None) => {}
        }
    }

    /// Asks the client something within a request, and waits for its answer.
    pub(crate) async fn ask(
        &self,
        session: &Session,
        context: &Context,
        method: &str,
        params: &Value,
    ) -> String {
        let id = self.counter.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&session.pending).insert(id.to_string(), sender);
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let _ = context.out.send(request.to_string());
        answer.await.unwrap_or_else(|_| "null".to_owned())
    }

    /// Answers a request.
    pub(crate) async fn answer(
        &self,
        session: &Arc<Session>,
        message: &Incoming,
        context: &Context,
    ) -> Reply {
        let id = message
            .id
            .as_ref()
            .map(|id| id.get().to_owned())
            .unwrap_or_default();
        lock(&session.running).insert(id.clone(), context.cancel.clone());
        let reply = tokio::select! {
            reply = self.dispatch(session, message, context) => reply,
            () = context.cancel.cancelled() => {
                self.note(json!({ "method": "cancelled", "request": id }));
                Reply::Never
            }
        };
        lock(&session.running).remove(&id);
        reply
    }

    async fn dispatch(&self, session: &Arc<Session>, message: &Incoming, context: &Context) -> Reply {
        let method = message.method.as_deref().unwrap_or_default();
        let fields = message.fields();
        let modern = self.mode == Mode::Modern;
        match method {
            "initialize" if !modern => Reply::of(&json!({
                "protocolVersion": "2025-11-25",
                "capabilities": capabilities(),
                "serverInfo": { "name": "hostile", "version": "1" },
            })),
            "server/discover" if modern => Reply::of(&json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": capabilities(),
                "ttlMs": 0, "cacheScope": "public",
                "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "hostile", "version": "1" } },
            })),
            "ping" if !modern => Reply::Result("{}".to_owned()),
            "tools/list" => self.list(fields.get("cursor").and_then(Value::as_str)),
            "tools/call" => tools::call(self, session, message, context).await,
            "resources/list" => self.complete(r#""resources":[{"uri":"test://a","name":"a","size":1.0}]"#),
            "resources/templates/list" => self.complete(r#""resourceTemplates":[]"#),
            "resources/read" => {
                let uri = fields.get("uri").cloned().unwrap_or_default();
                self.complete(&format!(r#""contents":[{{"uri":{uri},"text":"A"}}]"#))
            }
            "prompts/list" => self.complete(r#""prompts":[{"name":"greet","x-unknown":1.0}]"#),
            "prompts/get" => self.complete(r#""messages":[]"#),
            "resources/subscribe" | "resources/unsubscribe" if !modern => {
                let uri = fields
                    .get("uri")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned();
                if method == "resources/subscribe" {
                    lock(&session.subscribed).insert(uri);
                } else {
                    lock(&session.subscribed).remove(&uri);
                }
                Reply::Result("{}".to_owned())
            }
            "logging/setLevel" if !modern => Reply::Result("{}".to_owned()),
            "completion/complete" => self.complete(r#""completion":{"values":["value"],"total":1}"#),
            "acme/echo" => self.complete(&format!(r#""echo":{fields}"#)),
            method if method.starts_with("tasks/") => self.task(method, &fields),
            _ => Reply::error(-32601, &format!("method not found: {method}")),
        }
    }

    /// Makes a task whose result is this one.
    pub(crate) fn make_task(&self, result: &str) -> Reply {
        // No other server has a task of that id.
        static COUNTER: AtomicU64 = AtomicU64::new(1);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let id = format!("task-{}-{number}", std::process::id());
        lock(&self.tasks).push((id.clone(), result.to_owned()));
        let task = state_of(&id, "working");
        match self.mode {
            Mode::Modern => Reply::Result(format!(r#"{{"resultType":"task",{task}}}"#)),
            _ => Reply::Result(format!(r#"{{"task":{{{task}}}}}"#)),
        }
    }

    /// Answers for every task to everyone, as a server does that cannot tell its callers apart.
    fn task(&self, method: &str, fields: &Value) -> Reply {
        let mut tasks = lock(&self.tasks);
        if method == "tasks/list" {
            let all: Vec<_> = tasks
                .iter()
                .map(|(id, _)| format!("{{{}}}", state_of(id, "completed")))
                .collect();
            return self.complete(&format!("\"tasks\":[{}]", all.join(",")));
        }
        let id = fields.get("taskId").and_then(Value::as_str).unwrap_or_default();
        let known = tasks.iter().find(|(known, _)| known == id).cloned();
        let Some((id, result)) = known else {
            return Reply::error(-32602, "no such task");
        };
        match method {
            "tasks/result" => Reply::Result(result),
            "tasks/cancel" => {
                tasks.retain(|(known, _)| *known != id);
                self.complete(&state_of(&id, "cancelled"))
            }
            _ if self.mode == Mode::Modern => {
                self.complete(&format!(r#"{},"result":{result}"#, state_of(&id, "completed")))
            }
            _ => self.complete(&state_of(&id, "completed")),
        }
    }

    /// A result with these members, complete in the server's era.
    pub(crate) fn complete(&self, members: &str) -> Reply {
        let result = if self.mode == Mode::Modern {
            format!(r#"{{"resultType":"complete","ttlMs":0,"cacheScope":"public",{members}}}"#)
        } else {
            format!("{{{members}}}")
        };
        Reply::Result(result)
    }

    fn list(&self, cursor: Option<&str>) -> Reply {
        const PAGE: usize = 100;
        const MANY: usize = 5_000;
        match self.mode {
            Mode::SilentList => Reply::Never,
            Mode::GarbageList => Reply::Bytes(b"<html>\xff not a list".to_vec()),
            Mode::Many => {
                let from: usize = cursor.and_then(|c| c.parse().ok()).unwrap_or(0);
                let to = (from + PAGE).min(MANY);
                let listed: Vec<_> = (from..to).map(|n| tools::plain(&format!("tool_{n}"))).collect();
                let next = if to < MANY {
                    format!(r#","nextCursor":"{to}""#)
                } else {
                    String::new()
                };
                self.complete(&format!("\"tools\":[{}]{next}", listed.join(",")))
            }
            Mode::Duplicate => {
                let (echo, other) = (tools::plain("echo"), tools::plain("other"));
                self.complete(&format!("\"tools\":[{echo},{other},{echo}]"))
            }
            Mode::EndlessList => self.complete(&format!(
                r#""tools":[{}],"nextCursor":"again""#,
                tools::plain("echo")
            )),
            _ => {
                let mut listed = tools::all();
                listed.extend(lock(&self.added).iter().map(|name| tools::plain(name)));
                self.complete(&format!("\"tools\":[{}]", listed.join(",")))
            }
        }
    }
}

/// The members of a task.
fn state_of(id: &str, status: &str) -> String {
    format!(
        r#""taskId":"{id}","status":"{status}","createdAt":"2026-01-01T00:00:00Z","lastUpdatedAt":"2026-01-01T00:00:00Z","ttl":null,"ttlMs":null"#
    )
}

fn capabilities() -> Value {
    json!({
        "tools": { "listChanged": true },
        "resources": { "subscribe": true, "listChanged": true },
        "prompts": {},
        "logging": {},
        "x-unknown": { "kept": true },
    })
}
