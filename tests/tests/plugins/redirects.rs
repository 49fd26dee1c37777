//! Redirects of the requests that plugins send, in each language.

use aih_tests::{Hub, Start};
use axum::{
    Router,
    extract::{Path, RawQuery, Request},
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse as _, Response},
    routing::any,
};
use serde_json::{Value, json};

use crate::{guest, until_state};

const JAVASCRIPT: &str = r#"
import { defineTool } from "aih-plugin";
defineTool({
  name: "fetch",
  description: "Sends a request",
  input: { type: "object" },
  handler: async ({ url, method, headers, body }) => (await fetch(url, { method, headers, body })).text(),
});
"#;

const PYTHON: &str = r#"
from aih_plugin import http, tool


@tool
def fetch(url: str, method: str, headers: list[list[str]], body: str | None = None) -> str:
    """Sends a request"""
    return http.request(method, url, headers=dict(headers), data=body).text
"#;

/// A server that says what it was sent, and redirects from `/to/STATUS?TARGET`.
async fn server() -> String {
    async fn said(request: Request) -> Response {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let headers: serde_json::Map<String, Value> = head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().into()))
            .collect();
        json!({
            "method": head.method.as_str(), "body": String::from_utf8_lossy(&body), "headers": headers,
        })
        .to_string()
        .into_response()
    }
    async fn to(Path(status): Path<u16>, RawQuery(target): RawQuery) -> Response {
        let status = StatusCode::from_u16(status).unwrap();
        (status, [(LOCATION, target.unwrap_or_default())]).into_response()
    }
    let app = Router::new()
        .route("/said", any(said))
        .route("/to/{status}", any(to));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://127.0.0.1:{port}")
}

/// Headers that a plugin sets, each with a value that is a secret.
const SECRETS: [&str; 5] = [
    "authorization",
    "cookie",
    "x-api-key",
    "private-token",
    "x-custom",
];

/// A hub with a plugin in each language, and two servers that they may reach by two names each.
async fn start() -> (Hub, String, String) {
    let (one, two) = (server().await, server().await);
    let named = |base: &str| base.replace("127.0.0.1", "localhost");
    let grants = format!(
        "grants: {{ http: [\"{one}\", \"{two}\", \"{}\", \"{}\"] }}",
        named(&one),
        named(&two)
    );
    let config = format!(
        "plugins:\n{}  - {{ name: js, file: ./js.js, {grants} }}\n  - {{ name: py, file: ./py.py, {grants} }}\n",
        guest("hostile", &grants),
    );
    let start = Start {
        config: &config,
        files: &[("js.js", JAVASCRIPT), ("py.py", PYTHON)],
        ..Start::default()
    };
    let hub = start.run().await;
    for name in ["hostile", "js", "py"] {
        until_state(&hub, name, "up").await;
    }
    (hub, one, two)
}

/// What the last server of the redirects was sent.
async fn sent(hub: &Hub, tool: &str, method: &str, url: &str) -> Value {
    let mut headers: Vec<[String; 2]> = SECRETS
        .iter()
        .map(|name| [(*name).to_owned(), format!("secret of {name}")])
        .collect();
    headers.push(["accept".to_owned(), "application/json".to_owned()]);
    headers.push(["content-type".to_owned(), "text/x-note".to_owned()]);
    let mut arguments = json!({ "url": url, "method": method, "headers": headers });
    if !matches!(method, "GET" | "HEAD") {
        arguments["body"] = "a note".into();
    }
    let answer = hub.legacy().await.call(tool, arguments).await;
    let result = answer.result();
    // The Rust guest answers with the response in a structure.
    let text = match result["structuredContent"]["body"].as_str() {
        Some(text) => text.to_owned(),
        None => answer.text(),
    };
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{tool} {method} {url}: {error}: {result}"))
}

const TOOLS: [&str; 3] = ["hostile__fetch", "js__fetch", "py__fetch"];

#[tokio::test]
async fn headers_of_a_plugin_do_not_follow_a_redirect_to_another_origin() {
    let (hub, one, two) = start().await;
    let named = one.replace("127.0.0.1", "localhost");
    for tool in TOOLS {
        let stays = sent(&hub, tool, "GET", &format!("{one}/to/302?{one}/said")).await;
        for name in SECRETS {
            assert_eq!(
                stays["headers"][name],
                format!("secret of {name}"),
                "{tool}: {stays}"
            );
        }
        let ways = [
            // To another port, to another name of the same server, by way of the same origin, there and back.
            format!("{one}/to/302?{two}/said"),
            format!("{one}/to/307?{named}/said"),
            format!("{one}/to/301?{one}/to/308?{two}/said"),
            format!("{one}/to/302?{two}/to/302?{one}/said"),
        ];
        for url in ways {
            let left = sent(&hub, tool, "PUT", &url).await;
            for name in SECRETS {
                assert!(left["headers"].get(name).is_none(), "{tool}: {url}: {left}");
            }
            assert_eq!(left["headers"]["accept"], "application/json", "{tool}: {url}");
        }
    }
}

#[tokio::test]
async fn a_redirect_changes_method_and_body_as_fetch_says() {
    let (hub, one, two) = start().await;
    for tool in TOOLS {
        for target in [&one, &two] {
            for (status, method, then) in [
                (301, "POST", "GET"),
                (302, "POST", "GET"),
                (303, "POST", "GET"),
                (303, "PUT", "GET"),
                (303, "DELETE", "GET"),
                (301, "PUT", "PUT"),
                (302, "DELETE", "DELETE"),
                (307, "POST", "POST"),
                (308, "POST", "POST"),
                (307, "PUT", "PUT"),
                (308, "GET", "GET"),
            ] {
                let got = sent(&hub, tool, method, &format!("{one}/to/{status}?{target}/said")).await;
                let case = format!("{tool}: {status} {method} to {target}: {got}");
                assert_eq!(got["method"], then, "{case}");
                let kept = then == method && method != "GET";
                assert_eq!(got["body"], if kept { "a note" } else { "" }, "{case}");
                let typed = kept || method == "GET";
                assert_eq!(got["headers"].get("content-type").is_some(), typed, "{case}");
            }
        }
    }
}
