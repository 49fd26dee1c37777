//! The key that a hub without keys makes for itself at its first start.
//!
//! `data/keys.json` holds its name, hash and permissions. The caller gets the key itself once, to print it. This
//! module must never write the key anywhere. If the file cannot be read, the hub does not start: another key would
//! lock out the holder of the first.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::key::{ApiKey, KeyEntry, KeyHash, KeyHashError, RandomSourceError};
use super::permission::{PermissionError, PermissionSet};

/// The file in the data folder.
pub const FILE_NAME: &str = "keys.json";

/// The name of the key that the hub makes.
pub const KEY_NAME: &str = "first-key";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    keys: Vec<StoredKey>,
}

/// A key as the file keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    name: String,
    key_hash: String,
    permissions: Vec<String>,
    /// When it was made, in seconds since 1970.
    created: u64,
}

/// The keys of the data folder.
#[derive(Debug)]
pub struct FirstKey {
    /// What the file holds, for the ring.
    pub entries: Vec<KeyEntry>,
    /// The key, if it was made just now: to be printed once.
    pub made: Option<ApiKey>,
}

/// The key file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", path.display())]
pub struct FirstKeyError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub kind: FirstKeyErrorKind,
}

/// What is wrong with the key file.
#[derive(Debug, thiserror::Error)]
pub enum FirstKeyErrorKind {
    /// The folder cannot be created.
    #[error("cannot create the data folder: {0}")]
    Folder(#[source] io::Error),
    /// The file cannot be read.
    #[error("cannot read the keys: {0}")]
    Read(#[source] io::Error),
    /// The file cannot be written.
    #[error(
        "cannot write the keys: {0}; make the folder writable, or add a key of `aih key new` under auth.api_keys"
    )]
    Write(#[source] io::Error),
    /// The file is not what this hub writes.
    #[error("is not a key file: {0}; restore it, or delete it to have a new first key made")]
    Json(#[from] serde_json::Error),
    /// The file lists nothing.
    #[error("holds no key; delete it to have a new first key made")]
    Empty,
    /// A stored hash is damaged.
    #[error("key {name:?}: {error}")]
    Hash {
        /// The name of the key.
        name: String,
        /// What is wrong with the hash.
        #[source]
        error: KeyHashError,
    },
    /// A stored permission is damaged.
    #[error("key {name:?}: {error}")]
    Permission {
        /// The name of the key.
        name: String,
        /// What is wrong with the permission.
        #[source]
        error: PermissionError,
    },
    /// No key can be made.
    #[error(transparent)]
    Random(#[from] RandomSourceError),
}

/// Reads the keys of the data folder; nothing if none was made yet. Blocks on the disk.
///
/// # Errors
/// The file is there and cannot be understood.
pub fn load(data: &Path) -> Result<Option<Vec<KeyEntry>>, FirstKeyError> {
    let path = data.join(FILE_NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(FirstKeyError {
                path,
                kind: FirstKeyErrorKind::Read(error),
            });
        }
    };
    parse(&text)
        .map(Some)
        .map_err(|kind| FirstKeyError { path, kind })
}

/// Reads the keys of the data folder, or makes the first one: all permissions, folder 0700, file 0600.
/// Two hubs that start at once on one folder end up with the same key. Blocks on the disk.
///
/// # Errors
/// The file cannot be understood, or not be written.
pub fn load_or_make(data: &Path) -> Result<FirstKey, FirstKeyError> {
    if let Some(entries) = load(data)? {
        return Ok(FirstKey { entries, made: None });
    }
    let path = data.join(FILE_NAME);
    let fail = |kind| FirstKeyError {
        path: path.clone(),
        kind,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(|error| FirstKeyError {
            path: data.to_owned(),
            kind: FirstKeyErrorKind::Folder(error),
        })?;
    let key = ApiKey::generate().map_err(|error| fail(error.into()))?;
    let stored = StoredKey {
        name: KEY_NAME.into(),
        key_hash: key.hash().to_string(),
        permissions: vec!["*".into()],
        created: SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |since| since.as_secs()),
    };
    let entry = stored.entry().map_err(fail)?;
    let text =
        serde_json::to_vec_pretty(&KeyFile { keys: vec![stored] }).map_err(|error| fail(error.into()))?;
    match write_new(data, &path, &text) {
        Ok(()) => Ok(FirstKey {
            entries: vec![entry],
            made: Some(key),
        }),
        // Another hub on this folder was faster: its key is the one that was printed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match load(data)? {
            Some(entries) => Ok(FirstKey { entries, made: None }),
            None => Err(fail(FirstKeyErrorKind::Write(error))),
        },
        Err(error) => Err(fail(FirstKeyErrorKind::Write(error))),
    }
}

/// Writes a file whole or not at all, and never over another. Mode 0600.
fn write_new(folder: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".keys-").tempfile_in(folder)?;
    file.write_all(text)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    fs::File::open(folder)?.sync_all()
}

