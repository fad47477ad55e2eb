//! The command line: arguments in, library call, words out. No logic.
//!
//! One file per command, each with its `Args` and a `run(args, &Context)`. [`error`] is the one
//! catalogue that turns every error of the library into title, cause, remedy and exit code.
//! [`app`] holds the commands that the executable inside images has too.

#[cfg(feature = "host")]
mod audit;
#[cfg(feature = "host")]
mod context;
#[cfg(feature = "host")]
mod error;
#[cfg(feature = "host")]
mod host;
#[cfg(feature = "host")]
mod printer;
#[cfg(feature = "host")]
mod version;

#[cfg(feature = "host")]
pub use host::main;
