//! Finds the calls that end a server's process, and refuses them for a while.
//!
//! A process does not say why it ended. The suspects are the calls that it worked on, and those that ended shortly
//! before. The record of a suspect decides: how often it was there when the process ended, and how often it was
//! answered. A suspect is charged only if it is far more likely than all others. After three charges within five
//! minutes its calls are parked, which means that they are refused for a while. A tool is parked for the key whose
//! calls end the process, and for everyone if the calls of several keys do. So one key cannot take a tool away from
//! the others.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::connection::lock;
use crate::access::KeyId;

/// How long ends and answers count.
const WINDOW: Duration = Duration::from_secs(300);
/// Charges of one key alone within [`WINDOW`] after which a tool is parked.
const CHARGES: usize = 3;
/// Charges within [`WINDOW`] after which it is parked although other keys are charged with the same ends.
const SHARED_CHARGES: usize = 6;
/// For how long, the first time; each further time doubles it.
const FIRST_PARKING: Duration = Duration::from_secs(30);
/// The longest.
const LONGEST_PARKING: Duration = Duration::from_secs(600);
/// After this time without another charge a tool starts with a clean record.
const FORGIVEN: Duration = Duration::from_secs(1_200);
/// How much more likely than each other tool a suspect must be.
const LIKELIER: f64 = 4.0;
/// How much more likely than another key's use of the same tool.
const LIKELIER_KEY: f64 = 2.0;
/// Records that are kept; what has ended no process goes first.
const MAX_RECORDS: usize = 4_096;

/// A tool (or another thing that a request names) and the key that uses it.
pub(crate) type Use = (Arc<str>, KeyId);

/// A use that may have ended the process.
#[derive(Clone, Debug)]
pub(crate) struct Suspect {
    /// What was used, by whom.
    pub(crate) used: Use,
    /// Whether the process was at work on it; else it was answered, or given up, shortly before.
    pub(crate) at_work: bool,
}

/// What is thought of an end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// Whether a call may have caused it.
    pub(crate) by_call: bool,
    /// Who is charged with it.
    pub(crate) charged: Vec<Use>,
}

/// Something is parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parked {
    /// What.
    pub(crate) item: Arc<str>,
    /// For how long still.
    pub(crate) left: Duration,
    /// For everyone, or for one key.
    pub(crate) everyone: bool,
}

#[derive(Debug, Default)]
struct Parking {
    until: Option<Instant>,
    times: u32,
}

impl Parking {
    fn left(&self, now: Instant) -> Option<Duration> {
        self.until?.checked_duration_since(now).filter(|d| !d.is_zero())
    }

    /// Whether it was parked so lately that one more charge is enough.
    fn on_probation(&self, now: Instant) -> bool {
        self.until
            .is_some_and(|until| now.saturating_duration_since(until) < FORGIVEN)
    }

    fn park(&mut self, now: Instant) {
        if !self.on_probation(now) {
            self.times = 0;
        }
        let factor = 2_u32.saturating_pow(self.times.min(16));
        self.until = Some(now + FIRST_PARKING.saturating_mul(factor).min(LONGEST_PARKING));
        self.times += 1;
    }
}

#[derive(Clone, Copy, Debug)]
struct Charge {
    at: Instant,
    /// No other use is charged with the same end.
    alone: bool,
}

/// What is known of one use.
#[derive(Debug)]
struct Record {
    /// Answers in this window and in the one before.
    answers: [u32; 2],
    turned: Instant,
    ends: Vec<Instant>,
    charges: Vec<Charge>,
    parking: Parking,
}

impl Record {
    fn new(now: Instant) -> Self {
        Self {
            answers: [0; 2],
            turned: now,
            ends: Vec::new(),
            charges: Vec::new(),
            parking: Parking::default(),
        }
    }

    fn answered(&mut self, now: Instant) {
        if now.saturating_duration_since(self.turned) >= WINDOW {
            self.answers = [0, self.answers[0]];
            self.turned = now;
        }
        self.answers[0] = self.answers[0].saturating_add(1);
    }

    fn forget_old(&mut self, now: Instant) {
        let recent = |at: Instant| now.saturating_duration_since(at) < WINDOW;
        self.ends.retain(|at| recent(*at));
        self.charges.retain(|charge| recent(charge.at));
    }

    fn charged_alone(&self) -> usize {
        self.charges.iter().filter(|charge| charge.alone).count()
    }

    fn answers(&self) -> usize {
        usize::try_from(self.answers[0].saturating_add(self.answers[1])).unwrap_or(usize::MAX)
    }

    /// How likely it is that this use ends the process (rule of succession).
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn likelihood(&self) -> f64 {
        let (ends, answers) = (self.ends.len() as f64, self.answers() as f64);
        (ends + 1.0) / (ends + answers + 2.0)
    }

    fn matters(&self, now: Instant) -> bool {
        !self.ends.is_empty() || !self.charges.is_empty() || self.parking.on_probation(now)
    }
}

#[derive(Debug, Default)]
struct State {
    records: HashMap<Use, Record>,
    /// What is parked for everyone.
    items: HashMap<Arc<str>, Parking>,
}

