//! What is checked of each client: it runs in an empty home against a real hub, with a scripted model.

use std::{fs, path::Path, time::Duration};

use aih_tests::{Hub, KEY, Program, Start, real};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    clients::{Client, Launch, Situation},
    model::{Model, Script, Step},
    packages,
};

/// What is checked, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// The model is offered a tool of the hub.
    Connects,
    /// The model knows every tool of the hub.
    ListsAll,
    /// Under the client's prefix, every name is whole.
    Names,
    /// A tool gets the arguments of the model, and the model gets its answer.
    Calls,
    /// The model sees an image.
    Images,
    /// The model is given the hub's instructions.
    Instructions,
    /// A call after a restart of the hub is answered.
    Restart,
    /// With a wrong key the client ends, and the model is offered nothing of the hub.
    WrongKey,
}

impl Check {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 8] = [
        Self::Connects,
        Self::ListsAll,
        Self::Names,
        Self::Calls,
        Self::Images,
        Self::Instructions,
        Self::Restart,
        Self::WrongKey,
    ];

    /// The head of its column.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Connects => "connects",
            Self::ListsAll => "lists all",
            Self::Names => "exact names",
            Self::Calls => "calls",
            Self::Images => "image at the model",
            Self::Instructions => "instructions at the model",
            Self::Restart => "restart of the hub",
            Self::WrongKey => "wrong key: the user reads",
        }
    }
}

/// How a check went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it should.
    Good(String),
    /// The client does not do it, whatever the hub does.
    Limit(String),
    /// The hub could do better; known.
    Open(String),
    /// Not as it should.
    Bad(String),
}

/// What was found of one client.
pub(crate) struct Row {
    pub(crate) title: &'static str,
    pub(crate) package: &'static str,
    pub(crate) version: String,
    pub(crate) cells: Vec<(Check, Outcome)>,
    /// What the programs said, where a check failed.
    pub(crate) output: String,
}

/// Longest run of a client.
const LIMIT: Duration = Duration::from_secs(150);
/// A key that the hub does not know.
const WRONG_KEY: &str = "aih_key-that-no-hub-knows";
/// The name of a server, as long as people make them.
const LONG_NAME: &str = "files-of-this-project";

/// Runs all checks of one client.
pub(crate) async fn check(client: &Client, isolated: bool) -> Row {
    let mut row = Row {
        title: client.title,
        package: client.package,
        version: String::new(),
        cells: Vec::new(),
        output: String::new(),
    };
    match packages::node_version(client.part, client.package) {
        Ok(version) => row.version = version,
        Err(error) => {
            row.cells.push((Check::Connects, Outcome::Bad(error.to_string())));
            return row;
        }
    }
    let mut run = Run::new(client, isolated).await;
    run.with_right_key().await;
    run.with_wrong_key().await;
    let judged = |(check, found): (Check, Result<String, String>)| (check, judge(client, check, found));
    row.cells = run.cells.into_iter().map(judged).collect();
    row.output = run.output;
    row
}

/// Compares what was found with what the row of the client says.
fn judge(client: &Client, check: Check, found: Result<String, String>) -> Outcome {
    let limit = client.limits.iter().find(|(limited, _)| *limited == check);
    match (found, limit) {
        (Ok(text), None) => Outcome::Good(text),
        (Err(_), Some((_, words))) => Outcome::Limit((*words).to_owned()),
        (Ok(text), Some((_, words))) => Outcome::Bad(format!(
            "{text}, though the table of clients says `{words}`: remove that from its row"
        )),
        (Err(text), None) if client.open.contains(&check) => Outcome::Open(text),
        (Err(text), None) => Outcome::Bad(text),
    }
}

/// The checks of one client on their way.
struct Run<'a> {
    client: &'a Client,
    isolated: bool,
    hub: Option<Hub>,
    cells: Vec<(Check, Result<String, String>)>,
    output: String,
}

impl<'a> Run<'a> {
    async fn new(client: &'a Client, isolated: bool) -> Self {
        Self {
            client,
            isolated,
            hub: Some(start_hub().await),
            cells: Vec::new(),
            output: String::new(),
        }
    }

    fn hub(&self) -> &Hub {
        self.hub.as_ref().unwrap()
    }

