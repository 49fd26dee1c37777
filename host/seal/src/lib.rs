//! Files of a cache that only this hub can have made, each for what it was made for.
//!
//! What lies in a cache is run, so a file counts only with a mark beside it: a keyed hash over the content and over
//! what the content belongs to. A file that was put there by hand, that was damaged, or that belongs to something else
//! has no such mark, and the cache makes it again.

use std::{
    fmt, fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

/// Bytes of a key.
const KEY: usize = 32;

/// The key of a cache's marks.
#[derive(Clone)]
pub struct Seal {
    key: [u8; KEY],
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// Reads the key, or makes one where there is none, or where what is there is not a key. A key that cannot be kept
    /// counts until the process ends: then everything is made anew once more.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn open(file: &Path) -> io::Result<Self> {
        match read(file) {
            Ok(Some(key)) => return Ok(Self { key }),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(
                    target: "aih::cache",
                    file = %file.display(),
                    "the key of a cache cannot be used; the hub makes a new key and fills the cache again: {error}"
                );
            }
        }
        let mut key = [0; KEY];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        // Read again: of two hubs that start together, the later one's key stands.
        match write(file, &key).and_then(|()| read(file)) {
            Ok(Some(kept)) => key = kept,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(
                    target: "aih::cache",
                    file = %file.display(),
                    "the key of a cache cannot be stored, so the next start fills the cache again: {error}"
                );
            }
        }
        Ok(Self { key })
    }

    /// Keeps a content with its mark. `of` is what the content belongs to.
    ///
    /// # Errors
    /// One of the two files cannot be written.
    pub fn keep(&self, file: &Path, of: &[&[u8]], content: &[u8]) -> io::Result<()> {
        let mut hasher = self.hasher(of);
        hasher.update(content);
        // A mark that fits nothing is harmless, a content without a mark as well.
        write(file, content)?;
        write(&mark_of(file), hasher.finalize().to_hex().as_bytes())
    }

    /// Whether a file has the mark of this hub for what it should belong to. `false` where there is no file.
    ///
    /// # Errors
    /// Why the file is not used.
    pub fn check(&self, file: &Path, of: &[&[u8]]) -> Result<bool, String> {
        let mark = match fs::read_to_string(mark_of(file)) {
            Ok(mark) => mark,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match file.exists() {
                    true => Err("it has no mark of this hub".to_owned()),
                    false => Ok(false),
                };
            }
            Err(error) => return Err(error.to_string()),
        };
        let mut hasher = self.hasher(of);
        match hasher.update_mmap(file) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.to_string()),
        }
        let expected = blake3::Hash::from_hex(mark.trim()).map_err(|error| error.to_string())?;
        // Compared in constant time by the library.
        if hasher.finalize() != expected {
            return Err("its mark is not from this hub, or belongs to another file".to_owned());
        }
        Ok(true)
    }

    /// Removes a file and its mark.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(&self, file: &Path) -> io::Result<()> {
        // One that stays behind fits nothing.
        let _ = fs::remove_file(mark_of(file));
        fs::remove_file(file)
    }

    /// Each part with its length, so that no two lists of parts are the same bytes.
    fn hasher(&self, of: &[&[u8]]) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&(of.len() as u64).to_le_bytes());
        for part in of {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher
    }
}

/// The mark of a file lies beside it.
fn mark_of(file: &Path) -> std::path::PathBuf {
    file.with_extension("mark")
}

/// The key in a file; `None` where there is no file.
fn read(file: &Path) -> io::Result<Option<[u8; KEY]>> {
    let opened = match fs::File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !opened.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    opened.take(KEY as u64 + 1).read_to_end(&mut bytes)?;
    let key: [u8; KEY] = bytes
        .try_into()
        .map_err(|_| io::Error::other(format!("it does not have {KEY} bytes")))?;
    // What a file system that lost its content leaves.
    if key == [0; KEY] {
        return Err(io::Error::other("it is empty"));
    }
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
    Ok(Some(key))
}

