//! The gateway of the hub.
