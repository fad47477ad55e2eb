//! `warpdrive s2i build`.

use std::path::{Path, PathBuf};

use clap::{Args, FromArgMatches};
use regex::Regex;

use crate::build::foreign;
use crate::s2i::{AllowedUids, Artifact, Injection, ScriptsUrl, Volume};
use crate::sandbox::Network;
use crate::source::{self, Origin, SourceRequest};

use super::super::context::Context;
use super::super::error::CommandError;
use super::options::{CommonArgs, EnvArgs, OursArgs};
use super::saved::Saved;
use super::work::{self, Work};

/// What is left out besides what ignore files say, where nobody says otherwise.
const EXCLUDED: &str = r"(^|/)\.git(/|$)";

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
    /// The working tree as it is: what happens anyway
    #[arg(short, long)]
    copy: bool,
    /// Links stay links: what happens anyway
    #[arg(long)]
    keep_symlinks: bool,
    /// Do not fetch submodules
    #[arg(long)]
    ignore_submodules: bool,
    /// Paths that are left out besides what ignore files say; an empty one is nothing, not even .git
    #[arg(long, value_name = "REGEX", default_value = EXCLUDED)]
    exclude: String,
    #[command(flatten)]
    env: EnvArgs,
    /// Where the scripts are: `image://DIR`, `file://DIR`, `https://…`; stronger than `.s2i/bin`
    #[arg(short, long, visible_alias = "scripts", value_name = "URL")]
    scripts_url: Option<String>,
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
    /// Files of this machine for the time of the build
    #[arg(short, long, value_name = "SRC[:DST]")]
    inject: Vec<String>,
    /// Directory of this machine for the time of the build
    #[arg(short, long = "volume", value_name = "SRC:DST[:ro]")]
    volumes: Vec<String>,
    /// Network of the build: host (also called bridge) or none
    #[arg(long, value_name = "MODE", default_value = "host")]
    network: String,
    /// Name for an address, for the time of the build
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<String>,
    /// Capabilities that not even a root assemble gets
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    cap_drop: Vec<String>,
    /// Image that gets the runtime artifacts
    #[arg(long, value_name = "IMAGE")]
    runtime_image: Option<String>,
    /// What the runtime image gets of the built one
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
    match &args.as_dockerfile {
        Some(path) => work::as_dockerfile(&work, path, context),
        None => work::build(work, context),
    }
}

/// The command line with what `.s2ifile` has to add; saved again.
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
        let option = |name: &str, value: &str| {
            let (name, value) = (name.to_owned(), value.to_owned());
            move |problem: String| CommandError::usage(format!("{name} {value}: {problem}"))
        };
        let scripts = |name: &str, text: &str| ScriptsUrl::parse(text).map_err(option(name, text));
        let common = self.ours.request(
            self.tag.as_deref(),
            builder,
            self.runtime_image.clone(),
            self.env.variables()?,
            network(&self.network)?,
            source,
        )?;
        let many = |name: &'static str, texts: &[String]| -> Result<Vec<Injection>, CommandError> {
            let mut all = Vec::new();
            for text in texts {
                all.extend(Injection::parse_list(text).map_err(option(name, text))?);
            }
            Ok(all)
        };
        let mut runtime_artifacts = Vec::new();
        for text in &self.runtime_artifact {
            runtime_artifacts
                .extend(Artifact::parse_list(text).map_err(option("--runtime-artifact", text))?);
        }
        let request = foreign::Request {
            common,
            tag: self.tag.is_some(),
            pull: self.common.policies(),
            scripts_url: self
                .scripts_url
                .as_deref()
                .map(|text| scripts("--scripts-url", text))
                .transpose()?,
            image_scripts_url: Some(scripts("--image-scripts-url", &self.image_scripts_url)?),
            destination: self.common.destination.clone(),
            assemble_user: self.assemble_user.clone(),
            assemble_runtime_user: self.assemble_runtime_user.clone(),
            allowed_uids: self
                .allowed_uids
                .as_deref()
                .map(|text| AllowedUids::parse(text).map_err(option("--allowed-uids", text)))
                .transpose()?,
            incremental: self.common.incremental,
            previous: None,
            injections: many("--inject", &self.inject)?,
            runtime_artifacts,
            application_name: self.application_name.clone(),
            description: self.description.clone(),
            labels: Vec::new(),
            split: self.ours.split,
            add_hosts: self
                .add_host
                .iter()
                .map(|text| add_host(text).map_err(option("--add-host", text)))
                .collect::<Result<_, _>>()?,
            cap_drop: self.cap_drop.clone(),
            volumes: self
                .volumes
                .iter()
                .map(|text| volume(text).map_err(option("--volume", text)))
                .collect::<Result<_, _>>()?,
            remove_previous: self.common.remove_previous,
            quiet: false,
        };
        Ok(Work {
            request,
            exclude: exclude(&self.exclude)?,
            with_git: self.exclude.is_empty(),
            callback_url: self.common.callback_url.clone(),
            run: self.run,
            json: self.ours.json,
        })
    }
}

