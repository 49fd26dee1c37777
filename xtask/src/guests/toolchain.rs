//! A compiler for WebAssembly components: rustup's, or Debian's where rustup cannot fetch the target.
//!
//! Debian has no standard library for `wasm32-wasip2`, so there cargo builds it from its source, once for each
//! target folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use super::{From, TARGET};
use crate::{
    setup::debian,
    step::{cargo, root, say, there_is},
};

/// Where Debian's wasi-libc is.
const WASI_LIBC: &str = "/usr/lib/wasm32-wasi";

/// What compiles guests.
pub(super) enum Toolchain {
    /// The cargo that runs this task; its compiler has the target.
    Rustup,
    /// Debian's cargo and compiler.
    Debian {
        /// The folder of `wasm-ld`.
        linker: PathBuf,
        /// The folder of `wasm-component-ld`, which makes a component of what the linker made.
        componentizer: PathBuf,
    },
}

impl Toolchain {
    pub(super) fn find(from: From) -> anyhow::Result<Self> {
        if from != From::Debian && rustup() {
            return Ok(Self::Rustup);
        }
        if from == From::Rustup {
            bail!("rustup is missing, or cannot fetch the target {TARGET}");
        }
        from_debian().with_context(|| {
            format!("no compiler for {TARGET}: neither `rustup target add {TARGET}` nor Debian's packages")
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Rustup => "rustup",
            Self::Debian { .. } => "debian",
        }
    }

    /// cargo, without its subcommand, for components in which no path of this machine stands.
    pub(super) fn cargo_without_paths(&self) -> anyhow::Result<Command> {
        let mut flags = without_paths();
        if matches!(self, Self::Debian { .. }) {
            flags.extend(["-L".to_owned(), WASI_LIBC.to_owned()]);
        }
        let mut cargo = self.cargo()?;
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        Ok(cargo)
    }

    /// cargo, without its subcommand.
    pub(super) fn cargo(&self) -> anyhow::Result<Command> {
        let (linker, componentizer) = match self {
            Self::Rustup => {
                let mut cargo = cargo();
                clean(&mut cargo);
                return Ok(cargo);
            }
            Self::Debian {
                linker,
                componentizer,
            } => (linker, componentizer),
        };
        let mut cargo = Command::new("/usr/bin/cargo");
        clean(&mut cargo);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = [linker.as_path(), Path::new("/usr/bin"), componentizer]
            .into_iter()
            .map(Path::to_path_buf)
            .chain(std::env::split_paths(&path));
        cargo
            .env(
                "PATH",
                std::env::join_paths(folders).context("PATH cannot be extended")?,
            )
            // Building the standard library is a feature of nightly compilers; this stable one can do it.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", "/usr/bin/rustc")
            .env("RUSTFLAGS", format!("-L {WASI_LIBC}"))
            .arg("-Zbuild-std=std,panic_abort");
        Ok(cargo)
    }
}

/// Flags that put short names in the place of this machine's paths.
fn without_paths() -> Vec<String> {
    let home = std::env::home_dir();
    let cargo = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(home?.join(".cargo")));
    [cargo.map(|folder| (folder, "cargo")), Some((root(), "aih"))]
        .into_iter()
        .flatten()
        .map(|(folder, name)| format!("--remap-path-prefix={}={name}", folder.display()))
        .collect()
}

/// Takes away what the cargo around this task set for its own compiler and would choose the wrong one.
fn clean(cargo: &mut Command) {
    for variable in [
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "RUSTC_WRAPPER",
    ] {
        cargo.env_remove(variable);
    }
}

/// Whether rustup has the target, now or after fetching it.
fn rustup() -> bool {
    // Without rustup a compiler can have the target too.
    let libraries = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    let there = libraries.is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success()
            && fs::read_dir(folder).is_ok_and(|mut entries| {
                entries
                    .any(|entry| entry.is_ok_and(|e| e.file_name().to_string_lossy().starts_with("libstd-")))
            })
    });
    if there {
        return true;
    }
    if !there_is("rustup") {
        return false;
    }
    say(&format!("rustup target add {TARGET} …"));
    Command::new("rustup")
        .args(["target", "add", TARGET])
        .status()
        .is_ok_and(|status| status.success())
}

