//! The config of the hub.
