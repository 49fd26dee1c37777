//! What a folder that can be written holds, and how far it may grow.
//!
//! The bound holds while a call runs: every change that a component makes in such a folder is made here, one at a time,
//! and is counted before it is made. What a component deletes while something holds it open counts until it is closed.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use cap_primitives::fs::{
    self as inside, DirOptions, FollowSymlinks, Metadata, MetadataExt as _, OpenOptions,
};
use rustix::{fs::FileType, io::Errno};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn, spawn_blocking};

use super::{
    resolved::FileId,
    walk::{WalkError, id_of_stat, walk},
};
use crate::grants::Quota;

/// Files that are counted at most; a folder with more counts as full.
const COUNTED: u64 = 1_000_000;
/// How often a folder that seems full is counted again: others may have deleted something.
const AGAIN: Duration = Duration::from_secs(5);

/// What a folder holds. Shared by all components that are granted it.
pub(crate) struct Usage {
    root: File,
    /// Held for the whole time of each change.
    turn: Arc<tokio::sync::Mutex<()>>,
    counts: Mutex<Counts>,
}

struct Counts {
    /// The lengths of all files.
    bytes: u64,
    /// Files, folders and links.
    files: u64,
    /// Files that components hold open.
    open: HashMap<FileId, Open>,
    counted: Instant,
}

struct Open {
    holders: u32,
    length: u64,
    /// Whether its last name is gone, so that its bytes come free with its last holder.
    deleted: bool,
}

/// The usages of all folders that are open.
#[derive(Default)]
pub(crate) struct Usages(Mutex<HashMap<FileId, Weak<Usage>>>);

impl Usages {
    /// That of an open folder: counted now, unless another component holds the folder too.
    ///
    /// # Errors
    /// The folder cannot be counted.
    pub(super) fn of(&self, folder: &File) -> io::Result<Arc<Usage>> {
        let data = folder.metadata()?;
        let mut all = locked(&self.0);
        all.retain(|_, usage| usage.strong_count() > 0);
        let id = (data.dev(), data.ino());
        if let Some(usage) = all.get(&id).and_then(Weak::upgrade) {
            return Ok(usage);
        }
        let usage = Arc::new(Usage {
            root: folder.try_clone()?,
            turn: Arc::default(),
            counts: Mutex::new(Counts {
                bytes: 0,
                files: 0,
                open: HashMap::new(),
                counted: Instant::now(),
            }),
        });
        usage.count()?;
        all.insert(id, Arc::downgrade(&usage));
        Ok(usage)
    }
}

/// The right to change something in a folder. The calls of its methods block.
pub(crate) struct Turn {
    usage: Arc<Usage>,
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

/// Where a write begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    /// At this byte.
    At(u64),
    /// At the file's end.
    End,
}

/// How a file or a folder is opened: the flags of `open-at`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Opening {
    pub(crate) create: bool,
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
    pub(crate) folder: bool,
    pub(crate) follow: bool,
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// What was opened.
pub(crate) enum Opened {
    File(File, Holder),
    Folder(File),
}

/// A file that is held open; its bytes count for as long.
pub(crate) struct Holder {
    usage: Arc<Usage>,
    id: FileId,
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut counts = locked(&self.usage.counts);
        let Some(open) = counts.open.get_mut(&self.id) else {
            return;
        };
        open.holders = open.holders.saturating_sub(1);
        if open.holders > 0 {
            return;
        }
        let freed = if open.deleted { open.length } else { 0 };
        counts.open.remove(&self.id);
        counts.bytes = counts.bytes.saturating_sub(freed);
    }
}

