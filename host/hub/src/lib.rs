//! AI Infrastructure Hub: one address and one key for MCP servers, skills, configs, plugins and hooks.
//!
//! # The way of a request
//!
//! ```text
//! MCP clients                      people, scripts                  aih stdio
//!      │                                 │                              │
//!      ▼                                 ▼                              │
//!  listener ─ connections, bodies, limits, TLS                          │
//!      │                                                                │
//!      ▼                                                                │
//!  access ─ key, Host, Origin, address: who calls                       │
//!      │                                 │                              │
//!      ▼                                 ▼                              ▼
//!  gateway ─ MCP: transports,        api ─ REST               gateway::stdio
//!      │     names, both eras            │
//!      │                                 └──► registry ─ what a key may know of the hub
//!      ▼
//!  calls ─ permission, hooks, the other era, provider, record: every call, in one function
//!      │
//!      ├──► catalogue ─ what is on offer: names, permissions, skills, configs
//!      ├──► hooks ─ the operator's components around calls ──────┐
//!      ▼                                                         │
//!  provider ─ what answers a call                                │
//!      ├──► upstream ─ MCP servers over HTTP, SSE, stdio         ├──► components ─ sandboxed code:
//!      ├──► plugins ─ tools made of components ──────────────────┘    loader, live, host functions
//!      └──► builtin ─ the hub's own tools `aih__…`
//! ```
//!
//! A call of a plugin or a hook to another server leaves through a port of [`components`] and enters `calls` again.
//!
//! # Who may import whom
//!
//! [`cli`] → [`api`] → [`reload`] → [`hub`] (assembles the parts in order, runs and stops them) → [`gateway`],
//! [`builtin`] → [`registry`], `calls` → [`hooks`], [`plugins`], [`upstream`] → [`components`] → [`catalogue`] →
//! [`provider`] → [`listener`], [`memory`], [`config`] → [`access`], [`data`], [`names`], [`observe`], [`secrets`].
//! A module imports those to its right that it needs, and none to its left. `host/hub/tests/arrows.rs` holds the list of
//! all arrows, each with its reason, and fails where a file imports anything else.
//!
//! Below all of them are crates that know nothing of this one: `aih-mcp` (the protocol), `aih-store` (state and events),
//! `aih-redact` (secrets out of texts), `aih-runtime` (the sandbox) and `aih-builder` (components from sources).

pub mod access;
pub mod api;
pub mod builtin;
mod calls;
pub mod catalogue;
pub mod cli;
pub mod coalesce;
pub mod components;
pub mod config;
pub mod data;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gateway;
pub mod hooks;
pub mod hub;
pub mod listener;
pub mod memory;
pub mod names;
pub mod observe;
pub mod open_files;
pub mod plugins;
pub mod provider;
pub mod registry;
pub mod reload;
pub mod secrets;
#[cfg(test)]
mod testing;
pub mod upstream;
