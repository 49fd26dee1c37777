//! The secrets of the hub.
