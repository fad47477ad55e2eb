//! `warpdrive image`: a source tree becomes an image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap_complete::engine::ArgValueCandidates;
use serde_json::json;

use crate::app::detect::Detected;
use crate::app::plan::Start;
use crate::app::settings::{KEYS, command_line};
use crate::beneath;
use crate::layer::Compression;
use crate::oci::Reference;
use crate::pipeline::{
    self, AuditGate, Explanation, FenceMode, Handover, INDEX_LOGINS, LayerReport, NPM_REGISTRY,
    PASSED_ON, Place, Report, Request, SandboxReport, Secret, is_index_login,
};
use crate::transport::Destination;

use super::access::AccessArgs;
use super::audit::{is_strict, policy};
use super::cache::CacheArgs;
use super::context::Context;
use super::error::CommandError;
use super::limits::{BuildNetwork, LimitArgs, WriteArgs};
use super::printer::human_size;
use super::progress::Console;
use super::results::{ResultFile, Values, reporting};
use super::source;

/// Build an OCI image from the source in the current directory
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive image opal
  warpdrive image registry.example.com/team/opal:1.2 --push
  warpdrive image opal --path ~/opal --output docker-archive:opal.tar
  warpdrive image opal --git https://github.com/openhealthcare/opal.git#v0.23.0
  warpdrive image opal --dry-run
