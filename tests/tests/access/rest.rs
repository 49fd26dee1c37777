//! Keys and permissions at the REST API, and what is not sent.

use aih_tests::{Fixture, Hub, KEY, Legacy, Program, tools};
use serde_json::{Value, json};

use crate::{LIMITED, NOTHING, json_of, names, two};

#[tokio::test]
async fn no_key_and_wrong_keys() {
    let hub = Hub::start("").await;
    for path in [
        "/mcp",
        "/mcp/sse",
        "/mcp/one",
        "/api/v1/registry",
        "/api/v1/skills",
        "/api/v1/openapi.json",
        "/api/v1/logs",
    ] {
        for key in [None, Some("aih_wrong"), Some("")] {
            let (status, headers, body) = hub.get(path, key, &[]).await;
            assert_eq!(status, 401, "{path} with {key:?}: {body}");
            let challenge = headers["www-authenticate"].to_str().unwrap();
            assert!(challenge.starts_with("Bearer"), "{challenge}");
            let answer: Value = serde_json::from_str(&body).unwrap();
            if path.starts_with("/api") {
                assert_eq!(headers["content-type"], "application/problem+json", "{path}");
                assert_eq!(answer["status"], 401);
            } else {
                assert_eq!(headers["content-type"], "application/json", "{path}");
                assert_eq!(answer["error"]["code"], -32600);
            }
            assert!(!body.contains("aih_wrong"), "{body}");
        }
    }
    for key in [None, Some("aih_wrong"), Some(KEY)] {
        let (status, ..) = hub.get("/nowhere", key, &[]).await;
        assert_eq!(
            status, 404,
            "a path that is not there needs no key, and says nothing of one"
        );
    }
    let (status, _, body) = hub.get("/api/v1/health", None, &[]).await;
    assert_eq!(status, 200, "liveness needs no key");
    assert!(!body.contains("mcps"), "{body}");
    let (status, ..) = hub.get("/api/v1/health", Some("aih_wrong"), &[]).await;
    assert_eq!(status, 401, "a key that is sent must be right");
    for more in [
        [("x-api-key", KEY)],
        [("authorization", &format!("bearer {KEY}") as &str)],
    ] {
        let (status, ..) = hub.get("/api/v1/registry", None, &more).await;
        assert_eq!(status, 200, "{more:?}");
    }
    let (status, ..) = hub
        .get(&format!("/api/v1/registry?key={KEY}&api_key={KEY}"), None, &[])
        .await;
    assert_eq!(status, 401, "never from the query");
    hub.logged(&["refused", "/api/v1/registry"]).await;
    assert!(
        !hub.output().contains("aih_wrong"),
        "a key that was tried is in the log"
    );
    assert!(!hub.output().contains(KEY), "a key is in the log");
}

#[tokio::test]
async fn permissions_filter_rest() {
    let fixture = Fixture::start().await;
    let hub = two(&fixture).await;
    let all = json_of(&hub, "/api/v1/registry", KEY).await;
    assert_eq!(names(&all["mcps"]), ["one", "two"]);
    for path in ["/api/v1/registry", "/api/v1/registry/mcps"] {
        assert_eq!(
            names(&json_of(&hub, path, LIMITED).await["mcps"]),
            ["one"],
            "{path}"
        );
        assert!(
            names(&json_of(&hub, path, NOTHING).await["mcps"]).is_empty(),
            "{path}"
        );
    }
    for path in ["/api/v1/registry", "/api/v1/registry/skills", "/api/v1/skills"] {
        assert_eq!(
            names(&json_of(&hub, path, LIMITED).await["skills"]),
            ["open"],
            "{path}"
        );
    }
    for path in ["/api/v1/registry", "/api/v1/registry/configs", "/api/v1/configs"] {
        assert_eq!(
            names(&json_of(&hub, path, LIMITED).await["configs"]),
            ["open"],
            "{path}"
        );
    }
    let health = json_of(&hub, "/api/v1/health", LIMITED).await;
    assert_eq!(names(&health["mcps"]), ["one"]);
    for (hidden, absent) in [
        ("/api/v1/skills/closed", "/api/v1/skills/absent"),
        ("/api/v1/configs/closed", "/api/v1/configs/absent"),
    ] {
        let (status, _, body) = hub.get(hidden, Some(LIMITED), &[]).await;
        let (other, headers, expected) = hub.get(absent, Some(LIMITED), &[]).await;
        assert_eq!((status.as_u16(), other.as_u16()), (404, 404), "{hidden}: {body}");
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(body.replace("closed", "X"), expected.replace("absent", "X"));
        let (status, ..) = hub.get(hidden, Some(KEY), &[]).await;
        assert_eq!(status, 200, "{hidden} for who may");
    }
    let (status, ..) = hub.get("/api/v1/logs", Some(LIMITED), &[]).await;
    assert_eq!(status, 403, "logs need admin/logs");
    let (status, ..) = hub.get("/api/v1/logs", Some(KEY), &[]).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let fixture = Fixture::start().await;
    let hub = two(&fixture).await;
    for path in [
        "/api/v1/registry",
        "/api/v1/skills",
        "/api/v1/skills/open",
        "/api/v1/configs/open",
        "/api/v1/configs/closed",
        "/api/v1/openapi.json",
    ] {
        let (status, headers, body) = hub.get(path, Some(KEY), &[]).await;
        assert_eq!(status, 200, "{path}");
        let tag = headers["etag"].to_str().unwrap().to_owned();
        let (status, again, nothing) = hub.get(path, Some(KEY), &[("if-none-match", &tag)]).await;
        assert_eq!((status.as_u16(), nothing.as_str()), (304, ""), "{path}");
        assert_eq!(again["etag"].to_str().unwrap(), tag, "{path}");
        let weak = format!("\"other\", W/{tag}");
        let (status, ..) = hub.get(path, Some(KEY), &[("if-none-match", &weak)]).await;
        assert_eq!(status, 304, "{path}");
        let (status, _, other) = hub.get(path, Some(KEY), &[("if-none-match", "\"other\"")]).await;
        assert_eq!((status.as_u16(), other), (200, body), "{path}");
    }
    let (_, mine, _) = hub.get("/api/v1/registry", Some(KEY), &[]).await;
    let (_, other, _) = hub.get("/api/v1/registry", Some(LIMITED), &[]).await;
    assert_ne!(mine["etag"], other["etag"], "another key's list has another tag");
}

