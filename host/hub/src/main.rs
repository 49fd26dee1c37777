//! The `aih` command.

use std::process::ExitCode;

use aih::upstream::guard::{GUARD_ARGUMENT, guard_main};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    // Before anything else is set up: a guard stays as small as it can be.
    if arguments.next().is_some_and(|first| first == GUARD_ARGUMENT) {
        return guard_main(arguments);
    }
    aih::cli::main()
}
