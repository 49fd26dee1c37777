//! The example hooks of this repository in a real hub, in front of real servers, with real clients of both eras.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use aih_tests::{Hub, KEY, Start, eventually, real};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing,
};
use serde_json::{Value, json};

use crate::{
    JSON,
    discord::{self, Discord},
    guest, hook, post, signature, until_ran, until_ready,
};

/// An example hook, by its file.
fn example(file: &str) -> PathBuf {
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hooks");
    hooks.join(file).canonicalize().unwrap()
}

/// An entry of `mcps.local` for the memory server, which keeps what it is told in `folder`.
fn memory(folder: &Path) -> Value {
    let mut server = real::node_server("memory", "@modelcontextprotocol/server-memory/dist/index.js", &[]);
    server["env"] = json!({ "MEMORY_FILE_PATH": folder.join("memory.jsonl") });
    server
}

async fn start(local: &Value, hooks: &Value, env: &[(&str, &str)]) -> Hub {
    let config = format!("{}hooks: {hooks}\n", real::mcps(local, &json!([])));
    let hub = Start {
        config: &config,
        env,
        ..Start::default()
    }
    .run()
    .await;
    // Building takes the processor from servers that start.
    until_ready(&hub).await;
    for server in local.as_array().unwrap() {
        hub.until_up(server["name"].as_str().unwrap()).await;
    }
    hub
}

/// A real client.
#[derive(Clone, Copy, Debug)]
enum Client {
    TypeScriptV1,
    TypeScriptV2,
    PythonLegacy,
    Python,
}

const CLIENTS: [Client; 4] = [
    Client::TypeScriptV1,
    Client::TypeScriptV2,
    Client::PythonLegacy,
    Client::Python,
];

/// One of each era and of each SDK.
const ONE_OF_EACH: [Client; 2] = [Client::TypeScriptV1, Client::Python];

impl Client {
    /// What the hub knows it as.
    fn name(self) -> &'static str {
        match self {
            Self::TypeScriptV1 => "typescript-v1",
            Self::TypeScriptV2 => "typescript-v2",
            Self::PythonLegacy | Self::Python => "mcp",
        }
    }

    async fn run(self, hub: &Hub, mut job: Value) -> Value {
        job["transport"] = json!("http");
        job["url"] = json!(hub.url("/mcp"));
        job["key"] = json!(KEY);
        job["era"] = match self {
            Self::TypeScriptV1 | Self::PythonLegacy => json!("legacy"),
            Self::TypeScriptV2 | Self::Python => json!("auto"),
        };
        let answer = match self {
            Self::TypeScriptV1 => real::typescript_v1(&job).await,
            Self::TypeScriptV2 => real::typescript_v2(&job).await,
            Self::PythonLegacy | Self::Python => real::python(&job).await,
        };
        let modern = matches!(self, Self::TypeScriptV2 | Self::Python);
        let version = if modern { "2026-07-28" } else { "2025-11-25" };
        assert_eq!(answer["version"], version, "{answer}");
        answer
    }
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

/// A repository with one commit on a branch, and something that is not committed.
fn repository(folder: &Path) {
    let git = |arguments: &[&str]| {
        let done = Command::new("git").args(arguments).current_dir(folder).output();
        assert!(done.as_ref().unwrap().status.success(), "{done:?}");
    };
    git(&["init", "--quiet", "--initial-branch", "feature/bees"]);
    std::fs::write(folder.join("bees.md"), "Bees\n").unwrap();
    git(&["add", "."]);
    let who = [
        "-c",
        "user.name=Ada",
        "-c",
        "user.email=ada@example.com",
        "-c",
        "commit.gpgsign=false",
    ];
    git(&[&who[..], &["commit", "--quiet", "--message", "Keep bees"]].concat());
    std::fs::write(folder.join("bees.md"), "More bees\n").unwrap();
}

