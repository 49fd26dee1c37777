//! What is built: a file, its language, and the folder that its imports may come from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::BuildError;

/// The language of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// `.js`, `.mjs`, `.cjs`.
    JavaScript,
    /// `.ts`, `.mts`, `.cts`. Types are stripped, not checked.
    TypeScript,
    /// `.py`.
    Python,
}

impl Language {
    /// The language that a file's extension stands for, if it is one that can be built.
    pub fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()? {
            "js" | "mjs" | "cjs" => Some(Self::JavaScript),
            "ts" | "mts" | "cts" => Some(Self::TypeScript),
            "py" => Some(Self::Python),
            _ => None,
        }
    }
}

/// The world of `wit/plugin.wit` that a component is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum World {
    /// Offers tools.
    Plugin,
    /// Runs on events.
    Hook,
}

impl World {
    /// Its name in the WIT.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Hook => "hook",
        }
    }
}

/// A source to build.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// The file, as an absolute path without symbolic links.
    pub file: PathBuf,
    /// Its language.
    pub language: Language,
    /// What the component is for.
    pub world: World,
    /// The project's folder: nothing outside of it is read. The nearest folder at or above the file with a
    /// `package.json` or a `pyproject.toml`, or else the file's own folder.
    pub root: PathBuf,
}

/// Files that an entry is looked for in when a folder is given, in this order.
const ENTRIES: [&str; 14] = [
    "plugin.ts",
    "plugin.js",
    "plugin.mjs",
    "plugin.py",
    "hook.ts",
    "hook.js",
    "hook.mjs",
    "hook.py",
    "index.ts",
    "index.js",
    "index.mjs",
    "main.ts",
    "main.js",
    "main.py",
];
/// How far up a project's root is looked for, in folders.
const HIGHEST_ROOT: usize = 16;

impl Source {
    /// Looks at a file, or at a folder for the entry file in it: what `package.json` names as `main`, or else
    /// a `plugin`, `hook`, `index` or `main` file.
    ///
    /// # Errors
    /// [`BuildError::Source`] when it cannot be read or its extension is not one of [`Language::of`].
    pub fn new(path: impl AsRef<Path>, world: World) -> Result<Self, BuildError> {
        let given = path.as_ref();
        let unreadable = |why: String| BuildError::Source {
            file: given.to_owned(),
            why,
        };
        let path = given
            .canonicalize()
            .map_err(|e| unreadable(format!("{e}; check the path")))?;
        let file = if path.is_dir() {
            entry_of(&path).ok_or_else(|| {
                unreadable(
                    "the folder has no entry file: name one `plugin.js`, `plugin.ts` or `plugin.py`"
                        .to_owned(),
                )
            })?
        } else {
            path
        };
        let language = Language::of(&file).ok_or_else(|| {
            unreadable("not a source that can be built: name a .js, .mjs, .ts or .py file".to_owned())
        })?;
        let root = project_root(&file, language)
            .ok_or_else(|| unreadable("the file has no folder".to_owned()))?
            .to_owned();
        Ok(Self {
            file,
            language,
            world,
            root,
        })
    }
}

fn entry_of(folder: &Path) -> Option<PathBuf> {
    let main = || {
        let text = std::fs::read_to_string(folder.join("package.json")).ok()?;
        let manifest: serde_json::Value = serde_json::from_str(&text).ok()?;
        let main = folder.join(manifest.get("main")?.as_str()?).canonicalize().ok()?;
        (main.starts_with(folder) && main.is_file()).then_some(main)
    };
    main().or_else(|| {
        ENTRIES
            .iter()
            .map(|name| folder.join(name))
            .find(|file| file.is_file())?
            .canonicalize()
            .ok()
    })
}

fn project_root(file: &Path, language: Language) -> Option<&Path> {
    let folder = file.parent()?;
    let marker = match language {
        Language::JavaScript | Language::TypeScript => "package.json",
        Language::Python => "pyproject.toml",
    };
    folder
        .ancestors()
        .take(HIGHEST_ROOT)
        .find(|above| above.join(marker).is_file())
        .or(Some(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_nearest_project() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("src/deep")).unwrap();
        std::fs::write(root.join("src/deep/a.js"), "").unwrap();
        let source = Source::new(root.join("src/deep/a.js"), World::Plugin).unwrap();
        assert_eq!(source.root, root.join("src/deep"));
        std::fs::write(root.join("package.json"), r#"{ "main": "src/deep/a.js" }"#).unwrap();
        let source = Source::new(&root, World::Plugin).unwrap();
        assert_eq!(source.root, root);
        assert_eq!(source.file, root.join("src/deep/a.js"));
    }

    #[test]
    fn what_cannot_be_built_is_said() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.rb"), "").unwrap();
        let error = Source::new(folder.path().join("a.rb"), World::Plugin).unwrap_err();
        assert!(error.to_string().contains(".py"), "{error}");
        assert!(Source::new(folder.path().join("nothing.js"), World::Hook).is_err());
        assert!(Source::new(folder.path(), World::Hook).is_err());
    }
}
