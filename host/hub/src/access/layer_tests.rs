use std::io;
use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::StatusCode;
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
    Router::new()
        .route(
            "/who",
            get(|Caller(who): Caller| async move { who.name.to_string() }),
        )
        .route(
            OPEN_PATH,
            get(|who: Option<Caller>| async move { who.map_or("nobody".into(), |c| c.0.name.to_string()) }),
        )
        .layer(axum::middleware::from_fn_with_state(Arc::clone(state), layer))
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
    // Also what no route serves: an unknown caller learns nothing about the paths.
    assert_eq!(
        send(&state, request("/nothing", &[])).await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        send(&state, request(&format!("/who?api_key={}", key.expose()), &[]))
            .await
            .0,
        StatusCode::UNAUTHORIZED
    );
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
    let path = format!("/{}?key=SECRET", "x".repeat(300));
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
            .route("/body", axum::routing::post(async |_: Caller, _: Bytes| "read"))
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
            )
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&state), layer));
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
    let router = Router::new()
        .route(
            "/end",
            get(move || async move { access.authority.replace(KeyRing::default()).to_string() }),
        )
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&state), layer));
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
