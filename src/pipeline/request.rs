//! The request for a build.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::audit::Policy;
use crate::layer::{Budget, Compression};
use crate::oci::{Digest, Reference};
use crate::remote_cache::RemoteCache;
use crate::sandbox::{Limits, Network};
use crate::source::{SourceRequest, Tree};
use crate::transport::Destination;

use super::error::BuildError;
use super::place::Place;
use super::secrets::Redactor;

/// When the registry of a builder or runtime image is asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pull {
    /// When the store does not have it.
    #[default]
    Missing,
    /// Each time, by one question; the store's is taken where nothing answers.
    Newer,
    /// Each time; no answer is an error.
    Always,
    Never,
}

/// When code is run in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SandboxUse {
    /// Where something has to run, and where the base image is in the store anyway.
    #[default]
    Auto,
    Always,
    /// What would need one is an error.
    Never,
}

/// One `warpdrive image`.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub struct Request {
    pub name: Reference,
    /// The source tree, and where it is.
    pub source: SourceRequest,
    /// `--builder`; otherwise the app's own wish or what fits its Python version.
    pub builder: Option<String>,
    /// Images that the source may name as its builder, besides warpdrive's own.
    pub allowed_builders: Vec<String>,
    /// `--runtime-image`: what the application runs on, where that is another image.
    pub runtime_image: Option<String>,
    /// Without one, the slim twin of the builder may be what the application runs on.
    pub twin: bool,
    /// `--auto-apt`: Debian packages with the shared libraries that the dependencies lack are added.
    pub auto_apt: bool,
    /// Of the builder and the runtime image.
    pub pull: Pull,
    /// Committed to the image and seen by the application phase.
    pub env: Vec<(String, String)>,
    /// Seen by the build only.
    pub build_env: Vec<(String, String)>,
    pub secrets: Vec<Secret>,
    pub outputs: Vec<Destination>,
    pub push: bool,
    /// Look nothing up in the build cache.
    pub no_cache: bool,
    pub sandbox: SandboxUse,
    /// Without a sandbox, the application's source is byte-compiled by a Python of this machine.
    pub byte_code: bool,
    /// Caches in registries.
    pub cache: RemoteCache,
    /// Resolve unpinned requirements anew.
    pub upgrade: bool,
    /// Of the layers that this build writes.
    pub compression: Compression,
    /// With an S2I builder: restore what the previous image's `save-artifacts` gives. Our own builders
    /// keep what they installed in any case.
    pub incremental: bool,
    pub network: Network,
    /// Load what a start would load before the image is made.
    pub smoke: bool,
    /// Take setuid bits and account tools of the base away.
    pub harden: bool,
    pub audit: AuditGate,
    /// `verify-build`: what has to be used, whatever names stand for today.
    pub pinned: Option<Pinned>,
    /// Of each sandbox in which the app's code or its packages' runs.
    pub limits: Limits,
    /// Of the layers that are written.
    pub budget: Budget,
    /// `SOURCE_DATE_EPOCH` (reproducible-builds.org), seconds.
    pub source_date_epoch: Option<i64>,
    /// The host's variables that concern package indexes, proxies and certificates.
    pub host_env: BTreeMap<String, String>,
    /// The code of the application and of sdists sees the logins of the host's package indexes, too.
    pub expose_index_credentials: bool,
    /// Between the steps of a pipeline.
    pub handover: Handover,
    /// Where the wheels go that this build has fetched, for a step that fills a cache.
    pub wheels: Option<PathBuf>,
    /// Where the stages run.
    pub place: Place,
}

impl Request {
    /// Takes what is secret in this request out of output.
    pub(super) fn redactor(&self) -> Redactor {
        let secrets = self.secrets.iter();
        let secrets = secrets.map(|secret| secret.contents.as_slice());
        Redactor::new(&self.host_env, &self.build_env, secrets)
    }
}

/// What becomes of the dependency phase's result besides, for steps of a pipeline that each run one phase.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Handover {
    #[default]
    Nothing,
    /// It is all that is made, and is written here.
    Give(PathBuf),
    /// It was made by another step, and is here.
    Take(PathBuf),
}

/// A file on a tmpfs below `/run/secrets`, for the time of the build.
#[derive(Clone)]
pub struct Secret {
    pub id: String,
    pub contents: Vec<u8>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Secret({})", self.id)
    }
}

/// What a build is to make of the audit.
#[derive(Debug, Clone, Default)]
pub struct AuditGate {
    pub policy: Policy,
    /// An image that does not pass gets no name and goes nowhere.
    pub required: bool,
    /// A builder that does not pass is not built on.
    pub builder_too: bool,
}

/// The images that a build has to use, whatever their names stand for today.
#[derive(Debug, Clone)]
pub struct Pinned {
    pub builder: Digest,
    pub runtime: Option<Digest>,
    /// Versions of distributions, as a list of constraints.
    pub constraints: String,
    /// What the source has to be.
    pub source: String,
    pub commit: Option<String>,
    /// Where the image says that its source is; it may be taken from elsewhere.
    pub remote: Option<String>,
}

impl Pinned {
    /// Refuses a source that the image was not made from.
    pub(super) fn check(&self, found: &Digest, tree: &mut Tree) -> Result<(), BuildError> {
        let commit = tree.commit.as_ref().map(|commit| commit.id.clone());
        if found.to_string() == self.source && commit == self.commit {
            if let Some(commit) = &mut tree.commit {
                commit.remote.clone_from(&self.remote);
            }
            return Ok(());
        }
        Err(BuildError::OtherSource {
            wanted: described(self.commit.as_deref(), &self.source),
            found: described(commit.as_deref(), found.as_ref()),
            commit: self
                .commit
                .clone()
                .filter(|wanted| commit.as_ref() != Some(wanted)),
        })
    }
}

fn described(commit: Option<&str>, digest: &str) -> String {
    match commit {
        Some(commit) => format!("commit {commit} ({digest})"),
        None => format!("no commit ({digest})"),
    }
}
