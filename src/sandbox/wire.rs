//! The messages between the parent and the sandbox's processes.
//!
//! ```text
//!  parent (threaded)            monitor (sealed copy)          pid 1 inside
//!    │  request: a memfd with JSON ──►│                             │
//!    │  control: SOCK_SEQPACKET ◄────►│ (the init keeps it too) ◄───│  Message, with descriptors
//!    │  setup: a pipe ◄───────────────┼─────────────────────────────│  'x' before execve, else a Failure
//! ```
//!
//! The set-up pipe is close-on-exec everywhere: an end of file after an `x` means that the command
//! runs.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::MemfdFlags;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::Failure;
use super::spec::{HereSpec, JoinSpec, Spec};

/// A larger request was not made by this program.
const MAX_REQUEST: u64 = 64 << 20;
const MAX_MESSAGE: usize = 4096;

/// The child's task.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Run(Box<Run>),
    Join(Join),
    Here(Box<Here>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) spec: Spec,
    pub(super) terminal: Option<Size>,
    /// `cgroup.procs` files that pid 1 writes itself into.
    pub(super) cgroups: Vec<PathBuf>,
    /// Most processes, if no control group bounds them.
    pub(super) processes: Option<u64>,
    /// The parent's process id, to notice that it died before the death signal was armed.
    pub(super) parent: i32,
}

/// A command in the namespaces of an existing process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Join {
    pub(super) spec: JoinSpec,
    pub(super) terminal: Option<Size>,
    pub(super) parent: i32,
}

/// A command without a sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Here {
    pub(super) spec: HereSpec,
    pub(super) parent: i32,
}

/// Rows and columns of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    pub rows: u16,
    pub columns: u16,
}

/// The children's messages over the control socket.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Message {
    /// Pid 1 exists: its process id as the parent sees it, and its pidfd.
    Started { pid: i32 },
    /// The master side of the command's terminal is attached.
    Terminal,
    /// The dialer's socket is attached.
    Dialer,
    /// A note for the user, such as that there is no outbound network.
    Note(String),
    /// The raw wait status of the command.
    Status(i32),
}

pub(super) fn seqpacket() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// A memfd that holds the request, at its beginning.
pub(super) fn request(request: &Request) -> io::Result<OwnedFd> {
    let mut file = match rustix::fs::memfd_create("warpdrive-request", MemfdFlags::CLOEXEC) {
        Ok(fd) => File::from(fd),
        Err(_) => tempfile::tempfile()?,
    };
    // Not straight into the file: that would be a system call for every comma.
    file.write_all(&serde_json::to_vec(request)?)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file.into())
}

pub(super) fn read_request(fd: OwnedFd) -> io::Result<Request> {
    let mut text = Vec::new();
    File::from(fd).take(MAX_REQUEST).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Sends a value with at most one descriptor.
pub(super) fn send<T: Serialize>(
    to: impl AsFd,
    value: &T,
    attached: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(value)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = attached.map(|fd| [fd]);
    if let Some(descriptors) = &descriptors {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(
            &to,
            &[io::IoSlice::new(&bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
    })?;
    Ok(())
}

/// Receives a value and its descriptor; `None` at the end.
pub(super) fn receive<T: DeserializeOwned>(
    from: impl AsFd,
    flags: RecvFlags,
) -> io::Result<Option<(T, Option<OwnedFd>)>> {
    let mut bytes = [0_u8; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(
            &from,
            &mut [io::IoSliceMut::new(&mut bytes)],
            &mut control,
            flags | RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    let mut attached = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            for descriptor in descriptors {
                attached = Some(descriptor);
            }
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    let value = serde_json::from_slice(bytes.get(..received.bytes).unwrap_or_default())?;
    Ok(Some((value, attached)))
}

/// The set-up pipe's text for "now comes execve".
pub(super) const EXEC: u8 = b'x';

/// Reports a failure over the set-up pipe. If the parent has ended, the report is lost, which
/// does not matter.
pub(super) fn report(setup: &mut File, failure: &Failure) {
    if let Ok(text) = serde_json::to_vec(failure) {
        let _ = setup.write_all(&text);
    }
}

/// How the set-up ended.
pub(super) enum SetUp {
    Done,
    Failed(Failure),
    /// Nothing was reported, or nothing that can be read.
    Silent,
}

/// Reads the set-up pipe to its end.
pub(super) fn setup_result(setup: File) -> io::Result<SetUp> {
    let mut text = Vec::new();
    setup.take(MAX_MESSAGE as u64 * 16).read_to_end(&mut text)?;
    let report = text.strip_prefix(&[EXEC]).unwrap_or(&text);
    Ok(match (text.is_empty(), report.is_empty()) {
        (true, _) => SetUp::Silent,
        (false, true) => SetUp::Done,
        (false, false) => serde_json::from_slice(report).map_or(SetUp::Silent, SetUp::Failed),
    })
}
