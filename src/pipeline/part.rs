//! What the last build of an application records about each distribution, so that the next build does not
//! have to fetch it: enough to sort distributions into layers, and to see that a new one does not overlap
//! them.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::deferred::Deferred;
use super::locked_wheel::Pin;

/// A distribution that has a layer in the registry, alone or with others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) pin: Pin,
    /// Of its files, in bytes.
    pub(super) size: u64,
    /// Its own files and directories, relative to the root of the image; all its files are in them.
    pub(super) claims: BTreeSet<String>,
    /// Its `.pth` files.
    pub(super) deferred: Vec<Deferred>,
}

impl Part {
    /// Whether it has a file that another distribution owns or could own.
    pub(super) fn may_have(&self, path: &Path) -> bool {
        let within = |claim: &String| path.starts_with(claim) || Path::new(claim).starts_with(path);
        self.claims.iter().any(within) || self.deferred.iter().any(|own| own.path == path)
    }
}
