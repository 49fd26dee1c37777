//! A JavaScript, TypeScript or Python source to a WebAssembly component, with no Node and no Python on the machine.
//!
//! A source is somebody else's code, and making a component of it runs its top level, in an engine whose
//! support has ended. So nothing of it is read or run in this process: each build is a child process of the
//! same binary, with no environment, no network, a limit on everything that has one, and from the kernel
//! the right to write its own build folder only. See [`confine`] for what holds the child, and
//! [`Protections`] for what of it this machine offers.
//!
//! ```no_run
//! # async fn example() -> Result<(), aih_builder::BuildError> {
//! use aih_builder::{BuildCache, BuildOptions, Builder, Source, World};
//!
//! let builder = Builder::new(BuildCache::new("data/cache/components")?, BuildOptions::default());
//! let source = Source::new("example-plugins/web-scraper.js", World::Plugin)?;
//! let built = builder.build(&source, |progress| println!("{progress}")).await?;
//! println!("{} {}", built.digest, built.component.display());
//! # Ok(())
//! # }
//! ```
//!
//! Compiling a component for this machine ([`Builder::compile`]) happens in the same kind of child.
//!
//! The binary that embeds this crate calls [`child_main`] first of all when [`is_child`] says so.

mod builder;
mod cache;
mod child;
pub mod confine;
mod digest;
mod embedded;
mod error;
mod javascript;
mod job;
mod link;
mod python;
mod scratch;
mod source;
mod supervise;

pub use builder::{Builder, Built, build};
pub use cache::{BuildCache, Digest};
pub use child::{CHILD_ARGUMENT, Compiler, child_main, is_child};
pub use confine::Protections;
pub use error::{BuildError, CompileError, MachineError, SourcePosition};
pub use job::Progress;
pub use source::{Language, Source, World};
pub use supervise::BuildOptions;
