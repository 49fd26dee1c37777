//! The tracing layer that fills the [`LogBuffer`].
//!
//! A row is bounded while it is put together: a value of 20 MB in an event costs 8 KiB here, not 20 MB.

use std::fmt::{self, Write};

use aih_redact as redact;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::buffer::{LogBuffer, LogRow, MAX_ROW};

/// Puts every event into a buffer.
#[derive(Debug)]
pub(super) struct Capture {
    buffer: LogBuffer,
}

impl Capture {
    pub(super) fn new(buffer: LogBuffer) -> Self {
        Self { buffer }
    }
}

/// The fields of a span, kept with it.
struct SpanFields(Fields);

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Capture {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::new();
            attributes.record(&mut fields);
            span.extensions_mut().insert(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(fields)) = span.extensions_mut().get_mut()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut fields);
        // Innermost span first: what is there already wins.
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanFields(outer)) = span.extensions().get() {
                fields.add_missing(outer);
            }
        }
        let metadata = event.metadata();
        self.buffer.push(LogRow {
            seq: 0,
            time: format!("{:.6}", jiff::Timestamp::now()),
            level: (*metadata.level()).into(),
            target: metadata.target().to_owned(),
            message: fields.message,
            fields: fields.values,
            truncated: fields.truncated,
        });
    }
}

/// Fields as JSON within a budget of text.
struct Fields {
    message: String,
    values: Map<String, Value>,
    /// Bytes of text that are still free.
    left: usize,
    truncated: bool,
}

impl Fields {
    fn new() -> Self {
        Self {
            message: String::new(),
            values: Map::new(),
            left: MAX_ROW,
            truncated: false,
        }
    }

    /// What a number or a name costs at most, and the name itself.
    fn room_for(&mut self, name: &str, value: usize) -> bool {
        let cost = name.len() + value;
        let fits = cost <= self.left;
        if fits {
            self.left -= cost;
        } else {
            self.truncated = true;
        }
        fits
    }

    fn insert(&mut self, field: &Field, value: Value) {
        if self.room_for(field.name(), 24) {
            self.values.insert(field.name().to_owned(), value);
        }
    }

    /// Writes text as far as the budget goes.
    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let is_message = field.name() == "message";
        if !is_message && !self.room_for(field.name(), 0) {
            return;
        }
        let mut all = Bounded {
            text: String::new(),
            left: self.left + redact::SLACK,
        };
        // What is left out is behind what is kept.
        let _ = all.write_fmt(value);
        self.truncated |= all.text.len() > self.left;
        let mut text = redact::start(&all.text, self.left);
        text.truncate(text.floor_char_boundary(self.left));
        self.left -= text.len();
        if is_message {
            self.message = text;
        } else {
            self.values.insert(field.name().to_owned(), text.into());
        }
    }

    fn add_missing(&mut self, outer: &Self) {
        self.truncated |= outer.truncated;
        for (name, value) in &outer.values {
            if self.values.contains_key(name) {
                continue;
            }
            let cost = value.as_str().map_or(24, str::len);
            if self.room_for(name, cost) {
                self.values.insert(name.clone(), value.clone());
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no NaN and no infinity.
        match serde_json::Number::from_f64(value) {
            Some(number) => self.insert(field, number.into()),
            None => self.text(field, format_args!("{value}")),
        }
    }
}

/// Takes text up to a limit, whole characters only, and then fails so that the formatting stops.
struct Bounded {
    text: String,
    left: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() <= self.left {
            self.text.push_str(text);
            self.left -= text.len();
            return Ok(());
        }
        let end = text.floor_char_boundary(self.left);
        self.text.push_str(text.get(..end).unwrap_or_default());
        self.left = 0;
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::buffer::{LogLevel, LogQuery};
    use super::*;

    fn captured(run: impl FnOnce()) -> Vec<Arc<LogRow>> {
        let buffer = LogBuffer::new();
        let subscriber = Registry::default().with(Capture::new(buffer.clone()));
        tracing::subscriber::with_default(subscriber, run);
        buffer.recent(&LogQuery::default())
    }

    #[test]
    fn events_become_rows_with_typed_fields() {
        let rows = captured(|| {
            let error = std::io::Error::other("broken");
            tracing::warn!(
                target: "aih::upstream",
                count = 3,
                ratio = 0.5,
                nan = f64::NAN,
                ok = false,
                name = "github",
                kind = ?LogLevel::Info,
                error = &error as &dyn std::error::Error,
                "lost {}", "it"
            );
        });
        let row = &rows[0];
        assert_eq!(
            (row.seq, row.level, row.target.as_str()),
            (1, LogLevel::Warn, "aih::upstream")
        );
        assert_eq!(row.message, "lost it");
        assert_eq!(
            Value::Object(row.fields.clone()),
            json!({ "count": 3, "ratio": 0.5, "nan": "NaN", "ok": false, "name": "github", "kind": "Info", "error": "broken" })
        );
        assert!(!row.truncated);
        row.time.parse::<jiff::Timestamp>().unwrap();
        assert!(
            row.time.ends_with('Z') && row.time.len() == "2026-07-28T00:00:00.000000Z".len(),
            "{}",
            row.time
        );
    }

    #[test]
    fn fields_of_spans_join_and_the_innermost_wins() {
        let rows = captured(|| {
            let outer = tracing::info_span!(
                "request",
                key = "cursor",
                tool = "outer",
                late = tracing::field::Empty
            );
            let _outer = outer.enter();
            outer.record("late", 7);
            let inner = tracing::info_span!("call", tool = "inner", own = "span");
            let _inner = inner.enter();
            tracing::info!(own = "event", "x");
        });
        assert_eq!(
            Value::Object(rows[0].fields.clone()),
            json!({ "key": "cursor", "tool": "inner", "late": 7, "own": "event" })
        );
    }

    #[test]
    fn rows_are_bounded() {
        let huge = "é".repeat(1024 * 1024);
        let rows = captured(|| {
            let span = tracing::info_span!("s", huge = huge.as_str());
            let _entered = span.enter();
            tracing::info!(other = huge.as_str(), n = 1, "{huge}");
            tracing::info!("small");
        });
        for row in &rows {
            let text = row
                .fields
                .values()
                .map(|v| v.as_str().map_or(0, str::len))
                .sum::<usize>();
            assert!(row.message.len() + text <= MAX_ROW, "{}", row.message.len());
            assert!(row.truncated);
        }
        assert_eq!(rows[1].message, "small");
    }
}
