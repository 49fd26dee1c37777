//! The table of AI clients, one row each, with a file each for how it is started.

mod claude_code;
mod codex;
mod continue_cli;
mod copilot;
mod gemini_cli;
mod opencode;
mod qwen_code;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{
    checks::Check,
    model::{MODEL, script::Finder},
    packages::Part,
};
use aih_tests::tools;

/// One client.
pub(crate) struct Client {
    /// The name on the command line of the zoo.
    pub(crate) name: &'static str,
    /// The name that people know.
    pub(crate) title: &'static str,
    /// Its package at npm.
    pub(crate) package: &'static str,
    pub(crate) part: Part,
    /// How it is started.
    pub(crate) launch: fn(&Situation<'_>) -> Launch,
    /// The name under which its model sees a tool of the hub; see [`super::model::Tool::full_name`].
    pub(crate) at_model: fn(&str) -> String,
    /// What it offers for tools that are not offered at once.
    pub(crate) finder: Option<Finder>,
    /// What the client itself does not do, with the words for the table. A test fails when it does it after all.
    pub(crate) limits: &'static [(Check, &'static str)],
    /// What the hub does not do for it yet: tolerated, and red in the table.
    pub(crate) open: &'static [Check],
}

/// What a client is started for.
pub(crate) struct Situation<'a> {
    /// The address of the hub's endpoint `/mcp`.
    pub(crate) hub: &'a str,
    /// The key for the hub.
    pub(crate) key: &'a str,
    /// `http://127.0.0.1:PORT` of the model.
    pub(crate) model: &'a str,
    /// What the person asks.
    pub(crate) prompt: &'a str,
    /// Where the packages of this client are.
    pub(crate) modules: PathBuf,
}

impl Situation<'_> {
    /// What stands in the `Authorization` header.
    fn authorization(&self) -> String {
        format!("Bearer {}", self.key)
    }

    /// The file of a package.
    fn module(&self, path: &str) -> PathBuf {
        self.modules.join(path)
    }
}

/// How a client is started: what is in its home, its command line and its environment.
pub(crate) struct Launch {
    /// Files below its home.
    pub(crate) files: Vec<(&'static str, String)>,
    pub(crate) program: PathBuf,
    /// For all its command lines, such as the file of a script.
    pub(crate) before: Vec<PathBuf>,
    /// Answers the prompt and ends.
    pub(crate) run: Vec<String>,
    /// Connects to its servers and says how that went, where it has a command for it.
    pub(crate) status: Option<Vec<String>>,
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Launch {
    /// A program of its own.
    fn program(path: PathBuf) -> Self {
        Self {
            files: Vec::new(),
            program: path,
            before: Vec::new(),
            run: Vec::new(),
            status: None,
            environment: Vec::new(),
        }
    }

    /// A script for Node.
    fn script(path: PathBuf) -> Self {
        Self {
            before: vec![path],
            ..Self::program(tools::node())
        }
    }

    fn file(mut self, path: &'static str, text: impl ToString) -> Self {
        self.files.push((path, text.to_string()));
        self
    }

    fn run(mut self, arguments: &[&str]) -> Self {
        self.run = arguments.iter().map(|&a| a.to_owned()).collect();
        self
    }

    fn status(mut self, arguments: &[&str]) -> Self {
        self.status = Some(arguments.iter().map(|&a| a.to_owned()).collect());
        self
    }

    fn env(mut self, name: &'static str, value: impl ToString) -> Self {
        self.environment.push((name, value.to_string()));
        self
    }

    /// The command with these arguments, in an environment that has nothing of who runs the tests.
    pub(crate) fn command(&self, arguments: &[String], home: &Path, isolated: bool) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        let node = tools::node();
        let path = format!(
            "{}:/usr/local/bin:/usr/bin:/bin",
            node.parent().unwrap().display()
        );
        command
            .args(&self.before)
            .args(arguments)
            .env_clear()
            .env("HOME", home)
            .env("TMPDIR", home.join("tmp"))
            .env("PATH", path)
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .env("NO_COLOR", "1")
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .current_dir(home.join("project"));
        if !isolated {
            // What is not on this machine goes to a port where nobody listens.
            command
                .env("HTTPS_PROXY", "http://127.0.0.1:9")
                .env("NO_PROXY", "127.0.0.1,localhost");
        }
        command
    }
}

/// All clients, in the order of the table.
pub(crate) const CLIENTS: &[Client] = &[
    claude_code::CLIENT,
    codex::CLIENT,
    gemini_cli::CLIENT,
    opencode::CLIENT,
    qwen_code::CLIENT,
    copilot::CLIENT,
    continue_cli::CLIENT,
];

/// The name that every client has for the hub.
const HUB: &str = "ai-hub";
/// The key that every client has for the model's provider.
const MODEL_KEY: &str = "the-key-of-the-model";

/// `mcpServers` with one entry.
fn mcp_servers(entry: Value) -> Value {
    json!({"mcpServers": {(HUB): entry}})
}
