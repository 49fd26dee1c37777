//! Skills and configs that cannot be read, or not as they are written: who is told, and where.

use std::time::Duration;

use aih_tests::{Hub, KEY, Legacy, Program, Start, tools};
use serde_json::{Value, json};

const CONFIG: &str = "skills:\n  - { name: good, file: skills/good.md }\n  - { name: colon, file: skills/colon.md }\n  \
                      - { name: list, file: skills/list.md }\n  - { name: latin, file: skills/latin.md }\n  \
                      - { name: gone, file: skills/gone.md }\nconfigs:\n  folder: { file: skills }\n";
const FILES: &[(&str, &str)] = &[
    (
        "skills/good.md",
        "---\nname: good\ndescription: \"Good: it is\"\n---\nBe good.\n",
    ),
    (
        "skills/colon.md",
        "---\nname: colon\ndescription: Use when: a test fails\n---\nLook at it.\n",
    ),
    ("skills/list.md", "---\n- name\n- list\n---\nText.\n"),
    ("skills/latin.md", "---\nname: latin\n"),
];

/// What each of the broken ones is called by, and a part of what is said of it.
const TOLD: [(&str, &str); 4] = [
    (
        "skill `colon`",
        "`skills/colon.md` line 3: the value of `description` holds a colon",
    ),
    (
        "skill `list`",
        "`skills/list.md` has a front matter without `key: value` lines",
    ),
    (
        "skill `latin`",
        "`skills/latin.md` has a front matter without a closing `---` line",
    ),
    ("config `folder`", "is a folder"),
];

#[tokio::test]
async fn what_cannot_be_read_is_told_by_the_check_at_the_start_and_in_health() {
    let hub = Start {
        config: CONFIG,
        files: FILES,
        ..Start::default()
    }
    .run()
    .await;
    let mut check = Program::command(&tools::binary("aih"));
    check.args(["config", "check"]).current_dir(hub.folder.path());
    let checked = Program::run("aih", check, Duration::from_secs(60)).await;
    assert!(checked.status.success(), "{}", checked.text);
    let health: Value = serde_json::from_str(&hub.get("/api/v1/health", Some(KEY), &[]).await.2).unwrap();
    let warnings: Vec<&str> = health["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for (what, why) in TOLD {
        let told = |text: &str| text.contains(what) && text.contains(why);
        assert!(checked.text.lines().any(told), "{what}: {}", checked.text);
        assert!(
            warnings.iter().any(|warning| told(warning)),
            "{what}: {warnings:?}"
        );
        hub.logged(&["WARN", what, why]).await;
    }
    assert_eq!(checked.text.matches("gone.md").count(), 1, "{}", checked.text);
    assert_eq!(health["status"], "degraded");
    let unreadable: Vec<_> = health["unreadable"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["kind"], &one["name"]))
        .collect();
    let (skill, config) = (json!("skill"), json!("config"));
    assert_eq!(
        unreadable,
        [
            (&skill, &json!("gone")),
            (&skill, &json!("latin")),
            (&skill, &json!("list")),
            (&config, &json!("folder"))
        ]
    );
}

#[tokio::test]
async fn a_skill_with_a_colon_is_served_as_it_is_meant() {
    let hub = Start {
        config: CONFIG,
        files: FILES,
        ..Start::default()
    }
    .run()
    .await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    let listed = client.call("aih__list_skills", json!({})).await;
    let skills = listed.result()["structuredContent"]["skills"]
        .as_array()
        .unwrap()
        .clone();
    let colon = skills.iter().find(|skill| skill["name"] == "colon").unwrap();
    assert_eq!(colon["description"], "Use when: a test fails");
    // What clients of the skills extension read is YAML.
    let read = client
        .request("resources/read", json!({ "uri": colon["uri"] }))
        .await;
    let text = read.result()["contents"][0]["text"].as_str().unwrap().to_owned();
    assert!(text.contains("description: \"Use when: a test fails\""), "{text}");
}

#[tokio::test]
async fn a_reload_tells_it_too() {
    let hub = Hub::start("skills: [{ name: good, file: good.md }]\n").await;
    std::fs::write(hub.folder.path().join("good.md"), "---\n3\n---\n").unwrap();
    let said = hub.reload().await;
    assert!(
        said["warnings"][0]
            .as_str()
            .unwrap()
            .contains("skill `good` is not served"),
        "{said}"
    );
    std::fs::write(hub.folder.path().join("good.md"), "Good.\n").unwrap();
    assert_eq!(hub.reload().await["warnings"], json!([]));
}
