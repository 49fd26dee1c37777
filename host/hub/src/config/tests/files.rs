//! What plugins and hooks are not granted, member for member, each in a place that the configuration chooses.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::super::*;
use crate::secrets::Secrets;

/// A hub's folder beside other folders.
struct Root(tempfile::TempDir);

impl Root {
    fn new(files: &[&str]) -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        for file in files {
            root.write(file, "");
        }
        fs::create_dir_all(root.at("hub/data")).unwrap();
        root
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn load(&self, config: &str) -> LoadedConfig {
        let text = format!("version: \"1.0\"\n{config}");
        let path = self.at("hub/aih-config.yaml");
        fs::write(&path, &text).unwrap();
        let secrets = Secrets::from_pairs([("FROM_VARIABLE", self.at("apps").display().to_string())]);
        Config::from_text(&text, &path, secrets).unwrap()
    }

    /// Why a plugin beside `config` does not get a folder.
    fn refused(&self, config: &str, folder: &str, mode: &str) -> Option<String> {
        fs::create_dir_all(self.at(folder)).unwrap();
        self.write("attacker/a.wasm", "");
        let path = self.at(folder);
        let path = path.display();
        let plugin = format!(
            "  - {{ name: attacker, file: ../attacker/a.wasm, grants: {{ files: [{{ path: \"{path}\", mode: {mode} }}] }} }}\n"
        );
        // Last, so that a list of plugins in `config` goes on.
        let config = match config.contains("plugins:") {
            true => format!("{config}{plugin}"),
            false => format!("{config}plugins:\n{plugin}"),
        };
        let loaded = self.load(&config);
        assert!(loaded.refused.len() < 2, "{:?}", loaded.refused);
        let problem = loaded.refused.into_iter().next()?;
        assert!(
            problem.line > 0 && problem.key.contains("grants.files[0]"),
            "{problem}"
        );
        Some(problem.to_string())
    }

    fn never(&self, config: &str, folder: &str) {
        for mode in ["ro", "rw"] {
            assert!(
                self.refused(config, folder, mode).is_some(),
                "{mode} {folder}: {config}"
            );
        }
    }

    fn not_written(&self, config: &str, folder: &str) {
        assert_eq!(self.refused(config, folder, "ro"), None, "{folder}: {config}");
        assert!(self.refused(config, folder, "rw").is_some(), "{folder}: {config}");
    }

    fn granted(&self, config: &str, folder: &str) {
        for mode in ["ro", "rw"] {
            assert_eq!(
                self.refused(config, folder, mode),
                None,
                "{mode} {folder}: {config}"
            );
        }
    }
}

#[test]
fn the_hubs_own_files_are_not_granted_wherever_they_are() {
    let root = Root::new(&[
        "tls/cert.pem",
        "keys/key.pem",
        "secrets/all.env",
        "run/secrets/TOKEN",
    ]);
    for (config, folder) in [
        ("", "hub"),
        ("", ""),
        ("", "hub/data"),
        ("", "hub/data/cache"),
        ("", "hub/data/cache/code/deep"),
        (
            "secrets: { provider: file, path: ../secrets/all.env }\n",
            "secrets",
        ),
        ("secrets: { provider: file, path: ../run/secrets }\n", "run"),
        (
            "secrets: { provider: file, path: ../run/secrets }\n",
            "run/secrets",
        ),
        (
            "secrets: { provider: file, path: ../run/secrets }\n",
            "run/secrets/deep",
        ),
        ("store: { url: \"sqlite://../state/hub.db\" }\n", "state"),
        ("store: { url: \"sqlite:../state/hub.db\" }\n", "state"),
        (
            "store: { url: \"sqlite://../st%61te/hub.db?mode=rwc\" }\n",
            "state",
        ),
        (
            "server: { tls: { cert: ../tls/cert.pem, key: ../keys/key.pem } }\n",
            "tls",
        ),
        (
            "server: { tls: { cert: ../tls/cert.pem, key: ../keys/key.pem } }\n",
            "keys",
        ),
    ] {
        root.never(config, folder);
    }
    let absolute = format!(
        "store: {{ url: \"sqlite://{}\" }}\n",
        root.at("else/where.db").display()
    );
    root.never(&absolute, "else");
    root.granted(&absolute, "hub/data/notes");
    root.granted("", "hub/notes");
    root.granted("", "elsewhere");
}

