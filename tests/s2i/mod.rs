//! Builds with S2I builder images: each behaviour of the protocol, and each defect of the Go tool in
//! the opposite sense; and that what is hostile is refused, each with its own words.

#![allow(clippy::unwrap_used, reason = "a test")]

mod archives;
mod builders;
mod commands;
mod credentials;
mod dockerfile;
mod flow;
mod git;
mod guards;
mod incremental;
mod layers;
mod onbuild;
mod packages;
mod rebuild;
mod scripts;
mod servers;
mod users;
mod web;
