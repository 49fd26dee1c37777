//! The protocols read the same conversation in the same way, and the script goes through it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Answer, Reply, Tool, Turn, anthropic, chat, gemini, responses};
use crate::zoo::model::{Script, Step};

/// A conversation in one protocol: a system prompt, a tool, a call that was answered with a text and an image.
fn conversations() -> Vec<(&'static str, serde_json::Result<Turn>)> {
    let bytes = |value: Value| value.to_string().into_bytes();
    let anthropic = json!({
        "model": "m", "stream": true, "system": [{"type": "text", "text": "be brief"}],
        "tools": [{"name": "add", "description": "adds", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "add", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [
                {"type": "text", "text": "five"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
                {"type": "a-kind-of-tomorrow"},
            ]}]},
        ],
    });
    let responses = json!({
        "model": "m", "stream": true, "instructions": "be brief",
        "tools": [
            {"type": "function", "name": "add", "description": "adds", "parameters": {}},
            {"type": "web_search"},
        ],
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]},
            {"type": "function_call", "call_id": "1", "name": "add", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "1", "output": [
                {"type": "input_text", "text": "five"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
            ]},
        ],
    });
    let chat = json!({
        "model": "m", "stream": true,
        "tools": [{"type": "function", "function": {"name": "add", "description": "adds", "parameters": {}}}],
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": null, "tool_calls": []},
            {"role": "tool", "tool_call_id": "1", "content": "five"},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        ],
    });
    let gemini = json!({
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "tools": [{"functionDeclarations": [{"name": "add", "description": "adds", "parametersJsonSchema": {}}]}],
        "contents": [
            {"role": "user", "parts": [{"text": "go"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "add", "args": {}}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "add", "response": {"output": "five"}}},
                {"inlineData": {"mimeType": "image/png", "data": "AA=="}},
            ]},
        ],
    });
    vec![
        ("anthropic", anthropic::read(&bytes(anthropic))),
        ("responses", responses::read(&bytes(responses))),
        ("chat", chat::read(&bytes(chat))),
        ("gemini", gemini::read(&bytes(gemini), "m", true)),
    ]
}

fn add() -> Tool {
    Tool {
        namespace: None,
        name: "add".to_owned(),
        description: "adds".to_owned(),
    }
}

#[test]
fn every_protocol_is_read_alike() {
    for (protocol, turn) in conversations() {
        let turn = turn.unwrap();
        assert_eq!(turn.tools, [add()], "{protocol}");
        assert!(
            turn.system.contains("be brief") && turn.system.contains("go"),
            "{protocol}: {}",
            turn.system
        );
        assert_eq!(turn.results.len(), 1, "{protocol}");
        assert!(turn.results[0].contains("five"), "{protocol}: {:?}", turn.results);
        assert_eq!(turn.images, 1, "{protocol}");
        assert!(turn.stream && turn.model == "m", "{protocol}");
    }
}

#[test]
fn the_tools_of_a_namespace_have_its_name() {
    let request = json!({"model": "m", "input": [], "tools": [
        {"type": "namespace", "name": "hub", "description": "a hub", "tools": [{"type": "function", "name": "add"}]},
    ]});
    let turn = responses::read(request.to_string().as_bytes()).unwrap();
    assert_eq!(turn.tools[0].full_name(), "hub/add");
    assert!(turn.system.contains("a hub"));
}

/// The data of a stream's events, as JSON where it is.
fn streamed(answer: Answer) -> Vec<Value> {
    let Answer::Stream(events) = answer else {
        panic!("it is not a stream");
    };
    events
        .iter()
        .filter_map(|event| serde_json::from_str(&event.1).ok())
        .collect()
}

#[test]
fn every_protocol_streams_a_call_with_its_arguments() {
    let turn = Turn {
        stream: true,
        ..Turn::default()
    };
    let reply = Reply::Call {
        id: "1".to_owned(),
        tool: add(),
        arguments: json!({"a": 2}),
    };
    let text = json!({"a": 2}).to_string();
    let events = streamed(anthropic::write(&turn, &reply));
    let types: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(
        types,
        [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    assert_eq!(events[2]["delta"]["partial_json"], json!(text));
    let events = streamed(responses::write(&turn, &reply));
    assert_eq!(
        events.last().unwrap()["response"]["output"][0]["arguments"],
        json!(text)
    );
    assert!(
        events
            .iter()
            .enumerate()
            .all(|(i, event)| event["sequence_number"] == json!(i))
    );
    let events = streamed(chat::write(&turn, &reply));
    assert_eq!(
        events[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"],
        json!(text)
    );
    let events = streamed(gemini::write(&turn, &reply));
    assert_eq!(
        events[0]["candidates"][0]["content"]["parts"][0]["functionCall"]["args"],
        json!({"a": 2})
    );
}

fn turn(tools: &[&str], results: &[&str]) -> Turn {
    let tool = |name: &&str| Tool {
        name: (*name).to_owned(),
        ..add()
    };
    Turn {
        tools: tools.iter().map(tool).collect(),
        results: results.iter().map(|&result| result.to_owned()).collect(),
        ..Turn::default()
    }
}

fn called(reply: &Reply) -> &str {
    match reply {
        Reply::Call { tool, .. } => &tool.name,
        Reply::Say(text) => text,
    }
}

#[tokio::test]
async fn the_script_goes_step_by_step_and_searches_what_is_not_offered() {
    let call = Step::Call {
        tool: "add".to_owned(),
        arguments: json!({}),
    };
    let (pauses, mut paused) = tokio::sync::mpsc::unbounded_channel();
    let steps = vec![call.clone(), Step::Pause, call];
    let script = Script::new(steps, Some(|name| ("search", json!({"query": name})))).with_pauses(pauses);
    let script = Arc::new(script);
    assert_eq!(called(&script.reply(&turn(&[], &[])).await), "A title");
    assert_eq!(called(&script.reply(&turn(&["search"], &[])).await), "search");
    // A client that asks again gets the same.
    assert_eq!(called(&script.reply(&turn(&["search"], &[])).await), "search");
    let tools = ["search", "add"];
    assert_eq!(called(&script.reply(&turn(&tools, &["found"])).await), "add");
    let waiting = tokio::spawn({
        let script = script.clone();
        async move { script.reply(&turn(&tools, &["found", "first"])).await }
    });
    paused.recv().await.unwrap().send(()).unwrap();
    assert_eq!(called(&waiting.await.unwrap()), "add");
    assert!(!script.is_done());
    script.reply(&turn(&tools, &["found", "first", "second"])).await;
    assert!(script.is_done() && script.complaints().is_empty());
    assert_eq!(script.results(), ["first", "second"]);
}

#[tokio::test]
async fn a_tool_that_is_never_offered_is_named() {
    let call = Step::Call {
        tool: "add".to_owned(),
        arguments: json!({}),
    };
    let script = Script::new(vec![call], None);
    script.reply(&turn(&["other"], &[])).await;
    assert!(script.is_done());
    assert_eq!(script.complaints(), ["the model was not offered `add`"]);
}
