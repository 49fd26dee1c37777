//! Granted folders: what a sandbox sees of them while others rename and link, and how far they grow.

use std::{fs, path::Path, sync::Arc};

use aih_runtime::{
    CallError, Content, Context, FileGrant, FileMode, GrantedTo, Grants, LoadError, Loaded, Quota, Reserved,
    Runtime, RuntimeOptions, Spec, ToolCall, World,
};
use aih_tests::tools;
use serde_json::{Value, json};

use crate::{guest, health, hub, plugin, text, until_state};

fn grant(path: &Path, seen_as: &str, mode: FileMode) -> FileGrant {
    FileGrant {
        path: path.to_owned(),
        seen_as: seen_as.to_owned(),
        mode,
        quota: Quota::default(),
    }
}

/// The hostile guest with these folders, beside what `reserved` says of others.
async fn load(
    runtime: &Runtime,
    owner: &str,
    files: Vec<FileGrant>,
    reserved: Reserved,
) -> Result<Loaded, LoadError> {
    let spec = Spec {
        name: owner.to_owned(),
        owner: owner.to_owned(),
        grants: Grants {
            files,
            ..Grants::default()
        },
        reserved: Arc::new(reserved),
        ..Spec::default()
    };
    let wasm = fs::read(tools::guest("hostile")).unwrap();
    runtime.load(wasm, World::Plugin, spec).await
}

async fn call(component: &Loaded, tool: &str, arguments: Value) -> String {
    let call = ToolCall {
        call_id: "1".to_owned(),
        tool: tool.to_owned(),
        arguments_json: arguments.to_string(),
        deadline_ms: 30_000,
        extras: Vec::new(),
    };
    match component.call_tool(call, Context::default()).await {
        Ok(output) => match output.content.as_slice() {
            [Content::Text(text)] => text.clone(),
            other => format!("{other:?}"),
        },
        Err(CallError::Failed(failure)) => format!("{failure:?}"),
        Err(error) => error.to_string(),
    }
}

/// A folder with `work/inner/note`, and `outside/note` that nobody is granted.
fn nest() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [("work/inner/note", "inside"), ("outside/note", "out of reach")] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

#[tokio::test]
async fn a_folder_whose_name_leads_elsewhere_now_is_still_the_one_that_was_granted() {
    let cache = tempfile::tempdir().unwrap();
    let runtime = Runtime::new(&RuntimeOptions {
        cache: Some(cache.path().join("code")),
        instances: 8,
        ..RuntimeOptions::default()
    })
    .unwrap();
    for mode in [FileMode::ReadOnly, FileMode::ReadWrite] {
        let folder = nest();
        let at = |path: &str| folder.path().join(path);
        // Nobody tells the one of the other, so that the descriptor alone has to hold.
        let outer = vec![grant(&at("work"), "/work", FileMode::ReadWrite)];
        let writer = load(&runtime, "writer", outer, Reserved::default())
            .await
            .unwrap();
        let inner = || vec![grant(&at("work/inner"), "/inner", mode)];
        let reader = load(&runtime, "reader", inner(), Reserved::default())
            .await
            .unwrap();
        let read = json!({"path": "/inner/note"});
        assert_eq!(call(&reader, "read_path", read.clone()).await, "inside");
        let swap = json!({"folder": "/work", "name": "inner", "target": "../outside"});
        assert_eq!(call(&writer, "swap_for_link", swap).await, "swapped");
        // The way is open for whoever goes by the name.
        assert_eq!(fs::read_to_string(at("work/inner/note")).unwrap(), "out of reach");
        for _ in 0..5 {
            assert_eq!(call(&reader, "read_path", read.clone()).await, "inside");
        }
        call(&reader, "write_path", json!({"path": "/inner/written"})).await;
        assert!(!at("outside/written").exists());
        // When it is loaded again, the name is followed again: who can change it is known then.
        let others = Reserved {
            granted: vec![GrantedTo {
                owner: "writer".to_owned(),
                path: at("work"),
                mode: FileMode::ReadWrite,
            }],
            ..Reserved::default()
        };
        let again = load(&runtime, "reader", inner(), others).await;
        assert!(matches!(again, Err(LoadError::Grant(_))), "{:?}", again.err());
    }
    // The same within one component.
    let folder = nest();
    let both = vec![
        grant(&folder.path().join("work"), "/work", FileMode::ReadWrite),
        grant(&folder.path().join("work/inner"), "/inner", FileMode::ReadOnly),
    ];
    let error = load(&runtime, "both", both, Reserved::default())
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("overlaps"), "{error}");
}

