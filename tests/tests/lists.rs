//! Lists, results and greetings of servers as each client takes them: real clients, and what goes over the wire.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use aih_tests::{Hub, KEY, Legacy, Modern, Start, key_hash, real, tools};
use serde_json::{Value, json};

/// An entry of `mcps.local` for `listed_server.py`.
fn listed(name: &str, said: &Value) -> Value {
    let script = tools::script("listed_server.py");
    json!({ "name": name, "command": tools::python("python"), "args": [script, said.to_string()] })
}

async fn hub(servers: &[Value]) -> Hub {
    let hub = Hub::start(&real::mcps(&json!(servers), &json!([]))).await;
    for server in servers {
        hub.until_up(server["name"].as_str().unwrap()).await;
    }
    hub
}

/// The same for the usual key, and for one with fewer permissions.
async fn with_narrow_key(servers: &Value, key: &str, permissions: &Value) -> Hub {
    let config = format!(
        "auth:\n  api_keys:\n    - {{ name: admin, key_hash: \"{}\", permissions: [\"*\"] }}\n    \
         - {{ name: narrow, key_hash: \"{}\", permissions: {permissions} }}\n{}",
        key_hash(KEY),
        key_hash(key),
        real::mcps(servers, &json!([])),
    );
    let hub = Start {
        config: &config,
        ..Start::default()
    }
    .run()
    .await;
    for server in servers.as_array().unwrap() {
        hub.until_up(server["name"].as_str().unwrap()).await;
    }
    hub
}

/// A tool of this name with these members beside or in place of the good ones.
fn tool(name: &str, members: Value) -> Value {
    let mut tool = json!({
        "name": name, "description": "d",
        "inputSchema": { "type": "object", "properties": { "x": { "type": "string" } } },
    });
    for (key, value) in members.as_object().unwrap() {
        tool[key] = value.clone();
    }
    tool
}

/// Tools each of which makes one of the official SDKs refuse the whole list.
fn refused_tools() -> Vec<Value> {
    let input = |schema: Value| json!({ "inputSchema": schema });
    let output = |schema: Value| json!({ "outputSchema": schema });
    let members = [
        input(json!({ "type": "object", "properties": { "x": true, "y": false } })),
        input(json!({})),
        input(json!({ "properties": { "x": {} } })),
        input(Value::Null),
        input(json!({ "type": "object", "required": null, "properties": null })),
        input(json!({ "type": "object", "properties": { "x": null } })),
        input(json!({ "type": ["object", "null"] })),
        input(json!({ "type": "object", "$schema": 7 })),
        output(json!({ "type": "array", "items": { "type": "string" } })),
        output(json!({})),
        output(Value::Null),
        output(json!(true)),
        output(json!({ "type": "object", "properties": { "x": { "type": "text" } } })),
        output(json!({ "type": "object", "properties": { "x": { "$ref": "#/$defs/gone" } } })),
        output(json!({ "type": "object", "properties": { "x": { "pattern": "(?P<y>x)" } } })),
        output(json!({ "type": "object", "properties": { "x": { "required": true } } })),
        output(json!({ "type": "object", "properties": { "x": { "nullable": true } } })),
        output(
            json!({ "type": "object", "properties": { "x": { "minimum": 1, "exclusiveMinimum": true } } }),
        ),
        json!({ "title": null }),
        json!({ "description": null }),
        json!({ "icons": null }),
        json!({ "icons": [{ "url": "https://a.test" }] }),
        json!({ "icons": [{ "src": "https://a.test", "sizes": "48x48", "theme": "blue" }] }),
        json!({ "annotations": null }),
        json!({ "annotations": { "readOnlyHint": "yes", "title": null } }),
        json!({ "execution": { "taskSupport": "maybe" } }),
        json!({ "_meta": [] }),
    ];
    let tools = members.into_iter().enumerate();
    tools
        .map(|(i, members)| tool(&format!("bad-{i}"), members))
        .collect()
}

