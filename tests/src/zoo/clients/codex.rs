//! Codex, with the OpenAI Responses API.

use super::{Client, HUB, Launch, MODEL, MODEL_KEY, Part, Situation};

pub(super) const CLIENT: Client = Client {
    name: "codex",
    title: "Codex",
    package: "@openai/codex",
    part: Part::Suite,
    launch,
    // The tools of a server are a namespace, and `-` becomes `_`.
    at_model: |tool| format!("mcp__{HUB}/{tool}").replace('-', "_"),
    finder: None,
    limits: &[],
    open: &[],
};

fn launch(to: &Situation<'_>) -> Launch {
    let config = format!(
        r#"model = "{MODEL}"
model_provider = "local"
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.local]
name = "local"
base_url = "{model}/v1"
wire_api = "responses"
env_key = "MODEL_KEY"

[mcp_servers.{HUB}]
url = "{hub}"
bearer_token_env_var = "AIH_KEY"
"#,
        model = to.model,
        hub = to.hub,
    );
    let triple = "x86_64-unknown-linux-musl";
    Launch::program(to.module(&format!("@openai/codex-linux-x64/vendor/{triple}/bin/codex")))
        .file(".codex/config.toml", config)
        .run(&[
            "exec",
            "--skip-git-repo-check",
            "--dangerously-bypass-approvals-and-sandbox",
            to.prompt,
        ])
        .env("MODEL_KEY", MODEL_KEY)
        .env("AIH_KEY", to.key)
}
