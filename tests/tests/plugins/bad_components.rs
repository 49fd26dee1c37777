//! Files that are not a plugin: each is listed with what is wrong, and the rest serves.

use std::{fs, path::Path};

use aih_tests::{Start, tools};
use serde_json::json;

use crate::{guest, hub, plugin, text, until_state};

pub(crate) fn wat(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("guests/wat")
        .join(format!("{name}.wat"));
    wat::parse_file(path).unwrap()
}

#[tokio::test]
async fn each_is_listed_with_its_error() {
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read(tools::guest("echo")).unwrap();
    let mut files = vec![
        ("truncated", good[..good.len() / 2].to_vec(), "cannot be compiled"),
        ("empty", Vec::new(), "shorter than a header"),
        (
            "text",
            b"this is no component at all".to_vec(),
            "does not begin like WebAssembly",
        ),
        (
            "native",
            b"\x7fELF\x02\x01\x01\0\0\0\0\0".to_vec(),
            "compiled code",
        ),
    ];
    for (name, expected) in [
        ("core-module", "core module"),
        ("exports-nothing", "exports nothing"),
        ("other-world", "aih:plugin/tools@2.0.0, this hub has 1.x"),
        ("imports-unknown", "which this hub does not offer"),
        ("start-loop", "longer than"),
        ("shared-memory", "cannot be compiled"),
    ] {
        files.push((name, wat(name), expected));
    }
    let mut entries = vec![guest("echo", "")];
    for (name, bytes, _) in &files {
        let file = folder.path().join(format!("{name}.wasm"));
        fs::write(&file, bytes).unwrap();
        entries.push(plugin(
            name,
            &file.display().to_string(),
            "limits: { time: \"1s\" }",
        ));
    }
    entries.push(plugin("missing", "/nowhere/x.wasm", ""));
    for (lie, _) in LIES {
        // Only the one that never ends needs to be stopped soon: the others may be slow on a busy machine.
        let time = if *lie == "loop" { "1s" } else { "30s" };
        entries.push(plugin(
            &format!("liar-{}", lie.replace('_', "-")),
            &tools::guest("liar").display().to_string(),
            &format!("limits: {{ time: \"{time}\" }}, config: {{ lie: \"{lie}\" }}"),
        ));
    }
    let hub = hub(&entries, &["echo"]).await;
    for (name, _, expected) in &files {
        let state = until_state(&hub, name, "down").await;
        let error = state["last_error"].as_str().unwrap();
        assert!(error.contains(expected), "{name}: {error}");
    }
    for (lie, expected) in LIES {
        let state = until_state(&hub, &format!("liar-{}", lie.replace('_', "-")), "down").await;
        let error = state["last_error"].as_str().unwrap();
        assert!(error.contains(expected), "{lie}: {error:.300}");
    }
    let client = hub.legacy().await;
    assert_eq!(
        text(&client, "echo__echo", json!({"text": "serves"})).await,
        "serves"
    );
}

/// What `tests/guests/liar` lists, and what the hub says of it.
const LIES: &[(&str, &str)] = &[
    ("failure", "no tools today"),
    ("trap", "crashed"),
    ("loop", "longer than"),
    ("duplicate", "listed twice"),
    ("empty_name", "cannot be the name of a tool"),
    ("bad_name", "cannot be the name of a tool"),
    ("long_name", "cannot be the name of a tool"),
    ("no_json", "is not JSON"),
    ("no_object", "not a JSON object"),
    ("no_type", "has no `\"type\": \"object\"`"),
    ("bad_schema", "not a JSON Schema"),
    ("bad_properties", "is not an object"),
    ("remote_schema", "not a JSON Schema"),
    ("file_schema", "not a JSON Schema"),
    ("forking_schema", "too large"),
    ("deep_schema", "is not JSON"),
    ("bad_output_schema", "not a JSON object"),
    ("bad_annotations", "not a JSON object"),
    ("bad_hint", "neither true nor false"),
    ("huge_description", "larger than"),
    ("many", "larger than"),
];

#[tokio::test]
async fn compiled_code_that_somebody_put_in_the_cache_is_not_run() {
    let start = Start {
        config: &format!("plugins:\n{}", guest("echo", "")),
        own_cache: true,
        ..Start::default()
    };
    let hub = start.run().await;
    until_state(&hub, "echo", "up").await;
    let cache = hub.folder.path().join("data/cache/code");
    let compiled = fs::read_dir(&cache)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "cwasm"))
        .unwrap();
    let config = fs::read_to_string(hub.folder.path().join("aih-config.yaml")).unwrap();
    let mut bytes = fs::read(&compiled).unwrap();
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 64] {
        *byte ^= 0xff;
    }
    // A second hub with the same cache and a changed file.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("data/cache");
    fs::create_dir_all(copy.join("code")).unwrap();
    let key = hub.folder.path().join("data/cache/code.key");
    fs::copy(key, copy.join("code.key")).unwrap();
    let name = compiled.file_name().unwrap();
    fs::write(copy.join("code").join(name), &bytes).unwrap();
    let mark = compiled.with_extension("mark");
    fs::copy(&mark, copy.join("code").join(mark.file_name().unwrap())).unwrap();
    fs::write(folder.path().join("aih-config.yaml"), config).unwrap();
    let mut command = aih_tests::Program::command(&tools::binary("aih"));
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
        .current_dir(folder.path());
    let program = aih_tests::Program::spawn("aih", command);
    program.wait_for_line("its mark is not from this hub").await;
    program.wait_for_line("\"up\"").await;
}
