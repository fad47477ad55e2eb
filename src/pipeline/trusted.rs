//! A sandbox in which nobody's code runs but that of the pinned installer and of the base image's
//! Python: no source, no variable, no secret and no configuration file of the application.
//!
//! So it may fill the wheel cache that all builds on this base image share, and what is installed in
//! it may be shared as well, and the logins of the host's package indexes are seen here alone.

use std::path::PathBuf;

use crate::builder::FIXED_TIME;
use crate::progress::Progress;
use crate::sandbox::{IdMode, Mount};
use crate::store::Store;

use super::assemble::{self, Outcome, Phase, Stage};
use super::base::Base;
use super::dependencies::wheel_cache;
use super::environment::{self, PASSED_ON, WheelCache};
use super::error::BuildError;
use super::locked;
use super::network::Code;
use super::request::Request;
use super::tools::Tools;

/// What is run there.
pub(super) struct Job {
    pub(super) command: Vec<String>,
    /// Path inside and content.
    pub(super) files: Vec<(String, String)>,
    /// A directory of ours that the command may write to, and where it is inside.
    pub(super) output: Option<(PathBuf, String)>,
    /// A directory of packages' files that the command may read.
    pub(super) packages: Option<PathBuf>,
}

/// Runs it on the base image, of which nothing can be written.
pub(super) fn run(
    store: &Store,
    base: &Base,
    request: &Request,
    tools: &Tools,
    job: Job,
    progress: &dyn Progress,
) -> Result<Outcome, BuildError> {
    let mut request = without_the_application(request);
    // Only the resolver and the installer run here.
    request.expose_index_credentials = true;
    let mut mounts = mounts(store, base, &request, tools)?;
    if let Some((source, target)) = job.output {
        mounts.push(Mount::Bind {
            source,
            target: target.into(),
            read_only: false,
        });
    }
    mounts.extend(job.packages.map(locked::mount));
    for (path, text) in job.files {
        mounts.push(Mount::File {
            target: path.into(),
            contents: text.into_bytes(),
            mode: 0o444,
        });
    }
    let stage = Stage {
        command: job.command,
        cwd: "/".into(),
        lowers: base.lowers(store)?,
        upper: None,
        mounts,
        env: variables(base, &request),
        code: Code::Ours,
    };
    assemble::run(stage, &request, progress)
}

/// The request without what the application or its owner adds for its own code.
pub(super) fn without_the_application(request: &Request) -> Request {
    let mut request = request.clone();
    request.env.clear();
    // Where packages come from is the owner's word, not the application's.
    request
        .build_env
        .retain(|(name, _)| PASSED_ON.contains(&name.as_str()));
    request.secrets.clear();
    request.listed = None;
    request
}

/// The mounts of such a sandbox: the wheel cache is writable.
pub(super) fn mounts(
    store: &Store,
    base: &Base,
    request: &Request,
    tools: &Tools,
) -> Result<Vec<Mount>, BuildError> {
    let cache = WheelCache::Shared(wheel_cache(store, base, IdMode::current())?);
    Ok(environment::mounts(request, tools, cache))
}

/// The variables of such a sandbox.
pub(super) fn variables(base: &Base, request: &Request) -> Vec<(String, String)> {
    environment::variables(
        request,
        Phase::Dependencies,
        &base.environment(),
        &base.search_path(),
        FIXED_TIME,
    )
}
