//! `aih plugin new`: a plugin that builds as it is, to change from there.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail, ensure};

use crate::cli::report;

/// The arguments of `aih plugin new`.
#[derive(Debug, clap::Args)]
pub struct New {
    /// Name of the plugin and of its folder: letters, digits and hyphens.
    name: String,
    /// The language to write it in.
    #[arg(long, value_enum, default_value_t)]
    lang: Language,
    /// The folder to make it in.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    path: PathBuf,
    /// Folder of the Rust SDK, `sdk/rust` of AIH's sources. `aih` finds it if you run it in these sources, or built it there.
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
}

/// A language that plugins are written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// Rust, compiled by cargo.
    Rust,
    /// JavaScript, built by the hub.
    #[default]
    Js,
    /// TypeScript, built by the hub.
    Ts,
    /// Python, built by the hub.
    Py,
}

impl Language {
    /// The file that the configuration names, in the project's folder.
    fn file(self, name: &str) -> String {
        match self {
            Self::Js => format!("{name}.js"),
            Self::Ts => format!("{name}.ts"),
            Self::Py => format!("{name}.py"),
            Self::Rust => format!("target/{RUST_TARGET}/release/{}.wasm", name.replace('-', "_")),
        }
    }

    /// Commands in the project's folder, up to the first call.
    fn steps(self, name: &str) -> Vec<String> {
        let mut steps = Vec::new();
        if self == Self::Rust {
            steps.push(format!("rustup target add {RUST_TARGET}"));
            steps.push(format!("cargo build --release --target {RUST_TARGET}"));
        }
        steps.push(format!(
            "aih plugin run {} count_words '{{\"text\": \"one two three\"}}'",
            self.file(name)
        ));
        steps
    }
}

/// What cargo builds components for.
const RUST_TARGET: &str = "wasm32-wasip2";

/// The longest name: tools are called after it, and their names should have 50 characters in all.
const LONGEST_NAME: usize = 40;

impl New {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let folder = self.path.join(&self.name);
        let sdk = self.rust_sdk(&folder)?;
        for (name, text) in files(&self.name, self.lang, &sdk)? {
            write_new(&folder.join(name), &text)?;
        }
        report::line(&format!(
            "made {}; {} says how to go on, in short:",
            folder.display(),
            folder.join("README.md").display()
        ));
        report::line(&format!("cd {}", folder.display()));
        for step in self.lang.steps(&self.name) {
            report::line(&step);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What stands behind `aih-plugin =` in a Cargo.toml in the folder: the SDK in AIH's sources.
    fn rust_sdk(&self, folder: &Path) -> anyhow::Result<String> {
        if self.lang != Language::Rust {
            return Ok(String::new());
        }
        let sdk = match &self.sdk {
            Some(given) => {
                ensure!(
                    given.join("Cargo.toml").is_file(),
                    "{} is not the Rust SDK: it has no Cargo.toml; give the folder `sdk/rust` of AIH's sources",
                    given.display()
                );
                std::path::absolute(given)?
            }
            // Made in the sources, called in them, or by a program that was built in them.
            None => [std::path::absolute(folder).ok(), std::env::current_dir().ok(), std::env::current_exe().ok()]
                .into_iter()
                .flatten()
                .find_map(|start| {
                    let mut above = start.ancestors().map(|above| above.join("sdk/rust"));
                    above.find(|sdk| sdk.join("Cargo.toml").is_file())
                })
                .context("cannot find the Rust SDK: run this command in AIH's sources, or give their folder `sdk/rust` with `--sdk FOLDER`")?,
        };
        // TOML's strings are written like Rust's.
        Ok(format!("{{ path = {:?} }}", sdk.to_string_lossy()))
    }
}

/// Nothing that is there already is written over.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    fs::File::create_new(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| {
            format!(
                "cannot write {}; choose another name or remove it first",
                path.display()
            )
        })
}

/// The files of a plugin, by their paths in its folder.
fn files(name: &str, language: Language, sdk: &str) -> anyhow::Result<Vec<(String, String)>> {
    ensure!(
        name.len() <= LONGEST_NAME
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
        "`{name}` cannot be the name of a plugin: use at most {LONGEST_NAME} lower-case letters, digits and hyphens, and begin with a letter"
    );
    if name == "aih-plugin" {
        bail!("`aih-plugin` is the name of the SDK: choose another name");
    }
    let filled = |text: &str| {
        text.replace("{name}", name)
            .replace("{module}", &name.replace('-', "_"))
            .replace("{sdk}", sdk)
    };
    let common = |text: &str| {
        filled(text)
            .replace("{file}", &language.file(name))
            .replace("{steps}", &language.steps(name).join("\n"))
    };
    let own: Vec<(&str, &str)> = match language {
        Language::Js => vec![
            ("{name}.js", include_str!("templates/plugin.js")),
            ("package.json", include_str!("templates/package.json")),
        ],
        Language::Ts => vec![
            ("{name}.ts", include_str!("templates/plugin.ts")),
            ("package.json", include_str!("templates/package.json")),
            ("tsconfig.json", include_str!("templates/tsconfig.json")),
            (
                "types/aih-plugin.d.ts",
                include_str!("../../../../../sdk/js/index.d.ts"),
            ),
        ],
        Language::Py => vec![
            ("{name}.py", include_str!("templates/plugin.py")),
            ("pyproject.toml", include_str!("templates/pyproject.toml")),
        ],
        Language::Rust => vec![
            ("Cargo.toml", include_str!("templates/Cargo.toml")),
            ("src/lib.rs", include_str!("templates/lib.rs")),
        ],
    };
    let mut files: Vec<(String, String)> = own
        .into_iter()
        .map(|(path, text)| (filled(path), filled(text)))
        .collect();
    files.push((
        format!("{name}.aih.yaml"),
        common(include_str!("templates/manifest.yaml")),
    ));
    files.push((
        "README.md".to_owned(),
        common(include_str!("templates/README.md")),
    ));
    files.push((
        ".gitignore".to_owned(),
        "/node_modules/\n/site-packages/\n/target/\n/*.wasm\n".to_owned(),
    ));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_its_name_everywhere() {
        for language in [Language::Js, Language::Ts, Language::Py, Language::Rust] {
            let files = files("word-count", language, "\"0.1\"").unwrap();
            for name in ["README.md", "word-count.aih.yaml", ".gitignore"] {
                assert!(files.iter().any(|(path, _)| path == name), "{language:?}: {name}");
            }
            for (path, text) in files {
                for gap in ["{name}", "{module}", "{file}", "{steps}", "{sdk}"] {
                    assert!(
                        !text.contains(gap) && !path.contains(gap),
                        "{language:?} {path}: {gap}"
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let new = New {
            name: "mine".to_owned(),
            lang: Language::Js,
            path: folder.path().to_owned(),
            sdk: None,
        };
        new.run().unwrap();
        assert!(folder.path().join("mine/mine.js").is_file());
        assert!(new.run().unwrap_err().to_string().contains("choose another name"));
    }

    #[test]
    fn a_name_has_to_be_one() {
        for name in [
            "",
            "Mine",
            "../up",
            "a b",
            "1st",
            "-a",
            "aih-plugin",
            &"a".repeat(41),
        ] {
            assert!(files(name, Language::Js, "").is_err(), "{name}");
        }
    }
}
