//! Decides what follows from a hook's answer: the event continues unchanged, continues with a replacement, or ends.
//!
//! Nothing in this module runs a hook, so each rule can be tested without one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aih_mcp::RawJson;
use aih_runtime::Decision;
use serde_json::{Map, Value};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::hook::{Cause, Failed};
use crate::{components::schema::Schema, config::OnFailure};

/// Bytes of a replacement that are read on the thread of its call: less than a millisecond's work.
const SMALL: usize = 256 << 10;
/// Compiled schemas that are kept.
const KEPT_SCHEMAS: usize = 256;

/// What becomes of the event after one hook.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HookDecision<T> {
    /// It goes on as it is.
    Go,
    /// It goes on with this.
    Replaced(T),
    /// It ends, for this reason.
    Denied(String),
    /// The hook failed, and the event goes on as it is: to be logged.
    Passed(String),
    /// The hook failed, and the event ends: to be logged, and told with the second text.
    Closed(String, String),
    /// The hook did not get to decide, and the event ends with this. Whatever `on_failure` says, since nothing
    /// failed.
    NoDecision(NoDecision),
}

/// Why a hook did not get to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoDecision {
    /// The hub is too busy to run it, or still prepares it: the caller may try again.
    Busy,
    /// The caller went away.
    Cancelled,
}

/// What one hook's answer means. `accept` checks a replacement; what it refuses is a failure of the hook.
pub(crate) fn settle<T>(
    hook: &str,
    on_failure: OnFailure,
    answer: Result<Decision, Failed>,
    accept: impl FnOnce(&str) -> Result<T, String>,
) -> HookDecision<T> {
    let failure = match answer {
        Ok(Decision::Proceed) => return HookDecision::Go,
        Ok(Decision::Deny(reason)) if reason.trim().is_empty() => {
            return HookDecision::Denied(format!("the hook `{hook}` refused this"));
        }
        Ok(Decision::Deny(reason)) => return HookDecision::Denied(reason),
        Ok(Decision::Replace(text)) => match accept(&text) {
            Ok(value) => return HookDecision::Replaced(value),
            Err(why) => format!("its replacement cannot be used: {why}"),
        },
        Err(failed) => match (failed.cause, on_failure) {
            (Cause::Busy, _) | (Cause::Preparing, OnFailure::Closed) => {
                return HookDecision::NoDecision(NoDecision::Busy);
            }
            (Cause::Cancelled, _) => return HookDecision::NoDecision(NoDecision::Cancelled),
            _ => failed.text.into(),
        },
    };
    match on_failure {
        OnFailure::Open => HookDecision::Passed(failure),
        OnFailure::Closed => {
            // What went wrong inside is the operator's affair.
            let message = format!("the hook `{hook}` must allow this, and it failed; the hub's log says why");
            HookDecision::Closed(failure, message)
        }
    }
}

/// Reads a replacement that has to be an object.
fn object(text: &str) -> Result<Map<String, Value>, String> {
    match aside(text.len() > SMALL, || serde_json::from_str(text)) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("it is not a JSON object".to_owned()),
        Err(error) => Err(format!("it is not JSON: {error}")),
    }
}

/// Arguments for a tool, checked against its input schema where it has one.
pub(crate) fn arguments(text: &str, schema: Option<&Schema>) -> Result<RawJson, String> {
    let value = Value::Object(object(text)?);
    fits(schema, &value, "the tool's input schema")?;
    Ok(RawJson::of(&value))
}

/// A `CallToolResult`, checked against the tool's output schema where it has one.
pub(crate) fn result(text: &str, schema: Option<&Schema>) -> Result<RawJson, String> {
    let result = object(text)?;
    let content = match result.get("content") {
        Some(Value::Array(content)) => content,
        Some(_) => return Err("`content` is not a list".to_owned()),
        None => return Err("`content` is missing".to_owned()),
    };
    for (index, block) in content.iter().enumerate() {
        check_block(block).map_err(|why| format!("`content[{index}]` {why}"))?;
    }
    let failed = match result.get("isError") {
        None => false,
        Some(Value::Bool(failed)) => *failed,
        Some(_) => return Err("`isError` is neither true nor false".to_owned()),
    };
    match result.get("structuredContent") {
        None | Some(Value::Object(_)) => {}
        Some(_) => return Err("`structuredContent` is not an object".to_owned()),
    }
    if !failed {
        let structured = result.get("structuredContent").unwrap_or(&Value::Null);
        fits(schema, structured, "the tool's output schema")?;
    }
    Ok(RawJson::of(&result))
}

