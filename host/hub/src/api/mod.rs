//! The api of the hub.
