//! Finds the modules that a source can reach.
//!
//! A module counts as reachable if its name occurs anywhere in a reachable file, as an import or otherwise. That finds
//! more than what is imported, and never less. Imports by name are included. A module that is not copied cannot be
//! found later.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use super::packages::{self, Wheel, entries, is_left_out, is_native, name_of};
use crate::{
    BuildError,
    child::read_input,
    digest::hash_of,
    job::{Input, Job},
};

/// Most bytes of all files.
const MAX_TOTAL: u64 = 256 << 20;
/// Most folders in one another.
const DEEPEST: usize = 32;
/// Folders beside a source that are not modules of it.
const NOT_MODULES: [&str; 6] = [
    "site-packages",
    "vendor",
    "wheels",
    "node_modules",
    "venv",
    "__pycache__",
];

/// What goes into the component.
#[derive(Default)]
pub(super) struct ReachableModules {
    /// The entry's name in the folder `source`.
    pub(super) entry: String,
    /// Paths in the stage, and what is in them.
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
    pub(super) inputs: Vec<Input>,
    /// The native file of each package that has one.
    pub(super) native: BTreeMap<String, String>,
    /// Whether the SDK is named anywhere.
    pub(super) uses_sdk: bool,
}

/// Where a module is.
#[derive(Clone)]
enum Found {
    /// A file or a folder, and the part of the stage that it goes to.
    Path(PathBuf, &'static str),
    /// A file or a folder of a wheel, by its number.
    Wheel(usize, String),
}

struct Walk<'a> {
    root: &'a Path,
    reachable: ReachableModules,
    /// All modules that could be meant, by their names.
    known: HashMap<String, Found>,
    wheels: Vec<Wheel>,
    taken: BTreeSet<String>,
    /// Names to look at.
    named: Vec<String>,
    total: u64,
}

/// Finds everything that the source can reach.
pub(super) fn reach(job: &Job) -> Result<ReachableModules, BuildError> {
    let folder = job.file.parent().unwrap_or(&job.root);
    let mut walk = Walk {
        root: &job.root,
        reachable: ReachableModules {
            entry: name_of(&job.file).to_owned(),
            ..ReachableModules::default()
        },
        known: HashMap::new(),
        wheels: Vec::new(),
        taken: BTreeSet::new(),
        named: Vec::new(),
        total: 0,
    };
    walk.index(folder)?;
    walk.file(&job.file, &Path::new("source").join(name_of(&job.file)))?;
    while let Some(name) = walk.named.pop() {
        if let Some(found) = walk.known.get(&name).cloned()
            && walk.taken.insert(name.clone())
        {
            walk.take(&name, &found)?;
        }
    }
    Ok(walk.reachable)
}