/// What MCP demands of each kind of content; kinds that the hub does not know need only say what they are.
fn check_block(block: &Value) -> Result<(), String> {
    let kind = block.get("type").and_then(Value::as_str).ok_or("has no `type`")?;
    let needed: &[&str] = match kind {
        "text" => &["text"],
        "image" | "audio" => &["data", "mimeType"],
        "resource_link" => &["uri", "name"],
        "resource" => {
            let uri = block.get("resource").and_then(|resource| resource.get("uri"));
            return match uri {
                Some(Value::String(_)) => Ok(()),
                _ => Err("has no `resource.uri`".to_owned()),
            };
        }
        _ => &[],
    };
    match needed
        .iter()
        .find(|key| !block.get(**key).is_some_and(Value::is_string))
    {
        Some(key) => Err(format!("is of type `{kind}` and has no text `{key}`")),
        None => Ok(()),
    }
}

/// The parameters of `resources/read`: the URI.
pub(crate) fn resource(text: &str, may: impl Fn(&str) -> bool) -> Result<String, String> {
    let params = object(text)?;
    match params.get("uri") {
        Some(Value::String(uri)) if may(uri) => Ok(uri.clone()),
        Some(Value::String(uri)) => Err(format!("the caller may not read `{uri}` there")),
        _ => Err("`uri` is missing or is not a text".to_owned()),
    }
}

/// The parameters of `prompts/get`: another name where one is given, and the arguments.
pub(crate) fn prompt(text: &str, may: impl Fn(&str) -> bool) -> Result<(Option<String>, RawJson), String> {
    let params = object(text)?;
    let name = match params.get("name") {
        None => None,
        Some(Value::String(name)) if may(name) => Some(name.clone()),
        Some(Value::String(name)) => return Err(format!("the caller may not use a prompt `{name}` there")),
        Some(_) => return Err("`name` is not a text".to_owned()),
    };
    let arguments = match params.get("arguments") {
        None => Map::new(),
        Some(Value::Object(arguments)) if arguments.values().all(Value::is_string) => arguments.clone(),
        Some(_) => return Err("`arguments` is not an object of texts".to_owned()),
    };
    Ok((name, RawJson::of(&arguments)))
}

/// `{"instructions": "text"}` of `conversation.start`.
pub(crate) fn instructions(text: &str) -> Result<String, String> {
    match object(text)?.get("instructions") {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err("`instructions` is missing or is not a text".to_owned()),
    }
}

fn fits(schema: Option<&Schema>, value: &Value, what: &str) -> Result<(), String> {
    let Some(schema) = schema else { return Ok(()) };
    // The value itself may be what a hook is there to hide.
    match aside(!schema.is_quick(value), || schema.masked_problem(value)) {
        None => Ok(()),
        Some(problem) => Err(format!("it does not fit {what} {problem}")),
    }
}

