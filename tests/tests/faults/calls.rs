//! Calls that are never answered, or not with what was asked for.

use std::time::Duration;

use aih_tests::{
    Fixture, KEY, Legacy, Modern, SOON, eventually,
    program::{memory_now_kb, memory_peak_kb, pin_machine},
};
use serde_json::{Value, json};

use crate::{WAYS, all_ways};

async fn faults(fault: &str, arguments: Value) {
    let fixture = Fixture::start().await;
    let hub = all_ways(&fixture, ", timeout: 2s").await;
    let legacy = Legacy::connect(&hub, "/mcp", KEY).await;
    let modern = Modern::new(&hub, "/mcp", KEY, json!({}));
    for way in WAYS {
        for era in ["legacy", "modern"] {
            let what = format!("{fault} of {way} for a {era} client");
            let name = format!("{way}__{fault}");
            let sick = async {
                let call = async {
                    if era == "legacy" {
                        legacy.call(&name, arguments.clone()).await
                    } else {
                        modern.call(&name, arguments.clone()).await
                    }
                };
                tokio::time::timeout(SOON, call)
                    .await
                    .unwrap_or_else(|_| panic!("{what}: no answer"))
            };
            let well = legacy.call("other__echo", json!({ "text": "meanwhile" }));
            let (outcome, other) = tokio::join!(sick, well);
            assert_eq!(other.text(), "meanwhile", "{what}");
            let error = outcome.error();
            let message = error["message"].as_str().unwrap();
            assert!(
                message.contains(way),
                "{what}: the error does not say who: {error}"
            );
            assert!(
                outcome.took < Duration::from_secs(6),
                "{what}: took {:?}",
                outcome.took
            );
            if fault == "silent" {
                assert_eq!(error["code"], -32001, "{what}: {error}");
            }
            // The same server goes on, or is back soon.
            eventually(&format!("{way} works again after {what}"), || async {
                let again = legacy
                    .call(&format!("{way}__echo"), json!({ "text": "again" }))
                    .await;
                (again.value().get("result").is_some()).then_some(())
            })
            .await;
        }
    }
    for way in WAYS {
        hub.logged(&["WARN", &format!("\"{way}\"")]).await;
    }
}

#[tokio::test]
async fn a_call_that_is_never_answered() {
    faults("silent", json!({})).await;
}

#[tokio::test]
async fn a_call_answered_with_garbage() {
    faults("garbage", json!({})).await;
}

#[tokio::test]
async fn a_call_whose_answer_breaks_off() {
    faults("cut", json!({})).await;
}

#[tokio::test]
async fn a_call_whose_stream_breaks_off() {
    faults("cut_stream", json!({})).await;
}

#[tokio::test]
async fn a_call_answered_with_another_id() {
    faults("wrong_id", json!({})).await;
}

#[tokio::test]
async fn a_call_answered_with_a_hundred_megabytes() {
    faults("huge", json!({ "bytes": 100_000_000 })).await;
}

#[tokio::test]
async fn twenty_megabytes_arrive_or_are_refused_and_are_not_kept() {
    const BYTES: usize = 20_000_000;
    pin_machine();
    let fixture = Fixture::start().await;
    let hub = all_ways(&fixture, ", timeout: 20s").await;
    let legacy = Legacy::connect(&hub, "/mcp", KEY).await;
    let modern = Modern::new(&hub, "/mcp", KEY, json!({}));
    for way in WAYS {
        let name = format!("{way}__huge");
        for outcome in [
            legacy.call(&name, json!({ "bytes": BYTES })).await,
            modern.call(&name, json!({ "bytes": BYTES })).await,
        ] {
            if outcome.value().get("error").is_some() {
                assert!(outcome.raw().contains(way), "{}", outcome.raw());
            } else {
                assert_eq!(outcome.text().len(), BYTES, "{way}");
            }
        }
        assert_eq!(
            legacy.call("other__echo", json!({ "text": "o" })).await.text(),
            "o"
        );
    }
    let most = memory_peak_kb(hub.pid());
    assert!(
        most < 300 * 1024,
        "the hub grew to {most} kB for 20 MB answers, one at a time"
    );
    eventually("the memory is given back", || {
        std::future::ready((memory_now_kb(hub.pid()) < 150 * 1024).then_some(()))
    })
    .await;
}