")]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(super) struct Args {
    /// Name of the image: opal, opal:1.2, registry.example.com/team/opal:1.2
    name: String,
    #[command(flatten)]
    source: source::SourceArgs,
    /// Builder image, in the store or in a registry
    #[arg(long, value_name = "IMAGE", add = ArgValueCandidates::new(super::complete::builders))]
    builder: Option<String>,
    /// An image that the source may name as its builder: `REGISTRY/NAME`, `REGISTRY/NAME:TAG` or
    /// `REGISTRY/PATH/*`; may be given more than once
    #[arg(long, value_name = "IMAGE")]
    allow_builder: Vec<String>,
    /// Image that the app runs on, with the same Python; `builder` is the builder image. Without it, the slim
    /// twin of a builder (NAME-run) where that is in the store and fits, else the builder image
    #[arg(long, value_name = "IMAGE", add = ArgValueCandidates::new(super::complete::images))]
    runtime_image: Option<String>,
    /// Add the Debian packages that have the shared libraries which the dependencies need and the image
    /// lacks
    #[arg(long)]
    auto_apt: bool,
    /// When the registry of the builder and the runtime image is asked: if they are missing in the
    /// store, for a newer one (the store's is used where nothing answers), always, or never
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = PullWhen::Missing)]
    pull: PullWhen,
    /// A setting of the application, before the environment and the files: `server_type=gunicorn`
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Variable for the application phase and the image
    #[arg(short, long = "env", value_name = "NAME=VALUE", value_parser = name_and_value)]
    env: Vec<(String, String)>,
    /// Variable for the build only
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = build_variable)]
    build_env: Vec<(String, String)>,
    /// File for the build only, at /run/secrets/ID
    #[arg(long, value_name = "id=ID,src=FILE")]
    secret: Vec<String>,
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
    #[command(flatten)]
    cache: CacheArgs,
    /// When a sandbox is used: where something has to run (auto), always, or never, which is an error
    /// where something has to
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Sandbox::Auto, conflicts_with = "in_place")]
    sandbox: Sandbox,
    /// Without a sandbox, leave the byte-code of the application out
    #[arg(long)]
    no_byte_code: bool,
    /// Resolve unpinned requirements again
    #[arg(long)]
    upgrade: bool,
    /// Write what was installed to a lock file (PEP 751), pylock.toml in the source tree if no other
    /// is named; a build goes by a pylock.toml that is there
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    #[expect(
        clippy::option_option,
        reason = "an option whose value may be left out, in the words of clap"
    )]
    write_lock: Option<Option<PathBuf>>,
    /// Compression of the layers: gzip or zstd, with a level if need be, for example zstd:9
    #[arg(long, value_name = "NAME[:LEVEL]", default_value = "gzip")]
    compression: Compression,
    /// Say of each phase and layer whether it was there already, and if not what had changed
    #[arg(long)]
    explain: bool,
    /// With an S2I builder: restore what the previous image's save-artifacts script gives
    #[arg(long)]
    incremental: bool,
    /// Network of the app's and its packages' code: private (leads outward only), host or none
    #[arg(long, value_name = "MODE", value_enum, default_value_t = BuildNetwork::Private, hide_possible_values = true)]
    network: BuildNetwork,
    /// Stop a phase that takes longer, for example 90s or 15m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Remove setuid bits and account tools (su, passwd, useradd and their like) from the base
    #[arg(long)]
    harden: bool,
    /// Let the code of the app and of packages that are built from source see the logins of the host's
    /// package indexes, which only the installer sees otherwise
    #[arg(long)]
    expose_index_credentials: bool,
    /// An image that does not pass the audit gets no name and is not pushed; exits with 4
    #[arg(long)]
    require_audit: bool,
    /// The rules of the audit: a policy file, or `strict`, which refuses findings of medium severity
    /// and builders with them
    #[arg(long, value_name = "FILE|strict")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    written: WriteArgs,
    /// Do not load the application before the image is made (`smoke = false` in [tool.warpdrive]
    /// says the same)
    #[arg(long)]
    no_smoke: bool,
    /// Build where this process is, in a container of an image that `builder push` made: no namespace, no
    /// mount and no capability is needed. With `dependencies` or `application`, one phase of the build
    #[arg(long, value_name = "PHASE", value_enum, num_args = 0..=1, require_equals = true, conflicts_with_all = ["runtime_image", "harden", "secret", "incremental", "memory", "cpus", "pids"])]
    #[expect(
        clippy::option_option,
        reason = "an option whose value may be left out, in the words of clap"
    )]
    in_place: Option<Option<PhaseOnly>>,
    /// With --in-place=dependencies, where the dependencies are written, and with --in-place=application,
    /// where they are: for pipelines with a step for each phase
    #[arg(long, value_name = "DIR", requires = "in_place")]
    dependencies: Option<PathBuf>,
    /// With --in-place: write the wheels that this build has fetched to this directory, for `push --cache-to`
    #[arg(long, value_name = "DIR", requires = "in_place")]
    wheels: Option<PathBuf>,
    /// With --in-place: fence the code of the app and of its packages off by Landlock. `auto` needs the fence
    /// as soon as this step can read a credential
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = FenceWhen::Auto, requires = "in_place")]
    fence: FenceWhen,
    /// Write a result to a file: digest, url, size, commit, source-url, error-reason or error-message;
    /// may be given more than once
    #[arg(long, value_name = "NAME=FILE")]
    result: Vec<ResultFile>,
    /// Show what would be built, and what would be left out
    #[arg(long)]
    dry_run: bool,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PhaseOnly {
    Dependencies,
    Application,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Sandbox {
    Auto,
    Always,
    Never,
}

impl From<Sandbox> for pipeline::SandboxUse {
    fn from(when: Sandbox) -> Self {
        match when {
            Sandbox::Auto => Self::Auto,
            Sandbox::Always => Self::Always,
            Sandbox::Never => Self::Never,
        }
    }
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum FenceWhen {
    Auto,
    Require,
    Off,
}

impl From<FenceWhen> for FenceMode {
    fn from(when: FenceWhen) -> Self {
        match when {
            FenceWhen::Auto => Self::Auto,
            FenceWhen::Require => Self::Require,
            FenceWhen::Off => Self::Off,
        }
    }
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PullWhen {
    Missing,
    Newer,
    Always,
    Never,
}

impl From<PullWhen> for pipeline::Pull {
    fn from(when: PullWhen) -> Self {
        match when {
            PullWhen::Missing => Self::Missing,
            PullWhen::Newer => Self::Newer,
            PullWhen::Always => Self::Always,
            PullWhen::Never => Self::Never,
        }
    }
}

pub(super) fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not of the form NAME=VALUE"))?;
    let good = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !good {
        return Err(format!("`{name}` is not the name of a variable"));
    }
    if value.contains(['\n', '\0']) {
        return Err(format!(
            "the value of {name} has a line feed or a NUL in it"
        ));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// `NAME=VALUE`, or `NAME` alone for the value that it has in this environment.
pub(super) fn build_variable(text: &str) -> Result<(String, String), String> {
    if text.contains('=') {
        return name_and_value(text);
    }
    let value = std::env::var(text)
        .map_err(|_| format!("`{text}` is not set in this environment; or give NAME=VALUE"))?;
    name_and_value(&format!("{text}={value}"))
}

/// Of the command line, then of the environment.
fn allowed_builders(given: &[String]) -> Vec<String> {
    let variable = std::env::var("WARPDRIVE_ALLOWED_BUILDERS").unwrap_or_default();
    let listed = variable
        .split([',', ' '])
        .filter(|entry| !entry.is_empty())
        .map(str::to_owned);
    given.iter().cloned().chain(listed).collect()
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    reporting(&args.result, || build(args, context))?;
    Ok(0)
}

fn build(args: &Args, context: &Context) -> Result<Values, CommandError> {
    let begun = Instant::now();
    crate::registry::set_defaults(args.access.options());
    let mut request = request(args)?;
    let lock = lock_file(args)?;
    if let Some(directory) = args.source.directory() {
        refuse_home(&directory)?;
    }
    let console = Console::new(&context.printer);
    if args.dry_run {
        source::catch_signals()?;
        preview(args, &request, context, &console)?;
        return Ok(Values::default());
    }
    if args.in_place.is_some() || args.sandbox == Sandbox::Never {
        // Without a user namespace too: it may not be possible here.
        source::catch_signals()?;
    } else {
        source::enter(&mut request.source, context, &console)?;
    }
    let store = context.open_store()?;
    if args.in_place.is_some() {
        request.place = Place::here(&store, args.fence.into(), &console)?;
        // The caller has chosen it by the image that this process runs in, so the project's choice
        // does not count.
        if let Some(base) = request.place.base_file() {
            request.builder.get_or_insert(base.reference.clone());
        }
    }
    if matches!(request.handover, Handover::Give(_)) {
        pipeline::dependencies(&store, &request, &console)?;
        return Ok(Values::default());
    }
    let report = pipeline::image(&store, &request, &console)?;
    // What is printed from here on does not belong to a step.
    drop(console);
    if let Some(path) = &lock {
        write_lock(path, &report, context)?;
    }
    if args.explain || context.printer.is_verbose() {
        explain(&report, context);
    }
    if args.json {
        context.printer.json(&report);
    } else {
        summary(&report, begun.elapsed(), context);
    }
    if args.result.is_empty() {
        return Ok(Values::default());
    }
    let url = report.pushed.first().cloned().unwrap_or_default();
    let image = store.image(&report.digest)?;
    Ok(image
        .map(|image| Values::of(&image, &url))
        .unwrap_or_default())
}

/// A home directory or `/` is hardly ever an application, and its image would contain all other
/// files there.
pub(super) fn refuse_home(directory: &Path) -> Result<(), CommandError> {
    let Ok(directory) = directory.canonicalize() else {
        return Ok(());
    };
    let home = std::env::var_os("HOME").and_then(|home| Path::new(&home).canonicalize().ok());
    let what = if directory == Path::new("/") {
        "the root directory of this machine"
    } else if home.is_some_and(|home| home == directory) {
        "your home directory"
    } else {
        return Ok(());
    };
    let is_app = [
        "pyproject.toml",
        "requirements.txt",
        "setup.py",
        "Pipfile",
        "manage.py",
        ".warpdrive",
        ".s2i",
    ]
    .iter()
    .any(|name| directory.join(name).exists());
    if is_app {
        return Ok(());
    }
    Err(CommandError::usage(format!(
        "the source would be {}, which is {what}: all that lies there would go into the image",
        directory.display()
    ))
    .with_hint(
        "go to the directory of your application first (`cd ~/opal`), or name it: `--path ~/opal`",
    ))
}

/// How the dependencies are handed over.
fn handover(args: &Args) -> Result<Handover, CommandError> {
    let phase = args.in_place.flatten();
    match (phase, &args.dependencies) {
        (None, None) => Ok(Handover::Nothing),
        (Some(PhaseOnly::Dependencies), Some(directory)) => Ok(Handover::Give(directory.clone())),
        (Some(PhaseOnly::Application), Some(directory)) => Ok(Handover::Take(directory.clone())),
        (Some(_), None) => Err(CommandError::usage(
            "one phase alone needs a directory for the dependencies",
        )
        .with_hint("name a volume that both steps have: --dependencies DIR")),
        (None, Some(_)) => Err(CommandError::usage("--dependencies is for one phase alone")
            .with_hint("say which: --in-place=dependencies or --in-place=application")),
    }
}

/// Where `--write-lock` writes.
fn lock_file(args: &Args) -> Result<Option<PathBuf>, CommandError> {
    let Some(given) = &args.write_lock else {
        return Ok(None);
    };
    if let Some(path) = given {
        return Ok(Some(path.clone()));
    }
    let directory = args.source.directory().ok_or_else(|| {
        CommandError::usage("--write-lock: the source is not a directory here".to_owned())
            .with_hint("name a file: --write-lock=pylock.toml")
    })?;
    Ok(Some(directory.join(crate::app::lock::FILE)))
}

/// Replaces the file atomically, because a build may be reading it.
fn write_lock(path: &Path, report: &Report, context: &Context) -> Result<(), CommandError> {
    let text = report.lock.as_deref().ok_or(pipeline::BuildError::NoLock)?;
    let failed = |source| pipeline::BuildError::Write {
        path: path.to_owned(),
        source,
    };
    // What stands there is the source's: a FIFO would be waited for. A link is replaced.
    let present =
        beneath::open_regular(path).and_then(|file| beneath::read_bounded(file, text.len() as u64));
    if present.is_ok_and(|present| present == text.as_bytes()) {
        return Ok(());
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .prefix(".pylock-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(parent.unwrap_or(Path::new(".")))
        .map_err(failed)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    context
        .printer
        .progress(format!("wrote {}", path.display()));
    Ok(())
}

/// The variables that a build reads settings from.
fn settings(words: &[String]) -> Result<Vec<(String, String)>, CommandError> {
    let said = command_line(words).map_err(pipeline::BuildError::from)?;
    let variables = said.into_iter().filter_map(|(name, value)| {
        let key = KEYS.iter().find(|key| key.name == name)?;
        Some(((*key.variables.first()?).to_owned(), value))
    });
    Ok(variables.collect())
}

/// What `image` with these arguments would build.
pub(super) fn request_of(words: &[String]) -> Result<Request, CommandError> {
    let command = <Args as clap::Args>::augment_args(clap::Command::new("image"));
    let words = std::iter::once("image").chain(words.iter().map(String::as_str));
    let args = command
        .try_get_matches_from(words)
        .and_then(|matches| <Args as clap::FromArgMatches>::from_arg_matches(&matches))
        .map_err(|error| CommandError::usage(error.to_string()))?;
    request(&args)
}

fn request(args: &Args) -> Result<Request, CommandError> {
    let name: Reference = args.name.parse()?;
    if name.digest().is_some() {
        return Err(CommandError::usage(format!(
            "`{name}` has a digest in it, but the digest is what a build gives"
        )));
    }
    if args.push && !name.has_host() {
        return Err(CommandError::usage(format!(
            "`--push` needs a registry in the name, and `{name}` has none"
        ))
        .with_hint(format!("for example registry.example.com/team/{name}")));
    }
    if args.in_place.is_some() && matches!(args.network, BuildNetwork::None) {
        return Err(CommandError::usage(
            "--network none is not possible in place: the build has no network of its own",
        )
        .with_hint("a NetworkPolicy keeps the pod off the network"));
    }
    let mut limits = args.limits.limits(args.timeout);
    let budget = args.written.bound(&mut limits);
    Ok(Request {
        name,
        source: args.source.request(args.timeout)?,
        builder: args.builder.clone(),
        allowed_builders: allowed_builders(&args.allow_builder),
        runtime_image: args
            .runtime_image
            .clone()
            .filter(|name| name != pipeline::BUILDER),
        twin: args.runtime_image.is_none(),
        auto_apt: args.auto_apt,
        env: args.env.clone(),
        build_env: [args.build_env.as_slice(), &settings(&args.set)?].concat(),
        secrets: args
            .secret
            .iter()
            .map(|text| secret(text))
            .collect::<Result<_, _>>()?,
        outputs: args
            .output
            .iter()
            .map(|text| Ok(Destination::parse(text)?))
            .collect::<Result<_, CommandError>>()?,
        push: args.push,
        no_cache: args.no_cache,
        cache: args.cache.cache()?,
        sandbox: args.sandbox.into(),
        byte_code: !args.no_byte_code,
        upgrade: args.upgrade,
        compression: args.compression,
        incremental: args.incremental,
        network: args.network.into(),
        smoke: !args.no_smoke,
        harden: args.harden,
        audit: judgement(args.policy.as_deref(), args.require_audit)?,
        pull: args.pull.into(),
        pinned: None,
        budget,
        unsearched: crate::pipeline::Unsearched::default(),
        limits,
        source_date_epoch: source_date_epoch()?,
        host_env: host_env(),
        expose_index_credentials: args.expose_index_credentials,
        handover: handover(args)?,
        wheels: args.wheels.clone(),
        place: Place::Sandbox,
    })
}

pub(super) fn judgement(given: Option<&Path>, required: bool) -> Result<AuditGate, CommandError> {
    let strict = given.is_some_and(is_strict);
    Ok(AuditGate {
        policy: policy(given)?,
        required: required || strict,
        builder_too: strict,
    })
}

/// `id=ID,src=FILE` or `id=ID,env=NAME`.
pub(super) fn secret(text: &str) -> Result<Secret, CommandError> {
    let usage = |problem: &str| CommandError::usage(format!("--secret {text}: {problem}"));
    let (mut id, mut contents) = (None, None);
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("id", value)) => id = Some(value),
            Some(("src" | "source", path)) => {
                contents = Some(
                    std::fs::read(path)
                        .map_err(|error| usage(&format!("could not read {path}: {error}")))?,
                );
            }
            Some(("env", name)) => {
                let value = std::env::var(name)
                    .map_err(|_| usage(&format!("the variable {name} is not set")))?;
                contents = Some(value.into_bytes());
            }
            _ => return Err(usage("it is of the form id=ID,src=FILE or id=ID,env=NAME")),
        }
    }
    let id = id.ok_or_else(|| usage("there is no id="))?;
    let good = !id.is_empty()
        && !id.starts_with('.')
        && id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if !good {
        return Err(usage("an id has letters, digits, `_`, `-` and `.`"));
    }
    Ok(Secret {
        id: id.to_owned(),
        contents: contents.ok_or_else(|| usage("there is neither src= nor env="))?,
    })
}

pub(super) fn source_date_epoch() -> Result<Option<i64>, CommandError> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Err(_) => Ok(None),
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => text
            .parse::<u32>()
            .map(|seconds| Some(i64::from(seconds)))
            .map_err(|_| {
                CommandError::usage(format!(
                    "SOURCE_DATE_EPOCH is `{text}`, which is not a number of seconds since 1970"
                ))
            }),
    }
}

/// The variables of this process that a build may see.
pub(super) fn host_env() -> BTreeMap<String, String> {
    let logins = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        is_index_login(&name).then_some((name, value.into_string().ok()?))
    });
    PASSED_ON
        .iter()
        .chain(NPM_REGISTRY)
        .chain(&[
            "SSL_CERT_FILE",
            "WARPDRIVE_BUILDER_IMAGE",
            "WARPDRIVE_DEBIAN_MIRROR",
            INDEX_LOGINS,
        ])
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .chain(logins)
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

