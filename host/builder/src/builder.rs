//! Builds a source into a component in the cache, once for each content.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::{
    BuildCache, BuildError, BuildOptions, CompileError, Digest, Progress, Protections, Source,
    cache::read_made,
    digest::{self, KnownDigests},
    job::{CODE, COMPONENT, Compile, Input, Job, Message, Task},
    scratch::Scratch,
    supervise::{self, Event, Usage},
};

/// Most code of one component, in bytes: the largest component that a source can become gives less.
const MAX_CODE: u64 = 1 << 30;
/// How often a source that changes while it is built is tried again.
const ATTEMPTS: usize = 3;

/// Builds sources, and keeps what it built. Cheap to share behind an [`Arc`].
#[derive(Debug)]
pub struct Builder {
    cache: BuildCache,
    options: BuildOptions,
    known: KnownDigests,
    /// A lock for each digest that is being built.
    busy: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
    permits: Semaphore,
    /// Apart from those of builds: a component that is there need not wait for a source that takes long.
    compiling: Semaphore,
}

/// A component, and what is known of it.
#[derive(Debug, Clone)]
pub struct Built {
    /// Of everything that went in.
    pub digest: Digest,
    /// The component's file, in the cache.
    pub component: PathBuf,
    /// The files that went in, below [`Source::root`]: what to watch for changes.
    pub inputs: Vec<PathBuf>,
    /// How the build was confined; `None` when the component was in the cache.
    pub protections: Option<Protections>,
    /// The most memory that the build used, in bytes; 0 when the component was in the cache.
    pub memory: u64,
    /// How long the build took; zero when the component was in the cache.
    pub time: Duration,
}

/// What [`Builder`] gives can be awaited in a task of its own.
#[cfg(test)]
fn _is_send(builder: &Builder, source: &Source) -> impl Send {
    builder.build(source, |_| ())
}

/// A child that has done its job.
struct Finished {
    inputs: Vec<Input>,
    protections: Protections,
    usage: Usage,
    folder: Scratch,
}

impl Builder {
    /// A builder with its cache.
    pub fn new(cache: BuildCache, options: BuildOptions) -> Self {
        let permits = || Semaphore::new(options.parallel.max(1));
        let (permits, compiling) = (permits(), permits());
        Self {
            cache,
            options,
            known: KnownDigests::default(),
            busy: Mutex::default(),
            permits,
            compiling,
        }
    }

    /// The cache of this builder.
    pub fn cache(&self) -> &BuildCache {
        &self.cache
    }

    /// The hash of all that goes into the component of a source: its file, what it imports, the SDK, the
    /// contract and the builder. As long as none of it changes, asking again costs a look at each file's
    /// time stamp; otherwise imports are followed, in a confined child.
    ///
    /// # Errors
    /// [`BuildError`], when an import is missing or the syntax is wrong.
    pub async fn digest(&self, source: &Source) -> Result<Digest, BuildError> {
        Ok(self.look(source).await?.0)
    }

