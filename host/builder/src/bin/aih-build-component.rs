//! The child program by itself, for the tests of this crate. In the product the `aih` binary is its own child.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args_os().nth(1) {
        Some(first) if aih_builder::is_child(&first) => aih_builder::child_main(stand_in),
        _ => ExitCode::FAILURE,
    }
}

/// A compiler that does what a bad component could make a real one do.
fn stand_in(component: &[u8]) -> Result<Vec<u8>, String> {
    match component {
        b"loop" => loop {
            std::hint::spin_loop();
        },
        b"memory" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1_u8; 16 << 20]);
            }
        }
        b"abort" => std::process::abort(),
        b"bad" => Err("it is bad".to_owned()),
        path if path.starts_with(b"/") => {
            // Who is not confined can read it.
            let read = std::fs::read(String::from_utf8_lossy(path).as_ref());
            read.map_err(|error| error.to_string())
        }
        _ => Ok(component.to_ascii_uppercase()),
    }
}
