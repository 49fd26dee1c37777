//! Real AI clients and real MCP servers against a hub: `zoo [--write FILE] [NAME…]`. See the module `zoo`.

#[path = "../zoo/mod.rs"]
mod zoo;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut order = zoo::Order {
        names: Vec::new(),
        write: None,
        isolated: true,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--write" => order.write = arguments.next().map(Into::into),
            name if !name.starts_with('-') => order.names.push(name.to_owned()),
            _ => {
                eprintln!("usage: zoo [--write FILE] [NAME…]");
                return ExitCode::from(2);
            }
        }
    }
    // Before there is a second thread.
    if let Err(error) = zoo::loopback::enter() {
        println!("zoo: the programs have the whole network and their own switches only: {error:#}");
        order.isolated = false;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(zoo::run(order)),
        Err(error) => {
            eprintln!("zoo: {error}");
            ExitCode::FAILURE
        }
    }
}
