//! The command line: it parses arguments, calls the library, and prints the result. No logic but
//! the order of `dev`.
//!
//! One file per command, each with its `Args` and a `run(args, &Context)`. `error` is the one
//! catalogue that turns every error of the library into title, cause, remedy and exit code.
//! `laptop` and [`crate::app::cli`] hold the commands that the executable inside images has too.

mod access;
mod attach;
mod audit;
mod builder;
mod cache;
mod complete;
mod completions;
mod container;
mod context;
mod copy;
mod dev;
mod doctor;
mod error;
mod export;
mod help;
mod host;
mod image;
mod images;
mod import;
mod index;
mod inspect;
mod laptop;
mod limits;
mod logging;
mod login;
mod platform;
mod printer;
mod progress;
mod prune;
mod pull;
mod push;
mod referrers;
mod results;
mod rm;
mod run;
mod s2i;
mod source;
mod store;
mod tag;
mod tags;
mod usage;
mod verify_build;
mod version;
mod width;

pub use host::main;
