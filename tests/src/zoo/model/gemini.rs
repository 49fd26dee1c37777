//! The Gemini API: <https://ai.google.dev/api/generate-content>, `generateContent` and `streamGenerateContent?alt=sse`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Event, Reply, Tool, Turn};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    system_instruction: Option<Content>,
    #[serde(default)]
    contents: Vec<Content>,
    #[serde(default)]
    tools: Vec<Offered>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    role: String,
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    text: Option<String>,
    inline_data: Option<Value>,
    function_response: Option<FunctionResponse>,
}

#[derive(Deserialize)]
struct FunctionResponse {
    #[serde(default)]
    response: Value,
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offered {
    #[serde(default)]
    function_declarations: Vec<Declaration>,
}

#[derive(Deserialize)]
struct Declaration {
    name: String,
    #[serde(default)]
    description: String,
}

/// Reads a request; the model and the method are in its path.
pub(super) fn read(body: &[u8], model: &str, stream: bool) -> serde_json::Result<Turn> {
    let request: Request = serde_json::from_slice(body)?;
    let mut turn = Turn {
        model: model.to_owned(),
        stream,
        ..Turn::default()
    };
    let declarations = request
        .tools
        .into_iter()
        .flat_map(|tool| tool.function_declarations);
    turn.tools = declarations
        .map(|tool| Tool {
            namespace: None,
            name: tool.name,
            description: tool.description,
        })
        .collect();
    for content in request.system_instruction.iter().chain(&request.contents) {
        for part in &content.parts {
            if let Some(text) = part.text.as_deref().filter(|_| content.role != "model") {
                turn.system.push_str(text);
                turn.system.push('\n');
            }
            turn.images += usize::from(part.inline_data.is_some());
            if let Some(answer) = &part.function_response {
                turn.images += answer
                    .parts
                    .iter()
                    .filter(|part| part.inline_data.is_some())
                    .count();
                turn.results.push(answer.response.to_string());
            }
        }
    }
    Ok(turn)
}

/// Writes a reply.
pub(super) fn write(turn: &Turn, reply: &Reply) -> Answer {
    let part = match reply {
        Reply::Say(text) => json!({"text": text}),
        Reply::Call { id, tool, arguments } => {
            json!({"functionCall": {"id": id, "name": tool.name, "args": arguments}})
        }
    };
    let candidate =
        json!({"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"});
    let usage = json!({"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110});
    let body = json!({
        "candidates": [candidate], "usageMetadata": usage, "modelVersion": turn.model,
        "responseId": format!("response-{:04}", turn.results.len() + 1),
    });
    match turn.stream {
        true => Answer::Stream(vec![Event(None, body.to_string())]),
        false => Answer::Whole(body),
    }
}
