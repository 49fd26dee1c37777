//! Keys, permissions and what people see of them, against the real program.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../src/hostile/harness.rs"]
mod harness;

use harness::{Fixture, Hub, KEY, Legacy, Modern, Start, key_hash};
use serde_json::{Value, json};

const LIMITED: &str = "aih_key-with-few-permissions";
const NOTHING: &str = "aih_key-without-permissions";

fn keys() -> String {
    format!(
        "auth:\n  api_keys:\n    - {{ name: admin, key_hash: \"{}\", permissions: [\"*\"] }}\n    \
         - {{ name: limited, key_hash: \"{}\", permissions: [\"mcps/one/*\", \"!mcps/one/pid\", \"skills/open\", \"configs/open\"] }}\n    \
         - {{ name: nothing, key_hash: \"{}\" }}\n",
        key_hash(KEY),
        key_hash(LIMITED),
        key_hash(NOTHING)
    )
}

const FILES: &[(&str, &str)] = &[
    (
        "skills/open.md",
        "---\nname: open\ndescription: Open to all\n---\n# Open\n",
    ),
    ("skills/closed.md", "# Closed\n"),
    (
        "skills/folder/SKILL.md",
        "---\nname: folder\ndescription: A folder\n---\nRead more.md\n",
    ),
    ("skills/folder/more.md", "more\n"),
    ("configs/open.md", "open config\n"),
    ("configs/closed.json", "{\"closed\": true}\n"),
    ("secret.txt", "must-never-be-served\n"),
];

async fn two(fixture: &Fixture) -> Hub {
    let config = format!(
        "{}mcps:\n  external:\n    - {{ name: one, url: \"{url}/stateful/one\" }}\n    \
         - {{ name: two, url: \"{url}/stateless/two\" }}\nskills:\n  - {{ name: open, file: ./skills/open.md }}\n  \
         - {{ name: closed, description: Closed, file: ./skills/closed.md }}\n  \
         - {{ name: folder, file: ./skills/folder/SKILL.md }}\nconfigs:\n  open: {{ file: ./configs/open.md }}\n  \
         closed: {{ file: ./configs/closed.json }}\n",
        keys(),
        url = fixture.url
    );
    let start = Start {
        config: &config,
        files: FILES,
        ..Start::default()
    };
    let hub = start.run().await;
    let admin = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&admin, &["one__echo", "two__echo"]).await;
    hub
}

fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter().map(|e| e["name"].as_str().unwrap()).collect()
}