    fn found(&mut self, check: Check, right: bool, good: &str, bad: impl FnOnce() -> String) {
        let found = if right { Ok(good.to_owned()) } else { Err(bad()) };
        self.cells.push((check, found));
    }

    async fn with_right_key(&mut self) {
        let client = self.client;
        let call = |tool: &str, arguments: Value| Step::Call {
            tool: (client.at_model)(tool),
            arguments,
        };
        let steps = vec![
            call("everything__get-sum", json!({"a": 2, "b": 3})),
            call("everything__get-tiny-image", json!({})),
            Step::Pause,
            call("everything__get-sum", json!({"a": 20, "b": 22})),
        ];
        let (pauses, mut paused) = mpsc::unbounded_channel();
        let model = Model::start(Script::new(steps, client.finder).with_pauses(pauses)).await;
        let initialized = self.initialize().await;
        let instructions = initialized["instructions"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let listed = self.hub().legacy().await.tools().await;
        let home = Home::new();
        let url = self.hub().url("/mcp");
        let launch = self.launch(&url, KEY, &model);
        let program = home.start(&launch, &launch.run, self.isolated);
        let mut running = std::pin::pin!(ended(program));
        let (ended, said) = loop {
            tokio::select! {
                result = &mut running => break result,
                Some(resume) = paused.recv() => {
                    let hub = self.hub.take().unwrap().restart_in_place().await;
                    hub.until_up("everything").await;
                    self.hub = Some(hub);
                    let _ = resume.send(());
                }
            }
        };
        let script = model.script();
        let results = script.results();
        let holds = |at: usize, text: &str| results.get(at).is_some_and(|result| result.contains(text));
        let why = || match (ended, script.is_done()) {
            (false, _) => "it does not end".to_owned(),
            (true, false) => "it never asked the model".to_owned(),
            (true, true) => script.complaints().join("; "),
        };
        let offered = script.offered();
        let missing: Vec<String> = listed
            .iter()
            .map(|tool| (client.at_model)(tool["name"].as_str().unwrap()))
            .filter(|name| !offered.iter().any(|tool| tool.full_name() == *name) && !script.was_told(name))
            .collect();
        let unlisted = listed.iter().filter(|tool| {
            let name = (client.at_model)(tool["name"].as_str().unwrap());
            let description = tool["description"].as_str().unwrap_or_default();
            let start: String = description.chars().take(60).collect();
            missing.contains(&name) && (start.is_empty() || !script.was_told(&start))
        });
        let unlisted: Vec<&str> = unlisted.map(|tool| tool["name"].as_str().unwrap()).collect();
        let all = listed.len();
        self.found(Check::Connects, missing.len() < all, "yes", why);
        let (lost, text) = (unlisted.len(), format!("{} of {all}", all - unlisted.len()));
        self.found(Check::ListsAll, lost == 0, &text, || {
            format!("{text}; not {}", shortened(&unlisted))
        });
        let example = (client.at_model)("everything__get-sum");
        self.found(Check::Names, missing.is_empty(), &format!("`{example}`"), || {
            format!("no tool has the name {}", shortened(&missing))
        });
        let sum = "The sum of 2 and 3 is 5.";
        self.found(Check::Calls, ended && holds(0, sum), "yes", || {
            format!("{}; {}", why(), shortened(&results))
        });
        self.found(Check::Images, script.images() > 0, "yes", || {
            "not seen".to_owned()
        });
        // Claude Code cuts them at 2,048 characters.
        let end = instructions
            .char_indices()
            .nth(1_500)
            .map_or(instructions.len(), |(end, _)| end);
        let told = !instructions.is_empty() && script.was_told(&instructions[..end]);
        self.found(Check::Instructions, told, "yes", || "not seen".to_owned());
        let again = ended && holds(2, "The sum of 20 and 22 is 42.");
        self.found(Check::Restart, again, "goes on", || {
            let result = results
                .get(2)
                .map_or_else(why, |text| shortened(std::slice::from_ref(text)));
            format!("fails: {result}")
        });
        self.keep_output("with the right key", &said, &model);
    }

    async fn with_wrong_key(&mut self) {
        let model = Model::start(Script::new(Vec::new(), None)).await;
        let home = Home::new();
        let url = self.hub().url("/mcp");
        let launch = self.launch(&url, WRONG_KEY, &model);
        let (mut ended_all, mut said) = ended(home.start(&launch, &launch.run, self.isolated)).await;
        if let Some(status) = &launch.status {
            let (ended, more) = ended(home.start(&launch, status, self.isolated)).await;
            ended_all &= ended;
            said.push_str(&more);
        }
        let name = (self.client.at_model)("everything__get-sum");
        let offered = model
            .script()
            .offered()
            .iter()
            .any(|tool| tool.full_name() == name);
        let reads = what_is_read(&said);
        self.found(
            Check::WrongKey,
            ended_all && !offered,
            reads,
            || match ended_all {
                true => "the tools of the hub are offered".to_owned(),
                false => "it does not end".to_owned(),
            },
        );
        self.keep_output("with a wrong key", &said, &model);
    }

    fn launch(&self, hub: &str, key: &str, model: &Model) -> Launch {
        (self.client.launch)(&Situation {
            hub,
            key,
            model: &model.url,
            prompt: "Follow the script.",
            modules: self.client.part.node(),
        })
    }

    fn keep_output(&mut self, what: &str, said: &str, model: &Model) {
        let complaints = model.script().complaints().join("\n");
        self.output.push_str(&format!(
            "--- {what} it said:\n{said}\n--- and the model:\n{complaints}\n"
        ));
    }

    /// What the hub answers to a client that begins.
    async fn initialize(&self) -> Value {
        let client = self.hub().legacy().await;
        let params = json!({
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "zoo", "version": "1"},
        });
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        let answer = client_without_session(&client.url)
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let mut events = aih_tests::Events::new(answer);
        let answer: Value = serde_json::from_str(&events.next().await.unwrap()).unwrap();
        answer["result"].clone()
    }
}

