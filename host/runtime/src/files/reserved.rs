//! What no component may be granted, and the check of a grant against it.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use super::{
    mounts::Mounts,
    resolved::{FileId, Relation, ResolvedPath},
    walk::{WalkError, id_of_stat, walk},
};
use crate::grants::{FileGrant, FileMode};

/// Files that a granted folder may hold when it has to be searched for hard links.
const SEARCHED: u64 = 1_000_000;
/// Entries of a reserved folder whose hard links are looked for.
const LOOKED_AT: usize = 4_096;

/// What no component may be granted. Made from a configuration; empty reserves nothing.
#[derive(Debug, Clone, Default)]
pub struct Reserved {
    /// What is granted in no way: the hub's own files, and what holds secrets.
    pub own: Vec<ReservedPath>,
    /// What is not granted for writing: what is run, or read as code or configuration.
    pub code: Vec<ReservedPath>,
    /// The folders that all components are granted, this one's included.
    pub granted: Vec<GrantedTo>,
}

/// A file or folder that is reserved. It need not be there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservedPath {
    /// The absolute path. It may lead through symbolic links, which are reserved as well.
    pub path: PathBuf,
    /// What it is, for a message: `the configuration file`.
    pub what: String,
    /// Whether what lies in it is reserved too. Where this is false, a folder in it can be granted, but not the folder
    /// itself and none that holds it.
    pub whole: bool,
}

/// A folder that a component is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedTo {
    /// Whose it is: [`crate::Spec::owner`].
    pub owner: String,
    /// The absolute path.
    pub path: PathBuf,
    /// What may be done there.
    pub mode: FileMode,
}

/// The folders that components may write, and whose they are.
#[derive(Debug)]
pub struct Written {
    folders: Vec<(ResolvedPath, String)>,
    mounts: Mounts,
}

impl Written {
    /// The component that may write a file, if there is one.
    pub fn by(&self, file: &Path) -> Option<&str> {
        if self.folders.is_empty() {
            return None;
        }
        let file = ResolvedPath::of(file, &self.mounts);
        let held =
            |folder: &ResolvedPath| matches!(folder.relation(&file), Some(Relation::Same | Relation::Holds));
        let found = self.folders.iter().find(|(folder, _)| held(folder));
        found.map(|(_, owner)| owner.as_str())
    }
}

impl Reserved {
    /// What components may write.
    pub fn written(&self) -> Written {
        let mounts = Mounts::read();
        let written = self.granted.iter().filter(|to| to.mode == FileMode::ReadWrite);
        Written {
            folders: written
                .map(|to| (ResolvedPath::of(&to.path, &mounts), to.owner.clone()))
                .collect(),
            mounts,
        }
    }

    /// Checks one grant of `owner` by its path. A folder that is not there can be checked too.
    ///
    /// # Errors
    /// Why it cannot be granted, and what to do: the second half of a sentence that begins with the folder.
    pub fn check(&self, grant: &FileGrant, owner: &str) -> Result<(), String> {
        let mounts = Mounts::read();
        self.check_resolved(
            grant,
            &ResolvedPath::of(&grant.path, &mounts),
            owner,
            &[],
            &mounts,
        )
    }

    /// The same, for a folder that was opened: it is searched for other names of what is reserved, too. `own` are all grants
    /// of the component, whether [`Self::granted`] holds them or not.
    pub(super) fn check_opened(
        &self,
        grant: &FileGrant,
        (resolved, opened): (&ResolvedPath, &File),
        (owner, own): (&str, &[GrantedTo]),
        mounts: &Mounts,
    ) -> Result<(), String> {
        self.check_resolved(grant, resolved, owner, own, mounts)?;
        let opened_id = opened
            .metadata()
            .map(|found| (found.dev(), found.ino()))
            .map_err(|error| format!("the folder cannot be checked: {error}"))?;
        if resolved.id != Some(opened_id) {
            return Err("the folder was replaced while it was opened; try again".to_owned());
        }
        self.check_hard_links(grant, opened)
    }

