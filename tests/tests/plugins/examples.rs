//! The example plugins of the repository on a real page and real PDFs, and the JavaScript SDK's globals beside Node's.

use std::path::{Path, PathBuf};

use aih_tests::tools;
use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use base64::Engine as _;
use serde_json::{Value, json};

use crate::{hub, plugin, until_state};

fn root() -> PathBuf {
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
    let forbidden = call("fetch_page", "/secret/page", json!({})).await;
    assert_eq!(forbidden["isError"], true, "{forbidden}");
    assert!(forbidden.to_string().contains("robots.txt"), "{forbidden}");
    let rendered = call("fetch_page", "/page", json!({"render": true})).await;
    assert_eq!(rendered["isError"], true, "{rendered}");
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
    let file = tools::guest("text-tools").display().to_string();
    let hub = hub(&[plugin("text-tools", &file, "")], &["text-tools"]).await;
    let client = hub.legacy().await;
    let hash = client
        .call("text_tools__hash", json!({"text": "abc"}))
        .await
        .result();
    assert_eq!(
        hash["structuredContent"]["hash"],
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[tokio::test]
async fn the_globals_of_javascript_behave_as_in_node() {
    let folder = root().join("tests/fixtures/js-conformance");
    let entry = plugin(
        "table",
        &folder.join("plugin.js").display().to_string(),
        "limits: { time: \"60s\" }",
    );
    let hub = hub(&[entry], &[]).await;
    until_state(&hub, "table", "up").await;
    let client = hub.legacy().await;
    let ran = client.call("table__run", json!({})).await.result();
    let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&without_half_pairs(&expected)).unwrap();
    let got = &ran["structuredContent"];
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&got[name], value, "{name}");
    }
}

/// JSON in which each half of a surrogate pair is the replacement character: no Rust text can hold the half.
fn without_half_pairs(json: &str) -> String {
    let mut out = String::new();
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let code = escape.get(2..6).unwrap_or_default();
        let half = escape.starts_with("\\u")
            && u32::from_str_radix(code, 16).is_ok_and(|code| (0xd800..0xe000).contains(&code));
        let length = if half || escape.starts_with("\\u") { 6 } else { 2 };
        out.push_str(if half { "\\ufffd" } else { &escape[..length] });
        rest = &escape[length..];
    }
    out.push_str(rest);
    out
}
