//! Logging: log lines for people or machines on standard error, and the most recent rows in memory for `GET
//! /api/v1/logs`.
//!
//! Nothing is written to standard output: it belongs to the protocol under `aih stdio`. Values of secrets do not get
//! here, because the types that hold them do not print, and texts from outside are filtered where they come in. Each
//! line and each row passes the same filter here once more. One event is one line: no text can end the line or control
//! a terminal.
//!
//! [`capture`] takes the fields of an event, [`lines`] writes it, [`buffer`] keeps the most recent events, and
//! [`escape`] makes control characters harmless.

mod buffer;
mod capture;
pub(crate) mod escape;
mod lines;

use std::io::{self, IsTerminal as _};
use std::str::FromStr;

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

pub use buffer::{CAPACITY, LogBuffer, LogLevel, LogQuery, LogRow, MAX_ROW};

/// The filter without any wish of the operator: the hub at `info`, the libraries at `warn`.
pub const DEFAULT_FILTER: &str = "warn,aih=info";

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people: short local time, level, message, `key=value`; in colour on a terminal.
    #[default]
    Text,
    /// For machines: one JSON object a line, time in RFC 3339 UTC.
    Json,
}

/// Logging that could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObserveError {
    /// The filter is none.
    #[error("log filter `{filter}`: {reason}; write a level such as `debug`, or `aih=debug,hyper=info`")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something has set up logging before in this process.
    #[error("logging is set up already")]
    Twice,
}

/// Sets up logging for the whole process and hands out the buffer of recent rows.
///
/// `filter` is a level (`debug`, which then holds for the hub and leaves libraries at `warn`) or a list of
/// directives in the syntax of [`EnvFilter`]; empty means [`DEFAULT_FILTER`]. The same filter decides what
/// the buffer sees.
///
/// # Errors
/// [`ObserveError`]; nothing has changed then.
pub fn init(format: LogFormat, filter: &str) -> Result<LogBuffer, ObserveError> {
    let buffer = LogBuffer::new();
    let colours = io::stderr().is_terminal();
    subscriber(format, filter, colours, io::stderr, &buffer)?
        .try_init()
        .map_err(|_| ObserveError::Twice)?;
    Ok(buffer)
}

/// The subscriber that [`init`] installs, writing to `writer` instead of standard error.
///
/// # Errors
/// [`ObserveError::Filter`].
pub fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    colours: bool,
    writer: W,
    buffer: &LogBuffer,
) -> Result<impl Subscriber + Send + Sync + use<W>, ObserveError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = lines(format, colours, writer);
    Ok(Registry::default()
        .with(parse_filter(filter)?)
        .with(capture::Capture::new(buffer.clone()))
        .with(lines))
}

fn lines<S, W>(format: LogFormat, colours: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(lines::LineWriters { writer, format });
    match format {
        LogFormat::Text => layer
            .with_ansi(colours)
            .with_target(false)
            .with_timer(Clock::Short)
            .compact()
            .fmt_fields(lines::TextFields)
            .boxed(),
        LogFormat::Json => layer
            .with_ansi(false)
            .with_timer(Clock::Full)
            .json()
            .flatten_event(false)
            .with_current_span(false)
            .with_span_list(true)
            .boxed(),
    }
}

fn parse_filter(filter: &str) -> Result<EnvFilter, ObserveError> {
    let filter = filter.trim();
    let directives = match filter {
        "" => DEFAULT_FILTER.to_owned(),
        level if tracing::level_filters::LevelFilter::from_str(level).is_ok() => {
            // A bare `debug` would drown the hub's own lines in those of hyper and h2.
            if level.eq_ignore_ascii_case("off") {
                "off".to_owned()
            } else {
                format!("warn,aih={level}")
            }
        }
        directives => directives.to_owned(),
    };
    EnvFilter::builder()
        .parse(&directives)
        .map_err(|error| ObserveError::Filter {
            filter: filter.to_owned(),
            reason: error.to_string(),
        })
}

