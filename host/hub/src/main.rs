//! The `aih` command.

use std::process::ExitCode;

use aih::upstream::transport::guard::{GUARD_ARGUMENT, guard_main};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    // Before anything else is set up: a guard stays as small as it can be, and a build has to be confined
    // before there is a second thread.
    match arguments.next() {
        Some(first) if first == GUARD_ARGUMENT => return guard_main(arguments),
        Some(first) if aih_builder::is_child(&first) => {
            return aih_builder::child_main(aih_runtime::precompile);
        }
        _ => {}
    }
    // The allocator asks for huge pages: an idle hub holds 14 MB of them and uses a third. Without this switch of the
    // kernel it only takes more memory.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_thp_disable(true);
    aih::cli::main()
}
