//! The description of a sandbox: a root file system, mounts, a user, a command, limits.
//!
//! Plain data, so that it can travel to the sandbox's own process as JSON.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A command in its own root file system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    pub root: Root,
    /// Mounts above the root, in order. `/proc`, `/dev`, `/sys` (masked) are always there.
    pub mounts: Vec<Mount>,
    pub network: Network,
    /// With [`Network::Outward`]: addresses of this machine that can be reached by TCP all the
    /// same. Addresses of other machines are not needed here and do no harm.
    #[serde(default)]
    pub host_services: Vec<SocketAddr>,
    pub hostname: String,
    /// Program and arguments. A program without a slash is looked up in `PATH` of `env`, inside.
    pub command: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Absolute, inside the root.
    pub cwd: PathBuf,
    /// Numeric user and group inside the sandbox. In the single-uid mode only 1001:0 exists.
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups. None of them exists in the single-uid mode.
    #[serde(default)]
    pub groups: Vec<u32>,
    /// The additional capabilities of a command of user 0; other users have none.
    #[serde(default)]
    pub capabilities: Vec<Capability>,
    /// umask of the command.
    pub umask: u32,
    /// A pid 1 that reaps children and forwards signals starts the command, so the command is not
    /// pid 1 itself. `warpdrive run` leaves it out: there the command is pid 1.
    pub init: bool,
    /// Written data may be lost in a power cut: neither the end nor `fsync` inside waits for the
    /// disk (overlayfs, "volatile").
    #[serde(default)]
    pub volatile: bool,
    pub limits: Limits,
    /// Defences that are left out: only this crate's own tests name any, to show that an attack
    /// succeeds without the one that stops it. A release has no such field.
    #[cfg(debug_assertions)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<Defence>,
}

impl Spec {
    /// Whether a test left this defence out.
    #[cfg(debug_assertions)]
    pub(super) fn lacks(&self, defence: Defence) -> bool {
        self.without.contains(&defence)
    }

    #[cfg(not(debug_assertions))]
    #[expect(
        clippy::unused_self,
        reason = "a build for tests looks into the specification"
    )]
    pub(super) fn lacks(&self, _: Defence) -> bool {
        false
    }
}

/// A line of defence that a build for tests can leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(debug_assertions, derive(Serialize, Deserialize))]
pub enum Defence {
    /// The filter of system calls.
    SystemCalls,
    /// The masks and read-only parts of `/proc` and `/sys`.
    Masks,
    /// Landlock's fence around the host's abstract sockets.
    AbstractSockets,
    /// The copy of this program that children are started from.
    SealedCopy,
    /// The command has only the given capabilities.
    Capabilities,
    /// Device nodes that are not the host's, or are read-only.
    Devices,
    /// Default bounds: processes, the size of a tmpfs.
    Bounds,
    /// A private network cannot reach this machine's addresses.
    HostAddresses,
}

/// The root file system: an overlay, or a directory as it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Root {
    /// Unpacked layers, the uppermost first.
    pub lowers: Vec<PathBuf>,
    /// The directory for changes; without it the root is read-only.
    pub upper: Option<Upper>,
    /// The root is mounted read-only, except for these absolute paths inside, which stay as in
    /// the upper directory. `None`: everything is writable (if there is an upper directory).
    pub writable_only: Option<Vec<PathBuf>>,
}

/// overlayfs's two directories; both on one file system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Upper {
    pub upper: PathBuf,
    pub work: PathBuf,
}

