//! One connection to one server, above bytes and below the choice of a connection.
//!
//! [`connection`] sends requests and takes answers; each request on its way is a [`in_flight`]. [`outgoing`] changes what
//! must be changed on the way to the server, [`inbound`] brings what the server says by itself to the client that it
//! concerns. [`common`] is what all connections to one server share: how many [`questions`] wait for clients, what the
//! server gave names to ([`owned_ids`]), and which calls end its process ([`crashes`]). [`users`] remembers who has used a
//! connection, and [`error`] says why a call has no result.

pub(super) mod common;
pub(super) mod connection;
pub(super) mod crashes;
pub(super) mod error;
pub(super) mod in_flight;
mod inbound;
pub(super) mod outgoing;
mod owned_ids;
mod questions;
mod users;