fn preview(
    args: &Args,
    request: &Request,
    context: &Context,
    console: &Console<'_>,
) -> Result<u8, CommandError> {
    let preview = pipeline::preview(&context.open_store()?, request, console)?;
    let left_out = &preview.tree.left_out;
    let (files, bytes) = preview.tree.totals();
    if args.json {
        let paths: Vec<_> = left_out
            .paths
            .iter()
            .map(|(path, reason)| json!({"path": path.to_string_lossy(), "reason": reason}))
            .collect();
        context.printer.json(&json!({
            "name": request.name.as_given(),
            "source": {"files": files, "bytes": bytes},
            "left_out": {"files": left_out.files, "bytes": left_out.bytes, "paths": paths},
            "plan": preview.detected.plan,
            "because": preview.detected.because,
            "notes": preview.detected.notes,
            "runtime": preview.runtime,
            "warnings": preview.detected.warnings,
        }));
        return Ok(0);
    }
    let printer = &context.printer;
    printer.result(format!(
        "{files} files, {} go into the image",
        human_size(bytes)
    ));
    if left_out.files > 0 {
        printer.result(format!(
            "{} files, {} are left out:",
            left_out.files,
            human_size(left_out.bytes)
        ));
    }
    for (path, reason) in &left_out.paths {
        printer.result(format!("  {}  ({reason})", path.display()));
    }
    for line in plan_words(&preview.detected) {
        printer.result(line);
    }
    if let Some(runtime) = &preview.runtime {
        printer.result(format!("runs on      {runtime}"));
    }
    for note in &preview.detected.notes {
        printer.progress(note);
    }
    for warning in &preview.detected.warnings {
        printer.warning(warning);
    }
    Ok(0)
}

