//! Runs an image of the store as a container: locally, rootless or as root, with no daemon.
//!
//! ```text
//!  options + image ──► prepare ──► Record (STORE/containers/ID) + sandbox::Spec
//!                                     │
//!             foreground: supervise::run in the command line's own process
//!             -d:         detach ──► the same in a process of its own session
//!                                     │
//!        sandbox::spawn · port proxy · output ──► log · signals ──► exit status ──► state.json
//! ```
//!
//! Every other command (`ls`, `logs`, `stop`, `exec`) works from what is written in the record and
//! from the processes named there; there is no daemon to ask. A container runs if its processes
//! run.
//!
//! Here: what docker calls the engine. Not here: namespaces and mounts (`sandbox`), unpacking
//! (`rootfs`), output for users (`cli`).

mod attach;
mod control;
mod detach;
mod environment;
mod error;
mod exec;
mod files;
mod fold;
mod log;
mod logs;
mod names;
mod output;
mod ports;
mod prepare;
mod process;
mod proxy;
mod record;
mod session;
mod signal;
mod start_watch;
mod supervise;
mod terminal;
mod volumes;

pub use attach::Attach;
pub use control::{end, hang_up, kill, release, remove, stop};
pub use detach::{Started, start as start_detached, supervise};
pub use environment::{Variable, parse_variable, read_env_file};
pub use error::ContainerError;
pub use exec::{ExecOptions, exec};
pub use log::{Line, Stream};
pub use logs::read_logs;
pub use ports::PortMapping;
pub use prepare::{Applications, Prepared, RunOptions, Serves, prepare, prepare_restart};
pub use process::Process;
pub use record::{Config, Record, State, Status, containers, find, list, short};
pub use signal::parse as parse_signal;
pub use start_watch::{Early, Patience, last_lines, look as look_early};
pub use supervise::{Ended, run, run_to_end};
pub use volumes::{Volume, VolumeSource, parse_size};