#[test]
fn what_a_link_leads_to_counts_and_the_link_itself() {
    let root = Root::new(&["real/secrets.env", "real/plugin.js"]);
    symlink(root.at("real/secrets.env"), root.at("hub/.env")).unwrap();
    root.never("", "real");
    fs::create_dir(root.at("links")).unwrap();
    symlink(root.at("real/plugin.js"), root.at("links/plugin.js")).unwrap();
    let plugin = "plugins:\n  - { name: p, file: ../links/plugin.js }\n";
    root.never(plugin, "real");
    root.not_written(plugin, "links");
}

#[test]
fn what_is_read_as_code_or_configuration_is_not_written() {
    let root = Root::new(&[
        "skills/greet.md",
        "skills/big/SKILL.md",
        "configs/claude.json",
        "src/plugin/package.json",
        "src/plugin/entry/p.ts",
        "py/p.py",
        "hooks/h.js",
        "wasm/w.wasm",
        "apps/server.py",
        "apps/node/index.js",
        "bin/tool",
        "hub/mcps/tool.js",
        "hub/lib/util.py",
        "hub/run.py",
        "modules/pkg/__main__.py",
        "cwd/x",
    ]);
    let local = |rest: &str| format!("mcps: {{ local: [{{ name: m, {rest} }}] }}\n");
    let skill =
        "skills: [{ name: greet, file: ../skills/greet.md }, { name: big, file: ../skills/big/SKILL.md }]\n";
    let ts = "plugins:\n  - { name: p, file: ../src/plugin/entry/p.ts }\n";
    let py = "plugins:\n  - { name: p, file: ../py/p.py }\n";
    let wasm = "plugins:\n  - { name: p, file: ../wasm/w.wasm }\n";
    let hook = "hooks: [{ name: h, trigger: manual, action: ../hooks/h.js }]\n";
    let search_path = format!(
        "command: python3, env: {{ PYTHONPATH: \"/nowhere:{}\" }}",
        root.at("modules").display()
    );
    let command_path = format!(
        "command: tool, env: {{ PATH: \"/nowhere:{}\" }}",
        root.at("bin").display()
    );
    let cases: &[(String, &[&str])] = &[
        (
            skill.to_owned(),
            &["skills", "skills/big", "skills/big/references"],
        ),
        (
            "configs: { claude: { file: ../configs/claude.json } }\n".to_owned(),
            &["configs"],
        ),
        (
            ts.to_owned(),
            &[
                "src",
                "src/plugin",
                "src/plugin/lib",
                "src/plugin/node_modules/a",
                "src/plugin/entry",
            ],
        ),
        (
            py.to_owned(),
            &["py", "py/site-packages", "py/helpers", "py/wheels"],
        ),
        (wasm.to_owned(), &["wasm"]),
        (hook.to_owned(), &["hooks", "hooks/lib"]),
        (local("command: ../bin/tool"), &["bin"]),
        (local(&command_path), &["bin", "bin/deep"]),
        (
            local("command: python3, args: [\"../apps/server.py\"]"),
            &["apps", "apps/lib"],
        ),
        (
            local("command: node, args: [\"--import=../apps/node/index.js\"]"),
            &["apps/node"],
        ),
        (
            local("command: node, args: [\"../apps/node\"]"),
            &["apps/node", "apps/node/src"],
        ),
        (
            local("command: node, args: [\"${FROM_VARIABLE}/server.py\"]"),
            &["apps"],
        ),
        (
            local("command: node, args: [\"./mcps/tool.js\"]"),
            &["hub/mcps", "hub/mcps/lib", "hub/node_modules"],
        ),
        (
            local("command: python3, args: [\"run.py\"]"),
            &["hub/lib", "hub/.venv", "hub/node_modules/a"],
        ),
        (
            local("command: python3, args: [\"-m\", \"pkg\"], cwd: ../modules"),
            &["modules", "modules/pkg"],
        ),
        (
            local("command: python3, args: [\"-m\", \"mcps.tool\"]"),
            &["hub/mcps/tool"],
        ),
        (local("command: x, cwd: ../cwd"), &["cwd", "cwd/data"]),
        (local(&search_path), &["modules", "modules/pkg"]),
    ];
    for (config, folders) in cases {
        for folder in *folders {
            root.not_written(config, folder);
        }
        root.granted(config, "hub/data/notes");
        root.granted(config, "hub/notes");
    }
}

