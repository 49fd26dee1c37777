//! What Rust cannot say: components of the texts in `guests/wat` that are called.

use std::fs;

use aih_tests::{
    Hub,
    program::{memory_now_kb, pin_machine},
};
use serde_json::json;

use crate::{
    bad_components::wat,
    guest,
    hostile::{neighbour, outcome},
    hub, plugin,
};

async fn start(names: &[&str]) -> (Hub, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut entries = vec![guest("echo", "")];
    for name in names {
        let file = folder.path().join(format!("{name}.wasm"));
        fs::write(&file, wat(name)).unwrap();
        let limits = "limits: { time: \"5m\", memory: \"64MB\", output: \"1MB\" }";
        entries.push(plugin(name, &file.display().to_string(), limits));
    }
    let mut up = names.to_vec();
    up.push("echo");
    (hub(&entries, &up).await, folder)
}

#[tokio::test]
async fn each_attack_ends_with_a_typed_error() {
    let attacks = [
        // It is told that no more rows are there, and goes on.
        ("table-bomb", "told: the host refused more"),
        ("amplified-output", "too-large"),
        ("lying-lengths", "trapped"),
    ];
    pin_machine();
    let names = attacks.map(|(name, _)| name);
    let (hub, _folder) = start(&names).await;
    let client = hub.legacy().await;
    neighbour(&client, "the start").await;
    let before = memory_now_kb(hub.pid());
    for (name, expected) in attacks {
        for _ in 0..3 {
            let came = outcome(&client, &format!("{}__attack", name.replace('-', "_")), json!({})).await;
            assert!(came.starts_with(expected), "{name}: {came:.300}");
            neighbour(&client, name).await;
        }
    }
    let after = memory_now_kb(hub.pid());
    assert!(
        after < before + 200 * 1024,
        "{before} kB before, {after} kB after"
    );
}