/// Each official client of each era that it speaks.
async fn every_client(hub: &Hub, path: &str, job: &Value) -> Vec<(String, Value)> {
    let mut answers = Vec::new();
    for era in ["legacy", "auto"] {
        let mut job = job.clone();
        for (key, value) in [("transport", "http"), ("key", KEY), ("era", era)] {
            job[key] = json!(value);
        }
        job["url"] = json!(hub.url(path));
        if era == "legacy" {
            answers.push(("TypeScript 1".to_owned(), real::typescript_v1(&job).await));
        }
        answers.push((format!("TypeScript 2, {era}"), real::typescript_v2(&job).await));
        answers.push((format!("Python, {era}"), real::python(&job).await));
    }
    answers
}

#[tokio::test]
async fn one_bad_item_costs_no_client_the_list() {
    let mut all = refused_tools();
    all.extend([
        json!(7),
        json!({ "name": null }),
        tool("not-an-object", json!({ "inputSchema": { "type": "array" } })),
    ]);
    all.push(tool("good", json!({})));
    let bad = |key: &str, n: usize| json!({ key: format!("x:{n}"), "name": null, "title": 7, "icons": 7, "annotations": { "priority": 7, "lastModified": "today" }, "size": 1.5 });
    let said = |era: &str| {
        json!({
            "era": era,
            "tools": all,
            "prompts": [{ "name": "p", "title": null, "arguments": [{ "name": "a", "required": "yes" }, { "name": null }] }, null, {}],
            "resources": [bad("uri", 1), { "name": "without a URI" }, { "uri": "x:2", "name": "good" }],
            "resourceTemplates": [bad("uriTemplate", 1), 7],
        })
    };
    let hub = hub(&[listed("old", &said("legacy")), listed("new", &said("modern"))]).await;
    let expected: Vec<String> = (0..refused_tools().len())
        .map(|i| format!("bad-{i}"))
        .chain(["good".to_owned()])
        .collect();
    for server in ["old", "new"] {
        for (client, answer) in every_client(&hub, &format!("/mcp/{server}"), &json!({})).await {
            assert_eq!(answer["tools"], json!(expected), "{client} at {server}");
            assert_eq!(answer["resources"], json!(["x:1", "x:2"]), "{client} at {server}");
            assert_eq!(answer["prompts"], json!(["p"]), "{client} at {server}");
        }
    }
    for (client, answer) in every_client(&hub, "/mcp", &json!({})).await {
        let tools = answer["tools"].as_array().unwrap();
        for name in &expected {
            for server in ["old", "new"] {
                assert!(
                    tools.contains(&json!(format!("{server}__{name}"))),
                    "{client}: {server} {name}"
                );
            }
        }
    }
    let warnings = hub
        .output()
        .lines()
        .filter(|line| line.contains("do not follow MCP"))
        .count();
    assert_eq!(warnings, 8, "one warning for each list of each server");
}

#[tokio::test]
async fn flaws_are_told_to_those_who_may_use_the_item() {
    const NARROW: &str = "aih_key-without-the-hidden-tool";
    let said = json!({ "tools": [
        tool("hidden", json!({ "title": null })),
        tool("shown", json!({ "title": null })),
        tool("gone", json!({ "inputSchema": { "type": "string" } })),
        7,
        tool("denied", json!({ "title": null })),
    ] });
    let mut server = listed("one", &said);
    server["tools"] = json!({ "deny": ["denied"], "rename": { "shown": "renamed" } });
    let hub = with_narrow_key(
        &json!([server]),
        NARROW,
        &json!(["mcps/one/*", "!mcps/one/hidden"]),
    )
    .await;
    for (key, expected) in [
        (
            KEY,
            &[
                ("hidden", false),
                ("renamed", false),
                ("gone", true),
                ("#4", true),
            ][..],
        ),
        (NARROW, &[("renamed", false), ("gone", true), ("#4", true)][..]),
    ] {
        let client = Legacy::connect(&hub, "/mcp", key).await;
        for tool in ["aih__list_mcps", "aih__health"] {
            let told = client.call(tool, json!({})).await.result();
            let flaws = told["structuredContent"]["mcps"][0]["flaws"].clone();
            let found: Vec<(String, bool)> = flaws
                .as_array()
                .unwrap()
                .iter()
                .map(|flaw| {
                    assert_eq!(flaw["list"], "tools");
                    let name = flaw["item"].as_str().unwrap().to_owned();
                    (name, flaw["left_out"].as_bool().unwrap())
                })
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, out)| ((*name).to_owned(), *out))
                .collect();
            assert_eq!(found, expected, "{tool}");
            assert!(flaws.to_string().contains("`title` is not a text"), "{flaws}");
        }
    }
}

