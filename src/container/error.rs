//! What can go wrong with a container.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::rootfs::RootfsError;
use crate::sandbox::SandboxError;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    #[error("`{value}` is not a port mapping: {problem}")]
    Port { value: String, problem: String },
    #[error("`{value}` is not a volume: {problem}")]
    Volume { value: String, problem: String },
    #[error("`{value}` is not a variable: {problem}")]
    Variable { value: String, problem: String },
    #[error("line {line} of {path} is not a variable: {problem}", path = path.display())]
    EnvFile {
        path: PathBuf,
        line: usize,
        problem: String,
    },
    #[error(transparent)]
    User(#[from] crate::rootfs::UserError),
    #[error(
        "cannot run as {uid}:{gid}: this machine gives you one uid only, which is 1001:0 inside the container"
    )]
    OnlyOneUid { uid: u32, gid: u32 },
    #[error(
        "`{name}` is not a name: letters, digits, `_`, `.`, `-`, beginning with a letter or digit, 64 at most"
    )]
    Name { name: String },
    #[error("the name `{name}` is taken by container {id}")]
    NameTaken { name: String, id: String },
    #[error("there is no container `{name}`")]
    NoSuch { name: String },
    #[error("`{name}` could be any of the containers {ids}")]
    Ambiguous { name: String, ids: String },
    #[error("container `{name}` is not running")]
    NotRunning { name: String },
    #[error("port {port} of container `{name}` is not published")]
    NotPublished { name: String, port: u16 },
    #[error("container `{name}` is running")]
    Running { name: String },
    #[error("there is no image `{name}` in the store")]
    NoImage { name: String },
    #[error("the image `{image}` names no command, and none was given")]
    NoCommand { image: String },
    #[error("cannot listen on {address} for the container's port {port}: {source}")]
    Listen {
        address: SocketAddr,
        port: u16,
        source: io::Error,
    },
    #[error("-p goes with --network private: with `{network}` there is nothing to forward to")]
    PortsWithoutNetwork { network: &'static str },
    #[error("-t needs a terminal on standard input")]
    NoTerminal,
    #[error("could not {doing} {path}: {source}", path = path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("could not {doing}: {source}")]
    System {
        doing: &'static str,
        source: io::Error,
    },
    #[error("the container's record {path} cannot be read: {problem}", path = path.display())]
    Record { path: PathBuf, problem: String },
    /// The supervisor's error before the container ran; the text is complete.
    #[error("{message}")]
    Supervisor {
        code: String,
        message: String,
        hint: Option<String>,
        status: u8,
    },
    #[error(
        "container `{name}` was made with other ids than this user has now (as root, with or without subordinate ids)"
    )]
    OtherIds { name: String },
    #[error("container `{name}` was started with --rm: it is gone when it is stopped")]
    GoneWhenStopped { name: String },
    #[error("`{name}` does not answer on its port {port} after {} s", waited.as_secs())]
    NoAnswer {
        name: String,
        port: u16,
        waited: Duration,
        /// Ports inside that something listens on.
        listens: Vec<u16>,
        /// The last lines of its log.
        tail: Vec<String>,
        /// How its project adds a package, as its plan says it.
        adding: Value,
    },
    #[error("the workers of `{name}` end as soon as they start, again and again; it was stopped")]
    WorkersDie {
        name: String,
        /// The last lines of its log.
        tail: Vec<String>,
        /// How its project adds a package, as its plan says it.
        adding: Value,
    },
    #[error("`{name}` ended with status {status} as soon as it had been started")]
    EndedEarly {
        name: String,
        status: i32,
        /// The last lines of its log.
        tail: Vec<String>,
        /// How its project adds a package, as its plan says it.
        adding: Value,
        /// It is gone, and its log with it.
        removed: bool,
        /// It is an application for the web.
        serves: bool,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Rootfs(Box<RootfsError>),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

impl From<RootfsError> for ContainerError {
    fn from(error: RootfsError) -> Self {
        match error {
            RootfsError::Store(error) => Self::Store(error),
            error => Self::Rootfs(Box::new(error)),
        }
    }
}

impl ContainerError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Port { .. } => "port-invalid",
            Self::Volume { .. } => "volume-invalid",
            Self::Variable { .. } | Self::EnvFile { .. } => "variable-invalid",
            Self::User(_) => "user-unknown",
            Self::OnlyOneUid { .. } => "single-uid",
            Self::Name { .. } => "name-invalid",
            Self::NameTaken { .. } => "name-taken",
            Self::NoSuch { .. } | Self::Ambiguous { .. } => "container-missing",
            Self::NotRunning { .. } => "not-running",
            Self::NotPublished { .. } => "not-published",
            Self::Running { .. } => "running",
            Self::NoImage { .. } => "image-missing",
            Self::NoCommand { .. } => "no-command",
            Self::Listen { .. } => "port-unavailable",
            Self::PortsWithoutNetwork { .. } | Self::NoTerminal => "usage",
            Self::Supervisor { code, .. } => {
                let known = ["port-unavailable", "sandbox"];
                known
                    .into_iter()
                    .find(|word| word == code)
                    .unwrap_or("container")
            }
            Self::EndedEarly { .. } => "ended-early",
            Self::WorkersDie { .. } => "workers-die",
            Self::NoAnswer { .. } => "no-answer",
            Self::OtherIds { .. } => "other-ids",
            Self::GoneWhenStopped { .. } => "gone-when-stopped",
            Self::Io { .. } | Self::System { .. } | Self::Record { .. } => "container",
            Self::Store(_) => "store",
            Self::Rootfs(_) => "layers",
            Self::Sandbox(_) => "sandbox",
        }
    }

    /// What to do about it, if it adds something to the message.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::OnlyOneUid { .. } => format!(
                "other users need a range of subordinate ids: as root, `apt install uidmap` and \
                 `{}`; then run `warpdrive doctor`",
                crate::sandbox::give_ids("$USER")
            ),
            Self::NameTaken { name, .. } => format!(
                "choose another --name, or remove that container: `warpdrive container rm -f {name}`"
            ),
            Self::NoSuch { .. } => "`warpdrive container ls` lists them".to_owned(),
            Self::NotPublished { name, port } => format!(
                "start it with `-p 0:{port}`; `warpdrive container port {name}` lists what is published"
            ),
            Self::Running { name } => {
                format!("`warpdrive container stop {name}` first, or use `rm -f`")
            }
            Self::NoImage { name } => format!(
                "`warpdrive images` lists them; `warpdrive image {name}` builds one, `warpdrive pull` fetches one"
            ),
            Self::NoCommand { .. } => {
                "give one after the name: `warpdrive run NAME -- CMD`".to_owned()
            }
            Self::Listen {
                address,
                port,
                source,
            } => match source.kind() {
                io::ErrorKind::AddrInUse => format!(
                    "something listens there already (`ss -ltnp` shows what); take another port, \
                     or `-p 0:{port}` for a free one"
                ),
                io::ErrorKind::PermissionDenied if address.port() < 1024 => format!(
                    "ports below 1024 are root's here: take a higher one, `-p {}:{port}`",
                    u32::from(address.port()) + 8000
                ),
                _ => return None,
            },
            Self::Supervisor { hint, .. } => return hint.clone(),
            Self::EndedEarly { removed: true, .. } => {
                "--rm removed it: without that its log stays".to_owned()
            }
            Self::NoAnswer {
                name,
                port,
                listens,
                ..
            } => match listens.as_slice() {
                [] => format!(
                    "it runs on: `warpdrive logs -f {name}` shows what it does; --wait 5m gives it \
                     more time, --no-wait does not wait"
                ),
                others => format!(
                    "it listens on {} instead: let it listen on $PORT, or tell where it does with \
                     `-e PORT={}`; it was to be {port}",
                    others
                        .iter()
                        .map(u16::to_string)
                        .collect::<Vec<_>>()
                        .join(", "),
                    others[0]
                ),
            },
            Self::GoneWhenStopped { .. } => {
                "stop it, and start a new one with `warpdrive run`".to_owned()
            }
            Self::OtherIds { name } => {
                format!(
                    "start it as it was made, or make a new one: `warpdrive container rm {name}`"
                )
            }
            Self::WorkersDie { name, .. } | Self::EndedEarly { name, .. } => format!(
                "`warpdrive logs {name}` has all that it said; `warpdrive container rm {name}` removes it"
            ),
            _ => return None,
        })
    }

    /// 125 (warpdrive's own failure), 126 (the command cannot be executed), 127 (there is none).
    pub fn status(&self) -> u8 {
        match self {
            Self::Supervisor { status, .. } => *status,
            // Whether a server gives up before its crashing workers are noticed is a matter of time.
            Self::EndedEarly { serves: true, .. }
            | Self::NoAnswer { .. }
            | Self::WorkersDie { .. } => 1,
            Self::EndedEarly { status, .. } => u8::try_from(*status).unwrap_or(125),
            Self::Sandbox(error) => u8::try_from(error.shell_status()).unwrap_or(125),
            _ => 125,
        }
    }
}
