//! Compiled components on disk, so that a component is compiled once for each engine.
//!
//! Loading one is running native code, so a file counts only with the mark of this hub: a keyed hash over its
//! content, with a key that lies beside the folder and that no component can reach. A file that was put there
//! by hand, or damaged, is thrown away and compiled anew.

use std::{
    fs,
    hash::{Hash as _, Hasher as _},
    io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use wasmtime::{Engine, component::Component};

use crate::error::LoadError;

/// See the module.
pub struct CompileCache {
    place: Option<Place>,
}

struct Place {
    folder: PathBuf,
    key: [u8; 32],
    /// What this engine's code is compatible with.
    engine: String,
}

impl CompileCache {
    /// Opens the folder, or none.
    ///
    /// # Errors
    /// The folder or its key cannot be made or read.
    pub(crate) fn open(folder: Option<&Path>, engine: &Engine) -> Result<Self, LoadError> {
        let Some(folder) = folder else {
            return Ok(Self { place: None });
        };
        let fault = |what: String| move |source| LoadError::Io { what, source };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(fault(format!("the folder {} cannot be made", folder.display())))?;
        let key_file = folder.with_extension("key");
        let key = key(&key_file).map_err(fault(format!("{} cannot be read or made", key_file.display())))?;
        // Stable for one build of this program; another build compiles anew.
        let mut hasher = std::hash::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            place: Some(Place {
                folder: folder.to_owned(),
                key,
                engine: format!("{:016x}", hasher.finish()),
            }),
        })
    }

    /// The compiled component, if it is in the folder.
    ///
    /// # Errors
    /// The bytes are no component.
    pub(crate) fn find(&self, engine: &Engine, wasm: &[u8]) -> Result<Option<Component>, LoadError> {
        check_kind(wasm)?;
        let Some(place) = &self.place else {
            return Ok(None);
        };
        let (code_file, mark_file) = place.files(wasm);
        Ok(place.load(engine, &code_file, &mark_file).unwrap_or_else(|why| {
            tracing::warn!(
                target: "aih::plugin",
                file = %code_file.display(),
                "a compiled component is not used and made anew: {why}"
            );
            None
        }))
    }

    /// The component of code that was made a moment ago from `wasm`, which is kept for the next time.
    ///
    /// # Errors
    /// The code is of another engine.
    ///
    /// # Safety
    /// `code` comes from [`crate::precompile`].
    #[expect(unsafe_code, reason = "what is loaded is run as native code")]
    pub(crate) unsafe fn keep(
        &self,
        engine: &Engine,
        wasm: &[u8],
        code: &[u8],
    ) -> Result<Component, LoadError> {
        if let Some(place) = &self.place {
            let (code_file, mark_file) = place.files(wasm);
            let mark = blake3::keyed_hash(&place.key, code).to_hex();
            // A full disk costs the next start some seconds, nothing else.
            let kept = write(&code_file, code).and_then(|()| write(&mark_file, mark.as_bytes()));
            if let Err(error) = kept {
                tracing::warn!(
                    target: "aih::plugin",
                    file = %code_file.display(),
                    "a compiled component cannot be kept: {error}"
                );
            }
        }
        // SAFETY: the caller's promise.
        unsafe { Component::deserialize(engine, code) }
            .map_err(|error| LoadError::Compile(format!("{error:#}")))
    }
}

impl Place {
    /// The files of a component's code and of its mark.
    fn files(&self, wasm: &[u8]) -> (PathBuf, PathBuf) {
        let stem = format!("{}-{}", blake3::hash(wasm).to_hex(), self.engine);
        let file = |kind: &str| self.folder.join(format!("{stem}.{kind}"));
        (file("cwasm"), file("mark"))
    }

    fn load(&self, engine: &Engine, code_file: &Path, mark_file: &Path) -> Result<Option<Component>, String> {
        let mark = match fs::read_to_string(mark_file) {
            Ok(mark) => mark,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if code_file.exists() {
                    return Err("it has no mark of this hub".to_owned());
                }
                return Ok(None);
            }
            Err(error) => return Err(error.to_string()),
        };
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update_mmap(code_file).map_err(|error| error.to_string())?;
        let expected = blake3::Hash::from_hex(mark.trim()).map_err(|error| error.to_string())?;
        // Compared in constant time by the library.
        if hasher.finalize() != expected {
            return Err("its mark is not this hub's".to_owned());
        }
        // SAFETY: the file was written by `keep` with bytes from `precompile`: its keyed hash, whose
        // key only this hub's user can read, says so; nobody else can write into the folder (0700). wasmtime
        // itself refuses code of another engine.
        #[expect(unsafe_code, reason = "deserialize trusts its bytes; see the safety comment")]
        unsafe { Component::deserialize_file(engine, code_file) }
            .map(Some)
            .map_err(|error| format!("{error:#}"))
    }
}

/// Says what a file is that is no component.
fn check_kind(wasm: &[u8]) -> Result<(), LoadError> {
    let fault = |text: &str| Err(LoadError::NotAComponent(text.to_owned()));
    match wasm.get(..8) {
        None => fault("the file is shorter than a header"),
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => {
            fault("it is a core module; build for wasm32-wasip2, or wrap it with `wasm-tools component new`")
        }
        Some([0x7f, b'E', b'L', b'F', ..]) => {
            fault("it is compiled code; give the .wasm that it was compiled from")
        }
        Some(_) => fault("it does not begin like WebAssembly"),
    }
}

/// The key of the marks, made at the first use.
fn key(file: &Path) -> io::Result<[u8; 32]> {
    for _ in 0..2 {
        match fs::read(file) {
            Ok(bytes) => {
                fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
                return bytes
                    .try_into()
                    .map_err(|_| io::Error::other("is no key; delete it, and all is compiled anew"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut key = [0; 32];
                getrandom::fill(&mut key).map_err(io::Error::other)?;
                // Read again: of two hubs that start together, the later one's key stands.
                write(file, &key)?;
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Writes a whole file or none, readable by this user alone.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    // Made with mode 0600.
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.persist(file).map_err(|error| error.error)?;
    Ok(())
}
