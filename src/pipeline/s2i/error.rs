//! Errors of a build with an S2I builder.

use std::io;
use std::path::PathBuf;

use crate::rootfs::UserError;
use crate::s2i::S2iError;
use crate::s2i::uids::Refused;
use crate::sandbox::Exit;

#[derive(Debug, thiserror::Error)]
pub enum S2iBuildError {
    #[error(transparent)]
    S2i(#[from] S2iError),
    #[error("a build with one of warpdrive's own builders needs a name for the image")]
    NeedsName,
    #[error("{option} is for builders of others; this one is warpdrive's own")]
    NotWithOurs { option: &'static str },
    #[error("no builder image was named")]
    NoBuilder,
    #[error("`{reference}` is not in the store, and the pull policy is `never`")]
    NotInStore { reference: String },
    #[error(transparent)]
    User(#[from] UserError),
    #[error("{what} is {user:?}, which --allowed-uids {allowed} does not allow: {reason}")]
    UserRefused {
        what: String,
        user: String,
        allowed: String,
        reason: Refused,
    },
    #[error(
        "{what} of `{image}` is {uid}:{gid}{}, and this user has one uid only, which is 1001:0 \
         inside",
        with_groups(groups)
    )]
    OneUid {
        what: &'static str,
        image: String,
        uid: u32,
        gid: u32,
        groups: Vec<u32>,
    },
    #[error(
        "{script} changed {}, which user 1001:0 may not change in `{image}`: with one uid only \
         such a build cannot give the image that others get", path.display()
    )]
    OneUidChange {
        script: &'static str,
        image: String,
        path: PathBuf,
    },
    #[error("there is no `{script}` script: looked in {looked}")]
    NoScript { script: String, looked: String },
    #[error("--scripts-url {url} has none of the scripts")]
    NoScriptsAt { url: String },
    #[error("`{image}` names scripts at {url}, which are fetched only if you ask for them")]
    ScriptsNotAskedFor {
        image: String,
        url: String,
        host: String,
    },
    #[error("the scripts at {url} cannot be fetched with --network none")]
    ScriptsOffline { url: String },
    #[error(transparent)]
    Registry(#[from] crate::registry::RegistryError),
    #[error("no Dockerfile can be written: {problem}")]
    Dockerfile { problem: String },
    #[error("{} is there already, and not by warpdrive", path.display())]
    InTheWay { path: PathBuf },
    #[error("could not get {url}: {problem}")]
    Download { url: String, problem: String },
    #[error("{script} of `{image}` {}", describe(*exit))]
    Script {
        script: String,
        image: String,
        exit: Exit,
        /// The last lines that it printed.
        tail: Vec<String>,
    },
    #[error("{} in `{image}` is not a directory, so nothing can be put there", path.display())]
    NotADirectory { image: String, path: PathBuf },
    #[error("--inject {}: {problem}", path.display())]
    Inject { path: PathBuf, problem: String },
    #[error("--volume {}: {problem}", path.display())]
    Volume { path: PathBuf, problem: String },
    #[error(
        "the labels have {size} bytes of names and values, and an image of S2I may have {limit}"
    )]
    Labels { size: usize, limit: usize },
    #[error("`{name}` is not a capability of Linux; those that a build has are {known}")]
    Capability { name: String, known: String },
    #[error(
        "there are no runtime artifacts: neither --runtime-artifact nor the label \
         io.openshift.s2i.assemble-input-files of `{image}` names any"
    )]
    NoArtifacts { image: String },
    #[error("the runtime artifact {path} is not in the assembled builder `{image}`")]
    ArtifactMissing { path: String, image: String },
    #[error("the runtime artifact {path} cannot be taken: {problem}")]
    Artifact { path: String, problem: String },
    #[error(
        "no file to start the application with: an ONBUILD builder without S2I scripts needs an \
         executable in the source that is called one of {names}"
    )]
    NoEntrypoint { names: String },
    #[error("could not {doing} {}: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl S2iBuildError {
    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.into(),
            source,
        }
    }
}

fn with_groups(groups: &[u32]) -> String {
    if groups.is_empty() {
        return String::new();
    }
    let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
    format!(" with the groups {}", groups.join(", "))
}

fn describe(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("failed with status {code}"),
        Exit::Signal(signal) => format!("was killed by signal {signal}"),
        Exit::TimedOut => "did not finish within the time limit".into(),
        Exit::WroteTooMuch => "wrote more than a build may".into(),
        Exit::Interrupted => "was interrupted".into(),
    }
}
