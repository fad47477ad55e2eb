//! Starts this program as a child of itself: the child's name and its descriptors. `dispatch` has what
//! the child does then.

use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::sys;

/// The name under which this program is started as a child of ourselves.
pub(super) const MAGIC: &str = "warpdrive-sandbox";

/// Lets a command's child inherit these descriptors.
pub(super) fn keep_on_exec(command: &mut Command, numbers: Vec<RawFd>) {
    // SAFETY: the closure only calls fcntl, which is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            numbers
                .iter()
                .try_for_each(|number| sys::keep_on_exec(*number))
        });
    }
}

/// Makes a command start in a new session, so that it continues after our terminal has closed: for the
/// supervisor of a container in the background. Its program may be `/proc/self/exe`; after
/// [`super::enter`] this process's executable has no other name.
pub fn in_new_session(command: &mut Command) -> &mut Command {
    // SAFETY: one setsid, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        })
    }
}
