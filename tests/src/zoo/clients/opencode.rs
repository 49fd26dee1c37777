//! opencode, with the OpenAI Chat Completions API.

use super::{Client, HUB, Launch, MODEL, MODEL_KEY, Part, Situation, json};

pub(super) const CLIENT: Client = Client {
    name: "opencode",
    title: "opencode",
    package: "opencode-ai",
    part: Part::Rest,
    launch,
    at_model: |tool| format!("{HUB}_{tool}"),
    finder: None,
    limits: &[],
    open: &[],
};

fn launch(to: &Situation<'_>) -> Launch {
    let model = json!({
        "name": MODEL, "tool_call": true, "attachment": true,
        "modalities": {"input": ["text", "image"], "output": ["text"]},
        "limit": {"context": 1_000_000, "output": 10_000},
    });
    let name = format!("local/{MODEL}");
    let settings = json!({
        "model": name, "small_model": name, "autoupdate": false, "share": "disabled",
        "enabled_providers": ["local"],
        "provider": {"local": {
            "npm": "@ai-sdk/openai-compatible", "name": "local", "models": {(MODEL): model},
            "options": {"baseURL": format!("{}/v1", to.model), "apiKey": MODEL_KEY},
        }},
        "mcp": {(HUB): {
            "type": "remote", "url": to.hub, "enabled": true, "headers": {"Authorization": to.authorization()},
        }},
    });
    Launch::program(to.module("opencode-linux-x64/bin/opencode"))
        .file(".config/opencode/opencode.json", settings)
        .run(&["run", to.prompt])
        .status(&["mcp", "list"])
        .env("OPENCODE_DISABLE_AUTOUPDATE", 1)
        .env("OPENCODE_DISABLE_MODELS_FETCH", 1)
        .env("OPENCODE_DISABLE_LSP_DOWNLOAD", 1)
}
