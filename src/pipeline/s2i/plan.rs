//! All that a build with an S2I builder knows before anything runs: scripts, users, destination,
//! variables.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::s2i::scripts::Scripts;

use super::super::context::Context;
use super::base_image::BaseImage;
use super::inject::Injections;
use super::request::{S2iRequest, Source};

/// Everything that is known before anything runs.
pub(super) struct Plan<'a> {
    /// Its request is `request.common`.
    pub(super) context: Context<'a>,
    pub(super) request: &'a S2iRequest,
    pub(super) source: &'a Source,
    pub(super) builder: &'a BaseImage,
    pub(super) runtime: Option<&'a BaseImage>,
    /// `.s2i/environment`, then the request's variables; all of them go into the image.
    pub(super) env: Vec<(String, String)>,
    /// Absolute, from the label or the user.
    pub(super) destination: PathBuf,
    pub(super) scripts: Scripts,
    /// The builder has `ONBUILD` triggers and no scripts of S2I.
    pub(super) triggers_alone: bool,
    /// Those for the runtime image.
    pub(super) runtime_scripts: Scripts,
    pub(super) injections: Injections,
    /// The unusual modes of the source's files and directories.
    pub(super) modes: BTreeMap<PathBuf, u32>,
    /// Reference time of files, and what `SOURCE_DATE_EPOCH` says.
    pub(super) time: i64,
}
