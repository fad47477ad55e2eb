//! What a new user meets within the first hour: the first image as an ordinary user, containers in the
//! background, and the answers to mistakes that everybody makes.

#![allow(clippy::unwrap_used, reason = "a test")]

mod background;
mod builders;
mod doctor;
mod mistakes;
mod progress;

use crate::support::source_tree::tree;
