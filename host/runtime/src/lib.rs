//! Plugins and hooks as WebAssembly components, each call in a sandbox of its own.
//!
//! This crate knows nothing of HTTP servers, MCP or configuration files: what a component may ask of the hub is
//! a trait here that the hub implements.
