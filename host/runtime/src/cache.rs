//! Compiled components on disk, so that a component is compiled once for each engine.
//!
//! Loading one is running native code, so a file counts only with the mark of this hub over the component, the engine
//! and the code, with a key that lies beside the folder and that no component can reach. A file that was put there by
//! hand, damaged, or exchanged with another one is compiled again.

use std::{
    fs,
    hash::{Hash as _, Hasher as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use aih_seal::Seal;
use wasmtime::{Engine, component::Component};

use crate::error::LoadError;

/// See the module.
pub struct CompileCache {
    cache_folder: Option<CacheFolder>,
}

struct CacheFolder {
    folder: PathBuf,
    seal: Seal,
    /// What this engine's code is compatible with.
    engine: String,
}

impl CompileCache {
    /// Opens the folder, or none.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn open(folder: Option<&Path>, engine: &Engine) -> Result<Self, LoadError> {
        let Some(folder) = folder else {
            return Ok(Self { cache_folder: None });
        };
        let fault = |what: String| move |source| LoadError::Io { what, source };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(fault(format!("the folder {} cannot be made", folder.display())))?;
        let key_file = folder.with_extension("key");
        let seal = Seal::open(&key_file).map_err(fault(format!("{} cannot be made", key_file.display())))?;
        // Stable for one build of this program; another build compiles anew.
        let mut hasher = std::hash::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            cache_folder: Some(CacheFolder {
                folder: folder.to_owned(),
                seal,
                engine: format!("{:016x}", hasher.finish()),
            }),
        })
    }

    /// The compiled component, if it is in the folder.
    ///
    /// # Errors
    /// The bytes are not a component.
    pub(crate) fn find(&self, engine: &Engine, wasm: &[u8]) -> Result<Option<Component>, LoadError> {
        check_kind(wasm)?;
        let Some(cache_folder) = &self.cache_folder else {
            return Ok(None);
        };
        let component = blake3::hash(wasm);
        let file = cache_folder.file(&component);
        Ok(cache_folder
            .load(engine, &file, &component)
            .unwrap_or_else(|why| {
                tracing::warn!(
                    target: "aih::plugin",
                    file = %file.display(),
                    "a component in the code cache cannot be used and is compiled again: {why}"
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
        if let Some(cache_folder) = &self.cache_folder {
            let component = blake3::hash(wasm);
            let file = cache_folder.file(&component);
            // A full disk costs the next start some seconds, nothing else.
            if let Err(error) = cache_folder.seal.keep(&file, &cache_folder.of(&component), code) {
                tracing::warn!(
                    target: "aih::plugin",
                    file = %file.display(),
                    "a compiled component cannot be stored: {error}"
                );
            }
        }
        // SAFETY: the caller's promise.
        unsafe { Component::deserialize(engine, code) }.map_err(|error| LoadError::Compile(error.into()))
    }
}

impl CacheFolder {
    /// The file of a component's code.
    fn file(&self, component: &blake3::Hash) -> PathBuf {
        self.folder
            .join(format!("{}-{}.cwasm", component.to_hex(), self.engine))
    }

    /// What its code belongs to.
    fn of<'a>(&'a self, component: &'a blake3::Hash) -> [&'a [u8]; 3] {
        [b"compiled code", component.as_bytes(), self.engine.as_bytes()]
    }

    fn load(
        &self,
        engine: &Engine,
        file: &Path,
        component: &blake3::Hash,
    ) -> Result<Option<Component>, String> {
        if !self.seal.check(file, &self.of(component))? {
            return Ok(None);
        }
        // SAFETY: the file was written by `keep` with bytes that `precompile` made of this component: its mark, whose
        // key only this hub's user can read, says so; nobody else can write into the folder (0700). wasmtime
        // itself refuses code of another engine.
        #[expect(unsafe_code, reason = "deserialize trusts its bytes; see the safety comment")]
        unsafe { Component::deserialize_file(engine, file) }
            .map(Some)
            .map_err(|error| format!("{error:#}"))
    }
}

/// Says what a file is that is not a component.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precompile;

    /// Two components that differ.
    fn components() -> [Vec<u8>; 2] {
        let plain = b"\0asm\x0d\0\x01\0".to_vec();
        let mut named = plain.clone();
        // A custom section: its kind, its length, and a name.
        named.extend(b"\0\x02\x01x");
        [plain, named]
    }

    #[test]
    fn code_is_found_for_its_component_alone() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = CompileCache::open(Some(&folder.path().join("code")), &engine).unwrap();
        let components = components();
        for component in &components {
            assert!(cache.find(&engine, component).unwrap().is_none());
            let code = engine.precompile_component(component).unwrap();
            // SAFETY: it was made a line ago.
            #[expect(unsafe_code, reason = "see the safety comment")]
            unsafe { cache.keep(&engine, component, &code) }.unwrap();
            assert!(cache.find(&engine, component).unwrap().is_some());
        }
        // The files of the two, exchanged in pairs.
        let cache_folder = cache.cache_folder.as_ref().unwrap();
        let [one, other] = components
            .each_ref()
            .map(|wasm| cache_folder.file(&blake3::hash(wasm)));
        for kind in ["cwasm", "mark"] {
            let aside = folder.path().join("aside");
            fs::rename(one.with_extension(kind), &aside).unwrap();
            fs::rename(other.with_extension(kind), one.with_extension(kind)).unwrap();
            fs::rename(&aside, other.with_extension(kind)).unwrap();
        }
        for component in &components {
            assert!(cache.find(&engine, component).unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn a_damaged_key_costs_a_compilation() {
        let folder = tempfile::tempdir().unwrap();
        let code = folder.path().join("code");
        let [component, _] = components();
        let options = crate::RuntimeOptions {
            cache: Some(code.clone()),
            instances: 2,
            ..crate::RuntimeOptions::default()
        };
        for key in [None, Some(&b"short"[..]), Some(b"")] {
            if let Some(key) = key {
                fs::write(code.with_extension("key"), key).unwrap();
            }
            let runtime = crate::Runtime::new(&options).unwrap();
            let found = |wasm: &[u8]| runtime.inner.cache.find(&runtime.inner.engine, wasm).unwrap();
            assert!(found(&component).is_none());
            runtime.inner.component(component.clone()).await.unwrap();
            assert!(found(&component).is_some());
        }
        assert!(precompile(&component).is_ok());
    }
}
