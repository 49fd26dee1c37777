//! Calls that take long, answers that are long, and answers that are compressed.

use aih_tests::{
    Fixture, Hub, KEY, Modern, Reply,
    client::http,
    fixture::{external, mcps},
    real,
};
use serde_json::{Value, json};

const MEGABYTE: u64 = 1024 * 1024;

async fn hub(fixture: &Fixture) -> Hub {
    let server = external("far", &format!("{}/stateful/l", fixture.url), ", timeout: 60s");
    let hub = Hub::start(&mcps(&server, "")).await;
    hub.until_up("far").await;
    hub
}

/// A client as the Python SDK is one, without a name of its own.
fn like_python(hub: &Hub) -> Modern {
    Modern::new(hub, "/mcp", KEY, json!({})).named("mcp")
}

/// The real Python SDK reads no event of more than 1 MiB. It gets such an answer at once, after the time after which
/// other clients get a stream of events, and after the time after which the hub speaks of progress itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_over_one_mebibyte_reaches_python_clients_however_long_it_takes() {
    let fixture = Fixture::start().await;
    let hub = hub(&fixture).await;
    let run = async |era: &str| {
        let call = |ms: u64| {
            let arguments = json!({ "bytes": 3 * MEGABYTE / 2, "ms": ms });
            json!({ "name": "far__huge", "arguments": arguments })
        };
        let job = json!({ "transport": "http", "url": hub.url("/mcp"), "key": KEY, "era": era,
            "calls": [call(0), call(3_000), call(17_000)] });
        let answer = real::python(&job).await;
        for at in 0..3 {
            let text = answer["calls"][at]["content"][0]["text"].as_str().unwrap();
            assert_eq!(text.len() as u64, 3 * MEGABYTE / 2, "{era}, call {at}");
        }
    };
    tokio::join!(run("legacy"), run("modern"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_no_long_events_gets_json_behind_white_space() {
    let fixture = Fixture::start().await;
    let hub = hub(&fixture).await;
    let params = json!({ "name": "far__huge", "arguments": { "bytes": 2 * MEGABYTE, "ms": 11_000 } });
    let waits = async |client: Modern, kind: &str| {
        let response = client.send("tools/call", params.clone()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], kind);
        let text = response.text().await.unwrap();
        assert!(
            text.starts_with(if kind == "application/json" { "\n" } else { ":" }) || text.contains("data:")
        );
        text
    };
    let (json, _) = tokio::join!(
        waits(like_python(&hub), "application/json"),
        waits(hub.modern(), "text/event-stream"),
    );
    let answer: Value = serde_json::from_str(&json).unwrap();
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert_eq!(text.len() as u64, 2 * MEGABYTE);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_long_for_the_events_of_its_client_is_an_error_that_says_so() {
    let fixture = Fixture::start().await;
    let hub = hub(&fixture).await;
    let call = async |client: Modern, bytes: u64| {
        let params = json!({ "name": "far__slow", "_meta": { "progressToken": 1 },
            "arguments": { "ms": 300, "steps": 3, "bytes": bytes } });
        client.request("tools/call", params).await
    };
    let answer = call(like_python(&hub), 2 * MEGABYTE).await;
    assert!(!answer.notes("notifications/progress").is_empty());
    let text = answer.error()["message"].as_str().unwrap().to_owned();
    assert!(
        text.contains("1048576 bytes") && text.contains("progress token"),
        "{text}"
    );
    assert_eq!(
        call(like_python(&hub), MEGABYTE / 2).await.text().len() as u64,
        MEGABYTE / 2
    );
    assert_eq!(
        call(hub.modern(), 2 * MEGABYTE).await.text().len() as u64,
        2 * MEGABYTE
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_call_makes_progress_for_clients_of_both_eras() {
    let fixture = Fixture::start().await;
    let hub = hub(&fixture).await;
    let params = json!({ "name": "far__slow", "_meta": { "progressToken": "tok-1" },
        "arguments": { "ms": 17_000, "steps": 0 } });
    let mut silent = params.clone();
    silent.as_object_mut().unwrap().remove("_meta");
    let (legacy, modern) = (hub.legacy().await, hub.modern());
    let check = |answer: &Reply| {
        assert_eq!(answer.text(), "done");
        let notes = answer.notes("notifications/progress");
        assert_eq!(notes.len(), 1, "{notes:?}");
        let said = &notes[0]["params"];
        assert_eq!(said["progressToken"], "tok-1");
        assert!(said["progress"].as_f64().unwrap() > 0.0, "{said}");
        assert!(
            said["message"].as_str().unwrap().contains("still running"),
            "{said}"
        );
    };
    let (one, other, without) = tokio::join!(
        legacy.request("tools/call", params.clone()),
        modern.request("tools/call", params.clone()),
        modern.request("tools/call", silent),
    );
    check(&one);
    check(&other);
    assert!(without.notes("notifications/progress").is_empty());
}

#[tokio::test]
async fn lists_and_rest_are_compressed_for_clients_that_ask() {
    let fixture = Fixture::start().await;
    let hub = hub(&fixture).await;
    let modern = hub.modern();
    let post = async |method: &str, mut params: Value, accept: &str| {
        params["_meta"] = modern.meta();
        let name = params["name"].as_str().unwrap_or_default().to_owned();
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let response = http()
            .post(hub.url("/mcp"))
            .bearer_auth(KEY)
            .header("accept", accept)
            .header("accept-encoding", "gzip, br, zstd")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method)
            .header("mcp-name", name)
            .body(body.to_string());
        let response = response.send().await.unwrap();
        assert_eq!(response.status(), 200, "{method}");
        let encoding = response.headers().get("content-encoding").cloned();
        (encoding, response.bytes().await.unwrap().len())
    };
    let both = "application/json, text/event-stream";
    let (encoding, compressed) = post("tools/list", json!({}), both).await;
    assert!(encoding.is_some());
    let whole = modern.request("tools/list", json!({})).await.raw().len();
    assert!(compressed * 3 < whole, "{compressed} of {whole}");
    // Streams of events, results of calls and short answers are not.
    let listed = post("tools/list", json!({}), "text/event-stream").await;
    assert_eq!(listed.0, None);
    let call = json!({ "name": "far__huge", "arguments": { "bytes": 100_000 } });
    assert_eq!(post("tools/call", call, both).await.0, None);
    assert_eq!(post("resources/templates/list", json!({}), both).await.0, None);
    let asks = [("accept-encoding", "gzip")];
    let (_, headers, _) = hub.get("/api/v1/openapi.json", Some(KEY), &asks).await;
    assert_eq!(
        headers.get("content-encoding").map(|v| v.to_str().unwrap()),
        Some("gzip")
    );
    let (_, headers, _) = hub.get("/api/v1/openapi.json", Some(KEY), &[]).await;
    assert!(!headers.contains_key("content-encoding"));
}
