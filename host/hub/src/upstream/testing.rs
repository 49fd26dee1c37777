//! What the tests of this module share: clients, peers that write down what they hear, and a server that
//! answers from a script. Real servers are covered by the end-to-end tests.

use std::{
    sync::{Arc, Mutex, atomic::AtomicU8},
    time::Duration,
};

use aih_mcp::{ErrorCode, ErrorObject, Message, ProtocolVersion, RawJson, headers::ParamHeader};
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Connector, ServerAddress, TransportKind, UpstreamServer, UpstreamSpec,
    transport::{Inbox, Transport, TransportError, activity::Activity},
};
use crate::{
    access::Principal,
    config::{Endpoint, EntryState, Protocol, Sessions, ToolRules},
    provider::{Call, ChangeSignal, Client, ClientKey, Peer, Provider as _},
};

/// Records what it receives, and answers every question with its name.
#[derive(Default)]
pub(super) struct RecordingPeer {
    pub(super) received: Mutex<Vec<(String, String)>>,
    pub(super) name: &'static str,
}

#[async_trait]
impl Peer for RecordingPeer {
    fn notify(&self, _: &str, method: &str, params: Option<RawJson>) {
        let params = params.map(|p| p.text().into_owned()).unwrap_or_default();
        self.received.lock().unwrap().push((method.to_owned(), params));
    }

    async fn ask(&self, _: &str, method: &str, _: Option<RawJson>) -> Result<RawJson, ErrorObject> {
        if method == "never" {
            std::future::pending::<()>().await;
        }
        Ok(RawJson::of(&serde_json::json!({ "answered": self.name })))
    }
}

pub(super) fn client_with(
    key: &str,
    version: ProtocolVersion,
    capabilities: &str,
    peer: Arc<dyn Peer>,
) -> Arc<Client> {
    Arc::new(Client {
        key: ClientKey(key.into()),
        principal: Arc::new(Principal::anonymous_admin()),
        version,
        info: Some(RawJson::of(&serde_json::json!({ "name": key, "version": "1" }))),
        capabilities: RawJson::parse(capabilities.to_owned()).unwrap(),
        peer,
        log_level: AtomicU8::new(0),
        since: tokio::time::Instant::now(),
    })
}

/// A client of 2025-11-25 of the key called `principal`.
pub(super) fn client_of(principal: &str, key: &str) -> Arc<Client> {
    client_of_with(principal, key, "{}", Arc::new(RecordingPeer::default()))
}

/// The same with capabilities and a peer.
pub(super) fn client_of_with(
    principal: &str,
    key: &str,
    capabilities: &str,
    peer: Arc<dyn Peer>,
) -> Arc<Client> {
    let client = client_with(key, ProtocolVersion::V2025_11_25, capabilities, peer);
    let mut client = Arc::into_inner(client).unwrap();
    client.principal = Arc::new(Principal::hook(principal));
    Arc::new(client)
}

pub(super) fn client(key: &str, version: ProtocolVersion, capabilities: &str) -> Arc<Client> {
    client_with(key, version, capabilities, Arc::new(RecordingPeer::default()))
}

