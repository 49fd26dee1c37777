//! One configured hook: its component, which is kept ready, and one run of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aih_mcp::{ErrorObject, ProtocolVersion, RawJson};
use aih_redact as redact;
use aih_redact::OutsideText;
use aih_runtime::{CallError, Context, Decision, Event, Failure, Loaded, Outcome, World};
use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::{Trigger, background::RUNNING_OF_ONE, event, matching::Matcher, webhook::RecentRequests};
use crate::{
    access::Principal,
    components::{
        CallHost, ComponentLoader, HostContext, RunLog, hook_spec,
        live::{ComponentSource, ComponentStatus, LiveComponent},
    },
    config::{self, DisabledReason, HookMode, OnFailure, Schedule, Webhook},
    provider::{Call, Client, ClientKey, Peer, ProviderState, Trail},
};

/// How long a blocking hook may take where the configuration says nothing.
const BLOCKING_TIME: Duration = Duration::from_secs(5);
/// How long an event that somebody waits for waits for a place of its hook. Clients give a call up after a minute, most of
/// them; before that they get an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How many times its own time a hook that has a place may wait for processors, beyond what is left of its patience: one
/// that computes for all of its time does so on a machine with ten others like it.
pub(crate) const STRETCH: u32 = 10;

/// See the module.
pub(crate) struct Hook {
    pub(crate) name: Arc<str>,
    pub(crate) trigger: Trigger,
    pub(crate) blocking: bool,
    pub(crate) on_failure: OnFailure,
    pub(crate) matcher: Matcher,
    pub(crate) schedule: Option<Schedule>,
    pub(crate) webhook: Option<Webhook>,
    /// Webhook requests of late.
    pub(crate) seen: RecentRequests,
    pub(crate) counts: Counts,
    /// `limits.concurrency`: its runs at one time.
    pub(crate) concurrency: usize,
    /// For its runs in the background.
    pub(crate) permits: Arc<Semaphore>,
    /// `limits.time`.
    pub(crate) limit: Duration,
    /// One permit for each run. Events wait here, before they are written: a text that waits takes memory.
    gate: Arc<Semaphore>,
    /// It is switched off by a mistake, and nothing may pass that it did not see.
    missed: bool,
    host: HostContext,
    live: Arc<LiveComponent<Loaded>>,
    /// Changes with every outcome of the component's preparation.
    settled: watch::Receiver<u64>,
    /// In whose name it runs when nobody called.
    own: Arc<Principal>,
}

/// How often what happened, since the hub started.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) runs: AtomicU64,
    pub(crate) failures: AtomicU64,
    /// Got no turn in time; these are not failures.
    pub(crate) busy: AtomicU64,
    pub(crate) lost: AtomicU64,
}

/// One event on its way into a hook.
pub(crate) struct Delivery<'a> {
    pub(crate) id: &'a str,
    /// As [`event::write`] wrote it.
    pub(crate) event: &'a RawJson,
    /// What happened; for a hook that is triggered by hand not its own trigger.
    pub(crate) trigger: Trigger,
    /// From 1.
    pub(crate) attempt: u32,
    /// On whose behalf; `None` where nobody called.
    pub(crate) call: Option<Call>,
    /// Where its log goes too.
    pub(crate) record: Option<Arc<RunLog>>,
}

/// What an event needs to be handed to a hook: see [`Hook::turn`].
pub(crate) struct Turn {
    component: Arc<Loaded>,
    _permit: OwnedSemaphorePermit,
    /// How long it waited for the place.
    waited: Duration,
    /// How much longer it may wait, for memory and processors.
    patience: Duration,
}

/// A run without an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failed {
    /// For the operator.
    pub(crate) text: OutsideText,
    /// What follows from it.
    pub(crate) cause: Cause,
}

/// Why a hook has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It failed, and may not the next time.
    Failure,
    /// It refused the event: trying again is in vain.
    Refusal,
    /// It is still being prepared.
    Preparing,
    /// It got no turn to run: the machine, or all its places, are busy. It did not fail.
    Busy,
    /// The caller no longer waits for it.
    Cancelled,
}

impl Failed {
    pub(crate) fn new(cause: Cause, text: impl Into<OutsideText>) -> Self {
        Self {
            text: text.into(),
            cause,
        }
    }
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        let cause = match &error {
            CallError::Failed(
                Failure::Denied(_) | Failure::InvalidArguments(_) | Failure::UnknownTool(_),
            )
            | CallError::NoSuchExport(_) => Cause::Refusal,
            CallError::Busy { .. } => Cause::Busy,
            CallError::Cancelled => Cause::Cancelled,
            _ => Cause::Failure,
        };
        Self::new(cause, error.to_string())
    }
}

