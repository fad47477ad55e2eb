//! The command line: arguments in, library call, words out. No logic.
//!
//! One file per command, each with its `Args` and a `run(args, &Context)`. `error` is the one
//! catalogue that turns every error of the library into title, cause, remedy and exit code.
//! [`app`] holds the commands that the executable inside images has too.

mod audit;
mod builder;
mod completions;
mod container;
mod context;
mod copy;
mod doctor;
mod error;
mod export;
mod host;
mod image;
mod images;
mod import;
mod inspect;
mod limits;
mod login;
mod printer;
mod progress;
mod prune;
mod pull;
mod push;
mod referrers;
mod rm;
mod run;
mod s2i;
mod source;
mod tag;
mod tags;
mod verify_build;
mod version;

pub use host::main;
