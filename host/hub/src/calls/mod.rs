//! Makes every call of a client, a plugin or a hook: permission, hooks, the other era, the provider and the record, in
//! this order and in one function ([`Calls::make`]).
//!
//! A concern of all calls is added here and nowhere else. This module does not know where a call came from: the
//! gateway translates names of the aggregated endpoint before and after. [`bridge`] sends a request to a server of the
//! other era, [`record`] writes the outcome of a call, and [`nested`] makes the calls of components.

pub(crate) mod bridge;
pub(crate) mod nested;
pub(crate) mod record;

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use aih_mcp::{Era, ErrorCode, ErrorObject, RawJson};

use crate::{
    catalogue::ProviderRequest,
    hooks::Hooks,
    provider::{Answer, Call},
};
use record::{Ended, Item, Record, Records};

/// Why a call has no answer.
#[derive(Debug)]
pub(crate) enum CallFailure {
    /// The caller may not use what the call names. It is to be answered like a call of something that does not exist.
    NotPermitted,
    /// The provider's error, or the hub's.
    Error(ErrorObject),
}

/// A call that was answered.
#[derive(Debug)]
pub(crate) struct CompletedCall {
    /// The answer, in the era of the client where it made the call itself.
    pub(crate) answer: Answer,
    /// The arguments that the provider got; `None` where it got none, or was not asked.
    pub(crate) arguments: Option<RawJson>,
}

/// What all calls pass. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Calls {
    /// Weak, because the hooks hold what their own calls are made with.
    hooks: Weak<Hooks>,
    records: Arc<Records>,
}

impl Calls {
    /// Calls pass `hooks` and leave their records with `records`.
    pub(crate) fn new(hooks: Weak<Hooks>, records: Arc<Records>) -> Self {
        Self { hooks, records }
    }

    /// Makes one call. `through` names the plugin or hook that makes it; `None` is the client itself.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub(crate) async fn make(
        &self,
        request: ProviderRequest,
        call: &Call,
        through: Option<&str>,
    ) -> Result<CompletedCall, CallFailure> {
        let (offering, target) = (request.offering.clone(), request.target.clone());
        let method = request.method.clone();
        let open = OpenRecord {
            records: &self.records,
            call,
            method: &method,
            server: offering.provider.name(),
            item: Item::of(&target),
            through,
            begun: Instant::now(),
            written: false,
        };
        if !offering.permits(&target, &call.client.principal) {
            open.end(Ended::Refused("the API key's permissions do not allow it"));
            return Err(CallFailure::NotPermitted);
        }
        // Without them the call would pass by every guard.
        let Some(hooks) = self.hooks.upgrade() else {
            let stopping = ErrorObject::new(ErrorCode::UPSTREAM_UNAVAILABLE, "the hub is stopping");
            open.end(Ended::Failed(&stopping));
            return Err(CallFailure::Error(stopping));
        };
        let mut arguments = None;
        let sent = &mut arguments;
        let outcome = hooks
            .around(request, call, |request| {
                *sent = request.params.get("arguments").cloned();
                async move { bridge::ask(&request, call, through.is_some()).await }
            })
            .await;
        open.end(match &outcome {
            Ok(answer) => Ended::Answered(answer),
            Err(error) => Ended::Failed(error),
        });
        let mut answer = outcome.map_err(CallFailure::Error)?;
        if through.is_none() {
            let era = call.client.era();
            let result = match era {
                Era::Modern => bridge::as_modern(&method, answer.result),
                Era::Legacy if answer.era == Era::Modern => bridge::as_legacy(answer.result),
                Era::Legacy => answer.result,
            };
            answer = Answer { result, era };
        }
        Ok(CompletedCall { answer, arguments })
    }

    /// Writes down what became of a call that did not come as far as [`Calls::make`]: what it names was not found, or
    /// the hub answers it itself.
    pub(crate) fn record(&self, record: &Record<'_>) {
        self.records.write(record);
    }
}

/// A call that has begun. It leaves its record also where nobody waits for it any more and it is dropped.
struct OpenRecord<'a> {
    records: &'a Records,
    call: &'a Call,
    method: &'a str,
    server: &'a str,
    item: Item<'a>,
    through: Option<&'a str>,
    begun: Instant,
    written: bool,
}

impl OpenRecord<'_> {
    fn end(mut self, result: Ended<'_>) {
        self.written = true;
        self.write(result);
    }

    fn write(&self, result: Ended<'_>) {
        self.records.write(&Record {
            call: self.call,
            method: self.method,
            server: Some(self.server),
            item: self.item,
            through: self.through,
            result,
            took: self.begun.elapsed(),
        });
    }
}

impl Drop for OpenRecord<'_> {
    fn drop(&mut self) {
        if !self.written {
            self.write(Ended::Refused("the caller went away before the answer"));
        }
    }
}
