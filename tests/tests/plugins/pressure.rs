//! Many calls of many plugins at once.

use serde_json::json;

use crate::{guest, health, hub, text};

#[tokio::test]
async fn many_calls_of_many_plugins_all_get_their_own_answer() {
    let names: Vec<String> = (0..20).map(|n| format!("echo-{n}")).collect();
    let entries: Vec<String> = names
        .iter()
        .map(|name| {
            // Half of them with few places, so that calls have to wait for each other.
            let places = if name.len() == 6 { 2 } else { 64 };
            let file = aih_tests::tools::guest("echo").display().to_string();
            let limits = format!("limits: {{ time: \"120s\", concurrency: {places} }}");
            crate::plugin(name, &file, &limits)
        })
        .chain([guest("echo", "")])
        .collect();
    let up: Vec<&str> = names.iter().map(String::as_str).collect();
    let hub = hub(&entries, &up).await;
    let client = hub.legacy().await;
    let calls = (0..200).map(|n| {
        let (client, name) = (&client, &names[n % names.len()]);
        async move {
            let said = format!("call {n} of {name}");
            let tool = format!("{}__echo", name.replace('-', "_"));
            assert_eq!(text(client, &tool, json!({"text": said})).await, said);
        }
    });
    futures::future::join_all(calls).await;
    for name in &names {
        let state = health(&hub, name).await.unwrap();
        assert_eq!(state["running"], 0, "{state}");
    }
}
