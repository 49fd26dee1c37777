//! One step of a task: what it is called, how long it took, what failed.

use std::{
    ffi::OsStr,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Instant,
};

use anyhow::{Context as _, ensure};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Where cargo builds instead of into the folder of the checkout, once a task has decided it.
static TARGET: OnceLock<PathBuf> = OnceLock::new();

/// Lets every cargo that is started from here on build into `folder`, and without what helps only to build again.
pub(crate) fn build_into(folder: &Path) {
    let _ = TARGET.set(folder.to_owned());
}

/// The folder that cargo builds into.
pub(crate) fn target() -> PathBuf {
    if let Some(folder) = TARGET.get() {
        return folder.clone();
    }
    // Relative to where the task was started, as cargo has it.
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => std::path::absolute(&folder).unwrap_or_else(|_| folder.into()),
        None => root().join("target"),
    }
}

/// The cargo that runs this task, in the repository's root.
pub(crate) fn cargo() -> Command {
    let mut command = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// A program that runs cargo, or is it.
pub(crate) fn program(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(path);
    // What cargo said to this task about its own package: build scripts that look at it would be run again, and all
    // that depends on them be built again, each time after a cargo that a person started.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    if let Some(folder) = TARGET.get() {
        command
            .env("CARGO_TARGET_DIR", folder)
            .env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// A line about the task itself.
pub(crate) fn say(text: &str) {
    // A closed pipe is no reason to stop.
    let _ = writeln!(std::io::stderr(), "xtask: {text}");
}

/// Runs one step and says how it went.
///
/// # Errors
/// The program is missing or failed; the error names the step.
pub(crate) fn run(name: &str, command: &mut Command) -> anyhow::Result<()> {
    say(&format!("{name} …"));
    let began = Instant::now();
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("{name}: cannot start `{program}`"))?;
    ensure!(status.success(), "{name}: `{program}` ended with {status}");
    say(&format!("{name}: done in {:.1} s", began.elapsed().as_secs_f64()));
    Ok(())
}

/// Whether a program is on the PATH.
pub(crate) fn there_is(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}
