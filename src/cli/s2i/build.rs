//! `warpdrive s2i build`.

use std::path::{Path, PathBuf};

use clap::{Args, FromArgMatches};

use crate::pipeline::s2i;
use crate::s2i::{AllowedUids, Artifact, ScriptsUrl};
use crate::sandbox::Network;
use crate::source::{self, Origin, SourceRequest};

use super::super::context::Context;
use super::super::error::CommandError;
use super::options::{CommonArgs, EnvArgs, MachineArgs, OursArgs, bad_value};
use super::saved::Saved;
use super::work::{self, Work};

/// Build an image from source with an S2I builder image
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[command(after_long_help = "\
Examples:
  warpdrive s2i build . BUILDER my-app
  warpdrive s2i build git@example.com:team/app.git#v1.2 BUILDER my-app -e STAGE=test
  tar -c . | warpdrive s2i build - BUILDER my-app
  warpdrive s2i build . BUILDER my-app --incremental --allowed-uids 1-
  warpdrive s2i build . BUILDER my-app --as-dockerfile out/Dockerfile

A directory is built as it is, with changes that are not committed. docs/reference/s2i.md has what
differs from the s2i tool.")]
pub(super) struct BuildArgs {
    /// A directory, a git URL, a tar or zip archive, or `-` for a tar on standard input
    #[arg(required_unless_present = "use_config")]
    source: Option<String>,
    /// The S2I builder image, in the store or in a registry
    #[arg(required_unless_present = "use_config")]
    builder: Option<String>,
    /// Name of the image; without one it has its digest only
    tag: Option<String>,
    /// Branch, tag or commit; stronger than #REF in the URL
    #[arg(short, long = "ref", value_name = "REF", allow_hyphen_values = true)]
    reference: Option<String>,
    /// The directory of the source that has the app
    #[arg(long, value_name = "DIR")]
    context_dir: Option<PathBuf>,
    /// Accepted: the working tree is always used as it is
    #[arg(short, long)]
    copy: bool,
    /// Accepted: links always stay links
    #[arg(long)]
    keep_symlinks: bool,
    /// Do not fetch submodules
    #[arg(long)]
    ignore_submodules: bool,
    /// Paths that are left out besides what ignore files say; an empty one is nothing, not even .git
    #[arg(long, value_name = "REGEX", default_value = s2i::Exclusion::USUAL)]
    exclude: String,
    #[command(flatten)]
    env: EnvArgs,
    /// Where the image has its scripts if it does not say it itself
    #[arg(long, value_name = "URL", default_value = "image:///usr/libexec/s2i")]
    image_scripts_url: String,
    /// Label io.k8s.display-name
    #[arg(short = 'n', long, value_name = "NAME")]
    application_name: Option<String>,
    /// Label io.k8s.description
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Users that builder, runtime image and result may run as: 1-, 1-10001, 5, or a list
    #[arg(short = 'u', long, value_name = "RANGES", allow_hyphen_values = true)]
    allowed_uids: Option<String>,
    /// User that assemble runs as
    #[arg(long, value_name = "USER")]
    assemble_user: Option<String>,
    /// User that assemble-runtime runs as
    #[arg(long, value_name = "USER")]
    assemble_runtime_user: Option<String>,
    #[command(flatten)]
    machine: MachineArgs,
    /// Network of the build: private (also called bridge; leads outward only), host or none
    #[arg(long, value_name = "MODE", default_value = "private")]
    network: String,
    /// A cache for pip and npm that lasts between builds of one application
    #[arg(long, value_name = "on|off", default_value = "on")]
    package_cache: Switch,
    /// Capabilities that not even a root assemble gets
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    cap_drop: Vec<String>,
    /// Image that gets the runtime artifacts
    #[arg(long, value_name = "IMAGE")]
    runtime_image: Option<String>,
    /// Artifacts for the runtime image from the built image
    #[arg(short = 'a', long, value_name = "SRC[:DST]")]
    runtime_artifact: Vec<String>,
    /// Run the image when it is built, with its ports published
    #[arg(long, conflicts_with = "as_dockerfile")]
    run: bool,
    /// Write a Dockerfile and what it copies instead of building
    #[arg(long, value_name = "PATH", conflicts_with = "runtime_image")]
    as_dockerfile: Option<PathBuf>,
    /// Take what is not given from ./.s2ifile, and save all of it there
    #[arg(long)]
    use_config: bool,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    ours: OursArgs,
}

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

impl BuildArgs {
    pub(super) fn json(&self) -> bool {
        self.ours.json
    }
}

pub(super) fn run(
    args: &BuildArgs,
    context: &Context,
    all: clap::Command,
) -> Result<u8, CommandError> {
    let restored;
    let args = if args.use_config {
        restored = with_saved(all)?;
        &restored
    } else {
        args
    };
    args.common.name_logins()?;
    let work = args.work()?;
    for warning in args.env.quoted() {
        context.printer.warning(warning);
    }
    match &args.as_dockerfile {
        Some(path) => work::as_dockerfile(&work, path, context),
        None => work::build(work, context),
    }
}

/// Adds the options of `.s2ifile` to the command line, and saves all of them again.
fn with_saved(all: clap::Command) -> Result<BuildArgs, CommandError> {
    let here = Path::new(".");
    let given = all.get_matches();
    let command = BuildArgs::augment_args(clap::Command::new("build"));
    let given = given
        .subcommand_matches("s2i")
        .and_then(|given| given.subcommand_matches("build"))
        .ok_or_else(|| CommandError::usage("--use-config is an option of `s2i build`"))?;
    let saved = Saved::read(here)?.and(&command, given);
    let arguments = saved.arguments(&command)?;
    let matches = command
        .try_get_matches_from(arguments)
        .map_err(|error| CommandError::usage(error.to_string().trim().to_owned()))?;
    let args = BuildArgs::from_arg_matches(&matches)
        .map_err(|error| CommandError::usage(error.to_string().trim().to_owned()))?;
    saved.write(here)?;
    Ok(args)
}

impl BuildArgs {
    fn work(&self) -> Result<Work, CommandError> {
        let missing = |what: &str| {
            CommandError::usage(format!("there is no {what}, and .s2ifile has none either"))
        };
        let origin = Origin::parse(self.source.as_deref().ok_or_else(|| missing("SOURCE"))?)?;
        let builder = self.builder.as_deref().ok_or_else(|| missing("BUILDER"))?;
        let origin = match &self.reference {
            Some(reference) => origin.at(reference)?,
            None => origin,
        };
        if self.run && self.tag.is_none() {
            return Err(CommandError::usage("--run needs a TAG"));
        }
        let mut source = SourceRequest::new(origin);
        source.context_dir.clone_from(&self.context_dir);
        source.submodules = !self.ignore_submodules;
        source.timeout = self.ours.timeout.unwrap_or(source::FETCH_TIMEOUT);
        source.keep = self.common.save_temp_dir;
        let common = self.ours.request(
            self.tag.as_deref(),
            builder,
            self.runtime_image.clone(),
            self.env.variables()?,
            network(&self.network)?,
            source,
        )?;
        let machine = self.machine.given()?;
        let elsewhere = &self.image_scripts_url;
        let mut runtime_artifacts = Vec::new();
        for text in &self.runtime_artifact {
            runtime_artifacts
                .extend(Artifact::parse_list(text).map_err(bad_value("--runtime-artifact", text))?);
        }
        let request = s2i::S2iRequest {
            common,
            tag: self.tag.is_some(),
            pull: self.common.policies(),
            scripts_url: machine.scripts_url,
            image_scripts_url: Some(
                ScriptsUrl::parse(elsewhere)
                    .map_err(bad_value("--image-scripts-url", elsewhere))?,
            ),
            scripts_url_recorded: false,
            image_scripts_url_recorded: false,
            script_hosts: machine.script_hosts,
            offline: self.network == "none",
            package_cache: self.package_cache == Switch::On,
            destination: self.common.destination.clone(),
            assemble_user: self.assemble_user.clone(),
            assemble_runtime_user: self.assemble_runtime_user.clone(),
            allowed_uids: self
                .allowed_uids
                .as_deref()
                .map(|text| AllowedUids::parse(text).map_err(bad_value("--allowed-uids", text)))
                .transpose()?,
            incremental: self.common.incremental,
            previous: None,
            injections: machine.injections,
            runtime_artifacts,
            application_name: self.application_name.clone(),
            description: self.description.clone(),
            labels: Vec::new(),
            split: self.ours.split,
            add_hosts: machine.add_hosts,
            cap_drop: self.cap_drop.clone(),
            volumes: machine.volumes,
            remove_previous: self.common.remove_previous,
            quiet: false,
        };
        Ok(Work {
            request,
            exclude: s2i::Exclusion::parse(&self.exclude)
                .map_err(bad_value("--exclude", &self.exclude))?,
            reference: None,
            callback_url: self.common.callback_url.clone(),
            run: self.run,
            json: self.ours.json,
            explain: self.ours.explain,
        })
    }
}

pub(super) fn network(text: &str) -> Result<Network, CommandError> {
    match text {
        "" | "private" | "bridge" | "default" => Ok(Network::Outward),
        "host" => Ok(Network::Host),
        "none" => Ok(Network::None),
        _ => Err(CommandError::usage(format!(
            "--network {text}: a build has the network `private` (also called `bridge`), `host` or \
             `none`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        assert!(network("bridge").is_ok() && network("none").is_ok());
        assert!(network("container:x").is_err());
    }
}