fn parse(text: &[u8]) -> Result<Vec<KeyEntry>, FirstKeyErrorKind> {
    let file: KeyFile = serde_json::from_slice(text)?;
    if file.keys.is_empty() {
        return Err(FirstKeyErrorKind::Empty);
    }
    file.keys.iter().map(StoredKey::entry).collect()
}

impl StoredKey {
    fn entry(&self) -> Result<KeyEntry, FirstKeyErrorKind> {
        let name = || self.name.clone();
        Ok(KeyEntry {
            name: name(),
            hash: KeyHash::parse(&self.key_hash)
                .map_err(|error| FirstKeyErrorKind::Hash { name: name(), error })?,
            permissions: PermissionSet::parse(&self.permissions)
                .map_err(|error| FirstKeyErrorKind::Permission { name: name(), error })?,
            compat: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_first_start_makes_a_key_and_the_next_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/data");
        assert!(load(&data).unwrap().is_none());
        let first = load_or_make(&data).unwrap();
        let key = first.made.unwrap();
        assert_eq!(mode(&data), 0o700);
        assert_eq!(mode(&data.join(FILE_NAME)), 0o600);
        let text = fs::read_to_string(data.join(FILE_NAME)).unwrap();
        assert!(!text.contains(key.expose()) && text.contains(&key.hash().to_string()));
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "no temporary file stays");

        let second = load_or_make(&data).unwrap();
        assert!(second.made.is_none());
        for entries in [first.entries, second.entries, load(&data).unwrap().unwrap()] {
            assert_eq!(entries.len(), 1);
            assert_eq!((&*entries[0].name, &entries[0].hash), (KEY_NAME, &key.hash()));
            assert!(entries[0].permissions.is_all());
        }
    }

    #[test]
    fn hubs_that_start_at_once_agree_on_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let made = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| load_or_make(folder.path()).unwrap()))
                .collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap())
                .collect::<Vec<_>>()
        });
        assert_eq!(made.iter().filter(|one| one.made.is_some()).count(), 1);
        assert!(
            made.iter()
                .all(|one| one.entries[0].hash == made[0].entries[0].hash)
        );
    }

    #[test]
    fn a_damaged_file_stops_the_start_and_stays() {
        let good_hash = KeyHash::of(b"k");
        let key = |hash: &str, permission: &str| {
            format!(
                r#"{{"keys":[{{"name":"k","key_hash":"{hash}","permissions":["{permission}"],"created":1}}]}}"#
            )
        };
        for (text, says) in [
            ("{".to_owned(), "is not a key file"),
            (r#"{"keys":[]}"#.to_owned(), "holds no key"),
            (r#"{"keys":[],"x":1}"#.to_owned(), "unknown field `x`"),
            (key("sha256:00", "*"), "key \"k\": key_hash"),
            (key(&good_hash.to_string(), "mcp/*"), "did you mean \"mcps\""),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(FILE_NAME);
            fs::write(&path, &text).unwrap();
            let error = load_or_make(folder.path()).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(FILE_NAME), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = load_or_make(&file.join("data")).unwrap_err();
        assert!(error.to_string().contains("file/data"), "{error}");
    }
}
