use std::fs;

use aih_mcp::{ErrorCode, ProtocolVersion};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    catalogue::{Catalogue, ListKind, configs::ConfigSet, skills::SkillSet},
    provider::Peer,
    testing::{client, config, hook, principal, skill, write_files},
};

#[derive(Default)]
struct RecordingPeer(Mutex<Vec<String>>);

#[async_trait]
impl Peer for RecordingPeer {
    fn notify(&self, provider: &str, method: &str, params: Option<RawJson>) {
        let line = format!("{provider} {method} {}", params.unwrap().text());
        self.0.lock().unwrap().push(line);
    }

    async fn ask(&self, _: &str, _: &str, _: Option<RawJson>) -> Result<RawJson, ErrorObject> {
        Err(ErrorObject::internal("nobody asks"))
    }
}

fn content(dir: &std::path::Path) -> BuiltinContent {
    write_files(dir);
    fs::write(dir.join("notes/a b.txt"), "template").unwrap();
    fs::write(dir.join("logo"), [0, 1, 2]).unwrap();
    let skill = |name: &str, file: &str| skill(dir, name, file);
    let config = |key: &str, file: &str| config(dir, key, file);
    BuiltinContent {
        name: "test-hub".into(),
        skills: SkillSet::load([
            skill("review", "review.md"),
            skill("notes", "notes/SKILL.md"),
            skill("gone", "gone.md"),
        ]),
        configs: ConfigSet::load([
            config("claude_md", "CLAUDE.md"),
            config("logo", "logo"),
            config("lost", "lost"),
        ]),
        hooks: vec![hook()],
        plugins: Vec::new(),
        warnings: vec!["look here".into()],
    }
}

struct Fixture {
    _dir: tempfile::TempDir,
    hub: Arc<BuiltinProvider>,
    catalogue: Arc<Catalogue>,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let signal = ChangeSignal::default();
    let catalogue = Catalogue::new(signal.clone(), crate::names::NameLimit::DEFAULT);
    let inventory = Inventory::new(content(dir.path()), &catalogue, Hooks::none());
    let hub = BuiltinProvider::new(inventory, signal);
    catalogue.replace(vec![hub.clone()]);
    Fixture {
        _dir: dir,
        hub,
        catalogue,
    }
}

impl Fixture {
    async fn ask(&self, permissions: &[&str], method: &str, params: Value) -> Result<Value, ErrorObject> {
        let peer: Arc<dyn Peer> = Arc::new(RecordingPeer::default());
        let call = Call {
            client: client(ProtocolVersion::LATEST_LEGACY, permissions, peer.clone()),
            peer,
            cancel: CancellationToken::new(),
            depth: 0,
            trail: Default::default(),
        };
        let answer = self
            .hub
            .request(method, Some(RawJson::of(&params)), &call)
            .await?;
        Ok(answer.result.to_value())
    }

