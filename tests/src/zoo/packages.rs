//! Where the packages of the zoo are: `cargo xtask setup` installs those of the suite, and `cargo xtask zoo` the rest.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

/// Where a program of the zoo is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// `tests/tools`: what other tests use too.
    Tools,
    /// `tests/zoo/suite`: it runs with all tests.
    Suite,
    /// `tests/zoo/rest`: it runs with `cargo xtask zoo`.
    Rest,
}

impl Part {
    fn folder(self) -> PathBuf {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        match self {
            Self::Tools => tests.join("tools/node"),
            Self::Suite => tests.join("zoo/suite"),
            Self::Rest => tests.join("zoo/rest"),
        }
    }

    /// The task that installs it.
    fn task(self) -> &'static str {
        match self {
            Self::Tools | Self::Suite => "cargo xtask setup",
            Self::Rest => "cargo xtask zoo",
        }
    }

    /// The packages of Node.
    pub(crate) fn node(self) -> PathBuf {
        self.folder().join("node_modules")
    }

    /// The programs of the Python environment.
    pub(crate) fn python(self) -> PathBuf {
        match self {
            Self::Tools => self.folder().with_file_name("python/venv/bin"),
            Self::Suite | Self::Rest => self.folder().join("venv/bin"),
        }
    }
}

/// The version of an installed package of Node.
///
/// # Errors
/// It is not installed; the error says what to run.
pub(crate) fn node_version(part: Part, package: &str) -> anyhow::Result<String> {
    let file = part.node().join(package).join("package.json");
    let text = std::fs::read_to_string(&file).with_context(|| not_installed(part, package))?;
    let package: Value = serde_json::from_str(&text)?;
    Ok(package["version"].as_str().unwrap_or("?").to_owned())
}

/// The version of an installed package of Python, from the name of the folder that describes it.
///
/// # Errors
/// It is not installed; the error says what to run.
pub(crate) fn python_version(part: Part, package: &str) -> anyhow::Result<String> {
    // venv/bin → venv/lib/python3.X/site-packages/NAME-VERSION.dist-info
    let library = part.python().with_file_name("lib");
    let prefix = format!("{}-", package.replace('-', "_"));
    let pythons = std::fs::read_dir(&library).with_context(|| not_installed(part, package))?;
    for python in pythons.flatten() {
        for found in std::fs::read_dir(python.path().join("site-packages"))?.flatten() {
            let name = found.file_name().to_string_lossy().into_owned();
            let version = name
                .strip_prefix(&prefix)
                .and_then(|rest| rest.strip_suffix(".dist-info"));
            if let Some(version) = version {
                return Ok(version.to_owned());
            }
        }
    }
    anyhow::bail!(not_installed(part, package))
}

fn not_installed(part: Part, package: &str) -> String {
    format!("{package} is not installed: run `{}`", part.task())
}
