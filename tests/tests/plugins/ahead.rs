//! Sandboxes that are made before their call comes: the runtime itself, on threads that say when they are idle.

use std::{fs, path::Path};

use aih_runtime::{
    Content, Context, FileGrant, FileMode, Grants, Loaded, Quota, Runtime, RuntimeOptions, Spec, ToolCall,
    World, idle,
};
use aih_tests::{eventually, tools};

async fn load(runtime: &Runtime, grants: Grants) -> Loaded {
    let wasm = fs::read(tools::guest("echo")).unwrap();
    let spec = Spec {
        name: "echo".to_owned(),
        grants,
        ..Spec::default()
    };
    runtime.load(wasm, World::Plugin, spec).await.unwrap()
}

async fn echo(component: &Loaded, text: &str) {
    let call = ToolCall {
        call_id: "1".to_owned(),
        tool: "echo".to_owned(),
        arguments_json: serde_json::json!({ "text": text }).to_string(),
        deadline_ms: 30_000,
        extras: Vec::new(),
    };
    let output = component.call_tool(call, Context::default()).await.unwrap();
    assert!(
        matches!(output.content.as_slice(), [Content::Text(said)] if said == text),
        "{output:?}"
    );
}

async fn spares(runtime: &Runtime, count: usize) {
    let there = || async { (runtime.spares() == count).then_some(()) };
    eventually(&format!("{count} instances wait"), there).await;
}

async fn ahead(folder: &Path) {
    let runtime = Runtime::new(&RuntimeOptions {
        cache: Some(folder.join("code")),
        instances: 4,
        ..RuntimeOptions::default()
    })
    .unwrap();
    let plain = load(&runtime, Grants::default()).await;
    assert_eq!(runtime.spares(), 0);
    echo(&plain, "first").await;
    spares(&runtime, 1).await;
    for number in 0..50 {
        echo(&plain, &number.to_string()).await;
    }
    spares(&runtime, 1).await;
    drop(plain);
    spares(&runtime, 0).await;

    // Also where a folder is granted: its component holds it open.
    let file = FileGrant {
        path: folder.to_owned(),
        seen_as: "/files".to_owned(),
        mode: FileMode::ReadOnly,
        quota: Quota::default(),
    };
    let granted = Grants {
        files: vec![file],
        ..Grants::default()
    };
    let granted = load(&runtime, granted).await;
    echo(&granted, "first").await;
    spares(&runtime, 1).await;
    for number in 0..20 {
        echo(&granted, &number.to_string()).await;
    }
    spares(&runtime, 1).await;
    drop(granted);
    spares(&runtime, 0).await;
}

#[test]
fn the_next_sandbox_is_made_by_an_idle_thread_and_goes_with_its_component() {
    let folder = tempfile::tempdir().unwrap();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(idle::attend)
        .on_thread_park(idle::tidy)
        .build()
        .unwrap()
        .block_on(ahead(folder.path()));
}
