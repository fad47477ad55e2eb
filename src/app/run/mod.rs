//! What an application's container (or laptop) does with it after the build: `start`, `setup`,
//! `migrate`, `alive`, `ready`, `verify`, `exec`, `shell`, `env`, `smoke`.
//!
//! [`Environment`] is what every program sees; [`commands`] run in it. Nothing here installs,
//! compiles or detects: the build has resolved what a start needs, in the
//! [`Plan`](super::plan::Plan). Nothing is written into the image: state and caches go below
//! `/tmp`.

mod caller;
pub mod commands;
mod early_end;
mod environment;
mod error;
mod home;
mod hook;
mod launch;
mod once;
pub mod print;
mod probe;
mod reach;
pub mod smoke;
mod supervise;

pub use caller::Caller;
#[cfg(feature = "host")]
pub use early_end::of_log;
pub(crate) use environment::python_path;
pub use environment::{Environment, Origin, Variable};
pub use error::RunError;
