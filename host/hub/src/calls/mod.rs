//! Every call, a client's, a plugin's and a hook's: may it be made, what hooks say, the other era, the provider, and
//! the record of it, in this order and in one function ([`make`]).
//!
//! A concern of all calls is added here and nowhere else. Nothing here knows where a call came from: names of the
//! aggregated endpoint are translated before and after, by the gateway. [`bridge`] sends a request to a server of the
//! other era, [`record`] writes what became of a call, and [`nested`] makes the calls of components.

pub(crate) mod bridge;
pub(crate) mod nested;
pub(crate) mod record;

use crate::{
    catalogue::{ProviderRequest, Target},
    hooks::Hooks,
    provider::{Answer, Call},
};
use aih_mcp::{Era, ErrorObject, RawJson, method};
use record::Row;

/// Why a call has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The caller may not use what the call names. It is to be answered like a call of something that does not exist.
    NotPermitted,
    /// The provider's error, or the hub's.
    Error(ErrorObject),
}

/// A call that was answered.
#[derive(Debug)]
pub(crate) struct Made {
    /// The answer, in the era of the client where it made the call itself.
    pub(crate) answer: Answer,
    /// The arguments that the provider got; `None` where it got none, or was not asked.
    pub(crate) arguments: Option<RawJson>,
}

/// Makes one call. `through` names the plugin or hook that makes it; `None` is the client itself.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn make(
    hooks: &Hooks,
    request: ProviderRequest,
    call: &Call,
    through: Option<&str>,
) -> Result<Made, Failure> {
    let offering = request.offering.clone();
    if !offering.permits(&request.target, &call.client.principal) {
        return Err(Failure::NotPermitted);
    }
    let method = request.method.clone();
    let tool = match &request.target {
        Target::Tool { names, .. } if *method == *method::TOOLS_CALL => Some(names.clone()),
        _ => None,
    };
    let row = Row::new(call, offering.provider.name(), through);
    let mut arguments = None;
    let sent = &mut arguments;
    let outcome = hooks
        .around(request, call, |request| {
            *sent = request.params.get("arguments").cloned();
            async move { bridge::ask(&request, call, through.is_some()).await }
        })
        .await;
    if let Some(tool) = tool {
        row.ended(&tool.own, &outcome);
    }
    let mut answer = outcome.map_err(Failure::Error)?;
    if through.is_none() && call.client.era() == Era::Modern && answer.era == Era::Legacy {
        answer = Answer {
            result: bridge::as_modern(&method, &answer.result),
            era: Era::Modern,
        };
    }
    Ok(Made { answer, arguments })
}
