//! What is part of every build: the WIT contract and the SDKs, from the repository's own files.

use std::{fs, io, path::Path};

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Writes embedded files below a folder.
pub(crate) fn unpack(files: &[(&str, &str)], folder: &Path) -> io::Result<()> {
    for (name, text) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}

/// One of the embedded files.
pub(crate) fn find(files: &'static [(&str, &str)], name: &str) -> Option<&'static str> {
    files.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}
