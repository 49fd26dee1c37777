//! Reading the files that the configuration names, and nothing else.
//!
//! Skills and configs are files an operator points at; their folders may be synced from a repository that
//! others write to. So every read goes through a [`ContentRoot`]: a handle on the entry's own folder below
//! which names are resolved. A `..`, an absolute name or a symlink that leads out is refused by the
//! operating system's own path resolution (cap-std), not by looking at strings. Nothing here may ever open
//! a path that a client sent from the ambient file system.

use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use sha2::{Digest as _, Sha256};

/// Largest file that is read, in bytes (4 MiB).
pub const MAX_FILE: u64 = 4 * 1024 * 1024;

/// What stopped a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileErrorKind {
    /// Nothing is there.
    #[error("no such file: create it or correct the entry's `file`")]
    NotFound,
    /// A folder where a file was expected.
    #[error("is a folder: name a file in it")]
    IsFolder,
    /// A socket, a pipe or a device.
    #[error("is not a regular file")]
    NotRegular,
    /// The name, or a symlink on its way, leads out of the entry's folder.
    #[error("leads out of its folder: put the file itself there instead of a link")]
    Outside,
    /// More than [`MAX_FILE`].
    #[error("is {size} bytes long, more than the {MAX_FILE} that are served: make it smaller")]
    TooLarge {
        /// Bytes found, or at least that many if the file grew while it was read.
        size: u64,
    },
    /// Text was asked for and the bytes are none.
    #[error("is not UTF-8 text: save it as UTF-8")]
    NotText,
    /// The operating system refused.
    #[error("cannot be read: {0}")]
    Io(io::ErrorKind),
}

/// A file that could not be read: which one and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {kind}")]
pub struct FileError {
    /// The path as the configuration writes it, or relative to the entry's folder. Never a resolved one.
    pub path: String,
    /// What stopped the read.
    pub kind: FileErrorKind,
}

impl FileError {
    fn new(path: impl Into<String>, kind: FileErrorKind) -> Self {
        Self {
            path: path.into(),
            kind,
        }
    }

    fn from_io(path: &str, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FileErrorKind::NotFound,
            io::ErrorKind::IsADirectory => FileErrorKind::IsFolder,
            // cap-std's own refusal carries no error number; a missing permission does.
            io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => FileErrorKind::Outside,
            other => FileErrorKind::Io(other),
        };
        Self::new(path, kind)
    }
}

/// One file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContent {
    /// The bytes.
    pub bytes: Bytes,
    /// SHA-256 of the bytes, 64 lower-case hex digits.
    pub sha256: String,
    /// When it was last changed, if the file system tells.
    pub modified: Option<jiff::Timestamp>,
}

impl FileContent {
    /// The bytes as text.
    ///
    /// # Errors
    /// [`FileErrorKind::NotText`], with `path` as its name.
    pub fn text(&self, path: &str) -> Result<&str, FileError> {
        std::str::from_utf8(&self.bytes).map_err(|_| FileError::new(path, FileErrorKind::NotText))
    }
}

/// The SHA-256 of `bytes` in 64 lower-case hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// A folder below which files are read. All calls block; from async code use `spawn_blocking`.
#[derive(Debug)]
pub struct ContentRoot {
    dir: Dir,
}

/// What a configured `file` turned out to be.
#[derive(Debug)]
pub enum Located {
    /// A file: the folder it is in, and its name there.
    File(ContentRoot, String),
    /// A folder.
    Folder(ContentRoot),
}

impl ContentRoot {
    /// Opens `folder` of the ambient file system: only for paths from the configuration or command line.
    ///
    /// # Errors
    /// [`FileError`] when it is missing, unreadable or no folder.
    pub fn open(folder: &Path) -> Result<Self, FileError> {
        let dir = Dir::open_ambient_dir(folder, ambient_authority())
            .map_err(|error| FileError::from_io(&folder.display().to_string(), &error))?;
        Ok(Self { dir })
    }

