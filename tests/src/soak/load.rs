//! The 64 clients as tasks, what is done to the hub meanwhile, and the end of both.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aih_tests::{Fixture, eventually};
use tokio::{sync::watch, task::JoinSet};

use super::{
    clients::{Client, Counted, ROLES},
    setup::Setup,
    tally::{Tally, success_only},
};

/// How often the configuration is read anew.
const RELOAD_EVERY: Duration = Duration::from_secs(7);
/// How long the server that is killed lives, and how long it is gone.
const LIVES: Duration = Duration::from_secs(9);
const GONE: Duration = Duration::from_secs(2);
/// A round of a client that takes longer is a fault.
const ROUND_LIMIT: Duration = Duration::from_secs(60);

/// Everything that runs against the hub.
pub(crate) struct Load {
    tasks: JoinSet<()>,
    shared: Arc<Shared>,
}

struct Shared {
    setup: Arc<Setup>,
    tally: Arc<Tally>,
    pause: watch::Receiver<bool>,
    stop: AtomicBool,
    running: AtomicUsize,
    counted: Counted,
}

/// A round that runs; ends with its drop.
struct Round(Arc<Shared>);

impl Drop for Round {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    /// Waits until the load is not paused. `None` at the end.
    async fn next_round(self: &Arc<Self>) -> Option<Round> {
        loop {
            // An error says that nobody pauses any more.
            let _ = self.pause.clone().wait_for(|paused| !paused).await.map(drop);
            if self.stop.load(Ordering::SeqCst) {
                return None;
            }
            self.running.fetch_add(1, Ordering::SeqCst);
            let round = Round(self.clone());
            if !*self.pause.borrow() {
                return Some(round);
            }
        }
    }
}

impl Load {
    /// Starts all clients and disturbances.
    pub(crate) async fn start(setup: &Arc<Setup>, tally: &Arc<Tally>, pause: watch::Receiver<bool>) -> Self {
        let shared = Arc::new(Shared {
            setup: setup.clone(),
            tally: tally.clone(),
            pause,
            stop: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            counted: Counted::default(),
        });
        let mut tasks = JoinSet::new();
        let roles = ROLES
            .iter()
            .flat_map(|(role, count)| std::iter::repeat_n(*role, *count));
        for (number, role) in roles.enumerate() {
            let shared = shared.clone();
            let mut client = Client::new(role, number, setup).await;
            tasks.spawn_local(async move {
                while let Some(running) = shared.next_round().await {
                    let round = client.round(&shared.setup, &shared.tally, &shared.counted);
                    if tokio::time::timeout(ROUND_LIMIT, round).await.is_err() {
                        let what = format!("no answer in {ROUND_LIMIT:?}");
                        shared.tally.note(role.name(), what, String::new(), success_only);
                    }
                    drop(running);
                    tokio::time::sleep(role.pause(number)).await;
                }
            });
        }
        tasks.spawn_local(reloads(shared.clone()));
        tasks.spawn_local(kills(shared.clone()));
        Self { tasks, shared }
    }

    /// Waits until no round runs; for a load that is paused.
    pub(crate) async fn until_idle(&self) {
        eventually("the load is idle", || {
            let idle = self.shared.running.load(Ordering::SeqCst) == 0;
            std::future::ready(idle.then_some(()))
        })
        .await;
    }

    /// Ends the load; answers what was lost or broke.
    pub(crate) async fn finish(mut self) -> Vec<String> {
        self.shared.stop.store(true, Ordering::SeqCst);
        let mut faults = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                faults.push(format!("a client broke: {error}"));
            }
        }
        faults.extend(self.shared.counted.check(&self.shared.setup).await);
        faults
    }
}

async fn reloads(shared: Arc<Shared>) {
    for number in 0.. {
        tokio::time::sleep(RELOAD_EVERY).await;
        let Some(_round) = shared.next_round().await else {
            return;
        };
        let status = shared.setup.reload(number).await;
        let what = if status == 200 {
            "ok".to_owned()
        } else {
            format!("status {status}")
        };
        shared.tally.note("reload", what, String::new(), success_only);
    }
}

async fn kills(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(LIVES).await;
        let Some(_round) = shared.next_round().await else {
            return;
        };
        let mut killed = shared.setup.killed.lock().await;
        if let Some(fixture) = killed.take() {
            fixture.kill().await;
        }
        tokio::time::sleep(GONE).await;
        *killed = Some(Fixture::start_at(shared.setup.killed_port).await);
        shared.tally.note(
            "server that is killed, started again",
            "ok".to_owned(),
            String::new(),
            success_only,
        );
    }
}