    fn check_resolved(
        &self,
        grant: &FileGrant,
        resolved: &ResolvedPath,
        owner: &str,
        own: &[GrantedTo],
        mounts: &Mounts,
    ) -> Result<(), String> {
        if !is_plain_absolute(&grant.seen_as) {
            let seen_as = &grant.seen_as;
            return Err(format!("`as: {seen_as}` must be an absolute path without `..`"));
        }
        // What is mounted in the folder is granted with it.
        let mounted = mounts
            .below(&resolved.real)
            .map(|point| ResolvedPath::of(point, mounts));
        let parts: Vec<ResolvedPath> = std::iter::once(resolved.clone()).chain(mounted).collect();
        for reserved in self.concerning(grant) {
            let other = ResolvedPath::of(&reserved.path, mounts);
            for part in &parts {
                let what = &reserved.what;
                match part.relation(&other) {
                    Some(Relation::Same) => return Err(format!("it is {what}; grant another folder")),
                    Some(Relation::Holds) => return Err(format!("it holds {what}; grant another folder")),
                    Some(Relation::LiesIn) if reserved.whole => {
                        return Err(format!("it lies in {what}; grant another folder"));
                    }
                    Some(Relation::LiesIn) | None => {}
                }
            }
        }
        for other in self.granted.iter().chain(own) {
            check_beside(
                grant,
                &parts,
                owner,
                other,
                &ResolvedPath::of(&other.path, mounts),
            )?;
        }
        Ok(())
    }

    /// What is reserved against this grant.
    fn concerning(&self, grant: &FileGrant) -> impl Iterator<Item = &ReservedPath> {
        let code = self.code.iter().filter(|_| grant.mode == FileMode::ReadWrite);
        self.own.iter().chain(code)
    }

    /// A file of the hub can have a second name in the folder.
    fn check_hard_links(&self, grant: &FileGrant, opened: &File) -> Result<(), String> {
        let mut linked: HashMap<FileId, &str> = HashMap::new();
        for reserved in self.concerning(grant) {
            for id in linked_files(reserved) {
                linked.insert(id, &reserved.what);
            }
        }
        let Some(any) = linked.values().next() else {
            return Ok(());
        };
        let mut found = None;
        let walked = walk(opened, SEARCHED, |stat| {
            found = found.or_else(|| linked.get(&id_of_stat(stat)).copied());
        });
        match (found, walked) {
            (Some(what), _) => Err(format!(
                "it holds a hard link of {what}; remove the link, or grant another folder"
            )),
            (None, Err(WalkError::Io(error))) => {
                Err(format!("the folder cannot be searched for hard links: {error}"))
            }
            (None, Err(error @ WalkError::TooMany(_))) => Err(format!(
                "{error}, too many to search for a hard link of {any}; remove the links of that, or grant a smaller folder"
            )),
            (None, Ok(())) => Ok(()),
        }
    }
}

/// Two folders of which one can be written must not lie in each other: who writes the outer one could put another
/// folder in the place of the inner one before it is opened. Two components may share one and the same folder: neither
/// can replace it, since it cannot be reached from within.
fn check_beside(
    grant: &FileGrant,
    parts: &[ResolvedPath],
    owner: &str,
    other: &GrantedTo,
    resolved: &ResolvedPath,
) -> Result<(), String> {
    if other.owner == owner && other.path == grant.path && other.mode == grant.mode {
        return Ok(());
    }
    if grant.mode == FileMode::ReadOnly && other.mode == FileMode::ReadOnly {
        return Ok(());
    }
    let shown = other.path.display();
    let whose = match other.owner == owner {
        true => "its own grant of",
        false => &format!("the grant of {} for", other.owner),
    };
    for part in parts {
        // Either may lead through a link that lies in the other one.
        match part.relation(resolved).or_else(|| resolved.relation(part)) {
            Some(Relation::Same) if other.owner == owner && other.mode != grant.mode => {
                return Err(format!(
                    "it is granted with another mode too, as {shown}; grant it once"
                ));
            }
            Some(Relation::Same) | None => {}
            Some(Relation::Holds | Relation::LiesIn) => {
                return Err(format!(
                    "it overlaps {whose} {shown}, and one of the two is for writing; grant folders that do not lie in each other"
                ));
            }
        }
    }
    Ok(())
}