/// The facts about a plan before anything ran.
fn plan_words(detected: &Detected) -> Vec<String> {
    let plan = &detected.plan;
    let mut lines = Vec::new();
    if !plan.framework.is_empty() {
        lines.push(format!("framework    {}", plan.framework));
    }
    lines.push(match &plan.start {
        Start::Shell { program } => format!("starts       {program}"),
        Start::Python { program } => format!("starts       python {program}"),
        Start::Command { line } => format!("starts       {line}"),
        Start::Jupyter { interface } => format!("starts       jupyter {}", interface.name()),
        Start::Server {
            server,
            application,
        } => match application {
            Some(application) => {
                format!("starts       {server} with {}", application.reference())
            }
            None => format!("starts       {server}"),
        },
    });
    if !detected.because.is_empty() {
        lines.push(format!("because      {}", detected.because));
    }
    if !plan.home.is_empty() {
        lines.push(format!("home         {}", plan.home));
    }
    if !plan.web {
        lines.push("port         none".to_owned());
    }
    for (name, line) in &plan.processes {
        lines.push(format!("process      {name}: {line}"));
    }
    lines.push(format!("installer    {}", plan.installer));
    if !plan.server_packages.is_empty() {
        lines.push(format!("adds         {}", plan.server_packages.join(", ")));
    }
    if let Some(python) = &plan.python_request {
        lines.push(format!("Python       {python}"));
    }
    lines
}

