//! What docs/plugins.md and `aih plugin new` print, done as printed.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use aih_tests::{Program, tools};

use crate::examples::root;

/// Longest run of one command, on a machine that is busy with other builds.
const LIMIT: Duration = Duration::from_secs(600);

/// A place for an author: a folder, and a PATH on which there is `aih` and nothing else, unless `more` is given.
struct Place {
    folder: tempfile::TempDir,
    programs: tempfile::TempDir,
    more: Option<String>,
}

impl Place {
    fn new() -> Self {
        let programs = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(tools::binary("aih"), programs.path().join("aih")).unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            programs,
            more: None,
        }
    }

    /// Runs a line of a shell in a folder of the place and returns what it printed.
    async fn run(&self, folder: &str, line: &str) -> String {
        let mut path = self.programs.path().display().to_string();
        if let Some(more) = &self.more {
            path = format!("{path}:{more}");
        }
        let mut command = Program::command(Path::new("/bin/sh"));
        command
            .args(["-c", line])
            .current_dir(self.folder.path().join(folder))
            .env("PATH", path)
            .env("CARGO_NET_OFFLINE", "true")
            .env(
                "XDG_CACHE_HOME",
                Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins"),
            );
        for name in ["CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            command.env_remove(name);
        }
        let output = Program::run(line, command, LIMIT).await;
        assert!(output.status.success(), "{line}: {}", output.text);
        output.text
    }

    /// The same in AIH's sources, where `aih plugin new` finds the Rust SDK.
    fn in_sources() -> Self {
        let folder = root().join("target");
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            folder: tempfile::tempdir_in(folder).unwrap(),
            ..Self::new()
        }
    }

    /// cargo and its compiler are there, and what they built before is found again.
    fn with_cargo(&mut self, project: &str) {
        self.more = std::env::var("PATH").ok();
        let guests = tools::guest("text-tools");
        let target = self.folder.path().join(project).join("target");
        let built = guests.parent().unwrap().join("build/rustup");
        std::fs::create_dir_all(&built).unwrap();
        std::os::unix::fs::symlink(built, target).unwrap();
    }
}

/// Whether rustup's compiler has the target of components: where guests are built with Debian's, it has not.
fn compiles_components() -> bool {
    let libraries = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", "wasm32-wasip2"])
        .output();
    libraries.is_ok_and(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// The blocks of code below `## Hello world`: language and text.
fn blocks() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("docs/plugins.md")).unwrap();
    let (_, section) = text.split_once("## Hello world\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    section
        .split("```")
        .skip(1)
        .step_by(2)
        .map(|block| {
            let (language, code) = block.split_once('\n').unwrap();
            (language.to_owned(), code.to_owned())
        })
        .collect()
}

fn code(language: &str) -> String {
    let found = blocks().into_iter().find(|(found, _)| found == language);
    found.unwrap().1
}

/// The lines of all blocks for a shell.
fn commands() -> Vec<String> {
    let shells = blocks().into_iter().filter(|(language, _)| language == "sh");
    shells
        .flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Writes the source that the documentation prints, and calls it as it says.
async fn hello(language: &str, file: &str) {
    let place = Place::new();
    std::fs::write(place.folder.path().join(file), code(language)).unwrap();
    assert!(code(language).lines().count() <= 12, "{language}");
    let commands = commands();
    let line = commands
        .iter()
        .find(|line| line.contains(file) && line.starts_with("aih plugin run"))
        .unwrap();
    let said = place.run("", line).await;
    assert!(said.contains("Hello, Ada!"), "{said}");
}

#[tokio::test]
async fn hello_world_in_javascript() {
    hello("js", "hello.js").await;
}

#[tokio::test]
async fn hello_world_in_python() {
    hello("python", "hello.py").await;
}

#[tokio::test]
async fn hello_world_in_rust() {
    if !compiles_components() {
        eprintln!("skipped: rustup has no wasm32-wasip2");
        return;
    }
    let mut place = Place::in_sources();
    let commands = commands();
    let from = commands
        .iter()
        .position(|line| line.contains("--lang rust"))
        .unwrap();
    place.run("", commands.get(from).unwrap()).await;
    std::fs::write(place.folder.path().join("hello/src/lib.rs"), code("rust")).unwrap();
    place.with_cargo("hello");
    let mut said = String::new();
    for line in commands.iter().skip(from + 1) {
        // Fetched from elsewhere; the check above has found it.
        if line != "cd hello" && !line.starts_with("rustup ") {
            said = place.run("hello", line).await;
        }
    }
    assert!(said.contains("Hello, Ada!"), "{said}");
}

/// Makes a project and does what the command printed.
async fn new_project(language: &str) {
    let mut place = match language {
        "rust" => Place::in_sources(),
        _ => Place::new(),
    };
    let said = place
        .run("", &format!("aih plugin new word-count --lang {language}"))
        .await;
    if language == "rust" {
        place.with_cargo("word-count");
    }
    let mut answer = String::new();
    let steps = said.lines().skip_while(|line| !line.starts_with("cd ")).skip(1);
    for line in steps {
        if !line.starts_with("rustup ") {
            answer = place.run("word-count", line).await;
        }
    }
    assert!(answer.contains('3'), "{said}: {answer}");
    let readme = std::fs::read_to_string(place.folder.path().join("word-count/README.md")).unwrap();
    assert!(readme.contains("aih plugin run"), "{readme}");
}

#[tokio::test]
async fn a_new_project_in_javascript_and_typescript() {
    new_project("js").await;
    new_project("ts").await;
}

#[tokio::test]
async fn a_new_project_in_python() {
    new_project("py").await;
}

#[tokio::test]
async fn a_new_project_in_rust() {
    if compiles_components() {
        new_project("rust").await;
    } else {
        eprintln!("skipped: rustup has no wasm32-wasip2");
    }
}
