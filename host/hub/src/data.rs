//! The data folder, and which processes may use it.
//!
//! One `aih serve` uses a data folder. Several `aih stdio` may use it at the same time: these processes share the
//! store, whose writes are transactions. One process runs the background hooks and the schedules for all of them. It
//! is the one that holds the lock of [`LeaderElection`]; `aih serve` takes precedence.
//!
//! All locks are `flock`s. The kernel releases them when a process ends, however it ends. They work on the file
//! systems of one machine.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aih_store::{Claim, OpenError, StoreError};

/// The file whose lock `aih serve` holds.
pub const SERVE_LOCK: &str = "lock";
/// The file whose lock the process holds that runs background hooks.
pub const HOOKS_LOCK: &str = "hooks.lock";
/// What the name of the file beside the store ends with.
pub const STORE_LOCK: &str = ".lock";

/// How long a lock is tried: others hold it for a moment when they look who is there.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two attempts within [`PATIENCE`].
const SOON: Duration = Duration::from_millis(20);
/// A disk with less than that free is full: the store needs so much to be opened.
const FULL: u64 = 128 << 10;
/// Between two looks at who runs the background hooks.
const LOOK: Duration = Duration::from_secs(2);

/// What a process does on a data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `aih serve`: the one hub of the folder.
    Serve,
    /// `aih stdio`: one of several.
    Stdio,
}

/// The data folder cannot be used. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// Another `aih serve` works on it.
    #[error(
        "another `aih serve`{} works on the folder {}; end that one first, or use a configuration in another folder",
        .pid.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default(), .folder.display()
    )]
    Taken {
        /// The folder.
        folder: PathBuf,
        /// Its process, if it is known.
        pid: Option<u32>,
    },
    /// It cannot be made or written.
    #[error("the folder {} cannot be used: {source}; make it, or let the hub's user write there", .folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A data folder that this process may use, for as long as the value is there.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    role: Role,
    _serves: Option<File>,
}

impl DataFolder {
    /// Makes the folder where it is not there (mode 0700), and claims it. Blocks for a second at most.
    ///
    /// # Errors
    /// See [`DataFolderError`].
    pub fn open(path: PathBuf, role: Role) -> Result<Self, DataFolderError> {
        let io = |source| DataFolderError::Io {
            folder: path.clone(),
            source,
        };
        if !path.is_dir() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(io)?;
        }
        let serves = match role {
            Role::Stdio => None,
            Role::Serve => {
                let mut file = open(&path.join(SERVE_LOCK)).map_err(io)?;
                match lock_soon(&file).map_err(io)? {
                    LockHolder::Mine | LockHolder::NoLocks => {}
                    LockHolder::Others => {
                        return Err(DataFolderError::Taken {
                            folder: path,
                            pid: text_of(&mut file).trim().parse().ok(),
                        });
                    }
                }
                // For the message above alone: a full disk does not matter here.
                let _ = write(&mut file, &format!("{}\n", std::process::id()));
                Some(file)
            }
        };
        Ok(Self {
            path,
            role,
            _serves: serves,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What this process does on the folder.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Who of those that use the folder runs the background hooks.
    pub(crate) fn election(&self) -> LeaderElection {
        LeaderElection {
            folder: self.path.clone(),
            role: self.role,
        }
    }
}

impl Claim for DataFolder {
    /// Joins those who use the store: all of them have this data folder.
    fn claim(&self, file: &Path) -> io::Result<Result<File, PathBuf>> {
        let me = Member::of(&self.path)?;
        let mut name = file.as_os_str().to_owned();
        name.push(STORE_LOCK);
        let mut file = open(Path::new(&name))?;
        let until = Instant::now() + PATIENCE;
        loop {
            match lock(&file)? {
                // Nobody is there: this folder's processes are those who use it.
                LockHolder::Mine => write(&mut file, &me.to_string())?,
                LockHolder::NoLocks => return Ok(Ok(file)),
                LockHolder::Others => {}
            }
            match file.try_lock_shared() {
                Ok(()) => {
                    // Between the two locks another may have come.
                    let there = Member::parse(&text_of(&mut file));
                    return Ok(match there {
                        Some(there) if !there.is(&me) => Err(there.folder),
                        _ => Ok(file),
                    });
                }
                Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(SOON),
                Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }
}

/// Who uses a store: the processes of this data folder. A folder is the same under each of its paths.
struct Member {
    device: u64,
    inode: u64,
    folder: PathBuf,
}

impl Member {
    fn of(folder: &Path) -> io::Result<Self> {
        let metadata = folder.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            folder: folder.canonicalize()?,
        })
    }

    /// Reads what [`Member`]'s display wrote.
    fn parse(text: &str) -> Option<Self> {
        let (numbers, folder) = text.split_once('\n')?;
        let (device, inode) = numbers.split_once(':')?;
        Some(Self {
            device: device.parse().ok()?,
            inode: inode.parse().ok()?,
            folder: folder.trim_end_matches('\n').into(),
        })
    }

    fn is(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            device,
            inode,
            folder,
        } = self;
        writeln!(f, "{device}:{inode}\n{}", folder.display())
    }
}

/// Chooses the one process of a data folder that runs background hooks and keeps schedules.
#[derive(Clone, Debug)]
pub(crate) struct LeaderElection {
    folder: PathBuf,
    role: Role,
}

/// This process runs the background hooks, for as long as the value is there.
#[derive(Debug)]
pub(crate) struct Leadership {
    _lock: Option<File>,
}

impl LeaderElection {
    /// Whether this is the hub of the folder, and not one beside it.
    pub(crate) fn serves(&self) -> bool {
        self.role == Role::Serve
    }

