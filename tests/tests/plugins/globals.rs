//! The JavaScript SDK's globals beside Node's: the same programs have to come to the same.

use aih_tests::{Program, real, tools};
use axum::{
    Router,
    extract::{Path, Request},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{AppendHeaders, IntoResponse as _, Response},
    routing::any,
};
use serde_json::{Value, json};

use crate::{examples::root, hub, plugin, until_state};

#[tokio::test]
async fn the_globals_of_javascript_behave_as_in_node() {
    let folder = root().join("tests/fixtures/js-conformance");
    let base = server().await;
    let entry = plugin(
        "table",
        &folder.join("plugin.js").display().to_string(),
        &format!("limits: {{ time: \"120s\" }}, grants: {{ http: [\"{base}\", \"http://127.0.0.1:1\"] }}"),
    );
    let hub = hub(&[entry], &[]).await;
    until_state(&hub, "table", "up").await;
    let client = hub.legacy().await;
    let ran = client.call("table__run", json!({})).await.result();
    let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&without_half_pairs(&expected)).unwrap();
    let got = &ran["structuredContent"];
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&got[name], value, "{name}");
    }
    let ran = client.call("table__http", json!({"base": base})).await.result();
    let mut command = Program::command(&tools::node());
    command.arg(folder.join("expected-http.mjs")).arg(&base);
    let of_node = Program::run("node", command, real::CLIENT_LIMIT).await;
    let of_node: Value = of_node
        .text
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok())
        .unwrap_or_else(|| panic!("Node gave no answer: {}", of_node.text));
    let got = &ran["structuredContent"];
    for (name, value) in of_node.as_object().unwrap() {
        assert!(value["threw"].is_null(), "{name}: {value}");
        assert_eq!(&got[name], value, "{name}: {ran}");
    }
}

/// A server that says what it was sent, and answers in the ways that `fetch` has rules for.
async fn server() -> String {
    async fn echo(request: Request) -> Response {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let headers: Vec<_> = head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        let said = json!({
            "method": head.method.as_str(), "path": head.uri.to_string(),
            "body": String::from_utf8_lossy(&body), "headers": headers,
        });
        ([(CONTENT_TYPE, "application/json")], said.to_string()).into_response()
    }
    async fn headers(given: HeaderMap) -> Response {
        let all: Vec<_> = given
            .get_all("x-one")
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect();
        let accept = given.get("accept").unwrap().to_str().unwrap();
        let more = AppendHeaders([
            ("x-twice", "a"),
            ("x-twice", "b"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ]);
        (more, format!("{}|{accept}", all.join(", "))).into_response()
    }
    let location = |to: &'static str| [("location", to)];
    let app = Router::new()
        .route("/echo", any(echo))
        .route("/headers", any(headers))
        .route(
            "/status/{status}",
            any(|Path(status): Path<u16>| async move { StatusCode::from_u16(status).unwrap() }),
        )
        .route(
            "/redirect/{status}",
            any(move |Path(status): Path<u16>| async move {
                (StatusCode::from_u16(status).unwrap(), location("/echo?there"))
            }),
        )
        .route(
            "/loop",
            any(move || async move { (StatusCode::FOUND, location("/loop")) }),
        )
        .route("/large", any(|| async { "x".repeat(300_000) }))
        .route("/never", any(std::future::pending::<()>));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://127.0.0.1:{port}")
}

/// JSON in which each half of a surrogate pair is the replacement character: no Rust text can hold the half.
fn without_half_pairs(json: &str) -> String {
    let mut out = String::new();
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let code = escape.get(2..6).unwrap_or_default();
        let half = escape.starts_with("\\u")
            && u32::from_str_radix(code, 16).is_ok_and(|code| (0xd800..0xe000).contains(&code));
        let length = if half || escape.starts_with("\\u") { 6 } else { 2 };
        out.push_str(if half { "\\ufffd" } else { &escape[..length] });
        rest = &escape[length..];
    }
    out.push_str(rest);
    out
}
