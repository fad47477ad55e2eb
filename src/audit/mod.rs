//! The audit: rules over a finished image, by its configuration and its flattened layers.
//!
//! ```text
//!  store, OCI layout, archive,
//!  registry (`pipeline`) ────────► Image ──► scan (one pass per layer, layers in parallel)
//!          (input)                              │ facts: what rules may care about, traces of all else
//!                                               ▼
//!                          Flat (layers laid over each other) ──► judge ──► findings
//!                                                                    policy ──► Report ──► JSON, SARIF
//! ```
//!
//! Here: what is wrong with an image. Not here: output on a terminal (`cli`), fetching images from
//! registries (`registry`), unpacking them (`layer`). Nothing is unpacked, run or followed: layers
//! are read as streams, and only the entries that `interest` names are kept. All content is
//! hostile: sizes and counts are bounded, and content that cannot be judged is a finding or an
//! error, never a pass.
//!
//! [`accounts`], [`capability`], [`dpkg`] and [`policy`] are pure functions over bytes.

pub mod accounts;
mod acl;
pub mod capability;
mod date;
pub mod dpkg;
mod elf;
mod error;
mod facts;
mod finding;
mod flatten;
mod input;
mod interest;
mod judge;
mod linker;
mod memory;
mod paths;
pub mod policy;
mod report;
mod rules;
mod sarif;
mod scan;
mod secrets;
mod shipped_setuid;
mod survey;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use date::Date;
pub use error::AuditError;
pub use finding::{Finding, Severity};
pub use input::{
    Image, Layers, docker_archive, from_store, oci_archive, oci_layout, of_blobs, uncompressed,
};
pub use policy::{Policy, PolicyError};
pub use report::{Excused, LayerInfo, Report};
pub use rules::{RULES, Rule, by_id};
pub use sarif::to_sarif;
pub use secrets::tokens_in;
pub use survey::{Privileged, Survey, survey};

use crate::layer::LayerError;
use crate::store::Store;
use facts::{LayerFacts, PathHasher};
use interest::Interest;
use memory::Memory;
use scan::{Budget, ScanError};

/// Most layers that are read at once: each takes a window of compressed data in memory.
const MAX_THREADS: usize = 4;

/// Judges an image by all rules and applies the policy; `today` decides which exceptions count.
pub fn audit(image: &Image<'_>, policy: &Policy, today: Date) -> Result<Report, AuditError> {
    let interest = Interest::new(&image.config);
    judge_with(
        image,
        policy,
        today,
        &interest,
        None,
        &PathHasher::default(),
    )
}

/// As [`audit`], with the store's memory of layers' facts: only new layers are read.
pub fn audit_remembering(
    store: &Store,
    image: &Image<'_>,
    policy: &Policy,
    today: Date,
) -> Result<Report, AuditError> {
    let interest = Interest::new(&image.config);
    let memory = Memory::new(store, &interest)?;
    let hasher = memory.hasher().clone();
    judge_with(image, policy, today, &interest, Some(&memory), &hasher)
}

fn judge_with(
    image: &Image<'_>,
    policy: &Policy,
    today: Date,
    interest: &Interest,
    memory: Option<&Memory<'_>>,
    hasher: &PathHasher,
) -> Result<Report, AuditError> {
    let layers = scan_all(image, interest, memory, hasher)?;
    let flat = flatten::Flat::new(&layers, hasher);
    let findings = judge::judge(&judge::Subject {
        config: &image.config,
        flat: &flat,
        interest,
        trusted: image.trusted,
    });
    let mut report = Report::new(
        &image.name,
        image.digest.clone(),
        image.layers.clone(),
        findings,
        policy,
        today,
    );
    report.bytes = layers.iter().map(|facts| facts.bytes).sum();
    Ok(report)
}

/// Each build makes the uppermost layer again: its facts are kept only from this size in bytes.
const WORTH_KEEPING: u64 = 8 << 20;

/// Reads all layers, several at a time. The first error in the order of the layers is reported,
/// not the first in time.
fn scan_all(
    image: &Image<'_>,
    interest: &Interest,
    memory: Option<&Memory<'_>>,
    hasher: &PathHasher,
) -> Result<Vec<LayerFacts>, AuditError> {
    let count = image.layers.len();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let budget = Budget::default();
    let results: Mutex<Vec<Option<Result<LayerFacts, AuditError>>>> =
        Mutex::new((0..count).map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(MAX_THREADS).min(count) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    if index < image.absent {
                        if let Ok(mut results) = results.lock() {
                            results[index] = Some(Ok(LayerFacts::default()));
                        }
                        continue;
                    }
                    let layer = &image.layers[index];
                    let known = memory.and_then(|memory| memory.recall(layer));
                    let result = if let Some(facts) = known {
                        Ok(facts)
                    } else {
                        let result = scan_one(image, index, interest, hasher, &budget);
                        if let (Some(memory), Ok(facts)) = (memory, &result)
                            && (index + 1 < count || facts.bytes >= WORTH_KEEPING)
                        {
                            memory.keep(layer, facts);
                        }
                        result
                    };
                    let failed = result.is_err();
                    if let Ok(mut results) = results.lock() {
                        results[index] = Some(result);
                    }
                    if failed {
                        next.store(count, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_default();
    let mut all = Vec::with_capacity(count);
    let mut missing = false;
    for result in results {
        match result {
            Some(result) => all.push(result?),
            None => missing = true,
        }
    }
    if missing || all.len() != count {
        return Err(AuditError::LayerCount {
            layers: all.len(),
            diff_ids: count,
        });
    }
    Ok(all)
}

fn scan_one(
    image: &Image<'_>,
    index: usize,
    interest: &Interest,
    hasher: &PathHasher,
    budget: &Budget,
) -> Result<LayerFacts, AuditError> {
    // Some programs detect compression by a layer's first bytes, as this code does, others by its media
    // type; a crafted layer can differ between them. The diff id decides which is right.
    let diff_id = image.layers[index].diff_id.clone();
    let reader = input::Watched {
        reader: image.source.open(index)?,
        spending: &image.spending,
    };
    let tar = input::Verified::new(reader, diff_id);
    scan::scan(tar, interest, hasher, budget).map_err(|error| {
        match image.spending.block() {
            Err(LayerError::TimedOut) => return AuditError::TimedOut,
            Err(_) => return AuditError::Interrupted,
            Ok(()) => {}
        }
        let digest = image.layers[index].digest.clone();
        match error {
            ScanError::Layer(source) => AuditError::Layer { digest, source },
            ScanError::TooMany(limit, what) => AuditError::TooMany {
                digest,
                limit,
                what,
            },
        }
    })
}