impl Hook {
    /// Prepares the hook in the background.
    pub(crate) fn start(
        config: &config::Hook,
        host: HostContext,
        loader: ComponentLoader,
        reserved: &Arc<aih_runtime::Reserved>,
    ) -> Arc<Self> {
        let trigger = Trigger::parse(&config.trigger).unwrap_or(Trigger::Manual);
        let blocking = is_blocking(trigger, config.mode);
        let mut limits = config.limits.clone();
        if blocking && limits.time.is_none() {
            limits.time = Some(BLOCKING_TIME);
        }
        let spec = hook_spec(config, &limits, reserved);
        let limit = spec.as_ref().map_or(BLOCKING_TIME, |spec| spec.limits.time);
        let concurrency = spec.as_ref().map_or(1, |spec| spec.limits.concurrency.max(1)) as usize;
        let off = config.state.reason();
        let missed = blocking
            && config.on_failure == OnFailure::Closed
            && off.is_some_and(|reason| *reason != DisabledReason::ByConfig);
        if let Some(reason) = off.filter(|_| missed) {
            let hook = &*config.name;
            tracing::warn!(target: "aih::hook", hook, "is off, and what it matches is refused (`on_failure: closed`): {reason}");
        }
        let (news, settled) = watch::channel(0);
        let name = config.name.clone();
        let live = LiveComponent::start(
            ComponentSource {
                file: config.action.clone(),
                language: config.runtime,
                world: World::Hook,
                spec,
                disabled: config.state.reason().map(ToString::to_string),
            },
            loader,
            |component| async move { Ok(component) },
            move |outcome| {
                match outcome {
                    Ok(_) => tracing::info!(target: "aih::hook", hook = name, "ready"),
                    Err(error) => tracing::warn!(target: "aih::hook", hook = name, "{error}"),
                }
                news.send_modify(|count| *count += 1);
            },
        );
        Arc::new(Self {
            name: config.name.as_str().into(),
            trigger,
            blocking,
            on_failure: config.on_failure,
            matcher: Matcher::new(&config.matches),
            schedule: config.schedule.clone(),
            webhook: config.webhook.clone(),
            seen: RecentRequests::default(),
            counts: Counts::default(),
            permits: Arc::new(Semaphore::new(concurrency.min(RUNNING_OF_ONE))),
            gate: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            missed,
            limit,
            host,
            live,
            settled,
            own: Arc::new(Principal::hook(&config.name)),
        })
    }

    /// How it is.
    pub(crate) fn status(&self) -> Arc<ComponentStatus> {
        self.live.status()
    }

    /// Whether the configuration lets it run.
    pub(crate) fn enabled(&self) -> bool {
        self.status().state != ProviderState::Disabled
    }

    /// Whether it has to see the events that it matches: also where a mistake keeps it from running and nothing may pass
    /// without it.
    pub(crate) fn runs_on_events(&self) -> bool {
        self.missed || self.enabled()
    }

    /// Waits until the first attempt to prepare it is over.
    pub(crate) async fn prepared(&self) {
        let mut settled = self.settled.clone();
        while self.status().state == ProviderState::Starting && settled.changed().await.is_ok() {}
    }

    /// Its secret for webhooks, if there is one now.
    pub(crate) fn webhook_secret(&self) -> Option<secrecy::SecretString> {
        self.host.secrets.get(&self.webhook.as_ref()?.secret)
    }

    /// A call in its own name, which `trail` stands behind.
    pub(crate) fn own_call(&self, trail: Trail) -> Call {
        Call {
            trail,
            ..detached(self.own.clone(), format!("hook-{}", self.name))
        }
    }

    /// Stops keeping its component ready.
    pub(crate) fn stop(&self) {
        self.live.stop();
    }

    /// Waits for a turn to run: until it is prepared, within its time, and for a place, within `patience`. Without one
    /// this is counted and logged under the event's `id`.
    ///
    /// # Errors
    /// There is none: see [`Cause`].
    pub(crate) async fn turn(
        &self,
        trigger: Trigger,
        id: &str,
        cancel: &CancellationToken,
        patience: Duration,
    ) -> Result<Turn, Failed> {
        let turn = self.wait(cancel, patience).await;
        if let Err(failed) = &turn {
            self.without_answer(trigger.as_str(), id, failed);
        }
        turn
    }

