//! Events that no call causes: a server comes up or goes down, a request is refused, a schedule is due, the
//! configuration changes.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::{EventContext, Hooks, Trigger, event, hook::Hook};
use crate::{
    catalogue::Catalogue,
    config::{Problems, Schedule},
    provider::{ProviderKind, ProviderState},
};

/// Events for refused requests within one second. Further ones are counted in the next event.
const REFUSALS: u32 = 10;
/// Longest sleep of a schedule: a clock that was set is noticed after that.
const NAP: Duration = Duration::from_secs(30);
/// A clock that was set back by more than this has its schedules begin anew. By less they are only late, and nothing runs
/// twice.
const SET_BACK: SignedDuration = SignedDuration::from_secs(60);

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
            let context = EventContext {
                server: Some(&status.name),
                ..EventContext::default()
            };
            hooks.tell(trigger, context, &payload);
        }
        tokio::select! {
            changed = marks.changed() => if changed.is_err() { return },
            () = hooks.stopping.cancelled() => return,
        }
    }
}

/// What a change of state is to hooks.
fn change(before: Option<ProviderState>, now: ProviderState) -> Option<Trigger> {
    match (before, now) {
        (Some(before), now) if before == now => None,
        (Some(before), now) if before.serves() && now.serves() => None,
        (_, now) if now.serves() => Some(Trigger::UpstreamUp),
        (_, ProviderState::Down) => Some(Trigger::UpstreamDown),
        _ => None,
    }
}

/// Runs one hook whenever its schedule says, until `over`. What would have been while the hub was not running is not made
/// up for.
pub(super) async fn keep_schedule(
    hooks: Arc<Hooks>,
    hook: Arc<Hook>,
    schedule: Schedule,
    over: CancellationToken,
) {
    let mut alarm = Alarm::new(schedule, Timestamp::now(), Instant::now());
    loop {
        let nap = match alarm.look(Timestamp::now(), Instant::now()) {
            ClockReading::Due(time) => {
                let payload = event::Scheduled {
                    scheduled_for: time.to_string(),
                };
                let written = event::write(Trigger::Schedule, hooks.facts(EventContext::default()), &payload);
                let posted = written
                    .map_err(|error| error.to_string())
                    .and_then(|json| hooks.post(&hook, Trigger::Schedule, &json));
                if let Err(why) = posted {
                    hooks.lose(&hook, Trigger::Schedule, &why);
                }
                continue;
            }
            ClockReading::Wait(nap) => nap,
            ClockReading::Never => {
                let (hook, schedule) = (&*hook.name, alarm.schedule);
                tracing::warn!(target: "aih::hook", hook, "the schedule `{schedule}` has no further time");
                return;
            }
        };
        tokio::select! {
            () = tokio::time::sleep(nap) => {}
            () = over.cancelled() => return,
        }
    }
}

/// When a schedule is due, by a clock that people set.
struct Alarm {
    schedule: Schedule,
    /// The next time; `None` where there is none.
    next: Option<Timestamp>,
    /// The clock at the last look, and a time that nobody sets.
    seen: (Timestamp, Instant),
}

/// What a look at the clock says.
#[derive(Debug, PartialEq, Eq)]
enum ClockReading {
    /// It is this time, or past it.
    Due(Timestamp),
    /// Look again after that.
    Wait(Duration),
    Never,
}

impl Alarm {
    fn new(schedule: Schedule, now: Timestamp, steady: Instant) -> Self {
        Self {
            next: schedule.next(now),
            schedule,
            seen: (now, steady),
        }
    }

    /// To be called again after [`ClockReading::Wait`], with the clock then.
    fn look(&mut self, now: Timestamp, steady: Instant) -> ClockReading {
        let (before, then) = std::mem::replace(&mut self.seen, (now, steady));
        let passed = SignedDuration::try_from(steady.saturating_duration_since(then)).unwrap_or_default();
        if now.duration_since(before) < passed - SET_BACK {
            // What comes again after that runs again; else it would not run until the clock is there again.
            self.next = self.schedule.next(now);
        }
        let Some(next) = self.next else {
            return ClockReading::Never;
        };
        match Duration::try_from(next.duration_since(now)) {
            Ok(left) if !left.is_zero() => ClockReading::Wait(left.min(NAP)),
            _ => {
                // A hub that was stopped for a while (a laptop that slept) runs it once and goes on from now.
                self.next = self.schedule.next(next.max(now));
                ClockReading::Due(next)
            }
        }
    }
}

