//! `warpdrive builder`: make, list, look at and push builder images.

use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use serde_json::json;

use crate::builder::definition::Definition;
use crate::builder::{choose, debian, definition, standalone};
use crate::oci::{Descriptor, this_architecture};
use crate::pipeline::{self, Transfers};
use crate::registry::Client;
use crate::sandbox::{self, IdMode};
use crate::store::Store;

use super::access::RegistryArgs;
use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::printer::human_size;
use super::progress::Console;

/// Make, list and look at builder images
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive builder list
  warpdrive builder build debian-13-python-3.13
  warpdrive builder inspect debian-13-python-3.13")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a builder image from Debian's signed packages, without a registry
    ///
    /// With a builder comes its slim twin, NAME-run: what is built on the one runs on the other.
    ///
    /// `python-3.12` is a Debian builder with uv's Python of that version (python-build-standalone), whose
    /// hash the pinned uv knows; `UV_PYTHON_INSTALL_MIRROR` names a mirror of GitHub's releases.
    #[command(after_long_help = "Examples:
  warpdrive builder build debian-13-python-3.13
  warpdrive builder build --mirror http://mirror.example.com/debian debian-12-python-3.11
  warpdrive builder build ./my-builder

It takes a minute or two, once: as root, or as a user with subordinate ids.")]
    Build {
        /// One of `warpdrive builder list`, `python-3.12`, or a directory with a builder.toml
        #[arg(value_name = "DIR|NAME", add = ArgValueCandidates::new(super::complete::definitions))]
        what: String,
        /// Debian mirror
        #[arg(long, env = "WARPDRIVE_DEBIAN_MIRROR", value_name = "URL")]
        mirror: Option<String>,
        /// The mirror is that of an earlier day, whose signed lists have run out
        #[arg(long)]
        snapshot: bool,
        /// Make it again even if it is there
        #[arg(long)]
        force: bool,
        /// Make no slim image (NAME-run), on which applications run where it has what they need
        #[arg(long)]
        without_run: bool,
        /// One JSON object on stdout
        #[arg(long)]
        json: bool,
    },
    /// Make the image in whose containers `image --in-place` builds, and push it
    ///
    /// It has the builder's layers, warpdrive with its installers, and what is to be known of the builder: a
    /// build in it fetches nothing of the base, and its image mounts the base's layers from there. It is an
    /// S2I builder, too.
    #[command(after_long_help = "Examples:
  warpdrive builder push debian-12-python-3.11 registry.example.com/team/builder:3.11
  warpdrive builder push docker.io/library/python:3.13-slim registry.example.com/team/builder:3.13

The executable goes into the image as it is: one of `make dist` is static and runs on every base.")]
    Push {
        /// Name of a builder in the store or in a registry
        #[arg(value_name = "NAME", add = ArgValueCandidates::new(super::complete::builders))]
        name: String,
        /// Where the pod's image goes: REGISTRY/PATH[:TAG]
        #[arg(value_name = "REF")]
        target: String,
        #[command(flatten)]
        registry: RegistryArgs,
        /// One JSON object on stdout
        #[arg(long)]
        json: bool,
    },
    /// The builder images that can be made and those that are in the store
    List {
        /// One JSON object on stdout
        #[arg(long)]
        json: bool,
    },
    /// A builder image's Python, labels and size
    Inspect {
        /// Name of an image in the store
        #[arg(add = ArgValueCandidates::new(super::complete::images))]
        image: String,
        /// One JSON object on stdout
        #[arg(long)]
        json: bool,
    },
}

impl Args {
    pub(super) fn json(&self) -> bool {
        match &self.command {
            Action::Build { json, .. }
            | Action::Push { json, .. }
            | Action::List { json }
            | Action::Inspect { json, .. } => *json,
        }
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    match &args.command {
        Action::Build {
            what,
            mirror,
            snapshot,
            force,
            without_run,
            json,
        } => {
            let mirror = debian::Mirror {
                url: mirror.as_deref(),
                expired: *snapshot,
            };
            let options = BuildOptions {
                mirror,
                force: *force,
                without_run: *without_run,
            };
            build(what, options, *json, context)
        }
        Action::Push {
            name,
            target,
            registry,
            json,
        } => push(name, target, registry, *json, context),
        Action::List { json } => list(*json, context),
        Action::Inspect { image, json } => inspect(image, *json, context),
    }
}

/// How builders are made.
#[derive(Clone, Copy)]
struct BuildOptions<'a> {
    mirror: debian::Mirror<'a>,
    force: bool,
    without_run: bool,
}

fn build(
    what: &str,
    options: BuildOptions<'_>,
    json: bool,
    context: &Context,
) -> Result<u8, CommandError> {
    let definition = definition::find(what)?;
    let store = context.open_store()?;
    super::source::catch_signals()?;
    let (image, cached) = made(&store, &definition, options, context)?;
    let twin = definition.twin().filter(|_| !options.without_run);
    let run = match &twin {
        // The builder exists, and works without it.
        Some(twin) => match made(&store, twin, options, context) {
            Ok((image, cached)) => Some((&twin.name, image, cached)),
            Err(error) if sandbox::interrupted() => return Err(error),
            Err(error) => {
                context.printer.warning(format!(
                    "{} was not made: {}; images will run on {}",
                    twin.name, error.message, definition.name
                ));
                None
            }
        },
        None => None,
    };
    if json {
        let run = run.map(|(name, image, cached)| json!({"name": name, "digest": image.digest().to_string(), "cached": cached}));
        context.printer.json(&json!({
            "name": definition.name,
            "digest": image.digest().to_string(),
            "cached": cached,
            "run": run,
        }));
    } else {
        if cached {
            context
                .printer
                .progress("It is there already; --force makes it again");
        }
        context
            .printer
            .result(format!("{}@{}", definition.name, image.digest()));
    }
    Ok(0)
}

