//! The first key, and hubs without keys.

use aih_tests::{Hub, KEY, Start, client::http, eventually, key_hash};
use serde_json::{Value, json};

use crate::json_of;

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
    hub.logged(&["claude mcp add", &hub.base]).await;
    let mut files = vec![hub.folder.path().to_owned()];
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
    let kept = std::fs::read(hub.folder.path().join("data/keys.json")).unwrap();
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

#[tokio::test]
async fn a_hub_that_asks_for_no_key_makes_none_that_nobody_is_shown() {
    let hub = Start {
        config: "auth:\n  api_keys: []\n",
        args: &["--no-auth"],
        ..Start::default()
    };
    let hub = hub.run().await;
    let answer = http().post(hub.url("/api/v1/reload")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!hub.folder.path().join("data/keys.json").exists());
    // The first start that asks for a key makes one and shows it.
    let hub = hub.restart().await;
    hub.logged(&["aih_"]).await;
}

/// The key with which a hub is used that has no other.
fn shown_key(hub: &Hub) -> String {
    let output = hub.output();
    let from = output.find("aih_").unwrap_or_else(|| panic!("no key: {output}"));
    let key = output[from..].chars();
    key.take_while(|c| c.is_ascii_alphanumeric() || "_-".contains(*c))
        .collect()
}

async fn reload(hub: &Hub, key: &str) -> (u16, Value) {
    let request = http().post(hub.url("/api/v1/reload")).bearer_auth(key);
    let answer = request.send().await.unwrap();
    let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
    (status, serde_json::from_str(&body).unwrap())
}

/// Configurations that leave no key.
const NO_KEYS: [&str; 4] = [
    "",
    "auth: {}\n",
    "auth:\n  api_keys: []\n",
    "auth:\n  api_keys:\n    - { name: later, key_hash: \"sha256:abc123...\", permissions: [\"*\"] }\n",
];

fn write(hub: &Hub, rest: &str) {
    let path = hub.folder.path().join("aih-config.yaml");
    std::fs::write(path, format!("version: \"1.0\"\n{rest}")).unwrap();
}

#[tokio::test]
async fn a_reload_that_leaves_no_key_is_refused_and_says_what_to_do() {
    let hub = Hub::start("").await;
    for (round, rest) in NO_KEYS.into_iter().enumerate() {
        write(&hub, rest);
        let (status, problem) = reload(&hub, KEY).await;
        assert_eq!(status, 422, "{rest}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("auth.api_keys") && detail.contains("aih key new"),
            "{rest}: {detail}"
        );
        let refused = async |times: usize| {
            eventually("the refusal is in the log", || async {
                (hub.rows("the old one stays") == times).then_some(())
            })
            .await;
        };
        refused(2 * round + 1).await;
        hub.program.signal(nix::sys::signal::Signal::SIGHUP);
        refused(2 * round + 2).await;
        let (status, ..) = hub.get("/api/v1/registry", Some(KEY), &[]).await;
        assert_eq!(status, 200, "{rest}: the old key counts");
        assert!(!hub.folder.path().join("data/keys.json").exists(), "{rest}");
    }
}

#[tokio::test]
async fn the_first_key_counts_again_when_no_other_does_and_that_is_said() {
    let hub = Hub::start("auth:\n  api_keys: []\n").await;
    hub.logged(&["aih_"]).await;
    let first = shown_key(&hub);
    let (status, answer) = reload(&hub, &first).await;
    assert_eq!((status, &answer["warnings"]), (200, &json!([])), "{answer}");
    let mine = format!(
        "auth:\n  api_keys:\n    - {{ name: mine, key_hash: \"{}\", permissions: [\"*\"] }}\n",
        key_hash(KEY)
    );
    write(&hub, &mine);
    let (status, answer) = reload(&hub, &first).await;
    assert_eq!(status, 200, "a key that removes itself hears of it: {answer}");
    let (status, ..) = hub.get("/api/v1/registry", Some(&first), &[]).await;
    assert_eq!(status, 401);
    write(&hub, "auth:\n  api_keys: []\n");
    let (status, answer) = reload(&hub, KEY).await;
    assert_eq!(status, 200);
    let said = answer["warnings"].to_string();
    assert!(
        said.contains("the first key of data/keys.json counts again"),
        "{said}"
    );
    hub.logged(&["counts again"]).await;
    for (key, expected) in [(&*first, 200), (KEY, 401)] {
        let (status, ..) = hub.get("/api/v1/registry", Some(key), &[]).await;
        assert_eq!(status, expected);
    }
}

#[tokio::test]
async fn keys_with_which_nobody_may_reload_are_warned_of() {
    let hub = Hub::start("").await;
    let narrow = format!(
        "auth:\n  api_keys:\n    - {{ name: admin, key_hash: \"{}\", permissions: [\"mcps/*\", \"admin/logs\"] }}\n",
        key_hash(KEY)
    );
    write(&hub, &narrow);
    let (status, answer) = reload(&hub, KEY).await;
    assert_eq!(status, 200, "{answer}");
    assert!(
        answer["warnings"].to_string().contains("admin/reload"),
        "{answer}"
    );
    let (status, _) = reload(&hub, KEY).await;
    assert_eq!(status, 403);
    // A signal needs no key.
    write(&hub, &narrow.replace("mcps/*", "*"));
    hub.program.signal(nix::sys::signal::Signal::SIGHUP);
    eventually("the key may again", || async {
        (reload(&hub, KEY).await.0 == 200).then_some(())
    })
    .await;
    write(&hub, &narrow);
    let hub = hub.restart().await;
    hub.logged(&["no API key has the permission", "admin/reload"])
        .await;
}