#[tokio::test]
async fn grants_that_lie_in_each_other_are_not_given() {
    let folder = nest();
    let at = |path: &str| folder.path().join(path).display().to_string();
    let (work, inner, outside) = (at("work"), at("work/inner"), at("outside"));
    let hostile = |name: &str, files: String| {
        let entry = format!("grants: {{ files: [{files}] }}");
        plugin(name, &tools::guest("hostile").display().to_string(), &entry)
    };
    let plugins = [
        hostile(
            "both",
            format!("{{ path: \"{outside}\" }}, {{ path: \"{work}\", mode: rw }}, {{ path: \"{inner}\" }}"),
        ),
        hostile("inner", format!("{{ path: \"{inner}\" }}")),
        hostile("beside", format!("{{ path: \"{outside}\" }}")),
    ];
    let hub = hub(&plugins, &["beside"]).await;
    for name in ["both", "inner"] {
        let health = until_state(&hub, name, "down").await;
        assert!(
            health["last_error"].as_str().unwrap().contains("overlaps"),
            "{health}"
        );
    }
    assert_eq!(health(&hub, "beside").await.unwrap()["state"], "up");
    // The operator hears of it before.
    let mut command = aih_tests::Program::command(&tools::binary("aih"));
    command
        .args(["config", "check"])
        .arg(hub.folder.path().join("aih-config.yaml"));
    let checked = aih_tests::Program::run("aih", command, aih_tests::SOON).await;
    assert_eq!(checked.status.code(), Some(2), "{}", checked.text);
    for said in [
        "plugins[0].grants.files[1]",
        "plugins[0].grants.files[2]",
        "plugins[1].grants.files[0]",
        "3 problems",
    ] {
        assert!(checked.text.contains(said), "{}", checked.text);
    }
}

/// Bytes and entries of a folder.
fn size(folder: &Path) -> (u64, u64) {
    let (mut bytes, mut entries) = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let data = entry.metadata().unwrap();
        entries += 1;
        if data.is_dir() {
            let (inner_bytes, inner_entries) = size(&entry.path());
            (bytes, entries) = (bytes + inner_bytes, entries + inner_entries);
        } else if data.is_file() {
            bytes += data.len();
        }
    }
    (bytes, entries)
}

/// The C library of guests has one word for all that a stream meets.
fn refused(said: &str) -> bool {
    said.to_lowercase().contains("quota") || said.contains("I/O error")
}

const WAYS: &[(&str, u64, &str)] = &[
    ("write", 20, "after 8: "),
    ("seek", 20, "after 8: "),
    ("positions", 20, "after 8: "),
    ("set-length", 9, "after 0: "),
    ("gap", 9, "after 0: "),
    ("deleted", 20, "after 8: "),
    ("deleted-streams", 20, "after 8: "),
    ("replaced", 20, "after 8: "),
    ("emptied", 20, "all 20"),
    ("files", 40, "after 20: "),
    ("folders", 40, "after 20: "),
    ("links", 40, "after 20: "),
    ("hard-links", 40, "after 19: "),
    ("deep", 40, "after 20: "),
];

#[tokio::test]
async fn a_folder_grows_no_further_than_its_quota_while_a_call_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (way, ..) in WAYS.iter().chain(&[("together", 0, "")]) {
        let path = folder.path().join(way);
        fs::create_dir(&path).unwrap();
        files.push(format!(
            "{{ path: \"{}\", mode: rw, as: \"/{way}\", max_bytes: \"8MiB\", max_files: 20 }}",
            path.display()
        ));
    }
    let entry = format!(
        "limits: {{ time: \"60s\" }}, grants: {{ files: [{}] }}",
        files.join(", ")
    );
    let hub = hub(&[guest("hostile", &entry)], &["hostile"]).await;
    let client = hub.legacy().await;
    let fill = async |folder: &str, how: &str, amount: u64| {
        let arguments = json!({"folder": format!("/{folder}"), "how": how, "amount": amount});
        text(&client, "hostile__fill", arguments).await
    };
    for (way, amount, expected) in WAYS {
        let said = fill(way, way, *amount).await;
        assert!(said.starts_with(expected), "{way}: {said}");
        assert!(said.starts_with("all") || refused(&said), "{way}: {said}");
        let (bytes, entries) = size(&folder.path().join(way));
        assert!(
            bytes <= 8 << 20 && entries <= 20,
            "{way}: {bytes} bytes, {entries} entries"
        );
    }
    // What was deleted comes free when its last handle goes: at the end of the call that held it.
    for way in ["deleted", "deleted-streams"] {
        assert_eq!(fill(way, "write", 8).await, "all 8", "{way}");
    }
    // Calls at once share one bound.
    let said = futures::future::join_all((0..4).map(|_| fill("together", "write", 8))).await;
    let (bytes, _) = size(&folder.path().join("together"));
    assert_eq!(bytes, 8 << 20, "{said:?}");
}
