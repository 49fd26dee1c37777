//! One rule for `/mcp` and `/mcp/{name}`: what names an item takes the item's permission, what the hub does not know takes
//! all of the server, and what a client made is its own.

use aih_tests::{
    Fixture, Hub, KEY, Legacy, Modern, Reply, Start, eventually,
    fixture::{external, mcps, with_method},
    key_hash,
};
use serde_json::{Value, json};

const NARROW: &str = "aih_key-with-some-things-taken-away";
const WHOLE: &str = "aih_key-of-whole-servers";
const SERVERS: [&str; 3] = ["stateful", "stateless", "modern"];

async fn hub(fixture: &Fixture, tag: &str) -> Hub {
    let servers: String = SERVERS
        .iter()
        .map(|server| external(server, &format!("{}/{server}/{tag}", fixture.url), ""))
        .collect();
    let taken = ["pid", "greet", "test://secret"];
    let of = |s: &str| {
        let taken = taken.iter().map(|item| format!("!mcps/{s}/{item}"));
        taken.chain([format!("mcps/{s}/*")]).collect::<Vec<_>>()
    };
    let narrow: Vec<String> = SERVERS.iter().flat_map(|s| of(s)).collect();
    let whole: Vec<String> = SERVERS.iter().map(|s| format!("mcps/{s}/*")).collect();
    let config = format!(
        "auth:\n  api_keys:\n    - {{ name: admin, key_hash: \"{}\", permissions: [\"*\"] }}\n    \
         - {{ name: narrow, key_hash: \"{}\", permissions: {} }}\n    \
         - {{ name: whole, key_hash: \"{}\", permissions: {} }}\n{}",
        key_hash(KEY),
        key_hash(NARROW),
        json!(narrow),
        key_hash(WHOLE),
        json!(whole),
        mcps(&servers, "")
    );
    let start = Start {
        config: &config,
        ..Start::default()
    };
    let hub = start.run().await;
    for server in SERVERS {
        hub.until_up(server).await;
    }
    hub
}

/// A client of either era.
enum Client {
    Legacy(Legacy),
    Modern(Modern),
}

impl Client {
    async fn request(&self, method: &str, params: Value) -> Reply {
        match self {
            Self::Legacy(client) => client.request(method, params).await,
            Self::Modern(client) => client.request(method, params).await,
        }
    }
}

/// A client of each era at one endpoint.
async fn clients(hub: &Hub, path: &str, key: &str) -> [Client; 2] {
    [
        Client::Legacy(Legacy::connect(hub, path, key).await),
        Client::Modern(Modern::new(hub, path, key, json!({}))),
    ]
}

/// Both endpoints of a server, with what stands in front of its names and of its URIs there.
fn endpoints(server: &str) -> [(String, String, String); 2] {
    [
        (
            "/mcp".to_owned(),
            format!("{server}__"),
            format!("aih://{server}/"),
        ),
        (format!("/mcp/{server}"), String::new(), String::new()),
    ]
}

/// The requests of a method that reached a server.
async fn reached(fixture: &Fixture, server: &str, tag: &str, method: &str) -> usize {
    let record = fixture.record(&format!("{server}/{tag}")).await;
    with_method(&record, method).len()
}

#[tokio::test]
async fn what_names_an_item_takes_the_items_permission() {
    const TAG: &str = "items";
    let fixture = Fixture::start().await;
    let hub = hub(&fixture, TAG).await;
    let argument = json!({ "name": "a", "value": "v" });
    for server in SERVERS {
        for (path, name, uri) in endpoints(server) {
            let about = |what: &str, item: &str| {
                let params = match what {
                    "prompt" => json!({ "ref": { "type": "ref/prompt", "name": format!("{name}{item}") },
                        "argument": argument }),
                    "resource" => json!({ "ref": { "type": "ref/resource", "uri": format!("{uri}{item}") },
                        "argument": argument }),
                    "get" => json!({ "name": format!("{name}{item}") }),
                    _ => json!({ "uri": format!("{uri}{item}") }),
                };
                let method = match what {
                    "prompt" | "resource" => "completion/complete",
                    "get" => "prompts/get",
                    _ => "resources/read",
                };
                (method, params)
            };
            let cases = [
                ("prompt", "greet"),
                ("resource", "test://secret"),
                ("get", "greet"),
                ("read", "test://secret"),
            ];
            for client in clients(&hub, &path, NARROW).await {
                for (what, hidden) in cases {
                    let (method, params) = about(what, hidden);
                    let before = reached(&fixture, server, TAG, method).await;
                    let error = client.request(method, params).await.error();
                    let text = error["message"].as_str().unwrap_or_default();
                    assert!(
                        text.contains("unknown") || text.contains("not found"),
                        "{path} {what}: {error}"
                    );
                    assert_eq!(
                        reached(&fixture, server, TAG, method).await,
                        before,
                        "{path} {what}"
                    );
                }
                let (method, params) = about("resource", "test://a");
                client.request(method, params).await.result();
            }
            for client in clients(&hub, &path, WHOLE).await {
                for (what, item) in cases {
                    let (method, params) = about(what, item);
                    client.request(method, params).await.result();
                }
            }
        }
    }
}