#[tokio::test]
async fn clients_get_the_context() {
    let folder = tempfile::tempdir().unwrap();
    repository(folder.path());
    let git = real::python_server(
        "git",
        "mcp-server-git",
        &["--repository", folder.path().to_str().unwrap()],
    );
    let hooks = json!([{
        "name": "context", "trigger": "conversation.start", "action": example("inject-context.js"),
        "grants": { "mcps": ["git/git_status", "git/git_log", "git/git_branch"] },
        // The git server is a program that has to answer on a busy machine.
        "limits": { "time": "60s" },
        "config": {
            "text": "Speak plainly.", "utc_offset": "+02:00",
            "git": { "server": "git", "repo_path": folder.path() },
        },
    }]);
    let hub = start(&json!([git]), &hooks, &[]).await;
    for client in CLIENTS {
        let job = json!({ "prompts": [{ "name": "aih__context", "arguments": {} }] });
        let answer = client.run(&hub, job).await;
        let told = answer["instructions"].as_str().unwrap();
        for part in [
            "Speak plainly.",
            "(UTC+02:00)",
            &format!("The caller is the key \"admin\", with {}", client.name()),
            "branch feature/bees",
            "\"Keep bees\"",
            "uncommitted changes",
        ] {
            assert!(told.contains(part), "{client:?}: `{part}` is not in {told}");
        }
        let prompt = answer["got"][0]["messages"][0]["content"]["text"]
            .as_str()
            .unwrap();
        assert!(told.ends_with(prompt), "{client:?}: {prompt}");
    }
}

#[tokio::test]
async fn people_are_asked_before_something_is_destroyed() {
    let data = tempfile::tempdir().unwrap();
    let hooks = json!([{
        "name": "guard", "trigger": "tool.before", "action": example("guard-destructive.js"),
        "on_failure": "closed", "grants": { "client": ["elicit"] }, "limits": { "time": "10m" },
        "config": { "rules": [{ "tool": "search_*", "action": "deny", "reason": "nobody searches here" }] },
    }]);
    let hub = start(&json!([memory(data.path())]), &hooks, &[]).await;
    let call =
        |name: &str, arguments: Value| json!({ "name": format!("memory__{name}"), "arguments": arguments });
    for client in CLIENTS {
        let entity = format!("bee of {client:?}");
        let delete = call("delete_entities", json!({ "entityNames": [entity] }));
        let job = json!({
            "elicit": ["decline", "accept"],
            "calls": [
                call("create_entities", json!({ "entities": [{ "name": entity, "entityType": "bee", "observations": [] }] })),
                delete,
                call("open_nodes", json!({ "names": [entity] })),
                delete,
                call("open_nodes", json!({ "names": [entity] })),
                call("search_nodes", json!({ "query": "bee" })),
            ],
        });
        let answer = client.run(&hub, job).await;
        let calls = &answer["calls"];
        let (declined, kept, deleted, gone, denied) = (&calls[1], &calls[2], &calls[3], &calls[4], &calls[5]);
        assert_ne!(calls[0]["isError"], true, "{client:?}: {calls}");
        assert_eq!(declined["isError"], true, "{client:?}: {calls}");
        assert!(
            text(declined).contains("memory/delete_entities was not run")
                && text(declined).contains("the person said no"),
            "{client:?}: {declined}"
        );
        assert!(text(kept).contains(&entity), "{client:?}: {kept}");
        assert_ne!(deleted["isError"], true, "{client:?}: {deleted}");
        assert!(!text(gone).contains(&entity), "{client:?}: {gone}");
        assert!(
            text(denied).contains("nobody searches here") && denied["isError"] == true,
            "{client:?}: {denied}"
        );
        let questions = answer["asked"].as_array().unwrap();
        assert_eq!(questions, &["elicitation/create"; 2], "{client:?}: {answer}");
    }
    for client in ONE_OF_EACH {
        let job =
            json!({ "elicit": "none", "calls": [call("delete_entities", json!({ "entityNames": ["x"] }))] });
        let answer = client.run(&hub, job).await;
        let refused = &answer["calls"][0];
        assert!(
            refused["isError"] == true && text(refused).contains("this client cannot ask its person"),
            "{client:?}: {refused}"
        );
    }
}

