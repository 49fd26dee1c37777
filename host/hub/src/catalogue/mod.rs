//! The catalogue of the hub.
