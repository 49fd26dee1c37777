//! All modules that a source reaches.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use super::{
    parse::{self, Hint, Kind, Parsed, Wanted},
    resolve::{PACKAGE_FOLDERS, Resolver, Target, package_of},
};
use crate::{BuildError, SourcePosition, child::read_input, digest::hash_of, job::Input};

/// Most modules of one source.
const MAX_MODULES: usize = 10_000;
/// Most bytes of all modules.
const MAX_TOTAL: u64 = 64 << 20;

/// A module of the graph.
pub(super) struct Module {
    /// Its real path.
    pub(super) path: PathBuf,
    /// Its path in the stage, with `/`, which is what stack traces show.
    pub(super) name: String,
    pub(super) content: Content,
    /// Where its imports lead, by name.
    pub(super) imports: BTreeMap<String, Target>,
    /// Where its `require`s lead, by name.
    pub(super) requires: BTreeMap<String, Target>,
    /// Whether Node takes it for an ECMAScript module by its name or package: then the default import of a
    /// CommonJS module is all that it exports.
    pub(super) node_mode: bool,
    /// What other modules import of it.
    pub(super) wanted: Wanted,
}

/// What a module is made of.
pub(super) enum Content {
    Code(Parsed),
    /// JSON text, checked.
    Json(String),
}

impl Module {
    pub(super) fn is_commonjs(&self) -> bool {
        matches!(&self.content, Content::Code(parsed) if parsed.kind == Kind::CommonJs)
    }
}

/// The modules, the entry first.
pub(super) struct Graph {
    root: PathBuf,
    resolver: Resolver,
    pub(super) modules: Vec<Module>,
    by_path: HashMap<PathBuf, usize>,
    names: HashMap<String, usize>,
    inputs: Vec<Input>,
    total: u64,
    /// Whether anything of the SDK is imported.
    pub(super) uses_sdk: bool,
    /// What each `package.json` says its modules are, by folder.
    packages: HashMap<PathBuf, Option<bool>>,
}

impl Graph {
    pub(super) fn new(root: &Path, entry: &Path) -> Result<Self, BuildError> {
        let mut graph = Self {
            root: root.to_owned(),
            resolver: Resolver::new(root),
            modules: Vec::new(),
            by_path: HashMap::new(),
            names: HashMap::new(),
            inputs: Vec::new(),
            total: 0,
            uses_sdk: false,
            packages: HashMap::new(),
        };
        graph.add(entry)?;
        if let Some(module) = graph.modules.first_mut() {
            // Our own entry looks at all of it.
            module.wanted.all = true;
        }
        Ok(graph)
    }

    /// Follows the imports of all modules.
    pub(super) fn walk(&mut self) -> Result<(), BuildError> {
        let mut next = 0;
        while next < self.modules.len() {
            self.follow(next)?;
            next += 1;
        }
        Ok(())
    }

    /// The files that were read.
    pub(super) fn inputs(self) -> Vec<Input> {
        self.inputs
    }

    /// The module at a path that was added.
    pub(super) fn at(&self, path: &Path) -> Option<(usize, &Module)> {
        let index = *self.by_path.get(path)?;
        Some((index, self.modules.get(index)?))
    }

    fn read(&mut self, path: &Path) -> Result<Vec<u8>, BuildError> {
        let content = read_input(&self.root, path)?;
        self.total += content.len() as u64;
        if self.total > MAX_TOTAL || self.modules.len() > MAX_MODULES {
            return Err(BuildError::TooLarge {
                what: "what the source imports".to_owned(),
                limit: MAX_TOTAL,
            });
        }
        self.inputs.push(Input {
            path: path.strip_prefix(&self.root).unwrap_or(path).to_owned(),
            hash: hash_of(&content),
        });
        Ok(content)
    }

