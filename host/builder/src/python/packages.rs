//! Finds installed packages and reads them: folders that pip has filled, and wheels.

use std::{
    fs,
    io::{Cursor, Read as _},
    path::{Path, PathBuf},
};

use crate::{BuildError, child::read_input};

/// Most bytes of what a wheel holds.
const MAX_WHEEL: u64 = 128 << 20;
/// Most files of a wheel.
const MAX_WHEEL_FILES: usize = 20_000;

/// The folders of installed packages for a source, nearest first: beside the file and up to the root.
pub(super) fn folders(folder: &Path, root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for above in folder.ancestors().take_while(|above| above.starts_with(root)) {
        found.extend(["site-packages", "vendor"].map(|name| above.join(name)));
        for environment in [".venv", "venv"] {
            let mut of_environment: Vec<_> = entries(&above.join(environment).join("lib"))
                .into_iter()
                .filter(|path| name_of(path).starts_with("python"))
                .map(|path| path.join("site-packages"))
                .collect();
            of_environment.sort();
            found.extend(of_environment);
        }
    }
    found.retain(|path| path.is_dir());
    found
}

/// The wheels for a source, nearest first.
pub(super) fn wheels(folder: &Path, root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for above in folder.ancestors().take_while(|above| above.starts_with(root)) {
        let mut here = entries(&above.join("wheels"));
        here.retain(|path| path.extension().is_some_and(|e| e == "whl") && path.is_file());
        found.extend(here);
    }
    found
}

/// What is in a folder, in the order of the names; nothing where it cannot be read.
pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// The last part of a path, empty where it is not text.
pub(super) fn name_of(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

/// Whether a file is native code that cannot run here.
pub(super) fn is_native(name: &str) -> bool {
    let native = [".so", ".pyd", ".dll", ".dylib"]
        .iter()
        .any(|end| name.ends_with(end))
        || name.contains(".so.");
    native && !name.ends_with("wasm32-wasi.so")
}

/// Whether a file is of no use in a component, or may not be in one.
pub(super) fn is_left_out(name: &str) -> bool {
    name.starts_with('.')
        || name == "__pycache__"
        || name.ends_with(".pyc")
        // It would change how the component is made.
        || name == "componentize-py.toml"
}

/// A wheel that was opened.
pub(super) struct Wheel {
    /// Files, by their names in it.
    pub(super) files: Vec<(String, Vec<u8>)>,
}

/// Reads a wheel.
///
/// # Errors
/// When it is for one kind of machine only, is larger than allowed, or is not a wheel.
pub(super) fn open(root: &Path, path: &Path) -> Result<(Wheel, Vec<u8>), BuildError> {
    let shown = name_of(path).to_owned();
    let broken = |why: String| BuildError::Source {
        file: path.to_owned(),
        why,
    };
    if !shown.ends_with("-none-any.whl") && !shown.contains("wasm32") {
        return Err(broken(
            "a wheel for one kind of machine has native code, which cannot run; take one whose name ends in `-none-any.whl`"
                .to_owned(),
        ));
    }
    let bytes = read_input(root, path)?;
    let mut archive = zip::ZipArchive::new(Cursor::new(&bytes))
        .map_err(|e| broken(format!("not a wheel that can be read ({e}); download it again")))?;
    if archive.len() > MAX_WHEEL_FILES {
        return Err(broken(format!("it holds more than {MAX_WHEEL_FILES} files")));
    }
    let mut files = Vec::new();
    let mut left = MAX_WHEEL;
    for index in 0..archive.len() {
        let file = archive
            .by_index(index)
            .map_err(|e| broken(format!("not a wheel that can be read ({e}); download it again")))?;
        // A name that leads out of the folder has none.
        let Some(name) = file
            .enclosed_name()
            .and_then(|name| name.to_str().map(str::to_owned))
        else {
            continue;
        };
        if !file.is_file() || name.split('/').any(is_left_out) {
            continue;
        }
        let mut content = Vec::new();
        file.take(left + 1)
            .read_to_end(&mut content)
            .map_err(|e| broken(format!("not a wheel that can be read ({e}); download it again")))?;
        left = left
            .checked_sub(content.len() as u64)
            .ok_or_else(|| BuildError::TooLarge {
                what: format!("what {shown} holds"),
                limit: MAX_WHEEL,
            })?;
        files.push((name, content));
    }
    Ok((Wheel { files }, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_code_is_known_by_its_name() {
        for name in [
            "_rust.abi3.so",
            "_x.cpython-312-x86_64-linux-gnu.so",
            "a.pyd",
            "libz.so.1",
        ] {
            assert!(is_native(name), "{name}");
        }
        assert!(!is_native("_x.cpython-314-wasm32-wasi.so"));
        assert!(!is_native("sort.py"));
    }

    #[test]
    fn a_wheel_for_a_machine_is_refused() {
        let error = open(
            Path::new("/x"),
            Path::new("/x/a-1.0-cp312-cp312-manylinux_2_17_x86_64.whl"),
        )
        .err()
        .unwrap();
        assert!(error.to_string().contains("native code"), "{error}");
    }
}
