//! The observe of the hub.
