//! The MCP client side: connections to the servers behind the hub, their health, lists and sessions.

pub mod transport;