#[test]
fn the_repository_is_not_written() {
    let root = Root::new(&["hub/.git/config"]);
    root.not_written("", "hub/.git/hooks");
    // A linked worktree.
    let root = Root::new(&["main/.git/worktrees/hub/HEAD"]);
    root.write(
        "hub/.git",
        &format!("gitdir: {}\n", root.at("main/.git/worktrees/hub").display()),
    );
    root.write("main/.git/worktrees/hub/commondir", "../..\n");
    root.not_written("", "main/.git/hooks");
}

#[test]
fn where_the_source_is_the_hubs_folder_its_packages_are_not_written() {
    let root = Root::new(&["hub/plugin.js"]);
    let config = "plugins:\n  - { name: p, file: ./plugin.js }\n";
    root.not_written(config, "hub/node_modules");
    root.not_written(config, "hub/node_modules/left-pad");
    root.granted(config, "hub/data/notes");
    // A project above the hub.
    let root = Root::new(&["package.json", "hub/plugins/plugin.js"]);
    let config = "plugins:\n  - { name: p, file: ./plugins/plugin.js }\n";
    for folder in ["hub/plugins/lib", "node_modules/a", "hub/node_modules"] {
        root.not_written(config, folder);
    }
    root.granted(config, "hub/data/notes");
}

#[test]
fn where_builds_work_and_programs_keep_settings_is_not_written() {
    let root = Root::new(&["hub/a.wasm"]);
    let refused = |config: &str, folder: &Path| {
        let plugin = format!(
            "plugins:\n  - {{ name: a, file: a.wasm, grants: {{ files: [{{ path: \"{}\", mode: rw }}] }} }}\n",
            folder.display()
        );
        !root.load(&format!("{config}{plugin}")).refused.is_empty()
    };
    assert!(refused("", &std::env::temp_dir()));
    if let Some(home) = std::env::home_dir() {
        assert!(refused("mcps: { local: [{ name: m, command: x }] }\n", &home));
    }
    let program = std::env::current_exe().unwrap();
    assert!(refused("", program.parent().unwrap()));
}

#[test]
fn grants_of_other_entries_count() {
    let root = Root::new(&["a.wasm"]);
    let entry = |kind: &str, name: &str, path: &str, mode: &str| {
        let rest = match kind {
            "plugins" => "file: ../a.wasm",
            _ => "trigger: manual, action: ../a.wasm",
        };
        let path = root.at(path);
        let path = path.display();
        format!("{{ name: {name}, {rest}, grants: {{ files: [{{ path: \"{path}\", mode: {mode} }}] }} }}")
    };
    let refused = |one: &str, other: &str, hook: &str| {
        let loaded = root.load(&format!("plugins: [{one}, {other}]\nhooks: [{hook}]\n"));
        let text = loaded.refused.iter().map(|problem| problem.key.clone());
        text.collect::<Vec<_>>()
    };
    let outer = entry("plugins", "outer", "shared", "rw");
    let inner = entry("plugins", "inner", "shared/inner", "ro");
    let beside = entry("hooks", "beside", "other", "rw");
    let both = ["plugins[0].grants.files[0]", "plugins[1].grants.files[0]"];
    assert_eq!(refused(&outer, &inner, &beside), both);
    // A hook whose name is a plugin's.
    let hook = entry("hooks", "outer", "shared/inner", "ro");
    let lone = entry("plugins", "lone", "lone", "rw");
    assert_eq!(
        refused(&outer, &lone, &hook),
        ["plugins[0].grants.files[0]", "hooks[0].grants.files[0]"]
    );
    // Nobody writes.
    let reader = entry("plugins", "outer", "shared", "ro");
    assert!(refused(&reader, &inner, &beside).is_empty());
    // One and the same folder.
    let shared = entry("hooks", "h", "shared", "rw");
    assert!(refused(&outer, &lone, &shared).is_empty());
    // One that is switched off gets nothing, so it is in nobody's way.
    let off = inner.replacen("{ name", "{ enabled: false, name", 1);
    assert!(refused(&outer, &off, &beside).is_empty());
}

#[test]
fn a_message_holds_no_value_of_a_variable() {
    let root = Root::new(&["apps/server.py"]);
    let config = "mcps: { local: [{ name: m, command: python3, args: [\"${FROM_VARIABLE}/server.py\"] }] }\n";
    let text = root.refused(config, "apps", "rw").unwrap();
    let granted = root.at("apps").display().to_string();
    assert_eq!(text.matches(&granted).count(), 1, "{text}");
    assert!(text.contains("a script of the MCP server `m`"), "{text}");
}
