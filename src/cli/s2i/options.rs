//! Options that several of the commands have, and their texts.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::layer::Compression;
use crate::oci::Reference;
use crate::pipeline::s2i::{Given, PullPolicies, PullPolicy};
use crate::pipeline::{AuditGate, Place, Request, Secret};
use crate::registry;
use crate::s2i::{Injection, ScriptsUrl, Volume, environment};
use crate::sandbox::Network;
use crate::source::SourceRequest;
use crate::transport::Destination;

use super::super::error::{CommandError, ExitStatus};
use super::super::image::{build_variable, host_env, judgement, secret, source_date_epoch};
use super::super::limits::{LimitArgs, WriteArgs};
use super::super::printer::Printer;

/// Where a Docker daemon would be, and how much to say.
#[derive(Debug, clap::Args)]
pub(super) struct DaemonArgs {
    /// Ignored: there is no daemon
    #[arg(
        short = 'U',
        long,
        global = true,
        value_name = "URL",
        hide_short_help = true
    )]
    url: Option<String>,
    /// Ignored: there is no daemon
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    cert: Option<String>,
    /// Ignored: there is no daemon
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    key: Option<String>,
    /// Ignored: there is no daemon
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    ca: Option<String>,
    /// Ignored: there is no daemon
    #[arg(long, global = true, hide_short_help = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    tls: Option<bool>,
    /// Ignored: there is no daemon
    #[arg(long, global = true, hide_short_help = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    tlsverify: Option<bool>,
    /// Accepted; from 3 on, diagnostics as by `WARPDRIVE_LOG=debug`
    #[arg(long, global = true, value_name = "0-5", hide_short_help = true, value_parser = clap::value_parser!(u8).range(0..=5))]
    loglevel: Option<u8>,
}

impl DaemonArgs {
    pub(super) fn say_what_is_ignored(&self, printer: &Printer) {
        let given = [
            ("--url", self.url.is_some()),
            ("--cert", self.cert.is_some()),
            ("--key", self.key.is_some()),
            ("--ca", self.ca.is_some()),
            ("--tls", self.tls.is_some()),
            ("--tlsverify", self.tlsverify.is_some()),
        ];
        let ignored: Vec<&str> = given
            .iter()
            .filter(|(_, given)| *given)
            .map(|(name, _)| *name)
            .collect();
        if !ignored.is_empty() {
            printer.warning(format!(
                "ignored, since there is no Docker daemon to speak to: {}",
                ignored.join(", ")
            ));
        }
        if self.loglevel.is_some_and(|level| level >= 3) {
            super::super::logging::all();
        }
    }
}

/// What `build`, `rebuild` and `usage` have in common.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CommonArgs {
    /// Restore what `save-artifacts` of the previous image gives
    #[arg(long)]
    pub(super) incremental: bool,
    /// Remove the previous image
    #[arg(long = "rm")]
    pub(super) remove_previous: bool,
    /// Told how the build ended, by POST of a JSON object
    #[arg(long, value_name = "URL")]
    pub(super) callback_url: Option<String>,
    /// When to pull the builder image
    #[arg(short, long, value_name = "POLICY", default_value = "if-not-present")]
    pull_policy: Policy,
    /// When to pull the previous image
    #[arg(long, value_name = "POLICY", default_value = "if-not-present")]
    incremental_pull_policy: Policy,
    /// When to pull the runtime image
    #[arg(long, value_name = "POLICY", default_value = "if-not-present")]
    runtime_pull_policy: Policy,
    /// Keep what was fetched or unpacked, and say where
    #[arg(long)]
    pub(super) save_temp_dir: bool,
    /// File with logins for registries, besides the usual ones
    #[arg(long, value_name = "FILE")]
    dockercfg_path: Option<PathBuf>,
    /// Where source and scripts go in the image
    #[arg(
        short,
        long,
        visible_short_alias = 'l',
        visible_alias = "location",
        value_name = "DIR"
    )]
    pub(super) destination: Option<String>,
}

/// `always`, `never`, `if-not-present`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Policy {
    Always,
    Never,
    IfNotPresent,
}

impl From<Policy> for PullPolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Always => Self::Always,
            Policy::Never => Self::Never,
            Policy::IfNotPresent => Self::IfNotPresent,
        }
    }
}

impl CommonArgs {
    pub(super) fn policies(&self) -> PullPolicies {
        PullPolicies {
            builder: self.pull_policy.into(),
            previous: self.incremental_pull_policy.into(),
            runtime: self.runtime_pull_policy.into(),
        }
    }