    fn add(&mut self, path: &Path) -> Result<usize, BuildError> {
        if let Some(index) = self.by_path.get(path) {
            return Ok(*index);
        }
        let shown = path
            .strip_prefix(&self.root)
            .unwrap_or(path)
            .display()
            .to_string();
        let content = self.read(path)?;
        let source = String::from_utf8(content).map_err(|_| BuildError::Syntax {
            position: at_file(&shown),
            message: "the file is not UTF-8 text: save it as UTF-8".to_owned(),
        })?;
        let (content, node_mode) = if path.extension().is_some_and(|e| e == "json") {
            (Content::Json(json(&shown, source)?), false)
        } else {
            let hint = self.hint(path);
            let parsed = parse::parse(path, &shown, &source, hint)?;
            (Content::Code(parsed), hint == Hint::Module)
        };
        let index = self.modules.len();
        let name = self.name(&shown, index);
        self.modules.push(Module {
            path: path.to_owned(),
            name,
            content,
            imports: BTreeMap::new(),
            requires: BTreeMap::new(),
            node_mode,
            wanted: Wanted::default(),
        });
        self.by_path.insert(path.to_owned(), index);
        Ok(index)
    }

    /// A name for the stage that is safe in an import and belongs to no other module.
    fn name(&mut self, shown: &str, index: usize) -> String {
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '@' | '+');
        let mut name: String = shown.chars().map(|c| if safe(c) { c } else { '_' }).collect();
        if shown.starts_with(super::OURS) || self.names.contains_key(&name) {
            name = format!("_{index}/{name}");
        }
        self.names.insert(name.clone(), index);
        name
    }

    fn hint(&mut self, path: &Path) -> Hint {
        match path.extension().and_then(|e| e.to_str()) {
            Some("mjs" | "mts") => Hint::Module,
            Some("cjs" | "cts") => Hint::CommonJs,
            _ => match self.package_says(path) {
                Some(true) => Hint::Module,
                // Node would take it for CommonJS; bundlers look, and so does this.
                _ => Hint::Open,
            },
        }
    }

    /// Whether the nearest `package.json` has `"type": "module"`.
    fn package_says(&mut self, path: &Path) -> Option<bool> {
        for folder in path.ancestors().skip(1) {
            if !folder.starts_with(&self.root) {
                break;
            }
            if let Some(known) = self.packages.get(folder) {
                if known.is_some() {
                    return *known;
                }
                continue;
            }
            let manifest = folder.join("package.json");
            // A broken one says nothing; where it matters the resolver complains.
            let says = manifest.is_file().then(|| {
                self.read(&manifest)
                    .ok()
                    .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
                    .is_some_and(|manifest| manifest.get("type").is_some_and(|kind| kind == "module"))
            });
            self.packages.insert(folder.to_owned(), says);
            if says.is_some() {
                return says;
            }
        }
        None
    }

    fn follow(&mut self, index: usize) -> Result<(), BuildError> {
        let Some(module) = self.modules.get(index) else {
            return Ok(());
        };
        let Content::Code(parsed) = &module.content else {
            return Ok(());
        };
        let path = module.path.clone();
        let shown = path
            .strip_prefix(&self.root)
            .unwrap_or(&path)
            .display()
            .to_string();
        let requests: Vec<_> = parsed
            .requests
            .iter()
            .map(|request| {
                // Lines of what types were stripped from are not those of the file.
                let written = parsed.written.get(&request.name).copied();
                let here = || parse::position(&parsed.text, request.replace.start);
                (request.name.clone(), written.unwrap_or_else(here))
            })
            .collect();
        let dynamic: Vec<String> = parsed
            .dynamic
            .iter()
            .filter_map(|import| import.name.clone())
            .collect();
        let requires = parsed.requires.clone();
        let wants = parsed.wants.clone();

        let mut imports = BTreeMap::new();
        for (name, (line, column)) in requests {
            let target = self.resolver.resolve(&path, &name, false);
            let position = SourcePosition {
                file: shown.clone(),
                line,
                column,
            };
            match &target {
                Target::Missing(why) => return Err(missing(position, &name, why.as_deref())),
                Target::Node => return Err(node(position, &name)),
                _ => {}
            }
            imports.insert(name, target);
        }
        // What is imported or required on the way may be in a `try`: it fails when it is reached.
        for name in dynamic {
            imports
                .entry(name)
                .or_insert_with_key(|name| self.resolver.resolve(&path, name, false));
        }
        let mut required = BTreeMap::new();
        for name in requires {
            let target = self.resolver.resolve(&path, &name, true);
            required.insert(name, target);
        }
        for (name, target) in imports.iter().chain(&required) {
            match target {
                Target::File(file) => {
                    let extension = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
                    if !matches!(extension, "js" | "mjs" | "cjs" | "ts" | "mts" | "cts" | "json") {
                        return Err(unsupported_file(&shown, name, extension));
                    }
                    let to = self.add(file)?;
                    if let Some(module) = self.modules.get_mut(to) {
                        match wants.iter().find(|(wanted, _)| wanted == name) {
                            Some((_, wanted)) => {
                                module.wanted.names.extend(wanted.names.iter().cloned());
                                module.wanted.all |= wanted.all;
                            }
                            // `import(…)` gives the whole namespace.
                            None => module.wanted.all = true,
                        }
                    }
                }
                Target::Sdk(_) => self.uses_sdk = true,
                _ => {}
            }
        }
        if let Some(module) = self.modules.get_mut(index) {
            module.imports = imports;
            module.requires = required;
        }
        Ok(())
    }
}

