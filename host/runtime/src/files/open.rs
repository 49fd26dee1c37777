//! A granted folder, opened and held.

use std::{fs::File, path::Path, sync::Arc};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};
use wasmtime_wasi::{
    FsPerms, OpenMode,
    filesystem::{Descriptor, Dir},
};

use super::{
    mounts::Mounts,
    reserved::{GrantedTo, Reserved},
    resolved::ResolvedPath,
    usage::{Usage, Usages},
};
use crate::grants::{FileGrant, FileMode, GrantError, Grants, Quota};

/// A granted folder that is held open for as long as its component is loaded.
#[derive(Clone)]
pub(crate) struct Folder {
    dir: Dir,
    /// Where the component sees it.
    pub(crate) seen_as: Arc<str>,
    writable: Option<Writable>,
}

/// A folder that can be written.
#[derive(Clone)]
pub(crate) struct Writable {
    /// What is in it.
    pub(crate) usage: Arc<Usage>,
    /// How far this component may let it grow.
    pub(crate) quota: Quota,
}

impl Writable {
    /// Whether two grants are of one folder.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.usage, &other.usage)
    }
}

impl Folder {
    /// The handle that a sandbox begins with: the same open folder each time.
    pub(crate) fn descriptor(&self) -> Descriptor {
        Descriptor::Dir(self.dir.clone())
    }

    /// Where it can be written.
    pub(crate) fn writable(&self) -> Option<Writable> {
        self.writable.clone()
    }
}

/// Opens the folders of a component, each once. `owner` is whose they are, as in [`Reserved::granted`].
///
/// # Errors
/// The first folder that cannot be granted, or cannot be opened.
pub(crate) fn open(
    grants: &Grants,
    owner: &str,
    reserved: &Reserved,
    usages: &Usages,
) -> Result<Vec<Folder>, GrantError> {
    if grants.files.is_empty() {
        return Ok(Vec::new());
    }
    let mounts = Mounts::read();
    let own = grants.files.iter().map(|grant| GrantedTo {
        owner: owner.to_owned(),
        path: grant.path.clone(),
        mode: grant.mode,
    });
    let own: Vec<GrantedTo> = own.collect();
    let mut folders = Vec::new();
    for grant in &grants.files {
        let fault = |why: String| GrantError::File {
            path: grant.path.clone(),
            why,
        };
        let resolved = ResolvedPath::of(&grant.path, &mounts);
        let opened = open_without_links(&resolved.real).map_err(|error| {
            fault(match error {
                Errno::NOENT => "the folder is not there; make it, or take the grant away".to_owned(),
                Errno::NOTDIR | Errno::LOOP => "it is not a folder; only folders can be granted".to_owned(),
                error => format!("the folder cannot be opened: {error}"),
            })
        })?;
        reserved
            .check_opened(grant, (&resolved, &opened), (owner, &own), &mounts)
            .map_err(fault)?;
        let writable = match grant.mode {
            FileMode::ReadOnly => None,
            FileMode::ReadWrite => Some(Writable {
                usage: usages
                    .of(&opened)
                    .map_err(|error| fault(format!("what is in the folder cannot be counted: {error}")))?,
                quota: grant.quota,
            }),
        };
        folders.push(Folder {
            writable,
            dir: Dir::new(opened, perms(grant), open_mode(grant), false),
            seen_as: grant.seen_as.as_str().into(),
        });
    }
    Ok(folders)
}

fn perms(grant: &FileGrant) -> FsPerms {
    match grant.mode {
        FileMode::ReadOnly => FsPerms::ReadOnly,
        FileMode::ReadWrite => FsPerms::ReadWrite,
    }
}

fn open_mode(grant: &FileGrant) -> OpenMode {
    match grant.mode {
        FileMode::ReadOnly => OpenMode::READ,
        FileMode::ReadWrite => OpenMode::READ | OpenMode::WRITE,
    }
}

/// What a folder is opened with on the way and at the end: as wasmtime-wasi opens one, for looking things up in it.
#[cfg(target_os = "linux")]
const LOOK_UP: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const LOOK_UP: OFlags = OFlags::RDONLY;

/// Opens a folder by its absolute path, part for part, and refuses a link at any part: what `openat2` does with
/// `RESOLVE_NO_SYMLINKS`, on every system.
fn open_without_links(path: &Path) -> Result<File, Errno> {
    let flags = LOOK_UP | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut folder = openat(CWD, c"/", flags, Mode::empty())?;
    for part in path.components().skip(1) {
        folder = openat(&folder, part.as_os_str(), flags, Mode::empty())?;
    }
    Ok(folder.into())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, symlink},
    };

    use super::*;

    #[test]
    fn a_link_at_any_part_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        symlink(root.join("a"), root.join("link")).unwrap();
        symlink("b", root.join("a/link")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        let opened = open_without_links(&root.join("a/b")).unwrap();
        let (held, there) = (
            opened.metadata().unwrap(),
            fs::metadata(root.join("a/b")).unwrap(),
        );
        assert_eq!((held.dev(), held.ino()), (there.dev(), there.ino()));
        for path in ["link/b", "a/link", "link", "file", "a/none"] {
            assert!(open_without_links(&root.join(path)).is_err(), "{path}");
        }
    }
}