async fn json_of(hub: &Hub, path: &str, key: &str) -> Value {
    let (status, _, body) = hub.get(path, Some(key), &[]).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

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
        "/nowhere",
    ] {
        for key in [None, Some("aih_wrong"), Some("")] {
            let (status, headers, body) = hub.get(path, key, &[]).await;
            assert_eq!(status, 401, "{path} with {key:?}: {body}");
            assert_eq!(headers["content-type"], "application/problem+json", "{path}");
            let challenge = headers["www-authenticate"].to_str().unwrap();
            assert!(challenge.starts_with("Bearer"), "{challenge}");
            let problem: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(problem["status"], 401);
            assert!(!body.contains("aih_wrong"), "{body}");
        }
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
async fn permissions_filter_mcp() {
    let fixture = Fixture::start().await;
    let hub = two(&fixture).await;
    let limited = Legacy::connect(&hub, "/mcp", LIMITED).await;
    let tools = limited.tool_names().await;
    assert!(tools.iter().any(|t| t == "one__echo"));
    assert!(
        tools.iter().any(|t| t == "aih__get_skill"),
        "the hub's own tools are open to all"
    );
    assert!(!tools.iter().any(|t| t == "one__pid"), "taken away");
    assert!(!tools.iter().any(|t| t.starts_with("two__")), "never granted");
    assert_eq!(
        limited.call("one__echo", json!({ "text": "hello" })).await.text(),
        "hello"
    );

    // What is hidden and what is not there look the same.
    let hidden = limited.call("one__pid", json!({})).await.error();
    let absent = limited.call("one__nope", json!({})).await.error();
    assert_eq!(hidden["code"], absent["code"]);
    let as_if = |e: &Value, name: &str| e["message"].as_str().unwrap().replace(name, "X");
    assert_eq!(as_if(&hidden, "one__pid"), as_if(&absent, "one__nope"));
    let other = limited.call("two__echo", json!({})).await.error();
    assert_eq!(as_if(&other, "two__echo"), as_if(&absent, "one__nope"));

    let modern = Modern::new(&hub, "/mcp", LIMITED, json!({}));
    let listed = modern.request("tools/list", json!({})).await.result();
    assert_eq!(listed["cacheScope"], "private");
    assert!(!names(&listed["tools"]).contains(&"one__pid"));
    assert_eq!(
        modern.call("two__echo", json!({})).await.error()["code"],
        absent["code"]
    );
    assert_eq!(modern.call("one__echo", json!({ "text": "m" })).await.text(), "m");

    // The endpoint of one MCP.
    let direct = Legacy::connect(&hub, "/mcp/one", LIMITED).await;
    let tools = direct.tool_names().await;
    assert!(
        tools.iter().any(|t| t == "echo") && !tools.iter().any(|t| t == "pid"),
        "{tools:?}"
    );
    assert_eq!(
        direct.call("pid", json!({})).await.error()["code"],
        absent["code"]
    );
    let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params":
        { "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } });
    let mut refusals = Vec::new();
    for name in ["two", "absent"] {
        let answer = harness::http()
            .post(format!("{}/mcp/{name}", hub.url))
            .bearer_auth(LIMITED)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(initialize.to_string())
            .send()
            .await
            .unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert!(body.contains("error"), "{body}");
        refusals.push((status, body.replace(name, "X")));
    }
    assert_eq!(refusals[0], refusals[1], "hidden and absent differ");

    // Resources, prompts and completions follow the same paths.
    for method in ["resources/list", "prompts/list", "resources/templates/list"] {
        let listed = limited.request(method, json!({})).await.result().to_string();
        assert!(!listed.contains("two"), "{method}: {listed}");
        assert!(!listed.contains("closed"), "{method}: {listed}");
    }
    let nothing = Legacy::connect(&hub, "/mcp", NOTHING).await;
    assert!(nothing.tool_names().await.iter().all(|t| t.starts_with("aih__")));
    for method in ["resources/list", "prompts/list"] {
        let listed = nothing.request(method, json!({})).await.result().to_string();
        assert!(
            !listed.contains("one") && !listed.contains("open"),
            "{method}: {listed}"
        );
    }
    let admin = Legacy::connect(&hub, "/mcp", KEY).await;
    let resources = admin.request("resources/list", json!({})).await.result();
    let own = resources["resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r.to_string().contains("two"));
    let uri = own.unwrap()["uri"].clone();
    admin
        .request("resources/read", json!({ "uri": uri }))
        .await
        .result();
    limited
        .request("resources/read", json!({ "uri": uri }))
        .await
        .error();
    limited
        .request("resources/subscribe", json!({ "uri": uri }))
        .await
        .error();
    limited
        .request("prompts/get", json!({ "name": "two__greet" }))
        .await
        .error();

    // The hub's own tools answer what the key may see.
    let said = limited.call("aih__list_mcps", json!({})).await.raw().to_owned();
    assert!(
        said.contains("one") && !said.contains("\"two\"") && !said.contains("two__"),
        "{said}"
    );
    let said = limited.call("aih__list_skills", json!({})).await.raw().to_owned();
    assert!(said.contains("open") && !said.contains("closed"), "{said}");
    let hidden = limited.call("aih__get_skill", json!({ "name": "closed" })).await;
    let absent = limited.call("aih__get_skill", json!({ "name": "absent" })).await;
    let without_id = |o: &harness::Outcome, name: &str| {
        let mut value = o.value();
        value["id"] = json!(0);
        value.to_string().replace(name, "X")
    };
    assert_eq!(without_id(&hidden, "closed"), without_id(&absent, "absent"));
    assert!(
        !limited
            .call("aih__get_config", json!({ "name": "closed" }))
            .await
            .raw()
            .contains(": true}")
    );
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

#[tokio::test]
async fn nothing_outside_the_folders_is_served() {
    let fixture = Fixture::start().await;
    let hub = two(&fixture).await;
    std::os::unix::fs::symlink(
        hub.dir.path().join("secret.txt"),
        hub.dir.path().join("skills/folder/link.md"),
    )
    .unwrap();
    let address = hub.url.strip_prefix("http://").unwrap().to_owned();
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

#[tokio::test]
async fn the_first_key_is_shown_once_and_kept_as_a_hash() {
    let config = "auth:\n  api_keys: []\n";
    let hub = Hub::start(config).await;
    let line = hub.logged(&["aih_"]).await;
    let from = line.find("aih_").unwrap();
    let key: String = line[from..]
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || "_-".contains(*c))
        .collect();
    assert_eq!(key.len(), 47, "{line}");
    let (status, ..) = hub.get("/api/v1/registry", Some(&key), &[]).await;
    assert_eq!(status, 200);
    hub.logged(&["claude mcp add", &hub.url]).await;
    let mut files = vec![hub.dir.path().to_owned()];
    let mut found = false;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        assert!(!text.contains(&key), "the key itself is in {}", path.display());
        found |= text.contains(&key_hash(&key));
        if text.contains(&key_hash(&key)) {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} can be read by others", path.display());
        }
    }
    assert!(found, "the hash is nowhere");
    let logs = json_of(&hub, "/api/v1/logs", &key).await.to_string();
    assert!(!logs.contains(&key), "the key is in the log rows");

    // A second start knows it and shows nothing.
    let kept = std::fs::read(hub.dir.path().join("data/keys.json")).unwrap();
    drop(hub);
    let kept = String::from_utf8(kept).unwrap();
    let again = Start {
        config,
        files: &[("data/keys.json", &kept)],
        ..Start::default()
    };
    let hub = again.run().await;
    let (status, ..) = hub.get("/api/v1/registry", Some(&key), &[]).await;
    assert_eq!(status, 200);
    assert!(!hub.output().contains("aih_"), "{}", hub.output());
}

#[tokio::test]
async fn no_auth_is_for_loopback_only() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let start = Start {
            args: &["--no-auth", "--listen", listen],
            ..Start::default()
        };
        let (code, output) = start.fail().await;
        assert!(code.is_some_and(|c| c != 0), "{listen}: {output}");
        assert!(
            output.contains("loopback") && !output.contains("listening on"),
            "{output}"
        );
    }
    let start = Start {
        args: &["--no-auth"],
        ..Start::default()
    };
    let hub = start.run().await;
    let (status, ..) = hub.get("/api/v1/registry", None, &[]).await;
    assert_eq!(status, 200);
    let (status, ..) = hub
        .get("/api/v1/registry", None, &[("host", "evil.example")])
        .await;
    assert_eq!(status, 403, "a web page must not get in by rebinding");
    let (status, ..) = hub
        .get("/api/v1/registry", None, &[("origin", "https://evil.example")])
        .await;
    assert_eq!(status, 403);
}