fn client_without_session(url: &str) -> reqwest::RequestBuilder {
    aih_tests::client::http()
        .post(url)
        .bearer_auth(KEY)
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
}

/// A hub with a server that has tools of all kinds, one with a long name, and the hub's own tools.
async fn start_hub() -> Hub {
    let files = "@modelcontextprotocol/server-filesystem/dist/index.js";
    let servers = json!([
        real::node_server("everything", real::EVERYTHING, &["stdio"]),
        real::node_server(LONG_NAME, files, &["/usr/share"]),
    ]);
    let mut config = real::mcps(&servers, &json!([]));
    config.push_str("skills:\n  - name: greet\n    file: ./skills/greet.md\n");
    let skill = "---\nname: greet\ndescription: How to greet\n---\nSay hello to $NAME.\n";
    let start = Start {
        config: &config,
        files: &[("skills/greet.md", skill)],
        ..Start::default()
    };
    let hub = start.run().await;
    hub.until_up("everything").await;
    hub.until_up(LONG_NAME).await;
    hub
}

/// An empty home with an empty project in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["tmp", "project"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self(folder)
    }

    fn start(&self, launch: &Launch, arguments: &[String], isolated: bool) -> Program {
        let home: &Path = self.0.path();
        for (path, text) in &launch.files {
            let path = home.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Program::spawn("client", launch.command(arguments, home, isolated))
    }
}

/// Waits for the end of a client: whether it came in time, and what the client said.
async fn ended(mut program: Program) -> (bool, String) {
    let ended = program.ended_within(LIMIT).await.is_some();
    (ended, program.output())
}

/// What a user reads of a refused key.
fn what_is_read(said: &str) -> &'static str {
    let said = said.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if any(&["aih key", "api key of this hub", "invalid_token"]) {
        "the hub's reason"
    } else if any(&["401", "unauthorized", "needs auth", "authentication"]) {
        "that the key is refused"
    } else if any(&["failed", "disconnected", "error"]) {
        "that it cannot connect"
    } else {
        "nothing"
    }
}

/// The first of them, for a table.
fn shortened(texts: &[impl AsRef<str>]) -> String {
    let mut all = texts
        .iter()
        .map(AsRef::as_ref)
        .take(3)
        .collect::<Vec<_>>()
        .join(", ");
    if all.len() > MAX_CELL {
        all.truncate(all.floor_char_boundary(MAX_CELL));
        all.push('…');
    }
    all.replace(['\n', '|'], " ")
}

/// The most of a fault that a cell of the table shows, in bytes.
const MAX_CELL: usize = 100;
