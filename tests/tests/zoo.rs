//! Real AI clients and real MCP servers: the part of the zoo (`src/zoo`) that runs with all tests.

use std::time::Duration;

use aih_tests::{Program, tools};

/// Longest run of one of them.
const LIMIT: Duration = Duration::from_secs(280);

/// Runs the checks of clients or servers.
async fn passes(names: &[&str]) {
    let mut command = Program::command(&tools::binary("zoo"));
    command.args(names);
    let output = Program::run("zoo", command, LIMIT).await;
    assert!(output.status.success(), "{}", output.text);
}

#[tokio::test]
async fn claude_code() {
    passes(&["claude-code"]).await;
}

#[tokio::test]
async fn codex() {
    passes(&["codex"]).await;
}

#[tokio::test]
async fn gemini_cli() {
    passes(&["gemini-cli"]).await;
}

#[tokio::test]
async fn servers_in_typescript_and_go() {
    passes(&["everything", "filesystem", "memory", "searxng", "kubernetes"]).await;
}

#[tokio::test]
async fn servers_in_python() {
    passes(&["git", "time", "fetch"]).await;
}
