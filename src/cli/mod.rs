//! The command line: arguments in, library call, words out. No logic.
//!
//! One file per command, each with its `Args` and a `run(args, &Context)`. `error` is the one
//! catalogue that turns every error of the library into title, cause, remedy and exit code.
//! [`app`] holds the commands that the executable inside images has too.

pub mod app;

#[cfg(feature = "host")]
mod audit;
#[cfg(feature = "host")]
mod builder;
#[cfg(feature = "host")]
mod completions;
#[cfg(feature = "host")]
mod container;
#[cfg(feature = "host")]
mod context;
#[cfg(feature = "host")]
mod doctor;
#[cfg(feature = "host")]
mod error;
#[cfg(feature = "host")]
mod export;
#[cfg(feature = "host")]
mod host;
#[cfg(feature = "host")]
mod image;
#[cfg(feature = "host")]
mod images;
#[cfg(feature = "host")]
mod import;
#[cfg(feature = "host")]
mod inspect;
#[cfg(feature = "host")]
mod limits;
#[cfg(feature = "host")]
mod printer;
#[cfg(feature = "host")]
mod progress;
#[cfg(feature = "host")]
mod prune;
#[cfg(feature = "host")]
mod pull;
#[cfg(feature = "host")]
mod push;
#[cfg(feature = "host")]
mod rm;
#[cfg(feature = "host")]
mod run;
#[cfg(feature = "host")]
mod s2i;
#[cfg(feature = "host")]
mod source;
#[cfg(feature = "host")]
mod tag;
#[cfg(feature = "host")]
mod verify_build;
#[cfg(feature = "host")]
mod version;

#[cfg(feature = "host")]
pub use host::main;
