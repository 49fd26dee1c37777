//! Runs hooks on request: from the API, a tool or the command line, and from outside through a webhook.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use aih_mcp::RawJson;
use aih_runtime::{Decision, Outcome};
use aih_store::{Store, queue::QueueError};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::HeaderMap;
use jiff::Timestamp;
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    Hooks, Trigger, event,
    hook::{Delivery, Failed, Hook, PATIENCE, detached},
    new_event, new_id,
    webhook::{self, WebhookError},
};
use crate::{
    access::Principal,
    components::{ComponentLoader, LogLine, NoServers, RunLog},
    config::{self, LoadedConfig, WebhookScheme},
    provider::{Call, ProviderState},
};

/// Headers of a webhook that its hook does not see: they carry credentials, or nothing of use.
const KEPT_BACK: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "x-hub-signature",
    "x-hub-signature-256",
    "x-slack-signature",
    "stripe-signature",
];

/// The result of a run of a hook.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Report {
    /// The hook that ran.
    pub name: String,
    /// What it decided: `proceed`, `replace` or `deny`; absent where it failed or has not run yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// What it answered: its result, else its replacement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why it denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The id of the event. For a background hook, the id in the queue.
    pub event: String,
    /// Whether it waits in the queue.
    pub queued: bool,
    /// What it logged.
    pub logs: Vec<LogLine>,
    /// How long it ran, in milliseconds.
    pub duration_ms: f64,
}

/// What came of running a hook.
#[derive(Clone, Debug)]
pub enum Fired {
    /// It ran and answered.
    Answered(Report),
    /// It ran and failed.
    Failed(Report),
    /// Its event waits.
    Queued(Report),
}

impl Fired {
    /// What to tell.
    pub fn report(&self) -> &Report {
        let (Self::Answered(report) | Self::Failed(report) | Self::Queued(report)) = self;
        report
    }
}

/// Why a hook was not run.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FireError {
    /// There is none of that name.
    #[error("no such hook")]
    Unknown,
    /// It does not serve.
    #[error("it does not run: {0}")]
    Off(String),
    /// It runs already, further up.
    #[error("a hook cannot trigger itself, nor can hooks trigger each other without end")]
    Itself,
    /// Its event cannot wait.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Its event cannot be written.
    #[error("{0}")]
    Event(String),
}

/// A request to a webhook, as it came.
#[derive(Clone, Copy)]
pub(crate) struct WebhookRequest<'a> {
    pub(crate) method: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

/// What came of a webhook.
#[derive(Debug)]
pub(crate) enum WebhookOutcome {
    /// The hook ran: its result.
    Ran(Option<Value>),
    /// The hook said no: why.
    Denied(String),
    /// The event waits: its id.
    Queued(String),
    /// The same request came before.
    Repeated,
    /// The hook failed; the sender may try again.
    Failed,
}

