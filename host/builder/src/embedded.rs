//! What is part of every build: the WIT contract and the SDKs, from the repository's own files.

use std::{fs, io, path::Path, sync::OnceLock};

use sha2::{Digest as _, Sha256};

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Raised when the builder makes something else of the same inputs.
const REVISION: u32 = 3;
/// The crates that make the components, as in the lock file.
const ENGINES: &str = "componentize-qjs 0.4.2, componentize-py 0.25.1, oxc 0.146";

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

/// A hash of all that goes into every build.
pub(crate) fn hash() -> [u8; 32] {
    static HASH: OnceLock<[u8; 32]> = OnceLock::new();
    *HASH.get_or_init(|| {
        let mut hash = Sha256::new();
        hash.update(REVISION.to_le_bytes());
        for text in [env!("CARGO_PKG_VERSION"), ENGINES] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash.update(crate::javascript::WORLDS);
        for files in [WIT, JAVASCRIPT_SDK, PYTHON_SDK, crate::javascript::SHIMS] {
            for (name, text) in files {
                hash.update((name.len() as u64).to_le_bytes());
                hash.update(name);
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
        }
        hash.finalize().into()
    })
}
