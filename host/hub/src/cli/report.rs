//! What the command line says to people. Standard output is for answers, standard error for everything else.

use std::io::Write as _;

/// A line on standard output. A closed pipe is no error: the reader has seen enough.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line on standard error.
pub fn error(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
