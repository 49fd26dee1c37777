//! Durations and byte sizes as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration as the file writes it: `500ms`, `30s`, `2m`, `1h`, `90d`, or a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// A number of bytes as the file writes it: `4096`, `512KiB`, `64MB`, `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A text that is neither a duration nor a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write {0}")]
pub struct UnitError(pub(crate) &'static str);

const DURATION_HELP: &str = "a duration such as 500ms, 30s, 2m, 1h or 90d, or a number of seconds";
const SIZE_HELP: &str = "a size such as 512KiB, 64MiB or 1GiB, or a number of bytes";

/// Splits `12ms` into 12 and `ms`.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

impl FromStr for HumanDuration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = UnitError(DURATION_HELP);
        let (number, unit) = split(text).ok_or(error)?;
        let factor = match unit {
            "ms" => return Ok(Self(Duration::from_millis(number))),
            "s" | "" => 1,
            "m" | "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(error),
        };
        number
            .checked_mul(factor)
            .map(|s| Self(Duration::from_secs(s)))
            .ok_or(error)
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        match (seconds, millis) {
            (_, 1..) => write!(f, "{}ms", self.0.as_millis()),
            (s, 0) if s > 0 && s % 86_400 == 0 => write!(f, "{}d", s / 86_400),
            (s, 0) if s > 0 && s % 3_600 == 0 => write!(f, "{}h", s / 3_600),
            (s, 0) if s > 0 && s % 60 == 0 => write!(f, "{}m", s / 60),
            (s, 0) => write!(f, "{s}s"),
        }
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = UnitError(SIZE_HELP);
        let (number, unit) = split(text).ok_or(error)?;
        let factor = match unit {
            "" | "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(error),
        };
        number.checked_mul(factor).map(Self).ok_or(error)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n > 0 && n % (1 << 30) == 0 => write!(f, "{}GiB", n >> 30),
            n if n > 0 && n % (1 << 20) == 0 => write!(f, "{}MiB", n >> 20),
            n if n > 0 && n % (1 << 10) == 0 => write!(f, "{}KiB", n >> 10),
            n => write!(f, "{n}B"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let ms = |t: &str| t.parse::<HumanDuration>().map(|d| d.0.as_millis());
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("30"), Ok(30_000));
        assert_eq!(ms("2m"), Ok(120_000));
        assert_eq!(ms("90d").unwrap(), 90 * 86_400_000);
        for bad in [
            "",
            "s",
            "-1s",
            "1.5s",
            "1y",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for text in ["500ms", "30s", "2m", "1h", "90d", "0s"] {
            assert_eq!(text.parse::<HumanDuration>().unwrap().to_string(), text);
        }
        for text in ["10B", "512KiB", "64MiB", "3GiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        assert_eq!("64MB".parse::<ByteSize>().unwrap().0, 64_000_000);
        assert!("1TB".parse::<ByteSize>().is_err());
    }
}
