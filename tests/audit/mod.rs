//! `warpdrive audit`: for each rule an image that breaks it and a near twin that does not.

#![allow(clippy::unwrap_used, reason = "a test")]

mod accounts;
mod articles;
mod command;
mod layers;
mod modes;
mod policy;
mod secrets;
mod setuid;
mod verdict;
