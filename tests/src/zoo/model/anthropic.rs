//! The Anthropic Messages API: <https://docs.anthropic.com/en/api/messages>, with the events of
//! <https://docs.anthropic.com/en/docs/build-with-claude/streaming>.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Answer, Event, Reply, Tool, Turn};

#[derive(Deserialize)]
struct Request {
    model: String,
    #[serde(default)]
    stream: bool,
    system: Option<Content>,
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    tools: Vec<Offered>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Content,
}

#[derive(Deserialize)]
struct Offered {
    name: String,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Blocks(Vec<Block>),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    Image {},
    ToolResult {
        content: Option<Content>,
    },
    #[serde(other)]
    Other,
}

/// Adds what is in `content` to the text and counts its images.
fn collect(content: &Content, text: &mut String, images: &mut usize) {
    match content {
        Content::Text(said) => add(text, said),
        Content::Blocks(blocks) => {
            for block in blocks {
                match block {
                    Block::Text { text: said } => add(text, said),
                    Block::Image {} => *images += 1,
                    Block::ToolResult { .. } | Block::Other => {}
                }
            }
        }
    }
}

fn add(text: &mut String, said: &str) {
    text.push_str(said);
    text.push('\n');
}

/// Reads a request.
pub(super) fn read(body: &[u8]) -> serde_json::Result<Turn> {
    let request: Request = serde_json::from_slice(body)?;
    let mut turn = Turn {
        model: request.model,
        stream: request.stream,
        ..Turn::default()
    };
    if let Some(system) = &request.system {
        collect(system, &mut turn.system, &mut turn.images);
    }
    turn.tools = request
        .tools
        .into_iter()
        .map(|tool| Tool {
            namespace: None,
            name: tool.name,
            description: tool.description,
        })
        .collect();
    for message in request
        .messages
        .iter()
        .filter(|message| message.role != "assistant")
    {
        // Reminders of a client are messages too, and some of them carry what a server says of itself.
        collect(&message.content, &mut turn.system, &mut turn.images);
        let Content::Blocks(blocks) = &message.content else {
            continue;
        };
        for block in blocks {
            if let Block::ToolResult { content } = block {
                let mut text = String::new();
                if let Some(content) = content {
                    collect(content, &mut text, &mut turn.images);
                }
                turn.results.push(text);
            }
        }
    }
    Ok(turn)
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Streamed {
    MessageStart { message: Value },
    ContentBlockStart { index: u32, content_block: Value },
    ContentBlockDelta { index: u32, delta: Delta },
    ContentBlockStop { index: u32 },
    MessageDelta { delta: Value, usage: Value },
    MessageStop,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Delta {
    TextDelta { text: String },
    InputJsonDelta { partial_json: String },
}

impl Streamed {
    fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
        }
    }
}

/// Writes a reply.
pub(super) fn write(turn: &Turn, reply: &Reply) -> Answer {
    let (block, empty, delta, reason) = match reply {
        Reply::Say(text) => (
            json!({"type": "text", "text": text}),
            json!({"type": "text", "text": ""}),
            Delta::TextDelta { text: text.clone() },
            "end_turn",
        ),
        Reply::Call { id, tool, arguments } => {
            let id = format!("toolu_{id}");
            (
                json!({"type": "tool_use", "id": id, "name": tool.name, "input": arguments}),
                json!({"type": "tool_use", "id": id, "name": tool.name, "input": {}}),
                Delta::InputJsonDelta {
                    partial_json: arguments.to_string(),
                },
                "tool_use",
            )
        }
    };
    let message = |content: Value, reason: Option<&str>| {
        json!({
            "id": format!("msg_{:04}", turn.results.len() + 1), "type": "message", "role": "assistant", "model": turn.model,
            "content": content, "stop_reason": reason, "stop_sequence": null,
            "usage": {"input_tokens": 100, "output_tokens": 10},
        })
    };
    if !turn.stream {
        return Answer::Whole(message(json!([block]), Some(reason)));
    }
    let events = [
        Streamed::MessageStart {
            message: message(json!([]), None),
        },
        Streamed::ContentBlockStart {
            index: 0,
            content_block: empty,
        },
        Streamed::ContentBlockDelta { index: 0, delta },
        Streamed::ContentBlockStop { index: 0 },
        Streamed::MessageDelta {
            delta: json!({"stop_reason": reason, "stop_sequence": null}),
            usage: json!({"output_tokens": 10}),
        },
        Streamed::MessageStop,
    ];
    let event = |event: &Streamed| Event(Some(event.name()), json!(event).to_string());
    Answer::Stream(events.iter().map(event).collect())
}