/// What the scripted server does with a request.
pub(super) enum Reply {
    Result(Value),
    Error(i64, &'static str),
    Fail(TransportError),
    /// Answers when the notifier fires.
    When(Arc<Notify>, Value),
    Never,
}

/// One thing that reached the scripted server.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) connection: usize,
    pub(super) transport_kind: TransportKind,
    pub(super) instance: usize,
    pub(super) id: u64,
    pub(super) method: String,
    pub(super) params: Value,
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

/// A scripted server and all connections to it.
pub(super) struct FakeServer {
    handler: Box<Handler>,
    stateful: bool,
    inboxes: Mutex<Vec<Arc<dyn Inbox>>>,
    seen: Mutex<Vec<Seen>>,
    closed: Mutex<Vec<usize>>,
    pulse: watch::Sender<u64>,
}

impl FakeServer {
    pub(super) fn new(stateful: bool, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            handler: Box::new(handler),
            stateful,
            inboxes: Mutex::default(),
            seen: Mutex::default(),
            closed: Mutex::default(),
            pulse: watch::Sender::new(0),
        })
    }

    fn tick(&self) {
        self.pulse.send_modify(|n| *n += 1);
    }

    /// What `method` requests (or notifications, or `answer`s) came so far.
    pub(super) fn seen(&self, method: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|s| s.method == method).cloned().collect()
    }

    pub(super) fn opened(&self) -> usize {
        self.inboxes.lock().unwrap().len()
    }

    pub(super) fn closed(&self) -> Vec<usize> {
        self.closed.lock().unwrap().clone()
    }

    /// Says something on a connection.
    pub(super) fn say(&self, connection: usize, during: Option<u64>, text: &str) {
        let message = Message::parse(&text.to_owned().into()).unwrap();
        let inbox = self.inboxes.lock().unwrap()[connection].clone();
        inbox.message(during, message);
    }

    /// Loses a connection.
    pub(super) fn lose(&self, connection: usize, error: TransportError) {
        let inbox = self.inboxes.lock().unwrap()[connection].clone();
        inbox.closed(error, &[]);
    }

    /// Waits until `found` finds something; looks whenever the server saw something, and often.
    pub(super) async fn until<T>(&self, mut found: impl FnMut() -> Option<T>) -> T {
        let mut pulse = self.pulse.subscribe();
        let wait = async {
            loop {
                if let Some(found) = found() {
                    return found;
                }
                let _ = tokio::time::timeout(Duration::from_millis(5), pulse.changed()).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait)
            .await
            .expect("the condition came within 30 s")
    }

    /// Waits for the `n`th (from 1) `method`.
    pub(super) async fn nth(&self, method: &str, n: usize) -> Seen {
        self.until(|| self.seen(method).get(n - 1).cloned()).await
    }
}

/// The usual answers of a legacy server with one tool; `None` for what a test decides.
pub(super) fn legacy(seen: &Seen) -> Option<Reply> {
    Some(match seen.method.as_str() {
        "server/discover" => Reply::Error(-32601, "method not found"),
        "initialize" => Reply::Result(json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {}, "logging": {}, "resources": { "subscribe": true } },
            "serverInfo": { "name": "fake", "version": "1" },
        })),
        "tools/list" => Reply::Result(json!({ "tools": [{ "name": "echo", "inputSchema": {} }] })),
        "resources/list" => Reply::Result(json!({ "resources": [] })),
        "resources/templates/list" => Reply::Error(-32601, "method not found"),
        "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => Reply::Result(json!({})),
        _ => return None,
    })
}

struct FakeTransport {
    fake: Arc<FakeServer>,
    connection: usize,
    transport_kind: TransportKind,
    instance: usize,
}

impl FakeTransport {
    fn see(&self, id: u64, method: &str, params: Option<RawJson>) -> Seen {
        let seen = Seen {
            connection: self.connection,
            transport_kind: self.transport_kind,
            instance: self.instance,
            id,
            method: method.to_owned(),
            params: params.map(|p| p.to_value()).unwrap_or_default(),
        };
        self.fake.seen.lock().unwrap().push(seen.clone());
        self.fake.tick();
        seen
    }
}

#[async_trait]
impl Transport for FakeTransport {
    async fn request(
        &self,
        id: u64,
        method: &str,
        params: Option<RawJson>,
        _: &[ParamHeader],
    ) -> Result<Result<RawJson, ErrorObject>, TransportError> {
        let seen = self.see(id, method, params);
        match (self.fake.handler)(&seen) {
            Reply::Result(value) => Ok(Ok(RawJson::of(&value))),
            Reply::Error(code, message) => Ok(Err(ErrorObject::new(ErrorCode(code), message))),
            Reply::Fail(error) => Err(error),
            Reply::When(notify, value) => {
                notify.notified().await;
                Ok(Ok(RawJson::of(&value)))
            }
            Reply::Never => std::future::pending().await,
        }
    }

