//! The child program by itself, for the tests of this crate. In the product the `aih` binary is its own child.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args_os().nth(1) {
        Some(first) if aih_builder::is_child(&first) => aih_builder::child_main(stand_in),
        _ => ExitCode::FAILURE,
    }
}

/// A compiler that does what a bad component could make a real one do.
fn stand_in(component: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
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
        b"bad" => Err("it is bad".into()),
        b"write" => std::fs::write("/tmp/written-by-a-build", "x")
            .map(|()| Vec::new())
            .map_err(text),
        b"run" => std::process::Command::new("/bin/true")
            .status()
            .map(|_| Vec::new())
            .map_err(text),
        b"tcp" => std::net::TcpListener::bind("127.0.0.1:0")
            .map(|_| Vec::new())
            .map_err(text),
        b"udp" => std::net::UdpSocket::bind("127.0.0.1:0")
            .map(|_| Vec::new())
            .map_err(text),
        b"unix" => std::os::unix::net::UnixDatagram::unbound()
            .map(|_| Vec::new())
            .map_err(text),
        b"signal" => {
            let parent = nix::unistd::getppid();
            nix::sys::signal::kill(parent, nix::sys::signal::Signal::SIGCONT)
                .map(|()| Vec::new())
                .map_err(Into::into)
        }
        b"threads" => {
            let threads: Vec<_> = (0..4).map(|n| std::thread::spawn(move || n)).collect();
            let sum: u8 = threads.into_iter().filter_map(|thread| thread.join().ok()).sum();
            Ok(vec![sum])
        }
        b"disk" => {
            for n in 0.. {
                std::fs::write(format!("flood-{n}"), vec![1; 1 << 20]).map_err(text)?;
            }
            Ok(Vec::new())
        }
        b"files" => {
            for n in 0.. {
                std::fs::write(format!("flood-{n}"), "").map_err(text)?;
            }
            Ok(Vec::new())
        }
        path if path.starts_with(b"/") => {
            // Who is not confined can read it.
            let read = std::fs::read(String::from_utf8_lossy(path).as_ref());
            read.map_err(Into::into)
        }
        _ => Ok(component.to_ascii_uppercase()),
    }
}

fn text(error: std::io::Error) -> Box<dyn std::error::Error + Send + Sync> {
    error.into()
}
