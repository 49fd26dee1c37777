//! From a file to a component that can be called: built if it is a source, compiled, linked.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use aih_runtime::{LoadError, Loaded, Runtime, Spec, World};

use crate::config;

/// Bytes of a component's file.
const COMPONENT_LIMIT: u64 = 256 << 20;

/// What plugins and hooks are made with.
#[derive(Clone)]
pub struct Workshop {
    /// Runs components.
    pub runtime: Runtime,
    /// Makes components from sources.
    pub builder: Arc<aih_builder::Builder>,
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
    #[error("{}: {source}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Why.
        source: LoadError,
    },
    /// What it is granted cannot be given.
    #[error(transparent)]
    Grant(#[from] aih_runtime::GrantError),
}

impl Workshop {
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
        let root = &source.root;
        let inputs = built.inputs.iter().map(|input| root.join(input)).collect();
        Ok((read(&built.component).await?, inputs))
    }
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
        return Err(fault(format!("{size} bytes are more than {COMPONENT_LIMIT}")));
    }
    tokio::fs::read(file)
        .await
        .map_err(|error| fault(error.to_string()))
}
