//! `warpdrive audit`: rules over a finished image.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use clap_complete::engine::ArgValueCandidates;

use crate::audit::{self, Date, Finding, Image, Policy, Report, Severity};
use crate::layer::Budget;
use crate::oci::Reference;
use crate::pipeline;
use crate::registry::Client;
use crate::store::Store;
use crate::transport::Location;

use super::access::RegistryArgs;
use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::images::find;
use super::progress::meanwhile;

/// Judge an image: its user, accounts, privileged files and secrets
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive audit opal
  warpdrive audit oci:build/layout:latest --json
  warpdrive audit docker-archive:opal.tar --policy audit.toml
  warpdrive audit opal --sarif >audit.sarif
  warpdrive audit opal --trusted-base debian-12-python-3.11-run
  warpdrive audit --rules

Exits with 0 when the image passes, with 4 when it is refused.")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own on the command line"
)]
pub(super) struct Args {
    /// An image of the store or of a registry, or `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`,
    /// `docker-archive:FILE[:REF]`, `docker://REF`
    #[arg(required_unless_present = "rules", add = ArgValueCandidates::new(super::complete::images))]
    image: Option<String>,
    /// One JSON object on stdout
    #[arg(long, conflicts_with = "sarif")]
    pub(super) json: bool,
    /// SARIF 2.1.0 on stdout, for code hosts
    #[arg(long)]
    sarif: bool,
    /// Rules, severities and exceptions (TOML), or `strict`: refused from medium severity on
    #[arg(long, value_name = "FILE|strict")]
    policy: Option<PathBuf>,
    /// The image below it that you trust: what came after its layers can't vouch for itself
    #[arg(long, value_name = "IMAGE")]
    trusted_base: Option<String>,
    /// Show what each finding means and what to do
    #[arg(long)]
    explain: bool,
    /// List the rules
    #[arg(long, conflicts_with_all = ["image", "sarif", "policy", "explain", "trusted_base"])]
    rules: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    if args.rules {
        list(args, context);
        return Ok(0);
    }
    let began = Instant::now();
    let policy = policy(args.policy.as_deref())?;
    let today = Date::of(SystemTime::now()).ok_or(audit::AuditError::Clock)?;
    let name = args.image.as_deref().unwrap_or_default();
    let mut names = [Some(name), args.trusted_base.as_deref()]
        .into_iter()
        .flatten();
    let places = if names.any(|name| !is_outside(name)) {
        Some(Sources {
            store: context.open_store()?,
            client: Client::new(args.registry.options())?,
        })
    } else {
        None
    };
    let _in_use = match &places {
        Some(places) => Some(places.store.lock_shared()?),
        None => None,
    };
    let mut image = open(name, places.as_ref())?;
    if let Some(base) = &args.trusted_base {
        image.trust(&open(base, places.as_ref())?)?;
    }
    if let Some(timeout) = args.registry.timeout() {
        let never = || false; // a signal ends this process at once
        image.spending = Budget::new(
            u64::MAX,
            u64::MAX,
            Some(timeout.saturating_sub(began.elapsed())),
            never,
        )
        .begin();
    }
    let report = meanwhile(&context.printer, "Reading the image", || {
        audit::audit(&image, &policy, today)
    })?;
    if args.json {
        context.printer.json(&report.to_json());
    } else if args.sarif {
        context.printer.json(&audit::to_sarif(&report));
    } else {
        show(&report, args.explain, context);
    }
    Ok(if report.is_refused() {
        ExitStatus::Refused.code()
    } else {
        0
    })
}

/// `--policy`: a file, or the word `strict`.
pub(super) fn policy(given: Option<&Path>) -> Result<Policy, CommandError> {
    match given {
        None => Ok(Policy::default()),
        Some(word) if is_strict(word) => Ok(Policy::strict()),
        Some(path) => Ok(Policy::read(path).map_err(audit::AuditError::from)?),
    }
}

/// A file of that name is `./strict`.
pub(super) fn is_strict(given: &Path) -> bool {
    given.as_os_str() == "strict"
}

/// The store or registry of images with plain names.
struct Sources {
    store: Store,
    client: Client,
}

fn open<'p>(name: &str, places: Option<&'p Sources>) -> Result<Image<'p>, CommandError> {
    match (outside(name), places) {
        (Some(image), _) => image,
        (None, Some(places)) => of_store(name, places),
        (None, None) => Err(no_image(name)),
    }
}