impl Usage {
    /// Does something when nobody else changes the folder. A thread waits with it and not the guest, which may go on with
    /// something else meanwhile: nobody who has the turn depends on a guest. What was begun is brought to its end.
    pub(crate) fn change<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Turn) -> T + Send + 'static,
    ) -> AbortOnDropJoinHandle<T> {
        let usage = self.clone();
        match self.turn.clone().try_lock_owned() {
            Ok(turn) => spawn_blocking(move || work(&Turn { usage, _turn: turn })),
            Err(_) => spawn(async move {
                let turn = usage.turn.clone().lock_owned().await;
                spawn_blocking(move || work(&Turn { usage, _turn: turn })).await
            }),
        }
    }

    /// Counts what is there.
    fn count(&self) -> io::Result<()> {
        let open: HashSet<FileId> = locked(&self.counts).open.keys().copied().collect();
        let mut named = HashSet::new();
        let mut linked = HashSet::new();
        let (mut bytes, mut files) = (0u64, 0u64);
        let walked = walk(&self.root, COUNTED, |stat| {
            files += 1;
            let id = id_of_stat(stat);
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return;
            }
            if open.contains(&id) {
                named.insert(id);
            }
            if stat.st_nlink <= 1 || linked.insert(id) {
                bytes = bytes.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
            }
        });
        match walked {
            Ok(()) => {}
            Err(WalkError::TooMany(_)) => (bytes, files) = (u64::MAX / 2, COUNTED),
            Err(WalkError::Io(error)) => return Err(error),
        }
        let mut counts = locked(&self.counts);
        for (id, open) in &mut counts.open {
            if !named.contains(id) {
                open.deleted = true;
                bytes = bytes.saturating_add(open.length);
            }
        }
        (counts.bytes, counts.files) = (bytes, files);
        counts.counted = Instant::now();
        Ok(())
    }
}

impl Turn {
    /// Whether so much more fits in.
    fn allow(&self, quota: Quota, bytes: u64, files: u64) -> io::Result<()> {
        let fits = |counts: &Counts| {
            (bytes == 0 || counts.bytes.saturating_add(bytes) <= quota.bytes)
                && (files == 0 || counts.files.saturating_add(files) <= quota.files)
        };
        let (fit, counted) = {
            let counts = locked(&self.usage.counts);
            (fits(&counts), counts.counted)
        };
        if fit {
            return Ok(());
        }
        // What was not changed through a sandbox is noticed here.
        if counted.elapsed() > AGAIN {
            self.usage.count()?;
            if fits(&locked(&self.usage.counts)) {
                return Ok(());
            }
        }
        Err(Errno::DQUOT.into())
    }

    /// Notes that a file has another length now.
    fn resized(&self, id: FileId, before: u64, after: u64) {
        let mut counts = locked(&self.usage.counts);
        counts.bytes = counts.bytes.saturating_add(after).saturating_sub(before);
        if let Some(open) = counts.open.get_mut(&id) {
            open.length = after;
        }
    }

    fn added(&self) {
        let mut counts = locked(&self.usage.counts);
        counts.files = counts.files.saturating_add(1);
    }

    /// Notes that a name is gone.
    fn removed(&self, what: &Metadata) {
        let mut counts = locked(&self.usage.counts);
        counts.files = counts.files.saturating_sub(1);
        if !what.is_file() || what.nlink() > 1 {
            return;
        }
        match counts.open.get_mut(&(what.dev(), what.ino())) {
            Some(open) => open.deleted = true,
            None => counts.bytes = counts.bytes.saturating_sub(what.len()),
        }
    }

    /// Notes that a file is open.
    ///
    /// # Errors
    /// It cannot be looked at.
    fn hold(&self, file: &File) -> io::Result<Holder> {
        let data = file.metadata()?;
        let id = (data.dev(), data.ino());
        let mut counts = locked(&self.usage.counts);
        let open = counts.open.entry(id).or_insert(Open {
            holders: 0,
            length: 0,
            deleted: false,
        });
        open.holders = open.holders.saturating_add(1);
        // A file with a name is not a deleted one: the entry is that of another file whose inode it got, and whose holder
        // is about to go.
        open.deleted &= data.nlink() == 0;
        // Of a pipe or a device nothing is kept.
        open.length = if data.is_file() { data.len() } else { 0 };
        Ok(Holder {
            usage: self.usage.clone(),
            id,
        })
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// They would be more than the folder may hold (`EDQUOT`), or the system refuses.
    pub(crate) fn write(&self, quota: Quota, file: &File, bytes: &[u8], start: Start) -> io::Result<()> {
        let data = file.metadata()?;
        let before = data.len();
        let from = match start {
            Start::At(from) => from,
            Start::End => before,
        };
        let end = u64::try_from(bytes.len())
            .ok()
            .and_then(|length| from.checked_add(length))
            .ok_or(Errno::FBIG)?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.allow(quota, end.saturating_sub(before), 0)?;
        let written = file.write_all_at(bytes, from);
        // A write that fails may have written a part.
        self.resized((data.dev(), data.ino()), before, file.metadata()?.len());
        written
    }

    /// Gives a file another length. A gap counts like what is written.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) fn set_length(&self, quota: Quota, file: &File, length: u64) -> io::Result<()> {
        let data = file.metadata()?;
        self.allow(quota, length.saturating_sub(data.len()), 0)?;
        file.set_len(length)?;
        self.resized((data.dev(), data.ino()), data.len(), length);
        Ok(())
    }

