use std::fs;
use std::path::Path;

use aih_mcp::RawJson;
use axum::body::Body;
use http::header::{ACCEPT, ALLOW, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::{
    access::Caller,
    builtin::BuiltinProvider,
    catalogue::{configs::ConfigSet, skills::SkillSet},
    hooks::Hooks,
    observe::{LogLevel, LogRow},
    provider::{ChangeSignal, Offers, ProviderState},
    registry::{BuiltinContent, PluginInfo},
    testing::{ListingProvider, config, hook, principal, skill, tools, write_files},
};

fn content(dir: &Path) -> BuiltinContent {
    write_files(dir);
    fs::create_dir_all(dir.join("notes/parts")).unwrap();
    fs::write(dir.join("notes/parts/a b.html"), "<p>").unwrap();
    fs::write(dir.join(".cursorrules"), "rules\n").unwrap();
    fs::write(dir.join(".env"), "SECRET=1\n").unwrap();
    let skill = |name: &str, file: &str| skill(dir, name, file);
    let config = |key: &str, file: &str| config(dir, key, file);
    BuiltinContent {
        name: "test-hub".into(),
        skills: SkillSet::load([
            skill("review", "review.md"),
            skill("notes", "notes/SKILL.md"),
            skill("gone", "gone.md"),
            skill("odd/näme %2f", "review.md"),
        ]),
        configs: ConfigSet::load([config("claude_md", "CLAUDE.md"), config("cursor", ".cursorrules")]),
        hooks: vec![hook()],
        plugins: vec![PluginInfo {
            name: "scraper".into(),
            description: Some("Scrapes".into()),
            file: "plugins/scraper.js".into(),
            runtime: "node",
            disabled: None,
        }],
        warnings: vec!["aih-config.yaml:3: look".into()],
    }
}

struct Hub {
    _dir: tempfile::TempDir,
    router: Router,
    logs: LogBuffer,
}

fn hub() -> Hub {
    hub_with(None)
}

fn hub_with(store: Option<Store>) -> Hub {
    let dir = tempfile::tempdir().unwrap();
    let signal = ChangeSignal::default();
    let stripe = ListingProvider::new(
        "my stripe",
        Offers {
            tools: tools(["create_link", "delete_link"]),
            server_info: Some(RawJson::of(&json!({ "name": "stripe", "title": "Payments" }))),
            ..Offers::default()
        },
    );
    stripe.set(ProviderState::Down, Some("connection refused"));
    let catalogue = Catalogue::new(signal.clone(), crate::names::NameLimit::DEFAULT);
    let inventory = Inventory::new(content(dir.path()), &catalogue, Hooks::none());
    catalogue.replace(vec![BuiltinProvider::new(inventory.clone(), signal), stripe]);
    let logs = LogBuffer::new();
    let mut state = ApiState::new(catalogue, inventory, logs.clone());
    if let Some(store) = store {
        state = state.with_store(store);
    }
    let router = router(state);
    Hub {
        _dir: dir,
        router,
        logs,
    }
}

struct Reply {
    response: Response<()>,
    body: String,
}

impl Reply {
    fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    fn header(&self, name: http::HeaderName) -> &str {
        self.response
            .headers()
            .get(name)
            .map_or("", |v| v.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The detail of a problem, after a look at its form.
    fn problem(&self) -> (u16, String) {
        assert_eq!(
            self.header(CONTENT_TYPE),
            "application/problem+json",
            "{}",
            self.body
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status());
        assert_eq!(problem["type"], "about:blank");
        assert!(problem["title"].is_string());
        (self.status(), problem["detail"].as_str().unwrap().to_owned())
    }
}

impl Hub {
    async fn send(&self, permissions: Option<&[&str]>, mut request: Request<Body>) -> Reply {
        if let Some(permissions) = permissions {
            request
                .extensions_mut()
                .insert(Caller(Arc::new(principal(permissions))));
        }
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply {
            response: Response::from_parts(parts, ()),
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn get(&self, permissions: &[&str], path: &str) -> Reply {
        let request = Request::get(path).body(Body::empty()).unwrap();
        self.send(Some(permissions), request).await
    }

    fn log(&self, level: LogLevel, target: &str) {
        self.logs.push(LogRow {
            seq: 0,
            time: "2026-07-28T00:00:00Z".into(),
            level,
            target: target.into(),
            message: "m".into(),
            fields: Map::new(),
            truncated: false,
        });
    }
}

fn names(list: &Value) -> Vec<&str> {
    let items = list.as_array().unwrap();
    items.iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_registry_shows_all_five() {
    let hub = hub();
    let all = hub.get(&["*"], "/api/v1/registry").await.json();
    assert_eq!(
        (&all["name"], all["version"].is_string()),
        (&json!("test-hub"), true)
    );
    assert_eq!(
        all["mcps"][0],
        json!({
            "name": "my stripe", "kind": "external", "description": "Payments", "transport": "http",
            "state": "down", "enabled": true, "last_error": "connection refused",
            "tools": 2, "prompts": 0, "resources": 0, "protocol": "2025-11-25",
            "endpoints": { "mcp": "/mcp/my%20stripe", "sse": "/mcp/my%20stripe/sse" },
        })
    );
    assert_eq!(names(&all["skills"]), ["gone", "notes", "odd/näme %2f", "review"]);
    assert!(all["skills"][0]["error"].as_str().unwrap().contains("gone.md"));
    assert_eq!(all["skills"][1]["description"], "Write notes");
    assert_eq!(names(&all["configs"]), ["claude_md", "cursor"]);
    assert_eq!(all["configs"][0]["content_type"], "text/markdown; charset=utf-8");
    assert_eq!(names(&all["hooks"]), ["greet"]);
    assert_eq!(all["plugins"][0]["state"], "disabled");
    for kind in ["mcps", "skills", "plugins", "hooks", "configs"] {
        let one = hub.get(&["*"], &format!("/api/v1/registry/{kind}")).await.json();
        assert_eq!(one[kind], all[kind]);
        assert_eq!(one.as_object().unwrap().len(), 1);
    }
    assert_eq!(
        hub.get(&["*"], "/api/v1/skills").await.json()["skills"],
        all["skills"]
    );
    assert_eq!(
        hub.get(&["*"], "/api/v1/configs").await.json()["configs"],
        all["configs"]
    );
}

#[tokio::test]
async fn what_a_key_may_not_see_is_absent_or_not_found() {
    let hub = hub();
    let some: &[&str] = &["mcps/my stripe/create_*", "skills/review"];
    let all = hub.get(some, "/api/v1/registry").await.json();
    assert_eq!(all["mcps"][0]["tools"], 1);
    assert_eq!(names(&all["skills"]), ["review"]);
    for kind in ["plugins", "hooks", "configs"] {
        assert_eq!(all[kind], json!([]));
    }
    let nothing = hub.get(&[], "/api/v1/registry").await.json();
    assert_eq!(nothing["mcps"], json!([]));
    for (path, absent) in [
        ("/api/v1/skills/notes", "/api/v1/skills/none"),
        (
            "/api/v1/skills/notes/files/parts/a%20b.html",
            "/api/v1/skills/none/files/parts/a%20b.html",
        ),
        ("/api/v1/configs/claude_md", "/api/v1/configs/none"),
        ("/api/v1/skills/gone", "/api/v1/skills/none"),
    ] {
        let hidden = hub.get(some, path).await.problem();
        let absent = hub.get(some, absent).await.problem();
        assert_eq!((hidden.0, absent.0), (404, 404), "{path}");
        assert_eq!(hidden.1.split('`').next(), absent.1.split('`').next(), "{path}");
    }
    let health = hub.get(some, "/api/v1/health").await.json();
    assert_eq!(health["hooks"], json!([]));
    assert_eq!(health.get("warnings"), None);
}

#[tokio::test]
async fn health_tells_of_the_store_to_keys_that_may_see_it() {
    let store = Store::in_memory().await.unwrap();
    let hub = hub_with(Some(store.clone()));
    let full = hub.get(&["admin/store"], "/api/v1/health").await.json();
    assert_eq!(full["store"]["schema"], store.health().await.unwrap().schema);
    assert_eq!(full["store"]["events_queued"], 0);
    assert_eq!(full["status"], "ok");
    let hidden = hub.get(&["skills/*"], "/api/v1/health").await.json();
    assert_eq!(hidden.get("store"), None);
    store.close().await;
    let full = hub.get(&["admin/*"], "/api/v1/health").await.json();
    assert_eq!(
        (&full["store"]["error"], &full["status"]),
        (&json!("the store is closed"), &json!("degraded"))
    );
}

#[tokio::test]
async fn a_skill_is_markdown_or_json() {
    let hub = hub();
    let markdown = hub.get(&["*"], "/api/v1/skills/review").await;
    assert_eq!(markdown.header(CONTENT_TYPE), "text/markdown; charset=utf-8");
    assert_eq!(markdown.body, "# Review\n\nLook twice.\n");
    let json = hub.get(&["*"], "/api/v1/skills/notes?format=json").await;
    assert_eq!(json.header(CONTENT_TYPE), "application/json");
    assert_eq!(json.json()["files"][0]["path"], "parts/a b.html");
    let request = Request::get("/api/v1/skills/notes").header(ACCEPT, "application/json");
    let accepted = hub.send(Some(&["*"]), request.body(Body::empty()).unwrap()).await;
    assert_eq!(accepted.body, json.body);
    let forced = Request::get("/api/v1/skills/notes?format=markdown").header(ACCEPT, "application/json");
    let forced = hub.send(Some(&["*"]), forced.body(Body::empty()).unwrap()).await;
    assert_eq!(forced.header(CONTENT_TYPE), "text/markdown; charset=utf-8");

    let file = hub
        .get(&["*"], "/api/v1/skills/notes/files/parts/a%20b.html")
        .await;
    assert_eq!(
        (file.body.as_str(), file.header(CONTENT_TYPE)),
        ("<p>", "text/html; charset=utf-8")
    );
    assert!(
        file.header(http::header::CONTENT_SECURITY_POLICY)
            .contains("sandbox")
    );
    let manifest = hub.get(&["*"], "/api/v1/skills/notes/files/SKILL.md").await;
    assert!(manifest.body.starts_with("---\nname: notes"));
    let broken = hub.get(&["*"], "/api/v1/skills/gone").await.problem();
    assert_eq!(broken.0, 503);
}

#[tokio::test]
async fn names_are_decoded_once_and_reach_no_file() {
    let hub = hub();
    let odd = hub.get(&["*"], "/api/v1/skills/odd%2Fn%C3%A4me%20%252f").await;
    assert_eq!(odd.status(), 200);
    for path in [
        "/api/v1/configs/..%2F.env",
        "/api/v1/configs/.env",
        "/api/v1/configs/%252e%252e%2F.env",
        "/api/v1/skills/notes/files/..%2F..%2F.env",
        "/api/v1/skills/notes/files/../../.env",
        "/api/v1/skills/notes/files//etc/passwd",
        "/api/v1/skills/%00",
        "/api/v1/skills/%FF",
        "/api/v1/skills/%zz",
        "/api/v1/skills/",
        "/api/v1/configs/claude_md/",
        "/api/v1/none",
        "/api/v2",
        "/api",
    ] {
        assert_eq!(hub.get(&["*"], path).await.problem().0, 404, "{path}");
    }
}

#[tokio::test]
async fn what_the_caller_has_is_not_sent_again() {
    let hub = hub();
    for path in [
        "/api/v1/configs/cursor",
        "/api/v1/skills/review",
        "/api/v1/skills/notes?format=json",
        "/api/v1/registry",
        "/api/v1/openapi.json",
    ] {
        let first = hub.get(&["*"], path).await;
        let tag = first.header(ETAG).to_owned();
        assert!(tag.starts_with('"') && !first.body.is_empty(), "{path}");
        let again = Request::get(path).header(IF_NONE_MATCH, format!("\"x\", W/{tag}"));
        let again = hub.send(Some(&["*"]), again.body(Body::empty()).unwrap()).await;
        assert_eq!(
            (again.status(), again.body.as_str(), again.header(ETAG)),
            (304, "", &*tag)
        );
        let head = Request::head(path).body(Body::empty()).unwrap();
        let head = hub.send(Some(&["*"]), head).await;
        assert_eq!((head.status(), head.body.as_str()), (200, ""));
        assert_eq!(head.header(ETAG), tag);
        assert_eq!(head.header(CONTENT_LENGTH), first.body.len().to_string());
    }
    let one = hub.get(&["*"], "/api/v1/registry").await;
    let other = hub.get(&["skills/*"], "/api/v1/registry").await;
    assert_ne!(one.header(ETAG), other.header(ETAG));
}

#[tokio::test]
async fn configs_are_their_files() {
    let hub = hub();
    let config = hub.get(&["configs/*"], "/api/v1/configs/cursor").await;
    assert_eq!(
        (config.body.as_str(), config.header(CONTENT_TYPE)),
        ("rules\n", "text/plain; charset=utf-8")
    );
}

#[tokio::test]
async fn health_is_short_without_a_key() {
    let hub = hub();
    let request = Request::get("/api/v1/health").body(Body::empty()).unwrap();
    let alive = hub.send(None, request).await;
    assert_eq!((alive.status(), alive.body.as_str()), (200, r#"{"status":"ok"}"#));
    let full = hub.get(&["*"], "/api/v1/health").await;
    let full = full.json();
    assert_eq!(full["status"], "degraded");
    assert_eq!(full["mcps"][0]["last_error"], "connection refused");
    assert_eq!(full["mcps"][0]["restarts"], 2);
    assert_eq!(full["hooks"][0]["state"], "disabled");
    assert_eq!(full["warnings"], json!(["aih-config.yaml:3: look"]));
    assert!(full["uptime_seconds"].is_u64());
    let request = Request::get("/api/v1/registry").body(Body::empty()).unwrap();
    assert_eq!(hub.send(None, request).await.problem().0, 401);
}

#[tokio::test]
async fn logs_need_their_permission_and_can_be_narrowed() {
    let hub = hub();
    hub.log(LogLevel::Info, "aih::gateway");
    hub.log(LogLevel::Warn, "aih::upstream");
    hub.log(LogLevel::Error, "aih::upstream::http");
    let refused = hub.get(&["mcps/*"], "/api/v1/logs").await.problem();
    assert_eq!(
        refused,
        (403, "this key lacks the permission `admin/logs`".to_owned())
    );
    let seqs = async |query: &str| -> Vec<u64> {
        let reply = hub
            .get(&["admin/logs"], &format!("/api/v1/logs{query}"))
            .await
            .json();
        let rows = reply["logs"].as_array().unwrap();
        rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect()
    };
    assert_eq!(seqs("").await, [1, 2, 3]);
    assert_eq!(seqs("?level=warn&target=aih::upstream").await, [2, 3]);
    assert_eq!(seqs("?limit=1").await, [3]);
    assert_eq!(seqs("?since=1&limit=1").await, [2]);
    assert_eq!(seqs("?since=3").await, [0; 0]);
    for query in [
        "?level=loud",
        "?limit=-1",
        "?limit=many",
        "?lvl=info",
        "?since=",
        "?level=info&level=warn",
    ] {
        let bad = hub.get(&["*"], &format!("/api/v1/logs{query}")).await.problem();
        assert_eq!(bad.0, 400, "{query}: {}", bad.1);
    }
    let bad = hub
        .get(&["*"], "/api/v1/skills/review?format=xml")
        .await
        .problem();
    assert_eq!(bad.0, 400);
}

#[tokio::test]
async fn metrics_are_for_keys_that_may_read_them() {
    let hub = hub_with(Some(Store::in_memory().await.unwrap()));
    let refused = hub.get(&["mcps/*", "admin/logs"], "/api/v1/metrics").await;
    assert_eq!(
        refused.problem(),
        (403, "this key lacks the permission `admin/metrics`".to_owned())
    );
    let got = hub.get(&["admin/metrics"], "/api/v1/metrics").await;
    assert_eq!(
        got.header(CONTENT_TYPE),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = &got.body;
    for line in [
        "# TYPE aih_up gauge",
        "aih_up{kind=\"mcp\",name=\"my stripe\"} 0",
        "# TYPE aih_hook_events_lost_total counter",
        "aih_hook_events{state=\"dead\"} 0",
        "aih_store_bytes 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
    }
    let request = Request::get("/api/v1/metrics").header(
        ACCEPT,
        "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
    );
    let request = request.body(Body::empty()).unwrap();
    let got = hub.send(Some(&["admin/metrics"]), request).await;
    assert_eq!(
        got.header(CONTENT_TYPE),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(got.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_hook_that_is_not_there_is_not_found() {
    let hub = hub();
    let post = |content_type: &'static str, body: String| {
        Request::post("/api/v1/hooks/greet/trigger")
            .header(CONTENT_TYPE, content_type)
            .body(Body::from(body))
            .unwrap()
    };
    for (content_type, body, status) in [
        ("application/json", String::new(), 404),
        ("application/json; charset=utf-8", r#"{"a":1}"#.into(), 404),
        ("application/json", "null".into(), 404),
        ("application/json", "{".into(), 400),
        ("application/json", "[]".into(), 400),
        ("application/json", "[".repeat(100_000), 400),
        ("text/plain", "{}".into(), 415),
        ("application/json", " ".repeat(MAX_BODY + 1), 413),
    ] {
        let reply = hub.send(Some(&["*"]), post(content_type, body)).await;
        assert_eq!(reply.problem().0, status, "{content_type}");
    }
    let reply = hub
        .send(Some(&["*"]), post("application/json", String::new()))
        .await;
    assert_eq!(reply.problem().1, "no such hook `greet`");
}

#[tokio::test]
async fn a_wrong_method_says_what_works() {
    let hub = hub();
    let request = Request::delete("/api/v1/skills/review")
        .body(Body::empty())
        .unwrap();
    let reply = hub.send(Some(&["*"]), request).await;
    assert_eq!(reply.problem().0, 405);
    assert_eq!(reply.header(ALLOW), "GET,HEAD");
    let reply = hub.get(&["*"], "/api/v1/hooks/greet/trigger").await;
    assert_eq!(
        (reply.problem().0, reply.header(ALLOW)),
        (StatusCode::METHOD_NOT_ALLOWED.as_u16(), "POST")
    );
}

/// The document is committed, so that a change of the API is seen in review. `UPDATE_GOLDEN=1` writes it anew.
#[tokio::test]
async fn the_description_is_the_committed_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let document = description();
    let text = format!("{document:#}\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "docs/openapi.json is out of date: UPDATE_GOLDEN=1 cargo test -p aih description"
    );
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(hub().get(&[], "/api/v1/openapi.json").await.json(), document);
}

#[test]
fn every_reference_of_the_description_leads_somewhere() {
    fn walk(value: &Value, document: &Value) {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        match value {
            Value::Object(object) => object.values().for_each(|v| walk(v, document)),
            Value::Array(items) => items.iter().for_each(|v| walk(v, document)),
            _ => {}
        }
    }
    let document = description();
    walk(&document, &document);
    let paths = document["paths"].as_object().unwrap();
    for operation in paths.values().flat_map(|item| item.as_object().unwrap().values()) {
        for response in operation["responses"].as_object().unwrap().values() {
            assert!(response["description"].is_string(), "{operation}");
        }
    }
    let ids: Vec<&str> = paths
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
}