fn is_outside(name: &str) -> bool {
    ["oci:", "oci-archive:", "docker-archive:"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// An image outside the store and outside of registries: the place is divided as an import divides it.
fn outside(name: &str) -> Option<Result<Image<'static>, CommandError>> {
    if !is_outside(name) {
        return None;
    }
    let open = || {
        Ok(match Location::parse(name)? {
            Location::Oci { directory, tag } => audit::oci_layout(&directory, tag.as_deref())?,
            Location::OciArchive { file, tag } => audit::oci_archive(&file, tag.as_deref())?,
            Location::DockerArchive { file, reference } => {
                let reference = reference.map(|reference| reference.as_given().to_owned());
                audit::docker_archive(&file, reference.as_deref())?
            }
            _ => return Err(no_image(name)),
        })
    };
    Some(open())
}

fn no_image(name: &str) -> CommandError {
    audit::AuditError::NoSuchImage {
        place: "the command line".into(),
        name: name.to_owned(),
        known: "no names".into(),
    }
    .into()
}

/// An image of the store; or of a registry, whose layers are read as they come and not stored.
fn of_store<'p>(name: &str, places: &'p Sources) -> Result<Image<'p>, CommandError> {
    let Sources { store, client } = places;
    let remote = name.strip_prefix("docker://");
    let reference: Option<Reference> = remote.unwrap_or(name).parse().ok();
    let found = match remote {
        Some(_) => None,
        None => store.image(name)?,
    };
    let image = match (found, reference) {
        (Some(image), _) => image,
        (None, Some(reference)) if remote.is_some() || reference.has_host() => {
            return Ok(pipeline::remote_image(
                client,
                &reference,
                &crate::registry::Silent,
            )?);
        }
        // With the error text that all commands use.
        (None, _) => find(store, name)?,
    };
    Ok(audit::from_store(store, name, &image)?)
}

fn list(args: &Args, context: &Context) {
    if args.json {
        context
            .printer
            .json(&serde_json::json!({"rules": audit::RULES.as_slice()}));
        return;
    }
    for rule in &audit::RULES {
        context.printer.result(format!(
            "{:<6} {:<19} {}",
            rule.severity.word(),
            rule.id,
            rule.title
        ));
    }
}

fn show(report: &Report, explain: bool, context: &Context) {
    // Below what stands beside the severity.
    let say = |line: String| context.printer.prose(&line, 9);
    for severity in Severity::ALL {
        for finding in report.findings.iter().filter(|f| f.severity == severity) {
            describe(report, finding, &say);
            if explain && let Some(rule) = audit::by_id(finding.rule) {
                say(format!("         why: {}", rule.explanation));
                say(format!("         do:  {}", rule.remedy));
            }
        }
    }
    for excused in &report.excused {
        say(format!(
            "excused  {} {}: {} (until {})",
            excused.finding.rule,
            excused.finding.path.as_deref().unwrap_or("configuration"),
            excused.exception.reason.escape_debug(),
            excused.exception.expires,
        ));
    }
    let counts: Vec<String> = Severity::ALL
        .iter()
        .filter(|severity| report.count(**severity) > 0)
        .map(|severity| format!("{} {}", report.count(*severity), severity.word()))
        .collect();
    let counts = if counts.is_empty() {
        "no findings".to_owned()
    } else {
        counts.join(", ")
    };
    let verdict = if report.is_refused() {
        "refused"
    } else {
        "passed"
    };
    say(format!("{verdict}: {} ({counts})", report.name));
    if report.is_refused() && !explain {
        context
            .printer
            .progress("--explain says why each finding matters and what to do about it");
    }
}

fn describe(report: &Report, finding: &Finding, say: &impl Fn(String)) {
    let place = finding.path.as_deref().unwrap_or("configuration");
    say(format!(
        "{:<8} {}: {place}: {}",
        finding.severity.word(),
        finding.rule,
        finding.message
    ));
    if finding.count > 1 {
        say(format!(
            "         and {} more, such as {}",
            finding.count - 1,
            finding.more.join(", ")
        ));
    }
    if let Some((number, layer)) = report.layer(finding) {
        let kind = layer
            .kind
            .map(|kind| format!(" ({kind})"))
            .unwrap_or_default();
        say(format!("         layer {number}{kind}, {}", layer.digest));
    }
}
