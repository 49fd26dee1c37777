//! How large an answer is.

use crate::{
    bindings::{Content, Decision, Failure, Outcome, Output},
    error::CallError,
};

/// Blocks of content in one answer: each costs the hub and the client more than its bytes say.
const BLOCKS: usize = 10_000;

/// Whether an answer may be passed on.
///
/// # Errors
/// [`CallError::TooLarge`].
pub(crate) fn check(output: &Output, limit: u64) -> Result<(), CallError> {
    if output.content.len() > BLOCKS || size(output) > limit {
        return Err(too_large(limit));
    }
    Ok(())
}

/// Whether what a hook decided and answered may be passed on.
///
/// # Errors
/// [`CallError::TooLarge`].
pub(crate) fn check_outcome(outcome: &Outcome, limit: u64) -> Result<(), CallError> {
    let decided = match &outcome.decision {
        Decision::Proceed => 0,
        Decision::Replace(text) | Decision::Deny(text) => text.len(),
    };
    let answered = outcome.event_result_json.as_ref().map_or(0, String::len);
    if (decided + answered) as u64 > limit {
        return Err(too_large(limit));
    }
    Ok(())
}

/// A failure as it may be passed on.
pub(crate) fn failure(failure: Failure, limit: u64) -> CallError {
    let (Failure::UnknownTool(text)
    | Failure::InvalidArguments(text)
    | Failure::Denied(text)
    | Failure::Unavailable(text)
    | Failure::Other(text)) = &failure;
    if text.len() as u64 > limit {
        return too_large(limit);
    }
    CallError::Failed(failure)
}

/// More was handed over than the limit of the output allows.
pub(crate) fn too_large(limit: u64) -> CallError {
    CallError::TooLarge {
        what: "what the component handed over",
        limit,
    }
}

/// Bytes that a tool's answer holds.
pub fn size(output: &Output) -> u64 {
    let content = output.content.iter().map(|content| match content {
        Content::Text(text) | Content::ResourceJson(text) | Content::Other(text) => text.len(),
        Content::Image(blob) | Content::Audio(blob) => blob.data.len() + blob.mime_type.len(),
    });
    let extras = output.extras.iter().map(|(key, value)| key.len() + value.len());
    let structured = output.structured_json.as_ref().map_or(0, String::len);
    (content.sum::<usize>() + extras.sum::<usize>() + structured) as u64
}
