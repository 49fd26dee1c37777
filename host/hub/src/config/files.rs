//! All files of the hub that plugins and hooks cannot be granted: the hub's own files, and the files that the hub or a
//! program that it starts reads as code or configuration, wherever the configuration puts them.
//!
//! A new kind of file of the hub belongs in this list, and in the test that names each member.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use aih_runtime::{GrantedTo, Quota, Reserved, ReservedPath};
use secrecy::ExposeSecret as _;

use super::{FileGrant, FileMode, Grants, LoadedConfig, LocalMcp, Problem, Runtime, node::SourcePosition};
use crate::{data, names::SKILL_MD};

/// What the hub makes in its data folder.
const DATA: [(&str, &str); 6] = [
    ("cache", "the folder of compiled code"),
    ("cache.key", "the key of compiled code"),
    ("keys.json", "the hub's keys"),
    (data::SERVE_LOCK, "the hub's lock"),
    (data::HOOKS_LOCK, "the hub's lock"),
    ("builds", "the folder of builds"),
];
/// What SQLite puts beside its database (<https://www.sqlite.org/tempfiles.html>).
const DATABASE: [&str; 5] = ["", "-wal", "-shm", "-journal", data::STORE_LOCK];
/// What a program or a build looks for by name in its folder and in those above: packages, and what says which and how.
const PACKAGES: [&str; 13] = [
    "node_modules",
    "package.json",
    "tsconfig.json",
    "jsconfig.json",
    ".npmrc",
    "site-packages",
    "vendor",
    "wheels",
    ".venv",
    "venv",
    "pyproject.toml",
    "requirements.txt",
    "uv.lock",
];
/// Extensions of scripts, whose folder holds what they import.
const SCRIPTS: [&str; 14] = [
    "js", "mjs", "cjs", "ts", "mts", "cts", "tsx", "py", "rb", "php", "pl", "lua", "sh", "jar",
];
/// Entries of a folder, and folders below each other, that are looked at for scripts.
const MODULES: usize = 1_000;
const MODULE_DEPTH: usize = 2;
/// What makes a folder one that can be run.
const RUNNABLE: [&str; 5] = [
    "package.json",
    "pyproject.toml",
    "__main__.py",
    "index.js",
    "index.ts",
];
/// Variables of a program with folders that it loads code from.
const SEARCH_PATHS: [&str; 4] = ["NODE_PATH", "PYTHONPATH", "RUBYLIB", "LD_LIBRARY_PATH"];

/// What no plugin or hook of this configuration may be granted.
pub(crate) fn reserved(loaded: &LoadedConfig) -> Reserved {
    let mut list = WriteProtection {
        base: &loaded.base_dir,
        real_base: real(&loaded.base_dir),
        code: Vec::new(),
    };
    list.resources(loaded);
    list.components(loaded);
    for mcp in &loaded.config.mcps.local {
        list.program(mcp);
    }
    list.machine(loaded);
    Reserved {
        own: own(loaded),
        code: list.code,
        granted: entries(loaded)
            .filter(|entry| entry.serves)
            .flat_map(granted)
            .collect(),
    }
}

/// Whose grants they are: the same text in the configuration's problems, in errors and in [`aih_runtime::Spec::owner`].
pub(crate) fn owner_of_plugin(name: &str) -> String {
    format!("plugin `{name}`")
}

/// The same for a hook.
pub(crate) fn owner_of_hook(name: &str) -> String {
    format!("hook `{name}`")
}

/// One grant, for the runtime.
pub(crate) fn file_grant(grant: &FileGrant) -> aih_runtime::FileGrant {
    let default = Quota::default();
    let last = grant.path.file_name().unwrap_or(OsStr::new("files"));
    aih_runtime::FileGrant {
        seen_as: grant
            .seen_as
            .clone()
            .unwrap_or_else(|| format!("/{}", Path::new(last).display())),
        path: grant.path.clone(),
        mode: mode(grant),
        quota: Quota {
            bytes: grant.max_bytes.map_or(default.bytes, |size| size.0),
            files: grant.max_files.unwrap_or(default.files),
        },
    }
}

