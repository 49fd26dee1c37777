//! Plugins and hooks as WebAssembly components, each call in a sandbox of its own.
//!
//! The way of a call: [`Runtime`] compiles a component once ([`Runtime::load`]) into a [`Loaded`] one, whose
//! [`Loaded::call_tool`] and [`Loaded::on_event`] make a fresh store, run the guest under its [`Limits`] and
//! [`Grants`], and answer what it returned or a [`CallError`]. What the guest may ask of the hub comes through
//! the traits of [`host`], which the hub implements.
//!
//! This crate knows nothing of HTTP servers, MCP sessions or configuration files.

mod bindings;
mod cache;
mod component;
mod compute;
pub mod egress;
mod engine;
mod error;
mod files;
mod filesystem;
mod grants;
pub mod host;
pub mod idle;
mod inspect;
mod limits;
mod output;
mod sandbox;
mod stdio;
mod stopwatch;
mod streams;
mod tools;

pub use bindings::{Content, Decision, Event, Failure, Outcome, Output, Tool, ToolCall};
pub use cache::CompileCache;
pub use component::{Context, Loaded, Spec, World};
pub use engine::{Allocation, Compiler, Runtime, RuntimeOptions, precompile};
pub use error::{BoxError, CallError, LoadError};
pub use files::{GrantedTo, Reserved, ReservedPath, Written};
pub use grants::{ClientFeature, FileGrant, FileMode, GrantError, Grants, Quota};
pub use inspect::{Inspection, inspect};
pub use limits::Limits;
pub use output::size as output_size;