/// Reads both formats with the parsers of Prometheus' own client, and prints how many metrics each has.
const READ_METRICS: &str = "
import sys
from prometheus_client import openmetrics, parser
from prometheus_client.openmetrics import parser as strict
for read, file in ((parser, sys.argv[1]), (strict, sys.argv[2])):
    samples = [sample for family in read.text_string_to_metric_families(open(file).read()) for sample in family.samples]
    up = {sample.labels['name']: sample.value for sample in samples if sample.name == 'aih_up'}
    print(len(samples), up['one'], [sample.value for sample in samples if sample.name == 'aih_build_info'])
";

#[tokio::test]
async fn metrics_are_what_prometheus_reads() {
    let fixture = Fixture::start().await;
    let hub = two(&fixture).await;
    let (status, ..) = hub.get("/api/v1/metrics", Some(LIMITED), &[]).await;
    assert_eq!(status, 403);
    let (_, _, text) = hub.get("/api/v1/metrics", Some(KEY), &[]).await;
    let accept = (
        "accept",
        "application/openmetrics-text;version=1.0.0;q=0.7,*/*;q=0.1",
    );
    let (_, _, open) = hub.get("/api/v1/metrics", Some(KEY), &[accept]).await;
    let folder = hub.folder.path();
    std::fs::write(folder.join("text"), &text).unwrap();
    std::fs::write(folder.join("open"), &open).unwrap();
    let mut python = Program::command(&tools::python("python"));
    python
        .args(["-c", READ_METRICS])
        .args([folder.join("text"), folder.join("open")]);
    let read = Program::run("the parsers", python, aih_tests::SOON).await;
    assert!(read.status.success(), "{}\n{text}", read.text);
    let lines: Vec<&str> = read.text.lines().collect();
    assert_eq!(lines[0], lines[1], "{text}\n{open}");
    assert!(lines[0].ends_with(" 1 [1]"), "{}", read.text);
}

#[tokio::test]
async fn nothing_outside_the_folders_is_served() {
    let fixture = Fixture::start().await;
    let hub = two(&fixture).await;
    std::os::unix::fs::symlink(
        hub.folder.path().join("secret.txt"),
        hub.folder.path().join("skills/folder/link.md"),
    )
    .unwrap();
    let address = hub.address().to_owned();
    for path in [
        "/api/v1/skills/..%2fsecret.txt",
        "/api/v1/skills/%2e%2e/secret.txt",
        "/api/v1/skills/../../../secret.txt",
        "/api/v1/skills/folder/../../secret.txt",
        "/api/v1/skills/folder/..%2f..%2fsecret.txt",
        "/api/v1/skills/folder/%2e%2e/%2e%2e/secret.txt",
        "/api/v1/skills/folder/files/..%2f..%2fsecret.txt",
        "/api/v1/skills/folder/files/../../secret.txt",
        "/api/v1/skills/folder/files/link.md",
        "/api/v1/skills/folder/link.md",
        "/api/v1/skills/folder/%00",
        "/api/v1/configs/..%2fsecret.txt",
        "/api/v1/configs/%2Fetc%2Fpasswd",
        "/api/v1/configs/..%5c..%5csecret.txt",
        "/api/v1/configs/open%00",
        "/api/v1/configs//etc/passwd",
    ] {
        // By hand: an HTTP client would tidy the path up first.
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 40"), "{path}: {answer}");
        assert!(
            !answer.contains("must-never-be-served") && !answer.contains("root:"),
            "{path}: {answer}"
        );
    }
    let admin = Legacy::connect(&hub, "/mcp", KEY).await;
    for name in [
        "../secret.txt",
        "/etc/passwd",
        "folder/../../secret.txt",
        "open\u{0}",
        "",
    ] {
        for tool in ["aih__get_skill", "aih__get_config"] {
            let said = admin.call(tool, json!({ "name": name })).await;
            assert!(
                !said.raw().contains("must-never-be-served") && !said.raw().contains("root:"),
                "{}",
                said.raw()
            );
        }
    }
    for uri in [
        "skill://folder/../../secret.txt",
        "skill://../secret.txt",
        "config://../secret.txt",
        "file:///etc/passwd",
    ] {
        let outcome = admin.request("resources/read", json!({ "uri": uri })).await;
        outcome.error();
    }
}
