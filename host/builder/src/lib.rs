//! Builds a JavaScript, TypeScript or Python source into a WebAssembly component, without Node or Python on the machine.
//!
//! A source is somebody else's code, and building it runs its top level, in an engine whose support has ended. So this
//! process reads and runs nothing of it. Each build is a child process of the same binary. It has no environment and no
//! network, has limits on memory, time, files and threads, and may write only its own build folder. See [`confine`] for
//! how the child is confined, and [`Protections`] for what this machine offers.
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
