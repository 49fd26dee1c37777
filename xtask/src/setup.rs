//! What the tests need besides crates: Node packages, a Python environment, and their installers.
//!
//! Everything goes below `tests/tools` and `tests/zoo`, nothing is installed for the whole machine but missing Debian
//! packages. A second run finds a stamp and does nothing.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::{
    cache::Cache,
    step::{root, run, say, there_is},
};

/// What decides which packages of Node are installed.
const NODE_INPUTS: [&str; 2] = ["package.json", "package-lock.json"];
/// The same of Python.
const PYTHON_INPUTS: [&str; 1] = ["requirements.txt"];

/// Sets up everything.
///
/// # Errors
/// A registry cannot be reached, or a package manager is missing and cannot be installed.
pub(crate) fn all(cache: Option<&Cache>) -> anyhow::Result<()> {
    let tools = root().join("tests/tools");
    if !there_is("git") {
        debian(&["git"])?;
    }
    // For the browser server: its own download comes from where not every machine can reach.
    if !Path::new("/usr/bin/chromium").exists() {
        debian(&["chromium"])?;
    }
    if !there_is("npm") {
        debian(&["npm"])?;
    }
    if !there_is("python3") {
        debian(&["python3", "python3-venv"])?;
    }
    let node_tools = tools.join("node");
    installed(
        cache,
        "node",
        &node_tools,
        "node_modules",
        &NODE_INPUTS,
        "npm",
        node,
    )?;
    let python_tools = tools.join("python");
    installed(
        cache,
        "python",
        &python_tools,
        "venv",
        &PYTHON_INPUTS,
        "python3",
        python,
    )?;
    installed(
        cache,
        "zoo",
        &root().join("tests/zoo/suite"),
        "node_modules",
        &NODE_INPUTS,
        "npm",
        node,
    )
}

/// Installs the clients and servers that only `cargo xtask zoo` runs.
///
/// # Errors
/// As [`all`].
pub(crate) fn rest_of_zoo() -> anyhow::Result<()> {
    let folder = root().join("tests/zoo/rest");
    // `npm ci` refuses packages that name optional packages of other platforms which do not exist.
    npm(&folder, &["install", "--no-save"])?;
    python(&folder)
}

/// Installs `product` in `folder`, or in the cache with a link to it, unless `folder` has an installation of its own.
fn installed(
    cache: Option<&Cache>,
    kind: &str,
    folder: &Path,
    product: &str,
    inputs: &[&str],
    program: &str,
    install: impl Fn(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let link = folder.join(product);
    let Some(cache) = cache.filter(|_| !link.is_dir() || link.is_symlink()) else {
        return install(folder);
    };
    let place = match cache.tools(kind, folder, inputs, program) {
        Ok(place) => place,
        Err(error) => {
            say(&format!("no cache for {product}: {error:#}"));
            return install(folder);
        }
    };
    install(&place)?;
    if link.is_symlink() {
        fs::remove_file(&link)?;
    }
    symlink(place.join(product), &link).with_context(|| format!("cannot make the link {}", link.display()))
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
    npm(folder, &["ci"])
}

/// Installs the packages of a lock file with this command of npm.
fn npm(folder: &Path, install: &[&str]) -> anyhow::Result<()> {
    once(folder, "node_modules", &NODE_INPUTS, || {
        if !there_is("npm") {
            debian(&["npm"])?;
        }
        // The clients want a newer Node than many machines have: it comes as a package too.
        run(
            "Node packages",
            Command::new("npm")
                .args(install)
                .args(["--no-audit", "--no-fund", "--loglevel=error"])
                .current_dir(folder),
        )
    })
}

fn python(folder: &Path) -> anyhow::Result<()> {
    once(folder, "venv", &PYTHON_INPUTS, || {
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
