//! Gemini CLI, with the Gemini API.

use super::{Client, HUB, Launch, MODEL_KEY, Part, Situation, json, mcp_servers};
use crate::zoo::checks::Check;

pub(super) const CLIENT: Client = Client {
    name: "gemini-cli",
    title: "Gemini CLI",
    package: "@google/gemini-cli",
    part: Part::Suite,
    launch,
    at_model: |tool| format!("mcp_{HUB}_{tool}"),
    finder: None,
    limits: &[],
    open: &[Check::Restart],
};

fn launch(to: &Situation<'_>) -> Launch {
    let mut settings = mcp_servers(json!({
        "httpUrl": to.hub, "headers": {"Authorization": to.authorization()}, "trust": true,
    }));
    settings["security"] = json!({"auth": {"selectedType": "gemini-api-key"}});
    settings["general"] = json!({"enableAutoUpdate": false, "enableAutoUpdateNotification": false});
    settings["privacy"] = json!({"usageStatisticsEnabled": false});
    settings["telemetry"] = json!({"enabled": false});
    Launch::script(to.module("@google/gemini-cli/bundle/gemini.js"))
        .file(".gemini/settings.json", settings)
        .run(&["--model", "gemini-2.5-pro", "--yolo", "--prompt", to.prompt])
        .status(&["mcp", "list"])
        .env("GOOGLE_GEMINI_BASE_URL", to.model)
        .env("GEMINI_API_KEY", MODEL_KEY)
        .env("GEMINI_CLI_TRUST_WORKSPACE", true)
}
