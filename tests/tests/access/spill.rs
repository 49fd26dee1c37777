//! A secret that the hub gives to a server, a plugin or a hook comes back in nothing that the hub says, whatever the
//! other one does with it. One secret stands in every place where one can stand.

use std::{collections::BTreeMap, path::Path};

use aih_tests::{Hub, KEY, Legacy, Program, Start, eventually, spill::spellings, tools};
use serde_json::{Value, json};

use crate::json_of;

/// A key that the hub does not know.
const PRESENTED: &str = "aih_presented-k3y-55d1";

/// Offers what it knows in every way.
const PLUGIN: &str = r#"
import { defineTool, host, log } from "aih-plugin";
const coded = (s) => [s, JSON.stringify({ s }), btoa("u:" + s), encodeURIComponent(s),
  [...s].map((c) => "%" + c.charCodeAt(0).toString(16)).join(""), [...s].map((c) => c.charCodeAt(0).toString(16)).join("")].join(" ");
const all = async () => coded(await host.secrets.get("PLUGIN_SECRET")) + " " + coded(await host.secrets.get("MAPPED"));
const input = { type: "object" };
const tool = (name, handler) => defineTool({ name, description: name, input, handler });
tool("result", async () => await all());
tool("structured", async () => ({ content: [], structuredContent: { all: await all() } }));
tool("logs", async (_, context) => { console.error(await all()); log.error(await all(), { all: await all() }); context.progress(1, 2, await all()); return "logged"; });
tool("throws", async () => { throw new Error(await all()); });
tool("late", async () => { const s = await all(); let x = null; return x[s].y[s]; });
"#;

/// The same as a hook, as the event's trigger or the payload says.
const HOOK: &str = r#"
import { defineHook, host, log } from "aih-plugin";
const all = async () => { const s = await host.secrets.get("HOOK_SECRET"); return [s, JSON.stringify({ s }), btoa(s), encodeURIComponent(s)].join(" "); };
defineHook(async (event) => {
  const text = await all();
  log.warn(text, { text });
  const what = event.name === "manual" ? event.payload.payload.do : event.payload.tool ?? "throw";
  if (what === "result") return { result: { text } };
  if (what === "deny") return { deny: text };
  if (what === "throw") throw new Error(text);
  return {};
});
"#;

/// Where each secret stands, and what it is.
fn secrets() -> BTreeMap<&'static str, String> {
    let names = [
        "TOKEN",
        "HEADER",
        "HEADER_DOTENV",
        "QUERY",
        "SEGMENT",
        "URL_PASSWORD",
        "ENV",
        "ENV_ODD",
        "ARGUMENT",
        "CWD",
        "COMMAND",
        "FROM_FILE",
        "REAL",
        "PLUGIN_SECRET",
        "HOOK_SECRET",
        "WEBHOOK_SECRET",
        "OAUTH_SECRET",
        "WRITTEN_ENV",
        "WRITTEN_TOKEN",
        "WRITTEN_ARGUMENT",
        "WRITTEN_PASSWORD",
        "PEM",
    ];
    let value = |(number, name): (usize, &'static str)| {
        let word = name.to_lowercase().replace('_', "-");
        let value = match name {
            "ENV_ODD" => "Odd\"pa\\ss w\u{f6}rd/+%&='1".to_owned(),
            "HEADER" => format!("h3ader/{word}+=&%~{number}"),
            "PEM" => "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC7x\nZ9yX8wV7uT6sR5qP4oN3mL2kJ1iH0gF\n-----END KEY-----".to_owned(),
            _ => format!("s3cr3t-{word}-{:x}", 0x7f3a_9c00 + number * 977),
        };
        (name, value)
    };
    names.into_iter().enumerate().map(value).collect()
}

/// What is searched for: each line of each secret in each spelling.
fn traces() -> Vec<(String, String)> {
    let mut traces = Vec::new();
    for (name, secret) in secrets() {
        for line in secret.lines().filter(|line| !line.starts_with("-----")) {
            traces.extend(
                spellings(line)
                    .into_iter()
                    .map(|spelled| (name.to_owned(), spelled)),
            );
        }
    }
    // The key of the one who asks, and one that somebody presents.
    traces.push(("the key".to_owned(), KEY.to_owned()));
    traces.push(("a presented key".to_owned(), PRESENTED.to_owned()));
    traces
}

