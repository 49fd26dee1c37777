//! Components on disk, by the digest of what they were made of: a build happens once per content.
//!
//! The folder has to be out of the reach of plugins: what lies in it is run. A component counts only with the mark of
//! this hub over the digest and the component, so a component that was exchanged with another is built again.

use std::{
    fmt, fs,
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use aih_seal::Seal;

use crate::{BuildError, digest::hex};

/// The SHA-256 of everything that goes into a component.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Digest(String);

impl Digest {
    pub(crate) fn of(hash: &[u8]) -> Self {
        Self(hex(hash))
    }

    /// 64 lower-case hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A folder of built components.
#[derive(Debug, Clone)]
pub struct BuildCache {
    folder: PathBuf,
    seal: Seal,
}

impl BuildCache {
    /// Uses a folder, which is made (for this user alone) if it is not there. The key of its marks lies beside it, with
    /// the extension `key`.
    ///
    /// # Errors
    /// When it cannot be made or is not a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Result<Self, BuildError> {
        let folder = folder.into();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|e| BuildError::io(&format!("cannot make the folder {}", folder.display()), &e))?;
        let key = folder.with_extension("key");
        let seal =
            Seal::open(&key).map_err(|e| BuildError::io(&format!("cannot make {}", key.display()), &e))?;
        Ok(Self { folder, seal })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}.wasm"))
    }

    /// The component of this digest, if it was built before. Counts as a use for [`Self::prune`]. Reads the whole
    /// component.
    pub fn get(&self, digest: &Digest) -> Option<PathBuf> {
        let path = self.path(digest);
        match self.seal.check(&path, &of(digest)) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(why) => {
                tracing::warn!(
                    target: "aih::plugin",
                    file = %path.display(),
                    "a component in the build cache cannot be used and is built again: {why}"
                );
                return None;
            }
        }
        let file = fs::File::options().append(true).open(&path).ok()?;
        let data = file.metadata().ok()?;
        // The time of the last use; that it cannot be set costs an earlier rebuild and nothing else.
        let _ = file.set_modified(SystemTime::now());
        (data.is_file() && data.len() > 0).then_some(path)
    }

    /// Takes over a component. The file at `from` may be under the control of the source that was built: only
    /// a plain file of at most `limit` bytes is taken, by its content.
    ///
    /// # Errors
    /// When it is not such a file, or the folder cannot be written.
    pub(crate) fn put(&self, digest: &Digest, from: &Path, limit: u64) -> Result<PathBuf, BuildError> {
        let content = read_made(from, limit)?;
        let path = self.path(digest);
        self.seal
            .keep(&path, &of(digest), &content)
            .map_err(|e| BuildError::io(&format!("cannot write {}", path.display()), &e))
            .map(|()| path)
    }

    /// Removes the components that were not used for the longest time, until at most `keep` bytes are left.
    /// Answers how many went.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn prune(&self, keep: u64) -> io::Result<usize> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let data = entry.metadata()?;
            if data.is_file() && entry.path().extension().is_some_and(|e| e == "wasm") {
                files.push((data.modified()?, data.len(), entry.path()));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, length, _)| length).sum();
        let mut removed = 0;
        for (_, length, path) in files {
            if total <= keep {
                break;
            }
            // Somebody else may have been faster.
            if self.seal.remove(&path).is_ok() {
                removed += 1;
            }
            total -= length;
        }
        Ok(removed)
    }
}

/// What a component belongs to.
fn of(digest: &Digest) -> [&[u8]; 2] {
    [b"component", digest.as_str().as_bytes()]
}

/// The bytes of a file that an untrusted process has left: no link is followed, no pipe is read.
pub(crate) fn read_made(from: &Path, limit: u64) -> Result<Vec<u8>, BuildError> {
    let unreadable =
        |e: &io::Error| BuildError::Crashed(format!("the file that it wrote cannot be read: {e}"));
    let file = fs::File::options()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits() | nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(from)
        .map_err(|e| unreadable(&e))?;
    let data = file.metadata().map_err(|e| unreadable(&e))?;
    if !data.is_file() {
        return Err(BuildError::Crashed("its output is not a file".to_owned()));
    }
    let mut content = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(|e| unreadable(&e))?;
    if content.len() as u64 > limit {
        return Err(BuildError::TooLarge {
            what: "the component".to_owned(),
            limit,
        });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_was_put_is_found_again_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BuildCache::new(folder.path().join("a/b")).unwrap();
        let digest = Digest::of(&[7; 32]);
        assert!(cache.get(&digest).is_none());
        let from = folder.path().join("component.wasm");
        fs::write(&from, b"component").unwrap();
        let path = cache.put(&digest, &from, 100).unwrap();
        assert_eq!(cache.get(&digest).unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), b"component");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(cache.prune(9).unwrap(), 0);
        assert_eq!(cache.prune(8).unwrap(), 1);
        assert!(cache.get(&digest).is_none());
    }

    #[test]
    fn components_that_were_exchanged_or_changed_are_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BuildCache::new(folder.path().join("cache")).unwrap();
        let from = folder.path().join("component.wasm");
        let put = |number: u8| {
            fs::write(&from, [number; 10]).unwrap();
            let digest = Digest::of(&[number; 32]);
            let path = cache.put(&digest, &from, 100).unwrap();
            (digest, path)
        };
        let [(one, at_one), (other, at_other)] = [put(1), put(2)];
        for kind in ["wasm", "mark"] {
            let aside = folder.path().join("aside");
            fs::rename(at_one.with_extension(kind), &aside).unwrap();
            fs::rename(at_other.with_extension(kind), at_one.with_extension(kind)).unwrap();
            fs::rename(&aside, at_other.with_extension(kind)).unwrap();
        }
        assert!(cache.get(&one).is_none() && cache.get(&other).is_none());
        let (one, at_one) = put(1);
        assert_eq!(cache.get(&one).unwrap(), at_one);
        fs::write(&at_one, "something else").unwrap();
        assert!(cache.get(&one).is_none());
        let (one, at_one) = put(1);
        fs::remove_file(at_one.with_extension("mark")).unwrap();
        assert!(cache.get(&one).is_none());
    }

    #[test]
    fn only_a_plain_file_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BuildCache::new(folder.path().join("cache")).unwrap();
        let digest = Digest::of(&[7; 32]);
        let from = folder.path().join("component.wasm");
        std::os::unix::fs::symlink("/etc/passwd", &from).unwrap();
        assert!(cache.put(&digest, &from, 1 << 20).is_err());
        fs::remove_file(&from).unwrap();
        fs::write(&from, [0; 11]).unwrap();
        assert!(matches!(
            cache.put(&digest, &from, 10),
            Err(BuildError::TooLarge { limit: 10, .. })
        ));
        assert!(cache.get(&digest).is_none());
    }
}
