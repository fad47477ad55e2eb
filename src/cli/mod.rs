//! The command line: arguments in, library call, words out. No logic.

pub mod app;
