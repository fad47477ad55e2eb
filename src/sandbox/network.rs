//! Network namespaces: loopback.

use std::os::fd::OwnedFd;

use rustix::process::Pid;

use super::error::{Doing, Failure};

/// Processes beside the sandbox that give it a network.
#[derive(Default)]
pub(super) struct Helpers(Vec<Pid>);

impl Helpers {
    pub(super) fn stop(self) {
        for pid in self.0 {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

pub(super) fn outside(_first: Pid, _control: &OwnedFd) -> Helpers {
    Helpers::default()
}

/// Brings `lo` up in this process's network namespace.
pub(super) fn raise_loopback() -> Result<(), Failure> {
    use std::os::fd::AsRawFd;
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .doing("opening a socket")?;
    // SAFETY: ifreq is plain data, for which zeros are valid; its name is shorter than the field.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = libc::c_char::from_ne_bytes([*from]);
        }
        request.ifr_ifru.ifru_flags =
            libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(1);
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request)
    };
    if result < 0 {
        return Err(std::io::Error::last_os_error()).doing("bringing the loopback device up");
    }
    Ok(())
}
