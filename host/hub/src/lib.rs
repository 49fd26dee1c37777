//! AI Infrastructure Hub: one address and one key for MCP servers, skills, configs, plugins and hooks.
//!
//! One request walks one way: transport ([`gateway`], [`api`]) → [`access`] → [`catalogue`] → `calls` →
//! provider ([`upstream`] or the hub's own tools) → back.

pub mod access;
pub mod api;
pub mod builtin;
mod calls;
pub mod catalogue;
pub mod cli;
pub mod components;
pub mod config;
pub mod data;
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
pub mod quiet;
pub mod registry;
pub mod reload;
pub mod secrets;
#[cfg(test)]
mod testing;
pub mod upstream;
