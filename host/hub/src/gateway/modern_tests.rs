use aih_mcp::{ErrorCode, method::header};
use http::HeaderValue;

use super::super::starting::FirstList;
use super::*;
use crate::{
    access::{KeyId, PermissionSet},
    calls::record::Records,
    catalogue::Catalogue,
    hooks::Hooks,
    provider::{ChangeSignal, Offers, Provider},
    testing::ListingProvider,
};

/// Two servers with a tool that wants an argument repeated in a header.
fn gateway() -> Arc<Gateway> {
    let tool = json!({ "name": "move", "inputSchema": { "type": "object", "properties": {
        "region": { "type": "string", "x-mcp-header": "Region" } } } });
    let offers = || Offers {
        tools: vec![RawJson::of(&tool)],
        ..Offers::default()
    };
    let servers =
        ["open", "secret"].map(|name| -> Arc<dyn Provider> { ListingProvider::new(name, offers()) });
    Gateway::new(
        Catalogue::of(servers.to_vec(), ChangeSignal::default()),
        "hub".to_owned(),
        Hooks::none(),
        Records::to_log(),
        Duration::from_secs(900),
        FirstList {
            wait: Duration::ZERO,
            one_client: false,
        },
        crate::access::Compat::Auto,
    )
}

fn who(permissions: &[&str]) -> Arc<Principal> {
    let permissions = PermissionSet::parse(permissions).unwrap();
    Arc::new(Principal::new("k", permissions, KeyId::ANONYMOUS))
}

/// What a call of `tool` is answered that repeats no argument in a header.
async fn call(gateway: &Arc<Gateway>, who: &Arc<Principal>, scope: Scope, tool: &str) -> ErrorObject {
    let params = json!({ "name": tool, "arguments": { "region": "north" }, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    } });
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::PROTOCOL_VERSION, "2026-07-28"),
        (header::METHOD, method::TOOLS_CALL),
        (header::NAME, tool),
    ] {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    let begun = gateway
        .begin_modern(
            who,
            scope,
            Some(&headers),
            Id::number(1),
            method::TOOLS_CALL.into(),
            Some(RawJson::of(&params)),
            gateway.memory.requests.of(who.id).permit(),
        )
        .await;
    match begun {
        Err(error) => error,
        Ok(StartedRequest::Call { answer, .. }) => answer.await.unwrap_err(),
        Ok(StartedRequest::Listen(_)) => panic!("a call does not listen"),
    }
}

#[tokio::test]
async fn headers_of_a_hidden_tool_are_not_looked_at() {
    let gateway = gateway();
    let one = |name: &str| Scope::One(name.into());
    let all = who(&["*"]);
    for (scope, tool) in [
        (Scope::All, "open__move"),
        (Scope::All, "secret__move"),
        (one("open"), "move"),
        (one("secret"), "move"),
    ] {
        let error = call(&gateway, &all, scope, tool).await;
        assert_eq!(error.code, ErrorCode::HEADER_MISMATCH, "{tool}: {error}");
    }
    // The whole server, and the tool alone.
    for few in [&["mcps/open/other"][..], &["mcps/open", "!mcps/open/move"]] {
        let few = who(few);
        for (hidden, absent) in [
            ((Scope::All, "secret__move"), (Scope::All, "absent__move")),
            ((Scope::All, "open__move"), (Scope::All, "open__away")),
            ((one("secret"), "move"), (one("absent"), "move")),
        ] {
            let name = |scope: &Scope, tool: &str| match scope {
                Scope::All => tool.to_owned(),
                Scope::One(server) => server.to_string(),
            };
            let (one, other) = (name(&hidden.0, hidden.1), name(&absent.0, absent.1));
            let hidden = call(&gateway, &few, hidden.0, hidden.1).await;
            let absent = call(&gateway, &few, absent.0, absent.1).await;
            let masked = |error: &ErrorObject, name: &str| error.message.replace(name, "X");
            assert_eq!(hidden.code, absent.code, "{one}");
            assert_eq!(masked(&hidden, &one), masked(&absent, &other));
            assert!(hidden.data.is_none() && absent.data.is_none());
        }
        let error = call(&gateway, &few, one("open"), "move").await;
        assert_eq!(error.code, ErrorCode::INVALID_PARAMS, "{error}");
    }
}

#[test]
fn a_client_with_a_request_is_not_silent() {
    let modern = Modern::new(Duration::ZERO);
    let facts = RequestMeta {
        version: aih_mcp::ProtocolVersion::LATEST,
        info: None,
        capabilities: RawJson::EMPTY_OBJECT,
        log_level: None,
    };
    let who = who(&["*"]);
    let (client, first) = modern.client(&who, &facts).unwrap();
    let (same, second) = modern.client(&who, &facts).unwrap();
    assert_eq!(client.key, same.key);
    assert!(modern.remove_idle().is_empty());
    drop(first);
    assert!(modern.remove_idle().is_empty());
    drop(second);
    assert_eq!(modern.remove_idle(), std::slice::from_ref(&client.key));
    // Its time counts from the end of its last request.
    let modern = Modern::new(Duration::from_secs(3600));
    drop(modern.client(&who, &facts).unwrap());
    assert!(modern.remove_idle().is_empty());
}
