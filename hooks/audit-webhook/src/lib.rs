//! Posts each event of the hub as JSON to `config.url`, signed, and fails unless the receiver took it, so that the
//! hub's queue tries again.
//!
//! `X-Hub-Signature-256: sha256=HEX` is the HMAC-SHA256 of the body under the secret `AUDIT_WEBHOOK_SECRET`, the form
//! that GitHub uses and that a hook on `http` of another hub takes. An event that is posted again has the same
//! `Idempotency-Key`.

use std::{fmt::Write as _, time::Duration};

use aih_plugin::{
    Error, Event, Result, config, hook, http, secrets,
    serde_json::{Map, Value, json},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Posts one event of any trigger.
#[hook]
fn post(event: Event) -> Result<()> {
    let url: String = config::get("url")?
        .ok_or_else(|| Error::denied("`config.url` is missing: the address that takes the events"))?;
    let secret = secrets::get("AUDIT_WEBHOOK_SECRET")?;

    let mut payload: Map<String, Value> = event.payload()?;
    payload.entry("id").or_insert_with(|| json!(event.id()));
    for member in config::get_or("omit", Vec::<String>::new())? {
        payload.remove(&member);
    }
    let body = Value::Object(payload).to_string();

    let response = http::post(url)
        .header("content-type", "application/json")
        .header("idempotency-key", event.id())
        .header("x-aih-event", event.name())
        .header("x-aih-attempt", event.attempt().to_string())
        .header(
            "x-hub-signature-256",
            signature(secret.as_bytes(), body.as_bytes())?,
        )
        .body(body)
        .timeout(Duration::from_secs(10))
        // The events are for this address and no other.
        .no_redirects()
        .send()
        .map_err(|error| Error::unavailable(format!("posting the event: {error}")))?;
    match response.status() {
        200..300 => Ok(()),
        status => Err(Error::unavailable(format!("the receiver answered {status}"))),
    }
}

/// `sha256=` and the HMAC in lower-case hex.
fn signature(secret: &[u8], body: &[u8]) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret)?;
    mac.update(body);
    let mut text = "sha256=".to_owned();
    for byte in mac.finalize().into_bytes() {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
