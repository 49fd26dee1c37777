use std::sync::{Mutex, atomic::AtomicUsize};

use aih_mcp::ErrorCode;
use axum::{body::Body, response::Response as Answer};
use futures::StreamExt as _;
use serde_json::json;
use tokio::sync::{Notify, mpsc::UnboundedReceiver};

use super::super::http_client::{
    fixture::{
        InboxEvent, RecordingInbox, Seen, Server, answer, event, events, json_answer, notification,
        open_stream, soon, stream,
    },
    http_client,
};
use super::*;

const SECRET: &str = "tok-5ecret";

fn to(server: &Server) -> (Arc<HttpTransport>, UnboundedReceiver<InboxEvent>) {
    let (inbox, events) = RecordingInbox::new();
    let mut headers = HeaderMap::new();
    let mut secret = HeaderValue::from_str(&format!("Bearer {SECRET}")).unwrap();
    secret.set_sensitive(true);
    headers.insert(h::AUTHORIZATION, secret);
    let transport = HttpTransport::new(&http_client().unwrap(), server.url("/mcp"), headers, inbox).unwrap();
    (transport, events)
}

async fn call(transport: &HttpTransport, id: u64, method: &str) -> Result<Outcome, TransportError> {
    soon(transport.request(id, method, None, &[])).await
}

/// Greets a server whose script answers `initialize` with a session.
async fn greeted(server: &Server) -> (Arc<HttpTransport>, UnboundedReceiver<InboxEvent>) {
    let (transport, events) = to(server);
    call(&transport, 1, method::INITIALIZE).await.unwrap().unwrap();
    transport.negotiated(ProtocolVersion::V2025_11_25);
    (transport, events)
}

fn session(seen: &Seen) -> Answer {
    let mut response = json_answer(seen.result(&json!({})));
    (response.headers_mut()).insert(header::SESSION_ID, HeaderValue::from_static("s-1"));
    response
}

fn no_stream() -> Answer {
    answer(405, "", "")
}

