//! How many processes start at one time.
//!
//! A start takes all of a processor for seconds. Fifty at once make each of them fifty times slower, and the hub deaf
//! meanwhile. So a process waits for its turn, and keeps the turn while it works towards its first answer. One that is
//! still, because it waits for the network or will never answer, gives the turn back.

use std::{
    sync::{Arc, LazyLock},
    thread::available_parallelism,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Processes that start at one time, for each processor.
const PER_PROCESSOR: usize = 2;

/// The turns of all servers of this program, in the order in which they were asked for.
static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let processors = available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new(processors * PER_PROCESSOR))
});

/// The right to start a process now; dropped, it is the next one's.
pub(super) struct Turn(#[expect(dead_code, reason = "held, never read")] Option<OwnedSemaphorePermit>);

/// Waits for a turn.
pub(super) async fn turn() -> Turn {
    // Nobody closes the semaphore.
    Turn(TURNS.clone().acquire_owned().await.ok())
}
