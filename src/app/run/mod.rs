//! What an application's container (or laptop) does with it after the build: `start`, `setup`,
//! `migrate`, `alive`, `ready`, `verify`, `exec`, `shell`, `env`, `fixup`.
//!
//! [`Place`] says where things lie, [`Environment`] what every program sees, [`commands`] what is
//! run in it. Nothing here installs, compiles or detects: what a start needs to know was resolved
//! by the build and lies in the [`Plan`](super::plan::Plan). Nothing is written into the image: what
//! has to be remembered or cached goes below `/tmp`. Words for the user go to a [`Tell`].

pub mod commands;
mod environment;
mod error;
mod file;
pub mod fixup;
mod home;
mod hook;
mod launch;
mod once;
mod place;
pub mod print;
mod probe;
mod supervise;

pub(crate) use environment::python_path;
pub use environment::{Environment, Origin, Variable};
pub use error::RunError;
pub use file::evaluate;
pub use place::{Caller, Place};

/// Takes a line for the user.
pub type Tell<'a> = &'a dyn Fn(&str);
