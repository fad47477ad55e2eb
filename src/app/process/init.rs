//! Pid 1 of a container. The kernel gives it no default action for signals and all orphans; so it
//! blocks every signal, starts the program, and then waits: a signal is passed on, a dead child is
//! collected, and when the program itself is dead its status is ours.
//!
//! The only place in `app` that needs `unsafe`: the calls for signal masks, which neither the
//! standard library nor rustix has.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

/// Starts the program and returns its status when it has ended.
///
/// # Errors
/// If it cannot be started.
pub fn run_as_init(mut command: Command) -> io::Result<i32> {
    let signals = block_all()?;
    // Children inherit the mask; the program must not.
    // SAFETY: between fork and exec the closure calls two async-signal-safe functions on a set of
    // its own, and allocates nothing.
    unsafe {
        command.pre_exec(unblock_all);
    }
    let child = command.spawn()?;
    let program = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    loop {
        let number = next(&signals);
        if number != libc::SIGCHLD {
            if let (Some(program), Some(signal)) = (program, Signal::from_named_raw(number)) {
                // It may just have ended: SIGCHLD will tell.
                let _ = kill_process(program, signal);
            }
            continue;
        }
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if Some(pid) == program {
                let status = ExitStatus::from_raw(status.as_raw());
                return Ok(super::status_of(status));
            }
        }
    }
}

fn block_all() -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the whole set it is given; sigprocmask reads it and takes a
    // null pointer for the old mask. No other thread exists yet.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        let set = set.assume_init();
        if libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(set)
    }
}

fn unblock_all() -> io::Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the whole set; sigprocmask reads it and takes a null pointer
    // for the old mask.
    let failed = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut()) != 0
    };
    if failed {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn next(set: &libc::sigset_t) -> i32 {
    // SAFETY: the set is initialised, and sigwaitinfo takes a null pointer for the details.
    unsafe { libc::sigwaitinfo(set, std::ptr::null_mut()) }
}
