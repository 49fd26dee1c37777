//! The upstream of the hub.
