//! The tools. Each does one thing that a well-behaved server does, or one that it must not do.
//!
//! | tool | what it does |
//! | --- | --- |
//! | `echo`, and every added one | answers with the text of `text` |
//! | `mirror` | its `result` argument is the result, byte for byte |
//! | `params` | answers with the text of all parameters as they came |
//! | `pid` | answers with the process id |
//! | `silent`, `garbage`, `cut`, `cut_stream`, `wrong_id`, `exit` | never answers, answers no JSON, breaks off, … |
//! | `exit_after` | answers, and ends the process after `ms` |
//! | `say`, `later` | sends `message` as it is: before the answer, or `ms` after it and outside of any request |
//! | `read`, `set` | waits `ms`; listed as read-only, and as idempotent |
//! | `huge` | waits `ms`; a text of `bytes` bytes |
//! | `leak` | an error that repeats the credentials that came with the request |
//! | `slow` | waits `ms`; tells of its progress `steps` times; a text, of `bytes` bytes if they are given |
//! | `ask` | tells of its progress, asks the client for `kind`: elicitation, sampling or roots; answers with what it said |
//! | `add_tool` | one more tool of `name`, or with `toggle` one less where it is there; tells everyone |
//! | `touch`, `log` | says that `uri` changed, to those who subscribed to it or to `of`; sends a log message |
//! | any, with `later: true` | makes a task, whose result is the text of `text` |
//! | `odd` | a content block and fields that no revision knows |

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    Mode,
    server::{Context, Incoming, Reply, Server, Session},
};

/// A tool that no schema in any SDK has room for, and whose numbers must not be written anew.
pub(crate) const ODD: &str = r#"{"name":"odd","description":"odd","inputSchema":{"type":"object"},"execution":{"taskSupport":"optional"},"x-unknown":{"numbers":[1.0,1e3,10000000000000000000000001,-0],"text":"\u00e4/ä"}}"#;
/// What `odd` answers, without the outer braces.
pub(crate) const ODD_RESULT: &str = r#""content":[{"type":"hologram","voxels":[1.0,2e2],"x":"\u00e4"},{"type":"text","text":"t","x-unknown":-0}],"x-result":{"n":1.50},"isError":false"#;

const NAMES: [&str; 20] = [
    "echo",
    "mirror",
    "params",
    "pid",
    "silent",
    "garbage",
    "cut",
    "cut_stream",
    "wrong_id",
    "exit",
    "exit_after",
    "say",
    "later",
    "huge",
    "leak",
    "slow",
    "ask",
    "add_tool",
    "touch",
    "log",
];