    /// The component of a source, from the cache or built now. Builds of the same content wait for each
    /// other, and the second finds the first one's. Dropping the future ends the child.
    ///
    /// # Errors
    /// [`BuildError`], one readable line each.
    pub async fn build(
        &self,
        source: &Source,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Built, BuildError> {
        let (digest, inputs) = self.look(source).await?;
        let lock = self.lock(&digest);
        let _only_one = lock.lock().await;
        if let Some(component) = self.cached(&digest).await {
            progress(Progress::Done);
            return Ok(Built {
                digest,
                component,
                inputs,
                protections: None,
                memory: 0,
                time: Duration::ZERO,
            });
        }
        let (digest, finished) = self.child(source, false, &progress).await?;
        let component = self.cache.put(
            &digest,
            &finished.folder.path().join(COMPONENT),
            self.options.max_component,
        )?;
        progress(Progress::Done);
        Ok(Built {
            digest,
            component,
            inputs: paths(source, &finished.inputs),
            protections: Some(finished.protections),
            memory: finished.usage.memory,
            time: finished.usage.time,
        })
    }

    /// Compiles a component for this machine, in a confined child with a limit on its time and its memory: a
    /// component can be made to need much of both.
    ///
    /// # Errors
    /// [`CompileError`].
    pub async fn compile(&self, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        // It is never closed.
        let _permit = self.compiling.acquire().await;
        let folder = Scratch::new(&self.options)?;
        tokio::fs::write(folder.path().join(COMPONENT), component)
            .await
            .map_err(|e| BuildError::io("cannot write the component", &e))?;
        let job = Compile {
            folder: folder.canonical()?,
            max_code: MAX_CODE,
            max_memory: self.options.memory,
            parent: std::process::id(),
        };
        let finished = child(Task::Compile(job), folder, &self.options, &|_| ()).await?;
        Ok(read_made(&finished.folder.path().join(CODE), MAX_CODE)?)
    }

    /// The component in the cache; reading it takes some milliseconds.
    async fn cached(&self, digest: &Digest) -> Option<PathBuf> {
        let (cache, digest) = (self.cache.clone(), digest.clone());
        let got = tokio::task::spawn_blocking(move || cache.get(&digest)).await;
        got.ok().flatten()
    }

    async fn look(&self, source: &Source) -> Result<(Digest, Vec<PathBuf>), BuildError> {
        if let Some(known) = self.known.get(source) {
            return Ok(known);
        }
        let (digest, finished) = self.child(source, true, &|_| ()).await?;
        Ok((digest, paths(source, &finished.inputs)))
    }

    /// Runs a child, again when the source changed meanwhile.
    async fn child(
        &self,
        source: &Source,
        scan: bool,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<(Digest, Finished), BuildError> {
        // It is never closed.
        let _permit = self.permits.acquire().await;
        for _ in 0..ATTEMPTS {
            let finished = run(source, scan, &self.options, progress).await?;
            if let Some(digest) = digest::digest(source, &finished.inputs)? {
                self.known.keep(source, &digest, &finished.inputs);
                return Ok((digest, finished));
            }
        }
        Err(BuildError::Other(format!(
            "{} or a file that it imports keeps changing; build it again when the files no longer change",
            source.file.display()
        )))
    }

    fn lock(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = busy.get(digest).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        busy.insert(digest.clone(), Arc::downgrade(&lock));
        lock
    }
}

/// The component of a source as bytes, without a cache.
///
/// # Errors
/// [`BuildError`], one readable line each.
pub async fn build(
    source: &Source,
    options: &BuildOptions,
    progress: impl Fn(Progress) + Send + Sync,
) -> Result<(Vec<u8>, Protections), BuildError> {
    let finished = run(source, false, options, &progress).await?;
    let component = read_made(&finished.folder.path().join(COMPONENT), options.max_component)?;
    progress(Progress::Done);
    Ok((component, finished.protections))
}

fn paths(source: &Source, inputs: &[Input]) -> Vec<PathBuf> {
    inputs.iter().map(|input| source.root.join(&input.path)).collect()
}

async fn run(
    source: &Source,
    scan: bool,
    options: &BuildOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Finished, BuildError> {
    let folder = Scratch::new(options)?;
    let job = Job {
        file: source.file.clone(),
        root: source.root.clone(),
        language: source.language,
        world: source.world,
        folder: folder.canonical()?,
        scan,
        max_component: options.max_component,
        max_memory: options.memory,
        parent: std::process::id(),
    };
    child(Task::Build(job), folder, options, progress).await
}

async fn child(
    task: Task,
    folder: Scratch,
    options: &BuildOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Finished, BuildError> {
    let (_running, mut events) = supervise::start(task, folder, options.clone())?;
    // The first message comes before anything of the source has run. Later ones are not to be trusted.
    let mut inputs = None;
    let mut protections = None;
    while let Some(event) = events.recv().await {
        match event {
            Event::Message(Message::Confined(message)) => protections = protections.or(Some(message)),
            Event::Message(Message::Inputs(message)) => inputs = inputs.or(Some(message)),
            Event::Message(Message::Progress(message)) => progress(message),
            Event::Message(Message::Done | Message::Failed(_)) => {}
            Event::Ended(ended) => {
                let (usage, folder) = ended?;
                return Ok(Finished {
                    inputs: inputs.unwrap_or_default(),
                    protections: protections.unwrap_or_default(),
                    usage,
                    folder,
                });
            }
        }
    }
    Err(BuildError::Other("the thread of the build has ended".to_owned()))
}
