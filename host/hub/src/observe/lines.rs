//! How a log line is written: one event is one line, whatever the texts in it hold.
//!
//! Fields of the text format are escaped one by one, because a terminal's line has colours that must stay. A
//! JSON line is escaped as a whole: JSON itself leaves DEL, C1 and bidirectional controls as they are. Every line
//! passes the filter of secrets last.

use std::borrow::Cow;
use std::fmt::{self, Debug, Write as _};
use std::io;

use aih_redact as redact;
use bytes::Bytes;
use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{FormatFields, Writer};

use super::{LogFormat, escape::escape};

/// Fields of the text format: the message as it is, `key=value` for all others; text in quotes.
pub(super) struct TextFields;

impl<'w> FormatFields<'w> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = TextVisitor {
            writer,
            first: true,
            outcome: Ok(()),
        };
        fields.record(&mut visitor);
        visitor.outcome
    }
}

struct TextVisitor<'w> {
    writer: Writer<'w>,
    first: bool,
    outcome: fmt::Result,
}

impl TextVisitor<'_> {
    fn write(&mut self, field: &Field, text: &str) -> fmt::Result {
        if !std::mem::take(&mut self.first) {
            self.writer.write_char(' ')?;
        }
        if field.name() != "message" {
            // Italics for the name, faint for what joins it to the value.
            match self.writer.has_ansi_escapes() {
                true => write!(
                    self.writer,
                    "\u{1b}[3m{}\u{1b}[0m\u{1b}[2m=\u{1b}[0m",
                    field.name()
                )?,
                false => write!(self.writer, "{}=", field.name())?,
            }
        }
        self.writer.write_str(&escape(text))
    }

    fn note(&mut self, field: &Field, text: &str) {
        self.outcome = self.outcome.and_then(|()| self.write(field, text));
    }
}

impl Visit for TextVisitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.note(field, value);
        } else {
            self.note(field, &format!("{value:?}"));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.note(field, &text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.note(field, &format!("{value:?}"));
    }
}

/// Makes writers for whole lines.
pub(super) struct LineWriters<W> {
    pub(super) writer: W,
    pub(super) format: LogFormat,
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for LineWriters<W> {
    type Writer = LineWriter<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        LineWriter {
            writer: self.writer.make_writer(),
            format: self.format,
        }
    }
}

/// A writer that gets a whole line with each call, as the format layer writes it.
pub(super) struct LineWriter<W> {
    writer: W,
    format: LogFormat,
}

impl<W: io::Write> io::Write for LineWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let clean = match self.format {
            LogFormat::Text => match redact::text(&String::from_utf8_lossy(bare)) {
                Cow::Borrowed(_) => Cow::Borrowed(bare),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
            LogFormat::Json => {
                let json = redact::own_json(Bytes::copy_from_slice(bare));
                let text = String::from_utf8_lossy(&json);
                Cow::Owned(escape(&text).into_owned().into_bytes())
            }
        };
        let mut whole = clean.into_owned();
        whole.push(b'\n');
        // One call, so that lines of several threads do not mix.
        self.writer.write_all(&whole)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