#[tokio::test]
async fn a_legacy_connection_carries_its_session_and_revision() {
    let server = Server::start(|seen| async move {
        match (seen.method.as_str(), seen.rpc().as_str()) {
            ("POST", method::INITIALIZE) => session(&seen),
            ("POST", method::INITIALIZED) => answer(202, "", ""),
            ("POST", _) => json_answer(seen.result(&json!({"n": 1.50}))),
            ("DELETE", _) => answer(200, "", ""),
            _ => no_stream(),
        }
    })
    .await;
    let (transport, _) = to(&server);
    assert!(!transport.stateful());
    call(&transport, 1, method::INITIALIZE).await.unwrap().unwrap();
    assert!(transport.stateful());
    transport.negotiated(ProtocolVersion::V2025_06_18);
    (transport
        .send(Message::notification(method::INITIALIZED, None))
        .await)
        .unwrap();
    let result = call(&transport, 2, method::TOOLS_LIST).await.unwrap().unwrap();
    assert_eq!(result.text(), r#"{"n":1.5}"#);
    soon(transport.close()).await;
    soon(transport.close()).await;

    let first = server.request(0, |s| s.rpc() == method::INITIALIZE).await;
    assert_eq!(first.header(header::PROTOCOL_VERSION), None);
    assert_eq!(first.header(header::SESSION_ID), None);
    assert_eq!(
        first.header("accept"),
        Some("application/json, text/event-stream")
    );
    assert_eq!(first.header("content-type"), Some("application/json"));
    let later = server.request(0, |s| s.rpc() == method::TOOLS_LIST).await;
    let goodbye = server.request(0, |s| s.method == "DELETE").await;
    let standing = server.request(0, |s| s.method == "GET").await;
    for seen in [later, goodbye, standing] {
        assert_eq!(seen.header(header::PROTOCOL_VERSION), Some("2025-06-18"));
        assert_eq!(seen.header(header::SESSION_ID), Some("s-1"));
        assert_eq!(seen.header("authorization"), Some("Bearer tok-5ecret"));
        assert_eq!(seen.header(header::METHOD), None);
    }
    assert_eq!(server.count(|s| s.method == "DELETE"), 1);
    assert_eq!(server.count(|s| s.method == "GET"), 1, "405 is final");
}

#[tokio::test]
async fn a_modern_request_repeats_its_body_in_headers() {
    let server = Server::start(|seen| async move { json_answer(seen.result(&json!({}))) }).await;
    let (transport, _) = to(&server);
    call(&transport, 1, method::DISCOVER).await.unwrap().unwrap();
    transport.negotiated(ProtocolVersion::LATEST);
    let bindings = [ParamHeader {
        header: "Region".to_owned(),
        path: vec!["region".to_owned()],
    }];
    let params = RawJson::of(&json!({"name": "t", "arguments": {"region": "eu"}}));
    let call = transport.request(2, method::TOOLS_CALL, Some(params), &bindings);
    soon(call).await.unwrap().unwrap();
    soon(transport.close()).await;

    let discover = server.request(0, |s| s.rpc() == method::DISCOVER).await;
    assert_eq!(discover.header(header::PROTOCOL_VERSION), Some("2026-07-28"));
    assert_eq!(discover.header(header::METHOD), Some("server/discover"));
    let called = server.request(0, |s| s.rpc() == method::TOOLS_CALL).await;
    assert_eq!(called.header(header::PROTOCOL_VERSION), Some("2026-07-28"));
    assert_eq!(called.header(header::METHOD), Some("tools/call"));
    assert_eq!(called.header(header::NAME), Some("t"));
    assert_eq!(called.header("mcp-param-region"), Some("eu"));
    assert_eq!(server.count(|s| s.method != "POST"), 0);
}

#[tokio::test]
async fn what_comes_before_the_answer_goes_to_the_inbox_and_connections_are_reused() {
    let answered = Arc::new(Notify::new());
    let bell = answered.clone();
    let server = Server::start(move |seen| {
        let bell = bell.clone();
        async move {
            let pieces = [
                event(notification(method::PROGRESS)),
                event(seen.result(&json!({}))),
            ];
            // The end comes when the client has its answer, as it does with most servers.
            let end = futures::stream::once(async move {
                bell.notified().await;
                ": bye\n\n".to_owned()
            });
            stream(futures::stream::iter(pieces).chain(end))
        }
    })
    .await;
    let (transport, mut events) = to(&server);
    for id in 1..=60 {
        call(&transport, id, method::TOOLS_CALL).await.unwrap().unwrap();
        answered.notify_one();
        let Some(InboxEvent::Message(during, method)) = soon(events.recv()).await else {
            panic!("a notification");
        };
        assert_eq!((during, method.as_str()), (Some(id), method::PROGRESS));
    }
    // The end of one may overlap with the next call, which then opens another connection.
    let connections = server.connections();
    assert!(connections <= 20, "{connections} connections for 60 calls");
}

#[tokio::test]
async fn statuses_and_bodies_become_the_right_errors() {
    let server = Server::start(|seen| async move {
        let null = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32022, "message": "m"}});
        match seen.rpc().as_str() {
            "401" => answer(401, "text/plain", format!("{SECRET} is bad")),
            "403" => answer(
                403,
                "text/plain",
                format!("only from localhost:8931, not {SECRET}"),
            ),
            "404" => answer(404, "text/plain", "no\nsuch page"),
            "500" => answer(500, "text/plain", format!("cannot use {SECRET}")),
            "null" => answer(400, "application/json", null.to_string()),
            "null-200" => json_answer(null.to_string()),
            "html" => answer(200, "text/html", "<p>"),
            "other-id" => json_answer(json!({"jsonrpc": "2.0", "id": 99, "result": {}}).to_string()),
            "garbage" => json_answer("{\"jsonrpc\":".to_owned()),
            "empty" => answer(202, "", ""),
            "short" => events(vec![event(notification("notifications/x"))]),
            "garbage-event" => events(vec![event("nonsense")]),
            _ => answer(204, "", ""),
        }
    })
    .await;
    let (transport, _heard) = to(&server);
    let error = async |method: &str| call(&transport, 1, method).await.unwrap_err();
    for status in ["401", "403"] {
        let error = error(status).await;
        assert!(matches!(error, TransportError::Unauthorized { .. }), "{error}");
        assert!(!error.to_string().contains(SECRET));
    }
    assert_eq!(
        error("401").await.to_string(),
        "HTTP 401: the server refuses the credentials: *** is bad; check `auth` and `headers`"
    );
    assert_eq!(
        error("403").await.to_string(),
        "HTTP 403: the server refuses access: only from localhost:8931, not ***; check `auth` and `headers`"
    );
    assert_eq!(error("404").await.to_string(), "HTTP 404: no such page");
    assert_eq!(error("500").await.to_string(), "HTTP 500: cannot use ***");
    for method in ["null", "null-200"] {
        let refused = call(&transport, 1, method).await.unwrap().unwrap_err();
        assert_eq!(refused.code, ErrorCode::UNSUPPORTED_VERSION);
    }
    for method in ["html", "other-id", "garbage", "empty", "garbage-event"] {
        let error = error(method).await;
        assert!(matches!(error, TransportError::Protocol(_)), "{method}: {error}");
    }
    assert!(matches!(error("short").await, TransportError::Closed(_)));
    let nobody = HttpTransport::new(
        &http_client().unwrap(),
        Url::parse("http://127.0.0.1:1/mcp").unwrap(),
        HeaderMap::new(),
        RecordingInbox::new().0,
    )
    .unwrap();
    let error = call(&nobody, 1, "m").await.unwrap_err();
    assert!(matches!(error, TransportError::Connect(_)), "{error}");
}

