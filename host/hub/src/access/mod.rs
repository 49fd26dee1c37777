//! The access of the hub.