    /// Finds an entry's `file` (as configured, relative to `base_dir`, the folder of the configuration).
    ///
    /// A plain relative path is resolved below `base_dir`, and the file then below its own folder: a link
    /// in `skills/` reaches neither `/etc/passwd` nor `../.env`. Where the operator wrote an absolute path
    /// or `..`, that path's folder is the root.
    ///
    /// # Errors
    /// [`FileError`] with the configured path when it is missing or leads out.
    pub fn locate(base_dir: &Path, file: &str) -> Result<Located, FileError> {
        let path = Path::new(file);
        let fail = |error: &io::Error| FileError::from_io(file, error);
        let plain = path
            .components()
            .all(|part| matches!(part, Component::CurDir | Component::Normal(_)));
        let name = match path.file_name().and_then(|name| name.to_str()) {
            Some(name) => name.to_owned(),
            None => return Err(FileError::new(file, FileErrorKind::IsFolder)),
        };
        let parent: PathBuf = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let dir = if plain {
            let base = if base_dir.as_os_str().is_empty() {
                Path::new(".")
            } else {
                base_dir
            };
            Dir::open_ambient_dir(base, ambient_authority())
                .and_then(|base| base.open_dir(&parent))
                .map_err(|error| fail(&error))?
        } else {
            Dir::open_ambient_dir(base_dir.join(&parent), ambient_authority())
                .map_err(|error| fail(&error))?
        };
        let metadata = dir.metadata(&name).map_err(|error| fail(&error))?;
        if metadata.is_dir() {
            let dir = dir.open_dir(&name).map_err(|error| fail(&error))?;
            return Ok(Located::Folder(Self { dir }));
        }
        Ok(Located::File(Self { dir }, name))
    }

    /// Reads the file `name`, relative to this folder.
    ///
    /// # Errors
    /// [`FileError`] with `name`: missing, outside, no regular file, or longer than [`MAX_FILE`].
    pub fn read(&self, name: &str) -> Result<FileContent, FileError> {
        let fail = |error: &io::Error| FileError::from_io(name, error);
        let mut options = OpenOptions::new();
        // Opening a pipe for reading would wait for a writer.
        options.read(true).custom_flags(nix::libc::O_NONBLOCK);
        let file = self.dir.open_with(name, &options).map_err(|error| fail(&error))?;
        let metadata = file.metadata().map_err(|error| fail(&error))?;
        if metadata.is_dir() {
            return Err(FileError::new(name, FileErrorKind::IsFolder));
        }
        if !metadata.is_file() {
            return Err(FileError::new(name, FileErrorKind::NotRegular));
        }
        if metadata.len() > MAX_FILE {
            return Err(FileError::new(
                name,
                FileErrorKind::TooLarge { size: metadata.len() },
            ));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
        file.take(MAX_FILE + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| fail(&error))?;
        let size = bytes.len() as u64;
        if size > MAX_FILE {
            return Err(FileError::new(name, FileErrorKind::TooLarge { size }));
        }
        let modified = metadata
            .modified()
            .ok()
            .and_then(|at| jiff::Timestamp::try_from(at.into_std()).ok());
        Ok(FileContent {
            sha256: sha256_hex(&bytes),
            bytes: bytes.into(),
            modified,
        })
    }

    /// The entries of the sub-folder `folder` (`""` is this folder), by name. Names that are not UTF-8 and
    /// hidden ones (a leading `.`) are left out.
    ///
    /// # Errors
    /// [`FileError`] with `folder`.
    pub fn list(&self, folder: &str) -> Result<Vec<Listed>, FileError> {
        let fail = |error: &io::Error| FileError::from_io(folder, error);
        let entries = if folder.is_empty() {
            self.dir.entries()
        } else {
            self.dir.read_dir(folder)
        };
        let mut out = Vec::new();
        for entry in entries.map_err(|error| fail(&error))? {
            let entry = entry.map_err(|error| fail(&error))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let kind = entry.file_type().map_err(|error| fail(&error))?;
            let kind = match kind {
                kind if kind.is_dir() => ListedKind::Folder,
                kind if kind.is_file() => ListedKind::File,
                _ => ListedKind::Other,
            };
            out.push(Listed { name, kind });
        }
        out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(out)
    }
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name in the folder.
    pub name: String,
    /// What it is.
    pub kind: ListedKind,
}

/// What an entry of a folder is, without following links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListedKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, pipe, socket or device.
    Other,
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn read(base: &Path, file: &str) -> Result<FileContent, FileErrorKind> {
        match ContentRoot::locate(base, file).map_err(|error| error.kind)? {
            Located::File(root, name) => root.read(&name).map_err(|error| error.kind),
            Located::Folder(_) => Err(FileErrorKind::IsFolder),
        }
    }

