//! One wasmtime engine for all components: how instances are allocated, and the clock that stops them.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
    component::{Component, Linker},
};

use crate::{
    cache::CompileCache,
    compute::Compute,
    error::{BoxError, LoadError},
    files::Usages,
    sandbox::{Sandbox, add_to_linker},
};

/// How often running guests are looked at: how late the end of a turn or a deadline can be noticed.
const TICK: Duration = Duration::from_millis(2);
/// Instances that may wait for their call, of all components together.
const SPARES: usize = 64;

/// Compiles components in another process, where one that was made to need much memory or time harms nobody.
///
/// # Safety
/// What is answered is run as native code: it must be what [`precompile`] made of the same bytes in the same build of
/// this crate.
#[expect(unsafe_code, reason = "who implements it promises something: see Safety")]
#[async_trait]
pub unsafe trait Compiler: Send + Sync {
    /// What [`precompile`] makes of a component.
    ///
    /// # Errors
    /// Why there is no code, for the operator.
    async fn compile(&self, component: &[u8]) -> Result<Vec<u8>, BoxError>;
}

/// Compiles a component for this machine. Blocks for seconds.
///
/// # Errors
/// Why the compiler refuses it.
pub fn precompile(component: &[u8]) -> Result<Vec<u8>, BoxError> {
    // Without a pool: where instances will get their memory from changes nothing of the code.
    let engine = engine(None)?;
    Ok(engine.precompile_component(component)?)
}

/// How the runtime is set up.
#[derive(Clone)]
pub struct RuntimeOptions {
    /// Where compiled components are kept. `None` compiles each time.
    pub cache: Option<PathBuf>,
    /// Compiles components. `None` compiles them in this process.
    pub compiler: Option<Arc<dyn Compiler>>,
    /// Calls at once of all components together.
    pub instances: u32,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            cache: None,
            compiler: None,
            instances: 1_000,
        }
    }
}

/// Where instances get their memory from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// From slots that were reserved at start: the fast way.
    Pooled,
    /// From the system for each call, because this machine's address space does not allow the pool.
    OnDemand,
}

/// Runs components. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Sandbox>,
    pub(crate) cache: CompileCache,
    compiler: Option<Arc<dyn Compiler>>,
    /// One permit for each call that may run.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) tls: rustls::ClientConfig,
    allocation: Allocation,
    clock: Clock,
    pub(crate) compute: Compute,
    /// One permit for each instance that may wait for its call.
    spares: Arc<Semaphore>,
    /// What is in the folders that components can write.
    pub(crate) usages: Usages,
}

impl Runtime {
    /// Sets the engine up. Reserves address space, not memory.
    ///
    /// # Errors
    /// The machine can run no WebAssembly, or the cache folder cannot be made.
    pub fn new(options: &RuntimeOptions) -> Result<Self, LoadError> {
        let fault = |error: wasmtime::Error| LoadError::Engine(error.into());
        let pooled = engine(Some(options.instances.saturating_add(SPARES as u32)));
        let (engine, allocation) = match pooled {
            Ok(engine) => (engine, Allocation::Pooled),
            Err(error) => {
                tracing::warn!(
                    target: "aih::plugin",
                    "the address space of this machine does not allow a pool of sandboxes, so calls of plugins are slower: {error:#}"
                );
                (engine(None).map_err(fault)?, Allocation::OnDemand)
            }
        };
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker).map_err(fault)?;
        let cache = CompileCache::open(options.cache.as_deref(), &engine)?;
        let tls = crate::egress::tls().map_err(|source| LoadError::Io {
            what: "the machine's certificate authorities cannot be read".to_owned(),
            source,
        })?;
        let clock = Clock::start(&engine).map_err(|source| LoadError::Io {
            what: "the clock of the sandboxes cannot be started".to_owned(),
            source,
        })?;
        let compute = Compute::start(clock.clone()).map_err(|source| LoadError::Io {
            what: "the threads of guests that compute cannot be started".to_owned(),
            source,
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                linker,
                cache,
                compiler: options.compiler.clone(),
                slots: Arc::new(Semaphore::new(options.instances as usize)),
                tls,
                allocation,
                clock,
                compute,
                spares: Arc::new(Semaphore::new(SPARES)),
                usages: Usages::default(),
            }),
        })
    }

    /// Where instances get their memory from.
    pub fn allocation(&self) -> Allocation {
        self.inner.allocation
    }

    /// How many instances wait for their call, made when a thread was idle: see [`crate::idle`].
    pub fn spares(&self) -> usize {
        SPARES.saturating_sub(self.inner.spares.available_permits())
    }
}

impl Inner {
    /// A component, from the cache or compiled now.
    pub(crate) async fn component(self: &Arc<Self>, wasm: Vec<u8>) -> Result<Component, LoadError> {
        let wasm = Arc::new(wasm);
        let (inner, bytes) = (self.clone(), wasm.clone());
        let found = blocking(move || inner.cache.find(&inner.engine, &bytes)).await?;
        if let Some(component) = found {
            return Ok(component);
        }
        let bytes = wasm.clone();
        let code = match &self.compiler {
            Some(compiler) => compiler.compile(&wasm).await.map_err(LoadError::Compile)?,
            None => blocking(move || precompile(&bytes).map_err(LoadError::Compile)).await?,
        };
        let inner = self.clone();
        blocking(move || {
            // SAFETY: it was made a line ago, here or by a `Compiler`, whose implementation promises it.
            #[expect(unsafe_code, reason = "loading code is trusting it; see the safety comment")]
            unsafe {
                inner.cache.keep(&inner.engine, &wasm, &code)
            }
        })
        .await
    }

