//! What a build does, from a checked request to its end.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::pipeline::Built;
use crate::pipeline::s2i::{self, Source};
use crate::store::Store;

use super::super::context::Context;
use super::super::error::{CommandError, ExitStatus};
use super::super::image::{explain, summary};
use super::super::progress::Console;
use super::super::{run, source};

/// A build to run.
pub(super) struct Work {
    pub(super) request: s2i::S2iRequest,
    /// Paths of the source that are left out.
    pub(super) exclude: s2i::Exclusion,
    /// The name for the commit, if it is fetched by its id.
    pub(super) reference: Option<String>,
    pub(super) callback_url: Option<String>,
    /// Run the image afterwards.
    pub(super) run: bool,
    pub(super) json: bool,
    pub(super) explain: bool,
}

impl Work {
    fn source(&self, store: &Store, console: &Console<'_>) -> Result<Source, CommandError> {
        let request = &self.request.common.source;
        let mut source = Source::take(store, request, &self.exclude, console).map_err(|error| {
            let error = CommandError::from(error);
            // `image` has an option for it, this command an argument.
            if error.code == "source" && error.exit == ExitStatus::Usage {
                return error.with_hint(
                    "SOURCE is a directory, a git URL, a tar or zip archive, or `-` for a tar on standard input",
                );
            }
            error
        })?;
        if self.reference.is_some() {
            source.call(self.reference.clone());
        }
        Ok(source)
    }
}

/// Builds, calls the callback URL, and runs the image if requested.
pub(super) fn build(mut work: Work, context: &Context) -> Result<u8, CommandError> {
    let begun = std::time::Instant::now();
    work.request.quiet = context.printer.is_quiet();
    let console = Console::new(&context.printer);
    let result = built(&mut work, context, &console);
    if let Some(url) = &work.callback_url {
        let (success, labels) = match &result {
            Ok((_, labels)) => (true, labels.clone()),
            Err(_) => (false, BTreeMap::new()),
        };
        s2i::notify(url, success, &labels, &console);
    }
    let (mut built, _) = result?;
    if !work.request.tag {
        // Without a TAG, other commands find the image by its digest.
        built.report.name = built.report.digest.clone();
    }
    if work.explain {
        explain(&built.report, context);
    }
    if work.json {
        context.printer.json(&built.report);
    } else {
        summary(&built.report, begun.elapsed(), context);
    }
    if work.run {
        return run::with_all_ports(&built.report.name, context);
    }
    Ok(0)
}

type Labels = BTreeMap<String, String>;

fn built(
    work: &mut Work,
    context: &Context,
    console: &Console<'_>,
) -> Result<(Built, Labels), CommandError> {
    source::enter(&mut work.request.common.source, context, console)?;
    let store = context.open_store()?;
    let source = work.source(&store, console)?;
    let built = s2i::build(&store, &work.request, &source, console)?;
    let labels = store
        .image_at(&built.descriptor)
        .map(|image| image.config.labels().into_iter().collect())
        .unwrap_or_default();
    Ok((built, labels))
}

/// Writes a Dockerfile instead.
pub(super) fn as_dockerfile(
    work: &Work,
    path: &Path,
    context: &Context,
) -> Result<u8, CommandError> {
    let request = &work.request;
    for (option, given) in [
        ("--runtime-image", request.common.runtime_image.is_some()),
        ("--output", !request.common.outputs.is_empty()),
        ("--push", request.common.push),
        ("--split", request.split),
    ] {
        if given {
            return Err(CommandError::usage(format!(
                "{option} cannot be said in a Dockerfile"
            )));
        }
    }
    let console = Console::new(&context.printer);
    for (option, given) in [
        ("--volume", !request.volumes.is_empty()),
        ("--add-host", !request.add_hosts.is_empty()),
        ("--cap-drop", !request.cap_drop.is_empty()),
        ("--callback-url", work.callback_url.is_some()),
        ("--build-env", !request.common.build_env.is_empty()),
    ] {
        if given {
            context.printer.warning(format!(
                "{option} is left to the program that builds the Dockerfile"
            ));
        }
    }
    source::catch_signals()?;
    let store = context.open_store()?;
    let source = work.source(&store, &console)?;
    let written = s2i::as_dockerfile(&store, request, Some(&source), path, &console)?;
    say_how_to_build(&written, context);
    Ok(0)
}

pub(super) fn say_how_to_build(written: &s2i::Written, context: &Context) {
    context
        .printer
        .result(written.dockerfile.display().to_string());
    let mut command = format!("buildah build -f {}", written.dockerfile.display());
    for (id, source) in &written.secrets {
        let _ = write!(command, " --secret id={id},src={}", source.display());
    }
    context.printer.progress("");
    context
        .printer
        .progress(format!("Next:  {command} {}", written.directory.display()));
}

/// A build that failed because an image's labels are incomplete.
pub(super) fn no_label(image: &str, label: &str) -> CommandError {
    CommandError::new(
        ExitStatus::Failure,
        "label-missing",
        format!("`{image}` has no label {label}, so it cannot be built again from what it says"),
    )
}
