//! A hub under a mixed load of well and ill behaviour: `soak --minutes 30`. See the module `soak`.

#[path = "../soak/mod.rs"]
mod soak;

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let minutes = match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, ..) => Some(30.0),
        (Some("--minutes"), Some(number), None) => number.parse().ok().filter(|minutes| *minutes >= 1.5),
        _ => None,
    };
    let Some(minutes) = minutes else {
        eprintln!("usage: soak [--minutes NUMBER], at least 1.5; the default is 30");
        return ExitCode::from(2);
    };
    // The clients of the tests are not `Send`: all run on this thread, which leaves the other core to the hub.
    tokio::task::LocalSet::new().run_until(soak::run(minutes)).await
}
