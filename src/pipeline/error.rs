//! Errors of a build.

use std::io;
use std::path::PathBuf;

use crate::builder::BuilderError;
use crate::layer::LayerError;
use crate::oci::{Digest, OciError};
use crate::pod::PodError;
use crate::registry::RegistryError;
use crate::remote_cache::CacheError;
use crate::rootfs::RootfsError;
use crate::sandbox::{Exit, SandboxError};
use crate::source::SourceError;
use crate::store::StoreError;
use crate::transport::TransportError;

use super::image_use::Use;
use super::lacking::Lacking;

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Settings(#[from] crate::app::settings::SettingsError),
    #[error(transparent)]
    Detect(#[from] crate::app::DetectError),
    #[error(transparent)]
    Lockfile(#[from] crate::lockfile::LockfileError),
    #[error("the package index does not answer: {address} could not be fetched")]
    IndexUnreachable { address: String, tail: Vec<String> },
    #[error("{source}; {reference} was to be the builder image ({reason})")]
    OfficialUnreachable {
        reference: String,
        reason: String,
        /// The Pythons that Debian builders have.
        pythons: Vec<&'static str>,
        source: RegistryError,
    },
    #[error("{package} is locked, and {index} has no file of it with the locked hash")]
    NotInIndex { package: String, index: String },
    #[error("the index {index} answered {status} when it was asked for {what} {}", if *.has_login { "with the login that is set" } else { "without a login" })]
    IndexLogin {
        what: String,
        /// Its name, and its address without login.
        index: String,
        status: u16,
        has_login: bool,
        /// The variables with its login: a user's name, and a password.
        variables: Option<[String; 2]>,
    },
    #[error("the project says that {package} is from {index}, which has no file of it that fits")]
    NothingFits {
        package: String,
        /// The conditions on the version.
        wanted: String,
        index: String,
        /// Names of files.
        offered: Vec<String>,
    },
    #[error(
        "{tool} takes the version{} from git, and {problem}",
        if .project.is_empty() { String::new() } else { format!(" of {}", .project) }
    )]
    NoVersion {
        tool: &'static str,
        /// Its directory; empty for the source itself.
        project: String,
        variable: String,
        problem: String,
    },
    #[error("{what} is not in the store, and this build has no network")]
    NoNetwork { what: String },
    #[error("{python} cannot be asked for its version")]
    LocalPython {
        python: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the {phase} phase of assemble {}", describe(*exit))]
    Assemble {
        phase: &'static str,
        exit: Exit,
        /// The last lines that it printed.
        tail: Vec<String>,
        /// Files that a compilation did not find.
        lacking: Option<Lacking>,
        /// Variables of the host whose logins it did not see.
        withheld: Vec<&'static str>,
    },
    #[error("the front end of {package} {}", describe(*exit))]
    Assets {
        package: String,
        exit: Exit,
        tail: Vec<String>,
    },
    #[error("{package} has a build script, and there is no Node to run it with")]
    NoNode {
        package: String,
        /// The image that was searched.
        reference: String,
    },
    #[error("{place}: `{text}` is not the name of a Debian package")]
    AptLine { place: String, text: String },
    #[error("{place} names Debian packages, and {reference} cannot be made with them here")]
    AptBase {
        place: String,
        reference: String,
        packages: Vec<String>,
    },
    #[error("{package} is locked by {lock}, and Bun is not in Debian")]
    AssetsLock { package: String, lock: String },
    #[error("the build script of {package} has written no file")]
    NoAssets { package: String },
    #[error("{}", .0.title)]
    Smoke(Box<crate::app::advice::Advice>),
    /// Not for users: the build runs again.
    #[error("the application loads on its builder but not on {twin}: {problem}")]
    BuilderOnly { twin: String, problem: String },
    #[error("the image cannot be built without a sandbox: {}", because.join("; "))]
    NeedsSandbox { because: Vec<String> },
    #[error(transparent)]
    Unassembled(Box<crate::app::assemble::AssembleError>),
    #[error("interrupted")]
    Interrupted,
    #[error("the wheel of {wheel} {problem}")]
    Wheel { wheel: String, problem: String },
    #[error("there is no `uv` for {architecture} in this release of warpdrive")]
    NoInstaller { architecture: &'static str },
    #[error("{source_name} holds no file that would go into the image")]
    EmptySource { source_name: String },
    #[error("could not write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("could not read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("installed packages disappeared from the store during the build")]
    TreesGone,
    #[error("could not start a thread: {0}")]
    Threads(rayon::ThreadPoolBuildError),
    #[error("the application phase left no plan at /opt/app-root/etc/warpdrive/plan.json")]
    NoPlan,
    #[error(
        "there is no lock file of this build: something in it was not installed from a wheel of an index"
    )]
    NoLock,
    #[error(
        "{place} names {} `{reference}`, which the source may not choose without your consent",
        used.what()
    )]
    BuilderNotAllowed {
        used: Use,
        reference: String,
        place: String,
    },
    #[error(
        "its layer {number} is not that of the base {reference} on which this step runs ({wanted})"
    )]
    OtherBase {
        number: usize,
        reference: String,
        wanted: String,
    },
    #[error("the dependencies in {} are not those of this build", directory.display())]
    OtherDependencies { directory: PathBuf },
    #[error("no image was made: the request was for the dependencies alone")]
    OnlyDependencies,
    #[error("its layer {layer} differs from its configuration ({wanted}): {problem}")]
    OtherContent {
        layer: String,
        wanted: String,
        problem: String,
    },
    #[error("{what} `{name}` does not pass the audit")]
    AuditRefused {
        what: &'static str,
        name: String,
        /// The most severe findings, a line each.
        findings: Vec<String>,
    },
    #[error("`{reference}` is not in the store, and --pull never asks no registry for it")]
    NotPulled { reference: String },
    #[error("the image cannot be rebuilt from its build record: {problem}")]
    NoRecord { problem: String },
    #[error(
        "the image was made on {reference} with the digest {digest}, which is not in the store"
    )]
    NoSuchBuilder { reference: String, digest: String },
    #[error(
        "this is not the source that the image was made from: it was made from {wanted}, and this is {found}"
    )]
    OtherSource {
        wanted: String,
        found: String,
        /// The commit, if it differs.
        commit: Option<String>,
    },
    #[error(transparent)]
    Audit(#[from] crate::audit::AuditError),
    /// Names the file, never the bytes.
    #[error("{secret} is in the image, {form}: {place}")]
    SecretInImage {
        secret: String,
        place: String,
        form: &'static str,
    },
    #[error(transparent)]
    S2iBuild(#[from] super::s2i::S2iBuildError),
    #[error(transparent)]
    Builder(#[from] BuilderError),
    #[error(transparent)]
    Pod(#[from] PodError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Oci(#[from] OciError),
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl BuildError {
    /// The damaged or missing blob, if it is the cause.
    pub(super) fn lost_blob(&self) -> Option<&Digest> {
        let (Self::Store(error)
        | Self::Rootfs(RootfsError::Store(error))
        | Self::Builder(
            BuilderError::Store(error) | BuilderError::Rootfs(RootfsError::Store(error)),
        )) = self
        else {
            return None;
        };
        match error {
            StoreError::Corrupt { digest, .. } | StoreError::Missing { digest } => Some(digest),
            _ => None,
        }
    }
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
