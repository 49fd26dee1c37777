//! The catalogue of the hub.

pub mod names;
