//! Qwen Code, with the OpenAI Chat Completions API.

use super::{Client, HUB, Launch, MODEL, MODEL_KEY, Part, Situation, json, mcp_servers};
use crate::zoo::checks::Check;

pub(super) const CLIENT: Client = Client {
    name: "qwen-code",
    title: "Qwen Code",
    package: "@qwen-code/qwen-code",
    part: Part::Rest,
    launch,
    at_model: |tool| format!("mcp__{HUB}__{tool}"),
    // It offers the tools of servers by name, and their schemas only when the model looks for them.
    finder: Some(|tool| ("tool_search", json!({"query": format!("select:{tool}")}))),
    limits: &[(Check::Instructions, "not shown")],
    open: &[],
};

fn launch(to: &Situation<'_>) -> Launch {
    let mut settings = mcp_servers(json!({
        "httpUrl": to.hub, "headers": {"Authorization": to.authorization()}, "trust": true,
    }));
    // It sends images only to models that it knows to see them.
    settings["model"] = json!({"name": MODEL, "generationConfig": {"modalities": {"image": true}}});
    settings["security"] = json!({"auth": {"selectedType": "openai"}});
    settings["general"] = json!({"enableAutoUpdate": false, "disableAutoUpdate": true});
    settings["privacy"] = json!({"usageStatisticsEnabled": false});
    settings["telemetry"] = json!({"enabled": false});
    Launch::script(to.module("@qwen-code/qwen-code/cli.js"))
        .file(".qwen/settings.json", settings)
        .run(&["--yolo", "--prompt", to.prompt])
        .status(&["mcp", "list"])
        .env("OPENAI_BASE_URL", format!("{}/v1", to.model))
        .env("OPENAI_API_KEY", MODEL_KEY)
        .env("OPENAI_MODEL", MODEL)
}
