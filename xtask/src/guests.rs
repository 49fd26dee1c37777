//! `cargo xtask guests`: every component of this repository that is written in Rust.
//!
//! Each project is one that an author could copy, so none is a member of the workspace. All share one target
//! folder, where cargo finds what it built before. The components come to `target/guests/NAME.wasm`.

mod toolchain;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};

use crate::step::{root, run, say, target};
use toolchain::Toolchain;

/// The triple of components.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// Where to take the compiler for WebAssembly from.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub(crate) enum From {
    /// rustup where it has the target or can fetch it, Debian's packages otherwise.
    Auto,
    /// rustup alone.
    Rustup,
    /// Debian's packages alone.
    Debian,
}

/// Builds all guests.
///
/// # Errors
/// There is no compiler for WebAssembly and none can be installed, or a guest does not build.
pub(crate) fn build(from: From) -> anyhow::Result<()> {
    let projects = projects()?;
    let toolchain = Toolchain::find(from)?;
    let folder = target().join("guests");
    // Two compilers would undo each other's work in one folder.
    let build = folder.join("build").join(toolchain.name());
    fs::create_dir_all(&build).with_context(|| format!("cannot make {}", build.display()))?;
    for project in &projects {
        let shown = project
            .strip_prefix(root())
            .unwrap_or(project)
            .display()
            .to_string();
        run(
            &format!("guest {shown} ({})", toolchain.name()),
            toolchain
                .cargo()?
                .args(["build", "--release", "--locked", "--target", TARGET])
                .env("CARGO_TARGET_DIR", &build)
                .current_dir(project),
        )?;
    }
    collect(&build.join(TARGET).join("release"), &folder)
}

/// The folders in a target folder that guests were built in, one for each compiler.
pub(crate) fn build_folders(target: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(target.join("guests/build"));
    let folders = entries.into_iter().flatten().flatten().map(|entry| entry.path());
    folders.filter(|folder| folder.is_dir()).collect()
}

/// Projects whose component lies beside their Cargo.toml: `aih-config.yaml` names it, so that a fresh clone has it.
const CARRIED: &[&str] = &["example-plugins/text-tools"];

/// Builds the components that the repository carries, in a folder of their own: without a path of this machine in
/// them, so that the same compiler makes the same bytes everywhere.
///
/// # Errors
/// As [`build`].
pub(crate) fn carry(from: From) -> anyhow::Result<()> {
    let toolchain = Toolchain::find(from)?;
    let build = target().join("guests/build/carried");
    for project in CARRIED {
        let folder = root().join(project);
        run(
            &format!("carried {project} ({})", toolchain.name()),
            toolchain
                .cargo_without_paths()?
                .args(["build", "--release", "--locked", "--target", TARGET])
                .env("CARGO_TARGET_DIR", &build)
                .current_dir(&folder),
        )?;
        collect(&build.join(TARGET).join("release"), &folder)?;
    }
    Ok(())
}

/// The folders with a Cargo.toml: example plugins, hooks, and the guests of the tests, which are one workspace.
pub(crate) fn projects() -> anyhow::Result<Vec<PathBuf>> {
    let mut projects = vec![root().join("tests/guests")];
    for parent in ["example-plugins", "hooks"] {
        let parent = root().join(parent);
        if !parent.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&parent).with_context(|| format!("cannot read {}", parent.display()))? {
            projects.push(entry?.path());
        }
    }
    projects.retain(|folder| folder.join("Cargo.toml").is_file());
    projects.sort();
    Ok(projects)
}

/// Copies the components that are new, under the names that the packages have.
fn collect(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut found = 0;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        found += 1;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        // Libraries lose the hyphens of their package's name; none of ours has an underscore.
        let component = to.join(format!("{}.wasm", stem.replace('_', "-")));
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if fs::read(&component).is_ok_and(|old| old == bytes) {
            continue;
        }
        // Who reads at this moment reads the old one or the new one, whole.
        let new = component.with_extension("new");
        fs::write(&new, &bytes)
            .and_then(|()| fs::rename(&new, &component))
            .with_context(|| format!("cannot write {}", component.display()))?;
        say(&format!("{}: {} kB", component.display(), bytes.len() / 1000));
    }
    ensure!(found > 0, "cargo built no component in {}", from.display());
    Ok(())
}
