//! The request for a build.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use crate::audit::Policy;
use crate::layer::{Budget, Compression};
use crate::oci::{Digest, Reference};
use crate::remote_cache::RemoteCache;
use crate::sandbox::{Limits, Network};
use crate::source::{Origin, SourceRequest, Tree};
use crate::transport::Destination;

use super::error::BuildError;
use super::place::Place;
use super::secrets::Redactor;
use super::unsearched::Unsearched;

/// When to ask the registry for a builder or runtime image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pull {
    /// When the store does not have it.
    #[default]
    Missing,
    /// Each time, with one request; if there is no answer, the image in the store is used.
    Newer,
    /// Each time; a missing answer is an error.
    Always,
    Never,
}

/// When code runs in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SandboxUse {
    /// If something has to run, or if the base image is in the store anyway.
    #[default]
    Auto,
    Always,
    /// Never; anything that needs one is an error.
    Never,
}

/// One `warpdrive image`.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub struct Request {
    pub name: Reference,
    /// The source tree, and where it is.
    pub source: SourceRequest,
    /// `--builder`; otherwise the app's own choice, or one that fits its Python version.
    pub builder: Option<String>,
    /// Images that the source may name as its builder, besides warpdrive's own.
    pub allowed_builders: Vec<String>,
    /// `--runtime-image`: the image that the application runs on, if it is another one.
    pub runtime_image: Option<String>,
    /// Without one, the application may run on the slim twin of the builder.
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
    /// Do not read the build cache.
    pub no_cache: bool,
    pub sandbox: SandboxUse,
    /// Without a sandbox, the application's source is byte-compiled by a Python of this machine.
    pub byte_code: bool,
    /// Caches in registries.
    pub cache: RemoteCache,
    /// Resolve unpinned requirements again.
    pub upgrade: bool,
    /// Of the layers that this build writes.
    pub compression: Compression,
    /// With an S2I builder: restore the output of the previous image's `save-artifacts`. warpdrive's
    /// own builders always keep what they installed.
    pub incremental: bool,
    pub network: Network,
    /// Load what a start would load before the image is made.
    pub smoke: bool,
    /// Remove setuid bits and account tools from the base.
    pub harden: bool,
    pub audit: AuditGate,
    /// `verify-build`: the images and versions to use, whatever the names mean today.
    pub pinned: Option<Pinned>,
    /// Limits of each sandbox in which code of the app or of its packages runs.
    pub limits: Limits,
    /// The bounds on new layers.
    pub budget: Budget,
    /// What the search for secrets has passed over.
    pub unsearched: Unsearched,
    /// `SOURCE_DATE_EPOCH` (reproducible-builds.org), seconds.
    pub source_date_epoch: Option<i64>,
    /// The host's variables about package indexes, proxies and certificates.
    pub host_env: BTreeMap<String, String>,
    /// The code of the application and of sdists sees the logins of the host's package indexes, too.
    pub expose_index_credentials: bool,
    /// Between the steps of a pipeline.
    pub handover: Handover,
    /// The directory for the wheels that this build fetches, for a step that fills a cache.
    pub wheels: Option<PathBuf>,
    /// Where the stages run.
    pub place: Place,
}

impl Request {
    /// Redacts this request's secrets in output.
    pub(super) fn redactor(&self) -> Redactor {
        let secrets = self.secrets.iter();
        let secrets = secrets.map(|secret| secret.contents.as_slice());
        Redactor::new(&self.host_env, &self.build_env, secrets)
    }

    /// What tells one application from another: where the caller takes the source from, and the image's name.
    pub(super) fn application(&self) -> serde_json::Value {
        let place = |path: &std::path::Path| {
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            path.to_string_lossy().into_owned()
        };
        let source = match &self.source.origin {
            Origin::Git(url) => match url.path() {
                Some(path) => place(&path),
                None => url.address().to_owned(),
            },
            Origin::Directory(path) => place(path),
            // These lie anywhere.
            Origin::Archive(_) | Origin::Stdin => String::new(),
        };
        let name = &self.name;
        json!([
            source,
            self.source.context_dir,
            name.registry(),
            name.repository()
        ])
    }
}

/// How the dependency phase's result is handed over, for pipelines whose steps run one phase each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Handover {
    #[default]
    Nothing,
    /// Only this result is made, and it is written here.
    Give(PathBuf),
    /// Another step has made it; it is here.
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

/// How a build uses the audit.
#[derive(Debug, Clone, Default)]
pub struct AuditGate {
    pub policy: Policy,
    /// An image that does not pass gets no name and is not delivered.
    pub required: bool,
    /// A builder that does not pass is not used.
    pub builder_too: bool,
}

/// The images that a build has to use, whatever their names mean today.
#[derive(Debug, Clone)]
pub struct Pinned {
    pub builder: Digest,
    pub runtime: Option<Digest>,
    /// Versions of distributions, as a list of constraints.
    pub constraints: String,
    /// The required source.
    pub source: String,
    pub commit: Option<String>,
    /// The source's location in the image's record; the source may come from another place.
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
