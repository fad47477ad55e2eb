//! A command in place: without namespace, mount or capability. For pods, where none of these is allowed.
//!
//! Landlock (`landlock`), the list of system calls and `no_new_privs` bound what it may reach;
//! `here_child` is the other side.

use std::time::Instant;

use rustix::process::DumpableBehavior;

use super::error::SandboxError;
use super::limits::Groups;
use super::running::{self, Io, Sandbox};
use super::spec::HereSpec;
use super::wire::{Here, Request};
use super::written::Watch;
use super::{id_map, landlock};

/// The version of Landlock here, where it can fence a build.
#[must_use]
pub fn landlock_version() -> Option<i64> {
    let version = landlock::version();
    (version >= landlock::LEAST).then_some(version)
}

/// This process builds in place. It never enters a user namespace: all files belong to its own user. From
/// now on, no process of that user can inspect it: its memory, its variables or its descriptors.
pub fn stay_here() {
    id_map::stay();
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Starts the command. Returns when it runs, or could not be run.
pub fn spawn_here(spec: &HereSpec, io: Io) -> Result<Sandbox, SandboxError> {
    let deadline = spec.limits.timeout.map(|timeout| Instant::now() + timeout);
    let request = Request::Here(Box::new(Here {
        spec: spec.clone(),
        parent: running::own_pid(),
    }));
    let written = spec.limits.written;
    let written = written.and_then(|limit| Watch::over(spec.written.clone(), limit));
    let sandbox = running::start(&request, io, deadline, Groups::default())?;
    Ok(sandbox.watched(written))
}