fn from_debian() -> anyhow::Result<Toolchain> {
    let mut missing = Vec::new();
    for (file, package) in [
        ("/usr/bin/rustc", "rustc-web"),
        ("/usr/bin/cargo", "cargo-web"),
        ("/usr/lib/wasm32-wasi/libc.a", "wasi-libc"),
    ] {
        if !Path::new(file).exists() {
            missing.push(package.to_owned());
        }
    }
    if !sources() {
        missing.push("rust-web-src".to_owned());
    }
    if linker().is_none() {
        missing.push(newest_lld()?);
    }
    if componentizer().is_none() {
        missing.push("rust-web-llvm".to_owned());
    }
    if !missing.is_empty() {
        debian(&missing.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    Ok(Toolchain::Debian {
        linker: linker().context("`wasm-ld` is nowhere in /usr/lib/llvm-*/bin")?,
        componentizer: componentizer()
            .context("`wasm-component-ld` is in no toolchain of rustup and in no package")?,
    })
}

/// Whether Debian's compiler finds the source of the standard library.
fn sources() -> bool {
    let sysroot = Command::new("/usr/bin/rustc")
        .args(["--print", "sysroot"])
        .output();
    sysroot.is_ok_and(|output| {
        let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Path::new(&sysroot)
            .join("lib/rustlib/src/rust/library/std/Cargo.toml")
            .is_file()
    })
}

/// The `bin` folder of the newest LLVM that has `wasm-ld`.
fn linker() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = folders(Path::new("/usr/lib"))
        .filter_map(|folder| {
            let version = folder
                .file_name()?
                .to_str()?
                .strip_prefix("llvm-")?
                .parse()
                .ok()?;
            let bin = folder.join("bin");
            bin.join("wasm-ld").exists().then_some((version, bin))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin)
}

/// The package of the newest `lld-N`: older ones do not know what newer compilers write.
fn newest_lld() -> anyhow::Result<String> {
    let listed = Command::new("apt-cache")
        .args(["pkgnames", "lld-"])
        .output()
        .context("cannot start apt-cache")?;
    let newest = String::from_utf8_lossy(&listed.stdout)
        .lines()
        .filter_map(|name| name.strip_prefix("lld-")?.parse::<u32>().ok())
        .max()
        .context("apt-cache knows no package `lld-N`: run `apt-get update`")?;
    Ok(format!("lld-{newest}"))
}

/// A folder with `wasm-component-ld`: of any toolchain of rustup, or of Debian's compiler.
fn componentizer() -> Option<PathBuf> {
    let rustup = std::env::var_os("RUSTUP_HOME").map(PathBuf::from).or_else(|| {
        let home = std::env::home_dir()?;
        Some(home.join(".rustup"))
    });
    let toolchains = rustup
        .into_iter()
        .flat_map(|home| folders(&home.join("toolchains")));
    // rust-web-llvm keeps its libraries beside the compiler's own.
    let debian = folders(Path::new("/usr/lib")).filter(|folder| {
        folder
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("rust"))
    });
    let mut roots: Vec<PathBuf> = toolchains.chain(debian).chain([PathBuf::from("/usr")]).collect();
    // Newer toolchains last in the alphabet: nightly, stable, then numbers are all recent enough.
    roots.sort_by_key(|folder| !folder.to_string_lossy().contains("stable"));
    roots
        .iter()
        .flat_map(|root| [root.join("lib/rustlib"), root.join("rustlib"), root.clone()])
        .flat_map(|rustlib| folders(&rustlib).collect::<Vec<_>>())
        .map(|host| host.join("bin"))
        .find(|bin| bin.join("wasm-component-ld").is_file())
}

fn folders(parent: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(parent)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
}
