use std::fs;

use super::*;

const QUOTA: Quota = Quota { bytes: 100, files: 5 };

struct Test {
    folder: tempfile::TempDir,
    root: File,
    usages: Usages,
    usage: Arc<Usage>,
}

impl Test {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = File::open(folder.path()).unwrap();
        let usages = Usages::default();
        let usage = usages.of(&root).unwrap();
        Self {
            folder,
            root,
            usages,
            usage,
        }
    }

    fn turn(&self) -> Turn {
        Turn {
            usage: self.usage.clone(),
            _turn: self.usage.turn.clone().try_lock_owned().unwrap(),
        }
    }

    /// What is counted is what is there.
    fn is(&self, bytes: u64, files: u64) {
        let counted = |counts: &Counts| (counts.bytes, counts.files);
        assert_eq!(
            counted(&locked(&self.usage.counts)),
            (bytes, files),
            "counted on the way"
        );
        self.usage.count().unwrap();
        assert_eq!(
            counted(&locked(&self.usage.counts)),
            (bytes, files),
            "counted again"
        );
    }

    fn make(&self, name: &str) -> io::Result<File> {
        let how = Opening {
            create: true,
            ..Opening::default()
        };
        self.turn().make(QUOTA, &self.root, Path::new(name), how)?;
        fs::File::options()
            .write(true)
            .open(self.folder.path().join(name))
    }

    fn write(&self, file: &File, length: usize, start: Start) -> io::Result<()> {
        self.turn().write(QUOTA, file, &vec![1; length], start)
    }

    fn at<'a>(&'a self, name: &'a str) -> At<'a> {
        (&self.root, Path::new(name))
    }
}

fn full<T>(outcome: io::Result<T>) -> bool {
    matches!(outcome, Err(error) if error.raw_os_error() == Some(Errno::DQUOT.raw_os_error()))
}

#[test]
fn bytes_are_bounded_however_they_come() {
    let test = Test::new();
    let file = test.make("a").unwrap();
    test.write(&file, 60, Start::At(0)).unwrap();
    // Over what is there already.
    test.write(&file, 60, Start::At(0)).unwrap();
    test.write(&file, 30, Start::End).unwrap();
    test.is(90, 1);
    assert!(full(test.write(&file, 11, Start::End)));
    assert!(full(test.write(&file, 1, Start::At(1 << 40))));
    assert!(full(test.turn().set_length(QUOTA, &file, 101)));
    assert!(test.write(&file, 1, Start::At(u64::MAX)).is_err());
    test.is(90, 1);
    // A file with a gap counts by its length.
    test.turn().set_length(QUOTA, &file, 100).unwrap();
    assert!(full(test.write(&test.make("b").unwrap(), 1, Start::At(0))));
    test.turn().set_length(QUOTA, &file, 10).unwrap();
    test.is(10, 2);
    let how = Opening {
        truncate: true,
        ..Opening::default()
    };
    test.turn().make(QUOTA, &test.root, Path::new("a"), how).unwrap();
    test.is(0, 2);
}

#[test]
fn files_folders_and_links_are_bounded() {
    let test = Test::new();
    let root = &test.root;
    let file = test.make("a").unwrap();
    test.write(&file, 10, Start::At(0)).unwrap();
    test.turn().make_folder(QUOTA, root, Path::new("b")).unwrap();
    test.turn()
        .make_link(QUOTA, Path::new("a"), root, Path::new("c"))
        .unwrap();
    test.turn().link(QUOTA, test.at("a"), test.at("d")).unwrap();
    test.is(10, 4);
    test.make("e").unwrap();
    assert!(full(test.make("f")));
    assert!(full(test.turn().make_folder(QUOTA, root, Path::new("f"))));
    assert!(full(test.turn().make_link(
        QUOTA,
        Path::new("a"),
        root,
        Path::new("f")
    )));
    assert!(full(test.turn().link(QUOTA, test.at("a"), test.at("f"))));
    // One that is there needs no place.
    test.make("a").unwrap();
    test.turn().rename(test.at("a"), test.at("d")).unwrap();
    test.is(10, 5);
    test.turn().rename(test.at("a"), test.at("e")).unwrap();
    test.is(10, 4);
    test.turn().remove(root, Path::new("d")).unwrap();
    test.turn().remove_folder(root, Path::new("b")).unwrap();
    test.turn().remove(root, Path::new("c")).unwrap();
    test.is(10, 1);
    test.turn().remove(root, Path::new("e")).unwrap();
    test.is(0, 0);
    assert!(test.turn().remove(root, Path::new("../e")).is_err());
}

#[test]
fn what_is_deleted_counts_until_it_is_closed() {
    let test = Test::new();
    for round in 0..3 {
        let file = test.make("a").unwrap();
        let held = test.turn().hold(&file).unwrap();
        let again = test.turn().hold(&file).unwrap();
        test.write(&file, 50, Start::At(0)).unwrap();
        match round {
            0 => test.turn().remove(&test.root, Path::new("a")).unwrap(),
            1 => {
                test.make("b").unwrap();
                test.turn().rename(test.at("b"), test.at("a")).unwrap();
                test.turn().remove(&test.root, Path::new("a")).unwrap();
            }
            // Not through a sandbox: told when it is counted again.
            _ => {
                fs::remove_file(test.folder.path().join("a")).unwrap();
                test.usage.count().unwrap();
            }
        }
        test.is(50, 0);
        test.write(&file, 40, Start::End).unwrap();
        test.is(90, 0);
        assert!(full(test.write(&test.make("c").unwrap(), 11, Start::At(0))));
        test.turn().remove(&test.root, Path::new("c")).unwrap();
        drop(held);
        test.is(90, 0);
        drop(again);
        test.is(0, 0);
    }
}

#[test]
fn a_folder_that_two_hold_is_counted_together() {
    let test = Test::new();
    let other = test.usages.of(&File::open(test.folder.path()).unwrap()).unwrap();
    assert!(Arc::ptr_eq(&other, &test.usage));
    fs::write(test.folder.path().join("from-outside"), [0; 40]).unwrap();
    let fresh = Usages::default().of(&test.root).unwrap();
    assert_eq!(locked(&fresh.counts).bytes, 40);
}