fn mode(grant: &FileGrant) -> aih_runtime::FileMode {
    match grant.mode {
        FileMode::ReadOnly => aih_runtime::FileMode::ReadOnly,
        FileMode::ReadWrite => aih_runtime::FileMode::ReadWrite,
    }
}

/// Where a grant stands in the file: its place and its key, in the order of the file.
pub(super) type GrantPosition = (SourcePosition, String);

/// The grants that their entries will not get, each with its place.
pub(super) fn refused(loaded: &LoadedConfig, places: &[GrantPosition]) -> Vec<Problem> {
    if places.is_empty() {
        return Vec::new();
    }
    let reserved = reserved(loaded);
    let grants = entries(loaded).flat_map(|entry| {
        let (owner, serves) = (entry.owner, entry.serves);
        entry
            .grants
            .files
            .iter()
            .map(move |grant| (owner.clone(), serves, grant))
    });
    let mut problems = Vec::new();
    for ((position, key), (owner, serves, grant)) in places.iter().zip(grants) {
        if !serves {
            continue;
        }
        if let Err(why) = reserved.check(&file_grant(grant), &owner) {
            problems.push(Problem {
                file: loaded.path.clone(),
                line: position.line,
                column: position.column,
                key: key.clone(),
                what: format!("{owner} does not get {}: {why}", grant.path.display()),
                instead: String::new(),
            });
        }
    }
    problems
}

/// An entry that has grants.
struct Entry<'a> {
    owner: String,
    grants: &'a Grants,
    /// Whether it is loaded at all.
    serves: bool,
}

/// All plugins and then all hooks, as the file is read.
fn entries(loaded: &LoadedConfig) -> impl Iterator<Item = Entry<'_>> {
    let plugins = loaded.config.plugins.iter().map(|entry| Entry {
        owner: owner_of_plugin(&entry.name),
        grants: &entry.grants,
        serves: entry.state.is_enabled(),
    });
    let hooks = loaded.config.hooks.iter().map(|entry| Entry {
        owner: owner_of_hook(&entry.name),
        grants: &entry.grants,
        serves: entry.state.is_enabled(),
    });
    plugins.chain(hooks)
}

fn granted(entry: Entry<'_>) -> impl Iterator<Item = GrantedTo> {
    entry.grants.files.iter().map(move |grant| GrantedTo {
        owner: entry.owner.clone(),
        path: grant.path.clone(),
        mode: mode(grant),
    })
}

/// What is granted in no way, not even for reading.
fn own(loaded: &LoadedConfig) -> Vec<ReservedPath> {
    let mut own = Vec::new();
    let mut push = |path: PathBuf, what: &str| {
        own.push(ReservedPath {
            path,
            what: what.to_owned(),
            whole: true,
        });
    };
    push(loaded.path.clone(), "the configuration file");
    push(loaded.base_dir.join(".env"), "the hub's `.env`");
    if let Some(path) = &loaded.config.secrets_path {
        push(path.clone(), "`secrets.path`");
    }
    let config = &loaded.config;
    if let Some(database) = aih_store::file_of(config.store.url.expose_secret(), &loaded.base_dir) {
        for suffix in DATABASE {
            let mut name = database.clone().into_os_string();
            name.push(suffix);
            push(name.into(), "the store");
        }
    }
    if let Some(tls) = &config.server.tls {
        push(tls.key.clone(), "the key of `server.tls`");
        push(tls.cert.clone(), "the certificate of `server.tls`");
    }
    let data = loaded.data_dir();
    for (name, what) in DATA {
        push(data.join(name), what);
    }
    own
}

/// What is not granted for writing.
struct WriteProtection<'a> {
    base: &'a Path,
    real_base: PathBuf,
    code: Vec<ReservedPath>,
}

