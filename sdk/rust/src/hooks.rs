//! What a hook gets and gives.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Error, Result,
    wit::{
        hooks::{self, Decision},
        types::Failure,
    },
};

/// Something that happened, or is about to, in the hub.
#[derive(Clone, Debug)]
pub struct Event(hooks::Event);

impl Event {
    #[doc(hidden)]
    pub fn new(event: hooks::Event) -> Self {
        Self(event)
    }

    /// The same when a background event is tried again.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The trigger, such as `tool.before`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What the event carries. The hub serves the schema of each trigger at `/api/v1/hooks/schema`.
    ///
    /// # Errors
    /// The payload is not what `T` expects.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.0.payload_json)
            .map_err(|error| Error::internal(format!("the payload of `{}`: {error}", self.0.name)))
    }

    /// Which try of a background event this is, from 1.
    pub fn attempt(&self) -> u32 {
        let attempt = self.0.extras.iter().find(|(key, _)| key == "attempt");
        attempt.and_then(|(_, number)| number.parse().ok()).unwrap_or(1)
    }
}

/// What is to become of the event.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    decision: Choice,
    result: Option<Value>,
}

#[derive(Clone, Debug, PartialEq)]
enum Choice {
    Proceed,
    Replace(Value),
    Deny(String),
}

impl Outcome {
    /// All goes on as it would without the hook.
    pub fn proceed() -> Self {
        Self {
            decision: Choice::Proceed,
            result: None,
        }
    }

    /// Something else goes on in the place of what the event carries.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn replace(value: impl Serialize) -> Result<Self> {
        Ok(Self {
            decision: Choice::Replace(serde_json::to_value(value)?),
            result: None,
        })
    }

    /// Nothing goes on. The model sees the reason.
    pub fn deny(reason: impl Into<String>) -> Self {
        Self {
            decision: Choice::Deny(reason.into()),
            result: None,
        }
    }

    /// What `POST /api/v1/hooks/{name}/trigger` answers.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn with_result(mut self, value: impl Serialize) -> Result<Self> {
        self.result = Some(serde_json::to_value(value)?);
        Ok(self)
    }
}

/// What a function with `#[hook]` may return.
pub trait IntoOutcome {
    /// The outcome.
    ///
    /// # Errors
    /// The hook's own.
    fn into_outcome(self) -> Result<Outcome>;
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Result<Outcome> {
        Ok(self)
    }
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Result<Outcome> {
        Ok(Outcome::proceed())
    }
}

impl<T: IntoOutcome, E: Into<Error>> IntoOutcome for Result<T, E> {
    fn into_outcome(self) -> Result<Outcome> {
        self.map_err(Into::into)?.into_outcome()
    }
}

/// What the hub gets for what a hook gave.
pub fn outcome(outcome: impl IntoOutcome) -> Result<hooks::Outcome, Failure> {
    let outcome = outcome.into_outcome().map_err(Error::into_failure)?;
    Ok(hooks::Outcome {
        decision: match outcome.decision {
            Choice::Proceed => Decision::Proceed,
            Choice::Replace(value) => Decision::Replace(value.to_string()),
            Choice::Deny(reason) => Decision::Deny(reason),
        },
        event_result_json: outcome.result.map(|value| value.to_string()),
    })
}