enum Clock {
    Short,
    Full,
}

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        match self {
            Self::Short => write!(writer, "{}", jiff::Zoned::now().strftime("%H:%M:%S")),
            Self::Full => write!(writer, "{:.6}", jiff::Timestamp::now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use secrecy::SecretString;
    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, colours: bool, run: impl FnOnce()) -> (String, LogBuffer) {
        let sink = Sink::default();
        let writer = sink.clone();
        let buffer = LogBuffer::new();
        let subscriber = subscriber(format, filter, colours, move || writer.clone(), &buffer).unwrap();
        tracing::subscriber::with_default(subscriber, run);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        (text, buffer)
    }

    #[test]
    fn text_is_short_and_readable() {
        let (text, _) = logged(LogFormat::Text, "", false, || {
            tracing::info!(upstream = "github", tools = 12, "connected");
            tracing::debug!("not shown");
            tracing::info!(target: "hyper", "not shown");
            tracing::warn!(target: "hyper", "shown");
        });
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        let (time, rest) = lines[0].split_once(' ').unwrap();
        assert_eq!(time.len(), "12:34:56".len(), "{text}");
        assert_eq!(rest.trim_start(), "INFO connected upstream=\"github\" tools=12");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn colours_are_for_terminals_and_text_from_outside_cannot_make_any() {
        let (text, _) = logged(LogFormat::Text, "", true, || tracing::info!("hello"));
        assert!(text.contains('\u{1b}'));
        let (text, _) = logged(LogFormat::Text, "", false, || {
            tracing::info!("evil \u{1b}[2J {}", "\u{1b}[31m")
        });
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn one_event_is_one_line_whatever_its_texts_hold() {
        const EVIL: &str = "x\n12:00:00 ERROR forged\r\u{85}\u{2028}\u{2029}\u{b}\u{c}\u{8}\u{7f}\u{1b}[31m\u{9b}2J\u{202e}\u{2066}\0\t";
        #[derive(Debug, thiserror::Error)]
        #[error("outer {EVIL}")]
        struct Outer(#[source] std::io::Error);

        let run = || {
            let span = tracing::info_span!("call", key = EVIL, tool = %EVIL, late = tracing::field::Empty);
            let _entered = span.enter();
            span.record("late", EVIL);
            let error = Outer(std::io::Error::other(EVIL));
            let error = &error as &dyn std::error::Error;
            tracing::info!(quoted = EVIL, shown = %EVIL, debug = ?[EVIL], error, "message {EVIL}");
            tracing::info!("{EVIL}");
        };
        let is_plain = |line: &str| !line.contains(escape::is_unprintable);
        for (format, colours) in [
            (LogFormat::Text, false),
            (LogFormat::Text, true),
            (LogFormat::Json, false),
        ] {
            let (text, _) = logged(format, "", colours, run);
            let lines: Vec<_> = text.strip_suffix('\n').unwrap().split('\n').collect();
            assert_eq!(lines.len(), 2, "{text}");
            for line in lines {
                // The colours of the hub's own.
                let mut bare = line.to_owned();
                for own in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[2m", "\u{1b}[3m", "\u{1b}[32m"] {
                    bare = bare.replace(own, "");
                }
                assert_eq!(bare != line, colours, "{line:?}");
                assert!(is_plain(&bare), "{bare:?}");
                assert!(bare.contains("ERROR forged"), "{bare}");
                if format == LogFormat::Json {
                    let row: Value = serde_json::from_str(line).unwrap();
                    assert!(
                        row["fields"]["message"].as_str().unwrap().ends_with(EVIL),
                        "{row}"
                    );
                }
            }
        }
    }

    #[test]
    fn json_lines_are_json() {
        let (text, _) = logged(LogFormat::Json, "debug", false, || {
            let span = tracing::info_span!("call", key = "cursor");
            let _entered = span.enter();
            tracing::debug!(ms = 3.5, "done\nnow");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let row: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(row["level"], "DEBUG");
        assert_eq!(row["fields"]["message"], "done\nnow");
        assert_eq!(row["spans"][0]["key"], "cursor");
        row["timestamp"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap();
    }

    #[test]
    fn secrets_do_not_print() {
        let secret = SecretString::from("hunter2");
        let (text, buffer) = logged(LogFormat::Text, "", false, || {
            tracing::info!(?secret, "token {secret:?}")
        });
        assert!(!text.contains("hunter2"));
        let rows = serde_json::to_string(&*buffer.recent(&LogQuery::default())[0]).unwrap();
        assert!(!rows.contains("hunter2") && rows.contains("token"));
    }

    #[test]
    fn a_wrong_filter_says_how_to_write_one() {
        let Err(error) = subscriber(LogFormat::Text, "aih=loud", false, io::sink, &LogBuffer::new()) else {
            panic!("`loud` is no level");
        };
        assert!(
            error.to_string().contains("aih=loud") && error.to_string().contains("aih=debug"),
            "{error}"
        );
        for good in [
            "",
            "trace",
            "OFF",
            "aih=debug,hyper=info",
            "info,aih::upstream=trace",
        ] {
            assert!(parse_filter(good).is_ok(), "{good}");
        }
    }
}