impl Walk<'_> {
    fn index(&mut self, folder: &Path) -> Result<(), BuildError> {
        for path in entries(folder) {
            if !NOT_MODULES.contains(&name_of(&path)) && (path.is_file() || has_python(&path, 2)) {
                self.know(&path, "source");
            }
        }
        for installed in packages::folders(folder, self.root) {
            for path in entries(&installed) {
                self.know(&path, "packages");
            }
        }
        for path in packages::wheels(folder, self.root) {
            let (wheel, bytes) = packages::open(self.root, &path)?;
            self.input(&path, &bytes)?;
            let number = self.wheels.len();
            for (name, _) in &wheel.files {
                let first = name.split('/').next().unwrap_or(name);
                let module = first.strip_suffix(".py").unwrap_or(first);
                if is_module(module) {
                    let found = Found::Wheel(number, first.to_owned());
                    self.known.entry(module.to_owned()).or_insert(found);
                } else if let Some(package) = first.strip_suffix(".dist-info") {
                    self.known
                        .entry(info_key(package))
                        .or_insert(Found::Wheel(number, first.to_owned()));
                }
            }
            self.wheels.push(wheel);
        }
        Ok(())
    }

    fn know(&mut self, path: &Path, part: &'static str) {
        let name = name_of(path);
        if is_left_out(name) {
            return;
        }
        let found = Found::Path(path.to_owned(), part);
        if path.is_dir() {
            if is_module(name) {
                self.known.entry(name.to_owned()).or_insert(found);
            } else if let Some(package) = name.strip_suffix(".dist-info") {
                self.known.entry(info_key(package)).or_insert(found);
            }
        } else if let Some(module) = name.strip_suffix(".py").filter(|module| is_module(module)) {
            self.known.entry(module.to_owned()).or_insert(found);
        } else if is_native(name) {
            let module = name.split('.').next().unwrap_or(name);
            self.reachable
                .native
                .entry(module.to_owned())
                .or_insert_with(|| name.to_owned());
        }
    }

    fn take(&mut self, name: &str, found: &Found) -> Result<(), BuildError> {
        // `importlib.metadata` reads what is beside the package.
        self.named.push(info_key(name));
        match found {
            Found::Path(path, part) => {
                let to = Path::new(part).join(name_of(path));
                if path.is_dir() {
                    self.folder(name, path, &to, DEEPEST)
                } else {
                    self.file(path, &to)
                }
            }
            Found::Wheel(number, first) => {
                let Some(wheel) = self.wheels.get_mut(*number) else {
                    return Ok(());
                };
                let inside = format!("{first}/");
                let files: Vec<_> = wheel
                    .files
                    .extract_if(.., |(name, _)| name == first || name.starts_with(&inside))
                    .collect();
                for (path, content) in files {
                    self.content(&Path::new("packages").join(path), content)?;
                }
                Ok(())
            }
        }
    }

    fn folder(&mut self, package: &str, folder: &Path, to: &Path, deepest: usize) -> Result<(), BuildError> {
        if deepest == 0 {
            return Err(BuildError::TooLarge {
                what: format!("the depth of {}", folder.display()),
                limit: 0,
            });
        }
        for path in entries(folder) {
            let name = name_of(&path);
            if is_left_out(name) {
                continue;
            }
            let to = to.join(name);
            if path.is_dir() {
                self.folder(package, &path, &to, deepest - 1)?;
            } else if is_native(name) {
                self.reachable
                    .native
                    .entry(package.to_owned())
                    .or_insert_with(|| name.to_owned());
            } else {
                self.file(&path, &to)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, to: &Path) -> Result<(), BuildError> {
        // Links that lead out of the project are not followed.
        let inside = path.canonicalize().is_ok_and(|real| real.starts_with(self.root));
        if !inside || !fs::metadata(path).is_ok_and(|data| data.is_file()) {
            return Ok(());
        }
        let content = read_input(self.root, path)?;
        self.input(path, &content)?;
        self.content(to, content)
    }

    fn input(&mut self, path: &Path, content: &[u8]) -> Result<(), BuildError> {
        self.total += content.len() as u64;
        if self.total > MAX_TOTAL {
            return Err(BuildError::TooLarge {
                what: "what the source imports".to_owned(),
                limit: MAX_TOTAL,
            });
        }
        self.reachable.inputs.push(Input {
            path: path.strip_prefix(self.root).unwrap_or(path).to_owned(),
            hash: hash_of(content),
        });
        Ok(())
    }

    fn content(&mut self, to: &Path, content: Vec<u8>) -> Result<(), BuildError> {
        if to.extension().is_some_and(|e| e == "py") {
            let text = String::from_utf8_lossy(&content);
            let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
            let mut seen = BTreeSet::new();
            for word in words {
                if !word.is_empty() && seen.insert(word) {
                    self.reachable.uses_sdk |= word == "aih_plugin";
                    if self.known.contains_key(word) && !self.taken.contains(word) {
                        self.named.push(word.to_owned());
                    }
                }
            }
        }
        self.reachable.files.push((to.to_owned(), content));
        Ok(())
    }
}

/// The key of a package's `.dist-info`, which no module can have as its name.
fn info_key(package: &str) -> String {
    let name = package.split('-').next().unwrap_or(package);
    format!("{}.dist-info", name.to_lowercase())
}

fn is_module(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && characters.all(|c| c.is_alphanumeric() || c == '_')
}

fn has_python(folder: &Path, depth: usize) -> bool {
    depth > 0
        && entries(folder).iter().any(|path| {
            path.extension().is_some_and(|e| e == "py") || (path.is_dir() && has_python(path, depth - 1))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Language, World};

    fn names(reachable: &ReachableModules) -> Vec<&str> {
        let paths = reachable.files.iter().map(|(path, _)| path.to_str().unwrap());
        let mut names: Vec<_> = paths.collect();
        names.sort_unstable();
        names
    }

    fn reach_of(folder: &Path) -> ReachableModules {
        reach(&Job {
            file: folder.join("my-plugin.py"),
            root: folder.to_owned(),
            language: Language::Python,
            world: World::Plugin,
            folder: folder.to_owned(),
            scan: true,
            max_component: 1 << 20,
            max_memory: 1 << 30,
            parent: 0,
        })
        .unwrap()
    }

    #[test]
    fn only_what_is_named_goes_in() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for (name, text) in [
            ("my-plugin.py", "import helper\nimportlib.import_module('late')\n"),
            ("helper.py", "from pkg import x"),
            ("late.py", ""),
            ("other.py", "import secret"),
            ("secret.py", ""),
            ("site-packages/pkg/__init__.py", "import _fast"),
            ("site-packages/pkg/data.txt", "data"),
            ("site-packages/pkg/_fast.cpython-312-x86_64-linux-gnu.so", ""),
            ("site-packages/pkg-1.0.dist-info/METADATA", "Version: 1.0"),
            ("site-packages/unused/__init__.py", ""),
        ] {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), text).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", root.join("site-packages/pkg/passwd")).unwrap();
        let reachable = reach_of(&root);
        assert_eq!(
            names(&reachable),
            [
                "packages/pkg-1.0.dist-info/METADATA",
                "packages/pkg/__init__.py",
                "packages/pkg/data.txt",
                "source/helper.py",
                "source/late.py",
                "source/my-plugin.py",
            ]
        );
        assert!(reachable.native.contains_key("pkg"));
        assert!(!reachable.uses_sdk);
    }

    #[test]
    fn a_wheel_is_unpacked() {
        use std::io::Write as _;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir(root.join("wheels")).unwrap();
        let mut wheel =
            zip::ZipWriter::new(fs::File::create(root.join("wheels/thing-2.0-py3-none-any.whl")).unwrap());
        for name in [
            "thing/__init__.py",
            "thing-2.0.dist-info/METADATA",
            "../escape.py",
            "more/__init__.py",
        ] {
            wheel
                .start_file(name, zip::write::SimpleFileOptions::default())
                .unwrap();
            wheel.write_all(b"x = 1").unwrap();
        }
        wheel.finish().unwrap();
        fs::write(root.join("my-plugin.py"), "import aih_plugin, thing").unwrap();
        let reachable = reach_of(&root);
        assert_eq!(
            names(&reachable),
            [
                "packages/thing-2.0.dist-info/METADATA",
                "packages/thing/__init__.py",
                "source/my-plugin.py"
            ]
        );
        assert!(reachable.uses_sdk);
        assert_eq!(reachable.inputs.len(), 2);
    }
}
