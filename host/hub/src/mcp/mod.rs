//! The mcp of the hub.
