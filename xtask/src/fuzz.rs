//! `cargo xtask fuzz`: the targets of `fuzz/`, each for a while.
//!
//! cargo-fuzz needs a nightly compiler. Where one of them is missing, the same entries still run as tests with generated
//! and changed input (`host/hub/src/fuzz/tests.rs`).

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, bail, ensure};

use crate::step::{self, root, run as step_run, say};

/// Memory of one input, in MiB. A target that needs more has found something.
const MEMORY: u32 = 2048;

/// Runs these targets, or all.
///
/// # Errors
/// cargo-fuzz or a nightly compiler is missing, a target is not there, or a target found something.
pub(crate) fn run(seconds: u32, targets: &[String]) -> anyhow::Result<()> {
    if let Some(missing) = missing() {
        bail!("the fuzzers cannot run: {missing}");
    }
    let folder = root().join("fuzz");
    let all = all(&folder)?;
    for target in targets {
        ensure!(
            all.contains(target),
            "there is no target `{target}`; there are {}",
            all.join(", ")
        );
    }
    // The dependencies are those of the workspace; cargo adds what the targets need besides.
    let lock = folder.join("Cargo.lock");
    fs::copy(root().join("Cargo.lock"), &lock).with_context(|| format!("cannot write {}", lock.display()))?;
    for target in if targets.is_empty() { &all } else { targets } {
        let corpus = folder.join("corpus").join(target);
        fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
        // What is found goes to the corpus; the seeds are read only.
        step_run(
            &format!("fuzz target {target}, {seconds} s"),
            nightly()
                .args(["fuzz", "run", target])
                .arg(&corpus)
                .arg(folder.join("seeds").join(target))
                .arg("--")
                .arg(format!("-max_total_time={seconds}"))
                .arg(format!("-rss_limit_mb={MEMORY}"))
                .current_dir(root()),
        )?;
    }
    Ok(())
}

/// The same in CI, where missing fuzzers are not a fault of a change.
///
/// # Errors
/// A target found something.
pub(crate) fn where_it_can_be(seconds: u32) -> anyhow::Result<()> {
    match missing() {
        None => run(seconds, &[]),
        Some(missing) => {
            say(&format!(
                "fuzzers: NOT run, {missing}. The tests ran the same entries with generated and changed input."
            ));
            Ok(())
        }
    }
}

/// What the fuzzers need and is not there.
fn missing() -> Option<&'static str> {
    let works = |arguments: &[&str]| {
        nightly()
            .args(arguments)
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if !works(&["--version"]) {
        return Some("because there is no nightly compiler (rustup toolchain install nightly)");
    }
    if !works(&["fuzz", "--version"]) {
        return Some("because cargo-fuzz is not installed (cargo install --locked cargo-fuzz)");
    }
    None
}

/// cargo of the nightly toolchain, by way of rustup.
fn nightly() -> Command {
    let mut command = step::program("cargo");
    command.arg("+nightly");
    // This task runs under a toolchain of its own, which would count before the one that is named.
    for name in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC"] {
        command.env_remove(name);
    }
    // Another compiler and other flags: it shares nothing with the other builds.
    command.env("CARGO_TARGET_DIR", step::target().join("fuzz"));
    command
}

/// The names of all targets.
fn all(folder: &Path) -> anyhow::Result<Vec<String>> {
    let folder = folder.join("fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}