/// What is reserved of files that have more than one name: a file, or what is in a folder that is reserved as a whole.
fn linked_files(reserved: &ReservedPath) -> Vec<FileId> {
    let linked = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        (found.is_file() && found.nlink() > 1).then(|| (found.dev(), found.ino()))
    };
    match fs::read_dir(&reserved.path) {
        Ok(entries) if reserved.whole => {
            let entries = entries.take(LOOKED_AT).flatten();
            entries.filter_map(|entry| linked(&entry.path())).collect()
        }
        Ok(_) => Vec::new(),
        Err(_) => linked(&reserved.path).into_iter().collect(),
    }
}

fn is_plain_absolute(path: &str) -> bool {
    let path = Path::new(path);
    path.is_absolute()
        && path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::{
        files::{Usages, open},
        grants::{Grants, Quota},
    };

    const OWNER: &str = "plugin `a`";

    struct Root(tempfile::TempDir);

    impl Root {
        fn new(folders: &[&str]) -> Self {
            let root = Self(tempfile::tempdir().unwrap());
            for folder in folders {
                fs::create_dir_all(root.at(folder)).unwrap();
            }
            root
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn grant(&self, path: &str, mode: FileMode) -> FileGrant {
            FileGrant {
                path: self.at(path),
                seen_as: "/files".to_owned(),
                mode,
                quota: Quota::default(),
            }
        }

        fn reserved(&self, path: &str, whole: bool) -> ReservedPath {
            ReservedPath {
                path: self.at(path),
                what: "the thing".to_owned(),
                whole,
            }
        }

        fn to(&self, owner: &str, path: &str, mode: FileMode) -> GrantedTo {
            GrantedTo {
                owner: owner.to_owned(),
                path: self.at(path),
                mode,
            }
        }
    }

    /// Whether the folders are given: by their names alone, and opened.
    fn given(grants: &[FileGrant], reserved: &Reserved) -> bool {
        let grants = Grants {
            files: grants.to_vec(),
            ..Grants::default()
        };
        open(&grants, OWNER, reserved, &Usages::default()).is_ok()
    }

    use FileMode::{ReadOnly, ReadWrite};

    #[test]
    fn what_is_the_hubs_own_is_granted_in_no_way() {
        let root = Root::new(&["data/inner", "beside"]);
        for whole in [true, false] {
            let reserved = Reserved {
                own: vec![
                    root.reserved("data", whole),
                    root.reserved("beside/later.db", true),
                ],
                ..Reserved::default()
            };
            for mode in [ReadOnly, ReadWrite] {
                let given = |path| given(&[root.grant(path, mode)], &reserved);
                assert!(!given(""));
                assert!(!given("data"));
                assert_eq!(given("data/inner"), !whole);
                // The file is not there yet.
                assert!(!given("beside"));
            }
        }
    }

    #[test]
    fn what_is_run_is_not_written() {
        let root = Root::new(&["plugins/lib", "other"]);
        fs::write(root.at("plugins/x.js"), "").unwrap();
        let reserved = Reserved {
            code: vec![
                root.reserved("plugins/x.js", true),
                root.reserved("plugins/lib", true),
            ],
            ..Reserved::default()
        };
        for path in ["plugins", "plugins/lib", ""] {
            assert!(given(&[root.grant(path, ReadOnly)], &reserved), "{path}");
            assert!(!given(&[root.grant(path, ReadWrite)], &reserved), "{path}");
        }
        assert!(given(&[root.grant("other", ReadWrite)], &reserved));
    }

    #[test]
    fn folders_in_each_other_are_refused_where_one_is_written() {
        let root = Root::new(&["a/b", "c", "d"]);
        symlink(root.at("c"), root.at("a/link")).unwrap();
        symlink(root.at("a"), root.at("d/to-a")).unwrap();
        for (mine, other, nested) in [
            ("a", "a/b", true),
            ("a/b", "a", true),
            ("a", "d/to-a/b", true),
            // The link lies in the other folder: who writes there decides where it leads.
            ("a/link", "a", true),
            ("a", "a/link", true),
            ("d", "d/to-a", true),
            ("a/b", "c", false),
            ("d/to-a", "c", false),
        ] {
            for (mode, others) in [
                (ReadOnly, ReadOnly),
                (ReadOnly, ReadWrite),
                (ReadWrite, ReadOnly),
                (ReadWrite, ReadWrite),
            ] {
                let expected = !nested || (mode, others) == (ReadOnly, ReadOnly);
                let across = Reserved {
                    granted: vec![root.to("plugin `b`", other, others)],
                    ..Reserved::default()
                };
                let case = format!("{mine} {mode:?}, {other} {others:?}");
                assert_eq!(given(&[root.grant(mine, mode)], &across), expected, "{case}");
                let within = [root.grant(mine, mode), root.grant(other, others)];
                assert_eq!(
                    given(&within, &Reserved::default()),
                    expected,
                    "within one: {case}"
                );
            }
        }
    }

    #[test]
    fn one_folder_can_be_shared() {
        let root = Root::new(&["a"]);
        symlink("a", root.at("same")).unwrap();
        for mode in [ReadOnly, ReadWrite] {
            let reserved = Reserved {
                granted: vec![root.to("hook `b`", "same", mode), root.to(OWNER, "a", ReadWrite)],
                ..Reserved::default()
            };
            assert!(given(&[root.grant("a", ReadWrite)], &reserved));
        }
        let twice = [root.grant("a", ReadOnly), root.grant("same", ReadWrite)];
        assert!(!given(&twice, &Reserved::default()));
        let twice = [root.grant("a", ReadWrite), root.grant("same", ReadWrite)];
        assert!(given(&twice, &Reserved::default()));
    }

    #[test]
    fn a_second_name_of_a_file_is_found() {
        let root = Root::new(&["hub/secrets", "granted/deep/er", "other"]);
        fs::write(root.at("hub/.env"), "A=1").unwrap();
        fs::write(root.at("hub/secrets/TOKEN"), "1").unwrap();
        fs::write(root.at("hub/x.js"), "").unwrap();
        let reserved = Reserved {
            own: vec![
                root.reserved("hub/.env", true),
                root.reserved("hub/secrets", true),
            ],
            code: vec![root.reserved("hub/x.js", true)],
            ..Reserved::default()
        };
        let given = |mode| given(&[root.grant("granted", mode)], &reserved);
        assert!(given(ReadOnly) && given(ReadWrite));
        fs::hard_link(root.at("hub/x.js"), root.at("granted/deep/note")).unwrap();
        assert!(given(ReadOnly) && !given(ReadWrite));
        for (file, mode) in [("hub/.env", ReadOnly), ("hub/secrets/TOKEN", ReadOnly)] {
            fs::hard_link(root.at(file), root.at("granted/deep/er/note")).unwrap();
            assert!(!given(mode), "{file}");
            fs::remove_file(root.at("granted/deep/er/note")).unwrap();
        }
        assert!(given(ReadOnly));
    }

    #[test]
    fn a_folder_that_may_hold_granted_ones_reserves_no_file_in_it() {
        let root = Root::new(&["home/granted"]);
        fs::write(root.at("home/file"), "").unwrap();
        fs::hard_link(root.at("home/file"), root.at("home/granted/file")).unwrap();
        let reserved = Reserved {
            code: vec![root.reserved("home", false)],
            ..Reserved::default()
        };
        assert!(given(&[root.grant("home/granted", ReadWrite)], &reserved));
    }

    #[test]
    fn what_is_no_folder_is_not_granted() {
        let root = Root::new(&["a"]);
        fs::write(root.at("file"), "").unwrap();
        symlink("nowhere", root.at("dangling")).unwrap();
        for path in ["none", "file", "dangling", "file/below"] {
            assert!(
                !given(&[root.grant(path, ReadOnly)], &Reserved::default()),
                "{path}"
            );
        }
        for seen_as in ["files", "/a/../b", ""] {
            let grant = FileGrant {
                seen_as: seen_as.to_owned(),
                ..root.grant("a", ReadOnly)
            };
            assert!(!given(&[grant], &Reserved::default()), "{seen_as}");
        }
    }

    #[test]
    fn who_may_write_a_file_is_known() {
        let root = Root::new(&["a/b", "c"]);
        let reserved = Reserved {
            granted: vec![
                root.to("plugin `w`", "a", ReadWrite),
                root.to("plugin `r`", "c", ReadOnly),
            ],
            ..Reserved::default()
        };
        let written = reserved.written();
        assert_eq!(written.by(&root.at("a/b/x.js")), Some("plugin `w`"));
        assert_eq!(written.by(&root.at("c/x.js")), None);
        symlink(root.at("a/b"), root.at("link")).unwrap();
        assert_eq!(written.by(&root.at("link/x.js")), Some("plugin `w`"));
    }
}
