//! The hostile upstream (see `hostile/mod.rs`) as tests start, command and read it.

use std::path::Path;

use serde_json::Value;

use crate::{Program, client::http, tools};

/// The hostile upstream over HTTP.
pub struct Fixture {
    /// `http://127.0.0.1:PORT`; `/MODE` and `/MODE/TAG` are servers of their own.
    pub url: String,
    /// A port that speaks no HTTP.
    pub noise: String,
    /// A port that accepts and never speaks.
    pub hole: String,
    program: Program,
}

impl Fixture {
    /// On a free port.
    pub async fn start() -> Self {
        Self::start_at(0).await
    }

    /// On this port, as after a restart.
    pub async fn start_at(port: u16) -> Self {
        let mut command = Program::command(&tools::binary(NAME));
        command.args(["--port", &port.to_string()]);
        let program = Program::spawn(NAME, command);
        let line = program.wait_for_line("{\"").await;
        let said: Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| said[name].as_str().unwrap().to_owned();
        Self {
            url: text("url"),
            noise: text("noise"),
            hole: text("hole"),
            program,
        }
    }

    /// The port of `url`.
    pub fn port(&self) -> u16 {
        self.url.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Ends it as a crash would.
    pub async fn kill(mut self) {
        self.program.kill().await;
    }

    /// Commands the server at `path`.
    pub async fn control(&self, path: &str, order: Value) {
        let answer = http()
            .post(format!("{}/control/{path}", self.url))
            .header("content-type", "application/json")
            .body(order.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 204, "{order}");
    }

    /// What a server was sent so far.
    pub async fn record(&self, path: &str) -> Vec<Value> {
        let answer = http()
            .get(format!("{}/record/{path}", self.url))
            .send()
            .await
            .unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }
}

const NAME: &str = "fixture-hostile";

/// The entry of `mcps.external` for a server at `url`; `more` is further keys, with a comma in front.
pub fn external(name: &str, url: &str, more: &str) -> String {
    format!("    - {{ name: {name}, url: \"{url}\"{more} }}\n")
}

/// The entry of `mcps.local` for a hostile upstream that plays `mode`.
pub fn local(name: &str, mode: &str, arguments: &[&str], more: &str) -> String {
    let arguments: String = arguments.iter().map(|a| format!(", \"{a}\"")).collect();
    let program = tools::binary(NAME);
    format!(
        "    - {{ name: {name}, command: \"{}\", args: [\"--stdio\", \"{mode}\"{arguments}]{more} }}\n",
        program.display()
    )
}

/// The key `mcps` with these entries.
pub fn mcps(external: &str, local: &str) -> String {
    let mut config = "mcps:\n".to_owned();
    for (key, entries) in [("external", external), ("local", local)] {
        if !entries.is_empty() {
            config.push_str(&format!("  {key}:\n{entries}"));
        }
    }
    config
}

/// The requests of a record with this method.
pub fn with_method<'r>(record: &'r [Value], method: &str) -> Vec<&'r Value> {
    record.iter().filter(|e| e["method"] == method).collect()
}

/// What a file written with `--record` holds.
pub fn read_record(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Processes whose command line contains `text`: (pid, command line). Zombies have none.
pub fn processes(text: &str) -> Vec<(u32, String)> {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    all.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(text).then_some((pid, line))
    })
    .collect()
}

/// How many of them are the fixture itself, not a shell or a guard in front of it.
pub fn servers(text: &str) -> usize {
    let is_fixture = |pid: u32| {
        std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("fixture-hostile"))
    };
    processes(text).iter().filter(|(pid, _)| is_fixture(*pid)).count()
}
