//! The OpenAI Chat Completions API: <https://platform.openai.com/docs/api-reference/chat/create>, with the chunks of
//! <https://platform.openai.com/docs/api-reference/chat-streaming>.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Event, Reply, Tool, Turn};

#[derive(Deserialize)]
struct Request {
    model: String,
    #[serde(default)]
    stream: bool,
    messages: Vec<Message>,
    #[serde(default)]
    tools: Vec<Offered>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    Text {
        text: String,
    },
    ImageUrl {},
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Offered {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    description: String,
}

/// Reads a request.
pub(super) fn read(body: &[u8]) -> serde_json::Result<Turn> {
    let request: Request = serde_json::from_slice(body)?;
    let mut turn = Turn {
        model: request.model,
        stream: request.stream,
        ..Turn::default()
    };
    turn.tools = request
        .tools
        .into_iter()
        .map(|tool| Tool {
            namespace: None,
            name: tool.function.name,
            description: tool.function.description,
        })
        .collect();
    for message in &request.messages {
        let mut text = String::new();
        match &message.content {
            Some(Content::Text(said)) => text.push_str(said),
            Some(Content::Parts(parts)) => {
                for part in parts {
                    match part {
                        Part::Text { text: said } => text.push_str(said),
                        Part::ImageUrl {} => turn.images += 1,
                        Part::Other => {}
                    }
                }
            }
            None => {}
        }
        match message.role.as_str() {
            "tool" => turn.results.push(text),
            "assistant" => {}
            _ => {
                turn.system.push_str(&text);
                turn.system.push('\n');
            }
        }
    }
    Ok(turn)
}

/// Writes a reply.
pub(super) fn write(turn: &Turn, reply: &Reply) -> Answer {
    let (message, reason) = match reply {
        Reply::Say(text) => (json!({"role": "assistant", "content": text}), "stop"),
        Reply::Call { id, tool, arguments } => {
            let function = json!({"name": tool.name, "arguments": arguments.to_string()});
            let call = json!({"index": 0, "id": id, "type": "function", "function": function});
            (
                json!({"role": "assistant", "content": null, "tool_calls": [call]}),
                "tool_calls",
            )
        }
    };
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110});
    let body = |object: &str, choices: Value, usage: Value| {
        json!({
            "id": format!("chatcmpl-{:04}", turn.results.len() + 1), "object": object, "created": 0,
            "model": turn.model, "choices": choices, "usage": usage,
        })
    };
    if !turn.stream {
        let choice = json!({"index": 0, "message": message, "finish_reason": reason, "logprobs": null});
        return Answer::Whole(body("chat.completion", json!([choice]), usage));
    }
    let chunk = |delta: Value, reason: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": reason, "logprobs": null});
        body("chat.completion.chunk", json!([choice]), Value::Null)
    };
    let chunks = [
        chunk(message, None),
        chunk(json!({}), Some(reason)),
        body("chat.completion.chunk", json!([]), usage),
    ];
    let mut events: Vec<Event> = chunks
        .iter()
        .map(|chunk| Event(None, chunk.to_string()))
        .collect();
    events.push(Event(None, "[DONE]".to_owned()));
    Answer::Stream(events)
}