/// A tool with nothing special.
pub(crate) fn plain(name: &str) -> String {
    format!(r#"{{"name":"{name}","description":"{name}","inputSchema":{{"type":"object"}}}}"#)
}

/// All of a well server.
pub(crate) fn all() -> Vec<String> {
    let mut all: Vec<_> = NAMES.iter().map(|name| plain(name)).collect();
    for (name, hint) in [("read", "readOnlyHint"), ("set", "idempotentHint")] {
        let listed = plain(name);
        let open = listed.trim_end_matches('}');
        all.push(format!(r#"{open}}},"annotations":{{"{hint}":true}}}}"#));
    }
    all.push(ODD.to_owned());
    all
}

fn text(server: &Server, text: &str) -> Reply {
    let text = Value::from(text);
    server.complete(&format!(r#""content":[{{"type":"text","text":{text}}}]"#))
}

/// Runs a tool.
pub(crate) async fn call(
    server: &Server,
    session: &Arc<Session>,
    message: &Incoming,
    context: &Context,
) -> Reply {
    #[derive(Deserialize)]
    struct Raw {
        #[serde(default)]
        arguments: Option<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct Mirror {
        result: Box<RawValue>,
    }
    let fields = message.fields();
    let argument = |name: &str| fields.pointer(&format!("/arguments/{name}"));
    let word = |name: &str| argument(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| argument(name).and_then(Value::as_u64).unwrap_or(0);
    let raw = message.params.as_ref().map_or("{}", |p| p.get());
    if argument("later") == Some(&Value::Bool(true)) {
        let text = Value::from(word("text"));
        return server.make_task(&format!(r#"{{"content":[{{"type":"text","text":{text}}}]}}"#));
    }
    match fields.get("name").and_then(Value::as_str).unwrap_or_default() {
        "mirror" => {
            let arguments = serde_json::from_str::<Raw>(raw).ok().and_then(|r| r.arguments);
            match arguments.and_then(|a| serde_json::from_str::<Mirror>(a.get()).ok()) {
                Some(mirror) => Reply::Result(mirror.result.get().to_owned()),
                None => Reply::error(-32602, "`result` is missing"),
            }
        }
        "params" => text(server, raw),
        "pid" => text(server, &std::process::id().to_string()),
        "odd" => server.complete(ODD_RESULT),
        "silent" => Reply::Never,
        "garbage" => Reply::Bytes(b"<html>\xff this is no JSON".to_vec()),
        "cut" => Reply::Cut(r#"{"content":[{"type":"text","text":"half of"#.to_owned()),
        "cut_stream" => {
            let note = json!({ "jsonrpc": "2.0", "method": "notifications/message",
                "params": { "level": "error", "data": "about to break off" } });
            let _ = context.out.send(note.to_string());
            Reply::Cut(r#"{"content":[{"type":"text","text":"half of"#.to_owned())
        }
        "wrong_id" => Reply::WrongId(r#"{"content":[{"type":"text","text":"not yours"}]}"#.to_owned()),
        "exit" => {
            tokio::time::sleep(Duration::from_millis(number("ms"))).await;
            Reply::Exit
        }
        "exit_after" => {
            let pause = Duration::from_millis(number("ms").max(20));
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                std::process::exit(5);
            });
            text(server, "soon")
        }
        "say" => {
            let message = argument("message").cloned().unwrap_or_default();
            let _ = context.out.send(message.to_string());
            text(server, "said")
        }
        "later" => {
            let (pause, message) = (number("ms"), argument("message").cloned().unwrap_or_default());
            let standing = session.standing.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let _ = standing.send(message.to_string());
            });
            text(server, "later")
        }
        "read" | "set" => {
            tokio::time::sleep(Duration::from_millis(number("ms"))).await;
            text(server, word("text"))
        }
        "huge" => {
            tokio::time::sleep(Duration::from_millis(number("ms"))).await;
            let bytes = usize::try_from(number("bytes")).unwrap_or(0);
            text(server, &"a".repeat(bytes))
        }
        "leak" => Reply::error(-32000, &format!("refused for `{}`", context.authorization)),
        "slow" => {
            slow(&fields, number("ms"), number("steps"), context).await;
            match usize::try_from(number("bytes")) {
                Ok(0) | Err(_) => text(server, "done"),
                Ok(bytes) => text(server, &"a".repeat(bytes)),
            }
        }
        "ask" => ask(server, session, word("kind"), &fields, context).await,
        "add_tool" => {
            match argument("toggle") {
                Some(Value::Bool(true)) => server.toggle_tool(word("name")),
                _ => server.add_tool(word("name")),
            }
            text(server, "added")
        }
        "touch" => {
            let of = if word("of").is_empty() { "uri" } else { "of" };
            server.touch(word("uri"), word(of));
            text(server, "touched")
        }
        "log" => {
            let note = json!({ "jsonrpc": "2.0", "method": "notifications/message",
                "params": { "level": word("level"), "logger": "hostile", "data": word("data") } });
            let _ = context.out.send(note.to_string());
            text(server, "logged")
        }
        _ => text(server, word("text")),
    }
}

async fn slow(fields: &Value, ms: u64, steps: u64, context: &Context) {
    let token = fields.pointer("/_meta/progressToken").cloned();
    let pause = Duration::from_millis(ms / steps.max(1));
    for step in 1..=steps.max(1) {
        tokio::time::sleep(pause).await;
        if let (Some(token), true) = (&token, steps > 0) {
            let note = json!({ "jsonrpc": "2.0", "method": "notifications/progress",
                "params": { "progressToken": token, "progress": step, "total": steps, "message": "on it" } });
            let _ = context.out.send(note.to_string());
        }
    }
}

/// The question of each kind.
fn question(kind: &str) -> (&'static str, Value) {
    match kind {
        "sampling" => (
            "sampling/createMessage",
            json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": "say hello" } }],
                "maxTokens": 7 }),
        ),
        "roots" => ("roots/list", json!({})),
        _ => (
            "elicitation/create",
            json!({ "mode": "form", "message": "your name?", "requestedSchema":
                { "type": "object", "properties": { "name": { "type": "string" } } } }),
        ),
    }
}

async fn ask(
    server: &Server,
    session: &Arc<Session>,
    kind: &str,
    fields: &Value,
    context: &Context,
) -> Reply {
    let (method, params) = question(kind);
    let token = fields.pointer("/_meta/progressToken");
    if let Some(token) = token {
        let note = json!({ "jsonrpc": "2.0", "method": "notifications/progress",
            "params": { "progressToken": token, "progress": 1, "message": "about to ask" } });
        let _ = context.out.send(note.to_string());
    }
    if server.mode != Mode::Modern {
        let answer = server.ask(session, context, method, &params).await;
        return text(server, &answer);
    }
    match (fields.get("inputResponses"), fields.get("requestState")) {
        (Some(responses), Some(Value::String(state))) if state == "state-of-ask" => {
            let answer = responses
                .get("question")
                .map(Value::to_string)
                .unwrap_or_default();
            text(server, &answer)
        }
        _ => Reply::of(&json!({
            "resultType": "input_required",
            "inputRequests": { "question": { "method": method, "params": params } },
            "requestState": "state-of-ask",
        })),
    }
}
