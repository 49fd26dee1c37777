//! The table of MCP servers that are compared, one row each: real ones, as their users install them.
//!
//! Each starts without a network, and its calls give the same answer each time.

use std::{fs, path::PathBuf, process::Command};

use aih_tests::tools;
use serde_json::{Value, json};

use super::packages::{self, Part};

/// How a server is started.
#[derive(Debug, Clone, Copy)]
enum Start {
    /// A script of a package of Node.
    Node(&'static str),
    /// A program in a package of Node.
    Binary(&'static str),
    /// A program of the Python environment.
    Python(&'static str),
}

/// One server. In arguments, environment and calls, `{place}` is the folder of [`Place`].
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// Its package at npm, or at PyPI for one in Python.
    pub(crate) package: &'static str,
    part: Part,
    start: Start,
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// Tools and their arguments, as JSON.
    pub(crate) calls: &'static [(&'static str, &'static str)],
    /// The ends of paths to fields that are never the same twice.
    pub(crate) varies: &'static [&'static str],
}

/// What every row has that says nothing else.
const PLAIN: Server = Server {
    name: "",
    package: "",
    part: Part::Rest,
    start: Start::Node(""),
    arguments: &[],
    environment: &[],
    calls: &[],
    varies: &[],
};

/// All servers, in the order of the table.
pub(crate) const SERVERS: &[Server] = &[
    Server {
        name: "everything",
        package: "@modelcontextprotocol/server-everything",
        part: Part::Tools,
        start: Start::Node("dist/index.js"),
        arguments: &["stdio"],
        calls: &[
            ("echo", r#"{"message": "hello"}"#),
            ("get-sum", r#"{"a": 2, "b": 3}"#),
            ("get-sum", r#"{"a": "two"}"#),
            ("get-annotated-message", r#"{"messageType": "success"}"#),
            ("get-structured-content", r#"{"location": "Chicago"}"#),
            ("get-tiny-image", "{}"),
        ],
        ..PLAIN
    },
    Server {
        name: "filesystem",
        package: "@modelcontextprotocol/server-filesystem",
        part: Part::Tools,
        start: Start::Node("dist/index.js"),
        arguments: &["{place}"],
        calls: &[
            ("list_directory", r#"{"path": "{place}"}"#),
            ("read_text_file", r#"{"path": "{place}/note.txt"}"#),
            ("read_text_file", r#"{"path": "/etc/passwd"}"#),
        ],
        ..PLAIN
    },
    Server {
        name: "memory",
        package: "@modelcontextprotocol/server-memory",
        part: Part::Tools,
        start: Start::Node("dist/index.js"),
        environment: &[("MEMORY_FILE_PATH", "{place}/memory.jsonl")],
        calls: &[("read_graph", "{}"), ("search_nodes", r#"{"query": "hub"}"#)],
        ..PLAIN
    },
    Server {
        name: "searxng",
        package: "mcp-searxng",
        part: Part::Suite,
        start: Start::Node("dist/cli.js"),
        environment: &[("SEARXNG_URL", "http://127.0.0.1:9")],
        calls: &[("searxng_web_search", r#"{"query": "hub"}"#)],
        ..PLAIN
    },
    Server {
        name: "kubernetes",
        package: "kubernetes-mcp-server-linux-amd64",
        part: Part::Suite,
        start: Start::Binary("bin/kubernetes-mcp-server-linux-amd64"),
        arguments: &["--kubeconfig", "{place}/kubeconfig"],
        calls: &[("configuration_view", r#"{}"#), ("namespaces_list", r#"{}"#)],
        // It says when it was made.
        varies: &["cluster-health-check.messages[0].content.text"],
        ..PLAIN
    },
    Server {
        name: "git",
        package: "mcp-server-git",
        part: Part::Tools,
        start: Start::Python("mcp-server-git"),
        arguments: &["--repository", "{place}"],
        calls: &[
            ("git_log", r#"{"repo_path": "{place}", "max_count": 1}"#),
            ("git_status", r#"{"repo_path": "{place}"}"#),
            ("git_log", r#"{"max_count": "many"}"#),
        ],
        ..PLAIN
    },
    Server {
        name: "time",
        package: "mcp-server-time",
        part: Part::Tools,
        start: Start::Python("mcp-server-time"),
        arguments: &["--local-timezone", "Europe/Berlin"],
        calls: &[(
            "convert_time",
            r#"{"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}"#,
        )],
        ..PLAIN
    },
    Server {
        name: "fetch",
        package: "mcp-server-fetch",
        part: Part::Tools,
        start: Start::Python("mcp-server-fetch"),
        calls: &[("fetch", r#"{"url": "http://127.0.0.1:9/"}"#)],
        ..PLAIN
    },
    Server {
        name: "playwright",
        package: "@playwright/mcp",
        part: Part::Tools,
        start: Start::Node("cli.js"),
        arguments: &["--headless"],
        ..PLAIN
    },
    Server {
        name: "context7",
        package: "@upstash/context7-mcp",
        start: Start::Node("dist/index.js"),
        calls: &[
            (
                "resolve-library-id",
                r#"{"libraryName": "react", "query": "hooks"}"#,
            ),
            ("resolve-library-id", r#"{}"#),
        ],
        ..PLAIN
    },
    Server {
        name: "github",
        package: "@modelcontextprotocol/server-github",
        start: Start::Node("dist/index.js"),
        environment: &[("GITHUB_PERSONAL_ACCESS_TOKEN", "none")],
        calls: &[
            ("get_file_contents", r#"{"owner": "a", "repo": "b", "path": "c"}"#),
            ("get_file_contents", r#"{}"#),
        ],
        ..PLAIN
    },
    Server {
        name: "cloudflare",
        package: "@cloudflare/mcp-server-cloudflare",
        start: Start::Node("dist/index.js"),
        arguments: &["run", "0123456789abcdef0123456789abcdef"],
        environment: &[
            ("CLOUDFLARE_API_TOKEN", "none"),
            ("CLOUDFLARE_ACCOUNT_ID", "none"),
        ],
        calls: &[("kv_get", r#"{}"#)],
        // Its results have the form of revision 2024-10-07, `toolResult`; the hub adds `content` for clients of today.
        varies: &["kv_get.content"],
        ..PLAIN
    },
    Server {
        name: "n8n",
        package: "n8n-mcp",
        start: Start::Node("dist/mcp/index.js"),
        environment: &[
            ("MCP_MODE", "stdio"),
            ("LOG_LEVEL", "error"),
            ("DISABLE_CONSOLE_OUTPUT", "true"),
            ("N8N_MCP_TELEMETRY_DISABLED", "true"),
        ],
        calls: &[
            ("tools_documentation", r#"{}"#),
            ("search_nodes", r#"{"query": "http", "limit": 2}"#),
        ],
        ..PLAIN
    },
    Server {
        name: "excel",
        package: "@negokaz/excel-mcp-server",
        start: Start::Node("dist/launcher.js"),
        calls: &[(
            "excel_describe_sheets",
            r#"{"fileAbsolutePath": "{place}/none.xlsx"}"#,
        )],
        ..PLAIN
    },
    Server {
        name: "elasticsearch",
        package: "@elastic/mcp-server-elasticsearch",
        start: Start::Node("dist/index.js"),
        environment: &[("ES_URL", "http://127.0.0.1:9"), ("ES_API_KEY", "none")],
        calls: &[("list_indices", r#"{"indexPattern": "*"}"#)],
        ..PLAIN
    },
    Server {
        name: "pdf",
        package: "@sylphx/pdf-reader-mcp",
        start: Start::Node("dist/index.js"),
        calls: &[("read_pdf", r#"{"sources": [{"path": "{place}/none.pdf"}]}"#)],
        ..PLAIN
    },
    Server {
        name: "git-cyanheads",
        package: "@cyanheads/git-mcp-server",
        start: Start::Node("dist/index.js"),
        environment: &[("MCP_TRANSPORT_TYPE", "stdio"), ("MCP_LOG_LEVEL", "error")],
        calls: &[("git_status", r#"{"path": "{place}"}"#)],
        ..PLAIN
    },
    Server {
        name: "notion",
        package: "@notionhq/notion-mcp-server",
        start: Start::Node("bin/cli.mjs"),
        environment: &[("NOTION_TOKEN", "none")],
        calls: &[("API-get-self", r#"{}"#)],
        ..PLAIN
    },
    Server {
        name: "hubspot",
        package: "@hubspot/mcp-server",
        start: Start::Node("dist/index.js"),
        environment: &[("PRIVATE_APP_ACCESS_TOKEN", "none")],
        calls: &[("hubspot-get-user-details", r#"{}"#)],
        ..PLAIN
    },
    Server {
        name: "ms365",
        package: "@softeria/ms-365-mcp-server",
        start: Start::Node("dist/index.js"),
        arguments: &["--org-mode"],
        calls: &[("verify-login", r#"{}"#)],
        ..PLAIN
    },
    Server {
        name: "sqlite",
        package: "mcp-server-sqlite",
        start: Start::Python("mcp-server-sqlite"),
        arguments: &["--db-path", "{place}/data.db"],
        calls: &[
            ("list_tables", "{}"),
            ("read_query", r#"{"query": "SELECT 1 AS one"}"#),
            ("read_query", r#"{"query": "DROP TABLE nothing"}"#),
        ],
        ..PLAIN
    },
    Server {
        name: "grafana",
        package: "mcp-grafana",
        start: Start::Python("mcp-grafana"),
        environment: &[("GRAFANA_URL", "http://127.0.0.1:9")],
        calls: &[("list_datasources", r#"{}"#)],
        ..PLAIN
    },
];

impl Server {
    fn program(&self) -> (PathBuf, Vec<String>) {
        let package = self.part.node().join(self.package);
        match self.start {
            Start::Node(script) => (tools::node(), vec![package.join(script).display().to_string()]),
            Start::Binary(path) => (package.join(path), Vec::new()),
            Start::Python(program) => (self.part.python().join(program), Vec::new()),
        }
    }

    fn arguments(&self, place: &Place) -> Vec<String> {
        self.arguments
            .iter()
            .map(|argument| place.filled(argument))
            .collect()
    }

    fn environment(&self, place: &Place) -> Vec<(String, String)> {
        let mut all = vec![("HOME".to_owned(), place.filled("{place}/home"))];
        let own = self
            .environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), place.filled(value)));
        all.extend(own);
        all
    }

    /// The command for a client that starts the server itself.
    pub(crate) fn command(&self, place: &Place) -> Command {
        let (program, before) = self.program();
        let mut command = Command::new(program);
        command
            .args(before)
            .args(self.arguments(place))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .envs(self.environment(place))
            .current_dir(place.folder.path());
        command
    }

    /// The entry of `mcps.local`.
    pub(crate) fn entry(&self, place: &Place) -> Value {
        let (program, mut arguments) = self.program();
        arguments.extend(self.arguments(place));
        let environment: serde_json::Map<String, Value> = self
            .environment(place)
            .into_iter()
            .map(|(name, value)| (name, json!(value)))
            .collect();
        json!({"name": self.name, "command": program, "args": arguments, "env": environment, "cwd": place.folder.path()})
    }

    /// The version that is installed.
    ///
    /// # Errors
    /// It is not installed; the error says what to run.
    pub(crate) fn version(&self) -> anyhow::Result<String> {
        match self.start {
            Start::Node(_) | Start::Binary(_) => packages::node_version(self.part, self.package),
            Start::Python(_) => packages::python_version(self.part, self.package),
        }
    }
}

/// A folder with what servers work on: a file, a repository of git, a graph of memory, and an empty home.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Self { folder };
        let at = |name: &str| PathBuf::from(place.filled(&format!("{{place}}/{name}")));
        fs::create_dir(at("home")).unwrap();
        fs::write(at("note.txt"), "a line in a file\n").unwrap();
        let entity = json!({"type": "entity", "name": "hub", "entityType": "program", "observations": ["it fronts servers"]});
        fs::write(at("memory.jsonl"), format!("{entity}\n")).unwrap();
        let cluster = json!({"name": "none", "cluster": {"server": "http://127.0.0.1:9"}});
        let context = json!({"name": "none", "context": {"cluster": "none", "user": ""}});
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context], "current-context": "none",
        });
        fs::write(at("kubeconfig"), kubeconfig.to_string()).unwrap();
        let identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
        for arguments in [
            &["init", "--quiet", "."][..],
            &["add", "note.txt"],
            &["commit", "--quiet", "--message", "the only commit"],
        ] {
            let mut git = Command::new("git");
            git.args(identity)
                .args(arguments)
                .current_dir(place.folder.path());
            let output = git.output().unwrap();
            assert!(
                output.status.success(),
                "{git:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        place
    }

    /// A text with the folder for `{place}`.
    pub(crate) fn filled(&self, text: &str) -> String {
        text.replace("{place}", &self.folder.path().to_string_lossy())
    }
}
