//! Real MCP clients and servers: how each is started, and what the clients answer.
//!
//! The clients take a job (see `clients/job.mjs`) and print one line of JSON. Nothing here knows MCP.

use std::{net::TcpListener, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::{Program, tools};

/// Longest time that one run of a client may take.
pub const CLIENT_LIMIT: Duration = Duration::from_secs(90);

/// Runs a job with the TypeScript SDK of the legacy era.
pub async fn typescript_v1(job: &Value) -> Value {
    client(tools::node(), "typescript-v1.mjs", job).await
}

/// Runs a job with the TypeScript SDK of both eras.
pub async fn typescript_v2(job: &Value) -> Value {
    client(tools::node(), "typescript-v2.mjs", job).await
}

/// Runs a job with the Python SDK.
pub async fn python(job: &Value) -> Value {
    client(tools::python("python"), "python_client.py", job).await
}

async fn client(interpreter: std::path::PathBuf, script: &str, job: &Value) -> Value {
    let mut command = Program::command(&interpreter);
    command.arg(tools::script(script)).arg(job.to_string());
    let output = Program::run(script, command, CLIENT_LIMIT).await;
    assert!(
        output.status.success(),
        "{script} failed ({}) with {job}:\n{}",
        output.status,
        output.text
    );
    output
        .text
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok())
        .unwrap_or_else(|| panic!("{script} gave no answer:\n{}", output.text))
}

/// Runs the Inspector's command line against `url` and returns the answer as JSON.
pub async fn inspector(url: &str, key: &str, arguments: &[&str]) -> Value {
    let home = tempfile::tempdir().unwrap();
    let launcher = "@modelcontextprotocol/inspector/clients/launcher/build/index.js";
    let mut command = Program::command(&tools::node());
    command
        .arg(tools::node_module(launcher))
        .args(["--cli", url, "--header", &format!("Authorization: Bearer {key}")])
        .args(["--format", "json"])
        .args(arguments)
        .env("HOME", home.path());
    let output = Program::run("inspector", command, CLIENT_LIMIT).await;
    assert!(
        output.status.success(),
        "the Inspector failed ({}) with {arguments:?}:\n{}",
        output.status,
        output.text
    );
    first_json(&output.text).unwrap_or_else(|| panic!("the Inspector gave no JSON:\n{}", output.text))
}

/// The first JSON object in a text that has other lines too.
fn first_json(text: &str) -> Option<Value> {
    text.match_indices('{').find_map(|(at, _)| {
        let mut stream = serde_json::Deserializer::from_str(text.get(at..)?).into_iter::<Value>();
        stream.next()?.ok()
    })
}

/// The command line of mcp-remote for a job of transport `stdio`; `transport` is `http-only` or `sse-only`.
///
/// It keeps its state below `home`.
pub fn mcp_remote(url: &str, transport: &str, key: &str, home: &Path) -> Value {
    json!({
        "transport": "stdio",
        "command": [
            tools::node(), tools::node_module("mcp-remote/dist/proxy.js"), url,
            "--transport", transport, "--header", "Authorization:${AUTH}", "--allow-http",
        ],
        "env": {"AUTH": format!("Bearer {key}"), "MCP_REMOTE_CONFIG_DIR": home, "HOME": home},
    })
}

/// Entries of `mcps.local` and `mcps.external`, as YAML.
///
/// JSON is YAML, so a test writes them as JSON.
pub fn mcps(local: &Value, external: &Value) -> String {
    format!("mcps:\n  local: {local}\n  external: {external}\n")
}

/// An entry of `mcps.local` for a Node package's server.
pub fn node_server(name: &str, script: &str, arguments: &[&str]) -> Value {
    let script = tools::node_module(script);
    let mut args = vec![json!(script)];
    args.extend(arguments.iter().map(|a| json!(a)));
    json!({"name": name, "command": tools::node(), "args": args})
}

/// An entry of `mcps.local` for a program of the Python environment.
pub fn python_server(name: &str, program: &str, arguments: &[&str]) -> Value {
    json!({"name": name, "command": tools::python(program), "args": arguments})
}

/// An entry of `mcps.local` for a browser, as an operator would write it.
///
/// With more patience than the five seconds that it has for a page by itself: tests run beside builds.
/// `--no-sandbox` because tests may run as root, and in containers, where Chromium's own sandbox does not start.
pub fn browser(name: &str) -> Value {
    node_server(
        name,
        "@playwright/mcp/cli.js",
        &[
            "--executable-path",
            &tools::chromium().to_string_lossy(),
            "--headless",
            "--isolated",
            "--no-sandbox",
            "--snapshot-mode",
            "none",
            "--timeout-action",
            "20000",
        ],
    )
}

/// Path of server-everything below the Node packages.
pub const EVERYTHING: &str = "@modelcontextprotocol/server-everything/dist/index.js";

/// server-everything as a program of its own, over HTTP.
pub struct Everything {
    /// Its process.
    pub program: Program,
    /// Its port.
    pub port: u16,
}

impl Everything {
    /// Starts it; `transport` is `streamableHttp` or `sse`.
    pub async fn start(transport: &str) -> Self {
        // It cannot say which port it took, so it is told one that was free a moment ago.
        let port = free_port();
        let mut command: Command = Program::command(&tools::node());
        command
            .arg(tools::node_module(EVERYTHING))
            .arg(transport)
            .env("PORT", port.to_string());
        let program = Program::spawn("server-everything", command);
        program.wait_for_line(&format!("port {port}")).await;
        Self { program, port }
    }
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
