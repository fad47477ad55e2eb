//! The inputs that the two phases of assemble share.

use crate::app::Detected;
use crate::app::listed::Listed;
use crate::oci::Digest;
use crate::source::Tree;

use super::base::Base;
use super::context::Context;
use super::last_build::LastBuild;
use super::locked::Locked;
use super::sandbox_reasons::Reasons;

/// The project and the images, from the previous steps.
#[derive(Clone, Copy)]
pub(super) struct Materials<'a> {
    pub(super) context: Context<'a>,
    pub(super) tree: &'a Tree,
    /// The digest of the tree.
    pub(super) source: &'a Digest,
    pub(super) detected: &'a Detected,
    /// What the application is built on.
    pub(super) base: &'a Base,
    /// The image that it runs on.
    pub(super) runtime: &'a Base,
    /// The image to run on if it cannot be loaded there.
    pub(super) on_builder: Option<&'a Base>,
    pub(super) locked: Option<&'a Locked>,
    /// The last build's record in a registry cache.
    pub(super) last: &'a LastBuild,
    /// Nothing runs, and the base's files are not here. Contains the reasons that would need a sandbox.
    pub(super) without_sandbox: Option<&'a Reasons>,
    /// The reference time of the application's files.
    pub(super) time: i64,
}

impl<'a> Materials<'a> {
    /// The list from the project's lock file.
    pub(super) fn listed(&self) -> Option<&'a Listed> {
        self.locked.map(Locked::listed)
    }
}
