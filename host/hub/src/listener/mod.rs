//! The HTTP listener: who may connect, how many connections there may be, how long each step of a connection may take,
//! and a clean end.
//!
//! A connection is unauthenticated until one of its requests has shown a valid key. The access layer reports that to
//! [`Connection`]. Unauthenticated connections have a limited share, in all and per address, and the hub closes them
//! first when there are too many connections. [`Limits`] has the numbers, and [`Registry`] counts.
//!
//! [`serve`](self::serve()) accepts connections with [`accept`], speaks [`tls`](self::tls()) and HTTP on them, and
//! gives requests to a router, whose [`paths`] it brings into one form and whose
//! answers it can compress ([`compression`]). [`io`] watches the bytes of a [`connection`]. [`body`] and [`stream`] watch those of
//! requests and answers.

mod accept;
pub mod body;
pub mod compression;
pub mod connection;
mod io;
pub mod limits;
pub mod paths;
pub mod registry;
mod serve;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

pub use connection::{Connection, Reason};
pub use limits::Limits;
pub use paths::{PublicPath, normalized};
pub use registry::{Counts, Registry};
pub use serve::{Listener, serve};
pub use tls::tls;