impl State {
    fn record(&mut self, used: &Use, now: Instant) -> Option<&mut Record> {
        if !self.records.contains_key(used) && self.records.len() >= MAX_RECORDS {
            self.records.retain(|_, record| {
                record.forget_old(now);
                record.matters(now)
            });
            self.items.retain(|_, parking| parking.on_probation(now));
            if self.records.len() >= MAX_RECORDS {
                return None;
            }
        }
        let record = self.records.entry(used.clone());
        Some(record.or_insert_with(|| Record::new(now)))
    }
}

/// The record of one server's calls, over all its processes.
#[derive(Debug, Default)]
pub(crate) struct Crashes {
    state: Mutex<State>,
    any_parked: AtomicBool,
}

impl Crashes {
    /// A use was answered.
    pub(crate) fn answered(&self, used: &Use, now: Instant) {
        if let Some(record) = lock(&self.state).record(used, now) {
            record.answered(now);
        }
    }

    /// A process ended while, or shortly after, it worked on `suspects`.
    pub(crate) fn ended(&self, suspects: &[Suspect], now: Instant) -> Verdict {
        let mut at_work: HashMap<Use, bool> = HashMap::new();
        for suspect in suspects {
            *at_work.entry(suspect.used.clone()).or_default() |= suspect.at_work;
        }
        let mut state = lock(&self.state);
        let mut likely: Vec<(Use, f64)> = Vec::new();
        for (used, at_work) in at_work {
            let Some(record) = state.record(&used, now) else {
                continue;
            };
            record.forget_old(now);
            // What was answered before is only suspected when an end followed each of its answers, more than once:
            // somebody may have killed the process.
            let late = record.answers() > 1 && record.ends.len() + 1 >= record.answers();
            if at_work || late {
                likely.push((used, record.likelihood()));
            }
            record.ends.push(now);
        }
        let most = likely.iter().map(|(_, l)| *l).fold(0.0, f64::max);
        let by_call = !likely.is_empty();
        likely.retain(|(_, l)| l * LIKELIER > most);
        let items: HashSet<&Arc<str>> = likely.iter().map(|((item, _), _)| item).collect();
        // Several tools could have done it: none is charged. Several keys with one tool are.
        if items.len() != 1 {
            return Verdict {
                by_call,
                charged: Vec::new(),
            };
        }
        likely.retain(|(_, l)| l * LIKELIER_KEY > most);
        let charged: Vec<Use> = likely.into_iter().map(|(used, _)| used).collect();
        let charge = Charge {
            at: now,
            alone: charged.len() == 1,
        };
        for used in &charged {
            self.charge(&mut state, used, charge);
        }
        Verdict { by_call, charged }
    }

    fn charge(&self, state: &mut State, used: &Use, charge: Charge) {
        let now = charge.at;
        if let Some(record) = state.records.get_mut(used) {
            record.charges.push(charge);
            let enough = record.charged_alone() >= CHARGES || record.charges.len() >= SHARED_CHARGES;
            if enough || record.parking.on_probation(now) {
                record.parking.park(now);
                self.any_parked.store(true, Ordering::Release);
            }
        }
        let item = &used.0;
        let charges = state
            .records
            .iter()
            .filter(|((other, _), _)| other == item)
            .map(|(_, record)| record.charged_alone())
            .filter(|alone| *alone > 0);
        let (keys, charges) = charges.fold((0, 0), |(keys, all), own| (keys + 1, all + own));
        let known = state.items.get(item).is_some_and(|p| p.on_probation(now));
        if keys > 1 && (charges >= CHARGES || known) {
            state.items.entry(item.clone()).or_default().park(now);
            self.any_parked.store(true, Ordering::Release);
        }
    }

    /// Whether a use is refused now.
    pub(crate) fn refusal(&self, used: &Use, now: Instant) -> Option<Parked> {
        if !self.any_parked.load(Ordering::Acquire) {
            return None;
        }
        let state = lock(&self.state);
        let parked = |left, everyone| Parked {
            item: used.0.clone(),
            left,
            everyone,
        };
        let whole = state.items.get(&used.0).and_then(|p| p.left(now));
        let own = state.records.get(used).and_then(|r| r.parking.left(now));
        whole
            .map(|left| parked(left, true))
            .or_else(|| own.map(|left| parked(left, false)))
    }

    /// All that is parked now, sorted; what is parked for several keys stands there once, with the longest time.
    pub(crate) fn parked(&self, now: Instant) -> Vec<Parked> {
        if !self.any_parked.load(Ordering::Acquire) {
            return Vec::new();
        }
        let state = lock(&self.state);
        let mut all: HashMap<Arc<str>, (Duration, bool)> = HashMap::new();
        for ((item, _), record) in &state.records {
            if let Some(left) = record.parking.left(now) {
                let known = all.entry(item.clone()).or_default();
                known.0 = known.0.max(left);
            }
        }
        for (item, parking) in &state.items {
            if let Some(left) = parking.left(now) {
                all.insert(item.clone(), (left, true));
            }
        }
        if all.is_empty() {
            self.any_parked.store(false, Ordering::Release);
        }
        let mut all: Vec<_> = all
            .into_iter()
            .map(|(item, (left, everyone))| Parked { item, left, everyone })
            .collect();
        all.sort_by(|a, b| a.item.cmp(&b.item));
        all
    }
}

#[cfg(test)]
#[path = "crashes_tests.rs"]
mod tests;
