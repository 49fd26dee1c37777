//! The cli of the hub.
