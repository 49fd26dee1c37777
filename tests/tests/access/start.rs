//! The first key, and hubs without keys.

use aih_tests::{Hub, Start, key_hash};

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
