//! What a process holds: memory, file descriptors, threads.

use std::{fmt, time::Duration};

use aih_tests::program::memory_kb;

/// How much more a quiet hub may hold than after its first minute.
const GROWTH: f64 = 1.10;
/// Counts this small may differ by a few: a connection that is about to close, a thread of the pool.
const SLACK: u64 = 8;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resources {
    /// Resident memory in kB.
    memory: u64,
    /// Open file descriptors.
    handles: u64,
    /// Threads.
    threads: u64,
}

impl Resources {
    fn now(pid: u32) -> Self {
        let handles = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        Self {
            memory: memory_kb(pid, "VmRSS"),
            handles: handles as u64,
            threads: memory_kb(pid, "Threads"),
        }
    }

    /// The least that the process holds within `time`: what is on its way out does not count.
    pub(crate) async fn settled(pid: u32, time: Duration) -> Self {
        let until = tokio::time::Instant::now() + time;
        let mut least = Self::now(pid);
        while tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let now = Self::now(pid);
            least = Self {
                memory: least.memory.min(now.memory),
                handles: least.handles.min(now.handles),
                threads: least.threads.min(now.threads),
            };
        }
        least
    }

    /// What grew by more than is allowed.
    pub(crate) fn grown_since(&self, early: &Self) -> Vec<String> {
        let all = [
            ("memory in kB", early.memory, self.memory, 0),
            ("handles", early.handles, self.handles, SLACK),
            ("threads", early.threads, self.threads, SLACK),
        ];
        let grown = all
            .into_iter()
            .filter(|(_, early, late, slack)| *late as f64 > *early as f64 * GROWTH + *slack as f64);
        grown
            .map(|(what, early, late, _)| format!("{what} grew from {early} to {late}"))
            .collect()
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kB of memory, {} handles, {} threads",
            self.memory, self.handles, self.threads
        )
    }
}
