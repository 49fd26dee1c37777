//! What the tests need besides crates: Node packages, a Python environment, and their installers.
//!
//! Everything goes below `tests/tools`, nothing is installed for the whole machine but missing Debian
//! packages. A second run finds a stamp and does nothing.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::step::{root, run, say, there_is};

/// Sets up everything.
///
/// # Errors
/// A registry cannot be reached, or a package manager is missing and cannot be installed.
pub(crate) fn all() -> anyhow::Result<()> {
    let tools = root().join("tests/tools");
    if !there_is("git") {
        debian(&["git"])?;
    }
    // For the browser server: its own download comes from where not every machine can reach.
    if !Path::new("/usr/bin/chromium").exists() {
        debian(&["chromium"])?;
    }
    node(&tools.join("node"))?;
    python(&tools.join("python"))
}

/// Installs unless the stamp says that these very files were installed.
///
/// The stamp lies in the folder that the installation makes (`product`): who deletes that, deletes the stamp.
fn once(
    folder: &Path,
    product: &str,
    inputs: &[&str],
    install: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut hasher = DefaultHasher::new();
    for input in inputs {
        let path = folder.join(input);
        fs::read(&path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .hash(&mut hasher);
    }
    let stamp = folder.join(product).join(".installed");
    let wanted = format!("{:016x}", hasher.finish());
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    install()?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

fn node(folder: &Path) -> anyhow::Result<()> {
    once(
        folder,
        "node_modules",
        &["package.json", "package-lock.json"],
        || {
            if !there_is("npm") {
                debian(&["npm"])?;
            }
            // The clients want a newer Node than many machines have: it comes as a package too.
            run(
                "Node packages",
                Command::new("npm")
                    .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
                    .current_dir(folder),
            )
        },
    )
}

fn python(folder: &Path) -> anyhow::Result<()> {
    once(folder, "venv", &["requirements.txt"], || {
        if !there_is("python3") {
            debian(&["python3", "python3-venv"])?;
        }
        let venv = folder.join("venv");
        let make = || {
            run(
                "Python environment",
                Command::new("python3").args(["-m", "venv"]).arg(&venv),
            )
        };
        if make().is_err() {
            debian(&["python3-venv"])?;
            make()?;
        }
        let pip = venv.join("bin/pip");
        run(
            "Python packages",
            Command::new(pip)
                .args(["install", "--quiet", "--requirement"])
                .arg(folder.join("requirements.txt")),
        )
    })
}

/// Installs packages of Debian.
///
/// # Errors
/// There is no apt-get, or it failed.
pub(crate) fn debian(packages: &[&str]) -> anyhow::Result<()> {
    if !there_is("apt-get") {
        bail!(
            "{} is missing: install it with this system's package manager",
            packages.join(", ")
        );
    }
    say(&format!(
        "{} is missing; installing it with apt-get",
        packages.join(", ")
    ));
    run("package lists", apt_get().args(["update", "--quiet"]))?;
    run(
        "Debian packages",
        apt_get()
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(packages),
    )
}

/// apt-get as root: through sudo where there is one, for it does nothing but pass root's own calls on.
fn apt_get() -> Command {
    let mut command = if there_is("sudo") {
        let mut command = Command::new("sudo");
        command.arg("apt-get");
        command
    } else {
        Command::new("apt-get")
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
