//! Variables that lie in files: what `secrets.provider: file` reads, and `.env`.
//!
//! Container platforms hand secrets over as a folder with a file for each (`/run/secrets`); others write one
//! file of NAME=value lines. No error may hold any content: a broken line may be the secret itself.

use std::{
    fs,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use super::{dotenv, template::is_variable_name};

/// Longest value of one file, in bytes.
const MAX_VALUE: u64 = 64 * 1024;

/// Longest file of NAME=value lines, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Most lines of one file that are reported.
const MAX_REPORTED: usize = 20;

/// A file, or a line of it, could not be used. Holds no content of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {what}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct FileError {
    /// The file or folder.
    pub path: PathBuf,
    /// The line, from 1; `None` for the file as a whole.
    pub line: Option<usize>,
    /// What is wrong, and what to do about it.
    pub what: String,
}

impl FileError {
    fn of(path: &Path, what: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line: None,
            what: what.into(),
        }
    }
}

/// Variables with their values, and what could not be used.
pub(super) type FileVariables = (Vec<(String, String)>, Vec<FileError>);

/// Reads NAME=value lines; see [`dotenv`]. A file that is not there holds none.
pub(super) fn lines(path: &Path) -> FileVariables {
    let bytes = match bytes(path, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Default::default(),
        Err(error) => {
            let what = format!("it cannot be read: {error}");
            return (Vec::new(), vec![FileError::of(path, what)]);
        }
    };
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        let what = "it is UTF-16, and no variable of it is used; save the file as UTF-8";
        return (Vec::new(), vec![FileError::of(path, what)]);
    }
    let (pairs, odd) = dotenv::parse(&bytes);
    let more = odd.len().saturating_sub(MAX_REPORTED);
    let mut errors: Vec<FileError> = odd
        .into_iter()
        .take(MAX_REPORTED)
        .map(|odd| FileError {
            line: Some(odd.number),
            ..FileError::of(path, format!("this line is left out: {}", odd.why))
        })
        .collect();
    if more > 0 {
        errors.push(FileError::of(path, format!("{more} more lines are left out")));
    }
    (pairs, errors)
}

/// Reads `path`: a folder with a file for each variable, or a file of NAME=value lines. In a folder, names that
/// no variable can have are passed over, and one line end at the end of a file is not a part of the value.
///
/// # Errors
/// Nothing is there, or the folder cannot be listed.
pub(super) fn read(path: &Path) -> Result<FileVariables, FileError> {
    let fails = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => FileError::of(path, "it is not there"),
        _ => FileError::of(path, format!("it cannot be read: {error}")),
    };
    if fs::metadata(path).map_err(fails)?.is_file() {
        return Ok(lines(path));
    }
    let (mut pairs, mut errors) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(path).map_err(fails)? {
        let entry = entry.map_err(fails)?;
        let name = entry.file_name().into_string().unwrap_or_default();
        // Links are followed: Kubernetes puts one for each secret.
        let is_file = fs::metadata(entry.path()).is_ok_and(|m| m.is_file());
        if !is_variable_name(&name) || !is_file {
            continue;
        }
        match value(&entry.path()) {
            Ok(value) => pairs.push((name, value)),
            Err(error) => errors.push(FileError::of(
                &entry.path(),
                format!("it cannot be used: {error}"),
            )),
        }
    }
    Ok((pairs, errors))
}

/// The bytes of a file that has at most `limit` of them.
fn bytes(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(std::io::Error::other(format!("it has more than {limit} bytes"))),
        false => Ok(bytes),
    }
}

/// The value in a file of its own.
fn value(path: &Path) -> std::io::Result<String> {
    let bytes = bytes(path, MAX_VALUE)?;
    let bytes = bytes
        .strip_suffix(b"\n")
        .map_or(bytes.as_slice(), |line| line.strip_suffix(b"\r").unwrap_or(line));
    let text = std::str::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_a_file_for_each_variable() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &[u8]| fs::write(dir.path().join(name), text).unwrap();
        put("TOKEN", b"abc\n");
        put("TWO_LINES", b"a\nb\r\n");
        put("not-a-name", b"x");
        put("..data", b"x");
        fs::create_dir(dir.path().join("FOLDER")).unwrap();
        std::os::unix::fs::symlink("TOKEN", dir.path().join("LINKED")).unwrap();
        let (mut pairs, errors) = read(dir.path()).unwrap();
        pairs.sort();
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            pairs,
            [("LINKED", "abc"), ("TOKEN", "abc"), ("TWO_LINES", "a\nb")]
        );
        assert_eq!(errors, []);
        // What cannot be used is reported without its content, and does not affect others.
        put("BINARY", b"hunter2\xff");
        put("LARGE", "hunter2".repeat(10_000).as_bytes());
        let (pairs, errors) = read(dir.path()).unwrap();
        assert_eq!((pairs.len(), errors.len()), (3, 2));
        let text = format!("{} {}", errors[0], errors[1]);
        assert!(
            text.contains("cannot be used") && !text.contains("hunter2"),
            "{text}"
        );
    }

    #[test]
    fn a_file_has_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.env");
        assert!(read(&path).unwrap_err().to_string().ends_with("is not there"));
        fs::write(&path, "A=1\n# more\nB='two words'\n").unwrap();
        let (pairs, errors) = read(&path).unwrap();
        assert_eq!(
            pairs,
            [
                ("A".to_owned(), "1".to_owned()),
                ("B".to_owned(), "two words".to_owned())
            ]
        );
        assert_eq!(errors, []);
    }
}
