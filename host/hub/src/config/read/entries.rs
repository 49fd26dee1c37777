//! `skills`, `configs`, `plugins`, `hooks`.

use std::path::Path;
use std::time::Duration;

use aih_redact as redact;

use super::Reader;
use crate::config::{
    can_block,
    cursor::At,
    model::{
        ClientConfig, FileGrant, FileMode, Grants, Hook, HookMatch, HookMode, Limits, OnFailure, Plugin,
        Runtime, Skill, Webhook, WebhookScheme,
    },
};

/// How old a webhook's signature may be where the file says nothing.
const TOLERANCE: Duration = Duration::from_secs(300);

impl Reader<'_> {
    pub(super) fn skills(&mut self, root: &At<'_>) -> Vec<Skill> {
        let entries = root.list("skills");
        self.unique_names(&entries, "skill");
        let read = |at: &At<'_>| {
            let name = at.string("name").unwrap_or_default();
            let mut state = Self::state(at);
            let file = self.file(at, "file", &format!("skill `{name}`"), &mut state);
            Skill {
                description: at.string("description"),
                file,
                tags: at.strings("tags"),
                state,
                name,
            }
        };
        entries.iter().map(read).collect()
    }

    pub(super) fn configs(&mut self, root: &At<'_>) -> Vec<ClientConfig> {
        let read = |(name, at): (&str, At<'_>)| {
            let mut state = Self::state(&at);
            let file = self.file(&at, "file", &format!("config `{name}`"), &mut state);
            ClientConfig {
                name: name.to_owned(),
                file,
                state,
            }
        };
        root.map("configs").into_iter().map(read).collect()
    }

    pub(super) fn plugins(&mut self, root: &At<'_>) -> Vec<Plugin> {
        let read = |at: &At<'_>| {
            let name = at.string("name").unwrap_or_default();
            let mut state = Self::state(at);
            let file = self.file(at, "file", &format!("plugin `{name}`"), &mut state);
            Plugin {
                description: at.string("description"),
                runtime: self.runtime(at, "file", &file),
                file,
                grants: self.grants(at),
                limits: limits(at),
                config: code_config(at),
                state,
                name,
            }
        };
        root.list("plugins").iter().map(read).collect()
    }

    pub(super) fn hooks(&mut self, root: &At<'_>) -> Vec<Hook> {
        let entries = root.list("hooks");
        self.unique_names(&entries, "hook");
        let read = |at: &At<'_>| {
            let name = at.string("name").unwrap_or_default();
            let mut state = Self::state(at);
            let action = self.file(at, "action", &format!("hook `{name}`"), &mut state);
            let trigger = at.string("trigger").unwrap_or_default();
            self.hook_keys(at, &trigger);
            Hook {
                schedule: at.parsed("schedule"),
                webhook: self.webhook(at, &trigger, &name),
                runtime: self.runtime(at, "action", &action),
                action,
                matches: hook_match(at),
                order: at.int("order").unwrap_or(0),
                mode: at.word(
                    "mode",
                    &[
                        ("blocking", HookMode::Blocking),
                        ("background", HookMode::Background),
                    ],
                ),
                on_failure: at
                    .word(
                        "on_failure",
                        &[("open", OnFailure::Open), ("closed", OnFailure::Closed)],
                    )
                    .unwrap_or_else(|| OnFailure::default_of(&trigger)),
                trigger,
                grants: self.grants(at),
                limits: limits(at),
                config: code_config(at),
                state,
                name,
            }
        };
        entries.iter().map(read).collect()
    }

    /// Keys that only some triggers have.
    fn hook_keys(&mut self, at: &At<'_>, trigger: &str) {
        match at.get("schedule") {
            Some(schedule) if trigger != "schedule" => {
                let what = format!("a hook on `{trigger}` has no schedule");
                self.problem(&schedule, what, "take it out, or write `trigger: schedule`");
            }
            None if trigger == "schedule" => {
                let what = "`schedule` is missing: when does the hook run?".to_owned();
                self.problem(
                    at,
                    what,
                    "add a cron expression such as `schedule: \"0 9 * * *\"`",
                );
            }
            _ => {}
        }
        if let Some(webhook) = at.get("webhook").filter(|_| trigger != "http") {
            let what = format!("a hook on `{trigger}` has no webhook");
            self.problem(&webhook, what, "take it out, or write `trigger: http`");
        }
        if let Some(mode) = at.get("mode")
            && mode.text() == Some("blocking")
            && crate::config::TRIGGERS.contains(&trigger)
            && !can_block(trigger)
        {
            let what =
                format!("`{trigger}` cannot wait for a hook: it has already happened when the hook runs");
            self.problem(&mode, what, "leave `mode` out");
        }
    }

    /// `webhook`. Without its secret the address stays closed.
    fn webhook(&mut self, at: &At<'_>, trigger: &str, name: &str) -> Option<Webhook> {
        if trigger != "http" {
            return None;
        }
        let Some(webhook) = at.get("webhook") else {
            let what = format!("hook `{name}` has no `webhook.secret`, so nobody can call it from outside");
            self.warn(at, what, "name the variable that holds the sender's secret");
            return None;
        };
        let secret = webhook.string("secret")?;
        if self.secrets.get(&secret).is_none() {
            let what = format!("the webhook of `{name}` is closed: ${{{secret}}} is not set");
            self.warn(&webhook, what, "put it in .env or the environment");
        }
        let schemes = [
            ("github", WebhookScheme::Github),
            ("stripe", WebhookScheme::Stripe),
            ("slack", WebhookScheme::Slack),
        ];
        Some(Webhook {
            secret,
            scheme: webhook.word("scheme", &schemes).unwrap_or_default(),
            tolerance: webhook.duration("tolerance").unwrap_or(TOLERANCE),
        })
    }

    /// `runtime`, or what the file's extension says.
    fn runtime(&mut self, at: &At<'_>, key: &str, file: &Path) -> Runtime {
        let words = [
            ("node", Runtime::Node),
            ("python", Runtime::Python),
            ("wasm", Runtime::Wasm),
        ];
        if at.get("runtime").is_some() {
            return at.word("runtime", &words).unwrap_or(Runtime::Wasm);
        }
        match file.extension().and_then(|e| e.to_str()) {
            Some("js" | "mjs" | "cjs" | "ts" | "mts") => Runtime::Node,
            Some("py") => Runtime::Python,
            Some("wasm" | "wat") => Runtime::Wasm,
            _ => {
                if let Some(file) = at.get(key) {
                    let what = "the name of the file does not say its language".to_owned();
                    self.problem(&file, what, "write `runtime:` and one of node, python, wasm");
                }
                Runtime::Wasm
            }
        }
    }

    fn grants(&mut self, at: &At<'_>) -> Grants {
        let Some(at) = at.get("grants") else {
            return Grants::default();
        };
        let mut files = Vec::new();
        for grant in at.list("files") {
            let Some(path) = grant.get_text("path") else {
                continue;
            };
            self.grants.push((grant.position(), grant.path.clone()));
            let modes = [("ro", FileMode::ReadOnly), ("rw", FileMode::ReadWrite)];
            files.push(FileGrant {
                path: self.path(path),
                mode: grant.word("mode", &modes).unwrap_or(FileMode::ReadOnly),
                seen_as: grant.string("as"),
                max_bytes: grant.size("max_bytes"),
                max_files: grant.int("max_files"),
            });
            let writes = grant.get_text("mode") == Some("rw");
            let quota = ["max_bytes", "max_files"]
                .into_iter()
                .filter_map(|key| grant.get(key));
            for quota in quota.filter(|_| !writes) {
                let what = "a folder that is only read does not grow".to_owned();
                self.problem(&quota, what, "take it out, or write `mode: rw`");
            }
        }
        Grants {
            http: at.strings("http"),
            secrets: at.strings("secrets"),
            env: at.strings("env"),
            mcps: at.strings("mcps"),
            files,
            client: at.strings("client"),
            state_max_bytes: at.get("state").and_then(|s| s.size("max_bytes")),
        }
    }
}

fn limits(at: &At<'_>) -> Limits {
    let Some(at) = at.get("limits") else {
        return Limits::default();
    };
    Limits {
        memory: at.size("memory"),
        time: at.duration("time"),
        output: at.size("output"),
        concurrency: at.int("concurrency"),
        warm: at.int("warm"),
    }
}

fn hook_match(at: &At<'_>) -> HookMatch {
    let Some(at) = at.get("match") else {
        return HookMatch::default();
    };
    HookMatch {
        mcps: at.strings("mcps"),
        tools: at.strings("tools"),
        keys: at.strings("keys"),
    }
}

/// Makes the secrets that stand in a plugin's own configuration known to the filter.
fn learn_config(map: &serde_json::Map<String, serde_json::Value>) {
    for (name, value) in map {
        match value {
            serde_json::Value::String(text) => redact::learn_written(name, text),
            serde_json::Value::Object(inner) => learn_config(inner),
            _ => {}
        }
    }
}

fn code_config(at: &At<'_>) -> serde_json::Map<String, serde_json::Value> {
    match at.get("config").map(|c| c.node.to_json()) {
        Some(serde_json::Value::Object(map)) => {
            learn_config(&map);
            map
        }
        _ => serde_json::Map::new(),
    }
}
