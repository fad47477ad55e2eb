//! `warpdrive s2i rebuild`: the commit that an image was built from, again.

use crate::build::foreign;
use crate::oci::ImageConfig;
use crate::s2i::labels::{BUILD_PREFIX, DESCRIPTION, DISPLAY_NAME};
use crate::source::{self, Origin, SourceRequest};

use super::super::context::Context;
use super::super::error::CommandError;
use super::super::image::name_and_value;
use super::super::progress::Console;
use super::build::network;
use super::options::{CommonArgs, OursArgs};
use super::work::{self, Work};

/// Build an image again from what its labels say: the builder, the repository, the commit
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive s2i rebuild my-app
  warpdrive s2i rebuild registry.example.com/team/my-app:1 my-app:new
  warpdrive s2i rebuild my-app --source git@example.com:team/app.git

It is the commit by its id, wherever its branch is by now. No label holds a path of a machine: for an
image that was built from a directory without a remote, --source says where the repository is.")]
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
    /// Network of the build: host (also called bridge) or none
    #[arg(long, value_name = "MODE", default_value = "host")]
    network: String,
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
    let image = foreign::fetch_image(&store, &args.image, policies.previous, &console)?;
    let config = &image.config;
    let label = |name: &str| text(config, &format!("{BUILD_PREFIX}{name}"));
    let builder = label("image")
        .ok_or_else(|| work::no_label(&args.image, "io.openshift.s2i.build.image"))?;
    let commit = label("commit.id").ok_or_else(|| {
        work::no_label(&args.image, "io.openshift.s2i.build.commit.id")
            .with_hint("it was not built from a git repository: build it anew from its source")
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
    let common = args.ours.request(
        Some(name),
        &builder,
        None,
        args.env.clone(),
        network(&args.network)?,
        source,
    )?;
    let request = foreign::Request {
        pull: policies,
        destination: args.common.destination.clone(),
        incremental: args.common.incremental,
        previous: Some(args.image.clone()),
        application_name: text(config, DISPLAY_NAME),
        description: text(config, DESCRIPTION),
        split: args.ours.split,
        remove_previous: args.common.remove_previous,
        ..foreign::Request::of_image(&common, builder)
    };
    let work = Work {
        request,
        exclude: None,
        with_git: false,
        callback_url: args.common.callback_url.clone(),
        run: false,
        json: args.ours.json,
    };
    work::build(work, context)
}

/// A label that says something.
fn text(config: &ImageConfig, label: &str) -> Option<String> {
    let text = config.label(label)?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
