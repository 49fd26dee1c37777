//! What the command line says to people. Standard output is for answers, standard error for everything else.
//!
//! No text of a plugin, a server or a file can control the terminal: characters that are not printable become JSON
//! escapes, and secrets of the hub are left out.

use std::io::{self, ErrorKind, Write as _};

use aih_redact as redact;

use crate::observe::escape::{escape, escape_lines};

/// A text on standard output, which may have several lines. A closed pipe is not an error: the reader has seen
/// enough.
pub fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{}", escape_lines(&redact::text(text)));
}

/// One entry of a list on standard output, on one line whatever it holds.
pub fn entry(text: &str) {
    let _ = writeln!(io::stdout(), "{}", escape(&redact::text(text)));
}

/// One message on standard error, on one line whatever it holds.
pub fn message(text: &str) {
    let _ = writeln!(io::stderr(), "{}", escape(&redact::text(text)));
}

/// An error on standard error. Where it has several lines, those after the first are indented, so that none
/// looks like a message of its own.
pub fn error(text: &str) {
    let text = redact::text(text.trim_end());
    let text = escape_lines(&text);
    let _ = writeln!(io::stderr(), "{}", text.replace('\n', "\n  "));
}

/// A text of the hub's own on standard error, as it is: the only one that may hold a secret.
pub fn notice(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// What writing to standard output came to. A closed pipe, as `| head -1` leaves it, is not an error: the reader
/// has seen enough.
///
/// # Errors
/// Writing failed for any other reason.
pub fn unless_closed(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}
