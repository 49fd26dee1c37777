//! Hooks: the operator's sandboxed code that runs on events of the hub.
//!
//! The hub writes an event once ([`event`]) and gives it to the hooks of its trigger whose `match` fits
//! ([`matching`]). [`decide`] interprets the answer of a blocking hook. Blocking hooks run one after the other while
//! the event waits. Background hooks get their event through the queue of the store ([`background`]), so that the
//! event survives a crash. The gateway uses [`around`] for calls, [`views`] for lists and [`conversation`] for the
//! first request of a client. [`watch`] makes the events that no call causes. [`manual`] runs a hook on request, and
//! [`webhook`] checks the signature of such a request. [`hook`] is one hook and one run of it. [`truncate`] shortens
//! events that are too long to be stored.
//!
//! In a hub without hooks, a call costs one look at an empty slice.

mod around;
mod background;
mod conversation;
mod decide;
pub mod event;
mod hook;
mod manual;
mod matching;
mod truncate;
mod views;
mod watch;
pub(crate) mod webhook;

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aih_mcp::RawJson;
use aih_store::{
    Store,
    queue::{MAX_PAYLOAD, NewEvent, Queue},
};
use anyhow::Context as _;
use serde::Serialize;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use event::Trigger;
pub use manual::{FireError, Fired, Report, try_out};
pub(crate) use manual::{WebhookOutcome, WebhookRequest, WebhookRequestError, rest_call};

use self::{
    background::Outbox,
    conversation::Conversations,
    decide::{HookDecision, NoDecision, Schemas, settle},
    event::EventFacts,
    hook::{Cause, Delivery, Failed, Hook, PATIENCE},
    matching::Subject,
    views::Views,
};
use crate::{
    access::PermissionSet,
    catalogue::{Catalogue, ToolNames},
    components::{ComponentLoader, HostContext, ServerCalls, read_grants},
    config::{self, LoadedConfig},
    data::LeaderElection,
    names::NameLimit,
    provider::{Call, Client, ClientKey, ProviderState, Trail},
};

/// All hooks of the hub.
#[derive(Default)]
pub struct Hooks {
    /// The hub's name.
    hub: Arc<str>,
    /// In the order of the file.
    all: Vec<Arc<Hook>>,
    /// Those that an event waits for, by [`Trigger::index`], in their order.
    blocking: ByTrigger,
    /// Those that it does not wait for.
    background: ByTrigger,
    /// Whether there is any hook around calls, reads or prompts.
    wraps: bool,
    queue: Option<Arc<Queue>>,
    /// Longest name that a hook may give a tool.
    name_limit: NameLimit,
    outbox: Option<Outbox>,
    schemas: Schemas,
    conversations: Conversations,
    views: Views,
    refusals: watch::Throttle,
    /// Background events that were lost: the queue was full, or the store failed.
    lost: AtomicU64,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

type ByTrigger = [Box<[Arc<Hook>]>; Trigger::COUNT];

/// Whom an event concerns, for choosing hooks and for the envelope.
#[derive(Clone, Copy, Default)]
pub(crate) struct EventContext<'a> {
    /// The MCP or plugin.
    server: Option<&'a str>,
    /// The tool, by its server's own name.
    tool: Option<&'a str>,
    /// Other names that the tool has for clients.
    also: [Option<&'a str>; 2],
    /// Who calls.
    client: Option<&'a Client>,
    /// The hooks that the event comes from.
    trail: Option<&'a Trail>,
}

impl<'a> EventContext<'a> {
    fn of(call: &'a Call, server: &'a str) -> Self {
        Self {
            server: Some(server),
            client: Some(&call.client),
            trail: Some(&call.trail),
            ..Self::default()
        }
    }

    /// The same about a tool; `shown` is the name that a hook gave it.
    fn on_tool(self, names: &'a ToolNames, shown: Option<&'a str>) -> Self {
        Self {
            tool: Some(&names.own),
            also: [names.renamed(), shown],
            ..self
        }
    }

    fn client(client: &'a Client) -> Self {
        Self {
            client: Some(client),
            ..Self::default()
        }
    }

    fn key(&self) -> Option<&'a str> {
        self.client.map(|client| &*client.principal.name)
    }

    fn runs_on_events(&self, hook: &Hook) -> bool {
        hook.matcher.matches(self.subject()) && self.lets_run(hook)
    }

    /// Whether the hook may run on some tool of this server.
    fn may_trigger(&self, hook: &Hook) -> bool {
        hook.matcher.matches_but_tool(self.subject()) && self.lets_run(hook)
    }