#[tokio::test]
async fn a_good_list_is_what_the_server_said() {
    let tools = json!([tool(
        "a",
        json!({
            "annotations": { "readOnlyHint": true, "odd": [null] }, "odd": null,
            "_meta": { "n": 1.5, "deep": { "x": [1, null] } },
            "outputSchema": { "type": "object", "properties": { "x": { "$ref": "#/$defs/x" } }, "$defs": { "x": { "const": null } } },
        })
    )]);
    let resources =
        json!([{ "uri": "x:1", "name": "x", "size": 7, "odd": null, "annotations": { "priority": 0.5 } }]);
    let hub = hub(&[listed("one", &json!({ "tools": tools, "resources": resources }))]).await;
    let client = Legacy::connect(&hub, "/mcp/one", KEY).await;
    assert_eq!(
        client.request("tools/list", json!({})).await.result()["tools"],
        tools
    );
    assert_eq!(
        client.request("resources/list", json!({})).await.result()["resources"],
        resources
    );
    let all = Legacy::connect(&hub, "/mcp", KEY).await;
    let shown = all.tools().await;
    let shown = shown.iter().find(|tool| tool["name"] == "one__a").unwrap();
    let mut expected = tools[0].clone();
    expected["name"] = json!("one__a");
    expected["source"] = json!("one");
    expected["_meta"]["aih/source"] = json!("one");
    assert_eq!(*shown, expected);
}

#[tokio::test]
async fn structured_results_reach_every_client() {
    let said = |era: &str| {
        let results = json!({
            "object": { "content": [], "structuredContent": { "n": 1 } },
            "list": { "content": [], "structuredContent": [1, 2] },
            "text": { "content": [{ "type": "text", "text": "t" }], "structuredContent": { "n": 1 } },
            "nothing": {},
        });
        let names = ["object", "list", "text", "nothing"];
        json!({ "era": era, "tools": names.map(|name| tool(name, json!({}))), "results": results })
    };
    let hub = hub(&[listed("old", &said("legacy")), listed("new", &said("modern"))]).await;
    for server in ["old", "new"] {
        let names = ["object", "list", "text", "nothing"];
        let calls = names.map(|name| json!({ "name": format!("{server}__{name}"), "arguments": {} }));
        for (client, answer) in every_client(&hub, "/mcp", &json!({ "calls": calls })).await {
            let text = |at: usize| answer["calls"][at]["content"][0]["text"].clone();
            let parsed = |at: usize| serde_json::from_str::<Value>(text(at).as_str().unwrap()).unwrap();
            assert_eq!(parsed(0), json!({ "n": 1 }), "{client} at {server}");
            assert_eq!(
                answer["calls"][0]["structuredContent"],
                json!({ "n": 1 }),
                "{client} at {server}"
            );
            assert_eq!(parsed(1), json!([1, 2]), "{client} at {server}");
            assert_eq!(text(2), "t");
            assert_eq!(answer["calls"][2]["content"].as_array().unwrap().len(), 1);
            assert_eq!(answer["calls"][3]["content"], json!([]), "{client} at {server}");
        }
    }
}