/// Everything that the hub says, in every way it has of saying it.
async fn all_it_says(hub: &Hub) -> String {
    let mut said = String::new();
    for path in [
        "/api/v1/registry",
        "/api/v1/registry/mcps",
        "/api/v1/health",
        "/api/v1/logs?limit=2000",
        "/api/v1/openapi.json",
    ] {
        said.push_str(&hub.get(path, Some(KEY), &[]).await.2);
    }
    let admin = Legacy::connect(hub, "/mcp", KEY).await;
    for tool in admin.tools().await {
        said.push_str(&tool.to_string());
    }
    for tool in ["aih__list_mcps", "aih__health"] {
        said.push_str(admin.call(tool, json!({})).await.raw());
    }
    said.push_str(&hub.output());
    said
}

#[tokio::test]
async fn secrets_are_said_nowhere() {
    const TOKEN: &str = "very-secret-token-8842";
    const HEADER: &str = "very-secret-header-3317";
    const ENV: &str = "very-secret-env-5501";
    let fixture = Fixture::start().await;
    let url = &fixture.url;
    let config = format!(
        "mcps:\n  external:\n    \
         - {{ name: well, url: \"{url}/stateful/s\", auth: {{ type: bearer, token: \"${{TOKEN_A}}\" }}, headers: {{ X-Extra: \"${{HEADER_A}}\" }} }}\n    \
         - {{ name: sick, url: \"{url}/unauthorized/s\", auth: {{ type: oauth, token: \"${{TOKEN_A}}\" }} }}\n    \
         - {{ name: away, url: \"{url}/redirect/s\", auth: {{ type: bearer, token: \"${{TOKEN_A}}\" }}, headers: {{ X-Extra: \"${{HEADER_A}}\" }} }}\n    \
         - {{ name: noisy, url: \"{noise}/${{TOKEN_A}}?key=${{TOKEN_A}}\", auth: {{ type: header, name: X-Key, value: \"${{TOKEN_A}}\" }} }}\n    \
         - {{ name: gone, url: \"http://user:${{TOKEN_A}}@127.0.0.1:1/${{TOKEN_A}}\" }}\n  \
         local:\n    - {{ name: child, command: \"{program}\", args: [\"--stdio\", \"stateless\", \"--note\", \"${{TOKEN_A}}\"], env: {{ SECRET: \"${{ENV_A}}\" }} }}\n    \
         - {{ name: dead, command: \"/nowhere/${{TOKEN_A}}\", env: {{ SECRET: \"${{ENV_A}}\" }} }}\n",
        noise = fixture.noise,
        program = harness::fixture_program(),
    );
    let start = Start {
        config: &config,
        env: &[("TOKEN_A", TOKEN), ("HEADER_A", HEADER), ("ENV_A", ENV)],
        args: &["--log", "trace"],
        ..Start::default()
    };
    let hub = start.run().await;
    let admin = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&admin, &["well__echo", "child__echo"]).await;
    admin.call("well__echo", json!({ "text": "x" })).await.text();
    for name in ["sick", "away", "noisy", "gone", "dead"] {
        hub.logged(&[name, "WARN"]).await;
        admin.call(&format!("{name}__echo"), json!({})).await.error();
    }
    let leak = admin.call("well__leak", json!({})).await;
    assert!(
        leak.error()["message"].as_str().unwrap().contains(TOKEN),
        "the credentials reach the server, whose own error goes on unchanged: {}",
        leak.raw()
    );
    let sent = fixture.record("stateful/s").await;
    let first = &sent[0]["headers"];
    assert_eq!(first["authorization"], format!("Bearer {TOKEN}"));
    assert_eq!(first["x-extra"], HEADER);
    let said = all_it_says(&hub).await;
    for secret in [TOKEN, HEADER, ENV, KEY] {
        if let Some(at) = said.find(secret) {
            let from = said[..at].char_indices().rev().nth(300).map_or(0, |(i, _)| i);
            panic!("`{secret}` was said: {}", &said[from..at + secret.len()]);
        }
    }
    let strangers = fixture.record("strangers").await;
    let seen = Value::Array(strangers).to_string();
    assert!(
        !seen.contains(TOKEN) && !seen.contains(HEADER),
        "credentials followed a redirect: {seen}"
    );
}