fn json(shown: &str, source: String) -> Result<String, BuildError> {
    let text = source.strip_prefix('\u{feff}').unwrap_or(&source);
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(e) => Err(BuildError::Syntax {
            position: SourcePosition {
                file: shown.to_owned(),
                line: u32::try_from(e.line()).unwrap_or(0),
                column: u32::try_from(e.column()).unwrap_or(0),
            },
            message: format!("not valid JSON: {e}"),
        }),
    }
}

fn at_file(shown: &str) -> SourcePosition {
    SourcePosition {
        file: shown.to_owned(),
        line: 0,
        column: 0,
    }
}

/// An import that leads nowhere.
pub(super) fn missing(position: SourcePosition, name: &str, why: Option<&str>) -> BuildError {
    let hint = match (why, package_of(name)) {
        (Some(why), _) => why.to_owned(),
        (None, Some("aih-plugin")) => "the SDK has no such module".to_owned(),
        (None, Some(package)) => format!(
            "run `npm install {package}` in the plugin's folder (or put the package into its `node_modules` or `vendor`), and build again"
        ),
        (None, None) => "there is no such file; check the path".to_owned(),
    };
    BuildError::MissingImport {
        position,
        name: name.to_owned(),
        hint,
    }
}

/// A module of Node.
pub(super) fn node(position: SourcePosition, name: &str) -> BuildError {
    let hint = match name.strip_prefix("node:").unwrap_or(name) {
        "fs" | "fs/promises" => {
            "a sandbox has no file system; keep data in the SDK's `state`, or import a JSON file"
        }
        "http" | "https" | "net" | "tls" | "http2" | "dns" | "dgram" => "use `fetch`",
        "crypto" => "use the global `crypto`",
        "stream" | "zlib" => "use web streams, or a package that does not need it",
        "child_process" | "worker_threads" | "cluster" => "a sandbox cannot start processes or threads",
        "os" => "a sandbox has no operating system",
        _ => "it is part of Node; use a package that runs in browsers or workers",
    };
    let hint = match package_at(&position.file) {
        Some(package) => format!("{hint}. The package `{package}` needs it: use another package"),
        None => hint.to_owned(),
    };
    BuildError::Unsupported {
        position,
        name: name.to_owned(),
        hint,
    }
}

/// The package that a file belongs to, if it is an installed one.
fn package_at(file: &str) -> Option<&str> {
    let starts = PACKAGE_FOLDERS.iter().filter_map(|folder| {
        let within = file.rfind(&format!("/{folder}/")).map(|at| at + 1);
        let first = file.starts_with(&format!("{folder}/")).then_some(0);
        Some(within.or(first)? + folder.len() + 1)
    });
    package_of(file.get(starts.max()?..)?)
}

fn unsupported_file(shown: &str, name: &str, extension: &str) -> BuildError {
    let hint = match extension {
        "node" => "native code cannot run; look for a package in plain JavaScript",
        "wasm" => "modules of WebAssembly cannot be nested",
        _ => "only JavaScript, TypeScript and JSON files can be imported",
    };
    BuildError::Unsupported {
        position: at_file(shown),
        name: name.to_owned(),
        hint: hint.to_owned(),
    }
}
