//! The example plugins of the repository on pages, in a real browser, and on real PDFs, also called by real MCP clients.

use std::path::{Path, PathBuf};

use aih_tests::{Hub, KEY, real, tools};
use axum::{Router, extract::Path as Segment, http::header::CONTENT_TYPE, routing::get};
use base64::Engine as _;
use serde_json::{Value, json};

use crate::{hub, plugin, until_state};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

const PAGE: &str = "<!doctype html><html lang=en><head><title>Bees &amp; wax</title>
<meta name=description content='About bees'><link rel=canonical href=/bees></head>
<body><nav><a href=/home>Home</a></nav><main><h1>Bees</h1><p>Bees make <b>wax</b> and honey, and have done so for a very long time.</p>
<table><tr><th>Kind<th>Legs</tr><tr><td>Worker<td>6</tr></table><a href='more?x=1'>More</a></main>
<script>document.title = 'changed'</script></body></html>";

#[tokio::test]
async fn the_web_scraper_reads_pages() {
    let html = |text: &'static str| async move { ([(CONTENT_TYPE, "text/html; charset=utf-8")], text) };
    let app = Router::new()
        .route("/page", get(move || html(PAGE)))
        .route("/secret/page", get(move || html(PAGE)))
        .route(
            "/robots.txt",
            get(|| async { "User-agent: *\nDisallow: /secret/\n" }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let file = root().join("example-plugins/web-scraper/web-scraper.js");
    let grants =
        format!("grants: {{ http: [\"http://127.0.0.1:{port}\"], state: {{ max_bytes: \"1MB\" }} }}");
    let hub = hub(
        &[plugin("web-scraper", &file.display().to_string(), &grants)],
        &["web-scraper"],
    )
    .await;
    let client = hub.legacy().await;
    let call = async |tool: &str, path: &str, more: Value| {
        let mut arguments = json!({"url": format!("http://127.0.0.1:{port}{path}")});
        for (key, value) in more.as_object().unwrap() {
            arguments[key] = value.clone();
        }
        client
            .call(&format!("web_scraper__{tool}"), arguments)
            .await
            .result()
    };
    let page = call("fetch_page", "/page", json!({})).await;
    let text = page["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("Bees make **wax** and honey"), "{text}");
    assert_eq!(page["structuredContent"]["title"], "Bees & wax", "{page}");
    let tables = call("tables", "/page", json!({})).await;
    assert!(tables.to_string().contains("Worker"), "{tables}");
    let links = call("links", "/page", json!({})).await;
    assert!(
        links
            .to_string()
            .contains(&format!("http://127.0.0.1:{port}/more?x=1")),
        "{links}"
    );
    let tool = |name: &str| json!({"name": format!("web_scraper__{name}"), "arguments": {"url": format!("http://127.0.0.1:{port}/page")}});
    let mut job = json!({"transport": "http", "url": hub.url("/mcp"), "key": KEY, "era": "auto"});
    job["calls"] = json!([tool("fetch_page"), tool("links"), tool("tables")]);
    let answer = real::typescript_v2(&job).await;
    let calls = &answer["calls"];
    assert_eq!(calls[0]["structuredContent"]["title"], "Bees & wax", "{answer}");
    assert_eq!(
        calls[1]["structuredContent"], links["structuredContent"],
        "{answer}"
    );
    assert_eq!(
        calls[2]["structuredContent"], tables["structuredContent"],
        "{answer}"
    );
    let forbidden = call("fetch_page", "/secret/page", json!({})).await;
    assert_eq!(forbidden["isError"], true, "{forbidden}");
    assert!(forbidden.to_string().contains("robots.txt"), "{forbidden}");
    let rendered = call("fetch_page", "/page", json!({"render": true})).await;
    assert_eq!(rendered["isError"], true, "{rendered}");
    server.abort();
}

/// The script's text comes late, as it does where a page fetches its content.
const MADE_BY_SCRIPT: &str = "<!doctype html><title>Shell</title><main id=main>Nothing yet</main><script>
setTimeout(() => { document.getElementById('main').innerHTML = '<h1>Shelf ' + location.pathname.slice(-1) + '</h1><p>' + ['written', 'by', 'script'].join(' ') + '</p>'; }, 200);
</script>";

#[tokio::test]
async fn the_web_scraper_renders_pages_in_a_browser() {
    let app = Router::new().route(
        "/shelf/{name}",
        get(|Segment(_): Segment<String>| async {
            ([(CONTENT_TYPE, "text/html; charset=utf-8")], MADE_BY_SCRIPT)
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let file = root().join("example-plugins/web-scraper/web-scraper.js");
    let grants = format!(
        "grants: {{ http: [\"http://127.0.0.1:{port}\"], mcps: [\"playwright/browser_navigate\", \"playwright/browser_wait_for\", \"playwright/browser_evaluate\"], state: {{ max_bytes: \"1MB\" }} }}, limits: {{ time: \"120s\" }}, config: {{ browser: playwright, timeout_ms: 100000 }}"
    );
    let hub = Hub::start(&format!(
        "{}plugins:\n{}",
        real::mcps(&json!([real::browser("playwright")]), &json!([])),
        plugin("web-scraper", &file.display().to_string(), &grants)
    ))
    .await;
    until_state(&hub, "web-scraper", "up").await;
    hub.until_up("playwright").await;
    let client = hub.legacy().await;
    let fetch = async |shelf: &str, more: Value| {
        let mut arguments = json!({"url": format!("http://127.0.0.1:{port}/shelf/{shelf}")});
        for (key, value) in more.as_object().unwrap() {
            arguments[key] = value.clone();
        }
        client.call("web_scraper__fetch_page", arguments).await.result()
    };
    let plain = fetch("1", json!({})).await;
    assert!(plain.to_string().contains("Nothing yet"), "{plain}");
    assert!(!plain.to_string().contains("written by script"), "{plain}");
    // Two at a time, with one page in the browser: each gets its own.
    let render = json!({"render": true, "wait_for": "written by script"});
    let (one, two) = tokio::join!(fetch("1", render.clone()), fetch("2", render));
    for (page, shelf) in [(one, "Shelf 1"), (two, "Shelf 2")] {
        assert_ne!(page["isError"], true, "{page}");
        let found = &page["structuredContent"];
        assert_eq!(found["rendered"], true, "{page}");
        assert_eq!(found["status"], 200, "{page}");
        let content = found["content"].as_str().unwrap();
        assert!(
            content.contains(shelf) && content.contains("written by script"),
            "{page}"
        );
    }
    let gone = fetch("3", json!({"render": true, "wait_for": "what no page says"})).await;
    assert_eq!(gone["isError"], true, "{gone}");
    assert!(gone.to_string().contains("could not wait for"), "{gone}");
    server.abort();
}

#[tokio::test]
async fn the_pdf_processor_reads_pdfs() {
    let file = root().join("example-plugins/pdf-processor/pdf-processor.py");
    let folder = root().join("tests/fixtures/pdf");
    let grants = format!(
        "grants: {{ files: [{{ path: \"{}\", as: \"/documents\" }}] }}, limits: {{ memory: \"512MB\", time: \"60s\" }}",
        folder.display()
    );
    let hub = hub(
        &[plugin("pdf-processor", &file.display().to_string(), &grants)],
        &["pdf-processor"],
    )
    .await;
    let client = hub.legacy().await;
    let call = async |tool: &str, arguments: Value| {
        client
            .call(&format!("pdf_processor__{tool}"), arguments)
            .await
            .result()
    };
    let found = call("extract_text", json!({"path": "report.pdf"})).await;
    assert_ne!(found["isError"], true, "{found}");
    assert!(
        found["structuredContent"]["pages"].as_array().unwrap().len() > 2,
        "{found}"
    );
    let bytes = std::fs::read(folder.join("form.pdf")).unwrap();
    let data = base64::engine::general_purpose::STANDARD.encode(bytes);
    let fields = call("form_fields", json!({"data": data})).await;
    assert!(
        !fields["structuredContent"]["fields"]
            .as_array()
            .unwrap()
            .is_empty(),
        "{fields}"
    );
    let tool = |name: &str, arguments: Value| json!({"name": format!("pdf_processor__{name}"), "arguments": arguments});
    let mut job = json!({"transport": "http", "url": hub.url("/mcp"), "key": KEY, "era": "auto"});
    job["calls"] = json!([
        tool("extract_text", json!({"path": "report.pdf"})),
        tool("outline", json!({"path": "report.pdf"})),
        tool("form_fields", json!({"path": "form.pdf"})),
    ]);
    let answer = real::python(&job).await;
    let calls = &answer["calls"];
    assert_eq!(
        calls[0]["structuredContent"], found["structuredContent"],
        "{answer}"
    );
    assert!(!calls[1]["structuredContent"].is_null(), "{answer}");
    assert_eq!(
        calls[2]["structuredContent"]["fields"], fields["structuredContent"]["fields"],
        "{answer}"
    );
    let described = call("metadata", json!({"path": "encrypted-aes128.pdf"})).await;
    assert_ne!(described["isError"], true, "{described}");
    for (tool, arguments) in [
        ("extract_text", json!({"path": "damaged-noise.pdf"})),
        ("extract_text", json!({"path": "../../../etc/passwd"})),
        ("extract_text", json!({"url": "http://127.0.0.1/x.pdf"})),
        ("extract_text", json!({})),
    ] {
        let refused = call(tool, arguments.clone()).await;
        assert_eq!(refused["isError"], true, "{arguments}: {refused}");
        assert!(!refused.to_string().contains("Traceback"), "{refused}");
    }
}

#[tokio::test]
async fn the_text_tools_compute() {
    // What the repository carries, and what its source is built to now: who changes the source builds both.
    let carried = root().join("example-plugins/text-tools/text-tools.wasm");
    let built = tools::guest("text-tools");
    let entries = [("carried", carried), ("built", built)]
        .map(|(name, file)| plugin(name, &file.display().to_string(), ""));
    let hub = hub(&entries, &["carried", "built"]).await;
    let client = hub.legacy().await;
    let tools = client.tools().await;
    let of = |server: &str| {
        let mut found: Vec<Value> = Vec::new();
        for tool in &tools {
            let Some(name) = tool["name"]
                .as_str()
                .unwrap()
                .strip_prefix(&format!("{server}__"))
            else {
                continue;
            };
            let mut tool = tool.clone();
            tool["name"] = json!(name);
            // They say which plugin the tool is of.
            let fields = tool.as_object_mut().unwrap();
            fields.remove("source");
            fields.remove("_meta");
            found.push(tool);
        }
        found
    };
    assert_eq!(of("carried").len(), 5, "{tools:?}");
    assert_eq!(
        of("carried"),
        of("built"),
        "text-tools.wasm is not of its source: run `cargo xtask guests --carry`"
    );
    let calls = [
        ("hash", json!({"text": "abc"})),
        ("diff", json!({"before": "a\nb\n", "after": "a\nc\n"})),
        (
            "regex_extract",
            json!({"text": "a1 b22", "pattern": "([a-z])(\\d+)"}),
        ),
        (
            "json_query",
            json!({"json": "{\"a\": [1, 2]}", "query": "$.a[*]"}),
        ),
        ("count_tokens", json!({"text": "The quick brown fox"})),
    ];
    let mut job = json!({"transport": "http", "url": hub.url("/mcp"), "key": KEY, "era": "auto"});
    for server in ["carried", "built"] {
        for (tool, arguments) in &calls {
            let call = json!({"name": format!("{server}__{tool}"), "arguments": arguments});
            match &mut job["calls"] {
                Value::Array(calls) => calls.push(call),
                none => *none = json!([call]),
            }
        }
    }
    let answer = real::typescript_v1(&job).await;
    let (carried, built) = answer["calls"].as_array().unwrap().split_at(calls.len());
    assert_eq!(carried, built);
    assert_eq!(
        carried[0]["structuredContent"]["hash"],
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    for (call, (tool, _)) in carried.iter().zip(&calls) {
        assert_ne!(call["isError"], true, "{tool}: {call}");
        assert!(call["structuredContent"].is_object(), "{tool}: {call}");
    }
}