#[tokio::test]
async fn a_missing_variable_switches_off_its_entry_only() {
    let fixture = Fixture::start().await;
    let url = &fixture.url;
    let config = format!(
        "mcps:\n  external:\n    - {{ name: well, url: \"{url}/stateless/v\" }}\n    \
         - {{ name: off, url: \"{url}/stateless/off\", auth: {{ type: bearer, token: \"${{AIH_TEST_NOT_SET}}\" }} }}\n"
    );
    let hub = Hub::start(&config).await;
    let admin = Legacy::connect(&hub, "/mcp", KEY).await;
    let tools = hub.until_tools(&admin, &["well__echo"]).await;
    assert!(!tools.iter().any(|t| t.starts_with("off__")));
    hub.logged(&["off", "AIH_TEST_NOT_SET", "WARN"]).await;
    let mcps = json_of(&hub, "/api/v1/registry/mcps", KEY).await;
    let off = mcps["mcps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|m| m["name"] == "off")
        .unwrap();
    assert_eq!(
        (&off["enabled"], &off["state"]),
        (&json!(false), &json!("disabled"))
    );
    assert!(
        off["last_error"].as_str().unwrap().contains("AIH_TEST_NOT_SET"),
        "{off}"
    );
    admin.call("off__echo", json!({})).await.error();
    assert!(
        fixture.record("stateless/off").await.is_empty(),
        "it was spoken to"
    );
}
