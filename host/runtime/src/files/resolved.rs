//! Resolves a path: its real name, every symbolic link on the way, and its device and inode.

use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use super::mounts::{Location, Mounts};

/// Symbolic links that a path may lead through: as many as Linux follows.
const LINKS: usize = 40;

/// Device and inode: what is the same file or folder under every name.
pub(super) type FileId = (u64, u64);

/// Where a path leads. What is not there yet has a place as well.
#[derive(Debug, Clone)]
pub(super) struct ResolvedPath {
    /// The path without links.
    pub(super) real: PathBuf,
    /// Where each link on the way is. Who can replace one of them decides what the path means.
    pub(super) links: Vec<PathBuf>,
    /// The folder or file itself, where it is there.
    pub(super) id: Option<FileId>,
    /// The folders that it lies in.
    above: BTreeSet<FileId>,
    location: Option<Location>,
}

/// How a folder stands to another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// They are the same.
    Same,
    /// The folder holds the other one.
    Holds,
    /// The folder lies in the other one.
    LiesIn,
}

impl ResolvedPath {
    /// Follows a path, link by link.
    pub(super) fn of(path: &Path, mounts: &Mounts) -> Self {
        let (real, links) = follow(path);
        let id = id_of(&real);
        let above = real.ancestors().skip(1).filter_map(id_of).collect();
        let location = mounts.location(&real);
        Self {
            real,
            links,
            id,
            above,
            location,
        }
    }

    /// How this folder stands to another place, by name, by inode, and by where both lie in their file system: the last
    /// two see through bind mounts.
    pub(super) fn relation(&self, other: &Self) -> Option<Relation> {
        let same_id = self.id.is_some() && self.id == other.id;
        if self.real == other.real || same_id || (self.location.is_some() && self.location == other.location)
        {
            return Some(Relation::Same);
        }
        let located = |outer: &Self, inner: &Self| matches!((&outer.location, &inner.location), (Some(outer), Some(inner)) if outer.holds(inner));
        let holds = |outer: &Self, inner: &Self| {
            inner.real.starts_with(&outer.real)
                || outer.id.is_some_and(|id| inner.above.contains(&id))
                || located(outer, inner)
        };
        if holds(self, other) || other.links.iter().any(|link| link.starts_with(&self.real)) {
            return Some(Relation::Holds);
        }
        holds(other, self).then_some(Relation::LiesIn)
    }
}

/// The path without links, as far as it is there already, and the links on the way.
fn follow(path: &Path) -> (PathBuf, Vec<PathBuf>) {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut rest: VecDeque<OsString> = parts(&path);
    let (mut real, mut links) = (PathBuf::from("/"), Vec::new());
    while let Some(part) = rest.pop_front() {
        match Path::new(&part).components().next() {
            Some(Component::Normal(name)) => {
                let next = real.join(name);
                match fs::read_link(&next) {
                    Ok(target) if links.len() < LINKS => {
                        links.push(next);
                        for part in parts(&target).into_iter().rev() {
                            rest.push_front(part);
                        }
                    }
                    _ => real = next,
                }
            }
            Some(Component::ParentDir) => {
                real.pop();
            }
            Some(Component::RootDir) => real = PathBuf::from("/"),
            Some(Component::CurDir | Component::Prefix(_)) | None => {}
        }
    }
    (real, links)
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

fn id_of(path: &Path) -> Option<FileId> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn relation(folder: &Path, other: &Path) -> Option<Relation> {
        let mounts = Mounts::default();
        ResolvedPath::of(folder, &mounts).relation(&ResolvedPath::of(other, &mounts))
    }

    #[test]
    fn names_links_and_what_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("c")).unwrap();
        // c/now -> ../a, and then a link to that link.
        symlink("../a", root.join("c/now")).unwrap();
        symlink(root.join("c/now/b"), root.join("again")).unwrap();
        let [a, b, c] = ["a", "a/b", "c"].map(|name| root.join(name));
        assert_eq!(relation(&a, &b), Some(Relation::Holds));
        assert_eq!(relation(&b, &a), Some(Relation::LiesIn));
        assert_eq!(relation(&b, &root.join("again")), Some(Relation::Same));
        assert_eq!(relation(&b, &c), None);
        // Who can write in `c` decides where `again` leads.
        assert_eq!(relation(&c, &root.join("again")), Some(Relation::Holds));
        assert_eq!(relation(&c, &root.join("c/now/b/not/yet")), Some(Relation::Holds));
        assert_eq!(relation(&b, &root.join("c/now/b/not/yet")), Some(Relation::Holds));
        assert_eq!(relation(&b, &root.join("a/b/../../c/x")), None);
        assert_eq!(relation(&root.join("a/bb"), &b), None);
    }

    #[test]
    fn a_ring_of_links_ends() {
        let folder = tempfile::tempdir().unwrap();
        symlink("two", folder.path().join("one")).unwrap();
        symlink("one", folder.path().join("two")).unwrap();
        assert_eq!(follow(&folder.path().join("one")).1.len(), LINKS);
    }
}
