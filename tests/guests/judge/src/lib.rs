//! A hook that does what the event says, in its payload or in the arguments of a tool call: `{"do": "deny",
//! "reason": …}`, `{"do": "replace", "with": …}`, `{"do": "raw", "text": …}` for a replacement that may be no JSON,
//! `{"do": "call", "server": …, "tool": …, "with": …}`, `fail`, `trap`, `loop`, `memory`; anything else proceeds. With
//! `config.call` it calls that tool on every event. The result tells what it got.

use aih_plugin::{
    Error, Result, config, mcp,
    serde_json::{self, Value, json},
    wit::{
        hooks::{Decision, Event, Guest, Outcome},
        types::Failure,
    },
};

struct Judge;

impl Guest for Judge {
    async fn on_event(event: Event) -> Result<Outcome, Failure> {
        judge(&event).map_err(|error| Failure::Other(error.to_string()))
    }
}

fn judge(event: &Event) -> Result<Outcome> {
    let payload: Value = serde_json::from_str(&event.payload_json)?;
    let order = payload.get("arguments").unwrap_or(&payload);
    let text = |key: &str| order.get(key).and_then(Value::as_str).unwrap_or_default();
    aih_plugin::info!("{} {}", event.name, event.id);
    if let Some(call) = config::get::<Value>("call")? {
        call_tool(&call)?;
    }
    let with = order.get("with").cloned().unwrap_or_default();
    let decision = match text("do") {
        "deny" => Decision::Deny(text("reason").to_owned()),
        "replace" => Decision::Replace(with.to_string()),
        "raw" => Decision::Replace(text("text").to_owned()),
        "call" => {
            call_tool(order)?;
            Decision::Proceed
        }
        "fail" => return Err(Error::new("as the event says")),
        "trap" => panic!("as the event says"),
        "loop" => loop {
            std::hint::black_box(());
        },
        "memory" => {
            let mut all = Vec::new();
            loop {
                all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
            }
        }
        _ => Decision::Proceed,
    };
    let attempt = event.extras.iter().find(|(key, _)| key == "attempt");
    let result = json!({
        "id": event.id, "name": event.name, "attempt": attempt.map(|(_, number)| number), "payload": payload,
    });
    Ok(Outcome {
        decision,
        event_result_json: Some(result.to_string()),
    })
}

/// Calls the tool that `order` names.
fn call_tool(order: &Value) -> Result<()> {
    let text = |key: &str| order.get(key).and_then(Value::as_str).unwrap_or_default();
    let with = order.get("with").cloned().unwrap_or_else(|| json!({}));
    mcp::call_tool(text("server"), text("tool"), &with)?;
    Ok(())
}

const _: () = {
    aih_plugin::__private::export_hook!(Judge);
};