    async fn wait(&self, cancel: &CancellationToken, patience: Duration) -> Result<Turn, Failed> {
        let component = self.component(Instant::now() + self.limit).await?;
        let came = Instant::now();
        let permit = tokio::select! {
            biased;
            permit = self.gate.clone().acquire_owned() => permit.ok(),
            () = tokio::time::sleep(patience) => None,
            () = cancel.cancelled() => return Err(CallError::Cancelled.into()),
        };
        let waited = came.elapsed();
        // The semaphore is never closed.
        let permit = permit.ok_or_else(|| Failed::from(CallError::Busy { waited }))?;
        Ok(Turn {
            component,
            _permit: permit,
            waited,
            patience: patience
                .saturating_sub(waited)
                .saturating_add(self.limit.saturating_mul(STRETCH)),
        })
    }

    /// Runs it once. A failure is counted, logged and shown in health.
    ///
    /// # Errors
    /// It has no answer: see [`Cause`].
    pub(crate) async fn run(&self, delivery: Delivery<'_>, turn: Turn) -> Result<Outcome, Failed> {
        self.counts.runs.fetch_add(1, Ordering::Relaxed);
        let id = delivery.id.to_owned();
        let trigger = delivery.trigger.as_str();
        let (began, waited) = (Instant::now(), turn.waited.as_millis());
        let outcome = self.deliver(delivery, turn).await;
        let (hook, ms) = (&*self.name, began.elapsed().as_millis());
        match &outcome {
            Ok(_) => {
                tracing::debug!(target: "aih::hook", hook, trigger, event = id, ms, waited_ms = waited, "ran");
            }
            Err(failed) => self.without_answer(trigger, &id, failed),
        }
        outcome
    }

    fn without_answer(&self, trigger: &str, id: &str, failed: &Failed) {
        let hook = &*self.name;
        match failed.cause {
            Cause::Busy => {
                self.counts.busy.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(target: "aih::hook", hook, trigger, event = id, "did not run: {failed}");
            }
            Cause::Cancelled => {
                tracing::debug!(target: "aih::hook", hook, trigger, event = id, "{failed}");
            }
            Cause::Failure | Cause::Refusal | Cause::Preparing => self.failed(trigger, id, &failed.text),
        }
    }

    /// Notes a failure of the hook.
    pub(crate) fn failed(&self, trigger: &str, id: &str, why: &str) {
        self.counts.failures.fetch_add(1, Ordering::Relaxed);
        let hook = &*self.name;
        tracing::warn!(target: "aih::hook", hook, trigger, event = id, "failed: {why}");
        if self.live.ready().is_some() {
            self.live.note(why);
        }
    }

    async fn deliver(&self, delivery: Delivery<'_>, turn: Turn) -> Result<Outcome, Failed> {
        let mut call = match delivery.call {
            Some(call) => call,
            None => self.own_call(Trail::default()),
        };
        call.trail = call.trail.with(&self.name);
        let cancel = call.cancel.clone();
        let principal = Some(call.client.principal.name.clone());
        let sent = Event {
            id: delivery.id.to_owned(),
            name: delivery.trigger.as_str().to_owned(),
            payload_json: event::with_id(delivery.event, delivery.id),
            extras: vec![("attempt".to_owned(), delivery.attempt.to_string())],
        };
        let context = Context {
            host: Arc::new(CallHost {
                host: self.host.clone(),
                call_id: delivery.id.into(),
                call: Some(call),
                progress: None,
                record: delivery.record,
            }),
            cancel,
            patience: Some(turn.patience),
            principal,
        };
        let Turn {
            component,
            _permit: permit,
            waited: before,
            ..
        } = turn;
        // The place is the run's: a call that waits for its client is not polled, and one that is dropped leaves a guest
        // that still runs.
        let run = tokio::spawn(async move {
            let _permit = permit;
            component.on_event(sent, context).await
        });
        let outcome = run
            .await
            .unwrap_or_else(|error| Err(CallError::Host(error.to_string())));
        let outcome = outcome.map_err(|error| match error {
            CallError::Busy { waited } => CallError::Busy {
                waited: before + waited,
            },
            error => error,
        })?;
        Ok(without_secrets(outcome, delivery.trigger))
    }

