//! The few system calls that rustix does not offer, each behind a safe function. All but the
//! signal functions are meant for the single-threaded children.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountAttrFlags, MountPropagationFlags};
use rustix::process::Pid;

/// Which side of a fork this is.
pub(super) enum Forked {
    Parent(Pid),
    Child,
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Forks a single-threaded process.
pub(super) fn fork() -> io::Result<Forked> {
    // SAFETY: the callers are the children that `dispatch_child` runs before any thread exists, so
    // the child may go on to do anything.
    let pid = unsafe { libc::fork() };
    check(pid.into())?;
    Ok(match Pid::from_raw(pid) {
        Some(pid) => Forked::Parent(pid),
        None => Forked::Child,
    })
}

/// Forks a single-threaded process into a new pid namespace, whose first process the child is. By
/// `unshare`, all later children of this process would be in it too, and the sandbox would wait for them.
pub(super) fn fork_into_pid_namespace() -> io::Result<Forked> {
    let flags = libc::CLONE_NEWPID | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and with no stack given this is a fork; as for `fork`, the callers
    // are single-threaded. The order of the last arguments differs, but all are zero.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone, libc::c_long::from(flags), 0, 0, 0, 0) })?;
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    Ok(match Pid::from_raw(pid) {
        Some(pid) => Forked::Parent(pid),
        None => Forked::Child,
    })
}

/// Ends the process at once, without running anything that was registered for the end.
pub(super) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Replaces the program; returns only after an error.
pub(super) fn execve(path: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| {
        strings
            .iter()
            .map(|string| string.as_ptr())
            .chain([std::ptr::null()])
            .collect::<Vec<_>>()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays are NULL-terminated and outlive the call, as do the strings.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

pub(super) fn unshare(flags: rustix::thread::UnshareFlags) -> io::Result<()> {
    // SAFETY: neither CLONE_FILES nor CLONE_VM is asked for by the callers, and they are
    // single-threaded.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(Into::into)
}

/// Takes over a descriptor that this program was started with, and makes it close-on-exec.
pub(super) fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: only asks for the flags; fails if the descriptor is not open.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) }.into())?;
    // SAFETY: it is open, and the number came from our parent for this purpose alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Lets a descriptor survive the next execve.
pub(super) fn keep_on_exec(number: RawFd) -> io::Result<()> {
    // SAFETY: changes a flag of a descriptor; fails if it is not open. Async-signal-safe.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }.into()).map(|_| ())
}

/// Closes, or marks close-on-exec, every descriptor from `first` on but `keep`.
pub(super) fn close_from(first: u32, keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep
        .iter()
        .filter_map(|fd| u32::try_from(*fd).ok())
        .collect();
    keep.sort_unstable();
    keep.dedup();
    let mut from = first;
    for kept in keep.into_iter().filter(|kept| *kept >= first) {
        if kept > from {
            close_range(from, kept - 1)?;
        }
        from = kept + 1;
    }
    close_range(from, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: the caller is a single-threaded child that uses none of these descriptors again; it
    // leaves through execve or _exit, so no destructor closes one twice.
    match check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }) {
        Ok(_) => Ok(()),
        // Before Linux 5.9.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            for number in first..=last.min(65_535) {
                // SAFETY: as above.
                unsafe { libc::close(libc::c_int::try_from(number).unwrap_or(-1)) };
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// `mount_setattr(2)` on a descriptor: sets `set` and, if given, the propagation.
pub(super) fn mount_setattr(
    mount: impl AsFd,
    recursive: bool,
    set: MountAttrFlags,
    propagation: Option<MountPropagationFlags>,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: u64::from(set.bits()),
        attr_clr: 0,
        propagation: propagation.map_or(0, |flags| u64::from(flags.bits())),
        userns_fd: 0,
    };
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: an empty path with AT_EMPTY_PATH, and a struct of the size that is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(|_| ())
}

/// Drops a capability from the bounding set; `false` if the kernel knows no capability of this
/// number.
pub(super) fn drop_bounding(capability: u32) -> io::Result<bool> {
    // SAFETY: PR_CAPBSET_READ and PR_CAPBSET_DROP take numbers only.
    unsafe {
        if libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) < 0 {
            return Ok(false);
        }
        check(libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0).into())?;
    }
    Ok(true)
}