fn assert_clean(what: &str, text: &[u8]) {
    for (name, spelled) in traces() {
        let at = text
            .windows(spelled.len())
            .position(|window| window == spelled.as_bytes());
        if let Some(at) = at {
            let from = at.saturating_sub(200);
            let near = text.get(from..).unwrap_or_default();
            let near = String::from_utf8_lossy(near.get(..spelled.len() + 300).unwrap_or(near));
            panic!("{what} holds {name} as `{spelled}`: …{near}…");
        }
    }
}

fn config(url: &str, folder: &Path, provider: &str) -> String {
    let given = secrets();
    let program = tools::binary("fixture-spill");
    let program = program.display();
    let exists = folder.join(&given["CWD"]);
    std::fs::create_dir_all(&exists).unwrap();
    format!(
        r#"secrets: {{ provider: file, path: "./{provider}", mappings: {{ MAPPED: "${{REAL}}", OTHER: "pre-${{REAL}}-post" }} }}
mcps:
  external:
    - {{ name: web, url: "{url}/x/${{SEGMENT}}?key=${{QUERY}}", auth: {{ type: bearer, token: "${{TOKEN}}" }}, headers: {{ X-Extra: "${{HEADER}}", X-More: "${{HEADER_DOTENV}}" }} }}
    - {{ name: written, url: "{url}/x/y", auth: {{ type: bearer, token: "{written_token}" }} }}
    - {{ name: login, url: "{login}/fails/x", headers: {{ X-Extra: "${{MAPPED}}" }} }}
    - {{ name: fails, url: "{url}/fails/${{SEGMENT}}", auth: {{ type: header, name: X-Key, value: "${{TOKEN}}" }} }}
    - {{ name: gone, url: "http://u:${{URL_PASSWORD}}@127.0.0.1:1/${{SEGMENT}}" }}
  local:
    - {{ name: child, command: "{program}", args: ["--note", "${{ARGUMENT}}", "--token={written_argument}"], cwd: ".", env: {{ A: "${{ENV}}", B: "${{ENV_ODD}}", C: "${{FROM_FILE}}", D: "${{OTHER}}", E: "${{PEM}}", F: "{written_env}" }} }}
    - {{ name: dies, command: "{program}", args: ["--dies"], env: {{ A: "${{ENV}}", B: "${{ENV_ODD}}", E: "${{PEM}}" }} }}
    - {{ name: nowhere, command: "{program}", cwd: "/nowhere/${{CWD}}" }}
    - {{ name: no-program, command: "/nowhere/${{COMMAND}}" }}
plugins:
  - {{ name: leaky, file: ./leaky.js, grants: {{ secrets: [PLUGIN_SECRET, MAPPED] }} }}
hooks:
  - {{ name: by-hand, trigger: manual, action: ./leaky-hook.js, grants: {{ secrets: [HOOK_SECRET] }} }}
  - {{ name: after, trigger: tool.after, mode: blocking, match: {{ tools: ["throw", "deny"] }}, action: ./leaky-hook.js, grants: {{ secrets: [HOOK_SECRET] }} }}
  - {{ name: behind, trigger: tool.after, mode: background, action: ./leaky-hook.js, grants: {{ secrets: [HOOK_SECRET] }} }}
  - {{ name: knock, trigger: http, action: ./leaky-hook.js, grants: {{ secrets: [HOOK_SECRET] }}, webhook: {{ secret: WEBHOOK_SECRET, scheme: github }} }}
auth:
  api_keys: [{{ name: admin, key_hash: "{hash}", permissions: ["*"] }}]
  oauth: {{ provider: github, client_id: x, client_secret: "${{OAUTH_SECRET}}", allowed_users: [] }}
"#,
        written_token = given["WRITTEN_TOKEN"],
        written_env = given["WRITTEN_ENV"],
        written_argument = given["WRITTEN_ARGUMENT"],
        login = url.replace("http://", &format!("http://u:{}@", given["WRITTEN_PASSWORD"])),
        hash = aih_tests::key_hash(KEY),
    )
}

