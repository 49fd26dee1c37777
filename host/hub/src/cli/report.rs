//! What the command line says to people. Standard output is for answers, standard error for everything else.

use std::io::{self, ErrorKind, Write as _};

/// A line on standard output. A closed pipe is no error: the reader has seen enough.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line on standard error.
pub fn error(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What writing to standard output came to. A closed pipe, as `| head -1` leaves it, is no error: the reader
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