/// Something mounted inside. Mount points are made beneath the root without following links out of
/// it, and never reach the upper directory: where one is missing, it is made on a tmpfs or on a
/// read-only tree of empty mount points below the upper directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Mount {
    /// A file or directory of the host.
    Bind {
        source: PathBuf,
        target: PathBuf,
        read_only: bool,
    },
    Tmpfs {
        target: PathBuf,
        /// Bytes; `None` is a quarter of the memory.
        size: Option<u64>,
        mode: u32,
    },
    /// An overlay of one lower directory and a private upper one (the wheel cache, for example).
    Overlay {
        lower: PathBuf,
        upper: Upper,
        target: PathBuf,
    },
    /// A small file on a tmpfs, owned by the command's user (secrets, `resolv.conf`).
    File {
        target: PathBuf,
        contents: Vec<u8>,
        mode: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The host's, fenced from its abstract sockets (Landlock scope) where the kernel can.
    Host,
    /// A namespace with only loopback.
    None,
    /// A namespace with loopback, whose sockets the port proxy reaches; outbound traffic through
    /// pasta or slirp4netns if one is installed.
    Private,
    /// A namespace with loopback and outbound traffic, from which this machine itself cannot be
    /// reached, but for [`Spec::host_services`] and its resolver. Without a helper for the traffic,
    /// the command is not started ([`super::SandboxError::NoOutbound`]).
    Outward,
}

/// The capabilities that root may get to install software and to set owners: they affect only the
/// sandbox's own files and processes (buildah's default list, without `chroot`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Capability {
    Chown,
    DacOverride,
    Fowner,
    Fsetid,
    Kill,
    Setgid,
    Setuid,
    Setpcap,
    NetBindService,
    Setfcap,
}

impl Capability {
    pub const ALL: [Self; 10] = [
        Self::Chown,
        Self::DacOverride,
        Self::Fowner,
        Self::Fsetid,
        Self::Kill,
        Self::Setgid,
        Self::Setuid,
        Self::Setpcap,
        Self::NetBindService,
        Self::Setfcap,
    ];

    /// The name from capabilities(7), without `CAP_`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chown => "CHOWN",
            Self::DacOverride => "DAC_OVERRIDE",
            Self::Fowner => "FOWNER",
            Self::Fsetid => "FSETID",
            Self::Kill => "KILL",
            Self::Setgid => "SETGID",
            Self::Setuid => "SETUID",
            Self::Setpcap => "SETPCAP",
            Self::NetBindService => "NET_BIND_SERVICE",
            Self::Setfcap => "SETFCAP",
        }
    }

    /// The kernel's number (`linux/capability.h`).
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Chown => 0,
            Self::DacOverride => 1,
            Self::Fowner => 3,
            Self::Fsetid => 4,
            Self::Kill => 5,
            Self::Setgid => 6,
            Self::Setuid => 7,
            Self::Setpcap => 8,
            Self::NetBindService => 10,
            Self::Setfcap => 31,
        }
    }
}

/// A command that runs in place, as this process's own user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HereSpec {
    /// Program and arguments, looked up as in [`super::Spec`].
    pub command: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
    pub umask: u32,
    /// Without a fence, the command can reach everything that this process can.
    pub fence: Option<Inside>,
    /// Directories that it writes to: what `limits.written` counts.
    pub written: Vec<PathBuf>,
    pub limits: Limits,
}

/// What the fence allows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Inside {
    /// Files and directories that are read and executed.
    pub readable: Vec<PathBuf>,
    /// Files and directories that may be written as well.
    pub writable: Vec<PathBuf>,
    /// TCP ports that are connected to; `None`: all of them.
    pub ports: Option<Vec<u16>>,
}

/// A command in a running sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinSpec {
    /// Process id of the sandbox's pid 1, as seen from here.
    pub target: i32,
    /// Program and arguments, looked up as in [`Spec`].
    pub command: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
    pub uid: u32,
    pub gid: u32,
    pub umask: u32,
}

/// The limits of the command. `None` means no limit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Limits {
    pub timeout: Option<Duration>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Number of CPUs, 1.5 for one and a half.
    pub cpus: Option<f64>,
    pub pids: Option<u64>,
    /// Bytes that the command may leave on the disk, in its upper directories; the largest single
    /// file as well.
    #[serde(default)]
    pub written: Option<u64>,
    /// A limit that cannot be enforced here gives a note ([`super::Sandbox::notes`]) instead of an error.
    #[serde(default)]
    pub best_effort: bool,
}

/// How a sandboxed command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// `limits.timeout` ran out and everything inside was killed.
    TimedOut,
    /// It wrote more than `limits.written` and everything inside was killed.
    WroteTooMuch,
    /// This process was interrupted (SIGINT, SIGTERM) and everything inside was killed.
    Interrupted,
}
