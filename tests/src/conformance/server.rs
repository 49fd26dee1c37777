//! The server itself: capabilities, lists, subscriptions and log levels.

#![expect(
    deprecated,
    reason = "log levels and legacy subscriptions are deprecated, and the suites still ask for them"
)]

use std::{
    borrow::Cow,
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult,
        CompletionInfo, DiscoverResult, GetPromptRequestParams, GetPromptResponse, Implementation,
        ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, LoggingLevel,
        LoggingMessageNotificationParam, PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams,
        ReadResourceResponse, RequestStateCodec, ResourceUpdatedNotificationParam, ServerCapabilities,
        ServerConfig, SetLevelRequestMethod, SetLevelRequestParams, SubscribeRequestParams,
        SubscriptionFilter, Tool, UnsubscribeRequestParams,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
};
use serde_json::json;
use tokio::sync::broadcast::{self, error::RecvError};

use super::{
    catalogue,
    content::{self, TTL_MS},
    input::is_modern,
    tools,
};

/// What changed, for whoever listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The list of tools.
    Tools,
    /// The list of prompts.
    Prompts,
    /// The list of resources.
    Resources,
    /// The contents of the watched resource.
    Watched,
}

/// The resource that can be subscribed to.
const WATCHED: &str = "test://watched-resource";

/// What all clients share.
pub(super) struct Shared {
    changes: broadcast::Sender<Change>,
    tool: AtomicBool,
    prompt: AtomicBool,
    resource: AtomicBool,
    watched: AtomicU64,
    newest: ProtocolVersion,
    /// Seals `requestState`. The key need not be secret: a fixture guards nothing.
    pub(super) states: RequestStateCodec,
}

impl Shared {
    /// Nothing has changed yet. `legacy` leaves out the revision without sessions, for a hub to bridge.
    pub(super) fn new(legacy: bool) -> Self {
        Self {
            newest: if legacy {
                ProtocolVersion::V_2025_11_25
            } else {
                ProtocolVersion::V_2026_07_28
            },
            changes: broadcast::channel(64).0,
            tool: AtomicBool::default(),
            prompt: AtomicBool::default(),
            resource: AtomicBool::default(),
            watched: AtomicU64::default(),
            states: RequestStateCodec::new(*b"the conformance fixture's own key"),
        }
    }

    /// Makes a change and tells everyone who listens.
    pub(super) fn change(&self, change: Change) {
        match change {
            Change::Tools => drop(self.tool.fetch_not(Ordering::SeqCst)),
            Change::Prompts => drop(self.prompt.fetch_not(Ordering::SeqCst)),
            Change::Resources => drop(self.resource.fetch_not(Ordering::SeqCst)),
            Change::Watched => drop(self.watched.fetch_add(1, Ordering::SeqCst)),
        }
        // An error only says that nobody listens.
        let _ = self.changes.send(change);
    }
}

/// What belongs to one legacy session, or to one request of the era without sessions.
#[derive(Default)]
struct Session {
    level: Mutex<Option<LoggingLevel>>,
    subscribed: Mutex<BTreeSet<String>>,
    /// Opened before a subscription is acknowledged, so that no change after that is missed.
    opened: Mutex<VecDeque<broadcast::Receiver<Change>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The conformance server as one client sees it.
#[derive(Clone)]
pub(crate) struct Conformance {
    pub(super) shared: Arc<Shared>,
    session: Arc<Session>,
}

impl Conformance {
    /// A server for one more session.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            session: Arc::default(),
        }
    }

    /// Logs to the client, if it wants messages of this level: a legacy session gets all until it sets a level, a
    /// request without sessions gets none unless it names one.
    pub(super) async fn log(&self, context: &RequestContext<RoleServer>, level: LoggingLevel, text: &str) {
        let wanted = if is_modern(context) {
            context.meta.log_level()
        } else {
            Some(lock(&self.session.level).unwrap_or(LoggingLevel::Debug))
        };
        if wanted.is_some_and(|wanted| level as u8 >= wanted as u8) {
            let message = LoggingMessageNotificationParam::new(level, json!(text)).with_logger("conformance");
            if let Err(error) = context.peer.notify_logging_message(message).await {
                eprintln!("cannot send a log message: {error}");
            }
        }
    }
}

