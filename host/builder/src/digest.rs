//! The content hash of everything that goes into a component, and how to know it without reading everything again.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sha2::{Digest as _, Sha256};

use crate::{BuildError, Digest, Source, embedded, job::Input};

/// A file that changed within this time before it was looked at may change again without a new time stamp.
const CLOCK_GRAIN: Duration = Duration::from_millis(50);

/// SHA-256 in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The hash of a file's content, as [`Input`] has it.
pub(crate) fn hash_of(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

/// The digest of a source with these inputs, after a look at each of them: the list comes from a process
/// that is not to be believed. `None` when a file is not what was said, so it has changed meanwhile.
pub(crate) fn digest(source: &Source, inputs: &[Input]) -> Result<Option<Digest>, BuildError> {
    let inputs: BTreeSet<&Input> = inputs.iter().collect();
    let mut hash = Sha256::new();
    hash.update(embedded::BUILDER.to_le_bytes());
    let entry = source.file.strip_prefix(&source.root).unwrap_or(&source.file);
    for text in [
        source.world.name().as_bytes(),
        entry.as_os_str().as_encoded_bytes(),
    ] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let mut has_entry = false;
    for input in inputs {
        let path = source.root.join(&input.path);
        let inside = path
            .canonicalize()
            .is_ok_and(|real| real.starts_with(&source.root));
        if !inside || fs::read(&path).map(|content| hash_of(&content)).ok().as_ref() != Some(&input.hash) {
            return Ok(None);
        }
        has_entry |= input.path == entry;
        for text in [input.path.as_os_str().as_encoded_bytes(), input.hash.as_bytes()] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
    }
    if !has_entry {
        return Err(BuildError::Crashed(
            "it did not report the source file".to_owned(),
        ));
    }
    Ok(Some(Digest::of(&hash.finalize())))
}

/// What tells that a file is the same without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    length: u64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let data = fs::metadata(path)?;
        Ok(Self {
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
            length: data.len(),
            inode: data.ino(),
        })
    }

    /// Whether it is too fresh to tell the next change by.
    fn is_racy(&self) -> bool {
        let (seconds, nanoseconds) = self.changed.max(self.modified);
        let at = UNIX_EPOCH
            + Duration::new(
                u64::try_from(seconds).unwrap_or(0),
                u32::try_from(nanoseconds).unwrap_or(0),
            );
        SystemTime::now()
            .duration_since(at)
            .is_ok_and(|age| age < CLOCK_GRAIN)
    }
}

/// A digest, with the stamps of the files and folders that it was made of.
type Remembered = (Digest, Vec<(PathBuf, Stamp)>);

/// Digests that are known.
#[derive(Debug, Default)]
pub(crate) struct KnownDigests(Mutex<HashMap<Source, Remembered>>);

impl KnownDigests {
    /// The digest of a source of which nothing has changed since [`Self::keep`].
    pub(crate) fn get(&self, source: &Source) -> Option<(Digest, Vec<PathBuf>)> {
        let (digest, stamps) = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(source)?
            .clone();
        let same = stamps
            .iter()
            .all(|(path, stamp)| Stamp::of(path).is_ok_and(|now| now == *stamp));
        same.then(|| {
            (
                digest,
                stamps
                    .into_iter()
                    .map(|(path, _)| path)
                    .filter(|p| p.is_file())
                    .collect(),
            )
        })
    }

    /// Remembers a digest. The folders of the files count too: a new file can be what an import means now.
    pub(crate) fn keep(&self, source: &Source, digest: &Digest, inputs: &[Input]) {
        let mut paths = BTreeSet::new();
        for input in inputs {
            let path = source.root.join(&input.path);
            for folder in path.ancestors().skip(1) {
                if !folder.starts_with(&source.root) || !paths.insert(folder.to_owned()) {
                    break;
                }
            }
            paths.insert(path);
        }
        let stamps: Option<Vec<_>> = paths
            .into_iter()
            .map(|path| {
                let stamp = Stamp::of(&path).ok().filter(|stamp| !stamp.is_racy())?;
                Some((path, stamp))
            })
            .collect();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match stamps {
            Some(stamps) => known.insert(source.clone(), (digest.clone(), stamps)),
            None => known.remove(source),
        };
    }
}
