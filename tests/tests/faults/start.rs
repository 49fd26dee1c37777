//! Servers that are sick from the start.

use std::time::{Duration, Instant};

use aih_tests::{
    Fixture, Hub, KEY, Legacy, Modern, SOON, eventually,
    fixture::{external, local, mcps},
};
use serde_json::{Value, json};

use crate::health_of;

#[tokio::test]
async fn servers_that_fail_from_the_start_do_not_affect_others() {
    let fixture = Fixture::start().await;
    let url = &fixture.url;
    let with_lists = ["silent-list", "garbage-list"];
    let dead = [
        "garbage",
        "silent",
        "half-close",
        "wrong-id",
        "redirect",
        "unauthorized",
        "broken",
    ];
    let short = ", timeout: 2s";
    let mut outside = external("well", &format!("{url}/stateful/w"), "");
    for mode in dead.iter().chain(&with_lists) {
        outside.push_str(&external(mode, &format!("{url}/{mode}"), short));
        let old = format!(", transport: sse{short}");
        outside.push_str(&external(
            &format!("old-{mode}"),
            &format!("{url}/sse/{mode}"),
            &old,
        ));
    }
    outside.push_str(&external(
        "well-old",
        &format!("{url}/sse/stateful/w"),
        ", transport: sse",
    ));
    outside.push_str(&external("noise", &fixture.noise, short));
    outside.push_str(&external("hole", &fixture.hole, short));
    outside.push_str(&external("refused", "http://127.0.0.1:1/", short));
    let mut inside = local("well-child", "stateless", &[], "");
    let children = [
        "garbage",
        "silent",
        "half-close",
        "wrong-id",
        "broken",
        "silent-list",
        "garbage-list",
    ];
    for mode in children {
        inside.push_str(&local(&format!("child-{mode}"), mode, &[], short));
    }
    inside.push_str("    - { name: child-missing, command: /nowhere/at/all }\n");
    let began = Instant::now();
    let hub = Hub::start(&mcps(&outside, &inside)).await;
    let up = began.elapsed();
    assert!(
        up < Duration::from_secs(10),
        "start waits for sick servers: {up:?}"
    );
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    tokio::time::sleep_until(tokio::time::Instant::from_std(
        began + up + Duration::from_secs(2),
    ))
    .await;
    let asked = Instant::now();
    let tools = client.tool_names().await;
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "the list waits: {:?}",
        asked.elapsed()
    );
    for name in ["well__echo", "well_old__echo", "well_child__echo", "aih__health"] {
        assert!(
            tools.iter().any(|t| t == name),
            "{name} is not listed 2 s after start: {tools:?}"
        );
    }
    // Each is asked by its own endpoint: an error, in time, and the others go on.
    let sick: Vec<String> = dead
        .iter()
        .flat_map(|m| [(*m).to_owned(), format!("old-{m}")])
        .chain(["noise", "hole", "refused"].map(str::to_owned))
        .chain(["garbage", "half-close", "wrong-id", "broken", "missing"].map(|m| format!("child-{m}")))
        .collect();
    let hub = &hub;
    let calls = sick.iter().map(|name| async move {
        let direct = Modern::new(hub, &format!("/mcp/{name}"), KEY, json!({}));
        let outcome = tokio::time::timeout(SOON, direct.call("echo", json!({}))).await;
        let outcome = outcome.unwrap_or_else(|_| panic!("{name}: no answer within {SOON:?}"));
        let error = outcome.error();
        assert!(
            error["message"].as_str().unwrap().contains(name.as_str()),
            "{name}: the error does not say who: {error}"
        );
        assert!(
            outcome.took < Duration::from_secs(8),
            "{name}: {:?} with `timeout: 2s`",
            outcome.took
        );
    });
    let others = async {
        for n in 0..50 {
            let sent = Instant::now();
            assert_eq!(
                client
                    .call("well__echo", json!({ "text": n.to_string() }))
                    .await
                    .text(),
                n.to_string()
            );
            assert!(
                sent.elapsed() < Duration::from_secs(5),
                "a well server waits for a sick one"
            );
        }
        assert_eq!(
            client
                .call("well_child__echo", json!({ "text": "x" }))
                .await
                .text(),
            "x"
        );
    };
    tokio::join!(futures::future::join_all(calls), others);
    for name in &sick {
        // A wrong id is not an answer: the hub goes on waiting, as for one that is silent.
        eventually(&format!("health says what is wrong with {name}"), || async {
            let health = health_of(hub, name).await;
            assert_ne!(health["state"], "up", "{health}");
            health["last_error"].is_string().then_some(())
        })
        .await;
        hub.logged(&["WARN", &format!("\"{name}\"")]).await;
    }
    // Whose list cannot be had still takes calls.
    for name in [
        "silent-list",
        "garbage-list",
        "old-silent-list",
        "old-garbage-list",
        "child-silent-list",
    ] {
        let direct = Modern::new(hub, &format!("/mcp/{name}"), KEY, json!({}));
        assert_eq!(
            direct.call("echo", json!({ "text": "y" })).await.text(),
            "y",
            "{name}"
        );
    }
    for name in ["garbage-list", "old-garbage-list"] {
        hub.logged(&["WARN", &format!("\"{name}\"")]).await;
    }
    assert_eq!(health_of(hub, "well").await["state"], "up");
    let strangers = fixture.record("strangers").await;
    assert_eq!(
        strangers,
        [] as [Value; 0],
        "a redirect to another host was followed"
    );
}
