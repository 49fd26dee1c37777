//! The HTTP listener: who may connect, how many at a time, how long each step of a connection may take, and a clean
//! end.
//!
//! A connection counts as a stranger's until one of its requests has shown a valid key, which the access layer tells
//! [`Connection`]. Strangers have a share of all connections, in all and for each address, and are closed first when
//! there are too many. [`Limits`] has the numbers, [`Registry`] counts.
//!
//! [`serve`](self::serve()) accepts connections with the help of [`accept`], speaks [`tls`](self::tls()) and HTTP on them,
//! and hands requests to a router. [`io`] watches the bytes of a [`connection`], [`body`] and [`stream`] those of requests
//! and answers.

mod accept;
pub mod body;
pub mod connection;
mod io;
pub mod limits;
pub mod registry;
mod serve;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

pub use connection::{Connection, Reason};
pub use limits::Limits;
pub use registry::{Counts, Registry};
pub use serve::{Listener, serve};
pub use tls::tls;
