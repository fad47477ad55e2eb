//! Reads the lock files of Python's package managers: `uv.lock`, `poetry.lock`, `pdm.lock`,
//! `Pipfile.lock`, `pylock.toml` and `pylock.NAME.toml`.
//!
//! Each format has a module with `Document::parse`, from text, and `select`, from the document to a
//! [`Locked`]: the packages, the project's own requirements, and the projects of the tree to install.
//! [`find`] finds the tree's manager, checks that its lock fits the `pyproject.toml` (or
//! `Pipfile`), and [`Lock::select`] evaluates markers, extras and groups for one environment. Nothing here
//! asks an index, runs a program or knows of images: the pipeline fetches the named files, each only from the
//! address in the lock.

mod any_name;
mod binaries;
mod bound;
mod bound_to;
mod builders;
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
pub use builders::Builders;
pub use error::LockfileError;
pub use find::{Found, find};
pub use index::{Link, credentials, links, variable_name};
pub use lock::Lock;
pub use manager::Manager;
pub use marker::{Chosen, holds};
pub use packages::{Archive, File, Index, Locked, Origin, PYPI, Package};
pub use target::{Rank, Target};

#[cfg(test)]
mod tests;
