use std::io;
use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::access::guard::GuardConfig;
use crate::access::key::{ApiKey, KeyEntry};
use crate::access::permission::PermissionSet;

fn guard(listen: &str, ip_allowlist: &[&str]) -> Guard {
    Guard::new(&GuardConfig {
        listen: listen.parse().unwrap(),
        public_url: None,
        allowed_hosts: vec![],
        allowed_origins: vec![],
        ip_allowlist: ip_allowlist.iter().map(ToString::to_string).collect(),
    })
    .unwrap()
}

fn ring(key: &ApiKey) -> KeyRing {
    KeyRing::new([KeyEntry {
        name: "me".into(),
        hash: key.hash(),
        permissions: PermissionSet::all(),
        compat: None,
    }])
    .unwrap()
}

fn router(state: &Arc<AccessState>) -> Router {
    let router = Router::new()
        .route(
            "/who",
            get(|Caller(who): Caller| async move { who.name.to_string() }),
        )
        .route(
            OPEN_PATH,
            get(|who: Option<Caller>| async move { who.map_or("nobody".into(), |c| c.0.name.to_string()) }),
        )
        .route("/mcp", post(|_: Caller, body: String| async move { body }))
        .route("/mcp/{name}", post(|_: Caller, body: String| async move { body }));
    protect(router, Arc::clone(state))
}

