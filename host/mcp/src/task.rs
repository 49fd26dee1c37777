//! Tasks on the wire: calls that a server answers later (2025-11-25, Tasks; from 2026-07-28 the extension
//! `io.modelcontextprotocol/tasks`, SEP-2663).

use super::{RawJson, RawObject};

/// The id of the task that a result tells of in place of an answer: a `CreateTaskResult`, which has its task in `task`
/// (2025-11-25) or is a task itself (SEP-2663).
pub fn created(result: &RawJson) -> Option<String> {
    // Most results are spared the parse.
    memchr::memmem::find(result.bytes(), b"\"taskId\"")?;
    let object = RawObject::parse(result).ok()?;
    if object.str("resultType").is_some_and(|kind| kind == "task") {
        return object.read("taskId");
    }
    let task = object.raw("task")?;
    RawObject::parse(&task).ok()?.read("taskId")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_that_tell_of_a_task() {
        let id = |text: &str| created(&RawJson::parse(text.to_owned()).unwrap());
        let legacy = r#"{"task":{"taskId":"a","status":"working"}}"#;
        assert_eq!(id(legacy).as_deref(), Some("a"));
        let modern = r#"{"resultType":"task","taskId":"b","status":"working"}"#;
        assert_eq!(id(modern).as_deref(), Some("b"));
        for none in [
            r#"{"content":[{"type":"text","text":"\"taskId\""}]}"#,
            r#"{"structuredContent":{"task":{"taskId":"a"}},"content":[]}"#,
            r#"{"resultType":"complete","taskId":"b"}"#,
            r#"{"task":{"taskId":7}}"#,
        ] {
            assert_eq!(id(none), None, "{none}");
        }
    }
}
