//! What a build is asked for, and what it reports.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::app::listed::Listed;
use crate::layer::{Budget, Compression};
use crate::oci::Reference;
use crate::sandbox::{Limits, Network};
use crate::source::SourceRequest;
use crate::transport::Destination;

pub use super::inputs::Explanation;
use super::judge::{Judgement, Verdict};
use super::secrets::Redactor;
use super::verify::Pinned;

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
    pub audit: Judgement,
    /// `verify-build`: what has to be used, whatever names stand for today.
    pub pinned: Option<Pinned>,
    /// Of each sandbox in which the app's code or its packages' runs.
    pub limits: Limits,
    /// What the project's lock file comes to, once the builder's Python is known.
    pub listed: Option<Listed>,
    /// Of the layers that are written.
    pub budget: Budget,
    /// `SOURCE_DATE_EPOCH` (reproducible-builds.org), seconds.
    pub source_date_epoch: Option<i64>,
    /// The host's variables that concern package indexes, proxies and certificates.
    pub host_env: BTreeMap<String, String>,
    /// The code of the application and of sdists sees the logins of the host's package indexes, too.
    pub expose_index_credentials: bool,
}

impl Request {
    /// Takes what is secret in this request out of output.
    pub(super) fn redactor(&self) -> Redactor {
        let secrets = self.secrets.iter();
        let secrets = secrets.map(|secret| secret.contents.as_slice());
        Redactor::new(&self.host_env, &self.build_env, secrets)
    }
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

/// `image --json`; the keys are a contract.
#[derive(Debug, Serialize)]
pub struct Report {
    pub name: String,
    pub digest: String,
    pub config_digest: String,
    pub media_type: String,
    pub user: String,
    pub base: NameAndDigest,
    pub builder: NameAndDigest,
    pub layers: Vec<LayerReport>,
    pub cache: CacheReport,
    pub audit: Verdict,
    pub plan: serde_json::Value,
    /// Why each phase was run, or that it was not.
    pub explain: Vec<Explanation>,
    pub timings_ms: BTreeMap<String, u64>,
    pub pushed: Vec<String>,
    /// What was installed, as a lock file (PEP 751), where the resolver named the wheels.
    #[serde(skip)]
    pub lock: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameAndDigest {
    pub reference: String,
    pub digest: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct LayerReport {
    pub digest: String,
    pub diff_id: String,
    pub size: u64,
    pub media_type: String,
    pub kind: LayerKind,
    pub cached: bool,
    /// What the layer holds, in a few words.
    #[serde(skip)]
    pub title: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerKind {
    Base,
    Builder,
    Dependencies,
    Application,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct CacheReport {
    pub dependencies: CacheState,
    pub application: CacheState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheState {
    Hit,
    Miss,
}
