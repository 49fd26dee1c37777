//! The OpenAI Responses API: <https://platform.openai.com/docs/api-reference/responses/create>, with the events of
//! <https://platform.openai.com/docs/api-reference/responses-streaming>.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Event, Reply, Tool, Turn};

#[derive(Deserialize)]
struct Request {
    model: String,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    instructions: String,
    #[serde(default)]
    input: Vec<Item>,
    #[serde(default)]
    tools: Vec<Offered>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item {
    Message {
        role: String,
        content: Content,
    },
    FunctionCallOutput {
        output: Content,
    },
    #[serde(other)]
    Other,
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
    InputText {
        text: String,
    },
    OutputText {
        text: String,
    },
    InputImage {},
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Offered {
    Function {
        name: String,
        #[serde(default)]
        description: String,
    },
    /// Tools of one server together, with a description of their own.
    Namespace {
        name: String,
        #[serde(default)]
        description: String,
        tools: Vec<Offered>,
    },
    #[serde(other)]
    Other,
}

impl Content {
    fn collect(&self, images: &mut usize) -> String {
        let parts = match self {
            Self::Text(text) => return text.clone(),
            Self::Parts(parts) => parts,
        };
        let mut all = String::new();
        for part in parts {
            match part {
                Part::InputText { text } | Part::OutputText { text } => {
                    all.push_str(text);
                    all.push('\n');
                }
                Part::InputImage {} => *images += 1,
                Part::Other => {}
            }
        }
        all
    }
}

/// Reads a request.
pub(super) fn read(body: &[u8]) -> serde_json::Result<Turn> {
    let request: Request = serde_json::from_slice(body)?;
    let mut turn = Turn {
        model: request.model,
        stream: request.stream,
        system: request.instructions,
        ..Turn::default()
    };
    for tool in request.tools {
        offer(&mut turn, None, tool);
    }
    for item in &request.input {
        match item {
            Item::Message { role, content } => {
                let text = content.collect(&mut turn.images);
                if role != "assistant" {
                    turn.system.push('\n');
                    turn.system.push_str(&text);
                }
            }
            Item::FunctionCallOutput { output } => {
                let text = output.collect(&mut turn.images);
                turn.results.push(text);
            }
            Item::Other => {}
        }
    }
    Ok(turn)
}

fn offer(turn: &mut Turn, namespace: Option<&str>, tool: Offered) {
    match tool {
        Offered::Function { name, description } => turn.tools.push(Tool {
            namespace: namespace.map(str::to_owned),
            name,
            description,
        }),
        Offered::Namespace {
            name,
            description,
            tools,
        } => {
            turn.system.push('\n');
            turn.system.push_str(&description);
            for tool in tools {
                offer(turn, Some(&name), tool);
            }
        }
        Offered::Other => {}
    }
}

/// Writes a reply.
pub(super) fn write(turn: &Turn, reply: &Reply) -> Answer {
    let number = turn.results.len() + 1;
    let (id, item, begun, parts) = match reply {
        Reply::Say(text) => said(format!("msg_{number:04}"), text),
        Reply::Call { id, tool, arguments } => called(format!("fc_{number:04}"), id, tool, arguments),
    };
    let response = |status: &str, output: Value| {
        json!({
            "id": format!("resp_{number:04}"), "object": "response", "created_at": 0, "status": status,
            "model": turn.model, "output": output, "error": null, "incomplete_details": null,
            "usage": {
                "input_tokens": 100, "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 10, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 110,
            },
        })
    };
    let whole = response("completed", json!([item]));
    if !turn.stream {
        return Answer::Whole(whole);
    }
    let mut events = vec![
        (
            "response.created",
            json!({"response": response("in_progress", json!([]))}),
        ),
        (
            "response.in_progress",
            json!({"response": response("in_progress", json!([]))}),
        ),
        (
            "response.output_item.added",
            json!({"output_index": 0, "item": begun}),
        ),
    ];
    events.extend(parts.into_iter().map(|(name, mut event)| {
        event["item_id"] = json!(id);
        event["output_index"] = json!(0);
        (name, event)
    }));
    events.push((
        "response.output_item.done",
        json!({"output_index": 0, "item": item}),
    ));
    events.push(("response.completed", json!({"response": whole})));
    let numbered = events
        .into_iter()
        .enumerate()
        .map(|(sequence, (name, mut event))| {
            event["type"] = json!(name);
            event["sequence_number"] = json!(sequence);
            Event(Some(name), event.to_string())
        });
    Answer::Stream(numbered.collect())
}

/// The id of an output item, the item, the item when it begins, and the events between.
type Output = (String, Value, Value, Vec<(&'static str, Value)>);

fn said(id: String, text: &str) -> Output {
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
    let message = |status: &str, content: Value| json!({"type": "message", "id": id, "role": "assistant", "status": status, "content": content});
    let (item, begun) = (
        message("completed", json!([part(text)])),
        message("in_progress", json!([])),
    );
    let parts = vec![
        (
            "response.content_part.added",
            json!({"content_index": 0, "part": part("")}),
        ),
        (
            "response.output_text.delta",
            json!({"content_index": 0, "delta": text}),
        ),
        (
            "response.output_text.done",
            json!({"content_index": 0, "text": text}),
        ),
        (
            "response.content_part.done",
            json!({"content_index": 0, "part": part(text)}),
        ),
    ];
    (id, item, begun, parts)
}

fn called(id: String, call: &str, tool: &Tool, arguments: &Value) -> Output {
    let arguments = arguments.to_string();
    let function = |status: &str, arguments: &str| {
        let mut item = json!({"type": "function_call", "id": id, "call_id": call, "name": tool.name, "arguments": arguments, "status": status});
        if let Some(namespace) = &tool.namespace {
            item["namespace"] = json!(namespace);
        }
        item
    };
    let (item, begun) = (function("completed", &arguments), function("in_progress", ""));
    let parts = vec![
        (
            "response.function_call_arguments.delta",
            json!({"delta": arguments}),
        ),
        (
            "response.function_call_arguments.done",
            json!({"arguments": arguments, "name": tool.name}),
        ),
    ];
    (id, item, begun, parts)
}