/// A receiver of signed events: all requests, as they came.
#[derive(Clone, Default)]
struct Audit(Arc<Mutex<Vec<(HeaderMap, String)>>>);

impl Audit {
    async fn start() -> (Self, String) {
        // The first request is refused, as by a receiver that is just starting.
        async fn take(State(audit): State<Audit>, headers: HeaderMap, body: String) -> StatusCode {
            let mut all = audit.0.lock().unwrap();
            all.push((headers, body));
            if all.len() == 1 {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            StatusCode::NO_CONTENT
        }
        let audit = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/events", routing::post(take))
            .with_state(audit.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (audit, url)
    }
}

#[tokio::test]
async fn results_are_redacted_and_audited() {
    const SECRET: &str = "the secret of the audit";
    const TOKEN: &str = "ghp_abcdefghijklmnopqrstuvwxyz0123456789";
    let data = tempfile::tempdir().unwrap();
    let (audit, url) = Audit::start().await;
    let hooks = json!([
        {
            "name": "redact", "trigger": "tool.after", "action": example("redact-secrets.py"),
            "order": 100, "on_failure": "closed",
            // A hub that has just started builds it first.
            "limits": { "time": "60s" },
        },
        {
            "name": "audit", "trigger": "tool.after", "action": guest("audit-webhook"), "mode": "background",
            "grants": { "http": [url], "secrets": ["AUDIT_WEBHOOK_SECRET"] }, "limits": { "time": "15s" },
            "config": { "url": format!("{url}/events"), "omit": ["arguments"] },
        },
    ]);
    let env = [("AUDIT_WEBHOOK_SECRET", SECRET)];
    let hub = start(&json!([memory(data.path())]), &hooks, &env).await;
    for client in ONE_OF_EACH {
        let entity = format!("person of {client:?}");
        let secrets = [
            format!("token {TOKEN}"),
            "password: hunter2hunter2".to_owned(),
            "write to ada@example.com".to_owned(),
            "likes bees".to_owned(),
        ];
        let job = json!({ "calls": [
            {
                "name": "memory__create_entities",
                "arguments": { "entities": [{ "name": entity, "entityType": "person", "observations": secrets }] },
            },
            { "name": "memory__open_nodes", "arguments": { "names": [entity] } },
        ] });
        let answer = client.run(&hub, job).await;
        for result in answer["calls"].as_array().unwrap() {
            let all = result.to_string();
            assert_ne!(result["isError"], true, "{client:?}: {result}");
            for secret in [TOKEN, "hunter2", "ada@example.com"] {
                assert!(!all.contains(secret), "{client:?}: {result}");
            }
            assert!(
                text(result).contains("[redacted: email]") && text(result).contains("likes bees"),
                "{client:?}: {result}"
            );
        }
        assert!(answer["calls"][1]["structuredContent"].is_object(), "{answer}");
    }
    let kept = std::fs::read_to_string(data.path().join("memory.jsonl")).unwrap();
    assert!(kept.contains(TOKEN), "the server itself got the token");

    // Two calls of each client, and the one that was refused twice.
    let calls = 2 * ONE_OF_EACH.len();
    let all = eventually("all events are audited", || {
        let all = audit.0.lock().unwrap().clone();
        std::future::ready((all.len() > calls).then_some(all))
    })
    .await;
    until_ran(&hub, "audit", u64::try_from(calls + 1).unwrap()).await;
    assert_eq!(audit.0.lock().unwrap().len(), calls + 1);
    let header = |(headers, _): &(HeaderMap, String), name: &str| headers[name].to_str().unwrap().to_owned();
    let mut keys: Vec<String> = Vec::new();
    for request in &all {
        assert_eq!(
            header(request, "x-hub-signature-256"),
            signature(SECRET, &request.1)
        );
        assert_eq!(header(request, "x-aih-event"), "tool.after");
        let event: Value = serde_json::from_str(&request.1).unwrap();
        assert_eq!(event["id"], header(request, "idempotency-key"));
        assert_eq!(
            (&event["server"], &event["principal"]),
            (&json!("memory"), &json!("admin"))
        );
        assert!(event.get("arguments").is_none(), "{event}");
        assert!(!request.1.contains(TOKEN), "{event}");
        keys.push(header(request, "idempotency-key"));
    }
    let first = keys.remove(0);
    let again = keys.iter().position(|key| *key == first).unwrap();
    assert_eq!(header(&all[0], "x-aih-attempt"), "1");
    assert_eq!(header(&all[again + 1], "x-aih-attempt"), "2");
    keys.sort();
    keys.dedup();
    assert_eq!(
        keys.len(),
        calls,
        "each event came once, and the refused one again"
    );
}

#[tokio::test]
async fn a_failure_reaches_discord_once() {
    let data = tempfile::tempdir().unwrap();
    let (discord, url) = Discord::start().await;
    let hooks = json!([{
        "name": "on-tool-error", "trigger": "tool.error", "action": example("notify-discord.js"), "mode": "background",
        "grants": { "http": [url], "secrets": ["DISCORD_WEBHOOK_URL"], "state": { "max_bytes": "1MB" } },
        "limits": { "time": "30s" }, "config": { "window_minutes": 60, "base": url },
    }]);
    let webhook = format!("https://discord.com{}", discord::PATH);
    let hub = start(
        &json!([memory(data.path())]),
        &hooks,
        &[("DISCORD_WEBHOOK_URL", &webhook)],
    )
    .await;
    let fail = |entity: &str| {
        let observations = json!([{ "entityName": entity, "contents": ["flies"] }]);
        json!({ "calls": [{ "name": "memory__add_observations", "arguments": { "observations": observations } }] })
    };

    // Discord wants a second of silence first; then the message comes, and the same failure again is counted.
    discord.silence(1.0);
    let mut result = Value::Null;
    for client in ONE_OF_EACH {
        let answer = client.run(&hub, fail("a bee that is not there")).await;
        result = answer["calls"][0].clone();
        assert_eq!(result["isError"], true, "{client:?}: {result}");
    }
    until_ran(&hub, "on-tool-error", 2).await;
    let messages = discord.messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    let message = messages[0].to_string();
    for part in [
        "memory/add\\\\_observations** failed",
        "not found",
        "\"value\":\"admin\"",
    ] {
        assert!(message.contains(part), "`{part}` is not in {message}");
    }
    assert_eq!(discord.complaints(), (0, vec![]));
    let by_hand = json!({ "server": "memory", "tool": "add_observations", "result": result });
    let path = "/api/v1/hooks/on-tool-error/trigger";
    let (status, told) = post(&hub, path, Some(KEY), &[JSON], &by_hand.to_string()).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["result"], json!({ "posted": false, "count": 3 }), "{told}");

    // A longer silence is left to the queue: the event is tried again, and comes once.
    discord.silence(4.0);
    CLIENTS[1].run(&hub, fail("another bee")).await;
    eventually("the second failure is told", || {
        std::future::ready((discord.messages().len() > 1).then_some(()))
    })
    .await;
    until_ran(&hub, "on-tool-error", 5).await;
    assert_eq!(discord.messages().len(), 2);
    assert_eq!(discord.complaints(), (0, vec![]), "the silence is kept");
    assert!(hook(&hub, "on-tool-error").await["failures"].as_u64().unwrap() > 0);
    assert!(!hub.output().contains("abcDEF-ghi"), "the address is a secret");
}
