//! Measuring the hub: what it adds to a call, next to the same call made without it.
//!
//! The binary `echo-upstream` is a MCP server with nothing to do; `bench` starts it and the hub, drives
//! both from one load generator and prints one table. This crate measures programs from outside, over
//! loopback TCP, as clients meet them: it must never link the hub's code into what it measures (only the
//! criterion benches under `benches/` do).

pub mod cell;
pub mod http;
pub mod process;
pub mod report;
pub mod session;

/// How long the text of the tool `big` is, in bytes: 100 kB.
pub const BIG_BYTES: usize = 100 * 1024;
