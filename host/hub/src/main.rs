//! The `aih` command.
fn main() {}
