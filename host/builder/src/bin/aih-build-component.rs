//! The child program by itself, for the tests of this crate. In the product the `aih` binary is its own child.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args_os().nth(1) {
        Some(first) if aih_builder::is_child(&first) => aih_builder::child_main(),
        _ => ExitCode::FAILURE,
    }
}
