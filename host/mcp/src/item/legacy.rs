//! What 2026-07-28 lets a server say, and what clients of 2025-11-25 refuse.

use serde_json::value::RawValue;

use super::shape::is_object;
use crate::{RawJson, RawObject};

/// A checked tool as clients up to 2025-11-25 take it; `None` where they take it as it is. Their schema of
/// `outputSchema` asks for `"type": "object"`, and one tool with another one makes them lose the list. Such a tool is
/// listed without `outputSchema`; see [`structured_for_legacy`] for its results.
pub fn legacy_tool(tool: &RawJson) -> Option<RawJson> {
    // Most tools have none: spare them the parse.
    memchr::memmem::find(tool.bytes(), b"\"outputSchema\"")?;
    let mut object = RawObject::parse(tool).ok()?;
    let schema = object.raw("outputSchema")?;
    if RawObject::parse(&schema).is_ok_and(|schema| schema.str("type").as_deref() == Some("object")) {
        return None;
    }
    object.remove("outputSchema");
    Some(object.to_json())
}

/// Whether clients up to 2025-11-25 take this `structuredContent`: for them it is an object.
pub fn structured_for_legacy(structured: &RawValue) -> bool {
    is_object(structured)
}
