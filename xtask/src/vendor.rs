//! `cargo xtask vendor`: the npm packages that an example plugin carries, made from its lock file.
//!
//! A plugin that carries its packages works in a fresh clone without Node. What is committed is what `npm ci` installs,
//! less the files that no import reaches, such as types, source maps and CommonJS copies of ECMAScript modules.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::step::{root, run, say, there_is};

/// The plugins that carry packages.
const PLUGINS: [&str; 1] = ["example-plugins/web-scraper"];
/// Where the packages of a plugin are, and those that one package has for itself.
const VENDOR: &str = "vendor";
/// Folders of a package that no import reaches: sources where there are built files, and copies as CommonJS.
const LEFT_OUT: [&str; 8] = [
    "src",
    "test",
    "tests",
    "__tests__",
    "__fixtures__",
    "cjs",
    "commonjs",
    ".bin",
];
/// Extensions of what a build can import.
const IMPORTED: [&str; 4] = ["js", "mjs", "cjs", "json"];
/// How the names of files with a licence begin.
const LICENCES: [&str; 4] = ["LICENSE", "LICENCE", "NOTICE", "COPYING"];

/// Makes the folders anew, or with `check` compares them with a fresh installation.
///
/// # Errors
/// npm is missing or fails, a file cannot be read or written, or `check` found a difference.
pub(crate) fn all(check: bool) -> anyhow::Result<()> {
    if !there_is("npm") {
        bail!("npm is missing: install it with this system's package manager");
    }
    for plugin in PLUGINS {
        let plugin = root().join(plugin);
        let wanted = installed(&plugin)?;
        let vendor = plugin.join(VENDOR);
        if check {
            compare(&vendor, &wanted)?;
        } else {
            write(&vendor, &wanted)?;
        }
        say(&format!(
            "{}: {} files are those of package-lock.json",
            vendor.display(),
            wanted.len()
        ));
    }
    Ok(())
}

/// Files by their paths below a folder.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What `npm ci` installs for a plugin, as far as it is carried.
fn installed(plugin: &Path) -> anyhow::Result<Files> {
    let folder = tempfile::tempdir()?;
    for file in ["package.json", "package-lock.json"] {
        let from = plugin.join(file);
        fs::copy(&from, folder.path().join(file))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    run(
        "packages of npm",
        Command::new("npm")
            .args(["ci", "--omit=dev", "--ignore-scripts"])
            .args(["--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(folder.path()),
    )
    .context("npm could not install the packages of the lock file")?;
    let mut files = Files::new();
    collect(&folder.path().join("node_modules"), Path::new(""), &mut files)?;
    Ok(files)
}

/// Adds what is carried of the folder `from`, whose place in the vendored folder is `to`.
fn collect(from: &Path, to: &Path, files: &mut Files) -> anyhow::Result<()> {
    for entry in entries(from)? {
        let name = entry.file_name().unwrap_or_default();
        if entry.is_dir() {
            match name.to_str() {
                Some("node_modules") => collect(&entry, &to.join(VENDOR), files)?,
                Some(name) if !LEFT_OUT.contains(&name) => collect(&entry, &to.join(name), files)?,
                _ => {}
            }
        } else if is_carried(Path::new(name)) {
            files.insert(to.join(name), read(&entry)?);
        }
    }
    Ok(())
}

/// Whether a file is one that a build can import, or a licence.
fn is_carried(name: &Path) -> bool {
    // npm's own note of what it installed.
    if name == ".package-lock.json" {
        return false;
    }
    let text = name.to_string_lossy().to_uppercase();
    let extension = name.extension().and_then(OsStr::to_str);
    LICENCES.iter().any(|start| text.starts_with(start))
        || extension.is_some_and(|extension| IMPORTED.contains(&extension))
}

/// Replaces a folder by these files.
fn write(folder: &Path, files: &Files) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    for (path, bytes) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Compares a folder with these files, byte for byte.
fn compare(folder: &Path, wanted: &Files) -> anyhow::Result<()> {
    let mut found = Files::new();
    all_below(folder, Path::new(""), &mut found)?;
    let names = found.keys().chain(wanted.keys());
    let mut different: Vec<String> = names
        .filter(|path| found.get(*path) != wanted.get(*path))
        .map(|path| {
            let how = match (found.contains_key(path), wanted.contains_key(path)) {
                (true, true) => "differs",
                (true, false) => "is not part of the installation",
                (false, _) => "is missing",
            };
            format!("{} {how}", path.display())
        })
        .collect();
    different.sort();
    different.dedup();
    if !different.is_empty() {
        bail!(
            "{} is not what package-lock.json says; run `cargo xtask vendor`:\n{}",
            folder.display(),
            different.join("\n")
        );
    }
    Ok(())
}

fn all_below(from: &Path, to: &Path, files: &mut Files) -> anyhow::Result<()> {
    for entry in entries(from)? {
        let to = to.join(entry.file_name().unwrap_or_default());
        if entry.is_dir() {
            all_below(&entry, &to, files)?;
        } else {
            files.insert(to, read(&entry)?);
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot = || format!("cannot list {}", folder.display());
    let entries = fs::read_dir(folder).with_context(cannot)?;
    entries
        .map(|entry| Ok(entry.with_context(cannot)?.path()))
        .collect()
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_import_can_reach_and_licences_are_carried() {
        let from = tempfile::tempdir().unwrap();
        for path in [
            "a/package.json",
            "a/LICENSE.md",
            "a/README.md",
            "a/dist/index.js",
            "a/dist/index.d.ts",
            "a/dist/index.js.map",
            "a/dist/cjs/index.js",
            "a/src/index.js",
            "a/node_modules/b/index.mjs",
            "@s/c/notice",
            "@s/c/x.node",
            ".package-lock.json",
            ".bin/a.js",
        ] {
            let path = from.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let mut files = Files::new();
        collect(from.path(), Path::new(""), &mut files).unwrap();
        let names: Vec<_> = files.keys().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "@s/c/notice",
                "a/LICENSE.md",
                "a/dist/index.js",
                "a/package.json",
                "a/vendor/b/index.mjs"
            ]
        );
    }

    #[test]
    fn any_difference_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let wanted: Files = [("a/x.js", "1"), ("a/y.js", "2")]
            .map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec()))
            .into();
        write(folder.path(), &wanted).unwrap();
        compare(folder.path(), &wanted).unwrap();
        for (path, text, said) in [
            ("a/x.js", Some("other"), "a/x.js differs"),
            ("a/y.js", None, "a/y.js is missing"),
            ("more.js", Some(""), "more.js is not part of the installation"),
        ] {
            write(folder.path(), &wanted).unwrap();
            match text {
                Some(text) => fs::write(folder.path().join(path), text).unwrap(),
                None => fs::remove_file(folder.path().join(path)).unwrap(),
            }
            let error = compare(folder.path(), &wanted).unwrap_err().to_string();
            assert!(error.ends_with(&format!(":\n{said}")), "{error}");
        }
    }
}
