//! Notes about a build that the store keeps beside the image: how long the steps took, and why they
//! ran. They are about one build on one machine, so they are not in the image, which is the same
//! everywhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::oci::Digest;
use crate::store::{self, Needs, Store, StoreError};

use super::report::{Built, CacheState};

/// The notes about the build of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildNotes {
    /// Milliseconds by step.
    pub timings_ms: BTreeMap<String, u64>,
    /// The parts of the source that decided how the application is started; may be empty.
    pub because: String,
    pub phases: Vec<PhaseNote>,
}

/// The outcome of a phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseNote {
    pub phase: String,
    pub hit: bool,
    pub because: Vec<String>,
}

impl store::Record for BuildNotes {
    const KIND: &'static str = "build-notes";

    fn needs(&self) -> Needs {
        Needs::nothing()
    }
}

impl BuildNotes {
    /// The notes for the image with this manifest, if it was built in this store.
    pub fn of(store: &Store, manifest: &Digest) -> Result<Option<Self>, StoreError> {
        store.cached(manifest.digest())
    }
}

/// Keeps the notes of a build. A build that found everything in the cache has no information about
/// how the image was made: then existing notes stay.
pub(super) fn keep(store: &Store, built: &Built) -> Result<(), StoreError> {
    let report = &built.report;
    let digest = built.descriptor.digest();
    let cache = [report.cache.dependencies, report.cache.application];
    if cache == [CacheState::Hit; 2] && BuildNotes::of(store, digest)?.is_some() {
        return Ok(());
    }
    let phases = report.explain.iter().map(|phase| PhaseNote {
        phase: phase.phase.to_owned(),
        hit: phase.hit,
        because: phase.because.clone(),
    });
    store.remember(
        digest.digest(),
        &BuildNotes {
            timings_ms: report.timings_ms.clone(),
            because: report.because.clone(),
            phases: phases.collect(),
        },
    )
}