#[tokio::test]
async fn answers_that_an_official_sdk_takes_are_taken() {
    let server = Server::start(|seen| async move {
        let id = seen.json()["id"].clone();
        let plain = json!({"jsonrpc": "2.0", "id": id, "result": {"x": 1}}).to_string();
        let note = notification("notifications/x");
        let body = match seen.rpc().as_str() {
            "text" => plain.replace(&format!("\"id\":{id}"), &format!("\"id\":\"{id}\"")),
            "float" => plain.replace(&format!("\"id\":{id}"), &format!("\"id\":{id}.0")),
            "error-null" => plain.replace("\"result\"", "\"error\":null,\"result\""),
            "mark" => format!("\u{feff}{plain}"),
            "array" => format!("[{note},{plain}]"),
            "kind" => return answer(200, "application/json-rpc; charset=utf-8", plain),
            "names" => {
                return events(vec![
                    format!("event: ping\n{}", event("{}")),
                    format!("event: result\n{}", event(plain.replace("\"x\":1", "\"x\":2"))),
                    format!("event: message\n{}", event(&note)),
                    event(plain),
                ]);
            }
            "beside" => {
                return events(vec![
                    event("nonsense"),
                    event(json!({"jsonrpc": "2.0", "id": 999, "result": {}})),
                    event(json!({"id": 998, "result": "x"})),
                    event(format!("[{note}]")),
                    event(plain),
                ]);
            }
            _ => plain,
        };
        json_answer(body)
    })
    .await;
    let (transport, _heard) = to(&server);
    let methods = [
        "text",
        "float",
        "error-null",
        "mark",
        "array",
        "kind",
        "names",
        "beside",
    ];
    for (id, method) in (1..).zip(methods) {
        let result = call(&transport, id, method).await;
        let result = result.unwrap_or_else(|error| panic!("{method}: {error}"));
        assert_eq!(result.unwrap().text(), r#"{"x":1}"#, "{method}");
    }
    let server = Server::start(|_| async move {
        let body = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"x\":\"caf\xe9\"}}".to_vec();
        answer(200, "application/json", body)
    })
    .await;
    let result = call(&to(&server).0, 1, "m").await.unwrap().unwrap();
    assert_eq!(result.text(), "{\"x\":\"caf\u{fffd}\"}");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_fails_its_call_at_once() {
    let dropped = Arc::new(Notify::new());
    let ring = dropped.clone();
    let server = Server::start(move |seen| {
        let ring = ring.clone();
        async move {
            let text = format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{{"x":NaN}}}}"#,
                seen.json()["id"]
            );
            open_stream(vec![event(text)], &ring)
        }
    })
    .await;
    let error = call(&to(&server).0, 7, "m").await.unwrap_err();
    assert!(matches!(error, TransportError::Protocol(_)), "{error}");
    assert!(error.to_string().contains("NaN"), "{error}");
    soon(dropped.notified()).await;
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let server = Server::start(|seen| async move {
        let piece = "x".repeat(1024 * 1024);
        let endless = futures::stream::repeat(piece).map(Ok::<_, std::convert::Infallible>);
        match seen.rpc().as_str() {
            "announced" => json_answer("x".repeat(MAX_MESSAGE + 1)),
            "json" => answer(200, "application/json", Body::from_stream(endless)),
            _ => answer(200, "text/event-stream", Body::from_stream(endless)),
        }
    })
    .await;
    let (transport, _heard) = to(&server);
    for method in ["announced", "json", "events"] {
        let error = call(&transport, 1, method).await.unwrap_err();
        assert!(
            matches!(error, TransportError::TooLarge { limit: MAX_MESSAGE }),
            "{method}: {error}"
        );
    }
}