/// Writes a whole file or none, readable by this user alone.
///
/// # Errors
/// The system refuses.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    // Made with mode 0600.
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.persist(file).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_for_what_it_was_made_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let seal = Seal::open(&at("cache.key")).unwrap();
        assert_eq!(seal.check(&at("a.wasm"), &[b"a"]), Ok(false));
        seal.keep(&at("a.wasm"), &[b"a", b"engine"], b"content of a")
            .unwrap();
        seal.keep(&at("b.wasm"), &[b"b", b"engine"], b"content of b")
            .unwrap();
        assert_eq!(seal.check(&at("a.wasm"), &[b"a", b"engine"]), Ok(true));
        // The same key, read again.
        let again = Seal::open(&at("cache.key")).unwrap();
        assert_eq!(again.check(&at("b.wasm"), &[b"b", b"engine"]), Ok(true));
        for of in [
            &[b"b".as_slice(), b"engine"][..],
            &[b"a", b"other"],
            &[b"aengine"],
            &[b"aengi", b"ne"],
            &[b"a", b"engine", b""],
        ] {
            assert!(seal.check(&at("a.wasm"), of).is_err(), "{of:?}");
        }
        // Both files, exchanged.
        for kind in ["wasm", "mark"] {
            fs::rename(at(&format!("a.{kind}")), at("aside")).unwrap();
            fs::rename(at(&format!("b.{kind}")), at(&format!("a.{kind}"))).unwrap();
            fs::rename(at("aside"), at(&format!("b.{kind}"))).unwrap();
        }
        assert!(seal.check(&at("a.wasm"), &[b"a", b"engine"]).is_err());
        assert!(seal.check(&at("b.wasm"), &[b"b", b"engine"]).is_err());
    }

    #[test]
    fn what_was_changed_or_put_there_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wasm");
        let seal = Seal::open(&folder.path().join("cache.key")).unwrap();
        fs::write(&file, "by hand").unwrap();
        assert!(seal.check(&file, &[b"a"]).is_err());
        seal.keep(&file, &[b"a"], b"content").unwrap();
        for damage in [&b""[..], b"contents", b"c"] {
            fs::write(&file, damage).unwrap();
            assert!(seal.check(&file, &[b"a"]).is_err());
        }
        seal.keep(&file, &[b"a"], b"content").unwrap();
        for mark in ["", "0", "zz", &"0".repeat(64)] {
            fs::write(mark_of(&file), mark).unwrap();
            assert!(seal.check(&file, &[b"a"]).is_err());
        }
        seal.keep(&file, &[b"a"], b"content").unwrap();
        seal.remove(&file).unwrap();
        assert_eq!(seal.check(&file, &[b"a"]), Ok(false));
    }

    #[test]
    fn a_damaged_key_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (key, file) = (folder.path().join("cache.key"), folder.path().join("a.wasm"));
        for damage in [&b""[..], b"short", &[0; KEY], &[1; KEY + 1], &[1; 10_000]] {
            let before = Seal::open(&key).unwrap();
            before.keep(&file, &[b"a"], b"content").unwrap();
            fs::write(&key, damage).unwrap();
            let seal = Seal::open(&key).unwrap();
            assert!(seal.check(&file, &[b"a"]).is_err());
            seal.keep(&file, &[b"a"], b"content").unwrap();
            assert_eq!(Seal::open(&key).unwrap().check(&file, &[b"a"]), Ok(true));
            let mode = fs::metadata(&key).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        // It cannot be written either.
        fs::remove_file(&key).unwrap();
        fs::create_dir(&key).unwrap();
        let seal = Seal::open(&key).unwrap();
        seal.keep(&file, &[b"a"], b"content").unwrap();
        assert_eq!(seal.check(&file, &[b"a"]), Ok(true));
        assert!(Seal::open(&key).unwrap().check(&file, &[b"a"]).is_err());
    }
}
