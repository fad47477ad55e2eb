//! Step 1: the files that go into the image, and what git knows about them.

use crate::oci::Digest;
use crate::progress::{Progress, human_size};
use crate::sandbox;
use crate::source::{self, CollectOptions, SourceRequest, Tree};
use crate::store::Store;

use super::context::Context;
use super::error::BuildError;
use super::timings::Timings;

/// The source, and the digest of it.
pub(super) struct Collected {
    pub(super) tree: Tree,
    pub(super) digest: Digest,
    pub(super) timings: Timings,
}

impl Collected {
    /// Takes the source that the request names. If a record names the source, its content must be
    /// the recorded one.
    pub(super) fn take(context: Context<'_>) -> Result<Self, BuildError> {
        let Context {
            store,
            request,
            progress,
        } = context;
        let mut timings = Timings::new();
        let mut tree = collect(store, &request.source, &CollectOptions::default(), progress)?;
        let digest = tree.digest_with(store)?;
        if let Some(pinned) = &request.pinned {
            pinned.check(&digest, &mut tree)?;
        }
        timings.step("source");
        Ok(Self {
            tree,
            digest,
            timings,
        })
    }
}

/// Fetches and collects a source, and reports the result.
pub(super) fn collect(
    store: &Store,
    request: &SourceRequest,
    options: &CollectOptions,
    progress: &dyn Progress,
) -> Result<Tree, BuildError> {
    let tree = source::take(store, request, options, progress, &sandbox::interrupted)?;
    for warning in &tree.warnings {
        progress.warning(warning);
    }
    let (files, bytes) = tree.totals();
    progress.step(&format!(
        "---> Collected {files} files, {}; left out {} files, {}",
        human_size(bytes),
        tree.left_out.files,
        human_size(tree.left_out.bytes)
    ));
    if let Some(commit) = &tree.commit {
        progress.step(&format!("---> {}", at_commit(commit)));
    }
    if tree.is_empty() {
        return Err(BuildError::EmptySource {
            source_name: request.origin.to_string(),
        });
    }
    Ok(tree)
}

/// `At commit 1a2b3c4d5e6f (main), with changes that are not committed`
fn at_commit(commit: &source::Commit) -> String {
    let id: String = commit.id.chars().take(12).collect();
    let branch = commit
        .reference
        .as_ref()
        .map_or_else(String::new, |branch| format!(" ({branch})"));
    let changed = if commit.dirty {
        ", with changes that are not committed"
    } else {
        ""
    };
    format!("At commit {id}{branch}{changed}")
}
