//! Finds out how a server talks: transport, era and revision.
//!
//! The hub remembers the result, so that only the first connection pays for the search. It searches again when the
//! remembered way no longer works. This is about servers over HTTP; processes are greeted by
//! [`greeting`](super::greeting).

use std::{
    sync::{Arc, Mutex, Weak, atomic::AtomicBool},
    time::Duration,
};

use aih_mcp::{Era, ErrorCode, ErrorObject, Message, ProtocolVersion, RawJson, RawObject, method};
use aih_redact::OutsideText;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::{
    config::{Protocol, Transport as Choice},
    provider::Client,
    upstream::{
        link::{
            common::Common,
            connection::{Connection, Events, ServerGreeting, lock},
            outgoing::{self, HUB_CAPABILITIES},
        },
        spec::{ServerAddress, UpstreamSpec},
        transport::{
            TransportError,
            connector::{Connector, TransportKind},
        },
    },
};

/// How long `server/discover` over HTTP may take.
const DISCOVER: Duration = Duration::from_secs(5);
/// How long `initialize` over HTTP may take.
const INITIALIZE: Duration = Duration::from_secs(10);
/// Where a modern server says who it is.
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// Below MCP.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The server answered the greeting with an error.
    #[error("the server refused `{method}`: {error}")]
    Refused {
        /// Which greeting.
        method: &'static str,
        /// Its error.
        error: ErrorObject,
    },
    /// No answer.
    #[error("no answer to `{method}` within {} s{}", limit.as_secs(), last_words(said))]
    Silent {
        /// Which greeting.
        method: &'static str,
        /// How long the hub waited.
        limit: Duration,
        /// What a process wrote to standard error last; may be empty.
        said: OutsideText,
    },
    /// An answer, but no revision that both speak.
    #[error("the server speaks {0}, which the hub does not")]
    Version(OutsideText),
}

fn last_words(said: &str) -> String {
    match said {
        "" => String::new(),
        said => format!("; it said last: {said}"),
    }
}

impl DialError {
    /// The error for a client of server `name`.
    pub(crate) fn to_object(&self, name: &str) -> ErrorObject {
        match self {
            Self::Transport(error) => crate::upstream::link::error::unavailable(name, error),
            other => ErrorObject::new(
                ErrorCode::UPSTREAM_UNAVAILABLE,
                format!("server `{name}`: {other}; look into its own log"),
            ),
        }
    }

    /// For how long the server wants no further attempt.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Transport(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Whether another way of talking cannot help.
    fn is_final(&self) -> bool {
        match self {
            Self::Transport(TransportError::Connect(_) | TransportError::Unauthorized { .. }) => true,
            // It cannot answer now; how it talks shows later.
            Self::Transport(error) => error.is_passing(),
            _ => false,
        }
    }
}

/// One way of talking.
type ConnectStep = (TransportKind, Era);

/// Closes a connection whose greeting was given up half-way, so that no process stays behind. The end of the hub waits
/// for it.
pub(super) struct Opening {
    connection: Option<Arc<Connection>>,
    tasks: TaskTracker,
}

impl Opening {
    /// Closes `connection` among `tasks` unless [`Opening::keep`] is called.
    pub(super) fn new(connection: Arc<Connection>, tasks: &TaskTracker) -> Self {
        Self {
            connection: Some(connection),
            tasks: tasks.clone(),
        }
    }

    /// The greeting was not given up.
    pub(super) fn keep(mut self) {
        self.connection = None;
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let (Some(connection), Ok(runtime)) =
            (self.connection.take(), tokio::runtime::Handle::try_current())
        {
            self.tasks
                .spawn_on(async move { connection.close().await }, &runtime);
        }
    }
}

/// Opens connections to one server.
pub(crate) struct Dialer {
    pub(super) server: Arc<str>,
    common: Arc<Common>,
    pub(super) spec: Arc<UpstreamSpec>,
    connector: Arc<dyn Connector>,
    events: Weak<dyn Events>,
    /// The tasks of the server.
    pub(super) tasks: TaskTracker,
    /// The way that worked last.
    pub(super) memory: Mutex<Option<ConnectStep>>,
    /// The era in which a process is greeted whose era is not known.
    pub(super) guess: Mutex<Era>,
    /// Whether a process has ended after it had read `server/discover`.
    pub(super) ended_greeted: AtomicBool,
}