    /// Opens a file or a folder.
    ///
    /// # Errors
    /// As [`Self::write`]; or it is not there, or is and must not be.
    pub(crate) fn open(&self, quota: Quota, folder: &File, path: &Path, how: Opening) -> io::Result<Opened> {
        self.make(quota, folder, path, how)?;
        let writes = how.write || how.create || how.truncate;
        let mut options = OpenOptions::new();
        options
            .read(how.read || !how.write)
            .write(writes)
            ._cap_fs_ext_follow(follow(how.follow))
            // A pipe would wait for its other end, and with it everybody who changes the folder.
            ._cap_fs_ext_nonblock(true);
        let opened = inside::open(folder, path, &options)?;
        if opened.metadata()?.is_dir() {
            return Ok(Opened::Folder(opened));
        }
        if how.folder {
            return Err(Errno::NOTDIR.into());
        }
        let holder = self.hold(&opened)?;
        Ok(Opened::File(opened, holder))
    }

    /// Makes a file, or empties it: what an `open` would do before it opens.
    fn make(&self, quota: Quota, folder: &File, path: &Path, how: Opening) -> io::Result<()> {
        if how.create {
            match inside::stat(folder, path, FollowSymlinks::No) {
                Ok(_) if how.exclusive => return Err(Errno::EXIST.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.allow(quota, 0, 1)?;
                    inside::open(folder, path, OpenOptions::new().write(true).create_new(true))?;
                    self.added();
                }
                Err(error) => return Err(error),
            }
        }
        if how.truncate {
            let mut options = OpenOptions::new();
            options
                .write(true)
                ._cap_fs_ext_follow(follow(how.follow))
                ._cap_fs_ext_nonblock(true);
            let file = inside::open(folder, path, &options)?;
            if file.metadata()?.is_file() {
                self.set_length(quota, &file, 0)?;
            }
        }
        Ok(())
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) fn make_folder(&self, quota: Quota, folder: &File, path: &Path) -> io::Result<()> {
        self.allow(quota, 0, 1)?;
        inside::create_dir(folder, path, &DirOptions::new())?;
        self.added();
        Ok(())
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) fn make_link(&self, quota: Quota, to: &Path, folder: &File, path: &Path) -> io::Result<()> {
        self.allow(quota, 0, 1)?;
        inside::symlink(to, folder, path)?;
        self.added();
        Ok(())
    }

    /// Gives a file another name; its bytes count once.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) fn link(&self, quota: Quota, (folder, path): At<'_>, (to, name): At<'_>) -> io::Result<()> {
        self.allow(quota, 0, 1)?;
        inside::hard_link(folder, path, to, name)?;
        self.added();
        Ok(())
    }

    /// Moves what is at one name to another, in the place of what is there.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn rename(&self, (folder, path): At<'_>, (to, name): At<'_>) -> io::Result<()> {
        let moved = inside::stat(folder, path, FollowSymlinks::No)?;
        let replaced = inside::stat(to, name, FollowSymlinks::No).ok();
        inside::rename(folder, path, to, name)?;
        // Two names of one file stay as they are.
        let same = |other: &Metadata| (other.dev(), other.ino()) == (moved.dev(), moved.ino());
        if let Some(replaced) = replaced.filter(|other| !same(other)) {
            self.removed(&replaced);
        }
        Ok(())
    }

    /// Removes a file or a link.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn remove(&self, folder: &File, path: &Path) -> io::Result<()> {
        let what = inside::stat(folder, path, FollowSymlinks::No)?;
        inside::remove_file(folder, path)?;
        self.removed(&what);
        Ok(())
    }

    /// Removes an empty folder.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn remove_folder(&self, folder: &File, path: &Path) -> io::Result<()> {
        let what = inside::stat(folder, path, FollowSymlinks::No)?;
        inside::remove_dir(folder, path)?;
        self.removed(&what);
        Ok(())
    }
}

/// A name below an open folder.
pub(crate) type At<'a> = (&'a File, &'a Path);

fn follow(yes: bool) -> FollowSymlinks {
    match yes {
        true => FollowSymlinks::Yes,
        false => FollowSymlinks::No,
    }
}

/// The counts are whole at every point where code under their lock could panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
