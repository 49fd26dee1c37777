//! Folders of the host that components see: what may be granted, and how a granted folder is opened and held.
//!
//! A folder is opened once, when its component is loaded, and every sandbox of that component gets the same descriptor.
//! A name is never looked up again, so nobody who can rename or replace something on the way to the folder can put
//! another one in its place.

mod mounts;
mod open;
mod reserved;
mod resolved;
mod usage;
mod walk;

pub(crate) use open::{Folder, Writable, open};
pub use reserved::{GrantedTo, Reserved, ReservedPath, Written};
pub(crate) use usage::{Holder, Opened, Opening, Start, Turn, Usages};
