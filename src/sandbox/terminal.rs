//! The command's terminal: a pseudo terminal of the sandbox's own `devpts`, whose master side goes
//! to the parent.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::error::{Doing, Failure};
use super::wire::{self, Message, Size};

/// The type of a devpts file system, see statfs(2).
const DEVPTS: u64 = 0x1cd1;

/// Opens a new terminal, sends its master to the parent and returns the other side.
pub(super) fn open(size: Size, uid: u32, control: impl AsFd) -> Result<OwnedFd, Failure> {
    let master = rustix::fs::open(
        "/dev/pts/ptmx",
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )
    .doing("opening a terminal")?;
    let system = rustix::fs::fstatfs(&master).doing("looking at the terminal")?;
    if u64::try_from(system.f_type).ok() != Some(DEVPTS) {
        return Err(Failure::new("/dev/pts/ptmx is not a terminal multiplexer"));
    }
    rustix::pty::unlockpt(&master).doing("unlocking the terminal")?;
    let slave = rustix::pty::ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )
    .doing("opening the terminal's other side")?;
    rustix::termios::tcsetwinsize(
        &slave,
        Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )
    .doing("setting the terminal's size")?;
    rustix::fs::fchown(&slave, Some(rustix::fs::Uid::from_raw(uid)), None)
        .doing("giving the terminal to the command's user")?;
    wire::send(control, &Message::Terminal, Some(master.as_fd()))
        .doing("passing the terminal to the parent")?;
    Ok(slave)
}

/// Makes it this session's controlling terminal and the standard streams.
pub(super) fn take(terminal: &OwnedFd) -> Result<(), Failure> {
    rustix::process::ioctl_tiocsctty(terminal).doing("taking the terminal")?;
    let terminal: BorrowedFd<'_> = terminal.as_fd();
    rustix::stdio::dup2_stdin(terminal).doing("connecting the terminal")?;
    rustix::stdio::dup2_stdout(terminal).doing("connecting the terminal")?;
    rustix::stdio::dup2_stderr(terminal).doing("connecting the terminal")
}
