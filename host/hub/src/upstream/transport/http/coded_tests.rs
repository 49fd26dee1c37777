//! Answers with a content coding.

use async_compression::{
    Level,
    tokio::write::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder},
};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::*;

type Encoder = Box<dyn AsyncWrite + Send + Unpin>;

/// A sink that can be looked at while the encoder writes to it.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl AsyncWrite for Written {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        std::task::Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

fn encoder(coding: &str, into: Written) -> Encoder {
    let level = Level::Fastest;
    match coding {
        "gzip" | "x-gzip" => Box::new(GzipEncoder::with_quality(into, level)),
        "deflate" => Box::new(ZlibEncoder::with_quality(into, level)),
        "raw-deflate" => Box::new(DeflateEncoder::with_quality(into, level)),
        "br" => Box::new(BrotliEncoder::with_quality(into, level)),
        "zstd" => Box::new(ZstdEncoder::with_quality(into, level)),
        _ => Box::new(into),
    }
}

async fn coded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let written = Written::default();
    let mut encoder = encoder(coding, written.clone());
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    written.take()
}

fn with_coding(mut response: Answer, coding: &str) -> Answer {
    let value = HeaderValue::from_str(coding.trim_start_matches("raw-")).unwrap();
    response.headers_mut().insert(h::CONTENT_ENCODING, value);
    response
}

const CODED: [&str; 6] = ["gzip", "x-gzip", "deflate", "raw-deflate", "br", "zstd"];

#[tokio::test]
async fn an_answer_is_read_in_whatever_coding() {
    let server = Server::start(|seen| async move {
        let result = seen.result(&json!({"text": "a".repeat(300_000)}));
        let coding = seen.rpc();
        let body = if coding == "GZIP , br" {
            coded("br", &coded("gzip", result.as_bytes()).await).await
        } else {
            coded(&coding, result.as_bytes()).await
        };
        with_coding(answer(200, "application/json", body), &coding)
    })
    .await;
    let (transport, _heard) = to(&server);
    for coding in CODED.into_iter().chain(["identity", "GZIP , br"]) {
        let result = call(&transport, 1, coding).await;
        let result = result
            .unwrap_or_else(|error| panic!("{coding}: {error}"))
            .unwrap();
        assert_eq!(
            result.to_value()["text"].as_str().unwrap().len(),
            300_000,
            "{coding}"
        );
    }
    assert_eq!(server.connections(), 1, "a connection is used again");
    let asked = server.count(|seen| seen.header("accept-encoding").is_some());
    assert_eq!(asked, 0, "on the same machine it only costs time");
}

#[tokio::test]
async fn an_error_and_an_empty_body_may_have_a_coding_too() {
    let server = Server::start(|seen| async move {
        match seen.rpc().as_str() {
            "empty" => with_coding(answer(202, "", ""), "gzip"),
            _ => with_coding(
                answer(400, "text/plain", coded("br", b"no such thing").await),
                "br",
            ),
        }
    })
    .await;
    let (transport, _heard) = to(&server);
    let note = Message::notification("empty", None);
    soon(transport.send(note)).await.unwrap();
    let error = call(&transport, 1, "m").await.unwrap_err();
    assert_eq!(error.to_string(), "HTTP 400: no such thing");
}

#[tokio::test]
async fn the_limit_is_that_of_the_decoded_answer() {
    let server = Server::start(|seen| async move {
        let (coding, kind) = match seen.rpc().split_once('/') {
            Some((coding, _)) => (coding.to_owned(), "text/event-stream"),
            None => (seen.rpc(), "application/json"),
        };
        let body = coded(&coding, &vec![b' '; MAX_MESSAGE + 1]).await;
        assert!(body.len() < MAX_MESSAGE / 100, "{coding}: {}", body.len());
        with_coding(answer(200, kind, body), &coding)
    })
    .await;
    let (transport, _heard) = to(&server);
    for coding in CODED {
        for method in [coding.to_owned(), format!("{coding}/events")] {
            let error = call(&transport, 1, &method).await.unwrap_err();
            assert!(
                matches!(error, TransportError::TooLarge { limit: MAX_MESSAGE }),
                "{method}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn events_pass_whole_although_they_are_compressed() {
    for coding in CODED {
        let ended = Arc::new(Notify::new());
        let end = ended.clone();
        let server = Server::start(move |seen| {
            let end = end.clone();
            async move {
                let written = Written::default();
                let encoder = encoder(coding, written.clone());
                let texts = [
                    event(notification("notifications/x")),
                    event(seen.result(&json!({}))),
                ];
                let body = futures::stream::unfold((0, encoder), move |(at, mut encoder)| {
                    let (text, written, end) = (texts.get(at).cloned(), written.clone(), end.clone());
                    async move {
                        if at == 1 {
                            end.notified().await;
                        }
                        encoder.write_all(text?.as_bytes()).await.unwrap();
                        encoder.flush().await.unwrap();
                        Some((
                            Ok::<_, std::convert::Infallible>(written.take()),
                            (at + 1, encoder),
                        ))
                    }
                });
                with_coding(answer(200, "text/event-stream", Body::from_stream(body)), coding)
            }
        })
        .await;
        let (transport, mut heard) = to(&server);
        let calling = call(&transport, 1, "m");
        let hearing = async {
            let said = soon(heard.recv()).await;
            assert!(matches!(said, Some(InboxEvent::Message(Some(1), _))), "{coding}");
            ended.notify_one();
        };
        let (result, ()) = tokio::join!(calling, hearing);
        result.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_is_not_coded_as_it_says_fails_its_call() {
    let server = Server::start(|seen| async move {
        let result = seen.result(&json!({}));
        let body = match seen.rpc().as_str() {
            "cut" => {
                let mut whole = coded("gzip", result.as_bytes()).await;
                whole.truncate(whole.len() / 2);
                return with_coding(answer(200, "application/json", whole), "gzip");
            }
            "compress" => return with_coding(json_answer(result), "compress"),
            "many" => return with_coding(json_answer(result), "gzip, gzip, gzip, gzip"),
            _ => result,
        };
        let coding = seen.rpc();
        with_coding(json_answer(body), &coding)
    })
    .await;
    let (transport, _heard) = to(&server);
    for coding in ["gzip", "br", "zstd", "deflate", "cut", "compress", "many"] {
        let error = call(&transport, 1, coding).await.unwrap_err();
        assert!(matches!(error, TransportError::Protocol(_)), "{coding}: {error}");
    }
    let error = call(&transport, 1, "compress").await.unwrap_err().to_string();
    assert!(
        error.contains("`compress` is not one of gzip, deflate, br, zstd"),
        "{error}"
    );
}

#[test]
fn compression_is_asked_for_where_it_helps() {
    for (url, is_near) in [
        ("http://localhost/", true),
        ("http://a.localhost/", true),
        ("http://127.1.2.3:5/", true),
        ("http://[::1]/", true),
        ("http://10.0.0.1/", false),
        ("https://h.test/", false),
    ] {
        assert_eq!(is_loopback(&Url::parse(url).unwrap()), is_near, "{url}");
    }
    assert!(may_be_compressed(method::TOOLS_LIST) && may_be_compressed(method::RESOURCES_READ));
    assert!(!may_be_compressed(method::TOOLS_CALL) && !may_be_compressed(method::LISTEN));
}