fn request(path: &str, pairs: &[(&str, &str)]) -> Request {
    let mut request = Request::builder().uri(path).header("host", "localhost:8787");
    for (name, value) in pairs {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

async fn send(state: &Arc<AccessState>, request: Request) -> (StatusCode, HeaderMap, String) {
    let (parts, body) = router(state).oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        parts.status,
        parts.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

#[tokio::test]
async fn a_key_opens_and_a_swapped_ring_closes() {
    let key = ApiKey::generate().unwrap();
    let state = AccessState::new(ring(&key), guard("127.0.0.1:1", &[]), false, None).unwrap();
    let sent = || request("/who", &[("authorization", &format!("Bearer {}", key.expose()))]);
    let (status, _, body) = send(&state, sent()).await;
    assert_eq!((status, &*body), (StatusCode::OK, "me"));
    state.authority.replace(ring(&ApiKey::generate().unwrap()));
    assert_eq!(send(&state, sent()).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn refusals_are_problem_documents_with_a_challenge() {
    let key = ApiKey::generate().unwrap();
    let state = AccessState::new(ring(&key), guard("127.0.0.1:1", &[]), false, None).unwrap();
    type Case<'a> = (&'a [(&'a str, &'a str)], u16, Option<&'a str>);
    let cases: [Case<'_>; 5] = [
        (&[], 401, Some(r#"Bearer realm="aih""#)),
        (
            &[("x-api-key", "aih_wrong")],
            401,
            Some(r#"Bearer realm="aih", error="invalid_token""#),
        ),
        (
            &[("x-api-key", "a"), ("authorization", "Bearer b")],
            400,
            Some(r#"Bearer realm="aih", error="invalid_request""#),
        ),
        (
            &[("origin", "https://evil.example"), ("x-api-key", key.expose())],
            403,
            None,
        ),
        (
            &[("host", "evil.example"), ("x-api-key", key.expose())],
            403,
            None,
        ),
    ];
    for (pairs, status, challenge) in cases {
        let (got, headers, body) = send(&state, request("/who", pairs)).await;
        assert_eq!(got, status, "{pairs:?}");
        assert_eq!(
            headers.get("www-authenticate").map(|v| v.to_str().unwrap()),
            challenge
        );
        assert_eq!(headers["content-type"], "application/problem+json");
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["title"], got.canonical_reason().unwrap());
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
        assert!(!body.contains("aih_wrong"));
    }
    assert_eq!(
        send(&state, request(&format!("/who?api_key={}", key.expose()), &[]))
            .await
            .0,
        StatusCode::UNAUTHORIZED
    );
}

/// A POST of this body.
fn message(path: &str, body: impl Into<Body>, pairs: &[(&str, &str)]) -> Request {
    let mut request = request(path, pairs);
    *request.method_mut() = Method::POST;
    *request.body_mut() = body.into();
    if let Some(length) = request.body().size_hint().exact() {
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    request
}

#[tokio::test]
async fn a_refusal_at_an_mcp_endpoint_is_an_error_of_json_rpc_with_the_id_of_the_message() {
    let key = ApiKey::generate().unwrap();
    let state = AccessState::new(ring(&key), guard("127.0.0.1:1", &[]), false, None).unwrap();
    let hello = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"initialize","params":{{}}}}"#);
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"x":"{}"}}}}"#,
        "x".repeat(9_000)
    );
    let bodies = [
        (hello("7"), "7"),
        (hello("\"a-1\""), "\"a-1\""),
        (
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned(),
            "null",
        ),
        ("[]".to_owned(), "null"),
        ("no JSON".to_owned(), "null"),
        (String::new(), "null"),
        (long, "null"),
    ];
    let both = [("x-api-key", "a"), ("authorization", "Bearer b")];
    type Reason<'a> = (&'a [(&'a str, &'a str)], u16, bool);
    let reasons: [Reason<'_>; 5] = [
        (&[], 401, true),
        (&[("authorization", "Bearer wrong-key")], 401, true),
        (&both, 400, true),
        (&[("origin", "https://evil.example")], 403, false),
        (
            &[("host", "evil.example"), ("x-api-key", key.expose())],
            403,
            false,
        ),
    ];
    for (body, id) in &bodies {
        for (pairs, status, challenged) in &reasons {
            for path in ["/mcp", "/mcp/one"] {
                let (got, headers, text) = send(&state, message(path, body.clone(), pairs)).await;
                assert_eq!(got, *status, "{body}");
                assert_eq!(headers["content-type"], "application/json");
                assert_eq!(headers.contains_key("www-authenticate"), *challenged);
                let start = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32600,"message":""#);
                assert!(text.starts_with(&start) && !text.contains("wrong-key"), "{text}");
            }
        }
    }
    // A body that does not come is not waited for.
    let never = Body::from_stream(futures::stream::pending::<Result<Bytes, io::Error>>());
    let mut silent = message("/mcp", never, &[]);
    silent.headers_mut().insert(CONTENT_LENGTH, 100.into());
    let (status, _, text) = send(&state, silent).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(text.contains(r#""id":null"#), "{text}");
}

#[tokio::test]
async fn a_path_that_no_route_serves_needs_no_key_and_is_not_a_failed_sign_in() {
    let key = ApiKey::generate().unwrap();
    let refused = Arc::new(Mutex::new(0));
    let count = Arc::clone(&refused);
    let listener: Listener = Box::new(move |_, _, _| *count.lock().unwrap() += 1);
    let state = AccessState::new(ring(&key), guard("127.0.0.1:1", &[]), false, Some(listener)).unwrap();
    for path in [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/openid-configuration",
        "/register",
        "/authorize?client_id=1",
        "/favicon.ico",
        "/",
        "/mcpx",
        "/mcp/one/.well-known/oauth-protected-resource",
    ] {
        let right = format!("Bearer {}", key.expose());
        for pairs in [
            &[][..],
            &[("authorization", "Bearer wrong")],
            &[("authorization", right.as_str())],
        ] {
            for method in [Method::GET, Method::POST, Method::OPTIONS] {
                let mut request = request(path, pairs);
                *request.method_mut() = method;
                assert_eq!(send(&state, request).await.0, StatusCode::NOT_FOUND, "{path}");
            }
        }
        let foreign = request(path, &[("origin", "https://evil.example")]);
        assert_eq!(send(&state, foreign).await.0, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(*refused.lock().unwrap(), 8, "only those of another origin");
    // Without a key, the name of a server that is there is like any other.
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let one = send(&state, message("/mcp/one", hello, &[])).await;
    let other = send(&state, message("/mcp/.well-known", hello, &[])).await;
    assert_eq!((one.0, one.2), (other.0, other.2));
}

#[tokio::test]
async fn pages_of_allowed_origins_get_the_headers_of_cors_and_others_get_none() {
    let key = ApiKey::generate().unwrap();
    let with = |allowed: &[&str]| {
        let guard = Guard::new(&GuardConfig {
            listen: "127.0.0.1:1".parse().unwrap(),
            public_url: Some("https://hub.example.com/path".to_owned()),
            allowed_hosts: vec![],
            allowed_origins: allowed.iter().map(ToString::to_string).collect(),
            ip_allowlist: vec![],
        });
        AccessState::new(ring(&key), guard.unwrap(), false, None).unwrap()
    };
    let state = with(&["https://app.example.com", "http://tools.example.com:*"]);
    let preflight = |origin: &str| {
        let mut request = request(
            "/mcp",
            &[
                ("origin", origin),
                ("access-control-request-method", "POST"),
                (
                    "access-control-request-headers",
                    "authorization,mcp-session-id,mcp-param-x",
                ),
            ],
        );
        *request.method_mut() = Method::OPTIONS;
        request
    };
    let cors = |headers: &HeaderMap| {
        let names = headers.keys().map(HeaderName::as_str);
        names.filter(|name| name.starts_with("access-control-")).count()
    };
    for origin in ["https://app.example.com", "http://tools.example.com:8080"] {
        let (status, headers, _) = send(&state, preflight(origin)).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["access-control-allow-origin"], origin);
        let allowed = headers["access-control-allow-headers"].to_str().unwrap();
        assert!(
            allowed.contains("authorization") && allowed.contains("mcp-param-x"),
            "{allowed}"
        );
        assert!(
            headers["access-control-allow-methods"]
                .to_str()
                .unwrap()
                .contains("DELETE")
        );
        assert!(!headers.contains_key("access-control-allow-credentials"));
        // The answer itself, also one that refuses.
        for pairs in [
            &[("origin", origin)][..],
            &[("origin", origin), ("x-api-key", key.expose())],
        ] {
            for path in ["/mcp", "/who", "/nothing"] {
                let (_, headers, _) = send(&state, message(path, "{}", pairs)).await;
                assert_eq!(headers["access-control-allow-origin"], origin, "{path}");
                let exposed = headers["access-control-expose-headers"].to_str().unwrap();
                for name in ["mcp-session-id", "mcp-protocol-version", "www-authenticate"] {
                    assert!(exposed.contains(name), "{exposed}");
                }
            }
        }
    }
    // Pages of the hub itself need nothing; those of this machine and of elsewhere get nothing.
    for (origin, status) in [
        ("https://hub.example.com", StatusCode::OK),
        ("http://localhost:6274", StatusCode::OK),
        ("https://evil.example", StatusCode::FORBIDDEN),
        ("null", StatusCode::FORBIDDEN),
    ] {
        for state in [&state, &with(&[])] {
            let right = [("origin", origin), ("x-api-key", key.expose())];
            let (got, headers, _) = send(state, request("/who", &right)).await;
            assert_eq!(got, status, "{origin}");
            assert!(!headers.contains_key("access-control-allow-origin"), "{origin}");
            let (got, headers, _) = send(state, preflight(origin)).await;
            assert!(
                !headers.contains_key("access-control-allow-origin"),
                "{got} {headers:?}"
            );
        }
    }
    let (status, headers, _) = send(&with(&[]), preflight("http://localhost:6274")).await;
    assert_eq!((status, cors(&headers)), (StatusCode::UNAUTHORIZED, 0));
}

#[tokio::test]
async fn health_needs_no_key_but_a_right_one_if_any() {
    let key = ApiKey::generate().unwrap();
    let state = AccessState::new(ring(&key), guard("127.0.0.1:1", &[]), false, None).unwrap();
    let (status, _, body) = send(&state, request(OPEN_PATH, &[])).await;
    assert_eq!((status, &*body), (StatusCode::OK, "nobody"));
    assert_eq!(
        send(&state, request(OPEN_PATH, &[("x-api-key", key.expose())]))
            .await
            .2,
        "me"
    );
    assert_eq!(
        send(&state, request(OPEN_PATH, &[("x-api-key", "wrong")]))
            .await
            .0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        send(&state, request(OPEN_PATH, &[("origin", "null")])).await.0,
        StatusCode::FORBIDDEN
    );
    let mut post = request(OPEN_PATH, &[]);
    *post.method_mut() = Method::POST;
    assert_eq!(send(&state, post).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn without_keys_everyone_on_this_machine_is_admin() {
    let state = AccessState::new(KeyRing::default(), guard("127.0.0.1:1", &[]), true, None).unwrap();
    assert!(state.no_auth());
    assert_eq!(send(&state, request("/who", &[])).await.2, "anonymous");
    assert_eq!(
        send(&state, request("/who", &[("x-api-key", "any")])).await.2,
        "anonymous"
    );
    assert_eq!(
        send(&state, request("/who", &[("origin", "https://evil.example")]))
            .await
            .0,
        StatusCode::FORBIDDEN
    );
    for listen in ["0.0.0.0:1", "192.0.2.1:1", "[::]:1"] {
        assert_eq!(
            AccessState::new(KeyRing::default(), guard(listen, &[]), true, None).unwrap_err(),
            NoAuthError
        );
    }
    let closed = AccessState::new(KeyRing::default(), guard("0.0.0.0:1", &[]), false, None).unwrap();
    assert_eq!(
        send(&closed, request("/who", &[])).await.0,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn the_address_is_that_of_the_connection() {
    let state = AccessState::new(
        KeyRing::default(),
        guard("127.0.0.1:1", &["192.0.2.0/24"]),
        true,
        None,
    )
    .unwrap();
    let from = |peer: &str| {
        let mut request = request("/who", &[("x-forwarded-for", "192.0.2.1")]);
        request
            .extensions_mut()
            .insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
        request
    };
    assert_eq!(send(&state, from("192.0.2.9:5")).await.0, StatusCode::OK);
    assert_eq!(send(&state, from("[::ffff:192.0.2.9]:5")).await.0, StatusCode::OK);
    assert_eq!(send(&state, from("127.0.0.1:5")).await.0, StatusCode::FORBIDDEN);
    assert_eq!(send(&state, request("/who", &[])).await.0, StatusCode::FORBIDDEN);
}

#[derive(Clone, Default)]
struct Rows(Arc<Mutex<Vec<u8>>>);

impl io::Write for Rows {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_refusal_is_one_row_without_key_or_query() {
    let rows = Rows::default();
    let writer = rows.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let state = AccessState::new(KeyRing::default(), guard("127.0.0.1:1", &[]), false, None).unwrap();
    let path = format!("/mcp/{}?key=SECRET", "x".repeat(300));
    send(
        &state,
        request(
            &path,
            &[("authorization", "Bearer SECRET"), ("x-api-key", "SECRET")],
        ),
    )
    .await;
    let rows = String::from_utf8(rows.0.lock().unwrap().clone()).unwrap();
    assert_eq!(rows.lines().count(), 1, "{rows}");
    assert!(
        rows.contains("WARN aih::access: refused: the API key is not known"),
        "{rows}"
    );
    assert!(
        rows.contains("localhost:8787") && !rows.contains("SECRET") && rows.len() < 600,
        "{rows}"
    );
}

/// A key of `name` with these permissions.
fn entry(name: &str, key: &ApiKey, permissions: &[&str]) -> KeyEntry {
    KeyEntry {
        name: name.into(),
        hash: key.hash(),
        permissions: PermissionSet::parse(permissions).unwrap(),
        compat: None,
    }
}

/// What becomes of a key, and the status that a request of it gets which is under way.
fn changes(key: &ApiKey) -> Vec<(&'static str, KeyRing, u16)> {
    let other = ApiKey::generate().unwrap();
    let ring = |entries: Vec<KeyEntry>| KeyRing::new(entries).unwrap();
    vec![
        ("removed", KeyRing::default(), 401),
        ("replaced", ring(vec![entry("me", &other, &["mcps/*"])]), 401),
        ("narrowed", ring(vec![entry("me", key, &["mcps/a"])]), 503),
        ("renamed", ring(vec![entry("you", key, &["mcps/*"])]), 503),
    ]
}

/// Reports that a handler was dropped.
struct DropNotice(tokio::sync::mpsc::UnboundedSender<()>);

impl Drop for DropNotice {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn what_is_under_way_ends_with_its_principal() {
    let key = ApiKey::generate().unwrap();
    for (what, after, expected) in changes(&key) {
        let before = KeyRing::new([entry("me", &key, &["mcps/*"])]).unwrap();
        let state = AccessState::new(before, guard("127.0.0.1:1", &[]), false, None).unwrap();
        let (dropped, mut dropped_notice) = tokio::sync::mpsc::unbounded_channel();
        let waiting = dropped.clone();
        let router = Router::new()
            .route("/body", post(async |_: Caller, _: Bytes| "read"))
            .route(
                "/wait",
                get(move || {
                    let dropped_notice = DropNotice(waiting.clone());
                    async move {
                        std::future::pending::<()>().await;
                        drop(dropped_notice);
                    }
                }),
            )
            .route(
                "/stream",
                get(move || {
                    let dropped_notice = DropNotice(dropped.clone());
                    let first = futures::stream::iter([Ok::<_, io::Error>("first")]);
                    let rest = futures::stream::pending();
                    async move {
                        Body::from_stream(futures::StreamExt::map(
                            futures::StreamExt::chain(first, rest),
                            move |item| (&dropped_notice, item).1,
                        ))
                    }
                }),
            );
        let router = protect(router, Arc::clone(&state));
        let sent = |method: &str, path: &str, body: Body| {
            let mut request = request(path, &[("x-api-key", key.expose())]);
            *request.method_mut() = method.parse().unwrap();
            *request.body_mut() = body;
            tokio::spawn(router.clone().oneshot(request))
        };
        let never = Body::from_stream(futures::stream::pending::<Result<Bytes, io::Error>>());
        let slow = sent("POST", "/body", never);
        let waits = sent("GET", "/wait", Body::empty());
        let stream = sent("GET", "/stream", Body::empty()).await.unwrap().unwrap();
        let mut stream = stream.into_body().into_data_stream();
        let first = futures::StreamExt::next(&mut stream).await;
        assert_eq!(first.unwrap().unwrap(), "first", "{what}");
        tokio::task::yield_now().await;
        assert!(!slow.is_finished() && !waits.is_finished(), "{what}");

        assert_eq!(state.authority.replace(after), 1, "{what}");
        for ended in [slow, waits] {
            let response = ended.await.unwrap().unwrap();
            assert_eq!(response.status(), expected, "{what}");
            assert_eq!(
                response.headers().contains_key("retry-after"),
                expected == 503,
                "{what}"
            );
            assert_eq!(response.headers()["content-type"], "application/problem+json");
        }
        assert!(futures::StreamExt::next(&mut stream).await.is_none(), "{what}");
        for _ in 0..2 {
            dropped_notice.recv().await.expect("both were dropped");
        }
    }
}

#[tokio::test]
async fn a_request_that_ends_its_own_principal_gets_its_answer() {
    let key = ApiKey::generate().unwrap();
    let before = KeyRing::new([entry("me", &key, &["*"])]).unwrap();
    let state = AccessState::new(before, guard("127.0.0.1:1", &[]), false, None).unwrap();
    let access = Arc::clone(&state);
    let router = Router::new().route(
        "/end",
        get(move || async move { access.authority.replace(KeyRing::default()).to_string() }),
    );
    let router = protect(router, Arc::clone(&state));
    let sent = || {
        router
            .clone()
            .oneshot(request("/end", &[("x-api-key", key.expose())]))
    };
    let response = sent().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "1");
    assert_eq!(sent().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}
