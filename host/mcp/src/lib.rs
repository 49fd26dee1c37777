//! The Model Context Protocol on the wire, as the hub needs it: envelopes, not payloads.
//!
//! A hub that parses what passes through it loses what it does not know. So a message is split only as
//! far as routing needs (`id`, `method`, the name in `params`), and everything else stays the bytes that
//! arrived ([`RawJson`]). Nothing here knows of sessions, keys or transports.

pub mod error;
pub mod headers;
pub mod item;
pub mod json;
pub mod message;
pub mod method;
pub mod object;
pub mod params;
pub mod received;
pub mod sse;
mod strict;
pub mod task;
pub mod version;

pub use error::{ErrorCode, ErrorObject};
pub use json::RawJson;
pub use message::{Id, Message, ParseError, Refusal};
pub use object::RawObject;
pub use params::Params;
pub use received::Unreadable;
pub use version::{Era, ProtocolVersion};