    fn subject(&self) -> Subject<'a> {
        Subject {
            server: self.server,
            tool: self.tool,
            also: self.also,
            key: self.key(),
        }
    }

    fn lets_run(&self, hook: &Hook) -> bool {
        self.trail.is_none_or(|trail| trail.lets_run(&hook.name)) && hook.runs_on_events()
    }
}

/// A blocking hook ended the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    /// The hook.
    pub(crate) hook: Arc<str>,
    /// Why, for the caller.
    pub(crate) reason: String,
    /// That no hook decided it, and why.
    pub(crate) undecided: Option<NoDecision>,
}

impl Hooks {
    /// A hub without hooks.
    pub fn none() -> Arc<Self> {
        Arc::default()
    }

    /// Prepares the hooks of the configuration, in the background. Call [`Hooks::run`] once the catalogue offers
    /// something. Calls that hooks make pass the hooks again: `servers` makes what they call with, of these.
    ///
    /// # Errors
    /// A grant that cannot be read.
    pub fn start(
        config: &LoadedConfig,
        loader: &ComponentLoader,
        store: &Store,
        servers: impl FnOnce(Weak<Self>) -> Arc<dyn ServerCalls>,
    ) -> anyhow::Result<Arc<Self>> {
        let entries = &config.config.hooks;
        let grants = entries.iter().map(granted_servers);
        let grants = grants.collect::<anyhow::Result<Vec<_>>>()?;
        let reserved = Arc::new(crate::config::files::reserved(config));
        let (outbox, inbox) = Outbox::new();
        let hooks = Arc::new_cyclic(|own| {
            let servers = servers(own.clone());
            let all = entries.iter().zip(grants).map(|(entry, grants)| {
                let around = host_context(entry, grants, config, store, servers.clone());
                Hook::start(entry, around, loader.clone(), &reserved)
            });
            Self::of_entries(config, all.collect(), store, outbox)
        });
        let forward_outbox = background::forward_outbox(
            Arc::downgrade(&hooks),
            store.queue().clone(),
            inbox,
            hooks.stopping.clone(),
        );
        hooks.tasks.spawn(forward_outbox);
        Ok(hooks)
    }

    /// Sorts hooks by trigger and order; `all` are those of the configuration, in its order.
    fn of_entries(config: &LoadedConfig, all: Vec<Arc<Hook>>, store: &Store, outbox: Outbox) -> Self {
        let mut sorted: Vec<(i32, Arc<Hook>)> = config
            .config
            .hooks
            .iter()
            .map(|entry| entry.order)
            .zip(all.iter().cloned())
            .collect();
        // Stable: equal ones stay in the order of the file.
        sorted.sort_by_key(|(order, _)| *order);
        let of = |trigger: Trigger, blocking: bool| -> Box<[Arc<Hook>]> {
            let hooks = sorted.iter().map(|(_, hook)| hook);
            let hooks = hooks.filter(|hook| hook.trigger == trigger && hook.blocking == blocking);
            hooks.cloned().collect()
        };
        Self {
            hub: config.config.name.as_str().into(),
            blocking: Trigger::ALL.map(|trigger| of(trigger, true)),
            background: Trigger::ALL.map(|trigger| of(trigger, false)),
            wraps: all.iter().any(|hook| around::CONCERNED.contains(&hook.trigger)),
            all,
            queue: Some(store.queue().clone()),
            outbox: Some(outbox),
            name_limit: config.config.server.max_tool_name,
            ..Self::default()
        }
    }

    /// Runs what is waiting in the queue and what is scheduled, where `election` chooses this process, and tells what comes
    /// up and goes down, until [`Hooks::stop`].
    pub(crate) fn run(self: &Arc<Self>, catalogue: &Arc<Catalogue>, election: LeaderElection) {
        let Some(queue) = self.queue.clone() else { return };
        self.tasks.spawn(background::lead(self.clone(), queue, election));
        if self.any(Trigger::UpstreamUp) || self.any(Trigger::UpstreamDown) {
            self.tasks
                .spawn(watch::upstreams(self.clone(), catalogue.clone()));
        }
    }

