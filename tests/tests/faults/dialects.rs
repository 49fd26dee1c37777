//! Servers whose messages are a little beside the letter: what the official SDKs read, the hub reads.

use std::{path::Path, time::Duration};

use aih_tests::{Hub, KEY, Legacy, Modern, fixture::mcps};
use serde_json::json;

/// A server on stdio with the tool `hello`, which writes its answers as `$1` says. `$ID` is the id of a request.
const SERVER: &str = r#"
answer() {
  case $STYLE in
    text) printf '{"jsonrpc":"2.0","id":"%s","result":%s}\n' "$ID" "$1" ;;
    float) printf '{"jsonrpc":"2.0","id":%s.0,"result":%s,"error":null}\n' "$ID" "$1" ;;
    array) printf '\357\273\277[{"jsonrpc":"2.0","id":%s,"result":%s}]\r\n' "$ID" "$1" ;;
    bytes) printf '{"jsonrpc":"2.0","id":%s,"result":%s,"odd":"\351"}\n' "$ID" "$1" ;;
    *) printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$ID" "$1" ;;
  esac
}
STYLE=$1
while read -r line; do
  case $line in *'"id":'*) ;; *) continue ;; esac
  ID=${line#*'"id":'}; ID=${ID%%,*}
  case $line in
    *'"initialize"'*) answer '{"protocolVersion":"2024-10-07","capabilities":{"tools":{}},"serverInfo":{"name":"old","version":"1"}}' ;;
    *'"tools/list"'*) answer '{"tools":[{"name":"hello","inputSchema":{"type":"object"}}]}' ;;
    *'"tools/call"'*)
      case $STYLE in
        broken) printf '{"jsonrpc":"2.0","id":%s,"result":{"content":NaN}}\n' "$ID" ;;
        lacking) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}\n' "$ID" ;;
        refusing) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"`params._meta` is odd"}}\n' "$ID" ;;
        failed) printf '{"jsonrpc":"2.0","id":%s,"result":null,"error":{"code":-32000.0,"message":"boom"}}\n' "$ID" ;;
        *) answer '{"toolResult":"hello from '"$STYLE"'"}' ;;
      esac ;;
    *) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}\n' "$ID" ;;
  esac
done
"#;

const STYLES: [&str; 5] = ["plain", "text", "float", "array", "bytes"];

fn entry(place: &Path, style: &str) -> String {
    let script = place.join("server.sh");
    std::fs::write(&script, SERVER).unwrap();
    format!(
        "    - {{ name: {style}, command: sh, args: [\"{}\", {style}], timeout: 30s }}\n",
        script.display()
    )
}

#[tokio::test]
async fn servers_of_the_first_revision_and_in_other_words_are_used_as_they_are() {
    let place = tempfile::tempdir().unwrap();
    let all: String = STYLES
        .iter()
        .chain(&["broken", "failed"])
        .map(|style| entry(place.path(), style))
        .collect();
    let hub = Hub::start(&mcps("", &all)).await;
    let legacy = Legacy::connect(&hub, "/mcp", KEY).await;
    let modern = Modern::new(&hub, "/mcp", KEY, json!({}));
    let names: Vec<String> = STYLES.iter().map(|style| format!("{style}__hello")).collect();
    let names: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .chain(["broken__hello", "failed__hello"])
        .collect();
    hub.until_tools(&legacy, &names).await;
    for style in STYLES {
        let name = format!("{style}__hello");
        for outcome in [
            legacy.call(&name, json!({})).await,
            modern.call(&name, json!({})).await,
        ] {
            assert_eq!(outcome.text(), format!("hello from {style}"), "{}", outcome.raw());
        }
    }
    for outcome in [
        legacy.call("broken__hello", json!({})).await,
        modern.call("broken__hello", json!({})).await,
    ] {
        assert!(outcome.took < Duration::from_secs(5), "{:?}", outcome.took);
        let message = outcome.error()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("broken") && message.contains("NaN"), "{message}");
    }
    let outcome = legacy.call("failed__hello", json!({})).await;
    assert_eq!(outcome.error(), json!({ "code": -32000, "message": "boom" }));
}

#[tokio::test]
async fn a_client_of_the_first_revision_is_answered_in_it() {
    let place = tempfile::tempdir().unwrap();
    let hub = Hub::start(&mcps("", &entry(place.path(), "plain"))).await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&client, &["plain__hello"]).await;
    let asked = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2024-10-07", "capabilities": {}, "clientInfo": { "name": "old", "version": "1" },
    }});
    let opened = client.post(asked.to_string()).await;
    assert_eq!(opened.result()["protocolVersion"], "2024-10-07");
}

#[tokio::test]
async fn an_error_of_a_server_is_not_one_of_the_endpoint() {
    let place = tempfile::tempdir().unwrap();
    let all = entry(place.path(), "lacking") + &entry(place.path(), "refusing");
    let hub = Hub::start(&mcps("", &all)).await;
    let legacy = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&legacy, &["lacking__hello", "refusing__hello"])
        .await;
    for path in ["/mcp", "/mcp/lacking", "/mcp/refusing"] {
        let modern = Modern::new(&hub, path, KEY, json!({}));
        for (name, code) in [("lacking", -32601), ("refusing", -32602)] {
            let tool = match path {
                "/mcp" => format!("{name}__hello"),
                _ if path.ends_with(name) => "hello".to_owned(),
                _ => continue,
            };
            let outcome = modern.call(&tool, json!({})).await;
            assert_eq!(
                (outcome.status.as_u16(), outcome.code()),
                (200, code),
                "{path}: {}",
                outcome.raw()
            );
        }
        // What the endpoint itself does not have is its own error.
        let outcome = modern.request("resources/subscribe", json!({ "uri": "x" })).await;
        assert_eq!(
            (outcome.status.as_u16(), outcome.code()),
            (404, -32601),
            "{}",
            outcome.raw()
        );
    }
}
