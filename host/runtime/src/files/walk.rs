//! Walks through a folder of any depth, with one open descriptor at a time, and without following links.

use std::{ffi::CString, fs::File, io, os::fd::OwnedFd};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat},
    io::Errno,
};

use super::resolved::FileId;

/// Opens a folder for reading. It must not be a link.
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Why not all of a folder was seen.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    /// It holds more than was allowed to be looked at.
    #[error("it holds more than {0} files")]
    TooMany(u64),
    /// The system refuses.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl From<Errno> for WalkError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// Shows every file, folder and link below `root` to `seen`, at most `limit` of them. What the hub may not read is
/// passed over, and so is what goes away meanwhile.
///
/// # Errors
/// See [`WalkError`].
pub(super) fn walk(root: &File, limit: u64, mut seen: impl FnMut(&Stat)) -> Result<(), WalkError> {
    let mut left = limit;
    let mut list = |folder: &OwnedFd| -> Result<Vec<CString>, WalkError> {
        let mut folders = Vec::new();
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            left = left.checked_sub(1).ok_or(WalkError::TooMany(limit))?;
            let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            seen(&stat);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                folders.push(name.to_owned());
            }
        }
        Ok(folders)
    };
    let mut here = openat(root, c".", FOLDER, Mode::empty())?;
    let mut folders = list(&here)?;
    // The folders above `here`, with those of each that are still to be seen. Their names alone are kept: as many
    // descriptors as the tree is deep would be more than the process may have.
    let mut above: Vec<(FileId, Vec<CString>)> = Vec::new();
    loop {
        if let Some(name) = folders.pop() {
            match openat(&here, name.as_c_str(), FOLDER, Mode::empty()) {
                Ok(inner) => {
                    let inside = list(&inner)?;
                    above.push((id_of(&here)?, std::mem::replace(&mut folders, inside)));
                    here = inner;
                }
                // Unreadable, gone, or no folder any more.
                Err(Errno::ACCESS | Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(error.into()),
            }
        } else if let Some((id, rest)) = above.pop() {
            let up = openat(&here, c"..", FOLDER, Mode::empty())?;
            if id_of(&up)? != id {
                return Err(io::Error::other("a folder in it was moved while it was read").into());
            }
            (here, folders) = (up, rest);
        } else {
            return Ok(());
        }
    }
}

/// Device and inode of what is open.
fn id_of(file: &OwnedFd) -> Result<FileId, Errno> {
    Ok(id_of_stat(&fstat(file)?))
}

/// Device and inode.
#[expect(clippy::useless_conversion, reason = "the types differ between systems")]
pub(super) fn id_of_stat(stat: &Stat) -> FileId {
    (stat.st_dev.into(), stat.st_ino.into())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn deep_wide_and_linked() {
        let folder = tempfile::tempdir().unwrap();
        let mut deepest = openat(rustix::fs::CWD, folder.path(), FOLDER, Mode::empty()).unwrap();
        // Deeper than a path can be long, and than the process may have descriptors.
        for _ in 0..3_000 {
            rustix::fs::mkdirat(&deepest, c"deep", Mode::RWXU).unwrap();
            deepest = openat(&deepest, c"deep", FOLDER, Mode::empty()).unwrap();
        }
        for name in ["a", "b"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("file"), "12345").unwrap();
        }
        symlink("/", folder.path().join("root")).unwrap();
        symlink(".", folder.path().join("ring")).unwrap();
        let root = File::open(folder.path()).unwrap();
        let (mut count, mut bytes) = (0, 0);
        walk(&root, 10_000, |stat| {
            count += 1;
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                bytes += stat.st_size;
            }
        })
        .unwrap();
        assert_eq!((count, bytes), (3_006, 10));
        let few = walk(&root, 100, |_| ()).unwrap_err();
        assert!(matches!(few, WalkError::TooMany(100)), "{few}");
        // The test's own folder is too deep for the library that removes it.
        let mut top = openat(&root, c"deep", FOLDER, Mode::empty()).unwrap();
        for _ in 0..2_999 {
            rustix::fs::renameat(&top, c"deep", &root, c"next").unwrap();
            rustix::fs::unlinkat(&root, c"deep", AtFlags::REMOVEDIR).unwrap();
            rustix::fs::renameat(&root, c"next", &root, c"deep").unwrap();
            top = openat(&root, c"deep", FOLDER, Mode::empty()).unwrap();
        }
    }
}
