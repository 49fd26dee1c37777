use std::sync::{Mutex, atomic::AtomicBool};

use serde_json::json;

use super::{dispatch::Request, *};
use crate::{
    calls::record::{Record, Sink},
    catalogue::Scope,
    provider::{ChangeSignal, Offers, Provider},
    testing::{ListingProvider, NEVER, SilentPeer, client, tools},
};
use aih_mcp::{ProtocolVersion, RawJson, method};

/// Method, server, item and outcome of each record.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<String>>>);

impl Sink for Collected {
    fn write(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(format!(
            "{} {} {} {}",
            record.method,
            record.server.unwrap_or("-"),
            record.item.name().unwrap_or("-"),
            record.result.outcome().as_str(),
        ));
    }
}

#[tokio::test]
async fn a_call_whose_caller_goes_away_leaves_a_record_too() {
    let offers = Offers {
        tools: tools([NEVER]),
        ..Offers::default()
    };
    let server: Arc<dyn Provider> = ListingProvider::new("one", offers);
    let catalogue = Catalogue::new(ChangeSignal::default(), crate::names::NameLimit::DEFAULT);
    catalogue.replace(vec![server]);
    let collected = Collected::default();
    let hooks = Hooks::none();
    let records = Records::to(collected.clone());
    let gateway = Gateway::new(
        catalogue,
        "hub".into(),
        hooks,
        records,
        Duration::from_secs(900),
        FirstList {
            wait: Duration::ZERO,
            one_client: false,
        },
        crate::access::Compat::Auto,
    );
    let request = request(
        Scope::One("one".into()),
        method::TOOLS_CALL,
        &json!({ "name": NEVER }),
    );
    let mut answer = Box::pin(gateway.answer(request));
    assert!(futures::poll!(&mut answer).is_pending());
    assert!(collected.0.lock().unwrap().is_empty());
    drop(answer);
    let expected = format!("tools/call one {NEVER} error");
    assert_eq!(*collected.0.lock().unwrap(), [expected]);
}

fn request(scope: Scope, method: &str, params: &serde_json::Value) -> Request {
    Request {
        scope,
        method: method.into(),
        params: Some(RawJson::of(params)),
        param_headers: None,
        client: client(
            ProtocolVersion::LATEST_LEGACY,
            &["mcps/one/*", "!mcps/one/secret"],
            Arc::new(SilentPeer),
        ),
        peer: Arc::new(SilentPeer),
        cancel: CancellationToken::new(),
        made: AtomicBool::new(false),
    }
}

#[tokio::test]
async fn every_method_leaves_one_record() {
    let offers = Offers {
        tools: tools(["echo", "secret"]),
        prompts: vec![RawJson::of(&json!({ "name": "greet" }))],
        resources: vec![RawJson::of(&json!({ "uri": "file:///a", "name": "a" }))],
        ..Offers::default()
    };
    let server: Arc<dyn Provider> = ListingProvider::new("one", offers);
    let catalogue = Catalogue::new(ChangeSignal::default(), crate::names::NameLimit::DEFAULT);
    catalogue.replace(vec![server]);
    let collected = Collected::default();
    let hooks = Hooks::none();
    let records = Records::to(collected.clone());
    let gateway = Gateway::new(
        catalogue,
        "hub".into(),
        hooks,
        records,
        Duration::from_secs(900),
        FirstList {
            wait: Duration::ZERO,
            one_client: false,
        },
        crate::access::Compat::Auto,
    );
    let one = || Scope::One("one".into());
    let prompt =
        json!({ "ref": { "type": "ref/prompt", "name": "greet" }, "argument": { "name": "n", "value": "" } });
    for (scope, method, params, expected) in [
        (Scope::All, method::TOOLS_LIST, json!({}), "tools/list - - ok"),
        (one(), method::PROMPTS_LIST, json!({}), "prompts/list one - ok"),
        (
            Scope::All,
            method::TOOLS_LIST,
            json!({ "cursor": "no" }),
            "tools/list - - error",
        ),
        // The server of this test answers each request with an error.
        (
            one(),
            method::TOOLS_CALL,
            json!({ "name": "echo" }),
            "tools/call one echo error",
        ),
        (
            Scope::All,
            method::TOOLS_CALL,
            json!({ "name": "one__echo" }),
            "tools/call one echo error",
        ),
        (
            Scope::All,
            method::PROMPTS_GET,
            json!({ "name": "one__greet" }),
            "prompts/get one greet error",
        ),
        (
            one(),
            method::RESOURCES_READ,
            json!({ "uri": "file:///a" }),
            "resources/read one file:///a error",
        ),
        (
            one(),
            method::COMPLETE,
            prompt,
            "completion/complete one greet error",
        ),
        (
            one(),
            method::SET_LEVEL,
            json!({ "level": "error" }),
            "logging/setLevel one - ok",
        ),
        (
            one(),
            method::RESOURCES_SUBSCRIBE,
            json!({ "uri": "file:///a" }),
            "resources/subscribe one file:///a ok",
        ),
        // What is not there, what is not allowed, what cannot be read, and what nobody knows.
        (
            one(),
            method::TOOLS_CALL,
            json!({ "name": "nope" }),
            "tools/call one nope error",
        ),
        (
            one(),
            method::TOOLS_CALL,
            json!({ "name": "secret" }),
            "tools/call one secret error",
        ),
        (
            Scope::One("two".into()),
            method::TOOLS_LIST,
            json!({}),
            "tools/list two - error",
        ),
        (
            one(),
            method::TOOLS_CALL,
            json!({ "name": "echo", "arguments": [] }),
            "tools/call one - error",
        ),
        (one(), "odd/method", json!({}), "odd/method one - error"),
        (Scope::All, "odd/method", json!({}), "odd/method - - error"),
    ] {
        let answered = gateway.answer(request(scope, method, &params)).await;
        let records = std::mem::take(&mut *collected.0.lock().unwrap());
        assert_eq!(records, [expected], "{method} {params}: {answered:?}");
    }
}