    /// The component, for which a hub that has just started may have to wait.
    async fn component(&self, deadline: Instant) -> Result<Arc<Loaded>, Failed> {
        let mut settled = self.settled.clone();
        loop {
            if let Some(component) = self.live.ready() {
                return Ok(component);
            }
            let waited = match self.status().state {
                ProviderState::Starting => tokio::time::timeout_at(deadline.into(), settled.changed()).await,
                _ => return Err(Failed::new(Cause::Failure, self.live.unavailable())),
            };
            if !matches!(waited, Ok(Ok(()))) {
                return Err(Failed::new(Cause::Preparing, self.live.unavailable()));
            }
        }
    }
}

/// An outcome without the secrets that the hook was granted, unless it is what the hook puts into a call: that goes to
/// the server behind the hub, and may be a credential on purpose.
fn without_secrets(mut outcome: Outcome, trigger: Trigger) -> Outcome {
    let json = |text: String| match RawJson::parse(text.clone()) {
        Ok(json) => json.without_secrets().text().into_owned(),
        // It is not used; the error about it may tell its start.
        Err(_) => redact::text(&text).into_owned(),
    };
    outcome.event_result_json = outcome.event_result_json.map(json);
    outcome.decision = match outcome.decision {
        Decision::Deny(reason) => Decision::Deny(redact::for_client(&reason).into_owned()),
        Decision::Replace(text)
            if !matches!(
                trigger,
                Trigger::ToolBefore | Trigger::ResourceRead | Trigger::PromptGet
            ) =>
        {
            Decision::Replace(json(text))
        }
        decision => decision,
    };
    outcome
}

/// Whether a hook's event waits for it.
pub(crate) fn is_blocking(trigger: Trigger, mode: Option<HookMode>) -> bool {
    match mode {
        Some(HookMode::Blocking) => config::can_block(trigger.as_str()),
        Some(HookMode::Background) => false,
        None => trigger.blocks_by_default(),
    }
}

/// A call of `principal` that no MCP client stands behind.
pub(crate) fn detached(principal: Arc<Principal>, key: String) -> Call {
    let peer = Arc::new(UnreachablePeer);
    Call {
        client: Arc::new(Client {
            key: ClientKey(key.into()),
            principal,
            version: ProtocolVersion::LATEST_LEGACY,
            info: None,
            capabilities: RawJson::EMPTY_OBJECT,
            peer: peer.clone(),
            log_level: AtomicU8::new(0),
            since: tokio::time::Instant::now(),
        }),
        peer,
        cancel: CancellationToken::new(),
        depth: 0,
        trail: Trail::default(),
    }
}

/// No client: questions fail, and notifications are dropped.
struct UnreachablePeer;

#[async_trait]
impl Peer for UnreachablePeer {
    fn notify(&self, _: &str, _: &str, _: Option<RawJson>) {}

    async fn ask(&self, _: &str, method: &str, _: Option<RawJson>) -> Result<RawJson, ErrorObject> {
        Err(ErrorObject::method_not_found(method))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_blocks() {
        use HookMode::{Background, Blocking};
        assert!(is_blocking(Trigger::ToolBefore, None));
        assert!(!is_blocking(Trigger::ToolBefore, Some(Background)));
        assert!(!is_blocking(Trigger::ToolError, None));
        assert!(is_blocking(Trigger::ToolError, Some(Blocking)));
        assert!(!is_blocking(Trigger::UpstreamUp, Some(Blocking)));
        assert!(is_blocking(Trigger::Manual, None) && is_blocking(Trigger::Http, None));
        assert!(!is_blocking(Trigger::Schedule, None));
    }

    #[test]
    fn a_hooks_own_refusal_is_final_and_a_crash_is_not() {
        let cause = |error: CallError| Failed::from(error).cause;
        assert_eq!(
            cause(CallError::Failed(Failure::Denied(String::new()))),
            Cause::Refusal
        );
        assert_eq!(
            cause(CallError::Failed(Failure::Unavailable(String::new()))),
            Cause::Failure
        );
        assert_eq!(cause(CallError::Trapped(String::new())), Cause::Failure);
        assert_eq!(cause(CallError::TimedOut(PATIENCE)), Cause::Failure);
        assert_eq!(cause(CallError::Busy { waited: PATIENCE }), Cause::Busy);
        assert_eq!(cause(CallError::Cancelled), Cause::Cancelled);
    }

    #[test]
    fn a_hook_does_not_wake_itself_and_chains_end() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let trail = Trail::default();
        assert!(trail.lets_run("a"));
        let trail = trail.with(&a);
        assert!(!trail.lets_run("a") && trail.lets_run("b"));
        assert!(!trail.with(&b).lets_run("c"));
    }
}
