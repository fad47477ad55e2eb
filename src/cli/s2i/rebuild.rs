//! `warpdrive s2i rebuild`: builds the commit of an image again.

use crate::oci::ImageConfig;
use crate::pipeline::s2i::{self, Exclusion, Given};
use crate::pipeline::{self, BuildError, BuildRecord, LABEL_BUILD};
use crate::s2i::labels::{BUILD_PREFIX, DESCRIPTION, DISPLAY_NAME};
use crate::source::{self, Origin, SourceRequest};

use super::super::context::Context;
use super::super::error::CommandError;
use super::super::image::name_and_value;
use super::super::progress::Console;
use super::build::network;
use super::options::{CommonArgs, MachineArgs, OursArgs};
use super::work::{self, Work};

/// Build an image again from what its labels say: the builder, the repository, the commit
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive s2i rebuild my-app
  warpdrive s2i rebuild registry.example.com/team/my-app:1 my-app:new
  warpdrive s2i rebuild my-app --source git@example.com:team/app.git

It is the commit by its id, wherever its branch is by now, with the variables, the runtime image, the
users and the other options of the build. No label holds a path of a machine: for an image that was built
from a directory without a remote, --source says where the repository is, and what was injected, mounted
or secret is given again.")]
pub(super) struct RebuildArgs {
    /// The image, in the store or in a registry
    image: String,
    /// Name of the new image; without one, that of the image
    new_tag: Option<String>,
    /// The repository, where the image's label does not say it or it has moved
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Variable for assemble and the image; may be given more than once
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    env: Vec<(String, String)>,
    /// Network of the build: private (also called bridge; leads outward only), host or none
    #[arg(long, value_name = "MODE", default_value = "private")]
    network: String,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    ours: OursArgs,
}

impl RebuildArgs {
    pub(super) fn json(&self) -> bool {
        self.ours.json
    }
}

pub(super) fn run(args: &RebuildArgs, context: &Context) -> Result<u8, CommandError> {
    args.common.name_logins()?;
    let store = context.open_store()?;
    let console = Console::new(&context.printer);
    let policies = args.common.policies();
    let image = s2i::fetch_image(&store, &args.image, policies.previous, &console)?;
    let config = &image.config;
    let label = |name: &str| text(config, &format!("{BUILD_PREFIX}{name}"));
    let builder = label("image")
        .ok_or_else(|| work::no_label(&args.image, "io.openshift.s2i.build.image"))?;
    let commit = label("commit.id").ok_or_else(|| {
        let error = work::no_label(&args.image, "io.openshift.s2i.build.commit.id");
        match &args.source {
            // The image does not record the commit.
            Some(source) => error.with_hint(format!(
                "`warpdrive s2i build {source} {builder} TAG` builds that source as it is now"
            )),
            None => error.with_hint(
                "it was not built from a git repository: build it again from its source",
            ),
        }
    })?;
    let location = match &args.source {
        Some(source) => source.clone(),
        None => label("source-location").ok_or_else(|| {
            work::no_label(&args.image, "io.openshift.s2i.build.source-location")
                .with_hint("say where the repository is: --source URL")
        })?,
    };
    let origin = Origin::parse(&location)?.at(&commit)?;
    let mut source = SourceRequest::new(origin);
    source.context_dir = label("source-context-dir").map(Into::into);
    source.timeout = args.ours.timeout.unwrap_or(source::FETCH_TIMEOUT);
    source.keep = args.common.save_temp_dir;
    let name = args.new_tag.as_deref().unwrap_or(&args.image);
    let mut common = args.ours.request(
        Some(name),
        &builder,
        None,
        Vec::new(),
        network(&args.network)?,
        source,
    )?;
    let given = args.machine.given()?;
    // An image of the s2i tool has only labels.
    let record = config
        .label(LABEL_BUILD)
        .is_some_and(|label| !label.is_empty())
        .then(|| BuildRecord::of(config))
        .transpose()?;
    if let Some(record) = &record {
        let (harden, epoch) = (common.harden, common.source_date_epoch);
        record.put_into(&mut common, config)?;
        common.harden |= harden;
        common.source_date_epoch = epoch.or(common.source_date_epoch);
        common.source.submodules = !record.source.without_submodules;
        all_given(&args.image, record, &common, &given)?;
        if record.source.dirty {
            context.printer.warning(format!(
                "`{}` was built from files that differ from those of its commit",
                args.image
            ));
        }
    }
    common.env.extend(args.env.iter().cloned());
    let options = record.and_then(|record| record.s2i).unwrap_or_default();
    let told = s2i::S2iRequest::of_record(&common, &options, &given)?;
    let request = s2i::S2iRequest {
        tag: true,
        pull: policies,
        destination: args.common.destination.clone().or(told.destination),
        incremental: args.common.incremental,
        previous: Some(args.image.clone()),
        application_name: told.application_name.or_else(|| text(config, DISPLAY_NAME)),
        description: told.description.or_else(|| text(config, DESCRIPTION)),
        split: args.ours.split || told.split,
        remove_previous: args.common.remove_previous,
        ..told
    };
    let exclude = match &options.exclude {
        Some(text) => Exclusion::parse(text)
            .map_err(|problem| BuildError::NoRecord { problem })
            .map_err(CommandError::from)?,
        None => Exclusion::default(),
    };
    let work = Work {
        request,
        exclude,
        reference: label("commit.ref"),
        callback_url: args.common.callback_url.clone(),
        run: false,
        json: args.ours.json,
        explain: args.ours.explain,
    };
    work::build(work, context)
}

/// Refuses a build without the options that the image was built with but does not record.
fn all_given(
    image: &str,
    record: &BuildRecord,
    common: &pipeline::Request,
    given: &Given,
) -> Result<(), CommandError> {
    let missing: Vec<String> = s2i::not_recorded(record, common, given)
        .into_iter()
        .filter(|(_, were, are)| are < were)
        .map(|(what, were, are)| format!("{were} {what}, {are} given"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(CommandError::usage(format!(
        "`{image}` was built with what no image tells: {}",
        missing.join("; ")
    ))
    .with_hint("give them again, as they were given to `s2i build`"))
}

/// A label that is not empty.
fn text(config: &ImageConfig, label: &str) -> Option<String> {
    let text = config.label(label)?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