    /// Before any connection to a registry.
    pub(super) fn name_logins(&self) -> Result<(), CommandError> {
        if let Some(path) = &self.dockercfg_path {
            std::fs::File::open(path).map_err(|error| {
                CommandError::usage(format!("--dockercfg-path {}: {error}", path.display()))
            })?;
            registry::set_defaults(registry::ClientOptions {
                auth_files: vec![path.clone()],
                ..registry::ClientOptions::default()
            });
        }
        Ok(())
    }
}

/// The parts of this machine that a build uses. An image does not record them: give them again to
/// build it again.
#[derive(Debug, Clone, Default, clap::Args)]
pub(in crate::cli) struct MachineArgs {
    /// Where the scripts are: `image://DIR`, `file://DIR`, `https://…`; stronger than `.s2i/bin`
    #[arg(short, long, visible_alias = "scripts", value_name = "URL")]
    scripts_url: Option<String>,
    /// Host (and port) from which scripts may be fetched that an image names
    #[arg(long, value_name = "HOST[:PORT]")]
    scripts_host: Vec<String>,
    /// Files of this machine for the time of the build
    #[arg(short, long, value_name = "SRC[:DST]")]
    inject: Vec<String>,
    // As for all commands, but `-v` is a volume here, as with the `s2i` tool.
    #[arg(long, help = "Say more: all that other programs print")]
    verbose: bool,
    /// Directory of this machine for the time of the build
    #[arg(short, long = "volume", value_name = "SRC:DST[:ro]")]
    volumes: Vec<String>,
    /// Name for an address, for the time of the build
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<String>,
}