    async fn send(&self, message: Message) -> Result<(), TransportError> {
        match message {
            Message::Notification { method, params } => drop(self.see(0, &method, params)),
            Message::Response { id, outcome } => {
                let outcome = match outcome {
                    Ok(result) => json!({ "result": result.to_value() }),
                    Err(error) => json!({ "error": error.code.0 }),
                };
                let id = id.and_then(|i| i.as_u64()).unwrap_or_default();
                self.see(id, "answer", Some(RawJson::of(&outcome)));
            }
            Message::Request { .. } => {}
        }
        Ok(())
    }

    fn negotiated(&self, _: ProtocolVersion) {}

    fn stateful(&self) -> bool {
        self.fake.stateful
    }

    /// A process that has read all and does nothing.
    fn activity(&self) -> Option<Activity> {
        (self.transport_kind == TransportKind::Stdio).then_some(Activity {
            has_read: Some(true),
            processor: Some(0),
            printed: 0,
        })
    }

    async fn close(&self) {
        self.fake.closed.lock().unwrap().push(self.connection);
        self.fake.tick();
    }
}

/// Connects to a [`FakeServer`].
pub(super) struct FakeConnector(pub(super) Arc<FakeServer>);

#[async_trait]
impl Connector for FakeConnector {
    async fn open(
        &self,
        transport_kind: TransportKind,
        instance: usize,
        inbox: Arc<dyn Inbox>,
    ) -> Result<Arc<dyn Transport>, TransportError> {
        let connection = {
            let mut inboxes = self.0.inboxes.lock().unwrap();
            inboxes.push(inbox);
            inboxes.len() - 1
        };
        Ok(Arc::new(FakeTransport {
            fake: self.0.clone(),
            connection,
            transport_kind,
            instance,
        }))
    }
}

/// An HTTP server in the configuration.
pub(super) fn http_spec() -> UpstreamSpec {
    UpstreamSpec {
        name: "up".to_owned(),
        kind: ServerAddress::Http {
            endpoints: vec![Endpoint::new("http://127.0.0.1:9/mcp".parse().unwrap())],
            transport: crate::config::Transport::Auto,
            headers: Vec::new(),
        },
        call_timeout: Duration::from_secs(20),
        concurrency: None,
        sessions: Sessions::Auto,
        protocol: Protocol::Auto,
        tools: ToolRules::default(),
        state: EntryState::Enabled,
    }
}

/// A process in the configuration.
pub(super) fn stdio_spec() -> UpstreamSpec {
    UpstreamSpec {
        kind: ServerAddress::Stdio {
            command: crate::config::Text::Plain("fake".to_owned()),
            args: Vec::new(),
            env: Vec::new(),
            cwd: ".".into(),
            instances: 1,
            start_timeout: Duration::from_secs(60),
        },
        ..http_spec()
    }
}

/// Starts a server and waits until it is up and its tools are read.
pub(super) async fn up(fake: &Arc<FakeServer>, spec: UpstreamSpec) -> Arc<UpstreamServer> {
    let server = UpstreamServer::start(
        spec,
        Arc::new(FakeConnector(fake.clone())),
        ChangeSignal::default(),
    );
    fake.until(|| (!server.offers().tools.is_empty()).then_some(()))
        .await;
    server
}

/// A running request of `client`, whose peer is `peer`.
pub(super) fn call(client: &Arc<Client>, peer: &Arc<RecordingPeer>) -> Call {
    Call {
        client: client.clone(),
        peer: peer.clone(),
        cancel: CancellationToken::new(),
        depth: 0,
        trail: Default::default(),
    }
}