impl WriteProtection<'_> {
    fn push(&mut self, path: PathBuf, what: &str, whole: bool) {
        self.code.push(ReservedPath {
            path,
            what: what.to_owned(),
            whole,
        });
    }

    /// A folder from which something in `from` loads code. Where the whole hub lies in that folder, folders beside the
    /// code can be granted, and packages stay reserved; that a build reads nothing else which can be written is checked
    /// once it is known what it read ([`crate::components::PrepareError::Writable`]).
    fn code_folder(&mut self, folder: &Path, from: &Path, what: &str) {
        if !self.is_above_hub(folder) {
            return self.push(folder.to_owned(), what, true);
        }
        self.push(folder.to_owned(), what, false);
        for above in from.ancestors().take_while(|above| above.starts_with(folder)) {
            for name in PACKAGES {
                self.push(above.join(name), &format!("`{name}` of {what}"), true);
            }
        }
        if !self.is_above_hub(from) {
            self.push(from.to_owned(), what, true);
        }
    }

    fn is_above_hub(&self, folder: &Path) -> bool {
        self.real_base.starts_with(real(folder))
    }

    /// `skills` and `configs`.
    fn resources(&mut self, loaded: &LoadedConfig) {
        for skill in &loaded.config.skills {
            let what = format!("the skill `{}`", skill.name);
            let folder = skill.file.parent();
            match folder.filter(|_| skill.file.file_name() == Some(OsStr::new(SKILL_MD))) {
                Some(folder) => self.push(folder.to_owned(), &what, true),
                None => self.push(skill.file.clone(), &what, true),
            }
        }
        for config in &loaded.config.configs {
            let what = format!("the file of the config `{}`", config.name);
            self.push(config.file.clone(), &what, true);
        }
    }

    /// `plugins` and `hooks`: their files, and what their builds read.
    fn components(&mut self, loaded: &LoadedConfig) {
        for entry in &loaded.config.plugins {
            self.component(&entry.file, entry.runtime, &owner_of_plugin(&entry.name));
        }
        for entry in &loaded.config.hooks {
            self.component(&entry.action, entry.runtime, &owner_of_hook(&entry.name));
        }
    }

    fn component(&mut self, file: &Path, runtime: Runtime, owner: &str) {
        self.push(file.to_owned(), &format!("the file of {owner}"), true);
        let manifest = format!("the manifest of {owner}");
        self.push(file.with_extension("aih.yaml"), &manifest, true);
        if runtime == Runtime::Wasm {
            return;
        }
        // Of both worlds the same is read.
        let source = aih_builder::Source::new(file, aih_builder::World::Plugin).ok();
        let (root, file) = match &source {
            Some(source) => (Some(source.root.as_path()), source.file.as_path()),
            None => (file.parent(), file),
        };
        if let (Some(root), Some(from)) = (root, file.parent()) {
            self.code_folder(root, from, &format!("the source of {owner}"));
        }
    }

    /// One of `mcps.local`: a process outside of any sandbox, which runs what it finds. The texts may come from
    /// variables, so no message repeats them.
    fn program(&mut self, mcp: &LocalMcp) {
        let of = |what: &str| format!("{what} of the MCP server `{}`", mcp.name);
        let folder = of("the working folder");
        self.code_folder(&mcp.cwd, &mcp.cwd, &folder);
        let command = mcp.command.expose();
        if command.contains('/') {
            self.script(Path::new(command), &of("the command"));
        } else if !command.is_empty() {
            self.on_path(command, mcp, &of("a folder on the PATH"));
        }
        let script = of("a script");
        let mut module = false;
        for arg in mcp.args.iter().map(super::Text::expose) {
            let value = arg.split_once('=').map(|(_, value)| value);
            for text in std::iter::once(arg).chain(value) {
                let text = text.strip_prefix("file://").unwrap_or(text);
                if !text.is_empty() && !text.contains('\0') {
                    self.script(&mcp.cwd.join(text), &script);
                }
            }
            // `python -m a.b`
            if std::mem::replace(&mut module, arg == "-m") {
                let path = mcp.cwd.join(arg.replace('.', "/"));
                self.push(path.with_extension("py"), &script, true);
                self.push(path, &script, true);
            }
        }
        for (name, value) in &mcp.env {
            if SEARCH_PATHS.contains(&name.as_str()) {
                for folder in std::env::split_paths(value.expose()) {
                    let what = format!("a folder in {name} of the MCP server `{}`", mcp.name);
                    self.push(mcp.cwd.join(folder), &what, true);
                }
            }
        }
    }

    /// A file that is run or given to a program, or a folder that can be run.
    fn script(&mut self, path: &Path, what: &str) {
        if path.is_file() {
            self.push(path.to_owned(), what, true);
            let real = real(path);
            if is_script(path) || is_script(&real) {
                for folder in [path.parent(), real.parent()].into_iter().flatten() {
                    self.code_folder(folder, folder, what);
                    self.modules_beside(folder, what);
                }
            }
        } else if RUNNABLE.iter().any(|name| path.join(name).is_file()) {
            self.code_folder(path, path, what);
        }
    }

    /// Folders beside a script that hold scripts, where the whole hub lies in the script's folder.
    fn modules_beside(&mut self, folder: &Path, what: &str) {
        if !self.is_above_hub(folder) {
            return;
        }
        let data = self.base.join("data");
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for beside in entries.take(MODULES).map(|entry| entry.path()) {
            if beside != data && holds_script(&beside, MODULE_DEPTH) {
                self.push(beside, what, true);
            }
        }
    }

    /// The folders that a command is looked for in, up to the one where it is.
    fn on_path(&mut self, command: &str, mcp: &LocalMcp, what: &str) {
        let own = mcp.env.iter().find(|(name, _)| name == "PATH");
        let path = match own {
            Some((_, path)) => Some(path.expose().into()),
            None => std::env::var_os("PATH"),
        };
        for folder in std::env::split_paths(&path.unwrap_or_default()) {
            let folder = mcp.cwd.join(folder);
            let found = folder.join(command).is_file();
            self.code_folder(&folder, &folder, what);
            if found {
                self.push(folder.join(command), what, true);
                return;
            }
        }
    }

    /// What belongs to the hub on this machine: its program, its repository, and where builds and children work.
    fn machine(&mut self, loaded: &LoadedConfig) {
        if let Ok(program) = std::env::current_exe() {
            self.push(program, "the hub's program", true);
        }
        for path in repository(self.base) {
            self.push(path, "the hub's git repository", true);
        }
        self.push(std::env::temp_dir(), "the folder that builds work in", false);
        let home = std::env::home_dir().filter(|_| !loaded.config.mcps.local.is_empty());
        if let Some(home) = home {
            self.push(home, "the home folder, whose settings MCP servers read", false);
        }
    }
}

fn is_script(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| SCRIPTS.contains(&extension))
}

/// Whether there is a script in a folder, or in one below it.
fn holds_script(folder: &Path, depth: usize) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.take(MODULES).any(|entry| {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => depth > 0 && holds_script(&path, depth - 1),
            Ok(_) => is_script(&path),
            Err(_) => false,
        }
    })
}

/// `.git` of the checkout that a folder lies in, and where that leads: in a linked worktree it is a file that names the
/// folder (gitrepository-layout(5)).
fn repository(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for above in [folder.to_owned(), real(folder)] {
        let Some(git) = above
            .ancestors()
            .map(|above| above.join(".git"))
            .find(|git| git.exists())
        else {
            continue;
        };
        let named = |file: &Path, prefix: &str, from: &Path| {
            let text = fs::read_to_string(file).ok()?;
            Some(from.join(text.trim().strip_prefix(prefix)?.trim()))
        };
        if let Some(linked) = git.parent().and_then(|from| named(&git, "gitdir:", from)) {
            found.extend(named(&linked.join("commondir"), "", &linked));
            found.insert(linked);
        }
        found.insert(git);
    }
    found
}

/// A path without links, where it is there.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