impl MachineArgs {
    pub(in crate::cli) fn given(&self) -> Result<Given, CommandError> {
        let each = |name: &'static str, texts: &[String]| -> Result<Vec<Injection>, CommandError> {
            let mut all = Vec::new();
            for text in texts {
                all.extend(Injection::parse_list(text).map_err(bad_value(name, text))?);
            }
            Ok(all)
        };
        Ok(Given {
            scripts_url: self
                .scripts_url
                .as_deref()
                .map(|text| ScriptsUrl::parse(text).map_err(bad_value("--scripts-url", text)))
                .transpose()?,
            script_hosts: self.scripts_host.clone(),
            injections: each("--inject", &self.inject)?,
            volumes: self
                .volumes
                .iter()
                .map(|text| volume(text).map_err(bad_value("--volume", text)))
                .collect::<Result<_, _>>()?,
            add_hosts: self
                .add_host
                .iter()
                .map(|text| add_host(text).map_err(bad_value("--add-host", text)))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// An option's value that cannot be used.
pub(super) fn bad_value(option: &str, value: &str) -> impl FnOnce(String) -> CommandError {
    let given = format!("{option} {value}");
    move |problem| CommandError::usage(format!("{given}: {problem}"))
}

/// `NAME:ADDRESS`; the address may have colons.
fn add_host(text: &str) -> Result<(String, String), String> {
    let (name, address) = text
        .split_once(':')
        .ok_or("it is of the form NAME:ADDRESS")?;
    let good = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if name.is_empty() || !name.chars().all(good) {
        return Err("that is not a host name".into());
    }
    let address = address.trim_start_matches('[').trim_end_matches(']');
    address
        .parse::<std::net::IpAddr>()
        .map_err(|_| format!("`{address}` is not an IP address"))?;
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

/// Options that the `s2i` tool does not have.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Options that the s2i tool does not have")]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(super) struct OursArgs {
    /// Copy the image: `oci:DIR[:TAG]`, `oci-archive:FILE`, `docker-archive:FILE`,
    /// `docker-daemon:REF`, `docker://REF`; may be given more than once
    #[arg(long, value_name = "DEST")]
    output: Vec<String>,
    /// Push the image to the registry in its name
    #[arg(long)]
    push: bool,
    /// Do not use results of earlier builds
    #[arg(long)]
    no_cache: bool,
    /// Sort what assemble changed into layers that other applications share
    #[arg(long)]
    pub(super) split: bool,
    /// Variable for the build only; without a value, the one of this environment
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = build_variable)]
    build_env: Vec<(String, String)>,
    /// File for the build only, at /run/secrets/ID
    #[arg(long, value_name = "id=ID,src=FILE")]
    secret: Vec<String>,
    /// Print whether assemble ran, and if so, what had changed
    #[arg(long)]
    pub(super) explain: bool,
    /// Stop a step that takes longer, for example 90s or 15m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(super) timeout: Option<Duration>,
    /// Remove setuid bits and account tools (su, passwd, useradd and their like) from the base
    #[arg(long)]
    harden: bool,
    /// An image that does not pass the audit gets no name and is not pushed; exits with 4
    #[arg(long)]
    require_audit: bool,
    /// The rules of the audit: a policy file, or `strict`
    #[arg(long, value_name = "FILE|strict")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    written: WriteArgs,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

impl OursArgs {
    fn judgement(&self) -> Result<AuditGate, CommandError> {
        judgement(self.policy.as_deref(), self.require_audit)
    }

    fn secrets(&self) -> Result<Vec<Secret>, CommandError> {
        self.secret.iter().map(|text| secret(text)).collect()
    }

    /// The part of a request that all kinds of builds have.
    pub(super) fn request(
        &self,
        name: Option<&str>,
        builder: &str,
        runtime_image: Option<String>,
        env: Vec<(String, String)>,
        network: Network,
        source: SourceRequest,
    ) -> Result<Request, CommandError> {
        let given: Reference = name.unwrap_or("s2i-build").parse()?;
        if given.digest().is_some() {
            return Err(CommandError::usage(format!(
                "`{given}` has a digest in it, but the digest is what a build gives"
            )));
        }
        if self.push && (name.is_none() || !given.has_host()) {
            return Err(
                CommandError::usage("`--push` needs a TAG with a registry in it")
                    .with_hint("for example registry.example.com/team/app:1.2"),
            );
        }
        let mut limits = self.limits.limits(self.timeout);
        let budget = self.written.bound(&mut limits);
        Ok(Request {
            name: given,
            source,
            builder: Some(builder.to_owned()),
            allowed_builders: Vec::new(),
            runtime_image,
            twin: false,
            auto_apt: false,
            env,
            build_env: self.build_env.clone(),
            secrets: self.secrets()?,
            outputs: self
                .output
                .iter()
                .map(|text| Ok(Destination::parse(text)?))
                .collect::<Result<_, CommandError>>()?,
            push: self.push,
            no_cache: self.no_cache,
            cache: crate::remote_cache::RemoteCache::default(),
            sandbox: crate::pipeline::SandboxUse::Always,
            byte_code: true,
            compression: Compression::default(),
            upgrade: false,
            network,
            smoke: false,
            harden: self.harden,
            audit: self.judgement()?,
            pull: crate::pipeline::Pull::Missing,
            pinned: None,
            budget,
            unsearched: crate::pipeline::Unsearched::default(),
            limits,
            incremental: false,
            source_date_epoch: source_date_epoch()?,
            host_env: host_env(),
            expose_index_credentials: false,
            handover: crate::pipeline::Handover::Nothing,
            wheels: None,
            place: Place::Sandbox,
        })
    }
}

/// `-E` and `-e`: the files first, then what was given one by one.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct EnvArgs {
    /// Variable for assemble and the image; may be given more than once, the later one wins
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = environment::pair)]
    env: Vec<(String, String)>,
    /// File with such variables, a line each; `#` and `//` begin comments
    #[arg(short = 'E', long, value_name = "FILE")]
    environment_file: Vec<PathBuf>,
}

impl EnvArgs {
    /// A warning for each line of the files with a quoted value.
    pub(super) fn quoted(&self) -> Vec<String> {
        self.environment_file
            .iter()
            .filter_map(|path| {
                let bytes = std::fs::read(path).ok()?;
                Some(environment::quoted(&path.display().to_string(), &bytes))
            })
            .flatten()
            .collect()
    }

    pub(super) fn variables(&self) -> Result<Vec<(String, String)>, CommandError> {
        let mut all = Vec::new();
        for path in &self.environment_file {
            let failed = |error: std::io::Error| {
                CommandError::usage(format!("--environment-file {}: {error}", path.display()))
            };
            let mut bytes = Vec::new();
            let file = std::fs::File::open(path).map_err(failed)?;
            std::io::Read::read_to_end(
                &mut std::io::Read::take(file, environment::MAX + 1),
                &mut bytes,
            )
            .map_err(failed)?;
            let parsed = environment::parse(&path.display().to_string(), &bytes);
            all.extend(parsed.map_err(|error| CommandError {
                exit: ExitStatus::Usage,
                ..error.into()
            })?);
        }
        all.extend(self.env.iter().cloned());
        Ok(environment::settled(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_volumes() {
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
    }
}
