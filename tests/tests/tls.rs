//! HTTPS without a proxy in front: real clients over HTTP/1.1 and HTTP/2, and certificates that cannot be used.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use aih_tests::{
    Events, Fixture, Hub, KEY, Legacy, Modern, Program, SOON, Start, eventually,
    fixture::{external, mcps},
};
use reqwest::{Certificate, Client, StatusCode, Version};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const CONFIG: &str = "server:\n  tls: { cert: ./tls/cert.pem, key: ./tls/key.pem }\n";

/// A certificate for this machine and its key, as PEM.
fn certificate() -> (String, String) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

async fn start(cert: &str, key: &str) -> Hub {
    let start = Start {
        config: CONFIG,
        files: &[("tls/cert.pem", cert), ("tls/key.pem", key)],
        ..Start::default()
    };
    start.run().await
}

/// A client that trusts this certificate and no other.
fn client(cert: &str, version: Version) -> Client {
    let builder = Client::builder()
        .no_proxy()
        .tls_certs_only([Certificate::from_pem(cert.as_bytes()).unwrap()]);
    match version {
        Version::HTTP_11 => builder.http1_only(),
        _ => builder,
    }
    .build()
    .unwrap()
}

#[tokio::test]
async fn mcp_and_rest_over_http_1_and_http_2() {
    let (cert, key) = certificate();
    let hub = start(&cert, &key).await;
    assert!(hub.base.starts_with("https://127.0.0.1:"), "{}", hub.base);
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let client = client(&cert, version);
        let health = client.get(hub.url("/api/v1/health")).send().await.unwrap();
        assert_eq!((health.status(), health.version()), (StatusCode::OK, version));
        let refused = client.get(hub.url("/api/v1/registry")).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{version:?}");
        // Streams as well as answers.
        let stream = client
            .get(hub.url("/mcp/sse"))
            .bearer_auth(KEY)
            .send()
            .await
            .unwrap();
        assert_eq!((stream.status(), stream.version()), (StatusCode::OK, version));
        let mut events = Events::new(stream);
        let path = events.next().await.unwrap();
        let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } });
        let sent = client.post(hub.url(&path)).bearer_auth(KEY).json(&hello).send();
        assert_eq!(sent.await.unwrap().status(), StatusCode::ACCEPTED, "{version:?}");
        let answer: Value = serde_json::from_str(&events.next().await.unwrap()).unwrap();
        assert_eq!(answer["result"]["serverInfo"]["name"], "aih", "{answer}");
    }
}

/// A hub behind a hub: its client side verifies the certificate, and speaks the HTTP/2 that the other one offers.
#[tokio::test]
async fn servers_are_reached_over_tls_when_their_certificate_is_trusted() {
    let (cert, key) = certificate();
    let fixture = Fixture::start().await;
    let inside = mcps(&external("one", &format!("{}/stateful/t", fixture.url), ""), "");
    let inner = Start {
        config: &format!("{CONFIG}{inside}"),
        files: &[("tls/cert.pem", &cert), ("tls/key.pem", &key)],
        ..Start::default()
    };
    let inner = inner.run().await;
    let auth = format!(", auth: {{ type: bearer, token: \"{KEY}\" }}");
    let outside = mcps(&external("inner", &inner.url("/mcp"), &auth), "");
    let trusted = inner.folder.path().join("tls/cert.pem");
    let outer = Start {
        config: &outside,
        env: &[("SSL_CERT_FILE", &trusted.display().to_string())],
        ..Start::default()
    };
    let outer = outer.run().await;
    let legacy = Legacy::connect(&outer, "/mcp", KEY).await;
    outer.until_tools(&legacy, &["inner__one__echo"]).await;
    let called = legacy
        .call("inner__one__echo", json!({ "text": "over TLS" }))
        .await;
    assert_eq!(called.text(), "over TLS");
    let modern = Modern::new(&outer, "/mcp", KEY, json!({}));
    // Many at once share the connection.
    let calls = (0..50).map(|n| {
        let (modern, text) = (&modern, n.to_string());
        async move {
            let arguments = json!({ "text": text });
            assert_eq!(modern.call("inner__one__echo", arguments).await.text(), text);
        }
    });
    futures::future::join_all(calls).await;
}

#[tokio::test]
async fn a_server_whose_certificate_is_not_trusted_gets_no_request() {
    let (cert, key) = certificate();
    let (other, _) = certificate();
    let inner = start(&cert, &key).await;
    let start = Start {
        config: &mcps(&external("inner", &inner.url("/mcp"), ""), ""),
        files: &[("other.pem", &other)],
        env: &[("SSL_CERT_FILE", "other.pem")],
        ..Start::default()
    };
    let outer = start.run().await;
    let says = eventually("the untrusted server is down", || async {
        let (_, _, health) = outer.get("/api/v1/health", Some(KEY), &[]).await;
        let health: Value = serde_json::from_str(&health).unwrap();
        let server = health["mcps"][0].clone();
        (server["state"] == "down").then(|| server["last_error"].as_str().unwrap().to_owned())
    })
    .await;
    assert!(says.contains("certificate"), "{says}");
}

#[tokio::test]
async fn who_does_not_speak_tls_disturbs_nobody() {
    let (cert, key) = certificate();
    let hub = start(&cert, &key).await;
    // Open and silent, plain HTTP, and a client that does not trust the certificate.
    let silent = TcpStream::connect(hub.address()).await.unwrap();
    let mut plain = TcpStream::connect(hub.address()).await.unwrap();
    plain
        .write_all(b"GET /api/v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(SOON, plain.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(
        !answer.starts_with(b"HTTP/"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let (other, _) = certificate();
    let wary = client(&other, Version::HTTP_2)
        .get(hub.url("/api/v1/health"))
        .send();
    assert!(wary.await.is_err(), "a certificate that is not trusted");
    let trusting = client(&cert, Version::HTTP_2)
        .get(hub.url("/api/v1/health"))
        .send();
    assert_eq!(trusting.await.unwrap().status(), StatusCode::OK);
    drop(silent);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_ends_the_start() {
    let (cert, key) = certificate();
    let (_, other) = certificate();
    for (cert, key, says) in [
        (&*cert, &*other, "server.tls.key"),
        ("no certificate", &*key, "server.tls.cert"),
        (&*cert, "no key", "server.tls.key"),
    ] {
        let start = Start {
            config: CONFIG,
            files: &[("tls/cert.pem", cert), ("tls/key.pem", key)],
            ..Start::default()
        };
        let (code, output) = start.fail().await;
        assert_eq!(code, Some(1), "{output}");
        assert!(output.contains(says), "{says} is not in:\n{output}");
        assert!(!output.contains("PRIVATE KEY"), "{output}");
    }
}

#[tokio::test]
async fn curl_is_served() {
    let (cert, key) = certificate();
    let hub = start(&cert, &key).await;
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", option, "--noproxy", "*", "--cacert"])
            .arg(hub.folder.path().join("tls/cert.pem"))
            .args(["--write-out", "\n%{http_version}", &hub.url("/api/v1/health")]);
        let output = Program::run("curl", command, SOON).await;
        assert!(output.status.success(), "{}", output.text);
        assert_eq!(output.text.trim(), format!("{{\"status\":\"ok\"}}\n{version}"));
    }
}
