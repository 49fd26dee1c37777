//! One connection to one server: above the transport, and below the choice of a connection.
//!
//! [`connection`] sends requests and takes answers. [`in_flight`] is one request on its way. [`outgoing`] changes a
//! request for the server, and [`inbound`] brings messages of the server to the client that they concern. [`common`]
//! is the state that all connections to one server share: how many [`questions`] wait for clients, which ids the
//! server gave out ([`owned_ids`]), and which calls end its process ([`crashes`]). [`users`] remembers who has used a
//! connection. [`error`] says why a call has no result.

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