/// A set of signals.
#[derive(Clone, Copy)]
pub(super) struct Signals(libc::sigset_t);

impl Signals {
    pub(super) fn all() -> Self {
        // SAFETY: sigfillset initializes the set.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigfillset(&raw mut set);
            Self(set)
        }
    }

    pub(super) fn none() -> Self {
        // SAFETY: sigemptyset initializes the set.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            Self(set)
        }
    }

    pub(super) fn of(signals: &[i32]) -> Self {
        let mut set = Self::none();
        for signal in signals {
            // SAFETY: the set is initialized; an unknown number is an error that changes nothing.
            unsafe { libc::sigaddset(&raw mut set.0, *signal) };
        }
        set
    }

    /// Makes this the thread's mask and returns the old one.
    pub(super) fn block_exactly(&self) -> io::Result<Self> {
        self.mask(libc::SIG_SETMASK)
    }

    /// Adds these to the thread's mask and returns the old one.
    pub(super) fn block(&self) -> io::Result<Self> {
        self.mask(libc::SIG_BLOCK)
    }

    fn mask(&self, how: libc::c_int) -> io::Result<Self> {
        let mut old = Self::none();
        // SAFETY: both sets are initialized.
        match unsafe { libc::pthread_sigmask(how, &raw const self.0, &raw mut old.0) } {
            0 => Ok(old),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Waits for one of these (which have to be blocked). The second value says whether the kernel
    /// sent it (a key on the terminal) rather than a process.
    pub(super) fn wait(&self) -> io::Result<(i32, bool)> {
        // SAFETY: the set is initialized and the result has room for the answer.
        unsafe {
            let mut information: libc::siginfo_t = std::mem::zeroed();
            let signal = libc::sigwaitinfo(&raw const self.0, &raw mut information);
            check(signal.into())?;
            Ok((signal, information.si_code == libc::SI_KERNEL))
        }
    }
}

/// Gives every signal its default action and unblocks all: what a fresh program expects.
pub(super) fn default_signals() -> io::Result<()> {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is a valid action; signals that cannot be changed give an error that is
        // of no interest.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    Signals::none().block_exactly().map(|_| ())
}

/// Installs an async-signal-safe handler.
pub(super) fn handle(signal: i32, handler: extern "C" fn(i32)) -> io::Result<()> {
    // SAFETY: the handlers in `interrupt` only touch atomics and write to a descriptor.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        check(libc::sigaction(signal, &raw const action, std::ptr::null_mut()).into())?;
    }
    Ok(())
}

/// Sends any signal, real-time ones too.
pub(super) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes numbers only.
    check(unsafe { libc::kill(pid, signal) }.into()).map(|_| ())
}

/// Sends any signal to the process of a pidfd.
pub(super) fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: a null siginfo means "as kill would".
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<u8>(),
            0,
        )
    })
    .map(|_| ())
}

/// `/proc/self/fdinfo`, held open: it keeps telling process ids as they are outside when this
/// process has moved to another root.
pub(super) struct DescriptorTable(OwnedFd);

impl DescriptorTable {
    pub(super) fn open() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(
            "/proc/self/fdinfo",
            flags,
            Mode::empty(),
        )?))
    }

    /// The process id of a pidfd; `None` after the process is reaped.
    pub(super) fn pid_of(&self, pidfd: BorrowedFd<'_>) -> Option<i32> {
        let name = pidfd.as_raw_fd().to_string();
        let file = rustix::fs::openat(
            &self.0,
            name,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .ok()?;
        io::read_to_string(File::from(file))
            .ok()?
            .lines()
            .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
            .filter(|pid| *pid > 0)
    }
}

/// Waits for a child; its raw wait status.
pub(super) fn wait(pid: Option<Pid>, no_hang: bool) -> io::Result<Option<(Pid, i32)>> {
    let mut status = 0;
    let options = if no_hang { libc::WNOHANG } else { 0 };
    loop {
        // SAFETY: the status has room for the answer.
        let waited = unsafe {
            libc::waitpid(
                pid.map_or(-1, |pid| pid.as_raw_nonzero().get()),
                &raw mut status,
                options,
            )
        };
        if waited < 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error);
        }
        return Ok(Pid::from_raw(waited).map(|pid| (pid, status)));
    }
}
