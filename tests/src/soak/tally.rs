//! What became of all calls, by the kind of client that made them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aih_tests::Reply;
use serde_json::Value;

/// Kinds of unexpected outcomes that are shown.
const SHOWN: usize = 20;

/// See the module.
#[derive(Default)]
pub(crate) struct Tally(Mutex<BTreeMap<&'static str, Kind>>);

#[derive(Default)]
struct Kind {
    /// Outcomes and how often each came.
    outcomes: BTreeMap<String, u64>,
    /// Outcomes that this kind of client does not provoke, each with one example.
    unexpected: BTreeMap<String, (u64, String)>,
    /// How long the calls took that nothing disturbs.
    times: Vec<Duration>,
}

/// Which outcomes a kind of client provokes; `ok` always is one.
pub(crate) type Expected = fn(&str) -> bool;

/// Nothing but success.
pub(crate) fn success_only(_: &str) -> bool {
    false
}

/// What became of a call: `ok`, `tool error: …`, `error CODE …` or `status …`, and its text.
pub(crate) fn outcome(reply: &Reply) -> (String, String) {
    let text = || reply.raw().chars().take(300).collect::<String>();
    let Ok(value) = serde_json::from_str::<Value>(reply.raw()) else {
        return (format!("status {}", reply.status.as_u16()), text());
    };
    if let Some(error) = value.get("error") {
        let kind = error["data"]["kind"].as_str().unwrap_or_default();
        return (format!("error {} {kind}", error["code"]), text());
    }
    if value["result"]["isError"] == true {
        let said = value["result"]["content"][0]["text"].as_str().unwrap_or_default();
        return (
            format!("tool error: {}", said.chars().take(60).collect::<String>()),
            text(),
        );
    }
    match value.get("result") {
        Some(_) => ("ok".to_owned(), String::new()),
        None => (format!("status {}", reply.status.as_u16()), text()),
    }
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Kind>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a reply to a client of this kind. Answers whether it was a success.
    pub(crate) fn count(&self, kind: &'static str, reply: &Reply, expected: Expected) -> bool {
        let (what, text) = outcome(reply);
        let good = what == "ok";
        self.note(kind, what, text, expected);
        good
    }

    /// Counts an outcome in words.
    pub(crate) fn note(&self, kind: &'static str, what: String, text: String, expected: Expected) {
        let mut all = self.lock();
        let kind = all.entry(kind).or_default();
        if what != "ok" && !expected(&what) {
            let (count, _) = kind.unexpected.entry(what.clone()).or_insert((0, text));
            *count += 1;
        }
        *kind.outcomes.entry(what).or_default() += 1;
    }

    /// A call that nothing disturbs took so long.
    pub(crate) fn took(&self, kind: &'static str, time: Duration) {
        self.lock().entry(kind).or_default().times.push(time);
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.lock().values().flat_map(|kind| kind.outcomes.values()).sum()
    }

    /// What must not have been.
    pub(crate) fn faults(&self, p99_limit: Duration) -> Vec<String> {
        let all = self.lock();
        let mut faults = Vec::new();
        for (name, kind) in &*all {
            for (what, (count, example)) in kind.unexpected.iter().take(SHOWN) {
                faults.push(format!(
                    "{name}: {count} x unexpected `{what}`, such as {example}"
                ));
            }
            if kind.outcomes.get("ok").is_none_or(|count| *count == 0) && !name.starts_with("ill") {
                faults.push(format!("{name}: no call ever succeeded"));
            }
        }
        let times: Vec<_> = all.values().flat_map(|kind| kind.times.iter().copied()).collect();
        match percentile(times, 0.99) {
            Some(p99) if p99 <= p99_limit => {}
            Some(p99) => faults.push(format!("p99 of undisturbed calls is {p99:?}, over {p99_limit:?}")),
            None => faults.push("no undisturbed call was made".to_owned()),
        }
        faults
    }
}

fn percentile(mut times: Vec<Duration>, part: f64) -> Option<Duration> {
    times.sort_unstable();
    let at = (times.len() as f64 * part) as usize;
    times.get(at.min(times.len().checked_sub(1)?)).copied()
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, kind) in &*self.lock() {
            writeln!(f, "{name}:")?;
            for (what, count) in &kind.outcomes {
                writeln!(f, "  {count:8} {what}")?;
            }
            if !kind.times.is_empty() {
                let at = |part| percentile(kind.times.clone(), part).unwrap_or_default();
                writeln!(f, "  p50 {:?}, p99 {:?}, max {:?}", at(0.5), at(0.99), at(1.0))?;
            }
        }
        Ok(())
    }
}