    async fn tool(&self, permissions: &[&str], name: &str, arguments: Value) -> Value {
        let params = json!({ "name": name, "arguments": arguments });
        self.ask(permissions, "tools/call", params).await.unwrap()
    }
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

#[tokio::test]
async fn every_tool_answers_what_its_output_schema_says() {
    let f = fixture();
    let calls = [
        ("list_mcps", json!({})),
        ("list_skills", json!({})),
        ("get_skill", json!({ "name": "notes" })),
        ("list_configs", json!({})),
        ("get_config", json!({ "name": "logo" })),
        ("health", json!({})),
    ];
    let offers = f.hub.offers();
    let tools: Vec<Value> = offers.tools.iter().map(RawJson::to_value).collect();
    assert_eq!(tools.len(), calls.len() + 1);
    for tool in &tools {
        let named = ["inputSchema", "outputSchema"];
        for schema in named.into_iter().filter(|schema| tool.get(schema).is_some()) {
            jsonschema::meta::validate(&tool[schema]).unwrap();
            assert_eq!(tool[schema]["type"], "object");
            assert_eq!(tool[schema]["additionalProperties"], false);
            assert!(!tool[schema].to_string().contains("\"uint"));
            assert!(!tool[schema].to_string().contains("\"null\""), "{}", tool[schema]);
        }
        assert!(tool["title"].is_string() && tool["annotations"]["readOnlyHint"].is_boolean());
    }
    for (name, arguments) in calls {
        let tool = tools.iter().find(|tool| tool["name"] == name).unwrap();
        assert!(jsonschema::is_valid(&tool["inputSchema"], &arguments));
        let result = f.tool(&["*"], name, arguments).await;
        assert_eq!(result["isError"], false, "{name}");
        match tool.get("outputSchema") {
            Some(schema) => jsonschema::validate(schema, &result["structuredContent"])
                .unwrap_or_else(|error| panic!("{name}: {error}")),
            // Some clients show nothing else where there is structured content.
            None => assert_eq!(result.get("structuredContent"), None, "{name}"),
        }
    }
}

#[tokio::test]
async fn a_skill_and_a_config_come_as_their_own_text() {
    let f = fixture();
    let skill = f.tool(&["*"], "get_skill", json!({ "name": "notes" })).await;
    assert!(text(&skill).ends_with("Use the template.\n"));
    assert_eq!(
        skill["content"][1]["text"],
        "Files of this skill: skill://aih/notes/a%20b.txt"
    );
    let uri = json!({ "uri": "skill://aih/notes/a%20b.txt" });
    let file = f.ask(&["*"], "resources/read", uri).await.unwrap();
    assert_eq!(file["contents"][0]["text"], "template");
    let config = f.tool(&["*"], "get_config", json!({ "name": "claude_md" })).await;
    assert_eq!(text(&config), "be brief\n");
    let logo = f.tool(&["*"], "get_config", json!({ "name": "logo" })).await;
    assert_eq!(logo["content"][0]["resource"]["blob"], "AAEC");
}

#[tokio::test]
async fn wrong_arguments_are_reported_in_a_sentence() {
    let f = fixture();
    for (tool, arguments, sentence) in [
        ("get_skill", json!({}), "`get_skill` needs the argument `name`"),
        (
            "get_skill",
            json!({ "name": 1 }),
            "`name` of `get_skill` must be a text that is not empty",
        ),
        (
            "get_config",
            json!({ "nme": "x" }),
            "`get_config` has no argument `nme`; it takes `name`",
        ),
        (
            "health",
            json!({ "a": 1 }),
            "`health` takes no arguments, but got `a`",
        ),
        (
            "list_mcps",
            json!([]),
            "the arguments of `list_mcps` must be an object",
        ),
        (
            "get_skill",
            json!({ "name": "x" }),
            "no such skill `x`; `list_skills` names those there are",
        ),
        ("trigger_hook", json!({ "name": "x" }), "no such hook `x`"),
        (
            "trigger_hook",
            json!({ "name": "x", "payload": 1 }),
            "`payload` of `trigger_hook` must be an object",
        ),
    ] {
        let result = f.tool(&["*"], tool, arguments).await;
        assert_eq!(
            (result["isError"].as_bool(), text(&result)),
            (Some(true), sentence)
        );
    }
    let broken = f.tool(&["*"], "get_skill", json!({ "name": "gone" })).await;
    assert!(text(&broken).starts_with("skill `gone` cannot be read: "));
    let unknown = f.ask(&["*"], "tools/call", json!({ "name": "fly" })).await;
    assert_eq!(
        unknown.unwrap_err(),
        ErrorObject::invalid_params("unknown tool: fly")
    );
}

#[tokio::test]
async fn what_a_key_may_not_use_is_not_there() {
    let f = fixture();
    let some: &[&str] = &["skills/review", "configs/logo"];
    let skills = f.tool(some, "list_skills", json!({})).await;
    assert_eq!(skills["structuredContent"]["skills"].as_array().unwrap().len(), 1);
    let hidden = f.tool(some, "get_skill", json!({ "name": "notes" })).await;
    let absent = f.tool(some, "get_skill", json!({ "name": "xotes" })).await;
    assert_eq!(text(&hidden).replace("notes", "xotes"), text(&absent));
    let hidden = f.tool(some, "get_config", json!({ "name": "claude_md" })).await;
    assert_eq!(hidden["isError"], true);
    let health = f.tool(some, "health", json!({})).await;
    assert_eq!(health["structuredContent"]["hooks"], json!([]));
    assert_eq!(health["structuredContent"].get("warnings"), None);

    for (method, params) in [
        ("prompts/get", json!({ "name": "notes" })),
        ("resources/read", json!({ "uri": "skill://aih/notes/SKILL.md" })),
        ("resources/read", json!({ "uri": "config://claude_md" })),
        ("resources/read", json!({ "uri": "config://../.env" })),
        ("skills/get", json!({ "uri": "skill://aih/notes/SKILL.md" })),
        ("resources/directory/read", json!({ "uri": "skill://aih/notes" })),
    ] {
        assert!(f.ask(some, method, params.clone()).await.is_err(), "{method}");
        if !params.to_string().contains(".env") {
            assert!(f.ask(&["*"], method, params).await.is_ok(), "{method}");
        }
    }
    let listed = f.ask(some, "skills/list", json!({})).await.unwrap();
    assert_eq!(listed["skills"].as_array().unwrap().len(), 1);

    let snapshot = f.catalogue.snapshot_full();
    let names = |kind| -> Vec<String> {
        let style = crate::catalogue::ListStyle::DEFAULT;
        let pages = snapshot.list(&crate::catalogue::Scope::All, kind, &principal(some), style);
        let page: Value = pages[0].items.to_value();
        page.as_array()
            .unwrap()
            .iter()
            .map(|i| i["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(ListKind::Prompts), ["aih__review"]);
    assert_eq!(names(ListKind::Resources), ["review", "logo"]);
    assert!(names(ListKind::Tools).contains(&"aih__get_skill".to_owned()));
}

#[tokio::test]
async fn errors_fit_the_client() {
    let f = fixture();
    let params = RawJson::of(&json!({ "uri": "skill://aih/none/SKILL.md" }));
    for (version, code) in [
        (ProtocolVersion::LATEST_LEGACY, ErrorCode::RESOURCE_NOT_FOUND),
        (ProtocolVersion::LATEST, ErrorCode::INVALID_PARAMS),
    ] {
        let client = client(version, &["*"], Arc::new(RecordingPeer::default()));
        let error = f
            .hub
            .answer("resources/read", Some(&params), &client)
            .unwrap_err();
        assert_eq!(error.code, code);
    }
    let client = client(
        ProtocolVersion::LATEST,
        &["*"],
        Arc::new(RecordingPeer::default()),
    );
    let list = f.hub.answer("skills/list", None, &client).unwrap();
    assert_eq!(list["cacheScope"], "private");
    let error = f.hub.answer("tasks/get", None, &client).unwrap_err();
    assert_eq!(error.code, ErrorCode::METHOD_NOT_FOUND);
}

#[tokio::test]
async fn names_are_completed() {
    let f = fixture();
    let complete = async |uri: &str, argument: &str, value: &str| {
        let params = json!({
            "ref": { "type": "ref/resource", "uri": uri },
            "argument": { "name": argument, "value": value },
        });
        let result = f.ask(&["*"], "completion/complete", params).await.unwrap();
        result["completion"]["values"].clone()
    };
    assert_eq!(
        complete("skill://aih/{name}/SKILL.md", "name", "n").await,
        json!(["notes"])
    );
    assert_eq!(
        complete("config://{name}", "name", "l").await,
        json!(["logo", "lost"])
    );
    assert_eq!(complete("config://{name}", "other", "").await, json!([]));
    assert_eq!(complete("test://x", "name", "").await, json!([]));
}

#[tokio::test]
async fn subscribers_are_notified_of_what_changed_and_of_nothing_else() {
    let f = fixture();
    let peer = Arc::new(RecordingPeer::default());
    let reader = client(ProtocolVersion::LATEST_LEGACY, &["*"], peer.clone());
    f.hub.subscribe("config://claude_md", &reader).await.unwrap();
    f.hub.subscribe("config://logo", &reader).await.unwrap();
    assert!(f.hub.subscribe("config://none", &reader).await.is_err());
    let dir = tempfile::tempdir().unwrap();
    let mut changed = content(dir.path());
    fs::write(dir.path().join("CLAUDE.md"), "be kind\n").unwrap();
    changed.configs = ConfigSet::load([
        config(dir.path(), "claude_md", "CLAUDE.md"),
        config(dir.path(), "logo", "logo"),
    ]);
    f.hub.replace(changed);
    assert_eq!(
        *peer.0.lock().unwrap(),
        [r#"aih notifications/resources/updated {"uri":"config://claude_md"}"#]
    );
    f.hub.release(&reader.key);
    f.hub.replace(BuiltinContent::default());
    assert_eq!(peer.0.lock().unwrap().len(), 1);
}

#[test]
fn the_configuration_becomes_content() {
    let dir = tempfile::tempdir().unwrap();
    content(dir.path());
    let file = dir.path().join("aih-config.yaml");
    let yaml = "version: \"1.0\"\nname: hub\nskills:\n  - name: review\n    file: ./review.md\n  - name: notes\n    \
                file: ./notes/SKILL.md\nconfigs:\n  claude_md:\n    file: ./CLAUDE.md\nhooks:\n  - name: greet\n    \
                trigger: conversation.start\n    action: ./hooks/gone.js\n";
    fs::write(&file, yaml).unwrap();
    let loaded = crate::config::Config::load(&file).unwrap();
    let content = BuiltinContent::load(&loaded);
    let all = Principal::anonymous_admin();
    let skills = registry::skills(&content, &all);
    let files: Vec<_> = skills.iter().map(|skill| skill.file.as_str()).collect();
    assert_eq!(files, ["notes/SKILL.md", "review.md"]);
    assert_eq!(
        skills.iter().filter_map(|skill| skill.error.as_ref()).next(),
        None
    );
    assert_eq!(content.skills.get("notes").unwrap().files.len(), 1);
    assert_eq!(content.hooks[0].action, "hooks/gone.js");
    assert_eq!(
        content.hooks[0].disabled.as_deref(),
        Some("hooks/gone.js is not there")
    );
    assert_eq!(
        content.configs.get("claude_md").unwrap().text(),
        Some("be brief\n")
    );
}
