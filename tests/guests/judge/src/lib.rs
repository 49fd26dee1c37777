//! A hook that does what the event says: `{"do": "deny", "reason": …}`, `{"do": "replace", "with": …}`,
//! `{"do": "fail"}`, `{"do": "trap"}`, `{"do": "loop"}`; anything else proceeds. The result tells what it got.

use aih_plugin::{
    Error, Event, Outcome, Result, hook,
    serde_json::{Value, json},
};

#[hook]
async fn on_event(event: Event) -> Result<Outcome> {
    let payload: Value = event.payload()?;
    let text = |key: &str| {
        payload
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    aih_plugin::info!("{} {}", event.name(), event.id());
    let outcome = match text("do").as_str() {
        "deny" => Outcome::deny(text("reason")),
        "replace" => Outcome::replace(payload.get("with"))?,
        "fail" => return Err(Error::new("as the event says")),
        "trap" => panic!("as the event says"),
        "loop" => loop {
            std::hint::black_box(());
        },
        _ => Outcome::proceed(),
    };
    outcome.with_result(json!({
        "id": event.id(), "name": event.name(), "attempt": event.attempt(), "payload": payload,
    }))
}