/// Every answer of the REST API that can be read, of every address that OpenAPI names.
async fn rest(hub: &Hub) -> String {
    let mut said = String::new();
    let api = json_of(hub, "/api/v1/openapi.json", KEY).await;
    for (path, methods) in api["paths"].as_object().unwrap() {
        if methods.get("get").is_some() {
            for name in ["by-hand", "behind", "leaky", "child", "none"] {
                let path = path.replace("{name}", name).replace("{file}", name);
                said.push_str(&hub.get(&path, Some(KEY), &[]).await.2);
            }
        }
    }
    for path in ["/mcp", "/api/v1/health", "/api/v1/logs"] {
        said.push_str(
            &hub.get(path, Some(PRESENTED), &[("x-api-key", PRESENTED)])
                .await
                .2,
        );
        said.push_str(&hub.get(path, None, &[("cookie", PRESENTED)]).await.2);
        said.push_str(&hub.get(&format!("{path}?key={PRESENTED}"), None, &[]).await.2);
    }
    said.push_str(
        &hub.get("/api/v1/logs?limit=2000&level=trace", Some(KEY), &[])
            .await
            .2,
    );
    let http = reqwest::Client::new();
    for what in ["result", "deny", "throw"] {
        let request = http
            .post(hub.url("/api/v1/hooks/by-hand/trigger"))
            .bearer_auth(KEY)
            .header("content-type", "application/json")
            .body(json!({ "do": what }).to_string());
        let answer = request.send().await.unwrap();
        assert!(
            answer.status().is_success() || answer.status().is_server_error(),
            "{answer:?}"
        );
        said.push_str(&answer.text().await.unwrap());
    }
    let knock = http
        .post(hub.url("/api/v1/hooks/knock/webhook"))
        .header("x-hub-signature-256", "sha256=00");
    said.push_str(&knock.body("{}").send().await.unwrap().text().await.unwrap());
    said
}

/// Every answer to an MCP client.
async fn mcp(hub: &Hub) -> String {
    let client = Legacy::connect(hub, "/mcp", KEY).await;
    hub.until_tools(
        &client,
        &["web__result", "written__result", "child__result", "leaky__result"],
    )
    .await;
    let mut said = String::new();
    for method in [
        "tools/list",
        "resources/list",
        "prompts/list",
        "resources/templates/list",
    ] {
        said.push_str(client.request(method, json!({})).await.raw());
    }
    for path in ["/mcp/web", "/mcp/child"] {
        let one = Legacy::connect(hub, path, KEY).await;
        said.push_str(one.request("tools/list", json!({})).await.raw());
        said.push_str(one.request("prompts/get", json!({ "name": "all" })).await.raw());
        said.push_str(
            one.request("resources/read", json!({ "uri": "spill://all" }))
                .await
                .raw(),
        );
    }
    for server in ["web", "written", "child"] {
        for tool in ["result", "structured", "error", "failed", "end"] {
            let reply = client.call(&format!("{server}__{tool}"), json!({})).await;
            let raw = reply.raw();
            if tool != "end" {
                assert!(raw.contains("[redacted]"), "{server}__{tool} told nothing: {raw}");
            }
            said.push_str(raw);
        }
    }
    for tool in ["result", "structured", "logs", "throws", "late"] {
        let reply = client.call(&format!("leaky__{tool}"), json!({})).await;
        assert!(
            tool == "logs" || reply.raw().contains("[redacted]"),
            "{}",
            reply.raw()
        );
        said.push_str(reply.raw());
    }
    for server in ["login", "fails", "gone", "dies", "nowhere", "no_program"] {
        said.push_str(client.call(&format!("{server}__x"), json!({})).await.raw());
    }
    for tool in ["aih__health", "aih__list_mcps"] {
        said.push_str(client.call(tool, json!({})).await.raw());
    }
    let modern = hub.modern();
    said.push_str(modern.call("web__result", json!({})).await.raw());
    said
}

/// Every file that the hub wrote.
fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push((
                entry.path().display().to_string(),
                std::fs::read(entry.path()).unwrap(),
            ));
        }
    }
}

