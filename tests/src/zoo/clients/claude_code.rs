//! Claude Code, with the Anthropic Messages API.

use super::{Client, HUB, Launch, MODEL_KEY, Part, Situation, json, mcp_servers};

pub(super) const CLIENT: Client = Client {
    name: "claude-code",
    title: "Claude Code",
    package: "@anthropic-ai/claude-code",
    part: Part::Suite,
    launch,
    at_model: |tool| format!("mcp__{HUB}__{tool}"),
    // It starts before its servers are up, and lets the model wait for them.
    finder: Some(|_| ("WaitForMcpServers", json!({}))),
    limits: &[],
    open: &[],
};

fn launch(to: &Situation<'_>) -> Launch {
    let mut settings = mcp_servers(json!({
        "type": "http", "url": to.hub, "headers": {"Authorization": to.authorization()},
    }));
    settings["hasCompletedOnboarding"] = json!(true);
    Launch::program(to.module("@anthropic-ai/claude-code-linux-x64/claude"))
        .file(".claude.json", settings)
        .run(&["-p", to.prompt, "--allowedTools", &format!("mcp__{HUB}")])
        .status(&["mcp", "list"])
        .env("ANTHROPIC_BASE_URL", to.model)
        .env("ANTHROPIC_API_KEY", MODEL_KEY)
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", 1)
        .env("DISABLE_TELEMETRY", 1)
        .env("DISABLE_ERROR_REPORTING", 1)
        .env("DISABLE_AUTOUPDATER", 1)
}