    /// Stops: events that happened are stored, runs that began get `grace` to end. What is cut off runs again
    /// after the next start.
    pub async fn stop(&self, grace: Duration) {
        self.stopping.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(target: "aih::hook", "some hooks were cut off; they run again after the next start");
        }
        for hook in &self.all {
            hook.stop();
        }
    }

    /// The hook of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Hook>> {
        self.all.iter().find(|hook| *hook.name == *name)
    }

    /// How a hook is: whether it serves, its last error, and its counts.
    pub fn state(&self, name: &str) -> Option<State> {
        let hook = self.get(name)?;
        let status = hook.status();
        Some(State {
            state: status.state,
            last_error: status.last_error.clone().map(String::from),
            blocking: hook.blocking,
            runs: hook.counts.runs.load(Ordering::Relaxed),
            failures: hook.counts.failures.load(Ordering::Relaxed),
            busy: hook.counts.busy.load(Ordering::Relaxed),
            lost: hook.counts.lost.load(Ordering::Relaxed),
        })
    }

    /// The queue of background events; `None` in a hub without hooks.
    pub fn queue(&self) -> Option<&Arc<Queue>> {
        self.queue.as_ref()
    }

    fn blocking(&self, trigger: Trigger) -> &[Arc<Hook>] {
        self.blocking.get(trigger.index()).map_or(&[], |hooks| hooks)
    }

    fn background(&self, trigger: Trigger) -> &[Arc<Hook>] {
        self.background.get(trigger.index()).map_or(&[], |hooks| hooks)
    }

    /// Whether any hook waits for this trigger.
    pub(crate) fn any(&self, trigger: Trigger) -> bool {
        !self.blocking(trigger).is_empty() || !self.background(trigger).is_empty()
    }

    /// All hooks of a trigger.
    fn of(&self, trigger: Trigger) -> impl Iterator<Item = &Arc<Hook>> {
        self.blocking(trigger).iter().chain(self.background(trigger))
    }

    /// Whether any hook runs on such an event.
    fn concerns(&self, trigger: Trigger, context: EventContext<'_>) -> bool {
        self.of(trigger).any(|hook| context.runs_on_events(hook))
    }

    fn facts<'a>(&'a self, context: EventContext<'a>) -> EventFacts<'a> {
        EventFacts {
            hub: &self.hub,
            principal: context.key(),
            client: context.client,
            trail: context.trail,
        }
    }

    /// Asks the blocking hooks of a trigger in their order; each sees what the one before made. `write` says what
    /// the event tells of the value, `accept` makes a value of a replacement.
    ///
    /// # Errors
    /// A hook denied, failed with `on_failure: closed`, or did not get to decide.
    async fn ask<T>(
        &self,
        trigger: Trigger,
        context: EventContext<'_>,
        call: &Call,
        mut value: T,
        write: impl Fn(EventFacts<'_>, &T) -> Result<RawJson, serde_json::Error>,
        accept: impl Fn(&T, &str) -> Result<T, String>,
    ) -> Result<T, Denied> {
        let mut event = None;
        for hook in self
            .blocking(trigger)
            .iter()
            .filter(|hook| context.runs_on_events(hook))
        {
            let id = new_id();
            let asked = async {
                let turn = hook.turn(trigger, &id, &call.cancel, PATIENCE).await?;
                // Written after the wait: a text of some megabytes for each call that waits is too much.
                let json = match event.take() {
                    Some(json) => json,
                    None => write(self.facts(context), &value).map_err(|error| {
                        let failed =
                            Failed::new(Cause::Failure, format!("the event cannot be written: {error}"));
                        hook.failed(trigger.as_str(), &id, &failed.text);
                        failed
                    })?,
                };
                let delivery = Delivery {
                    id: &id,
                    event: &json,
                    trigger,
                    attempt: 1,
                    call: Some(call.again()),
                    record: None,
                };
                let outcome = hook.run(delivery, turn).await;
                event = Some(json);
                outcome.map(|outcome| conversation::decision(trigger, outcome))
            };
            let answer = asked.await;
            let ran = answer.is_ok();
            match settle(&hook.name, hook.on_failure, answer, |text| accept(&value, text)) {
                HookDecision::Go => {}
                HookDecision::Replaced(new) => {
                    value = new;
                    event = None;
                }
                HookDecision::Denied(reason) => {
                    let (name, key) = (&*hook.name, context.key());
                    let (server, tool) = (context.server, context.tool);
                    tracing::info!(target: "aih::hook", hook = name, trigger = trigger.as_str(), server, tool, key, event = id, "denied");
                    return Err(Denied {
                        hook: hook.name.clone(),
                        reason,
                        undecided: None,
                    });
                }
                HookDecision::Passed(why) => {
                    // A run that failed was reported already.
                    if ran {
                        hook.failed(trigger.as_str(), &id, &why);
                    }
                }
                HookDecision::Closed(why, message) => {
                    if ran {
                        hook.failed(trigger.as_str(), &id, &why);
                    }
                    return Err(Denied {
                        hook: hook.name.clone(),
                        reason: message,
                        undecided: None,
                    });
                }
                HookDecision::NoDecision(why) => return Err(Denied::undecided(&hook.name, trigger, why)),
            }
        }
        Ok(value)
    }

    /// Tells the background hooks of a trigger. Never waits: what finds no room is counted and logged.
    pub(crate) fn tell<P: Serialize>(&self, trigger: Trigger, context: EventContext<'_>, payload: &P) {
        let mut event = None;
        for hook in self
            .background(trigger)
            .iter()
            .filter(|hook| context.runs_on_events(hook))
        {
            let json = match &event {
                Some(json) => json,
                None => match event::write(trigger, self.facts(context), payload) {
                    Ok(json) => &*event.insert(truncate::to_fit(json)),
                    Err(error) => return self.lose(hook, trigger, &error.to_string()),
                },
            };
            if let Err(why) = self.post(hook, trigger, json) {
                self.lose(hook, trigger, &why);
            }
        }
    }

    fn post(&self, hook: &Hook, trigger: Trigger, json: &RawJson) -> Result<(), String> {
        let event = new_event(hook, trigger, json)?;
        let outbox = self.outbox.as_ref().ok_or("there is no queue")?;
        outbox.post(event)
    }

    /// An event for a background hook is lost.
    fn lose(&self, hook: &Hook, trigger: Trigger, why: &str) {
        hook.counts.lost.fetch_add(1, Ordering::Relaxed);
        self.lost.fetch_add(1, Ordering::Relaxed);
        let hook = &*hook.name;
        tracing::warn!(target: "aih::hook", hook, trigger = trigger.as_str(), "an event was lost: {why}");
    }

    /// A client is gone: its conversation ends, and what was kept for it.
    pub(crate) fn client_gone(&self, client: &ClientKey) {
        self.views.forget(client);
        self.end_conversation(client);
    }
}