#[tokio::test]
async fn what_the_hub_does_not_know_takes_the_whole_server() {
    const TAG: &str = "unknown";
    let fixture = Fixture::start().await;
    let hub = hub(&fixture, TAG).await;
    let methods = [
        "acme/echo",
        "skills/list",
        "skills/get",
        "resources/directory/read",
        "acme",
    ];
    for server in SERVERS {
        let path = format!("/mcp/{server}");
        for method in methods {
            for client in clients(&hub, &path, NARROW).await {
                let error = client
                    .request(method, json!({ "uri": "skill://secret/SKILL.md" }))
                    .await
                    .error();
                assert_eq!(error["code"], -32601, "{path} {method}: {error}");
            }
            assert_eq!(reached(&fixture, server, TAG, method).await, 0, "{path} {method}");
        }
        for key in [WHOLE, KEY] {
            for client in clients(&hub, &path, key).await {
                let echo = client
                    .request("acme/echo", json!({ "N": 1, "n": 2 }))
                    .await
                    .result();
                assert_eq!(
                    (&echo["echo"]["N"], &echo["echo"]["n"]),
                    (&json!(1), &json!(2)),
                    "{path}"
                );
            }
            for client in clients(&hub, "/mcp", key).await {
                assert_eq!(client.request("acme/echo", json!({})).await.code(), -32601);
            }
        }
    }
}

#[tokio::test]
async fn a_task_is_its_clients_own() {
    const TAG: &str = "tasks";
    let fixture = Fixture::start().await;
    let hub = hub(&fixture, TAG).await;
    for server in SERVERS {
        for (path, prefix, _) in endpoints(server) {
            let [legacy, _] = clients(&hub, &path, WHOLE).await;
            let [legacy_other, _] = clients(&hub, &path, WHOLE).await;
            let modern = |name: &str| Client::Modern(Modern::new(&hub, &path, WHOLE, json!({})).named(name));
            let narrow = Client::Legacy(Legacy::connect(&hub, &path, NARROW).await);
            let pairs = [(legacy, legacy_other), (modern("one"), modern("other"))];
            for (owner, other) in pairs {
                let call =
                    json!({ "name": format!("{prefix}pid"), "arguments": { "later": true, "text": "mine" } });
                let made = owner.request("tools/call", call).await.result();
                let id = made["task"]["taskId"]
                    .as_str()
                    .or(made["taskId"].as_str())
                    .map(str::to_owned);
                let id = id.unwrap_or_else(|| panic!("no task: {made}"));
                let about = json!({ "taskId": id });
                for stranger in [&other, &narrow] {
                    for method in ["tasks/get", "tasks/result", "tasks/update", "tasks/cancel"] {
                        let before = reached(&fixture, server, TAG, method).await;
                        let of_another = stranger.request(method, about.clone()).await.error();
                        let of_nobody = stranger
                            .request(method, json!({ "taskId": "absent" }))
                            .await
                            .error();
                        assert_eq!(
                            of_another["code"], of_nobody["code"],
                            "{path} {method}: {of_another}"
                        );
                        let told = of_another["message"]
                            .as_str()
                            .unwrap_or_default()
                            .replace(&id, "absent");
                        assert_eq!(told, of_nobody["message"].as_str().unwrap_or_default(), "{path}");
                        assert_eq!(
                            reached(&fixture, server, TAG, method).await,
                            before,
                            "{path} {method}"
                        );
                    }
                }
                let got = owner.request("tasks/get", about.clone()).await.result();
                assert_eq!(got["taskId"], *id, "{path}: {got}");
                let result = owner.request("tasks/result", about.clone()).await.result();
                assert_eq!(result["content"][0]["text"], "mine", "{path}: {result}");
                if path == "/mcp" {
                    assert_eq!(owner.request("tasks/list", json!({})).await.code(), -32601);
                } else {
                    let listed = |reply: Reply| reply.result()["tasks"].to_string();
                    assert!(
                        listed(owner.request("tasks/list", json!({})).await).contains(&id),
                        "{path}"
                    );
                    for stranger in [&other, &narrow] {
                        assert_eq!(
                            listed(stranger.request("tasks/list", json!({})).await),
                            "[]",
                            "{path}"
                        );
                    }
                }
                owner.request("tasks/cancel", about).await.result();
            }
        }
    }
}

