use std::sync::atomic::{AtomicBool, Ordering};

use aih_mcp::method;
use serde_json::json;
use tokio::sync::{Notify, broadcast, mpsc::UnboundedReceiver};

use super::super::http_client::{
    fixture::{
        InboxEvent, RecordingInbox, Server, answer, event, events, notification, open_stream, soon, stream,
    },
    http_client,
};
use super::*;

async fn to(
    server: &Server,
) -> (
    Result<Arc<SseTransport>, TransportError>,
    UnboundedReceiver<InboxEvent>,
) {
    let (inbox, events) = RecordingInbox::new();
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", HeaderValue::from_static("k-1"));
    let client = http_client().unwrap();
    let connecting = SseTransport::connect(&client, server.url("/mcp/sse"), headers, inbox);
    (soon(connecting).await, events)
}

fn told(endpoint: &str) -> String {
    format!("event: endpoint\ndata: {endpoint}\n\n")
}

/// A server that answers over its stream; `bye` as the method ends the stream, `silent` gets no answer, and
/// `slow` is answered long before its POST.
async fn server() -> Server {
    let (sender, _) = broadcast::channel::<Option<String>>(64);
    Server::start(move |seen| {
        let sender = sender.clone();
        async move {
            if seen.method == "GET" {
                let event = tokio_stream::wrappers::BroadcastStream::new(sender.subscribe());
                let event = event.take_while(|s| std::future::ready(matches!(s, Ok(Some(_)))));
                let event = event.filter_map(|s| std::future::ready(s.ok().flatten()));
                let first = [
                    ": hello\n\n".to_owned(),
                    "event: ping\ndata: 1\n\n".to_owned(),
                    "event: hello\ndata: {}\n\n".to_owned(),
                    told("messages?s=1"),
                ];
                return stream(futures::stream::iter(first).chain(event));
            }
            let event = match seen.rpc().as_str() {
                "bye" => None,
                "named" => Some(format!(
                    "event: other\n{}event: message\n{}",
                    event(seen.result(&json!({"n": 2}))),
                    event(seen.result(&json!({"n": 1})))
                )),
                "text" => Some(event(
                    seen.result(&json!({"n": 1}))
                        .replace("\"id\":4", "\"id\":\"4\",\"error\":null"),
                )),
                "unreadable" => Some(event(seen.result(&json!({})).replace("{}", "NaN"))),
                "silent" => Some(event(notification("notifications/silent"))),
                _ => Some(event(notification("notifications/x")) + &event(seen.result(&json!({"n": 1})))),
            };
            let _ = sender.send(event);
            if seen.rpc() == "slow" {
                std::future::pending::<()>().await;
            }
            answer(202, "text/plain", "Accepted")
        }
    })
    .await
}

#[tokio::test]
async fn answers_come_over_the_stream() {
    let server = server().await;
    let (transport, mut events) = to(&server).await;
    let transport = transport.unwrap();
    assert!(transport.stateful());
    for (id, method) in [(1, method::TOOLS_LIST), (2, "slow")] {
        let result = soon(transport.request(id, method, None, &[])).await;
        assert_eq!(result.unwrap().unwrap().text(), r#"{"n":1}"#);
        assert!(matches!(
            soon(events.recv()).await,
            Some(InboxEvent::Message(None, _))
        ));
    }
    for (id, method) in [(3, "named"), (4, "text")] {
        let result = soon(transport.request(id, method, None, &[])).await;
        assert_eq!(result.unwrap().unwrap().text(), r#"{"n":1}"#, "{method}");
    }
    let error = soon(transport.request(5, "unreadable", None, &[]))
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Protocol(_)), "{error}");
    let posted = server.request(0, |s| s.method == "POST").await;
    assert_eq!(posted.path, "/mcp/messages?s=1");
    assert_eq!(posted.header("x-api-key"), Some("k-1"));
    assert_eq!(transport.pending.waiting(), 0);
    (soon(transport.send(Message::notification(method::INITIALIZED, None))).await).unwrap();
}