/// Keeps a client that guesses keys from filling the queue.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    admitted: u32,
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
            window.admitted = 0;
        }
        if window.admitted >= REFUSALS {
            window.left_out += 1;
            return None;
        }
        window.admitted += 1;
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
        self.tell(Trigger::AuthFailure, EventContext::default(), &payload);
    }

    /// A new configuration is in force.
    pub fn config_reloaded(&self, path: &std::path::Path) {
        let payload = event::ConfigReloaded {
            path: path.display().to_string(),
        };
        self.tell(Trigger::ConfigReloaded, EventContext::default(), &payload);
    }

    /// A new configuration cannot be used; the old one stays.
    pub fn config_rejected(&self, path: &std::path::Path, problems: &Problems) {
        let payload = event::ConfigRejected {
            path: path.display().to_string(),
            problems: problems.0.iter().map(ToString::to_string).collect(),
        };
        self.tell(Trigger::ConfigRejected, EventContext::default(), &payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_state() {
        use ProviderState::{Degraded, Disabled, Down, Starting, Up};
        assert_eq!(change(None, Starting), None);
        assert_eq!(change(Some(Starting), Up), Some(Trigger::UpstreamUp));
        assert_eq!(change(None, Up), Some(Trigger::UpstreamUp));
        assert_eq!(change(Some(Up), Up), None);
        assert_eq!(change(Some(Up), Down), Some(Trigger::UpstreamDown));
        assert_eq!(change(Some(Down), Down), None);
        // A list that cannot be read does not mean that the server is away.
        assert_eq!(change(Some(Up), Degraded), None);
        assert_eq!(change(Some(Degraded), Up), None);
        assert_eq!(change(Some(Starting), Degraded), Some(Trigger::UpstreamUp));
        assert_eq!(change(Some(Degraded), Down), Some(Trigger::UpstreamDown));
        assert_eq!(change(Some(Starting), Down), Some(Trigger::UpstreamDown));
        assert_eq!(change(None, Disabled), None);
    }

    #[test]
    fn guessed_keys_make_a_few_events_a_second() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let admitted = (0..1_000).filter(|_| throttle.admit(now).is_some()).count();
        assert_eq!(admitted, 10);
        assert_eq!(throttle.admit(now + Duration::from_secs(1)), Some(990));
        assert_eq!(throttle.admit(now + Duration::from_secs(1)), Some(0));
    }

    /// Follows a schedule while time passes in steps of a second; answers when it was due.
    struct Follow {
        alarm: Alarm,
        now: Timestamp,
        steady: Instant,
        due: Vec<String>,
    }

    impl Follow {
        fn new(schedule: &str, now: &str) -> Self {
            let (now, steady): (Timestamp, _) = (now.parse().unwrap(), Instant::now());
            Self {
                alarm: Alarm::new(schedule.parse().unwrap(), now, steady),
                now,
                steady,
                due: Vec::new(),
            }
        }

        fn pass(&mut self, span: Duration) {
            let end = self.steady + span;
            while self.steady < end {
                match self.alarm.look(self.now, self.steady) {
                    ClockReading::Due(time) => self.due.push(time.strftime("%H:%M").to_string()),
                    ClockReading::Wait(nap) => {
                        assert!(!nap.is_zero() && nap <= NAP);
                        let nap = nap.min(end - self.steady);
                        self.steady += nap;
                        self.now += nap;
                    }
                    ClockReading::Never => panic!(),
                }
            }
        }

        fn set(&mut self, now: &str) -> &mut Self {
            self.now = now.parse().unwrap();
            self
        }

        fn due(&mut self) -> Vec<String> {
            std::mem::take(&mut self.due)
        }
    }

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_schedule_goes_on_where_the_clock_is_set_back() {
        for back in [
            "2026-03-01T06:00:10Z",
            "2025-01-01T00:00:10Z",
            "1970-01-01T00:00:10Z",
        ] {
            let mut often = Follow::new("*/10 * * * *", "2026-03-01T09:55:00Z");
            often.pass(Duration::from_secs(1_000));
            assert_eq!(often.due(), ["10:00", "10:10"]);
            often.set(back).pass(HOUR / 2);
            assert_eq!(often.due().len(), 3, "{back}");
        }
        let mut daily = Follow::new("0 9 * * *", "2026-03-01T08:30:00Z");
        daily.pass(HOUR);
        daily.set("2026-03-01T08:59:50Z").pass(HOUR);
        assert_eq!(daily.due(), ["09:00", "09:00"], "nine o'clock came twice");
    }

    #[test]
    fn a_small_step_back_runs_nothing_twice() {
        let mut daily = Follow::new("0 9 * * *", "2026-03-01T08:59:00Z");
        daily.pass(Duration::from_secs(90));
        daily.set("2026-03-01T08:59:40Z").pass(HOUR);
        assert_eq!(daily.due(), ["09:00"]);
    }

    #[test]
    fn a_step_forward_runs_what_it_skips_once() {
        let mut often = Follow::new("*/10 * * * *", "2026-03-01T09:55:00Z");
        often.set("2026-03-01T11:55:00Z").pass(HOUR / 6);
        assert_eq!(often.due(), ["10:00", "12:00"]);
    }
}
