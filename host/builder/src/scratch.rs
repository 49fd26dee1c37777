//! The folder of one child process: created for it, measured while it works, and removed with all content.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{BuildError, BuildOptions};

/// A child's folder. It is removed when its last owner is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(TempDir);

impl Scratch {
    /// Makes it, for this user alone.
    ///
    /// # Errors
    /// The folder for such folders cannot be written.
    pub(crate) fn new(options: &BuildOptions) -> Result<Self, BuildError> {
        use std::os::unix::fs::PermissionsExt as _;
        tempfile::Builder::new()
            .prefix("aih-build-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(&options.scratch)
            .map(Self)
            .map_err(|e| {
                BuildError::io(
                    &format!("cannot make a folder in {}", options.scratch.display()),
                    &e,
                )
            })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Its real path.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn canonical(&self) -> Result<PathBuf, BuildError> {
        self.path()
            .canonicalize()
            .map_err(|e| BuildError::io("cannot find the build's folder", &e))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is removed with the folder itself, or told by nobody: there is nothing to do about it here.
        let _ = clear(self.path());
    }
}

/// Empties a folder, however deep what is in it lies: folders are moved to the top before they are removed, so that no
/// path gets long and no folder stays open.
fn clear(top: &Path) -> io::Result<()> {
    let mut moved = 0_u64;
    loop {
        let mut empty = true;
        for entry in fs::read_dir(top)? {
            let entry = entry?;
            empty = false;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
                continue;
            }
            for inner in fs::read_dir(entry.path())? {
                let inner = inner?;
                if !inner.file_type()?.is_dir() {
                    fs::remove_file(inner.path())?;
                    continue;
                }
                // A name that is taken is tried again with the next number.
                while fs::rename(inner.path(), top.join(format!("moved-{moved}"))).is_err() {
                    moved += 1;
                    if moved > MOST {
                        return Err(io::Error::other("it holds too many folders"));
                    }
                }
                moved += 1;
            }
            fs::remove_dir(entry.path())?;
        }
        if empty {
            return Ok(());
        }
    }
}

/// Folders of a scratch folder that are moved at most.
const MOST: u64 = 10_000_000;

/// What a folder holds: bytes and entries. What cannot be looked at, or went away meanwhile, counts nothing.
pub(crate) fn measure(top: &Path) -> (u64, u64) {
    let (mut bytes, mut entries) = (0_u64, 0_u64);
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            entries += 1;
            let Ok(data) = entry.metadata() else { continue };
            if data.is_dir() {
                folders.push(entry.path());
            } else {
                // As much as the disk has for it: a file with gaps takes less than its length.
                bytes = bytes.saturating_add(data.blocks().saturating_mul(512));
            }
        }
    }
    (bytes, entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_emptied_however_deep_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path();
        // Deeper than a path can be long: made from the inside outwards.
        for round in 0..3_000 {
            fs::create_dir(top.join("next")).unwrap();
            fs::write(top.join("next/file"), "x").unwrap();
            if round > 0 {
                fs::rename(top.join("deep"), top.join("next/deep")).unwrap();
            }
            fs::rename(top.join("next"), top.join("deep")).unwrap();
        }
        fs::create_dir_all(top.join("moved-0/a/b")).unwrap();
        fs::create_dir_all(top.join("moved-1/moved-2")).unwrap();
        std::os::unix::fs::symlink("/etc", top.join("link")).unwrap();
        let (bytes, entries) = measure(&top.join("moved-0"));
        assert_eq!((bytes, entries), (0, 2));
        clear(top).unwrap();
        assert!(fs::read_dir(top).unwrap().next().is_none());
        assert!(Path::new("/etc").is_dir());
    }
}