#[tokio::test]
async fn when_the_stream_ends_nobody_waits_any_longer() {
    let server = server().await;
    let (transport, mut events) = to(&server).await;
    let transport = transport.unwrap();
    let waiting = tokio::spawn({
        let transport = transport.clone();
        async move { transport.request(1, "silent", None, &[]).await }
    });
    assert!(matches!(
        soon(events.recv()).await,
        Some(InboxEvent::Message(None, _))
    ));
    soon(transport.send(Message::notification("bye", None)))
        .await
        .unwrap();
    let error = soon(waiting).await.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::Closed(_)), "{error}");
    assert!(matches!(
        soon(events.recv()).await,
        Some(InboxEvent::Closed(TransportError::Closed(_)))
    ));
    let error = soon(transport.request(2, "m", None, &[])).await.unwrap_err();
    assert!(matches!(error, TransportError::SessionLost), "{error}");
}

#[tokio::test]
async fn what_is_on_its_way_when_the_stream_ends_meets_its_own_fate() {
    let (came, refuse) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (coming, refusing) = (came.clone(), refuse.clone());
    let server = Server::start(move |seen| {
        let (coming, refusing) = (coming.clone(), refusing.clone());
        async move {
            if seen.method == "GET" {
                let last = futures::stream::once(async move { coming.notified().await });
                let last = last.map(|()| ": bye\n\n".to_owned());
                return stream(futures::stream::iter([told("/messages")]).chain(last));
            }
            coming.notify_one();
            refusing.notified().await;
            answer(404, "", "")
        }
    })
    .await;
    let (transport, mut events) = to(&server).await;
    let transport = transport.unwrap();
    let asking = tokio::spawn({
        let transport = transport.clone();
        async move { transport.request(1, "m", None, &[]).await }
    });
    let ended = async {
        while !transport.posts.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    soon(ended).await;
    refuse.notify_one();
    let error = soon(asking).await.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::SessionLost), "{error}");
    assert!(matches!(soon(events.recv()).await, Some(InboxEvent::Closed(_))));
}

#[tokio::test]
async fn what_is_not_such_a_server_is_distinguished() {
    let first =
        |response: fn() -> axum::response::Response| Server::start(move |_| async move { response() });
    let server = first(|| answer(401, "", "")).await;
    assert!(matches!(
        to(&server).await.0,
        Err(TransportError::Unauthorized { status: 401, .. })
    ));
    let server = first(|| answer(404, "text/plain", "k-2 nothing")).await;
    assert!(matches!(
        to(&server).await.0,
        Err(TransportError::Status { status: 404, .. })
    ));
    for response in [
        || answer(200, "text/html", "<p>"),
        || events(vec![]),
        || events(vec![event(notification("notifications/x"))]),
        || events(vec![told("http://127.0.0.2:1/messages")]),
        || events(vec![told("//elsewhere.invalid/messages")]),
    ] as [fn() -> axum::response::Response; 5]
    {
        let server = first(response).await;
        let (connected, mut events) = to(&server).await;
        assert!(matches!(connected, Err(TransportError::Protocol(_))));
        assert!(soon(events.recv()).await.is_none());
    }
}

#[tokio::test]
async fn a_refused_post_fails_its_request_only() {
    let refuse = Arc::new(AtomicBool::new(true));
    let dropped = Arc::new(Notify::new());
    let (flag, ring) = (refuse.clone(), dropped.clone());
    let server = Server::start(move |seen| {
        let (flag, ring) = (flag.clone(), ring.clone());
        async move {
            match seen.method.as_str() {
                "GET" => open_stream(vec![told("/messages")], &ring),
                _ if flag.load(Ordering::SeqCst) => answer(500, "text/plain", "no"),
                _ => answer(404, "", ""),
            }
        }
    })
    .await;
    let (transport, mut events) = to(&server).await;
    let transport = transport.unwrap();
    let error = soon(transport.request(1, "m", None, &[])).await.unwrap_err();
    assert_eq!(error.to_string(), "HTTP 500: no");
    refuse.store(false, Ordering::SeqCst);
    let error = soon(transport.request(2, "m", None, &[])).await.unwrap_err();
    assert!(matches!(error, TransportError::SessionLost), "{error}");
    drop(transport);
    soon(dropped.notified()).await;
    assert!(soon(events.recv()).await.is_none(), "the hub closed it itself");
}