/// Why a request to a webhook came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookRequestError {
    /// Its signature is missing or wrong.
    #[error(transparent)]
    Refused(#[from] WebhookError),
    /// Its event was not taken.
    #[error(transparent)]
    Fire(#[from] FireError),
}

/// A call of `principal` over REST.
pub(crate) fn rest_call(principal: Arc<Principal>) -> Call {
    let key = format!("rest-{}", principal.generation());
    detached(principal, key)
}

impl Hooks {
    /// Runs a hook now, whatever its trigger, on an event `manual`. One on `manual` in the background gets it
    /// through the queue. The caller has made sure that `call`'s key may.
    ///
    /// # Errors
    /// See [`FireError`].
    pub(crate) async fn fire(
        &self,
        name: &str,
        payload: &Map<String, Value>,
        call: Call,
    ) -> Result<Fired, FireError> {
        let hook = self.get(name).ok_or(FireError::Unknown)?;
        check_on(hook)?;
        if !call.trail.lets_run(name) {
            return Err(FireError::Itself);
        }
        let client = &call.client;
        let facts = event::EventFacts {
            hub: &self.hub,
            principal: Some(&client.principal.name),
            // Without a name it is not an MCP client.
            client: client.info.is_some().then_some(&**client),
            trail: Some(&call.trail),
        };
        let manual = event::Manual {
            payload,
            by: &client.principal.name,
        };
        let json = event::write(Trigger::Manual, facts, &manual);
        let json = json.map_err(|error| FireError::Event(error.to_string()))?;
        if hook.trigger == Trigger::Manual && !hook.blocking {
            let id = self.enqueue(hook, Trigger::Manual, &json).await?;
            return Ok(Fired::Queued(Report {
                queued: true,
                ..blank(name, id)
            }));
        }
        Ok(run(hook, Trigger::Manual, &json, Some(call)).await)
    }

    async fn enqueue(&self, hook: &Hook, trigger: Trigger, json: &RawJson) -> Result<String, FireError> {
        let stored = match (new_event(hook, trigger, json), &self.queue) {
            (Ok(event), Some(queue)) => queue.push(event).await.map_err(FireError::Queue),
            (Ok(_), None) => Err(FireError::Event("there is no queue".to_owned())),
            (Err(why), _) => Err(FireError::Event(why)),
        };
        if let Err(error) = &stored {
            self.lose(hook, trigger, &error.to_string());
        }
        Ok(stored?.to_string())
    }

    /// A request to the webhook of a hook. Nothing tells a hook that is not there from a signature that is wrong.
    ///
    /// # Errors
    /// See [`WebhookRequestError`].
    pub(crate) async fn receive_webhook(
        &self,
        name: &str,
        webhook_request: WebhookRequest<'_>,
    ) -> Result<WebhookOutcome, WebhookRequestError> {
        let hook = self
            .get(name)
            .filter(|hook| hook.trigger == Trigger::Http && hook.enabled());
        let known = hook.and_then(|hook| Some((hook, hook.webhook.as_ref()?, hook.webhook_secret()?)));
        let Some((hook, webhook, secret)) = known else {
            let nobody: [u8; 32] = rand::random();
            let (headers, body) = (webhook_request.headers, webhook_request.body);
            let checked = webhook::verify(
                WebhookScheme::Github,
                &nobody,
                headers,
                body,
                Timestamp::now(),
                Duration::ZERO,
            );
            return Err(checked.err().unwrap_or(WebhookError::Wrong).into());
        };
        let secret = secret.expose_secret().as_bytes();
        let signature = webhook::verify(
            webhook.scheme,
            secret,
            webhook_request.headers,
            webhook_request.body,
            Timestamp::now(),
            webhook.tolerance,
        )?;
        if !hook.seen.first(signature, webhook.tolerance, Instant::now()) {
            tracing::warn!(target: "aih::hook", hook = name, "the same webhook request came again and was left out");
            return Ok(WebhookOutcome::Repeated);
        }
        let outcome = self.believed(hook, webhook_request).await;
        if !matches!(
            outcome,
            Ok(WebhookOutcome::Ran(_) | WebhookOutcome::Denied(_) | WebhookOutcome::Queued(_))
        ) {
            hook.seen.forget(&signature);
        }
        Ok(outcome?)
    }

    /// A request whose signature was right.
    async fn believed(
        &self,
        hook: &Hook,
        webhook_request: WebhookRequest<'_>,
    ) -> Result<WebhookOutcome, FireError> {
        let body = std::str::from_utf8(webhook_request.body).ok();
        let payload = event::Http {
            method: webhook_request.method,
            query: webhook_request.query,
            headers: shown(webhook_request.headers),
            body,
            body_base64: body
                .is_none()
                .then(|| BASE64_STANDARD.encode(webhook_request.body)),
        };
        let json = event::write(
            Trigger::Http,
            self.facts(super::EventContext::default()),
            &payload,
        );
        let json = json.map_err(|error| FireError::Event(error.to_string()))?;
        if !hook.blocking {
            return Ok(WebhookOutcome::Queued(
                self.enqueue(hook, Trigger::Http, &json).await?,
            ));
        }
        Ok(match run(hook, Trigger::Http, &json, None).await {
            Fired::Answered(Report {
                reason: Some(reason), ..
            }) => WebhookOutcome::Denied(reason),
            Fired::Answered(report) => WebhookOutcome::Ran(report.result),
            Fired::Failed(_) | Fired::Queued(_) => WebhookOutcome::Failed,
        })
    }
}

/// Runs one hook of the configuration without a hub: its own grants, limits and config, state that ends with the run,
/// no other servers. With a trigger the event is one of that kind with the members of `payload`, without it `manual`.
///
/// # Errors
/// The hook is switched off, or its grants cannot be read.
pub async fn try_out(
    entry: &config::Hook,
    loaded: &LoadedConfig,
    loader: ComponentLoader,
    trigger: Option<Trigger>,
    payload: &Map<String, Value>,
) -> anyhow::Result<Fired> {
    let store = Store::in_memory().await?;
    let mcps = super::granted_servers(entry)?;
    let around = super::host_context(entry, mcps, loaded, &store, Arc::new(NoServers));
    let reserved = Arc::new(config::files::reserved(loaded));
    let hook = Hook::start(entry, around, loader, &reserved);
    check_on(&hook)?;
    let facts = event::EventFacts {
        hub: &loaded.config.name,
        principal: Some("cli"),
        client: None,
        trail: None,
    };
    let json = match trigger {
        None => event::write(Trigger::Manual, facts, &event::Manual { payload, by: "cli" })?,
        Some(trigger) => event::write(trigger, facts, payload)?,
    };
    // Building is not part of the run.
    hook.prepared().await;
    let fired = run(&hook, trigger.unwrap_or(Trigger::Manual), &json, None).await;
    hook.stop();
    Ok(fired)
}

fn check_on(hook: &Hook) -> Result<(), FireError> {
    let status = hook.status();
    if status.state == ProviderState::Disabled {
        let why = status.last_error.clone().map(String::from);
        return Err(FireError::Off(
            why.unwrap_or_else(|| "it is switched off".to_owned()),
        ));
    }
    Ok(())
}

/// Runs a hook with its log kept.
pub(crate) async fn run(hook: &Hook, trigger: Trigger, json: &RawJson, call: Option<Call>) -> Fired {
    let record = Arc::new(RunLog::default());
    let id = new_id();
    let began = Instant::now();
    let cancel = call.as_ref().map(|call| call.cancel.clone()).unwrap_or_default();
    let outcome = match hook.turn(trigger, &id, &cancel, PATIENCE).await {
        Err(failed) => Err(failed),
        Ok(turn) => {
            let delivery = Delivery {
                id: &id,
                event: json,
                trigger,
                attempt: 1,
                call,
                record: Some(record.clone()),
            };
            hook.run(delivery, turn).await
        }
    };
    let report = Report {
        duration_ms: (began.elapsed().as_secs_f64() * 1e6).round() / 1e3,
        logs: record.take(),
        ..blank(&hook.name, id)
    };
    finished(report, outcome)
}

fn blank(name: &str, event: String) -> Report {
    Report {
        name: name.to_owned(),
        decision: None,
        result: None,
        reason: None,
        error: None,
        event,
        queued: false,
        logs: Vec::new(),
        duration_ms: 0.0,
    }
}

/// The outcome as the caller of the hook sees it.
fn finished(mut report: Report, outcome: Result<Outcome, Failed>) -> Fired {
    let read = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
    match outcome {
        Ok(outcome) => {
            let replacement = match outcome.decision {
                Decision::Proceed => {
                    report.decision = Some("proceed".to_owned());
                    None
                }
                Decision::Replace(text) => {
                    report.decision = Some("replace".to_owned());
                    Some(text)
                }
                Decision::Deny(reason) => {
                    report.decision = Some("deny".to_owned());
                    report.reason = Some(reason);
                    None
                }
            };
            report.result = outcome.event_result_json.or(replacement).map(read);
            Fired::Answered(report)
        }
        Err(failed) => {
            report.error = Some(failed.text.into());
            Fired::Failed(report)
        }
    }
}

/// The headers that a hook sees.
fn shown(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut shown: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let Ok(value) = value.to_str() else { continue };
        if KEPT_BACK.contains(&name.as_str()) {
            continue;
        }
        shown
            .entry(name.as_str().to_owned())
            .and_modify(|before| {
                before.push_str(", ");
                before.push_str(value);
            })
            .or_insert_with(|| value.to_owned());
    }
    shown
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn hooks_see_no_credentials() {
        let mut headers = HeaderMap::new();
        for name in KEPT_BACK {
            headers.insert(name, HeaderValue::from_static("secret"));
        }
        headers.append("x-event", HeaderValue::from_static("push"));
        headers.append("x-event", HeaderValue::from_static("again"));
        let shown = shown(&headers);
        assert_eq!(shown.len(), 1);
        assert_eq!(shown["x-event"], "push, again");
    }

    #[test]
    fn outcomes_are_reported() {
        let outcome = |decision, result: Option<&str>| {
            Ok(Outcome {
                decision,
                event_result_json: result.map(str::to_owned),
            })
        };
        let report = |outcome| finished(blank("h", "1".to_owned()), outcome).report().clone();
        let ran = report(outcome(Decision::Proceed, Some("{\"n\":1}")));
        assert_eq!(
            (ran.decision.as_deref(), ran.result.unwrap()["n"].as_i64()),
            (Some("proceed"), Some(1))
        );
        let replaced = report(outcome(Decision::Replace("not json".to_owned()), None));
        assert_eq!(replaced.result, Some(Value::from("not json")));
        let denied = report(outcome(Decision::Deny("no".to_owned()), None));
        assert_eq!(denied.reason.as_deref(), Some("no"));
        let failed = Failed::new(super::super::hook::Cause::Failure, "trap");
        assert!(matches!(
            finished(blank("h", String::new()), Err(failed)),
            Fired::Failed(_)
        ));
    }

    #[tokio::test]
    async fn a_webhook_that_is_not_there_is_a_wrong_signature() {
        let hooks = Hooks::none();
        let receive_webhook = |headers| async move {
            let webhook_request = WebhookRequest {
                method: "POST",
                query: "",
                headers: &headers,
                body: b"x",
            };
            match Hooks::none().receive_webhook("nothing", webhook_request).await {
                Err(WebhookRequestError::Refused(error)) => error,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(receive_webhook(HeaderMap::new()).await, WebhookError::Missing);
        let mut headers = HeaderMap::new();
        let signature = HeaderValue::from_str(&format!("sha256={}", webhook::sign(b"s", b"x"))).unwrap();
        headers.insert("x-hub-signature-256", signature);
        assert_eq!(receive_webhook(headers).await, WebhookError::Wrong);
        let call = rest_call(Arc::new(Principal::anonymous_admin()));
        assert!(matches!(
            hooks.fire("nothing", &Map::new(), call).await,
            Err(FireError::Unknown)
        ));
    }
}