/// Prints for each phase whether it ran, and why.
pub(super) fn explain(report: &Report, context: &Context) {
    for phase in &report.explain {
        context.printer.progress(explanation(phase));
    }
    if let Some(runtime) = &report.runtime {
        context.printer.progress(format!(
            "runs on {}, because {}",
            runtime.reference, runtime.because
        ));
    }
    if let Some(sandbox) = &report.sandbox {
        context.printer.progress(of_sandbox(sandbox));
    }
}

/// `sandbox: not used, nothing had to run`
fn of_sandbox(report: &SandboxReport) -> String {
    match (report.used, report.because.as_slice()) {
        (false, _) => {
            "sandbox: not used, nothing had to run; the application was not loaded".to_owned()
        }
        (true, []) => {
            "sandbox: used, though nothing needs one but to install what is new and to load the \
                       application once"
                .to_owned()
        }
        (true, because) => format!("sandbox: used, because {}", because.join("; ")),
    }
}

/// `dependencies: run, because requirements.txt changed`
fn explanation(phase: &Explanation) -> String {
    if phase.hit {
        format!("{}: not run, all is as it was", phase.phase)
    } else {
        format!("{}: run, because {}", phase.phase, phase.because.join(", "))
    }
}

/// The table of layers, the digest, and what to type next.
pub(super) fn summary(report: &Report, took: Duration, context: &Context) {
    let printer = &context.printer;
    let rows: Vec<Vec<String>> = report.layers.iter().map(row).collect();
    printer.progress("");
    printer.progress_table(&["KIND", "SIZE", "STATE", "LAYER"], &rows);
    printer.progress("");
    printer.result(if report.name == report.digest {
        report.digest.clone()
    } else {
        format!("{}@{}", report.name, report.digest)
    });
    printer.progress(closing(report, took));
    for reference in &report.pushed {
        printer.progress(format!("pushed {reference}"));
    }
    let name = &report.name;
    printer.progress("");
    printer.progress(format!("Next:  warpdrive run -p 8080:8080 {name}"));
    printer.progress(format!("       warpdrive inspect {name}"));
}

