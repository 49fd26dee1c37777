//! Lists, instances, and a server that is away or switched off.

use super::*;
use crate::{
    provider::ChangeSignal,
    upstream::{ServerAddress, testing::FakeConnector},
};

#[tokio::test]
async fn a_list_that_can_be_read_again_leaves_no_error() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let fake = FakeServer::new(false, move |seen| match seen.method.as_str() {
        "resources/list" if counted.fetch_add(1, Ordering::SeqCst) == 0 => Reply::Error(-32603, "broken"),
        _ => legacy(seen).unwrap_or(Reply::Never),
    });
    let server = up(&fake, http_spec()).await;
    fake.until(|| server.status().last_error.filter(|e| e.contains("broken")))
        .await;
    fake.until(|| server.status().last_error.is_none().then_some(()))
        .await;
    assert!(asked.load(Ordering::SeqCst) >= 2);
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_server_that_is_well_again_has_no_error() {
    let back = Arc::new(tokio::sync::Notify::new());
    let gate = back.clone();
    let fake = FakeServer::new(true, move |seen| match (legacy(seen), seen.method.as_str()) {
        // The first is greeted in both eras.
        (Some(Reply::Result(greeting)), "initialize") if seen.connection > 1 => {
            Reply::When(gate.clone(), greeting)
        }
        (answer, _) => answer.unwrap_or(Reply::Never),
    });
    let server = up(&fake, http_spec()).await;
    assert_eq!(server.status().last_error, None);
    fake.lose(fake.opened() - 1, TransportError::Closed("it broke".into()));
    fake.until(|| server.status().last_error.filter(|e| e.contains("it broke")))
        .await;
    back.notify_one();
    fake.until(|| server.status().last_error.is_none().then_some(()))
        .await;
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn lists_are_bounded_and_one_bad_item_spoils_nothing() {
    let pages = Arc::new(AtomicUsize::new(0));
    let counted = pages.clone();
    let fake = FakeServer::new(false, move |seen| match seen.method.as_str() {
        "tools/list" => {
            counted.fetch_add(1, Ordering::SeqCst);
            Reply::Result(match seen.params["cursor"].as_str() {
                None => {
                    json!({ "tools": [{ "name": "a", "n": 1 }, { "name": 7 }, "x", {}, { "name": "a", "n": 2 }],
                    "nextCursor": "1" })
                }
                Some("1") => json!({ "tools": [{ "name": "b" }, { "name": "secret_c" }], "nextCursor": "2" }),
                Some(_) => json!({ "tools": [], "nextCursor": "1" }),
            })
        }
        "resources/list" => Reply::Error(-32603, "broken"),
        _ => legacy(seen).unwrap_or_else(|| Reply::Result(json!({ "called": seen.params["name"] }))),
    });
    let mut spec = http_spec();
    spec.tools.deny = vec!["secret_*".to_owned()];
    spec.tools.rename.insert("b".to_owned(), "better".to_owned());
    let server = up(&fake, spec).await;
    let tools: Vec<_> = server.offers().tools.iter().map(RawJson::to_value).collect();
    // Each gets the schema of arguments that clients ask for.
    let schema = json!({ "type": "object", "properties": {} });
    assert_eq!(
        tools,
        [
            json!({ "n": 1, "name": "a", "inputSchema": schema }),
            json!({ "name": "better", "inputSchema": schema })
        ]
    );
    assert_eq!(pages.load(Ordering::SeqCst), 3);
    fake.until(|| server.status().last_error.filter(|e| e.contains("broken")))
        .await;
    fake.until(|| (server.status().state == ProviderState::Degraded).then_some(()))
        .await;
    // The same names on the way back.
    let client = client("c", LEGACY, "{}");
    let call = call(&client, &recorder("c"));
    let answer = server
        .request("tools/call", raw(r#"{"name":"better"}"#), &call)
        .await
        .unwrap();
    assert_eq!(answer.result.text(), r#"{"called":"b"}"#);
    for name in ["b", "secret_c"] {
        let params = raw(&format!(r#"{{"name":"{name}"}}"#));
        let error = server.request("tools/call", params, &call).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
    }
    // A change is read again.
    fake.say(
        1,
        None,
        r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
    );
    fake.until(|| (pages.load(Ordering::SeqCst) == 6).then_some(()))
        .await;
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_server_that_is_away_is_named_with_what_to_do() {
    let up_now = Arc::new(AtomicBool::new(false));
    let alive = up_now.clone();
    let fake = FakeServer::new(false, move |seen| {
        if alive.load(Ordering::SeqCst) {
            legacy(seen).unwrap_or_else(|| Reply::Result(json!({})))
        } else {
            Reply::Fail(TransportError::Connect("connection refused".into()))
        }
    });
    let mut spec = http_spec();
    spec.protocol = Protocol::Legacy;
    let server = UpstreamServer::start(
        spec,
        Arc::new(FakeConnector(fake.clone())),
        ChangeSignal::default(),
    );
    let client = client("c", LEGACY, "{}");
    let call = call(&client, &recorder("c"));
    let error = server.request("tools/call", raw("{}"), &call).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::UPSTREAM_UNAVAILABLE);
    assert!(
        error
            .message
            .starts_with("server `up`: cannot connect: connection refused;"),
        "{error}"
    );
    assert_eq!(server.status().state, ProviderState::Down);
    up_now.store(true, Ordering::SeqCst);
    fake.until(|| (server.status().state == ProviderState::Up).then_some(()))
        .await;
    server.request("tools/call", raw("{}"), &call).await.unwrap();
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn instances_take_turns_and_stand_in_for_each_other() {
    let sick = Arc::new(AtomicBool::new(false));
    let is_sick = sick.clone();
    let fake = FakeServer::new(false, move |seen| {
        if seen.instance == 0 && is_sick.load(Ordering::SeqCst) {
            return Reply::Fail(TransportError::Connect("connection refused".into()));
        }
        legacy(seen).unwrap_or_else(|| Reply::Result(json!({ "from": seen.instance })))
    });
    let mut spec = http_spec();
    if let ServerAddress::Http { endpoints, .. } = &mut spec.kind {
        endpoints.push(endpoints[0].clone());
    }
    let server = up(&fake, spec).await;
    fake.until(|| (server.status().connections == 2).then_some(()))
        .await;
    let client = client("c", LEGACY, "{}");
    let call = call(&client, &recorder("c"));
    let from = async |n: usize| {
        let mut seen = Vec::new();
        for _ in 0..n {
            let answer = server.request("tools/call", raw("{}"), &call).await.unwrap();
            seen.push(answer.result.to_value()["from"].as_u64().unwrap());
        }
        seen.sort_unstable();
        seen.dedup();
        seen
    };
    assert_eq!(from(4).await, [0, 1]);
    sick.store(true, Ordering::SeqCst);
    assert_eq!(from(10).await, [1]);
    assert_eq!(server.status().state, ProviderState::Up);
    sick.store(false, Ordering::SeqCst);
    fake.until(|| (server.status().connections == 2).then_some(()))
        .await;
    assert_eq!(from(4).await, [0, 1]);
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_list_that_hangs_delays_no_other() {
    let fake = FakeServer::new(false, |seen| match seen.method.as_str() {
        "resources/list" => Reply::Never,
        _ => legacy(seen).unwrap_or_else(|| Reply::Result(json!({}))),
    });
    // Waits for the tools.
    let server = up(&fake, http_spec()).await;
    assert_eq!(server.offers().tools.len(), 1);
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_list_that_could_not_be_read_is_read_again_until_it_is_there() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    let fake = FakeServer::new(false, move |seen| match seen.method.as_str() {
        "resources/list" if is_broken.load(Ordering::SeqCst) => Reply::Error(-32603, "the vendor is away"),
        "resources/list" => Reply::Result(json!({ "resources": [{ "uri": "x://y" }] })),
        _ => legacy(seen).unwrap_or_else(|| Reply::Result(json!({}))),
    });
    let server = up(&fake, http_spec()).await;
    fake.until(|| (server.status().state == ProviderState::Degraded).then_some(()))
        .await;
    let error = server.status().last_error.unwrap();
    assert!(error.contains("the vendor is away"), "{error:?}");
    // Only the list that failed, and ever more slowly.
    let began = std::time::Instant::now();
    fake.nth("resources/list", 4).await;
    assert!(
        began.elapsed() > Duration::from_millis(1_500),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(fake.seen("tools/list").len(), 1);
    // Calls go on meanwhile.
    let client = client("c", LEGACY, "{}");
    let call = call(&client, &recorder("c"));
    server
        .request("tools/call", raw(r#"{"name":"echo"}"#), &call)
        .await
        .unwrap();
    broken.store(false, Ordering::SeqCst);
    fake.until(|| (server.status().state == ProviderState::Up).then_some(()))
        .await;
    assert_eq!(server.offers().resources.len(), 1);
    assert_eq!(server.status().last_error, None);
    let read = fake.seen("resources/list").len();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fake.seen("resources/list").len(), read, "it is not read again");
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_is_switched_off_says_why() {
    let fake = FakeServer::new(false, |_| Reply::Never);
    let mut spec = http_spec();
    spec.state = crate::config::EntryState::Disabled(crate::config::DisabledReason::MissingVariable {
        name: "TOKEN".to_owned(),
    });
    let server = UpstreamServer::start(
        spec,
        Arc::new(FakeConnector(fake.clone())),
        ChangeSignal::default(),
    );
    assert_eq!(server.status().state, ProviderState::Disabled);
    let client = client("c", LEGACY, "{}");
    let error = server
        .request("tools/call", raw("{}"), &call(&client, &recorder("c")))
        .await
        .unwrap_err();
    assert!(error.message.contains("${TOKEN}"), "{error}");
    server.shutdown(Duration::from_secs(5)).await;
    assert_eq!(fake.opened(), 0);
}