impl Dialer {
    /// A dialer that remembers nothing yet.
    pub(crate) fn new(
        spec: Arc<UpstreamSpec>,
        connector: Arc<dyn Connector>,
        common: Arc<Common>,
        events: Weak<dyn Events>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            server: common.name.clone(),
            common,
            spec,
            connector,
            events,
            tasks,
            memory: Mutex::new(None),
            guess: Mutex::new(Era::Modern),
            ended_greeted: AtomicBool::new(false),
        }
    }

    /// Connects and greets. A connection that cannot be greeted is closed again. `begun` is notified when the hub has
    /// begun: a process may have to wait for its turn to start.
    ///
    /// # Errors
    /// [`DialError`]: of the way that says most.
    pub(crate) async fn dial(
        &self,
        instance: usize,
        owner: Option<&Arc<Client>>,
        begun: Option<&Notify>,
    ) -> Result<Arc<Connection>, DialError> {
        let choice = match &self.spec.kind {
            ServerAddress::Stdio { start_timeout, .. } => {
                return self.process(*start_timeout, instance, owner, begun).await;
            }
            ServerAddress::Http { transport, .. } => *transport,
        };
        if let Some(begun) = begun {
            begun.notify_one();
        }
        let known = *lock(&self.memory);
        if let Some(step) = known {
            match self.step(step, instance, owner).await {
                Err(error) if !error.is_final() => *lock(&self.memory) = None,
                other => return other,
            }
        }
        let found = match choice {
            Choice::Sse => {
                self.step((TransportKind::Sse, Era::Legacy), instance, owner)
                    .await
            }
            choice => self.http(choice, instance, owner).await,
        }?;
        *lock(&self.memory) = Some((found.transport_kind, found.era()));
        Ok(found)
    }

    async fn http(
        &self,
        choice: Choice,
        instance: usize,
        owner: Option<&Arc<Client>>,
    ) -> Result<Arc<Connection>, DialError> {
        if self.spec.protocol != Protocol::Legacy {
            match self
                .step((TransportKind::Http, Era::Modern), instance, owner)
                .await
            {
                Err(error) if !error.is_final() && self.spec.protocol == Protocol::Auto => {
                    tracing::debug!(server = %self.server, %error, "not modern");
                }
                other => return other,
            }
        }
        let error = match self
            .step((TransportKind::Http, Era::Legacy), instance, owner)
            .await
        {
            Err(error) => error,
            found => return found,
        };
        let sse = choice == Choice::Auto
            && !error.is_final()
            && matches!(&error, DialError::Transport(TransportError::Status { status, .. })
                if (400..500).contains(status));
        if !sse {
            return Err(error);
        }
        match self
            .step((TransportKind::Sse, Era::Legacy), instance, owner)
            .await
        {
            Ok(found) => Ok(found),
            Err(sse) => {
                tracing::debug!(server = %self.server, error = %sse, "the server does not speak SSE either");
                Err(error)
            }
        }
    }

    /// One way, on a transport of its own.
    async fn step(
        &self,
        (transport_kind, era): ConnectStep,
        instance: usize,
        owner: Option<&Arc<Client>>,
    ) -> Result<Arc<Connection>, DialError> {
        let limit = match era {
            Era::Modern => DISCOVER,
            Era::Legacy => INITIALIZE,
        };
        let connection = tokio::time::timeout(limit, self.open(transport_kind, instance, owner))
            .await
            .map_err(|_| {
                TransportError::Connect(format!("no answer within {} s", limit.as_secs()).into())
            })??;
        let opening = Opening::new(connection.clone(), &self.tasks);
        let greeted = match era {
            Era::Modern => {
                if let (TransportKind::Http, Ok(transport)) = (transport_kind, connection.transport()) {
                    // The header of the first request too.
                    transport.negotiated(ProtocolVersion::LATEST);
                }
                self.discover(&connection, limit).await
            }
            Era::Legacy => self.initialize(&connection, limit).await,
        };
        let settled = self.settle(connection, greeted).await;
        opening.keep();
        settled
    }

    pub(super) async fn open(
        &self,
        transport_kind: TransportKind,
        instance: usize,
        owner: Option<&Arc<Client>>,
    ) -> Result<Arc<Connection>, TransportError> {
        Connection::open(
            &self.common,
            self.connector.as_ref(),
            transport_kind,
            instance,
            owner.cloned(),
            self.events.clone(),
        )
        .await
    }

    pub(super) async fn settle(
        &self,
        connection: Arc<Connection>,
        greeted: Result<ServerGreeting, DialError>,
    ) -> Result<Arc<Connection>, DialError> {
        let greeting = match greeted {
            Ok(greeting) => greeting,
            Err(error) => {
                connection.close().await;
                return Err(error);
            }
        };
        let legacy = greeting.version.era() == Era::Legacy;
        connection.greeted(greeting);
        if legacy
            && let Err(error) = connection
                .send(Message::notification(method::INITIALIZED, None))
                .await
        {
            connection.close().await;
            return Err(error.into());
        }
        Ok(connection)
    }

    async fn greeting(
        &self,
        connection: &Connection,
        method: &'static str,
        params: Option<RawJson>,
        limit: Duration,
    ) -> Result<RawJson, DialError> {
        let request = connection
            .transport()?
            .request(connection.id(), method, params, &[]);
        match tokio::time::timeout(limit, request).await {
            Err(_) => Err(DialError::Silent {
                method,
                limit,
                said: OutsideText::default(),
            }),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(Err(error))) => Err(DialError::Refused { method, error }),
            Ok(Ok(Ok(result))) => Ok(result),
        }
    }

    pub(super) async fn discover(
        &self,
        connection: &Connection,
        limit: Duration,
    ) -> Result<ServerGreeting, DialError> {
        let params = outgoing::own_params(Era::Modern, &[]);
        let result = self.greeting(connection, method::DISCOVER, params, limit).await?;
        let fields = object(&result)?;
        let versions: Vec<String> = fields.read("supportedVersions").unwrap_or_default();
        if !versions.iter().any(|v| v == ProtocolVersion::LATEST.as_str()) {
            return Err(DialError::Version(versions.join(", ").into()));
        }
        let info = fields.raw("serverInfo").or_else(|| {
            let meta = fields.raw("_meta")?;
            RawObject::parse(&meta).ok()?.raw(SERVER_INFO)
        });
        Ok(greeting(ProtocolVersion::LATEST, &fields, info))
    }

    pub(super) async fn initialize(
        &self,
        connection: &Connection,
        limit: Duration,
    ) -> Result<ServerGreeting, DialError> {
        let owner = connection.owner.as_deref();
        let mut params = RawObject::default();
        params.set(
            "protocolVersion",
            &RawJson::of(ProtocolVersion::LATEST_LEGACY.as_str()),
        );
        let capabilities =
            owner.map_or_else(|| RawJson::trusted(HUB_CAPABILITIES), |o| o.capabilities.clone());
        params.set("capabilities", &capabilities);
        let info = owner
            .and_then(|o| o.info.clone())
            .unwrap_or_else(outgoing::hub_info);
        params.set("clientInfo", &info);
        let result = self
            .greeting(connection, method::INITIALIZE, Some(params.to_json()), limit)
            .await?;
        let fields = object(&result)?;
        let version = fields.str("protocolVersion").unwrap_or_default();
        let version = ProtocolVersion::parse(&version)
            .filter(|v| v.era() == Era::Legacy)
            .ok_or_else(|| DialError::Version(format!("revision `{version}`").into()))?;
        Ok(greeting(version, &fields, fields.raw("serverInfo")))
    }
}

fn object(result: &RawJson) -> Result<RawObject<'_>, TransportError> {
    RawObject::parse(result)
        .map_err(|_| TransportError::Protocol("the answer to the greeting is not an object".into()))
}

fn greeting(version: ProtocolVersion, fields: &RawObject<'_>, info: Option<RawJson>) -> ServerGreeting {
    ServerGreeting {
        version,
        capabilities: fields
            .raw("capabilities")
            .filter(RawJson::is_object)
            .unwrap_or(RawJson::EMPTY_OBJECT),
        info,
        instructions: fields.str("instructions").map(|i| i.into_owned()),
    }
}
