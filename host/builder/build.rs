//! Puts the SDKs and the WIT contract into the crate: lists every file of their folders as an `include_str!`. With
//! them goes a hash of all that makes a component beside its source: the cache has no use for what another builder made.

use std::{
    env,
    fmt::Write as _,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = here.join("../..").canonicalize()?;
    let mut code = String::new();
    let mut made_by = Vec::new();
    for (name, folder, extensions) in [
        ("JAVASCRIPT_SDK", "sdk/js/src", &["js", "mjs"][..]),
        ("PYTHON_SDK", "sdk/python/aih_plugin", &["py"][..]),
        ("WIT", "wit", &["wit"][..]),
    ] {
        let folder = root.join(folder);
        println!("cargo::rerun-if-changed={}", folder.display());
        let mut files = Vec::new();
        if folder.is_dir() {
            collect(&folder, extensions, &mut files)?;
        }
        files.sort();
        let _ = writeln!(code, "pub(crate) static {name}: &[(&str, &str)] = &[");
        for file in &files {
            let relative = file.strip_prefix(&folder).unwrap_or(file);
            let _ = writeln!(code, "    ({relative:?}, include_str!({file:?})),");
        }
        code.push_str("];\n");
        made_by.append(&mut files);
    }
    // And the builder, with the versions of its engines.
    made_by.push(root.join("Cargo.lock"));
    collect(&here.join("src"), &["rs", "py", "js", "wit"], &mut made_by)?;
    made_by.sort();
    let mut hash = DefaultHasher::new();
    for file in made_by {
        println!("cargo::rerun-if-changed={}", file.display());
        file.strip_prefix(&root).unwrap_or(&file).hash(&mut hash);
        fs::read(&file)?.hash(&mut hash);
    }
    let _ = writeln!(
        code,
        "/// A hash of all that goes into every build.\npub(crate) const BUILDER: u64 = {:#x};",
        hash.finish()
    );
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("embedded.rs"), code)
}

fn collect(folder: &Path, extensions: &[&str], files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        println!("cargo::rerun-if-changed={}", path.display());
        if path.is_dir() {
            collect(&path, extensions, files)?;
        } else if path
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| extensions.contains(&e))
        {
            files.push(path);
        }
    }
    Ok(())
}