/// `None`: nothing.
fn exclude(text: &str) -> Result<Option<Regex>, CommandError> {
    if text.is_empty() {
        return Ok(None);
    }
    Regex::new(text)
        .map(Some)
        .map_err(|error| CommandError::usage(format!("--exclude {text}: {error}")))
}

pub(super) fn network(text: &str) -> Result<Network, CommandError> {
    match text {
        "" | "host" | "bridge" | "default" => Ok(Network::Host),
        "none" => Ok(Network::None),
        _ => Err(CommandError::usage(format!(
            "--network {text}: a build has the network `host` (also called `bridge`) or `none`"
        ))),
    }
}

/// `NAME:ADDRESS`; the address may have colons.
fn add_host(text: &str) -> Result<(String, String), String> {
    let (name, address) = text
        .split_once(':')
        .ok_or("it is of the form NAME:ADDRESS")?;
    let good = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if name.is_empty() || !name.chars().all(good) {
        return Err("that is no host name".into());
    }
    let address = address.trim_start_matches('[').trim_end_matches(']');
    address
        .parse::<std::net::IpAddr>()
        .map_err(|_| format!("`{address}` is no IP address"))?;
    Ok((name.to_owned(), address.to_owned()))
}

/// `SRC:DST[:ro|:rw]`
fn volume(text: &str) -> Result<Volume, String> {
    let mut parts = text.split(':');
    let (source, destination, mode) = (parts.next(), parts.next(), parts.next());
    let (Some(source), Some(destination)) = (source, destination) else {
        return Err("it is of the form SRC:DST[:ro]".into());
    };
    if source.is_empty() || parts.next().is_some() {
        return Err("it is of the form SRC:DST[:ro]".into());
    }
    let read_only = match mode {
        None | Some("rw" | "z" | "Z") => false,
        Some("ro") => true,
        Some(other) => return Err(format!("`{other}` is neither ro nor rw")),
    };
    Ok(Volume {
        source: source.into(),
        destination: crate::s2i::mappings::absolute(destination)?,
        read_only,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_volumes_and_networks() {
        assert_eq!(
            add_host("a.b:10.0.0.1"),
            Ok(("a.b".into(), "10.0.0.1".into()))
        );
        assert_eq!(add_host("a:::1"), Ok(("a".into(), "::1".into())));
        for bad in ["a", ":1.2.3.4", "a:x", "a\nb:1.2.3.4", "a:1.2.3.4\tevil"] {
            assert!(add_host(bad).is_err(), "{bad}");
        }
        assert!(volume("/a:/b:ro").unwrap().read_only);
        for bad in ["/a", ":/b", "/a:b", "/a:/b:x", "/a:/b:ro:x", "/a:/../b"] {
            assert!(volume(bad).is_err(), "{bad}");
        }
        assert!(network("container:x").is_err());
        assert!(exclude("(").is_err() && exclude("").unwrap().is_none());
        assert!(
            exclude(EXCLUDED)
                .unwrap()
                .unwrap()
                .is_match("a/.git/config")
        );
    }
}
