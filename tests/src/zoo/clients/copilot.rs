//! GitHub Copilot CLI with a model provider of one's own, with the OpenAI Chat Completions API.

use super::{Client, HUB, Launch, MODEL, MODEL_KEY, Part, Situation, json, mcp_servers};
use crate::zoo::checks::Check;

pub(super) const CLIENT: Client = Client {
    name: "copilot",
    title: "Copilot CLI",
    package: "@github/copilot",
    part: Part::Rest,
    launch,
    at_model: |tool| format!("{HUB}-{tool}"),
    finder: None,
    limits: &[(Check::Images, "not shown"), (Check::Instructions, "not shown")],
    open: &[],
};

fn launch(to: &Situation<'_>) -> Launch {
    let servers = mcp_servers(json!({
        "type": "http", "url": to.hub, "headers": {"Authorization": to.authorization()}, "tools": ["*"],
    }));
    Launch::program(to.module("@github/copilot-linux-x64/copilot"))
        .file(".copilot/mcp-config.json", servers)
        .run(&["--allow-all-tools", "--no-auto-update", "--prompt", to.prompt])
        .env("COPILOT_PROVIDER_TYPE", "openai")
        .env("COPILOT_PROVIDER_BASE_URL", format!("{}/v1", to.model))
        .env("COPILOT_PROVIDER_API_KEY", MODEL_KEY)
        // What it knows of a model, such as that the model sees images, goes by a known name.
        .env("COPILOT_PROVIDER_MODEL_ID", "claude-sonnet-4.5")
        .env("COPILOT_PROVIDER_WIRE_MODEL", MODEL)
        .env("COPILOT_OFFLINE", true)
}
