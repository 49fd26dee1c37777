//! All that the hub offers, as an immutable snapshot that is swapped whole when something changes.

pub mod names;
pub mod provider;