impl ServerHandler for Conformance {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_logging()
            .enable_completions()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_resources_subscribe()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("aih-conformance", env!("CARGO_PKG_VERSION")))
            .with_instructions("Answers the conformance suites.")
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(ProtocolVersion::known_up_to(&self.shared.newest))
    }

    async fn discover(&self, _context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        Ok(DiscoverResult::from_server_info(versions, self.get_info())
            .with_ttl_ms(TTL_MS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let mut changes = self.shared.changes.subscribe();
        let session = Arc::downgrade(&self.session);
        let peer = context.peer;
        tokio::spawn(async move {
            loop {
                let change = match changes.recv().await {
                    Ok(change) => change,
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return,
                };
                let Some(session) = session.upgrade() else { return };
                let sent = match change {
                    Change::Tools => peer.notify_tool_list_changed().await,
                    Change::Prompts => peer.notify_prompt_list_changed().await,
                    Change::Resources => peer.notify_resource_list_changed().await,
                    Change::Watched if lock(&session.subscribed).contains(WATCHED) => {
                        let update = ResourceUpdatedNotificationParam::new(WATCHED);
                        peer.notify_resource_updated(update).await
                    }
                    Change::Watched => Ok(()),
                };
                if sent.is_err() {
                    return;
                }
            }
        });
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        lock(&self.session.opened).push_back(self.shared.changes.subscribe());
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let opened = lock(&self.session.opened).pop_front();
        let mut changes = opened.unwrap_or_else(|| self.shared.changes.subscribe());
        let accepted = context.accepted().clone();
        let watches = accepted
            .resource_subscriptions
            .is_some_and(|uris| uris.iter().any(|uri| uri == WATCHED));
        loop {
            let change = tokio::select! {
                () = context.cancelled() => return Ok(()),
                change = changes.recv() => change,
            };
            let sink = context.sink();
            let sent = match change {
                Ok(Change::Tools) if accepted.tools_list_changed == Some(true) => {
                    sink.notify_tool_list_changed().await
                }
                Ok(Change::Prompts) if accepted.prompts_list_changed == Some(true) => {
                    sink.notify_prompt_list_changed().await
                }
                Ok(Change::Resources) if accepted.resources_list_changed == Some(true) => {
                    sink.notify_resource_list_changed().await
                }
                Ok(Change::Watched) if watches => sink.notify_resource_updated(WATCHED).await,
                Ok(_) | Err(RecvError::Lagged(_)) => Ok(()),
                Err(RecvError::Closed) => return Ok(()),
            };
            if let Err(error) = sent {
                return Err(ErrorData::internal_error(error.to_string(), None));
            }
        }
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if is_modern(&context) {
            return Err(ErrorData::method_not_found::<SetLevelRequestMethod>());
        }
        *lock(&self.session.level) = Some(request.level);
        Ok(())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        // What cannot be read cannot be subscribed to.
        content::read(&request.uri, 0)?;
        lock(&self.session.subscribed).insert(request.uri);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        lock(&self.session.subscribed).remove(&request.uri);
        Ok(())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let known: &[&str] = match request.argument.name.as_str() {
            "arg1" | "arg2" => &["paris", "park", "party", "test", "testing"],
            "id" => &["1", "12", "123"],
            "resourceUri" => &["test://static-text", "test://static-binary"],
            _ => &[],
        };
        let fitting = known
            .iter()
            .filter(|value| value.starts_with(&request.argument.value))
            .map(|value| (*value).to_owned())
            .collect();
        let info = CompletionInfo::with_all_values(fitting)
            .map_err(|error| ErrorData::internal_error(error, None))?;
        Ok(CompleteResult::new(info))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = catalogue::tools(self.shared.tool.load(Ordering::SeqCst))?;
        Ok(ListToolsResult::with_all_items(tools)
            .with_ttl_ms(TTL_MS)
            .with_cache_scope(CacheScope::Public))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        let tools = catalogue::tools(self.shared.tool.load(Ordering::SeqCst)).ok()?;
        tools.into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if self.get_tool(&request.name).is_none() {
            let message = format!("unknown tool: {}", request.name);
            return Err(ErrorData::invalid_params(message, None));
        }
        tools::call(self, request, &context).await
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let prompts = catalogue::prompts(self.shared.prompt.load(Ordering::SeqCst))?;
        Ok(ListPromptsResult::with_all_items(prompts)
            .with_ttl_ms(TTL_MS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        content::prompt(request, &context).await
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resources = catalogue::resources(self.shared.resource.load(Ordering::SeqCst))?;
        Ok(ListResourcesResult::with_all_items(resources)
            .with_ttl_ms(TTL_MS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(
            ListResourceTemplatesResult::with_all_items(catalogue::templates()?)
                .with_ttl_ms(TTL_MS)
                .with_cache_scope(CacheScope::Public),
        )
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let contents = content::read(&request.uri, self.shared.watched.load(Ordering::SeqCst))?;
        Ok(contents.into())
    }
}
