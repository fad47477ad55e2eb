//! Runs a command in its own root file system: namespaces, id maps, mounts, capabilities,
//! seccomp, limits. The only place with `unsafe`; synchronous; knows neither OCI nor Python.
//!
//! A caller [`enter`]s a user namespace once (nothing to do as root), describes what it wants as a
//! [`Spec`], [`spawn`]s it and waits. The set-up itself happens in children of this program, started
//! from a sealed copy of it and single-threaded: `main` calls [`dispatch_child`] first of all.
#![allow(unsafe_code)]

mod attach;
mod capabilities;
mod child;
mod command;
mod device;
mod dispatch;
#[cfg(debug_assertions)]
mod drive;
mod enter;
mod error;
mod exe;
mod fence;
mod helper;
mod here;
mod here_child;
mod id_map;
mod init;
mod interrupt;
mod join;
mod landlock;
mod limits;
mod mount_points;
mod mounts;
mod network;
mod new_root;
mod outward;
mod overlay;
mod probe;
mod running;
mod seccomp;
mod signal_queue;
mod spec;
mod start;
mod sys;
mod terminal;
mod to_parent;
mod wire;
mod written;

pub use dispatch::dispatch_child;
pub use enter::{enter, enter_with, handed_over, will_enter};
pub use error::{Failure, FailureKind, SandboxError};
pub use here::{landlock_version, spawn_here, stay_here};
pub use id_map::{IdMode, give_ids};
pub use interrupt::{forward_signals, install_interrupt_handler, interrupt_fd, interrupted};
pub use join::join;
pub use limits::check_limits;
pub use network::{Dialer, PRIVATE_NAME_SERVER, outbound, resolver_file};
pub use outward::NAME_SERVER as OUTWARD_NAME_SERVER;
pub use probe::{Finding, Verdict, fences_abstract_sockets, in_pod, probe};
pub use running::{Io, Sandbox, Stream, spawn};
pub use signal_queue::SignalQueue;
pub use spec::{
    Capability, Defence, Exit, HereSpec, Inside, JoinSpec, Limits, Mount, Network, Root, Spec,
    Upper,
};
pub use start::in_new_session;
pub use wire::Size;
