//! Variables that lie in files: what `secrets.provider: file` reads, and `.env`.
//!
//! Container platforms hand secrets over as a folder with a file for each (`/run/secrets`); others write one
//! file of NAME=value lines. No error may hold any content: a broken line may be the secret itself.

use std::{
    fs,
    io::{ErrorKind, Read as _},
    path::Path,
};

use super::template::is_variable_name;

/// Longest value of one file, in bytes.
const MAX_VALUE: u64 = 64 * 1024;

/// A file could not be used. Holds no content of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct FileError {
    what: String,
}

impl FileError {
    fn of(path: &Path, what: impl std::fmt::Display) -> Self {
        Self {
            what: format!("{} {what}", path.display()),
        }
    }
}

/// Variables with their values, and what could not be used.
pub(super) type FileVariables = (Vec<(String, String)>, Option<FileError>);

/// Reads NAME=value lines up to the first that is none. A file that is not there holds none.
pub(super) fn lines(path: &Path) -> FileVariables {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Default::default(),
        Err(e) => {
            return (
                Vec::new(),
                Some(FileError::of(path, format!("cannot be read: {e}"))),
            );
        }
    };
    let mut pairs: Vec<(String, String)> = Vec::new();
    for item in dotenvy::from_read_iter(bytes.as_slice()) {
        let Ok(pair) = item else {
            // The library's own text repeats the line, which holds the secret.
            let after = pairs.last().map(|(name, _)| format!(" after {name}"));
            let what = format!(
                "has a line{} that is not NAME=value; it and what follows it is left out",
                after.unwrap_or_default()
            );
            return (pairs, Some(FileError::of(path, what)));
        };
        pairs.push(pair);
    }
    (pairs, None)
}

/// Reads `path`: a folder with a file for each variable, or a file of NAME=value lines. In a folder, names that
/// no variable can have are passed over, and one line end at the end of a file is not a part of the value.
///
/// # Errors
/// Nothing is there, or the folder cannot be listed.
pub(super) fn read(path: &Path) -> Result<FileVariables, FileError> {
    let fails = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound => FileError::of(path, "is not there"),
        _ => FileError::of(path, format!("cannot be read: {e}")),
    };
    if fs::metadata(path).map_err(fails)?.is_file() {
        return Ok(lines(path));
    }
    let (mut pairs, mut error) = (Vec::new(), None);
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
            Err(e) => error = Some(FileError::of(&entry.path(), format!("cannot be used: {e}"))),
        }
    }
    Ok((pairs, error))
}

fn value(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?
        .take(MAX_VALUE + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_VALUE {
        return Err(std::io::Error::other(format!(
            "it has more than {MAX_VALUE} bytes"
        )));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
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
        let (mut pairs, error) = read(dir.path()).unwrap();
        pairs.sort();
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            pairs,
            [("LINKED", "abc"), ("TOKEN", "abc"), ("TWO_LINES", "a\nb")]
        );
        assert_eq!(error, None);
        // What cannot be used is reported without its content, and does not affect others.
        put("BINARY", b"hunter2\xff");
        put("LARGE", "hunter2".repeat(10_000).as_bytes());
        let (pairs, error) = read(dir.path()).unwrap();
        assert_eq!(pairs.len(), 3);
        let text = error.unwrap().to_string();
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
        let (pairs, error) = read(&path).unwrap();
        assert_eq!(
            pairs,
            [
                ("A".to_owned(), "1".to_owned()),
                ("B".to_owned(), "two words".to_owned())
            ]
        );
        assert_eq!(error, None);
    }
}
