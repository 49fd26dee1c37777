//! The soak: one hub, 64 clients, and everything that goes wrong in a year within minutes.
//!
//! Clients call, compute, crash, keep state, answer questions, and come and go; the configuration is read anew, servers
//! are killed and started again, lists change. After the first minute the load pauses, and the hub's memory, handles and
//! threads are read; they are read again at the end. The run fails if
//!
//! - an error of a kind came that the load does not provoke,
//! - the 99th percentile of the calls that nothing disturbs is over 50 ms,
//! - an acknowledged change of state is lost, or
//! - memory, handles or threads grew by more than 10 % after the first minute.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness fails its test by panicking, and reads JSON by index"
)]

mod clients;
mod load;
mod resources;
mod setup;
mod tally;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use load::Load;
use resources::Resources;
use setup::Setup;
use tally::Tally;

/// Longest time that a call which nothing disturbs may take, for 99 of 100.
const P99_LIMIT: Duration = Duration::from_millis(50);
/// When memory, handles and threads are read for the first time.
const FIRST: Duration = Duration::from_secs(60);
/// How long the hub gets to become quiet after the load pauses.
const QUIET: Duration = Duration::from_secs(15);

/// Runs the soak and prints its report.
pub(crate) async fn run(minutes: f64) -> ExitCode {
    let setup = Arc::new(Setup::start().await);
    println!("soak: the hub is up with all its servers, plugins and hooks; {minutes} minutes begin");
    let tally = Arc::new(Tally::default());
    let (paused, pause) = watch::channel(false);
    let load = Load::start(&setup, &tally, pause).await;
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    tokio::time::sleep(FIRST).await;
    let early = quiet(&setup, &load, &paused).await;
    println!("soak: after the first minute: {early}");
    while Instant::now() < end {
        let left = end.saturating_duration_since(Instant::now());
        tokio::time::sleep(left.min(Duration::from_secs(60))).await;
        println!(
            "soak: {} calls, {} s left",
            tally.calls(),
            end.saturating_duration_since(Instant::now()).as_secs()
        );
    }
    let late = quiet(&setup, &load, &paused).await;
    println!("soak: at the end: {late}");
    let mut faults = load.finish().await;
    faults.extend(late.grown_since(&early));
    faults.extend(tally.faults(P99_LIMIT));
    print!("{tally}");
    if faults.is_empty() {
        println!("soak: passed");
        return ExitCode::SUCCESS;
    }
    for fault in &faults {
        println!("soak: FAILED: {fault}");
    }
    setup.print_log_tail();
    ExitCode::FAILURE
}

/// Pauses the load, waits until nothing runs, and reads what the hub holds; then the load goes on.
async fn quiet(setup: &Setup, load: &Load, paused: &watch::Sender<bool>) -> Resources {
    paused.send_replace(true);
    load.until_idle().await;
    let resources = Resources::settled(setup.hub.pid(), QUIET).await;
    paused.send_replace(false);
    resources
}
