//! Finds what a build with an S2I builder has to know before anything runs, and refuses what is not
//! allowed.

use std::path::Path;

use crate::s2i::environment;
use crate::s2i::labels::DEFAULT_DESTINATION;
use crate::s2i::scripts::{ASSEMBLE, RUN, Scripts};

use super::super::context::Context;
use super::super::error::BuildError;
use super::super::timings::DEFAULT_SOURCE_TIME;
use super::base_image::{self, BaseImage};
use super::error::S2iBuildError;
use super::inject::Injections;
use super::plan::Plan;
use super::request::{S2iRequest, Source};
use super::scripts::Places;
use super::{download, onbuild, runtime};

/// Finds scripts, users and destination, and refuses what is not allowed before anything runs.
pub(super) fn plan<'a>(
    context: Context<'a>,
    request: &'a S2iRequest,
    source: &'a Source,
    builder: &'a BaseImage,
    runtime: Option<&'a BaseImage>,
) -> Result<Plan<'a>, BuildError> {
    let progress = context.progress;
    let allowed = request.allowed_uids.as_ref();
    // Before the cache is read: a result under another policy may not be allowed under this one.
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
        // There are only triggers.
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
    places.say_without_label(scripts.values(), progress);
    let runtime_scripts = match runtime {
        Some(runtime) => runtime::scripts(request, source, builder, runtime)?,
        None => Scripts::new(),
    };
    let commit_time = source.tree.commit.as_ref().map(|commit| commit.time);
    Ok(Plan {
        context,
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
