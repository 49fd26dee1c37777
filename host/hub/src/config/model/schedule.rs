//! `schedule` of a hook: a cron expression with its time zone.

use std::fmt;
use std::str::FromStr;

use croner::Cron;
use jiff::{Timestamp, tz::TimeZone};

/// In front of an expression: the time zone that it is meant in, as cronie writes it.
const ZONE: &str = "CRON_TZ=";

/// When a hook on `schedule` runs: `*/5 * * * *`, `@daily`, `CRON_TZ=Europe/Berlin 0 9 * * MON-FRI`.
///
/// Five fields; a sixth in front counts seconds. UTC where no time zone is given.
#[derive(Clone)]
pub struct Schedule {
    written: Box<str>,
    cron: Cron,
    zone: TimeZone,
}

/// A text that is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScheduleError(String);

impl Schedule {
    /// The first time after `after`; `None` where there is none any more.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = after.to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&after, false).ok()?;
        Some(next.timestamp())
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let text = text.trim();
        let (zone, expression) = match text.strip_prefix(ZONE) {
            None => (TimeZone::UTC, text),
            Some(rest) => {
                let (name, expression) = rest.split_once(' ').unwrap_or((rest, ""));
                let zone = TimeZone::get(name)
                    .map_err(|_| ScheduleError(format!("the time zone `{name}` is not known here")))?;
                (zone, expression.trim())
            }
        };
        let cron = Cron::from_str(expression).map_err(|error| ScheduleError(error.to_string()))?;
        Ok(Self {
            written: text.into(),
            cron,
            zone,
        })
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Schedule {}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.written, f)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn next(schedule: &str, after: &str) -> String {
        let schedule: Schedule = schedule.parse().unwrap();
        schedule.next(after.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn expressions() {
        let at = "2026-03-01T10:02:03Z";
        assert_eq!(next("*/5 * * * *", at), "2026-03-01T10:05:00Z");
        assert_eq!(next("@daily", at), "2026-03-02T00:00:00Z");
        assert_eq!(next("*/2 * * * * *", at), "2026-03-01T10:02:04Z");
        assert_eq!(next("0 0 29 2 *", at), "2028-02-29T00:00:00Z");
        for bad in [
            "",
            "* * * *",
            "61 * * * *",
            "CRON_TZ=UTC",
            "CRON_TZ=Nowhere/At-All * * * * *",
            "now",
        ] {
            assert!(bad.parse::<Schedule>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_is_never_the_one_that_was() {
        let at = "2026-03-01T10:05:00Z";
        assert_eq!(next("*/5 * * * *", at), "2026-03-01T10:10:00Z");
    }

    #[test]
    fn utc_unless_it_says_otherwise() {
        let schedule = "CRON_TZ=Europe/Berlin 0 9 * * *";
        if schedule.parse::<Schedule>().is_err() {
            // No time zone database on this machine.
            return;
        }
        assert_eq!(next(schedule, "2026-01-10T00:00:00Z"), "2026-01-10T08:00:00Z");
        assert_eq!(next(schedule, "2026-07-10T00:00:00Z"), "2026-07-10T07:00:00Z");
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "[0-9*/,@A-Z=# -]{0,30}") {
            if let Ok(schedule) = text.parse::<Schedule>() {
                let now = Timestamp::from_second(1_700_000_000).unwrap();
                prop_assert!(schedule.next(now).is_none_or(|next| next > now));
            }
        }
    }
}
