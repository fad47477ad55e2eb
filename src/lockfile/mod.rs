//! What the lock files of Python's package managers say: `uv.lock`, `poetry.lock`, `pdm.lock`,
//! `Pipfile.lock`, `pylock.toml` and `pylock.NAME.toml`.
//!
//! Each format has a module with `Document::parse`, from text, and `select`, from the document to a
//! [`Locked`]: the packages, what the project asks for itself, and which projects of the tree are to be installed
//! as such. [`find`] takes the manager that a tree is for, checks that its lock fits the `pyproject.toml` (or
//! `Pipfile`), and
//! [`Lock::select`] evaluates markers, extras and groups for one environment. Nothing here asks an
//! index, runs a program or knows of images: the pipeline fetches the files that are named, each from
//! where the lock says and nowhere else.

mod binaries;
mod bound;
mod bound_to;
mod error;
mod find;
mod fit;
mod hash;
mod index;
mod lock;
mod manager;
mod marker;
mod packages;
mod pdm;
mod pipenv;
mod poetry;
mod pylock;
mod requirement;
mod target;
mod uv;

pub use bound::{Bound, FromIndex};
pub use error::LockfileError;
pub use find::{Found, find};
pub use index::{Link, credentials, links, variable_name};
pub use lock::Lock;
pub use manager::Manager;
pub use marker::{Chosen, holds};
pub use packages::{File, Index, Locked, Origin, PYPI, Package};
pub use target::{Rank, Target};

#[cfg(test)]
mod tests;