#[tokio::test]
async fn the_rest_of_a_broken_answer_is_fetched() {
    let server = Server::start(|seen| async move {
        match (seen.method.as_str(), seen.rpc().as_str()) {
            ("POST", method::INITIALIZE) => session(&seen),
            ("POST", _) => events(vec!["id: e1\nretry: 10\ndata:\n\n".to_owned()]),
            _ => match seen.header(header::LAST_EVENT_ID) {
                Some("e1") => events(vec![format!(
                    "id: e2\n{}",
                    event(notification("notifications/x"))
                )]),
                Some("e2") => events(vec![event(
                    json!({"jsonrpc": "2.0", "id": 2, "result": {"a": 1}}),
                )]),
                _ => no_stream(),
            },
        }
    })
    .await;
    let (transport, mut events) = greeted(&server).await;
    let result = call(&transport, 2, method::TOOLS_CALL).await.unwrap().unwrap();
    assert_eq!(result.text(), r#"{"a":1}"#);
    assert!(matches!(
        soon(events.recv()).await,
        Some(InboxEvent::Message(Some(2), _))
    ));
}

#[tokio::test]
async fn a_call_whose_server_died_is_never_said_to_be_unsent() {
    let server = Server::start(|seen| async move {
        match (seen.method.as_str(), seen.rpc().as_str()) {
            ("POST", method::INITIALIZE) => session(&seen),
            ("POST", _) => events(vec!["id: e1\nretry: 10\ndata:\n\n".to_owned()]),
            _ if seen.header(header::LAST_EVENT_ID).is_some() => answer(404, "", ""),
            _ => no_stream(),
        }
    })
    .await;
    let (transport, _heard) = greeted(&server).await;
    let error = call(&transport, 2, method::TOOLS_CALL).await.unwrap_err();
    assert!(matches!(error, TransportError::Closed(_)), "{error}");
}

#[tokio::test]
async fn a_lost_session_is_reported_once() {
    let server = Server::start(|seen| async move {
        match (seen.method.as_str(), seen.rpc().as_str()) {
            ("POST", method::INITIALIZE) => session(&seen),
            ("POST", _) => answer(404, "", ""),
            _ => no_stream(),
        }
    })
    .await;
    let (transport, mut events) = greeted(&server).await;
    for id in 2..4 {
        let error = call(&transport, id, method::TOOLS_LIST).await.unwrap_err();
        assert!(matches!(error, TransportError::SessionLost), "{error}");
    }
    soon(transport.close()).await;
    drop(transport);
    assert!(matches!(
        soon(events.recv()).await,
        Some(InboxEvent::Closed(TransportError::SessionLost))
    ));
    assert!(soon(events.recv()).await.is_none());
    assert_eq!(
        server.count(|s| s.method == "DELETE"),
        0,
        "nothing is left to delete"
    );
}

#[tokio::test]
async fn an_error_with_the_id_of_the_request_is_its_answer_whatever_the_status() {
    let server = Server::start(|seen| async move {
        let id = seen.json()["id"].clone();
        let error =
            |id| json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "m"}}).to_string();
        match (seen.method.as_str(), seen.rpc().as_str()) {
            ("POST", method::INITIALIZE) => session(&seen),
            ("POST", "own") => answer(404, "application/json", error(id)),
            ("POST", "as-text") => answer(404, "application/json", error(json!(id.to_string()))),
            ("POST", "null") => answer(404, "application/json", error(json!(null))),
            ("POST", "other") => answer(404, "application/json", error(json!("server-error"))),
            ("POST", _) => json_answer(seen.result(&json!({}))),
            _ => no_stream(),
        }
    })
    .await;
    for method in ["own", "as-text"] {
        let (transport, mut events) = greeted(&server).await;
        let error = call(&transport, 2, method).await.unwrap().unwrap_err();
        assert_eq!(error.code, ErrorCode::METHOD_NOT_FOUND);
        call(&transport, 3, "m").await.unwrap().unwrap();
        drop(transport);
        assert!(soon(events.recv()).await.is_none(), "the session lives");
    }
    for method in ["null", "other"] {
        let (transport, _heard) = greeted(&server).await;
        let error = call(&transport, 2, method).await.unwrap_err();
        assert!(matches!(error, TransportError::SessionLost), "{method}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_answer_now_says_for_how_long() {
    let server = Server::start(|seen| async move {
        let status: u16 = seen.rpc().parse().unwrap();
        let mut response = answer(status, "application/json", r#"{"error":{"message":"busy"}}"#);
        response
            .headers_mut()
            .insert(h::RETRY_AFTER, HeaderValue::from_static("7"));
        response
    })
    .await;
    let (transport, _heard) = to(&server);
    for status in ["408", "425", "429", "502", "503", "504"] {
        let error = call(&transport, 1, status).await.unwrap_err();
        assert!(error.is_passing(), "{status}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)), "{status}");
        assert_eq!(error.to_string(), format!("HTTP {status}: busy"));
    }
    for status in ["400", "404", "405", "500"] {
        let error = call(&transport, 1, status).await.unwrap_err();
        assert!(!error.is_passing() && error.retry_after().is_none(), "{status}");
    }
}

#[tokio::test]
async fn whatever_is_dropped_is_closed() {
    let (call_ended, standing_ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let rings = (call_ended.clone(), standing_ended.clone());
    let server = Server::start(move |seen| {
        let (call_ended, standing_ended) = rings.clone();
        async move {
            match (seen.method.as_str(), seen.rpc().as_str()) {
                ("POST", method::INITIALIZE) => session(&seen),
                ("POST", _) => open_stream(vec![event(notification("notifications/x"))], &call_ended),
                _ => open_stream(vec![event(notification("notifications/y"))], &standing_ended),
            }
        }
    })
    .await;
    let (transport, mut events) = greeted(&server).await;
    assert!(matches!(
        soon(events.recv()).await,
        Some(InboxEvent::Message(None, _))
    ));
    {
        let call = transport.request(2, method::TOOLS_CALL, None, &[]);
        tokio::select! {
            _ = call => panic!("no answer comes"),
            event = soon(events.recv()) => assert!(matches!(event, Some(InboxEvent::Message(Some(2), _)))),
        }
    }
    soon(call_ended.notified()).await;
    drop(transport);
    soon(standing_ended.notified()).await;
    assert!(soon(events.recv()).await.is_none(), "and nothing was said of it");
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_origin() {
    let other = Server::start(|seen| async move { json_answer(seen.result(&json!({}))) }).await;
    let target = format!("{}?key={SECRET}", other.url("/mcp"));
    let target = HeaderValue::from_str(&target).unwrap();
    let server = Server::start(move |seen| {
        let target = target.clone();
        async move {
            let mut response = answer(307, "", "");
            match seen.path.as_str() {
                "/mcp" if seen.rpc() == "near" => {
                    (response.headers_mut()).insert(h::LOCATION, HeaderValue::from_static("/there"));
                    response
                }
                "/there" => json_answer(seen.result(&json!({}))),
                _ => {
                    response.headers_mut().insert(h::LOCATION, target);
                    response
                }
            }
        }
    })
    .await;
    let (transport, _heard) = to(&server);
    let error = call(&transport, 1, "far").await.unwrap_err();
    assert!(
        matches!(error, TransportError::Redirect { status: 307, .. }),
        "{error}"
    );
    let wanted = format!(
        "redirects to `{}`, and the hub does not follow: it is another origin",
        other.url("/mcp")
    );
    assert!(error.to_string().contains(&wanted), "{error}");
    assert_eq!(other.count(|_| true), 0);
    call(&transport, 2, "near").await.unwrap().unwrap();
}

#[path = "coded_tests.rs"]
mod coded;
#[path = "standing_tests.rs"]
mod standing_stream;