/// `built opal in 8.9 s · 47.0 MB · 12 layers, 2 new`
fn closing(report: &Report, took: Duration) -> String {
    let size: u64 = report.layers.iter().map(|layer| layer.size).sum();
    let new = report.layers.iter().filter(|layer| !layer.cached).count();
    let new = match new {
        0 => "none new".to_owned(),
        number => format!("{number} new"),
    };
    format!(
        "built {} in {:.1} s · {} · {} layers, {new}",
        report.name,
        took.as_secs_f64(),
        human_size(size),
        report.layers.len()
    )
}

fn row(layer: &LayerReport) -> Vec<String> {
    let mut title: String = layer.title.chars().take(60).collect();
    if layer.title.chars().count() > 60 {
        title.push('…');
    }
    vec![
        format!("{:?}", layer.kind).to_lowercase(),
        human_size(layer.size),
        if layer.cached { "cached" } else { "new" }.to_owned(),
        title,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_names() {
        assert_eq!(
            name_and_value("A_1=x=y,z"),
            Ok(("A_1".into(), "x=y,z".into()))
        );
        for bad in ["A", "=x", "1A=x", "A-B=x", "A=x\ny"] {
            assert!(name_and_value(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_needs_an_id_that_is_a_file_name() {
        for bad in ["src=/etc/hosts", "id=../x,src=/etc/hosts", "id=x", "id"] {
            assert!(secret(bad).is_err(), "{bad}");
        }
        assert_eq!(secret("id=x,src=/etc/hosts").unwrap().id, "x");
    }
}
