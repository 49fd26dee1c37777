//! The command line of Continue (`cn`), with the OpenAI Chat Completions API.

use super::{Client, HUB, Launch, MODEL, MODEL_KEY, Part, Situation, json};
use crate::zoo::checks::Check;

pub(super) const CLIENT: Client = Client {
    name: "continue",
    title: "Continue",
    package: "@continuedev/cli",
    part: Part::Rest,
    launch,
    at_model: str::to_owned,
    finder: None,
    limits: &[(Check::Images, "as text"), (Check::Instructions, "not shown")],
    open: &[Check::Restart],
};

fn launch(to: &Situation<'_>) -> Launch {
    // JSON is YAML.
    let config = json!({
        "name": "tests", "version": "1.0.0", "schema": "v1",
        "models": [{
            "name": MODEL, "provider": "openai", "model": MODEL, "apiBase": format!("{}/v1", to.model),
            "apiKey": MODEL_KEY, "roles": ["chat"], "capabilities": ["tool_use", "image_input"],
        }],
        "mcpServers": [{
            "name": HUB, "type": "streamable-http", "url": to.hub,
            "requestOptions": {"headers": {"Authorization": to.authorization()}},
        }],
    });
    Launch::script(to.module("@continuedev/cli/dist/cn.js"))
        .file(".continue/config.yaml", config)
        .run(&["--auto", "-p", to.prompt])
        .env("CONTINUE_TELEMETRY_ENABLED", 0)
        .env("CONTINUE_METRICS_ENABLED", 0)
}