#[tokio::test]
async fn each_client_gets_the_shape_of_its_era() {
    let info = json!({ "name": "listed", "version": "1", "title": null, "icons": [{ "src": "data:,".to_owned() + &"x".repeat(8_000) }] });
    let said = |era: &str| {
        let mut result = json!({ "content": [{ "type": "text", "text": "t" }] });
        let mut read = json!({ "contents": [{ "uri": "x:1", "text": "t" }] });
        if era == "modern" {
            // As the official servers say it in each answer.
            for answer in [&mut result, &mut read] {
                answer["resultType"] = json!("complete");
                answer["_meta"] = json!({ "io.modelcontextprotocol/serverInfo": info });
            }
            read["ttlMs"] = json!(0);
            read["cacheScope"] = json!("private");
        }
        json!({
            "era": era, "info": info,
            "capabilities": { "tools": {}, "resources": { "subscribe": false }, "prompts": null, "logging": 7, "odd": 1.5 },
            "tools": [tool("a", json!({}))], "results": { "a": result, "bare": { "content": [] } },
            "resources": [{ "uri": "x:1", "name": "x" }], "reads": { "x:1": read },
        })
    };
    let hub = hub(&[listed("old", &said("legacy")), listed("new", &said("modern"))]).await;
    for server in ["old", "new"] {
        let path = format!("/mcp/{server}");
        let capabilities = json!({
            "tools": { "listChanged": true }, "resources": { "subscribe": false, "listChanged": true }, "odd": 1.5,
        });
        let legacy = Legacy::connect(&hub, &path, KEY).await;
        let again = legacy
            .request("tools/call", json!({ "name": "a", "arguments": {} }))
            .await
            .result();
        assert_eq!(
            again,
            json!({ "content": [{ "type": "text", "text": "t" }] }),
            "{server}"
        );
        let read = legacy
            .request("resources/read", json!({ "uri": "x:1" }))
            .await
            .result();
        assert_eq!(
            read,
            json!({ "contents": [{ "uri": "x:1", "text": "t" }] }),
            "{server}"
        );
        let modern = Modern::new(&hub, &path, KEY, json!({}));
        let greeting = modern.request("server/discover", json!({})).await.result();
        assert_eq!(greeting["capabilities"], capabilities, "{server}");
        let told = &greeting["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!((told["name"].as_str(), told.get("title")), (Some("listed"), None));
        let called = modern.call("a", json!({})).await.result();
        assert_eq!(called["resultType"], "complete", "{server}");
        let read = modern
            .request("resources/read", json!({ "uri": "x:1" }))
            .await
            .result();
        for member in ["resultType", "ttlMs", "cacheScope"] {
            assert!(read.get(member).is_some(), "{server}: {read}");
        }
        for (client, answer) in every_client(&hub, &path, &json!({ "reads": ["x:1"] })).await {
            assert_eq!(answer["tools"], json!(["a"]), "{client} at {server}");
        }
    }
}

#[tokio::test]
async fn what_a_client_fetches_by_itself_keeps_its_address() {
    const NARROW: &str = "aih_key-of-the-second-server";
    let web = "https://files.test/a.pdf";
    let said = |text: &str| {
        json!({
            "tools": [tool("link", json!({}))],
            "results": { "link": { "content": [{ "type": "resource_link", "uri": web, "name": "a" }, { "type": "resource_link", "uri": "file:///a", "name": "a" }] } },
            "resources": [{ "uri": web, "name": "a" }, { "uri": "file:///a", "name": "a" }],
            "resourceTemplates": [{ "uriTemplate": "https://files.test/of/{name}", "name": "t" }],
            "reads": {
                web: { "contents": [{ "uri": web, "text": text }] },
                "https://files.test/of/x": { "contents": [{ "uri": "https://files.test/of/x", "text": text }] },
            },
        })
    };
    let servers = [listed("one", &said("of one")), listed("two", &said("of two"))];
    let hub = with_narrow_key(&json!(servers), NARROW, &json!(["mcps/two/*"])).await;
    for (key, text) in [(KEY, "of one"), (NARROW, "of two")] {
        let client = Legacy::connect(&hub, "/mcp", key).await;
        let links = client.call("two__link", json!({})).await.result()["content"].clone();
        assert_eq!(
            (&links[0]["uri"], &links[1]["uri"]),
            (&json!(web), &json!("aih://two/file:///a"))
        );
        let list = client.request("resources/list", json!({})).await.result()["resources"].to_string();
        assert!(list.contains(&json!(web).to_string()), "{list}");
        for uri in [web, "https://files.test/of/x"] {
            let read = client
                .request("resources/read", json!({ "uri": uri }))
                .await
                .result();
            assert_eq!(read["contents"], json!([{ "uri": uri, "text": text }]));
        }
        // An address that the hub gave out before is still understood.
        let before = format!("aih://two/{web}");
        let read = client
            .request("resources/read", json!({ "uri": before }))
            .await
            .result();
        assert_eq!(read["contents"][0]["text"], "of two");
        let unknown = client
            .request("resources/read", json!({ "uri": "https://other.test/" }))
            .await;
        assert_eq!(unknown.code(), -32002);
    }
}

#[tokio::test]
async fn views_are_named_where_they_can_be_read() {
    const NARROW: &str = "aih_key-without-the-view";
    let view = "ui://panel/main";
    let meta =
        json!({ "n": 1.5, "ui": { "resourceUri": view, "visibility": ["model"] }, "ui/resourceUri": view });
    let said = json!({
        "tools": [tool("show", json!({ "_meta": meta }))],
        "results": { "show": { "content": [], "_meta": meta } },
        "resources": [{ "uri": view, "name": "main" }],
        "reads": { view: { "contents": [{ "uri": view, "text": "the view" }] } },
    });
    let hub = with_narrow_key(
        &json!([listed("one", &said), listed("two", &said)]),
        NARROW,
        &json!(["mcps/*", "!mcps/one/ui://panel/main"]),
    )
    .await;
    for (path, prefix, shown) in [("/mcp", "one__", "ui://one/panel/main"), ("/mcp/one", "", view)] {
        for key in [KEY, NARROW] {
            let client = Legacy::connect(&hub, path, key).await;
            let tools = client.tools().await;
            let listed = tools
                .iter()
                .find(|tool| tool["name"] == format!("{prefix}show"))
                .unwrap();
            let result = client.call(&format!("{prefix}show"), json!({})).await.result();
            for meta in [&listed["_meta"], &result["_meta"]] {
                assert_eq!(
                    (&meta["n"], &meta["ui"]["visibility"]),
                    (&json!(1.5), &json!(["model"]))
                );
                let named = [&meta["ui"]["resourceUri"], &meta["ui/resourceUri"]];
                match key {
                    KEY => assert_eq!(named, [&json!(shown), &json!(shown)], "{path}"),
                    _ => assert_eq!(named, [&Value::Null, &Value::Null], "{path}"),
                }
            }
            if key == KEY {
                let read = client
                    .request("resources/read", json!({ "uri": shown }))
                    .await
                    .result();
                assert_eq!(read["contents"], json!([{ "uri": shown, "text": "the view" }]));
            }
        }
    }
}

#[tokio::test]
async fn instructions_of_servers_reach_the_clients_of_the_hub() {
    const NARROW: &str = "aih_key-of-the-first-server";
    let of = |text: &str| json!({ "tools": [tool("a", json!({}))], "instructions": text });
    let long = format!("Always say please. {}", "é".repeat(30_000));
    let mut servers = vec![
        listed("first", &of("Ask for the plan first.")),
        listed("my-long", &of(&long)),
        listed("silent", &of(" ")),
    ];
    servers.extend((0..8).map(|n| listed(&format!("more-{n}"), &of(&"x".repeat(3_000)))));
    let hub = with_narrow_key(&json!(servers), NARROW, &json!(["mcps/first/*"])).await;
    for (client, answer) in every_client(&hub, "/mcp", &json!({})).await {
        // The Python clients of these tests do not tell them.
        let Some(told) = answer["instructions"].as_str() else {
            continue;
        };
        assert!(
            told.contains("`first`") && told.contains("Ask for the plan first."),
            "{client}: {told}"
        );
        assert!(
            told.contains("my_long__…") && told.contains("Always say please."),
            "{client}: {told}"
        );
        assert!(!told.contains("`silent`"), "{client}: {told}");
        assert!(
            told.contains("aih__list_mcps shows: ") && told.contains("more-7"),
            "{client}: {told}"
        );
        assert!(told.chars().count() < 16_000, "{client}: {}", told.len());
    }
    let narrow = Modern::new(&hub, "/mcp", NARROW, json!({}));
    let told = narrow.request("server/discover", json!({})).await.result()["instructions"].to_string();
    assert!(
        told.contains("Ask for the plan first.") && !told.contains("my-long"),
        "{told}"
    );
    let admin = Legacy::connect(&hub, "/mcp", KEY).await;
    let mcps = admin.call("aih__list_mcps", json!({})).await.result()["structuredContent"]["mcps"].clone();
    let said = |name: &str| {
        let mcps = mcps.as_array().unwrap();
        mcps.iter()
            .find(|mcp| mcp["name"] == name)
            .unwrap()
            .get("instructions")
            .cloned()
    };
    assert_eq!(said("first"), Some(json!("Ask for the plan first.")));
    assert_eq!(said("my-long").unwrap().as_str().unwrap().chars().count(), 16_000);
    assert_eq!(said("silent"), None);
}

#[tokio::test]
async fn clients_that_show_no_instructions_find_them_in_a_tool() {
    let hub = hub(&[]).await;
    for (name, in_tool) in [
        ("qwen-cli-mcp-client-ai-hub", true),
        ("continue-cli-client", true),
        ("somebody", false),
    ] {
        for path in ["/mcp", "/mcp/aih"] {
            let client = Modern::new(&hub, path, KEY, json!({})).named(name);
            let tools = client.request("tools/list", json!({})).await.result()["tools"].clone();
            let told: Vec<&Value> = tools
                .as_array()
                .unwrap()
                .iter()
                .filter(|tool| tool["description"].to_string().contains("SERVER__TOOL"))
                .collect();
            assert_eq!(told.len(), usize::from(in_tool), "{name} at {path}");
            assert!(
                told.iter()
                    .all(|tool| tool["name"].as_str().unwrap().ends_with("list_mcps"))
            );
        }
    }
}

#[tokio::test]
async fn what_a_known_client_cannot_read_is_written_in_another_way() {
    const AS_WRITTEN: &str = "aih_key-that-gets-all-as-it-is-written";
    let choice = json!({
        "type": "object", "properties": { "a": { "type": "string" }, "n": { "$ref": "#/$defs/n" } },
        "oneOf": [{ "required": ["a"] }, { "properties": { "b": { "type": "integer" } }, "required": ["b"] }],
        "$defs": { "n": { "type": "number", "minimum": 1.5 } },
    });
    let unknown = json!({ "type": "hologram", "q": [1.5] });
    let said = json!({
        "tools": [tool("choice", json!({ "inputSchema": choice }))],
        "results": { "choice": { "content": [{ "type": "text", "text": "t" }, unknown] } },
    });
    let config = format!(
        "auth:\n  api_keys:\n    - {{ name: admin, key_hash: \"{}\", permissions: [\"*\"] }}\n    \
         - {{ name: whole, key_hash: \"{}\", permissions: [\"*\"], compat: off }}\n{}",
        key_hash(KEY),
        key_hash(AS_WRITTEN),
        real::mcps(&json!([listed("one", &said)]), &json!([])),
    );
    let hub = Start {
        config: &config,
        ..Start::default()
    }
    .run()
    .await;
    hub.until_up("one").await;
    for (key, name, choices, definitions, blocks) in [
        (KEY, "claude-code", false, true, false),
        (KEY, "continue-cli-client", true, false, false),
        (KEY, "somebody", true, true, true),
        (AS_WRITTEN, "claude-code", true, true, true),
        (AS_WRITTEN, "continue-cli-client", true, true, true),
    ] {
        let client = Modern::new(&hub, "/mcp/one", key, json!({})).named(name);
        let listed = client.request("tools/list", json!({})).await.result()["tools"][0].clone();
        let schema = &listed["inputSchema"];
        assert_eq!(schema.get("oneOf").is_some(), choices, "{name}: {schema}");
        assert_eq!(schema.get("$defs").is_some(), definitions, "{name}: {schema}");
        if choices && definitions {
            assert_eq!(*schema, choice, "{name}");
        }
        if !choices {
            assert_eq!(schema["properties"]["b"], json!({ "type": "integer" }), "{name}");
        }
        if !definitions {
            assert_eq!(
                schema["properties"]["n"],
                json!({ "type": "number", "minimum": 1.5 }),
                "{name}"
            );
        }
        let content = client.call("choice", json!({ "a": "x" })).await.result()["content"].clone();
        match blocks {
            true => assert_eq!(content[1], unknown, "{name}"),
            false => {
                let text = content[1]["text"].as_str().unwrap();
                assert_eq!(serde_json::from_str::<Value>(text).unwrap(), unknown, "{name}");
            }
        }
    }
}