    fn tree() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("hub");
        fs::create_dir_all(base.join("skills/deep")).unwrap();
        fs::write(dir.path().join("outside.txt"), "outside").unwrap();
        fs::write(base.join(".env"), "SECRET=1").unwrap();
        fs::write(base.join("skills/a.md"), "hello").unwrap();
        fs::write(base.join("skills/deep/b.md"), "deep").unwrap();
        (dir, base)
    }

    #[test]
    fn configured_files_are_read_with_their_digest() {
        let (dir, base) = tree();
        let content = read(&base, "./skills/a.md").unwrap();
        assert_eq!(content.text("a.md").unwrap(), "hello");
        assert_eq!(
            content.sha256,
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        );
        assert!(content.modified.is_some());
        assert_eq!(&read(&base, "skills/deep/b.md").unwrap().bytes[..], b"deep");
        // What the operator wrote out, the operator meant.
        assert_eq!(&read(&base, "../outside.txt").unwrap().bytes[..], b"outside");
        let absolute = dir.path().join("outside.txt");
        assert_eq!(
            &read(&base, absolute.to_str().unwrap()).unwrap().bytes[..],
            b"outside"
        );
    }

    #[test]
    fn links_out_of_the_folder_are_refused() {
        let (dir, base) = tree();
        symlink(dir.path().join("outside.txt"), base.join("skills/abs.md")).unwrap();
        symlink("../.env", base.join("skills/env.md")).unwrap();
        symlink("a.md", base.join("skills/inside.md")).unwrap();
        symlink(dir.path(), base.join("linked")).unwrap();
        assert_eq!(read(&base, "./skills/abs.md"), Err(FileErrorKind::Outside));
        assert_eq!(read(&base, "./skills/env.md"), Err(FileErrorKind::Outside));
        assert_eq!(read(&base, "./linked/outside.txt"), Err(FileErrorKind::Outside));
        assert!(read(&base, "./skills/inside.md").is_ok());

        let root = ContentRoot::open(&base.join("skills")).unwrap();
        for name in ["../.env", "/etc/passwd", "deep/../../.env", "abs.md", "env.md"] {
            assert_eq!(
                root.read(name).unwrap_err().kind,
                FileErrorKind::Outside,
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_no_file_says_what_it_is() {
        let (_dir, base) = tree();
        assert_eq!(read(&base, "./skills/none.md"), Err(FileErrorKind::NotFound));
        assert_eq!(read(&base, "./none/none.md"), Err(FileErrorKind::NotFound));
        assert_eq!(read(&base, "./skills/a.md/x"), Err(FileErrorKind::NotFound));
        assert_eq!(read(&base, "./skills"), Err(FileErrorKind::IsFolder));
        assert_eq!(read(&base, "."), Err(FileErrorKind::IsFolder));
        assert_eq!(read(&base, "/"), Err(FileErrorKind::IsFolder));
        let socket = base.join("skills/sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(read(&base, "./skills/sock").is_err());
        let error = ContentRoot::locate(&base, "./skills/none.md").unwrap_err();
        assert!(
            error.to_string().starts_with("`./skills/none.md` no such file"),
            "{error}"
        );
    }

    #[test]
    fn size_and_encoding_are_bounded() {
        let (_dir, base) = tree();
        fs::File::create(base.join("skills/big"))
            .unwrap()
            .set_len(MAX_FILE + 1)
            .unwrap();
        fs::File::create(base.join("skills/full"))
            .unwrap()
            .set_len(MAX_FILE)
            .unwrap();
        fs::write(base.join("skills/bin"), [0xff, 0xfe]).unwrap();
        assert_eq!(
            read(&base, "skills/big"),
            Err(FileErrorKind::TooLarge { size: MAX_FILE + 1 })
        );
        assert_eq!(read(&base, "skills/full").unwrap().bytes.len() as u64, MAX_FILE);
        let binary = read(&base, "skills/bin").unwrap();
        assert_eq!(binary.text("bin").unwrap_err().kind, FileErrorKind::NotText);
    }

    #[test]
    fn pipes_do_not_block() {
        let (_dir, base) = tree();
        let status = std::process::Command::new("mkfifo")
            .arg(base.join("skills/pipe"))
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(read(&base, "skills/pipe"), Err(FileErrorKind::NotRegular));
    }

    #[test]
    fn listing_is_sorted_and_hides_hidden() {
        let (_dir, base) = tree();
        symlink("a.md", base.join("skills/link")).unwrap();
        let root = ContentRoot::open(&base).unwrap();
        let names = |folder| -> Vec<_> {
            root.list(folder)
                .unwrap()
                .into_iter()
                .map(|entry| (entry.name, entry.kind))
                .collect()
        };
        assert_eq!(names(""), [("skills".to_owned(), ListedKind::Folder)]);
        assert_eq!(
            names("skills"),
            [
                ("a.md".to_owned(), ListedKind::File),
                ("deep".to_owned(), ListedKind::Folder),
                ("link".to_owned(), ListedKind::Other)
            ]
        );
        assert_eq!(root.list("../").unwrap_err().kind, FileErrorKind::Outside);
    }
}
