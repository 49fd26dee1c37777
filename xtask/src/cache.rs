//! What one run of CI leaves for the next one, outside of the checkout: compiled dependencies and installed test tools.
//!
//! Nothing depends on the cache. Without it, or where it cannot be written or another run has it, everything is made in
//! the checkout as always.
//!
//! | folder of the cache | what it holds | its key |
//! | --- | --- | --- |
//! | `target-KEY` | the target folder of cargo, without what was built of this repository | toolchain, `Cargo.lock` files |
//! | `node-KEY` | `node_modules` of the tests | npm, `package.json`, `package-lock.json` |
//! | `python-KEY` | the Python environment of the tests | Python, `requirements.txt` |
//! | `zoo-KEY` | `node_modules` of the AI clients that the tests run | npm, `package.json`, `package-lock.json` |

use std::{
    fs::{self, File, TryLockError},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::{
    guests,
    step::{self, cargo, root, say},
};

/// Names another folder for the cache; empty switches the cache off.
const VARIABLE: &str = "AIH_CI_CACHE";
/// A target folder that is larger than this, in bytes, is not kept: it has collected what no build needs any more.
const MAX_TARGET: u64 = 20 << 30;

/// The cache of this run, which no other run has at the same time.
pub(crate) struct Cache {
    folder: PathBuf,
    /// Held until the end of the run.
    _lock: File,
}

impl Cache {
    /// Takes the cache, and says so when there is none.
    pub(crate) fn take() -> Option<Self> {
        let folder = folder(std::env::var_os(VARIABLE), std::env::var_os("XDG_CACHE_HOME"))?;
        match Self::open(&folder) {
            Ok(cache) => Some(cache),
            Err(error) => {
                say(&format!("no cache: {error:#}"));
                None
            }
        }
    }

    fn open(folder: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("{} cannot be written", folder.display());
        fs::create_dir_all(folder).with_context(cannot)?;
        let lock = File::create(folder.join("lock")).with_context(cannot)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another run works with {}", folder.display()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
        }
        tempfile::tempfile_in(folder).with_context(cannot)?;
        Ok(Self {
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    /// Lets cargo build into the cache from here on, unless the environment names a target folder.
    ///
    /// # Errors
    /// The toolchain says nothing of itself, or a lock file or the folder cannot be read or written.
    pub(crate) fn compiled(&self) -> anyhow::Result<()> {
        if std::env::var_os("CARGO_TARGET_DIR").is_some() {
            say("compiled dependencies: CARGO_TARGET_DIR is set, so they are not taken from the cache");
            return Ok(());
        }
        let mut locks = vec![root().join("Cargo.lock")];
        locks.extend(
            guests::projects()?
                .iter()
                .map(|project| project.join("Cargo.lock")),
        );
        let toolchain = key(&[said("rustc", "-vV")?]);
        let mut texts = Vec::new();
        for lock in &locks {
            texts.push(fs::read(lock).with_context(|| format!("cannot read {}", lock.display()))?);
        }
        let family = format!("target-{toolchain}-");
        let target = self.place("target-", &family, &key(&texts))?;
        forget_own(&target, &locks)?;
        step::build_into(&target);
        Ok(())
    }

    /// The folder with this key. The last one of the same family becomes it, because most of it is still right and cargo
    /// knows which part; those of other families are removed.
    fn place(&self, kind: &str, family: &str, key: &str) -> anyhow::Result<PathBuf> {
        let place = self.folder.join(format!("{family}{key}"));
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path == place || !name.starts_with(kind) {
                continue;
            }
            if name.starts_with(family) && kind != family && !place.exists() {
                fs::rename(&path, &place).with_context(|| format!("cannot rename {}", path.display()))?;
            } else {
                remove(&path)?;
            }
        }
        if place.exists() && size(&place) > MAX_TARGET {
            say(&format!(
                "{} has become too large and is removed",
                place.display()
            ));
            remove(&place)?;
        }
        fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
        Ok(place)
    }

    /// The folder of the cache that a tool is installed in: `inputs` are copied from `folder`, and `program` is what
    /// installs.
    ///
    /// # Errors
    /// An input cannot be read, the program says no version, or the cache cannot be written.
    pub(crate) fn tools(
        &self,
        kind: &str,
        folder: &Path,
        inputs: &[&str],
        program: &str,
    ) -> anyhow::Result<PathBuf> {
        let mut texts = vec![said(program, "--version")?];
        for input in inputs {
            texts.push(fs::read(folder.join(input)).with_context(|| format!("cannot read {input}"))?);
        }
        let family = format!("{kind}-");
        let place = self.place(&family, &family, &key(&texts))?;
        for (input, text) in inputs.iter().zip(texts.iter().skip(1)) {
            fs::write(place.join(input), text)
                .with_context(|| format!("cannot write to {}", place.display()))?;
        }
        Ok(place)
    }
}

/// Removes what an earlier run built of this repository: whether it is out of date, cargo tells by the times of files,
/// and those of another checkout say nothing.
fn forget_own(target: &Path, locks: &[PathBuf]) -> anyhow::Result<()> {
    for folder in ["debug/tests-cache", "debug/incremental", "tmp"] {
        remove(&target.join(folder))?;
    }
    for lock in locks {
        let folder = lock.parent().unwrap_or(lock);
        let text = fs::read_to_string(lock)?;
        let clean = |target: &Path, profile: &[&str]| {
            let mut command = cargo();
            command.arg("clean").args(profile).current_dir(folder);
            command.arg("--target-dir").arg(target);
            for name in own_packages(&text) {
                command.args(["--package", name]);
            }
            step::run("forget what was built of this repository", command.arg("--quiet"))
        };
        if folder == root() {
            clean(target, &[])?;
            continue;
        }
        for build in guests::build_folders(target) {
            clean(&build, &["--release", "--target", guests::TARGET])?;
        }
    }
    Ok(())
}

/// Where the cache is; `None` switches it off.
fn folder(variable: Option<std::ffi::OsString>, xdg: Option<std::ffi::OsString>) -> Option<PathBuf> {
    if let Some(folder) = variable {
        return (!folder.is_empty()).then(|| std::path::absolute(&folder).unwrap_or_else(|_| folder.into()));
    }
    // A relative path counts as none (XDG Base Directory Specification).
    let base = xdg.map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
    Some(base.join("aih-ci"))
}

/// A digest of these texts, as a part of a folder's name.
fn key(texts: &[Vec<u8>]) -> String {
    let mut hasher = DefaultHasher::new();
    texts.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// What a program says of itself.
fn said(program: &str, argument: &str) -> anyhow::Result<Vec<u8>> {
    let output = Command::new(program).arg(argument).current_dir(root()).output();
    Ok(output.with_context(|| format!("cannot start {program}"))?.stdout)
}

/// The packages of a `Cargo.lock` that come from no registry: those of this repository.
fn own_packages(lock: &str) -> Vec<&str> {
    let entries = lock.split("[[package]]").skip(1);
    let own = entries.filter(|entry| !entry.lines().any(|line| line.starts_with("source = ")));
    let names = own.filter_map(|entry| entry.lines().find_map(|line| line.strip_prefix("name = ")));
    names.map(|name| name.trim_matches('"')).collect()
}

fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = match path.is_dir() {
        true => fs::remove_dir_all(path),
        false => match path.exists() {
            true => fs::remove_file(path),
            false => Ok(()),
        },
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

/// The bytes of all files below a folder.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        _ => entry.metadata().map_or(0, |metadata| metadata.len()),
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_where_the_environment_says() {
        let at =
            |variable: Option<&str>, xdg: Option<&str>| folder(variable.map(Into::into), xdg.map(Into::into));
        assert_eq!(at(Some("/x"), Some("/y")), Some("/x".into()));
        assert_eq!(at(Some(""), Some("/y")), None);
        assert_eq!(at(None, Some("/y")), Some("/y/aih-ci".into()));
        let home = std::env::home_dir().unwrap().join(".cache/aih-ci");
        assert_eq!(at(None, Some("relative")), Some(home.clone()));
        assert_eq!(at(None, None), Some(home));
    }

    #[test]
    fn one_run_has_the_cache_and_the_next_one_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = Cache::open(folder.path()).unwrap();
        let second = Cache::open(folder.path()).err().unwrap().to_string();
        assert!(second.contains("another run"), "{second}");
        drop(first);
        Cache::open(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_cache() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Cache::open(&file).err().unwrap().to_string();
        assert!(error.contains("cannot be written"), "{error}");
        assert!(Cache::open(Path::new("/proc/aih-ci")).is_err());
    }

    #[test]
    fn old_keys_are_removed_and_compiled_code_of_the_same_toolchain_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let at = |name: &str| folder.path().join(name);
        let file = cache.place("target-", "target-a-", "1").unwrap().join("file");
        fs::write(&file, "").unwrap();
        // Another lock file: the same folder under another name.
        let second = cache.place("target-", "target-a-", "2").unwrap();
        assert!(second.join("file").exists() && !at("target-a-1").exists());
        // Another toolchain: nothing of it can be used.
        let third = cache.place("target-", "target-b-", "2").unwrap();
        assert!(!third.join("file").exists() && !at("target-a-2").exists());
        // Tools of another lock file are installed anew; other kinds stay.
        cache.place("node-", "node-", "1").unwrap();
        cache.place("node-", "node-", "2").unwrap();
        assert!(!at("node-1").exists() && at("node-2").exists() && third.exists());
        assert!(at("lock").exists());
    }

    #[test]
    fn a_tool_has_a_folder_for_each_state_of_its_inputs() {
        let (folder, tools) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cache = Cache::open(folder.path()).unwrap();
        let place = |lock: &str| {
            fs::write(tools.path().join("lock.json"), lock).unwrap();
            cache
                .tools("node", tools.path(), &["lock.json"], "rustc")
                .unwrap()
        };
        let first = place("{}");
        assert_eq!(fs::read_to_string(first.join("lock.json")).unwrap(), "{}");
        fs::write(first.join("installed"), "").unwrap();
        assert!(place("{}").join("installed").exists());
        let second = place("{ }");
        assert!(!second.join("installed").exists() && !first.exists());
    }

    #[test]
    fn packages_of_this_repository_are_those_without_a_source() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1\"\nsource = \"registry+x\"\n\n\
                    [[package]]\nname = \"own\"\nversion = \"1\"\ndependencies = [\n \"a\",\n]\n";
        assert_eq!(own_packages(lock), ["own"]);
        let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
        let own = own_packages(&lock);
        for name in ["aih", "aih-tests", "xtask"] {
            assert!(own.contains(&name), "{own:?}");
        }
        assert!(!own.contains(&"wasmtime"), "{own:?}");
    }
}