#[tokio::test]
async fn what_a_client_says_reaches_no_connection_that_others_share() {
    const TAG: &str = "notes";
    let fixture = Fixture::start().await;
    let hub = hub(&fixture, TAG).await;
    let notes = [
        "notifications/acme",
        "notifications/progress",
        "notifications/roots/list_changed",
        "notifications/message",
    ];
    for path in ["/mcp", "/mcp/stateful", "/mcp/stateless", "/mcp/modern"] {
        for key in [NARROW, WHOLE] {
            let client = Legacy::connect(&hub, path, key).await;
            // So that the client has a connection of its own where there is such a thing.
            let prefixes: Vec<&str> = if path == "/mcp" {
                vec!["stateful__", "stateless__", "modern__"]
            } else {
                vec![""]
            };
            for prefix in prefixes {
                client
                    .call(&format!("{prefix}echo"), json!({ "text": "x" }))
                    .await
                    .text();
            }
            for method in notes {
                let params = json!({ "from": format!("{path} {key}"), "progressToken": 1, "progress": 1 });
                assert_eq!(client.notify(method, params).await, 202);
            }
        }
    }
    let heard = async |server: &str, method: &str| -> Vec<String> {
        let record = fixture.record(&format!("{server}/{TAG}")).await;
        let notes = with_method(&record, method).into_iter();
        let from = notes.filter_map(|note| note["params"]["from"].as_str().map(str::to_owned));
        from.collect()
    };
    // The server with sessions hears its own clients: of all that the hub knows, and of the rest from who may use
    // all of it.
    for (method, who) in [
        ("notifications/acme", [WHOLE, WHOLE].as_slice()),
        ("notifications/progress", &[NARROW, WHOLE, NARROW, WHOLE]),
        (
            "notifications/roots/list_changed",
            &[NARROW, WHOLE, NARROW, WHOLE],
        ),
    ] {
        let heard = eventually(&format!("the server hears {method}"), || async {
            let heard = heard("stateful", method).await;
            (heard.len() >= who.len()).then_some(heard)
        })
        .await;
        for key in [NARROW, WHOLE] {
            let expected = who.iter().filter(|one| **one == key).count();
            let found = heard.iter().filter(|from| from.ends_with(key)).count();
            assert_eq!(found, expected, "{method}: {heard:?}");
        }
    }
    // By now what was sent earlier would have arrived too.
    for server in ["stateless", "modern"] {
        for method in notes {
            assert_eq!(
                heard(server, method).await,
                Vec::<String>::new(),
                "{server} {method}"
            );
        }
    }
}

#[tokio::test]
async fn a_subscription_is_its_clients_own() {
    const TAG: &str = "follow";
    let fixture = Fixture::start().await;
    let hub = hub(&fixture, TAG).await;
    for (path, _, uri) in endpoints("stateless") {
        let one = Legacy::connect(&hub, &path, WHOLE).await;
        let other = Legacy::connect(&hub, &path, WHOLE).await;
        let about = json!({ "uri": format!("{uri}test://a") });
        let before = reached(&fixture, "stateless", TAG, "resources/unsubscribe").await;
        one.request("resources/subscribe", about.clone()).await.result();
        other
            .request("resources/unsubscribe", about.clone())
            .await
            .result();
        let after = reached(&fixture, "stateless", TAG, "resources/unsubscribe").await;
        assert_eq!(after, before, "{path}");
        one.request("resources/unsubscribe", about).await.result();
        eventually("the subscription has ended", || async {
            let ended = reached(&fixture, "stateless", TAG, "resources/unsubscribe").await;
            (ended > before).then_some(())
        })
        .await;
        let hidden = json!({ "uri": format!("{uri}test://secret") });
        let narrow = Legacy::connect(&hub, &path, NARROW).await;
        narrow.request("resources/subscribe", hidden).await.error();
    }
}
