//! Where mounts lead, as `/proc/self/mountinfo` tells it (proc_pid_mountinfo(5)): a folder that is mounted a second time
//! has another name and other folders above it, and is the same folder.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// The mounts of this process. Empty where the system does not tell them.
#[derive(Debug, Default)]
pub(super) struct Mounts(Vec<Mount>);

#[derive(Debug)]
struct Mount {
    device: String,
    /// What of the file system is mounted.
    root: PathBuf,
    /// Where it is mounted.
    point: PathBuf,
}

/// A path inside a file system, whatever it is mounted as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    device: String,
    path: PathBuf,
}

impl Location {
    /// Whether the other one lies below this one.
    pub(super) fn holds(&self, other: &Self) -> bool {
        self.device == other.device && other.path.starts_with(&self.path)
    }
}

impl Mounts {
    /// Asks the system.
    pub(super) fn read() -> Self {
        Self::parse(&fs::read("/proc/self/mountinfo").unwrap_or_default())
    }

    fn parse(text: &[u8]) -> Self {
        Self(text.split(|byte| *byte == b'\n').filter_map(mount).collect())
    }

    /// Where a path without links lies in its file system.
    pub(super) fn location(&self, real: &Path) -> Option<Location> {
        // Of two mounts at one point, the later one hides the other.
        let holding = self.0.iter().filter(|mount| real.starts_with(&mount.point));
        let mount = holding.max_by_key(|mount| mount.point.as_os_str().len())?;
        let below = real.strip_prefix(&mount.point).ok()?;
        Some(Location {
            device: mount.device.clone(),
            // Without the separator at the end that an empty rest would leave.
            path: mount.root.join(below).components().collect(),
        })
    }

    /// Where something is mounted below a folder.
    pub(super) fn below<'a>(&'a self, real: &'a Path) -> impl Iterator<Item = &'a Path> {
        let points = self.0.iter().map(|mount| mount.point.as_path());
        points.filter(move |point| *point != real && point.starts_with(real))
    }
}

/// `36 35 98:0 /root /point rw,noatime …`
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ').skip(2);
    let device = String::from_utf8(fields.next()?.to_vec()).ok()?;
    let mut path = || Some(PathBuf::from(OsString::from_vec(unescaped(fields.next()?))));
    Some(Mount {
        device,
        root: path()?,
        point: path()?,
    })
}

/// Blanks, tabs, line ends and backslashes are octal: `\040`.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<3>().filter(|_| byte == b'\\');
        let code = digits.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        match code {
            Some(code) => {
                out.push(code);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        23 22 0:5 / /proc rw - proc proc rw\n\
        30 22 8:1 /srv/hub /mnt/with\\040blank rw - ext4 /dev/sda1 rw\n\
        31 30 8:2 / /mnt/with\\040blank/other rw - ext4 /dev/sdb1 rw\n\
        broken line\n";

    #[test]
    fn a_second_mount_is_the_same_place() {
        let mounts = Mounts::parse(TEXT);
        let at = |path: &str| mounts.location(Path::new(path)).unwrap();
        assert_eq!(at("/srv/hub/data"), at("/mnt/with blank/data"));
        assert_eq!(at("/srv/hub"), at("/mnt/with blank"));
        assert!(at("/srv").holds(&at("/mnt/with blank/data")));
        assert!(!at("/srv/hub").holds(&at("/mnt/with blank/other/data")));
        assert!(!at("/srv/hub").holds(&at("/srv/hub2")));
        let below: Vec<_> = mounts.below(Path::new("/mnt")).collect();
        assert_eq!(
            below,
            [Path::new("/mnt/with blank"), Path::new("/mnt/with blank/other")]
        );
    }

    #[test]
    fn the_root_of_this_machine_is_somewhere() {
        let mounts = Mounts::read();
        assert!(mounts.0.is_empty() || mounts.location(Path::new("/")).is_some());
    }
}
