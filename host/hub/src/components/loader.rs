//! Makes a component that can be called from a file: builds it if it is a source, compiles it and links it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Once},
};

use aih_builder::{BuildCache, BuildOptions, Builder, Protections};
use aih_runtime::{BoxError, Compiler, LoadError, Loaded, Reserved, Runtime, RuntimeOptions, Spec, World};
use async_trait::async_trait;

use crate::config;

/// Bytes of a component's file.
const COMPONENT_LIMIT: u64 = 256 << 20;

/// What plugins and hooks are made with.
#[derive(Clone)]
pub struct ComponentLoader {
    /// Runs components.
    pub runtime: Runtime,
    /// Makes components from sources.
    pub builder: Arc<Builder>,
}

/// A component, and the files that it was made from.
pub struct Prepared {
    /// Ready to be called.
    pub component: Loaded,
    /// What to watch for changes.
    pub inputs: Vec<PathBuf>,
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The file cannot be read.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// The source cannot be built.
    #[error(transparent)]
    Build(#[from] aih_builder::BuildError),
    /// The component cannot be used.
    #[error("{}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Why.
        source: LoadError,
    },
    /// A build read what another sandbox could have put there.
    #[error("{}: the build reads {}, and {writer} may write it; move the source, or grant another folder", file.display(), input.display())]
    Writable {
        /// The source.
        file: PathBuf,
        /// What was read.
        input: PathBuf,
        /// Who may write it.
        writer: String,
    },
    /// What it is granted cannot be given.
    #[error(transparent)]
    Grant(#[from] aih_runtime::GrantError),
}

/// Compiles in a child of this program.
struct ChildCompiler(Arc<Builder>);

// SAFETY: the child is this very program (`BuildOptions::program`), whose `main` gives it `aih_runtime::precompile`;
// it reads the bytes from and writes the code to a folder of its own (0700), and the builder gives that code on.
#[expect(unsafe_code, reason = "code that is run; see the safety comment")]
#[async_trait]
unsafe impl Compiler for ChildCompiler {
    async fn compile(&self, component: &[u8]) -> Result<Vec<u8>, BoxError> {
        Ok(self.0.compile(component).await?)
    }
}

impl ComponentLoader {
    /// Sets it up; `cache` is a folder for what it makes. Reserves address space, not memory, but may take some
    /// milliseconds.
    ///
    /// # Errors
    /// The machine can run no WebAssembly, or the folders cannot be made.
    pub fn new(cache: &Path, instances: Option<u32>) -> anyhow::Result<Self> {
        let components = BuildCache::new(cache.join("components"))?;
        let options = BuildOptions {
            scratch: scratch(cache)?,
            ..BuildOptions::default()
        };
        let builder = Arc::new(Builder::new(components, options));
        let defaults = RuntimeOptions::default();
        let runtime = Runtime::new(&RuntimeOptions {
            cache: Some(cache.join("code")),
            compiler: Some(Arc::new(ChildCompiler(builder.clone()))),
            instances: instances.unwrap_or(defaults.instances),
        })?;
        Ok(Self { runtime, builder })
    }

    /// The component of a file.
    ///
    /// # Errors
    /// See [`PrepareError`].
    pub async fn prepare(
        &self,
        file: &Path,
        language: config::Runtime,
        world: World,
        spec: Spec,
    ) -> Result<Prepared, PrepareError> {
        let (wasm, inputs) = self.component_and_inputs(file, language, world).await?;
        not_written(file, &inputs, &spec.reserved).await?;
        let component = self.runtime.load(wasm, world, spec).await;
        Ok(Prepared {
            component: component.map_err(|source| PrepareError::Load {
                path: file.to_owned(),
                source,
            })?,
            inputs,
        })
    }

    /// The bytes of a component: the file itself, or what its source is built to.
    ///
    /// # Errors
    /// The file cannot be read, or its source cannot be built.
    pub async fn component(
        &self,
        file: &Path,
        language: config::Runtime,
        world: World,
    ) -> Result<Vec<u8>, PrepareError> {
        Ok(self.component_and_inputs(file, language, world).await?.0)
    }

    async fn component_and_inputs(
        &self,
        file: &Path,
        language: config::Runtime,
        world: World,
    ) -> Result<(Vec<u8>, Vec<PathBuf>), PrepareError> {
        match language {
            config::Runtime::Wasm => Ok((read(file).await?, vec![file.to_owned()])),
            config::Runtime::Node | config::Runtime::Python => self.build(file, world).await,
        }
    }

    async fn build(&self, file: &Path, world: World) -> Result<(Vec<u8>, Vec<PathBuf>), PrepareError> {
        let world = match world {
            World::Plugin => aih_builder::World::Plugin,
            World::Hook => aih_builder::World::Hook,
        };
        let source = aih_builder::Source::new(file, world)?;
        let shown = file.display();
        let built = self
            .builder
            .build(&source, |progress| {
                tracing::info!(target: "aih::plugin", file = %shown, "{progress}");
            })
            .await?;
        if let Some(protections) = built.protections {
            warn_of_missing(protections);
        }
        let root = &source.root;
        let inputs = built.inputs.iter().map(|input| root.join(input)).collect();
        Ok((read(&built.component).await?, inputs))
    }
}

/// Says once in a process what this machine does not offer to confine builds: every build lacks the same.
fn warn_of_missing(protections: Protections) {
    static SAID: Once = Once::new();
    let missing = protections.missing();
    if !missing.is_empty() {
        SAID.call_once(|| {
            for what in missing {
                tracing::warn!(target: "aih::plugin", "builds of plugins and hooks are less confined on this machine: {what}");
            }
        });
    }
}

/// Refuses code that a component could have written: it would run with grants that are not its writer's.
async fn not_written(file: &Path, inputs: &[PathBuf], reserved: &Arc<Reserved>) -> Result<(), PrepareError> {
    let (reserved, inputs) = (reserved.clone(), inputs.to_vec());
    let look = move || {
        let written = reserved.written();
        let mut found = inputs.into_iter().filter_map(|input| {
            let writer = written.by(&input)?.to_owned();
            Some((input, writer))
        });
        found.next()
    };
    match tokio::task::spawn_blocking(look).await {
        Ok(None) => Ok(()),
        Ok(Some((input, writer))) => Err(PrepareError::Writable {
            file: file.to_owned(),
            input,
            writer,
        }),
        Err(error) => Err(PrepareError::File {
            path: file.to_owned(),
            why: format!("a file that the build read cannot be checked: {error}"),
        }),
    }
}

/// Where children work: the system's folder for temporary files, or one beside the cache where that cannot be written,
/// as in a container whose file system is read-only.
fn scratch(cache: &Path) -> io::Result<PathBuf> {
    let usual = std::env::temp_dir();
    if tempfile::tempdir_in(&usual).is_ok() {
        return Ok(usual);
    }
    let own = cache.join("build");
    std::fs::create_dir_all(&own)?;
    Ok(own)
}

async fn read(file: &Path) -> Result<Vec<u8>, PrepareError> {
    let fault = |why: String| PrepareError::File {
        path: file.to_owned(),
        why,
    };
    let size = match tokio::fs::metadata(file).await {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(fault(
                "there is no such file; build the component, or mend `file:`".to_owned(),
            ));
        }
        Err(error) => return Err(fault(error.to_string())),
    };
    if size > COMPONENT_LIMIT {
        return Err(fault(format!(
            "the file has {size} bytes; at most {COMPONENT_LIMIT} are allowed"
        )));
    }
    tokio::fs::read(file)
        .await
        .map_err(|error| fault(error.to_string()))
}
