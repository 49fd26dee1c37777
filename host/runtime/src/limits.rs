//! How much one component may use.

use std::time::Duration;

use async_trait::async_trait;
use wasmtime::ResourceLimiterAsync;

use crate::compute;

/// What one call may use, and how many calls may run at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one call in bytes, all memories of the component together.
    pub memory: u64,
    /// Wall-clock time of one call: what it computes, host calls, and its waits for a place and for turns. With
    /// [`Context::patience`](crate::Context::patience) without the waits for its turn.
    pub time: Duration,
    /// Bytes of one call's answer.
    pub output: u64,
    /// Calls at once. Further ones wait, within their time.
    pub concurrency: u32,
    /// Instances kept warm between calls. 0, the default, gives every call a sandbox that no call used before;
    /// with more, what one call leaves in memory the next one can read.
    pub warm: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            time: Duration::from_secs(30),
            output: 8 << 20,
            concurrency: 64,
            warm: 0,
        }
    }
}

/// Elements of all tables of a component together.
const TABLE_ELEMENTS: usize = 100_000;

/// Counts the memory and tables of one store.
#[derive(Debug)]
pub(crate) struct Meter {
    memory: u64,
    used: u64,
    elements: usize,
    /// Set when a growth was refused: a trap that follows is the guest's way of saying "out of memory".
    pub(crate) refused: bool,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory: limits.memory,
            used: 0,
            elements: 0,
            refused: false,
        }
    }

    /// Whether it has more memory than a guest may have on a thread of the async runtime.
    pub(crate) fn is_large(&self) -> bool {
        self.used > compute::INLINE_MEMORY
    }
}

#[async_trait]
impl ResourceLimiterAsync for Meter {
    async fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = self.used.saturating_add(desired.saturating_sub(current) as u64);
        let fits = grown <= self.memory && maximum.is_none_or(|maximum| desired <= maximum);
        if fits {
            self.used = grown;
            if self.is_large() {
                compute::leave().await;
            }
        } else {
            self.refused = true;
        }
        Ok(fits)
    }

    async fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = self.elements.saturating_add(desired.saturating_sub(current));
        let fits = grown <= TABLE_ELEMENTS && maximum.is_none_or(|maximum| desired <= maximum);
        if fits {
            self.elements = grown;
        } else {
            self.refused = true;
        }
        Ok(fits)
    }

    fn instances(&self) -> usize {
        128
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        16
    }
}