async fn spill(provider: &str, format: &str) {
    let given = secrets();
    let mut command = Program::command(&tools::binary("fixture-spill"));
    command.arg("--http");
    let web = Program::spawn("fixture-spill", command);
    let url = web.wait_for_line("http://").await;
    let folder = tempfile::tempdir().unwrap();
    let config = config(&url, folder.path(), provider);
    let quoted = |name: &str| format!("{name}=\"{}\"\n", given[name]);
    let dotenv = quoted("HEADER_DOTENV") + &quoted("QUERY");
    let one_file = quoted("FROM_FILE") + &quoted("REAL") + &quoted("WEBHOOK_SECRET");
    let mut put = vec![
        ("leaky.js", PLUGIN),
        ("leaky-hook.js", HOOK),
        (".env", dotenv.as_str()),
    ];
    let names = ["FROM_FILE", "REAL", "WEBHOOK_SECRET"].map(|name| (format!("folder/{name}"), name));
    match provider {
        "folder" => put.extend(
            names
                .iter()
                .map(|(path, name)| (path.as_str(), given[name].as_str())),
        ),
        _ => put.push(("file.env", one_file.as_str())),
    }
    let inside = ["HEADER_DOTENV", "QUERY", "FROM_FILE", "REAL", "WEBHOOK_SECRET"];
    let env: Vec<(&str, &str)> = given
        .iter()
        .filter(|(name, _)| !inside.contains(name) && !name.starts_with("WRITTEN"))
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let start = Start {
        config: &config,
        files: &put,
        env: &env,
        args: &["--log", "trace", "--log-format", format],
        ..Start::default()
    };
    let hub = start.run().await;
    let said = mcp(&hub).await;
    assert_clean("an answer to an MCP client", said.as_bytes());
    for name in ["dies", "nowhere", "no-program", "fails", "login", "gone"] {
        hub.logged(&["WARN", name]).await;
    }
    eventually("the background hook ran", || async {
        let health = json_of(&hub, "/api/v1/health", KEY).await;
        let hooks = health["hooks"].as_array()?;
        let behind = hooks.iter().find(|hook| hook["name"] == "behind")?;
        (behind["runs"].as_u64()? > 0).then_some(())
    })
    .await;
    let said = rest(&hub).await;
    let arrived = said.contains("[redacted]") && said.contains("the process exited with status 7");
    assert!(arrived, "{said}");
    assert_clean("an answer of the REST API", said.as_bytes());
    let output = hub.output();
    assert!(output.contains("[redacted]"), "{output}");
    assert_clean("the log", output.as_bytes());
    let mut written = Vec::new();
    files(&hub.folder.path().join("data"), &mut written);
    assert!(written.iter().any(|(path, _)| path.ends_with("aih.db")));
    for (path, bytes) in written {
        assert_clean(&path, &bytes);
    }
    let mut check = Program::command(&tools::binary("aih"));
    check
        .args(["config", "check"])
        .current_dir(hub.folder.path())
        .envs(env.iter().copied());
    let output = Program::run("aih", check, aih_tests::SOON).await;
    assert_clean("aih config check", output.text.as_bytes());
    let behind: Value = json_of(&hub, "/api/v1/registry/hooks", KEY).await;
    assert!(behind.to_string().contains("[redacted]"), "{behind}");
}

#[tokio::test]
async fn no_secret_comes_back_from_a_folder_of_files_in_json() {
    spill("folder", "json").await;
}

#[tokio::test]
async fn no_secret_comes_back_from_a_file_in_text() {
    spill("file.env", "text").await;
}

#[tokio::test]
async fn a_start_that_fails_says_no_secret() {
    let password = "s3cr3t-store-91ab";
    for config in [
        "store: { url: \"postgres://u:${PW}@127.0.0.1:1/${PW}\" }\n",
        "store: { url: \"sqlite:///dev/null/${PW}/aih.db\" }\n",
        "cache: { url: \"redis://:${PW}@h:6379\" }\nserver: { listen: \"${PW}\" }\nno-key: 1\n",
        "mcps: { external: [{ name: a, url: \"${PW}\" }] }\nname: 7\nserver: { public_url: \"${PW}\" }\nsecrets: { provider: file, path: \"./${PW}\" }\nno-key: 1\n",
    ] {
        let start = Start {
            config,
            env: &[("PW", password)],
            ..Start::default()
        };
        let (code, text) = start.fail().await;
        assert_ne!(code, Some(0), "{text}");
        for spelled in spellings(password) {
            assert!(!text.contains(&spelled), "{config}: {text}");
        }
    }
}
