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

use tokio::sync::Semaphore;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, component::Linker,
};

use crate::{
    cache::CompileCache,
    error::LoadError,
    sandbox::{Sandbox, add_to_linker},
};

/// How often running guests are looked at: how late a deadline can be noticed.
const TICK: Duration = Duration::from_millis(10);

/// How the runtime is set up.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// Where compiled components are kept. `None` compiles each time.
    pub cache: Option<PathBuf>,
    /// Calls at once of all components together.
    pub instances: u32,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            cache: None,
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
    /// One permit for each call that may run.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) tls: rustls::ClientConfig,
    allocation: Allocation,
    clock: Clock,
}

impl Runtime {
    /// Sets the engine up. Reserves address space, not memory.
    ///
    /// # Errors
    /// The machine can run no WebAssembly, or the cache folder cannot be made.
    pub fn new(options: &RuntimeOptions) -> Result<Self, LoadError> {
        let fault = |error: wasmtime::Error| LoadError::Compile(format!("{error:#}"));
        let pooled = engine(Some(options.instances));
        let (engine, allocation) = match pooled {
            Ok(engine) => (engine, Allocation::Pooled),
            Err(error) => {
                tracing::warn!(
                    target: "aih::plugin",
                    "the address space of this machine does not allow a pool of sandboxes, calls of plugins will be slower: {error:#}"
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
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                linker,
                cache,
                slots: Arc::new(Semaphore::new(options.instances as usize)),
                tls,
                allocation,
                clock,
            }),
        })
    }

    /// Where instances get their memory from.
    pub fn allocation(&self) -> Allocation {
        self.inner.allocation
    }
}

impl Inner {
    /// The clock ticks for as long as the guard lives.
    pub(crate) fn running(&self) -> Running {
        self.clock.running()
    }
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

/// Advances the epoch while guests run, and sleeps while none does.
struct Clock {
    running: Arc<AtomicUsize>,
    thread: Thread,
}

impl Clock {
    fn start(engine: &Engine) -> std::io::Result<Self> {
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

    fn running(&self) -> Running {
        if self.running.fetch_add(1, Ordering::AcqRel) == 0 {
            self.thread.unpark();
        }
        Running(self.running.clone())
    }
}

/// A guest runs.
pub(crate) struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