/// The image of a definition, and whether it existed already.
fn made(
    store: &Store,
    definition: &Definition,
    options: BuildOptions<'_>,
    context: &Context,
) -> Result<(Descriptor, bool), CommandError> {
    match store.resolve(&definition.name)? {
        Some(image) if !options.force => Ok((image, true)),
        _ => Ok((make(store, definition, options.mirror, context)?, false)),
    }
}

fn make(
    store: &Store,
    definition: &Definition,
    mirror: debian::Mirror<'_>,
    context: &Context,
) -> Result<Descriptor, CommandError> {
    let console = Console::new(&context.printer);
    let Some(below) = definition.below() else {
        let privilege = debian::privilege(IdMode::current()).ok_or_else(|| {
            crate::builder::BuilderError::NoSubordinateIds {
                name: definition.name.clone(),
                official: choose::official(&definition.python),
            }
        })?;
        return Ok(debian::build(
            store,
            definition,
            privilege,
            mirror,
            this_architecture(),
            &console,
        )?);
    };
    if store.image(below)?.is_none()
        && let Ok(base) = definition::find(below)
        && base.below().is_none()
    {
        make(store, &base, mirror, context)?;
    }
    let base = store
        .image(below)?
        .ok_or_else(|| crate::builder::BuilderError::NotMade {
            name: below.to_owned(),
        })?;
    let uv = pipeline::pinned_uv(store, &console)?;
    Ok(standalone::build(store, definition, &base, &uv, &console)?)
}

fn push(
    name: &str,
    target: &str,
    registry: &RegistryArgs,
    json: bool,
    context: &Context,
) -> Result<u8, CommandError> {
    let target = super::push::target(target, &format!("builder push {name}"))?;
    sandbox::enter()?;
    crate::registry::set_defaults(registry.options());
    let store = context.open_store()?;
    let console = Console::new(&context.printer);
    let image = pipeline::pod_image(&store, name, &target, &console)?;
    let client = Client::new(registry.options())?;
    let report = client.push(&image, &store, &target, &Transfers::new(&console))?;
    if json {
        context.printer.json(&report);
    } else {
        context
            .printer
            .result(format!("{}@{}", report.reference, report.digest));
    }
    Ok(0)
}

fn list(json: bool, context: &Context) -> Result<u8, CommandError> {
    let store = context.open_store()?;
    let local = choose::local(&store)?;
    let shipped = definition::shipped()?;
    if json {
        let local: Vec<_> = local
            .iter()
            .map(|b| json!({"name": b.reference, "python": b.python, "kind": b.kind, "digest": b.digest, "size": b.size}))
            .collect();
        let shipped: Vec<_> = shipped
            .iter()
            .map(|d| json!({"name": d.name, "python": d.python, "kind": d.kind.name(), "from": d.from, "description": d.description}))
            .collect();
        context
            .printer
            .json(&json!({"local": local, "definitions": shipped}));
        return Ok(0);
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    for definition in &shipped {
        let made = local.iter().find(|b| b.reference == definition.name);
        rows.push(vec![
            definition.name.clone(),
            definition.python.clone(),
            definition.kind.name().to_owned(),
            made.map_or("-".to_owned(), |b| human_size(b.size)),
        ]);
    }
    for builder in &local {
        if shipped.iter().all(|d| d.name != builder.reference) {
            rows.push(vec![
                builder.reference.clone(),
                builder.python.clone(),
                builder.kind.clone(),
                human_size(builder.size),
            ]);
        }
    }
    context
        .printer
        .table(&["NAME", "PYTHON", "KIND", "IN STORE"], &rows);
    if let Some((name, _)) = definition::by_rule().next() {
        context.printer.progress(format!(
            "Without --builder, {name} is taken where the app asks for no other Python. `build` has \
             compilers, `run` has what a container needs."
        ));
    }
    Ok(0)
}

fn inspect(name: &str, json: bool, context: &Context) -> Result<u8, CommandError> {
    sandbox::enter()?;
    let store = context.open_store()?;
    let image = store.image(name)?.ok_or_else(|| {
        CommandError::new(
            ExitStatus::Failure,
            "builder-missing",
            format!("there is no image `{name}` in the store"),
        )
        .with_hint("`warpdrive builder list` shows what there is")
    })?;
    let python = crate::builder::python::find(&store, &image, name)?;
    let size: u64 = image.manifest.layers().iter().map(Descriptor::size).sum();
    if json {
        context.printer.json(&json!({
            "name": name,
            "digest": image.descriptor.digest().to_string(),
            "size": size,
            "python": python,
            "s2i": image.config.label("io.openshift.s2i.scripts-url"),
            "labels": image.config.labels(),
        }));
        return Ok(0);
    }
    let printer = &context.printer;
    printer.result(format!("name    {name}"));
    printer.result(format!("digest  {}", image.descriptor.digest()));
    printer.result(format!("size    {}", human_size(size)));
    printer.result(format!(
        "python  {} at {} ({}, {})",
        python.version, python.executable, python.abi, python.libc
    ));
    for (key, value) in image.config.labels() {
        printer.result(format!("label   {key}={value}"));
    }
    Ok(0)
}
