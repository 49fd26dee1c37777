//! Events that no call brings: servers that come up and go down, refused requests, the clock, a new
//! configuration.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{Hooks, Scene, Trigger, event, hook::Hook};
use crate::{
    catalogue::{
        Catalogue,
        provider::{ProviderKind, ProviderState},
    },
    config::{Problems, Schedule},
};

/// Refused requests that are told within one second; the others are counted in the next one.
const REFUSALS: u32 = 10;
/// Longest sleep of a schedule: a clock that was set is noticed after that.
const NAP: Duration = Duration::from_secs(30);

/// Tells what comes up and goes down.
pub(super) async fn upstreams(hooks: Arc<Hooks>, catalogue: Arc<Catalogue>) {
    let mut marks = catalogue.marks();
    let mut known: HashMap<String, ProviderState> = HashMap::new();
    loop {
        for provider in catalogue.providers().iter() {
            let status = provider.status();
            if status.kind == ProviderKind::Hub {
                continue;
            }
            let before = known.insert(status.name.clone(), status.state);
            let Some(trigger) = change(before, status.state) else {
                continue;
            };
            let payload = event::Upstream {
                server: &status.name,
                kind: status.kind,
                error: status
                    .last_error
                    .as_deref()
                    .filter(|_| trigger == Trigger::UpstreamDown),
            };
            let scene = Scene {
                server: Some(&status.name),
                ..Scene::default()
            };
            hooks.tell(trigger, scene, &payload);
        }
        tokio::select! {
            changed = marks.changed() => if changed.is_err() { return },
            () = hooks.stopping.cancelled() => return,
        }
    }
}

/// What a change of state is to hooks.
fn change(before: Option<ProviderState>, now: ProviderState) -> Option<Trigger> {
    use ProviderState::{Down, Up};
    match (before, now) {
        (Some(before), now) if before == now => None,
        (_, Up) => Some(Trigger::UpstreamUp),
        (_, Down) => Some(Trigger::UpstreamDown),
        _ => None,
    }
}

/// Runs one hook whenever its schedule says. What would have been while the hub was not running is not made up for.
pub(super) async fn keep_schedule(hooks: Arc<Hooks>, hook: Arc<Hook>, schedule: Schedule) {
    let mut from = Timestamp::now();
    loop {
        let Some(next) = schedule.next(from) else {
            tracing::warn!(target: "aih::hook", hook = &*hook.name, "the schedule `{schedule}` has no time any more");
            return;
        };
        while let Some(left) = left(next, Timestamp::now()) {
            tokio::select! {
                () = tokio::time::sleep(left.min(NAP)) => {}
                () = hooks.stopping.cancelled() => return,
            }
        }
        let payload = event::Scheduled {
            scheduled_for: next.to_string(),
        };
        match event::write(Trigger::Schedule, hooks.facts(Scene::default()), &payload) {
            Ok(json) => {
                if let Err(why) = hooks.post(&hook, Trigger::Schedule, &json) {
                    hooks.lose(&hook, Trigger::Schedule, &why);
                }
            }
            Err(error) => hooks.lose(&hook, Trigger::Schedule, &error.to_string()),
        }
        // A hub that was stopped for a while (a laptop that slept) runs it once and goes on from now.
        from = next.max(Timestamp::now());
    }
}

/// How long it is until then; `None` when that is over.
fn left(then: Timestamp, now: Timestamp) -> Option<Duration> {
    let millis = then.as_millisecond().saturating_sub(now.as_millisecond());
    u64::try_from(millis)
        .ok()
        .filter(|millis| *millis > 0)
        .map(Duration::from_millis)
}

/// Keeps whoever guesses keys from filling the queue.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    told: u32,
    left_out: u64,
}

impl Throttle {
    /// How many were left out before this one; `None` where this one is left out as well.
    fn admit(&self, now: Instant) -> Option<u64> {
        // The window is whole at every point where code under the lock could panic.
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window
            .began
            .is_none_or(|began| now.duration_since(began) >= Duration::from_secs(1))
        {
            window.began = Some(now);
            window.told = 0;
        }
        if window.told >= REFUSALS {
            window.left_out += 1;
            return None;
        }
        window.told += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

impl Hooks {
    /// A request was refused: why (never what was presented), from which address, for which path.
    pub fn refused(&self, reason: &str, address: Option<IpAddr>, path: &str) {
        if !self.any(Trigger::AuthFailure) {
            return;
        }
        let Some(suppressed) = self.refusals.admit(Instant::now()) else {
            return;
        };
        let payload = event::AuthFailure {
            reason,
            address: address.map(|address| address.to_string()),
            path,
            suppressed,
        };
        self.tell(Trigger::AuthFailure, Scene::default(), &payload);
    }

    /// A new configuration is in force.
    pub fn config_reloaded(&self, path: &std::path::Path) {
        let payload = event::ConfigReloaded {
            path: path.display().to_string(),
        };
        self.tell(Trigger::ConfigReloaded, Scene::default(), &payload);
    }

    /// A new configuration cannot be used; the old one stays.
    pub fn config_rejected(&self, path: &std::path::Path, problems: &Problems) {
        let payload = event::ConfigRejected {
            path: path.display().to_string(),
            problems: problems.0.iter().map(ToString::to_string).collect(),
        };
        self.tell(Trigger::ConfigRejected, Scene::default(), &payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_state() {
        use ProviderState::{Disabled, Down, Starting, Up};
        assert_eq!(change(None, Starting), None);
        assert_eq!(change(Some(Starting), Up), Some(Trigger::UpstreamUp));
        assert_eq!(change(None, Up), Some(Trigger::UpstreamUp));
        assert_eq!(change(Some(Up), Up), None);
        assert_eq!(change(Some(Up), Down), Some(Trigger::UpstreamDown));
        assert_eq!(change(Some(Down), Down), None);
        assert_eq!(change(Some(Starting), Down), Some(Trigger::UpstreamDown));
        assert_eq!(change(None, Disabled), None);
    }

    #[test]
    fn who_guesses_keys_is_told_of_a_few_times_a_second() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let told = (0..1_000).filter(|_| throttle.admit(now).is_some()).count();
        assert_eq!(told, 10);
        assert_eq!(throttle.admit(now + Duration::from_secs(1)), Some(990));
        assert_eq!(throttle.admit(now + Duration::from_secs(1)), Some(0));
    }

    #[test]
    fn time_that_is_left() {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        assert_eq!(left(at(1_500), at(1_000)), Some(Duration::from_millis(500)));
        assert_eq!(left(at(1_000), at(1_000)), None);
        assert_eq!(left(at(0), at(1_000)), None);
    }
}
