//! A sandbox that runs only the code of the pinned installer and of the base image's Python. It
//! has no source, variable, secret or configuration file of the application.
//!
//! So it may fill the wheel cache that builds on this base image share ([`super::wheel_cache`]), and its
//! installations may be shared as well. Only this sandbox sees the logins of the host's package indexes.

use std::path::PathBuf;

use crate::app::contract::Phase;
use crate::app::pip_variables;
use crate::builder::FIXED_TIME;
use crate::sandbox::{IdMode, Mount};

use super::assemble::{self, PhaseEnd, Stage};
use super::base::Base;
use super::context::Context;
use super::environment::{self, WheelCache};
use super::error::BuildError;
use super::network::Code;
use super::sandbox_inputs::SandboxInputs;
use super::tools::Tools;
use super::wheel_cache::{CacheScope, wheel_cache};

/// The command to run.
pub(super) struct Job {
    pub(super) command: Vec<String>,
    /// Path inside and content.
    pub(super) files: Vec<(String, String)>,
    /// A host directory that the command may write to, and its path inside.
    pub(super) output: Option<(PathBuf, String)>,
    /// Default variables; the caller's come first.
    pub(super) defaults: &'static [(&'static str, &'static str)],
}

/// Runs it on the base image, which is read-only.
pub(super) fn run(
    context: Context<'_>,
    base: &Base,
    tools: &Tools,
    scope: &CacheScope,
    job: Job,
) -> Result<PhaseEnd, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    let inputs = SandboxInputs::of_shared_stage(request);
    let cache = WheelCache::Shared(wheel_cache(store, base, IdMode::current(), scope)?);
    let mut mounts = environment::mounts(&inputs, tools, cache)?;
    if let Some((source, target)) = job.output {
        mounts.push(Mount::Bind {
            source,
            target: target.into(),
            read_only: false,
        });
    }
    let mut env = environment::variables(
        &inputs,
        Phase::Dependencies,
        &base.environment(),
        &base.search_path(),
        FIXED_TIME,
    )?;
    choose_index(&mut env, &job.files);
    add_defaults(&mut env, job.defaults);
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
        env,
        code: Code::Ours,
    };
    assemble::run(stage, &inputs, progress)
}

/// Removes the variables' index where a list has one of its own.
pub(super) fn choose_index(env: &mut Vec<(String, String)>, files: &[(String, String)]) {
    let lines = files.iter().flat_map(|(_, text)| text.lines());
    if pip_variables::has_own_index(lines, &env.iter().cloned().collect()) {
        env.retain(|(name, _)| !pip_variables::DEFAULT_INDEX.contains(&name.as_str()));
    }
}

/// Adds the default variables that the caller has not set.
pub(super) fn add_defaults(env: &mut Vec<(String, String)>, defaults: &[(&str, &str)]) {
    for (name, value) in defaults {
        if !env.iter().any(|(known, _)| known == name) {
            env.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
}