/// Does work that may take long without keeping other calls of this thread waiting: they move to another thread first.
fn aside<T>(long: bool, work: impl FnOnce() -> T) -> T {
    let moves = |handle: Handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread;
    if long && Handle::try_current().is_ok_and(moves) {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

/// Schemas of tools, compiled once for as long as the server lists the same tool.
#[derive(Default)]
pub(crate) struct Schemas(Mutex<HashMap<(usize, &'static str), CachedSchema>>);

/// A tool as it was listed, which keeps its address its own, and its schema.
type CachedSchema = (RawJson, Option<Arc<Schema>>);

impl Schemas {
    /// The schema at `key` of a listed tool; `None` where it has none, or one that is none.
    pub(crate) fn of(&self, tool: &RawJson, key: &'static str) -> Option<Arc<Schema>> {
        let place = (tool.bytes().as_ptr() as usize, key);
        // The map is whole at every point where code under the lock could panic.
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, schema)) = lock().get(&place) {
            return schema.clone();
        }
        // Outside of the lock, for which every other call with hooks waits: it may take a while.
        let schema = tool.to_value().get(key).and_then(|schema| {
            let compiled = Schema::compile(schema.clone());
            compiled.ok().map(Arc::new)
        });
        let mut kept = lock();
        if kept.len() >= KEPT_SCHEMAS {
            kept.clear();
        }
        kept.insert(place, (tool.clone(), schema.clone()));
        schema
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn schema(schema: Value) -> Schema {
        Schema::compile(schema).unwrap()
    }

    fn plain(on_failure: OnFailure, answer: Result<Decision, &str>) -> HookDecision<String> {
        let answer = answer.map_err(|text| Failed::new(Cause::Failure, text));
        settle("h", on_failure, answer, |text| match text {
            "bad" => Err("no".to_owned()),
            text => Ok(text.to_owned()),
        })
    }

    #[test]
    fn decisions() {
        use OnFailure::{Closed, Open};
        assert_eq!(plain(Open, Ok(Decision::Proceed)), HookDecision::Go);
        let replaced = plain(Closed, Ok(Decision::Replace("x".into())));
        assert_eq!(replaced, HookDecision::Replaced("x".into()));
        assert_eq!(
            plain(Open, Ok(Decision::Deny("why".into()))),
            HookDecision::Denied("why".into())
        );
        let HookDecision::Denied(text) = plain(Open, Ok(Decision::Deny(" ".into()))) else {
            panic!()
        };
        assert!(text.contains("`h`"));
        assert!(matches!(plain(Open, Err("trap")), HookDecision::Passed(why) if why == "trap"));
        assert!(matches!(
            plain(Open, Ok(Decision::Replace("bad".into()))),
            HookDecision::Passed(_)
        ));
        let HookDecision::Closed(why, message) = plain(Closed, Err("the secret")) else {
            panic!()
        };
        assert_eq!(why, "the secret");
        assert!(!message.contains("secret"));
    }

    #[test]
    fn nothing_passes_that_a_hook_had_no_turn_to_see() {
        use OnFailure::{Closed, Open};
        let step = |cause, on_failure| {
            settle("h", on_failure, Err(Failed::new(cause, "why")), |_| {
                Ok(String::new())
            })
        };
        for on_failure in [Open, Closed] {
            assert_eq!(
                step(Cause::Busy, on_failure),
                HookDecision::NoDecision(NoDecision::Busy)
            );
            assert_eq!(
                step(Cause::Cancelled, on_failure),
                HookDecision::NoDecision(NoDecision::Cancelled)
            );
            let closed = on_failure == Closed;
            for cause in [Cause::Failure, Cause::Refusal] {
                assert_eq!(
                    matches!(step(cause, on_failure), HookDecision::Closed(..)),
                    closed
                );
            }
        }
        assert_eq!(
            step(Cause::Preparing, Closed),
            HookDecision::NoDecision(NoDecision::Busy)
        );
        assert!(matches!(step(Cause::Preparing, Open), HookDecision::Passed(_)));
    }

    #[test]
    fn arguments_fit_the_schema_or_are_refused() {
        let schema = schema(json!({
            "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"],
        }));
        assert_eq!(
            arguments(r#"{"n":1}"#, Some(&schema)).unwrap().text(),
            r#"{"n":1}"#
        );
        for bad in ["", "[]", "{", "null", r#"{"n":"x"}"#, "{}"] {
            assert!(arguments(bad, Some(&schema)).is_err(), "{bad}");
        }
        assert!(arguments("{}", None).is_ok());
        let message = arguments(r#"{"n":"hunter2"}"#, Some(&schema)).unwrap_err();
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn results_are_call_tool_results() {
        let schema = schema(json!({ "type": "object", "required": ["n"] }));
        let ok = |text: &str| result(text, None).is_ok();
        assert!(ok(r#"{"content":[]}"#));
        assert!(ok(
            r#"{"content":[{"type":"text","text":"x"},{"type":"new"}],"x":1,"_meta":{}}"#
        ));
        assert!(ok(
            r#"{"content":[{"type":"resource","resource":{"uri":"a:b","text":""}}]}"#
        ));
        for bad in [
            r#"{"content":[{"type":"text"}]}"#,
            r#"{"content":[{"text":"x"}]}"#,
            r#"{"content":[{"type":"image","data":"x"}]}"#,
            r#"{"content":[{"type":"resource"}]}"#,
            r#"{"content":[1]}"#,
            r#"{"content":{}}"#,
            r#"{"content":[],"isError":"yes"}"#,
            r#"{"content":[],"structuredContent":[]}"#,
            "{}",
            "[]",
            "x",
        ] {
            assert!(!ok(bad), "{bad}");
        }
        let with = |text: &str| result(text, Some(&schema)).is_ok();
        assert!(with(r#"{"content":[],"structuredContent":{"n":1}}"#));
        assert!(!with(r#"{"content":[]}"#));
        assert!(with(r#"{"content":[],"isError":true}"#));
    }

    #[test]
    fn parameters_of_reads_and_prompts() {
        let may = |name: &str| name == "a:b";
        assert_eq!(resource(r#"{"uri":"a:b"}"#, may).unwrap(), "a:b");
        assert!(resource(r#"{"uri":"c"}"#, may).is_err());
        assert!(resource("{}", may).is_err());
        let (name, arguments) = prompt(r#"{"arguments":{"x":"y"}}"#, may).unwrap();
        assert_eq!((name, &*arguments.text()), (None, r#"{"x":"y"}"#));
        assert_eq!(prompt(r#"{"name":"a:b"}"#, may).unwrap().0.unwrap(), "a:b");
        assert!(prompt(r#"{"name":"c"}"#, may).is_err());
        assert!(prompt(r#"{"arguments":{"x":1}}"#, may).is_err());
        assert_eq!(instructions(r#"{"instructions":"x"}"#).unwrap(), "x");
        assert!(instructions("{}").is_err());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_check_that_takes_long_keeps_no_other_call_waiting() {
        // Each text is compared with each member of a long list: a million steps.
        let known: Vec<_> = (0..1_000).map(|n| format!("known-{n}")).collect();
        let schema = schema(json!({
            "type": "object", "properties": { "all": { "type": "array", "items": { "enum": known } } },
        }));
        let text = json!({ "all": vec!["known-999"; 1_000] }).to_string();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(!schema.is_quick(&value));
        let (begun, goes_on) = std::sync::mpsc::channel();
        let check = tokio::spawn(async move {
            let found = aside(true, || {
                // This is the only thread of the runtime: the other task runs because it moved to a new one.
                goes_on.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
                arguments(&text, Some(&schema))
            });
            found.is_ok()
        });
        let other = tokio::spawn(async move { begun.send(()).unwrap() });
        assert!(check.await.unwrap());
        other.await.unwrap();
    }

    #[test]
    fn schemas_are_compiled_once_for_each_listed_tool() {
        let schemas = Schemas::default();
        let tool = RawJson::of(&json!({ "name": "t", "inputSchema": { "type": "object" } }));
        let first = schemas.of(&tool, "inputSchema").unwrap();
        assert!(Arc::ptr_eq(
            &first,
            &schemas.of(&tool.clone(), "inputSchema").unwrap()
        ));
        assert!(schemas.of(&tool, "outputSchema").is_none());
    }

    proptest! {
        #[test]
        fn no_replacement_can_break_the_checks(text in "\\PC*") {
            let _ = arguments(&text, None);
            let _ = result(&text, None);
            let _ = resource(&text, |_| true);
            let _ = prompt(&text, |_| true);
            let _ = instructions(&text);
        }
    }
}
