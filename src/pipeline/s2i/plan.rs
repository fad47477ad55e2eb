//! All that a build with an S2I builder knows before anything runs: scripts, users, destination,
//! variables. What must not be is refused here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::progress::Progress;
use crate::s2i::labels::DEFAULT_DESTINATION;
use crate::s2i::scripts::{ASSEMBLE, RUN, Scripts};
use crate::s2i::{Where, environment};

use super::super::{BuildError, DEFAULT_SOURCE_TIME};
use super::base_image::{self, BaseImage};
use super::error::S2iBuildError;
use super::inject::Injections;
use super::request::{Request, Source};
use super::scripts::Places;
use super::{download, onbuild, runtime};

/// All that is known before anything runs.
pub(super) struct Plan<'a> {
    pub(super) request: &'a Request,
    pub(super) source: &'a Source,
    pub(super) builder: &'a BaseImage,
    pub(super) runtime: Option<&'a BaseImage>,
    /// `.s2i/environment`, then what the request says; all of it is committed.
    pub(super) env: Vec<(String, String)>,
    /// Absolute, as the label or the user says.
    pub(super) destination: PathBuf,
    pub(super) scripts: Scripts,
    /// The builder has `ONBUILD` triggers and no scripts of S2I.
    pub(super) triggers_alone: bool,
    /// Those for the runtime image.
    pub(super) runtime_scripts: Scripts,
    pub(super) injections: Injections,
    /// Of the source's files and directories that somebody has given an odd one.
    pub(super) modes: BTreeMap<PathBuf, u32>,
    /// Reference time of files, and what `SOURCE_DATE_EPOCH` says.
    pub(super) time: i64,
}

/// Finds scripts, users and destination, and refuses what must not be before anything runs.
pub(super) fn plan<'a>(
    request: &'a Request,
    source: &'a Source,
    builder: &'a BaseImage,
    runtime: Option<&'a BaseImage>,
    progress: &dyn Progress,
) -> Result<Plan<'a>, BuildError> {
    let allowed = request.allowed_uids.as_ref();
    // Before the cache is asked: what was made under another policy is not what this one lets pass.
    builder.check_user(allowed)?;
    onbuild::check_users(builder, allowed)?;
    base_image::check_assemble_user(request, builder, None)?;
    if let Some(runtime) = runtime {
        runtime.check_user(allowed)?;
        runtime::check_user(request, runtime)?;
    }
    let mut env = Vec::new();
    for file in environment::IN_SOURCE {
        if let Some(bytes) = source.tree.read(Path::new(file), environment::MAX)? {
            env = environment::parse(file, &bytes).map_err(S2iBuildError::S2i)?;
            for warning in environment::quoted(file, &bytes) {
                progress.warning(&warning);
            }
            break;
        }
    }
    env.extend(request.common.env.iter().cloned());
    let destination = match &request.destination {
        Some(path) => crate::s2i::mappings::absolute(path).map_err(|problem| {
            S2iBuildError::S2i(crate::s2i::S2iError::Option {
                option: "--destination",
                value: path.clone(),
                problem,
            })
        })?,
        None => builder
            .labels
            .destination
            .clone()
            .unwrap_or_else(|| DEFAULT_DESTINATION.to_owned()),
    };
    let places = Places::new(request, Some(&source.tree), builder);
    if let Some((url, word)) = places.given {
        download::must_have_some(request, url, word)?;
    }
    let mut scripts = Scripts::new();
    let triggers = !crate::s2i::onbuild::triggers(&builder.image.config).is_empty();
    let triggers_alone = triggers && !onbuild::has_scripts(&places)?;
    if triggers_alone {
        // The triggers are all there is.
        for name in [ASSEMBLE, RUN] {
            if let Some(script) = places.find(name)? {
                scripts.insert(name.to_owned(), script);
            }
        }
    } else {
        scripts.insert(ASSEMBLE.to_owned(), places.require(ASSEMBLE)?);
        if runtime.is_none() {
            scripts.insert(RUN.to_owned(), places.require(RUN)?);
        }
    }
    if builder.labels.scripts_url.is_none()
        && let Some(url) = &request.image_scripts_url
        && scripts
            .values()
            .any(|script| matches!(script, Where::Image(_)))
    {
        progress.step(&format!(
            "---> {} has no label io.openshift.s2i.scripts-url: its scripts are those at {}",
            builder.reference,
            download::shown(url)
        ));
    }
    let runtime_scripts = match runtime {
        Some(runtime) => runtime::scripts(request, source, builder, runtime)?,
        None => Scripts::new(),
    };
    let commit_time = source.tree.commit.as_ref().map(|commit| commit.time);
    Ok(Plan {
        injections: Injections::read(&request.injections, &builder.working_dir())?,
        modes: source.modes()?,
        request,
        source,
        builder,
        runtime,
        env,
        destination: destination.into(),
        scripts,
        triggers_alone,
        runtime_scripts,
        time: request
            .common
            .source_date_epoch
            .or(commit_time)
            .unwrap_or(DEFAULT_SOURCE_TIME),
    })
}
