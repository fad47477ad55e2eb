//! What a build reports.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::oci::Descriptor;

/// An image in the store that has no name yet, and the report about it.
#[derive(Debug)]
pub struct Built {
    pub report: Report,
    /// The manifest in the store.
    pub descriptor: Descriptor,
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
    /// Why each phase ran, or that it did not.
    pub explain: Vec<Explanation>,
    /// Whether code ran in a sandbox, and what needed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxReport>,
    /// The image that the application runs on, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeReport>,
    pub timings_ms: BTreeMap<String, u64>,
    pub pushed: Vec<String>,
    /// The installed packages as a lock file (PEP 751), if the resolver named the wheels.
    #[serde(skip)]
    pub lock: Option<String>,
    /// What of the source decided how the application is started.
    #[serde(skip)]
    pub because: String,
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
    /// The layer's content, in a few words.
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

impl CacheState {
    pub(super) fn of(hit: bool) -> Self {
        if hit { Self::Hit } else { Self::Miss }
    }
}

/// What one phase did and why.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// `dependencies` or `application`.
    pub phase: &'static str,
    /// Whether the result existed already.
    pub hit: bool,
    /// What changed since the previous build; empty for a hit.
    pub because: Vec<String>,
}

/// `runtime` of `image --json`.
#[derive(Debug, Clone, Serialize)]
pub struct RuntimeReport {
    pub reference: String,
    pub because: String,
}

/// `sandbox` of `image --json`.
#[derive(Debug, Clone, Serialize)]
pub struct SandboxReport {
    pub used: bool,
    /// What needed one.
    pub because: Vec<String>,
}

/// `audit` of `image --json`.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// `passed` or `refused`, by the policy; `unknown` where the image could not be judged.
    pub verdict: &'static str,
    pub high: usize,
    pub medium: usize,
    pub low: usize,
    pub info: usize,
    /// How many of the findings come from the base image.
    pub from_base: usize,
}