    /// Waits until this process is chosen: `aih serve` as soon as the one before has ended, another one where there is no
    /// `aih serve`.
    pub(crate) async fn won(&self) -> Leadership {
        loop {
            if let Some(leadership) = self.try_win() {
                return leadership;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends when this process has to give it up: there is an `aih serve` now.
    pub(crate) async fn lost(&self) {
        loop {
            if !self.serves() && self.is_served() {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// One attempt.
    fn try_win(&self) -> Option<Leadership> {
        if !self.serves() && self.is_served() {
            return None;
        }
        let attempt = || -> io::Result<Option<File>> {
            let file = open(&self.folder.join(HOOKS_LOCK))?;
            Ok(match lock(&file)? {
                LockHolder::Others => None,
                LockHolder::Mine | LockHolder::NoLocks => Some(file),
            })
        };
        match attempt() {
            Ok(None) => None,
            Ok(lock) => Some(Leadership { _lock: lock }),
            Err(error) => {
                let folder = self.folder.display();
                tracing::warn!(target: "aih::hook", "background hooks do not run: the file {folder}/{HOOKS_LOCK} cannot be opened: {error}");
                None
            }
        }
    }

    fn is_served(&self) -> bool {
        // Without the file, or where it cannot be read, there never was one.
        let file = File::open(self.folder.join(SERVE_LOCK));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

/// Who holds a lock.
enum LockHolder {
    Mine,
    Others,
    /// The file system has no locks.
    NoLocks,
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn lock(file: &File) -> io::Result<LockHolder> {
    match file.try_lock() {
        Ok(()) => Ok(LockHolder::Mine),
        Err(TryLockError::WouldBlock) => Ok(LockHolder::Others),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
            tracing::warn!(target: "aih", "the file system of the data folder has no locks; make sure that no second hub uses the folder");
            Ok(LockHolder::NoLocks)
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn lock_soon(file: &File) -> io::Result<LockHolder> {
    let until = Instant::now() + PATIENCE;
    loop {
        match lock(file)? {
            LockHolder::Others if Instant::now() < until => std::thread::sleep(SOON),
            held => return Ok(held),
        }
    }
}

/// Puts `text` in the place of what the file holds.
fn write(file: &mut File, text: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

fn text_of(file: &mut File) -> String {
    let mut text = String::new();
    // What cannot be read says nothing.
    let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
    text
}

/// The disk of the data folder is full. Stands in front of the error that told of it.
#[derive(Debug)]
pub(crate) struct FullDisk {
    folder: PathBuf,
    free: Option<u64>,
}

impl std::fmt::Display for FullDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the disk of the folder {} is full", self.folder.display())?;
        if let Some(free) = self.free {
            write!(f, " ({} kB are free)", free / 1_000)?;
        }
        f.write_str(
            "; free some space there, or move the configuration and its folder `data` to another disk",
        )
    }
}

/// An error at the start, with [`FullDisk`] where a full disk is its cause.
pub(crate) fn explained(error: anyhow::Error, folder: &Path) -> anyhow::Error {
    let full = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let store = cause.downcast_ref::<StoreError>();
        matches!(
            io,
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        ) || matches!(store, Some(StoreError::DiskFull))
    };
    let free = free(folder);
    // The database does not always say what the system said.
    let opened = error.is::<OpenError>() && free.is_some_and(|free| free < FULL);
    if opened || error.chain().any(full) {
        let folder = folder.to_owned();
        return error.context(FullDisk { folder, free });
    }
    error
}

/// Bytes that the hub's user may still write on the disk of a folder, or of the one above where it is not there.
fn free(folder: &Path) -> Option<u64> {
    let there = folder.ancestors().find(|folder| folder.is_dir())?;
    let disk = nix::sys::statvfs::statvfs(there).ok()?;
    #[allow(clippy::unnecessary_cast, reason = "other systems count in 32 bits")]
    let (blocks, size) = (disk.blocks_available() as u64, disk.fragment_size() as u64);
    Some(blocks.saturating_mul(size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aih_store::{OpenErrorKind, Store};

    #[test]
    fn one_hub_serves_a_folder_and_others_may_run_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/data");
        let open = |role| DataFolder::open(path.clone(), role);
        let beside = open(Role::Stdio).unwrap();
        let hub = open(Role::Serve).unwrap();
        let second = open(Role::Serve).unwrap_err();
        let told = second.to_string();
        assert!(matches!(second, DataFolderError::Taken { pid: Some(pid), .. } if pid == std::process::id()));
        assert!(
            told.contains(&std::process::id().to_string()) && told.contains("a/data"),
            "{told}"
        );
        open(Role::Stdio).unwrap();
        drop(hub);
        open(Role::Serve).unwrap();
        drop(beside);
    }

    #[test]
    fn a_store_belongs_to_one_data_folder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let folder = |name: &str| DataFolder::open(dir.path().join(name), Role::Stdio).unwrap();
        let (one, other) = (folder("one"), folder("other"));
        std::os::unix::fs::symlink(dir.path().join("one"), dir.path().join("link")).unwrap();
        let same = folder("link");
        let store = dir.path().join("s.db");
        let first = one.claim(&store).unwrap().unwrap();
        let second = same.claim(&store).unwrap().unwrap();
        let refused = other.claim(&store).unwrap().unwrap_err();
        assert_eq!(refused, dir.path().join("one").canonicalize().unwrap());
        drop(first);
        assert!(
            other.claim(&store).unwrap().is_err(),
            "one of them is still there"
        );
        drop(second);
        let moved = other.claim(&store).unwrap().unwrap();
        assert!(one.claim(&store).unwrap().is_err());
        drop(moved);
    }

    #[tokio::test]
    async fn a_store_is_for_one_data_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = |name: &str| DataFolder::open(dir.path().join(name), Role::Stdio).unwrap();
        let open = async |folder: &DataFolder| Store::open_with("sqlite://s.db", dir.path(), folder).await;
        let (one, other) = (folder("one"), folder("other"));
        let first = open(&one).await.unwrap();
        let _second = open(&one).await.unwrap();
        let refused = open(&other).await.unwrap_err();
        assert!(matches!(refused.kind, OpenErrorKind::InUse(_)), "{refused}");
        assert!(refused.to_string().contains("/one uses it"), "{refused}");
        // The command line looks at the dead events beside it.
        Store::open("sqlite://s.db", dir.path()).await.unwrap();
        first.close().await;
    }

    #[tokio::test]
    async fn one_process_runs_the_hooks_and_the_serving_one_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let open = |role| DataFolder::open(dir.path().to_owned(), role).unwrap();
        let (first, second) = (open(Role::Stdio), open(Role::Stdio));
        let leadership = first.election().try_win().unwrap();
        assert!(second.election().try_win().is_none());
        let hub = open(Role::Serve);
        assert!(
            hub.election().try_win().is_none(),
            "not before the other gave it up"
        );
        first.election().lost().await;
        drop(leadership);
        assert!(second.election().try_win().is_none(), "there is a hub");
        let serves = hub.election().won().await;
        drop((serves, hub));
        assert!(second.election().try_win().is_some());
    }

    #[test]
    fn a_full_disk_is_reported_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("data");
        let no_space = || io::Error::from(io::ErrorKind::StorageFull);
        for full in [
            anyhow::Error::new(no_space()).context("the keys cannot be written"),
            anyhow::Error::new(StoreError::DiskFull),
            anyhow::Error::new(OpenError {
                location: "s.db".to_owned(),
                kind: OpenErrorKind::File(no_space()),
            }),
            anyhow::Error::new(DataFolderError::Io {
                folder: folder.clone(),
                source: no_space(),
            }),
        ] {
            let told = explained(full, &folder);
            let told = told.downcast_ref::<FullDisk>().unwrap().to_string();
            assert!(
                told.contains(&*folder.to_string_lossy()) && told.contains("kB are free"),
                "{told}"
            );
        }
        let other = anyhow::Error::new(io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(!explained(other, &folder).is::<FullDisk>());
    }
}