/// How a hook is.
#[derive(Debug, Clone)]
pub struct State {
    /// Whether it serves.
    pub state: ProviderState,
    /// The last error, also after recovery.
    pub last_error: Option<String>,
    /// Whether its event waits for it.
    pub blocking: bool,
    /// How often it ran.
    pub runs: u64,
    /// How often it failed.
    pub failures: u64,
    /// How often it got no turn to run, which is not a failure of it.
    pub busy: u64,
    /// How many of its background events were lost.
    pub lost: u64,
}

/// What does not change between the runs of one hook.
///
/// # Errors
/// `grants.mcps` cannot be read.
pub(crate) fn host_context(
    entry: &config::Hook,
    mcps: Arc<PermissionSet>,
    config: &LoadedConfig,
    store: &Store,
    servers: Arc<dyn ServerCalls>,
) -> HostContext {
    HostContext {
        name: entry.name.as_str().into(),
        owner: format!("hook/{}", entry.name).into(),
        mcps,
        secrets: config.secrets.clone(),
        state: store.state(),
        servers,
    }
}

/// The servers that a hook may call: its `grants.mcps`.
///
/// # Errors
/// A pattern that cannot be read.
fn granted_servers(entry: &config::Hook) -> anyhow::Result<Arc<PermissionSet>> {
    let mcps = read_grants(&entry.grants.mcps);
    let mcps = mcps.with_context(|| format!("hook `{}`: grants.mcps", entry.name))?;
    Ok(Arc::new(mcps))
}

/// An event for the queue.
fn new_event(hook: &Hook, trigger: Trigger, json: &RawJson) -> Result<NewEvent, String> {
    if json.len() > MAX_PAYLOAD {
        return Err(format!(
            "it has {} bytes; at most {MAX_PAYLOAD} can wait for a background hook",
            json.len()
        ));
    }
    // A hook may have put a secret into the arguments of a call: it is for the server, not for the store.
    let payload = serde_json::value::RawValue::from_string(json.without_secrets().text().into_owned());
    Ok(NewEvent {
        hook: hook.name.to_string(),
        trigger: trigger.as_str().to_owned(),
        payload: payload.map_err(|error| error.to_string())?,
    })
}

/// Names an event that does not go through the queue.
fn new_id() -> String {
    let millis = jiff::Timestamp::now().as_millisecond();
    format!(
        "{millis:012x}{:016x}{:04x}",
        rand::random::<u64>(),
        rand::random::<u16>()
    )
}