    /// A place for an instance that waits for its call.
    pub(crate) fn spare(&self) -> Option<OwnedSemaphorePermit> {
        self.spares.clone().try_acquire_owned().ok()
    }

    /// The clock ticks for as long as the guard lives.
    pub(crate) fn running(&self) -> Running<'_> {
        self.clock.running()
    }
}

/// Runs what takes long on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(LoadError::CutOff(error)))
}

fn engine(pool: Option<u32>) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(1 << 20)
        .async_stack_size(2 << 20)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20))
        .wasm_component_model_async(true);
    if let Some(instances) = pool {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(instances)));
    }
    Engine::new(&config)
}

/// A component made from Python has 14 core instances, 2 tables and 242 kB of core instance data; from Rust and
/// JavaScript it has less.
fn pooling(instances: u32) -> PoolingAllocationConfig {
    // Bytes of each memory that stay with it between calls. Where the kernel finds what a call wrote (Linux 6.7 and later),
    // that is put back in place and the next call meets no page fault there; elsewhere all of it is written again, so it
    // is less. Every place of the pool may hold as much after a burst.
    let keep = if PoolingAllocationConfig::is_pagemap_scan_available() {
        1 << 20
    } else {
        256 << 10
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(16))
        .total_memories(instances.saturating_mul(2))
        .total_tables(instances.saturating_mul(3))
        .total_stacks(instances.saturating_mul(2))
        .max_component_instance_size(2 << 20)
        .max_core_instance_size(1 << 20)
        .max_core_instances_per_component(64)
        .max_memories_per_component(4)
        .max_tables_per_component(8)
        .max_tables_per_module(4)
        .table_elements(20_000)
        .max_memory_size(4 << 30)
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(keep)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10)
        .max_unused_warm_slots(64);
    pool
}

/// Advances the epoch while threads run guests, and sleeps while none does. Clones share it.
#[derive(Clone)]
pub(crate) struct Clock {
    running: Arc<AtomicUsize>,
    thread: Thread,
}

impl Clock {
    /// Starts its thread, which ends with the engine.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let running = Arc::new(AtomicUsize::new(0));
        let weak = engine.weak();
        let count = Arc::downgrade(&running);
        let thread = thread::Builder::new()
            .name("aih-epochs".to_owned())
            .spawn(move || {
                while let (Some(engine), Some(count)) = (weak.upgrade(), count.upgrade()) {
                    let idle = count.load(Ordering::Acquire) == 0;
                    if !idle {
                        engine.increment_epoch();
                    }
                    drop((engine, count));
                    if idle {
                        // Woken by the first call; the bound lets the thread end with its engine.
                        thread::park_timeout(Duration::from_secs(1));
                    } else {
                        thread::sleep(TICK);
                    }
                }
            })?;
        Ok(Self {
            running,
            thread: thread.thread().clone(),
        })
    }

    /// How many threads run a guest.
    pub(crate) fn count(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// The clock ticks for as long as the guard lives.
    pub(crate) fn running(&self) -> Running<'_> {
        if self.running.fetch_add(1, Ordering::AcqRel) == 0 {
            self.thread.unpark();
        }
        Running(&self.running)
    }
}

/// A thread runs a guest.
pub(crate) struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shortest component.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    struct Elsewhere(AtomicUsize);

    // SAFETY: it is `precompile` itself.
    #[expect(unsafe_code, reason = "see the safety comment")]
    #[async_trait]
    unsafe impl Compiler for Elsewhere {
        async fn compile(&self, component: &[u8]) -> Result<Vec<u8>, BoxError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            precompile(component)
        }
    }

    #[tokio::test]
    async fn code_that_was_made_elsewhere_fits_and_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = Arc::new(Elsewhere(AtomicUsize::new(0)));
        let runtime = Runtime::new(&RuntimeOptions {
            cache: Some(folder.path().join("code")),
            compiler: Some(elsewhere.clone()),
            instances: 2,
        })
        .unwrap();
        for _ in 0..2 {
            runtime.inner.component(EMPTY.to_vec()).await.unwrap();
        }
        assert_eq!(elsewhere.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn code_fits_with_and_without_a_pool() {
        let code = precompile(EMPTY).unwrap();
        for pool in [None, Some(2)] {
            let engine = engine(pool).unwrap();
            let cache = CompileCache::open(None, &engine).unwrap();
            // SAFETY: it was made above.
            #[expect(unsafe_code, reason = "see the safety comment")]
            unsafe { cache.keep(&engine, EMPTY, &code) }.unwrap();
        }
    }

    #[test]
    fn what_is_not_a_component_is_reported() {
        let error = precompile(b"\0asm\x0d\0\x01\0rest").unwrap_err();
        assert!(!error.to_string().is_empty());
    }
}
