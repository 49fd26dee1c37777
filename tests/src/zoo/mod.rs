//! The zoo: real AI clients and real MCP servers, each checked against a real hub.
//!
//! Nothing of it reaches beyond this machine: see [`loopback`]. `docs/clients.md` has the tables of the last full run.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness fails its test by panicking, and reads JSON by index"
)]

mod checks;
mod clients;
mod compare;
mod direct;
pub(crate) mod loopback;
mod model;
mod packages;
mod servers;
mod table;

use std::{path::PathBuf, process::ExitCode};

use checks::Outcome;
use clients::CLIENTS;
use servers::SERVERS;

/// What to run.
pub(crate) struct Order {
    /// The names of clients and servers; all if there is none.
    pub(crate) names: Vec<String>,
    /// The document to write the tables into.
    pub(crate) write: Option<PathBuf>,
    /// Whether there is nothing but the loopback interface.
    pub(crate) isolated: bool,
}

/// Runs what is ordered and prints it.
pub(crate) async fn run(order: Order) -> ExitCode {
    let known = |name: &str| CLIENTS.iter().any(|c| c.name == name) || SERVERS.iter().any(|s| s.name == name);
    if let Some(unknown) = order.names.iter().find(|name| !known(name)) {
        eprintln!("zoo: there is nothing with the name {unknown}");
        return ExitCode::from(2);
    }
    let wanted = |name: &str| order.names.is_empty() || order.names.iter().any(|wanted| wanted == name);
    let mut good = true;
    let mut clients = Vec::new();
    for client in CLIENTS.iter().filter(|client| wanted(client.name)) {
        println!("zoo: {} runs", client.title);
        let row = checks::check(client, order.isolated).await;
        good &= show_client(&row);
        clients.push(row);
    }
    let mut servers = Vec::new();
    for server in SERVERS.iter().filter(|server| wanted(server.name)) {
        let row = compare::compare(server).await;
        good &= show_server(&row);
        servers.push(row);
    }
    if let Some(file) = &order.write {
        table::write(file, &clients, &servers);
    }
    match good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Prints what was found of a client; whether all of it is as it should be.
fn show_client(row: &checks::Row) -> bool {
    for (check, outcome) in &row.cells {
        println!("zoo:   {}: {outcome:?}", check.title());
    }
    let good = !row
        .cells
        .iter()
        .any(|(_, outcome)| matches!(outcome, Outcome::Bad(_)));
    if !good {
        println!("{}", row.output);
    }
    good
}

/// Prints what was found of a server; whether all of it is equal.
fn show_server(row: &compare::Row) -> bool {
    println!(
        "zoo: {} {}: {:?}, {:?} tools, prompts, resources, templates",
        row.package, row.version, row.eras, row.counts
    );
    for (what, tally) in [
        ("greetings", row.greetings),
        ("lists", row.lists),
        ("calls", row.calls),
    ] {
        println!("zoo:   {what} equal: {tally}");
    }
    for difference in &row.differences {
        println!("zoo:   {difference}");
    }
    row.is_good()
}
