//! Steps 2 and 3: what is known about a project, and what is chosen for it, before its dependencies
//! are installed.

use crate::app::Detected;
use crate::builder;
use crate::oci::Digest;
use crate::sandbox;

use super::base::{self, Base};
use super::context::Context;
use super::error::BuildError;
use super::last_build::LastBuild;
use super::locked::Locked;
use super::materials::Materials;
use super::plan::{Planned, Reading};
use super::request::Request;
use super::sandbox_reasons::Reasons;
use super::timings::{DEFAULT_SOURCE_TIME, Timings};
use super::{apt, audit_gate, git_version, leaks, locked, pitfalls, without_sandbox};

/// The inputs of one attempt at a build, besides the request.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    /// As it is named.
    pub(super) builder: Option<&'a str>,
    pub(super) last: &'a LastBuild,
    pub(super) without_sandbox: bool,
    /// Why the application does not run on the slim twin of the builder, if it is known.
    pub(super) no_twin: Option<&'a str>,
}

/// The project, and the possible images for it.
pub(super) struct Prepared {
    /// The Debian packages that the project names.
    pub(super) packages: apt::Packages,
    /// The builder without them.
    pub(super) plain: Base,
    /// What the application is built on.
    pub(super) base: Base,
    /// The image to run on, if one was named.
    pub(super) named: Option<Base>,
    locked: Option<Locked>,
    pub(super) detected: Detected,
    pub(super) reasons: Reasons,
    without_sandbox: bool,
    /// The request, with git's version if the project uses it.
    versioned: Option<Request>,
    /// Seconds of the epoch: the caller's, or those of the commit.
    pub(super) time: Option<i64>,
}

impl Prepared {
    /// Reads the plan, loads the images and prints warnings.
    pub(super) fn of(
        context: Context<'_>,
        reading: &Reading<'_>,
        way: Way<'_>,
        timings: &mut Timings,
    ) -> Result<Self, BuildError> {
        let request = context.request;
        // First: a limit that cannot be enforced is an error, even if the cache has everything.
        sandbox::check_limits(&request.limits)?;
        let planned = reading.plan()?;
        timings.step("plan");

        let packages = apt::named(&reading.files, reading.settings()?)?;
        let plain = base_of(context, way, &planned)?;
        if let Some(named) = &packages.to_build {
            check_installable(request, way, named)?;
        }
        let base = apt::with(context, plain.clone(), packages.to_build.as_ref())?;
        let locked = match &planned.lock {
            Some(lock) => Some(locked::read(
                context.store,
                lock,
                reading.tree().root(),
                &base,
                request,
                context.progress,
            )?),
            None => None,
        };
        let listed = locked.as_ref().map(Locked::listed);
        let detected = reading.detect(listed, Some(base.python.minor()))?;
        if let Some(found) = &planned.lock {
            let projects = detected.project.local_projects();
            found.builders().check_projects(&reading.files, &projects)?;
        }
        for note in &detected.notes {
            context.progress.step(&format!("---> {note}"));
        }
        let reasons = without_sandbox::reasons(request, &reading.files, &detected, &base.python);
        if way.without_sandbox && !reasons.always.is_empty() {
            return Err(BuildError::NeedsSandbox {
                because: reasons.all(),
            });
        }
        warn(context, reading, &detected);
        timings.step("base");

        let (base, named) = hardened(context, base, packages.to_run.as_ref())?;
        audit_gate::builder(context, &base)?;
        if let Some(runtime) = &named {
            audit_gate::builder(context, runtime)?;
        }
        let tree = reading.tree();
        let versioned = git_version::given(context, &reading.files, &detected.project, tree)?;
        Ok(Self {
            packages,
            plain,
            base,
            named,
            locked,
            detected,
            reasons,
            without_sandbox: way.without_sandbox,
            versioned,
            time: request
                .source_date_epoch
                .or_else(|| tree.commit.as_ref().map(|commit| commit.time)),
        })
    }

    /// The inputs of the application's phase, until the image that it runs on is chosen.
    pub(super) fn materials<'a>(
        &'a self,
        context: Context<'a>,
        reading: &'a Reading<'_>,
        digest: &'a Digest,
        way: Way<'a>,
    ) -> Materials<'a> {
        Materials {
            context: self.with_version(context),
            tree: reading.tree(),
            source: digest,
            detected: &self.detected,
            base: &self.base,
            runtime: self.named.as_ref().unwrap_or(&self.base),
            on_builder: None,
            locked: self.locked.as_ref(),
            last: way.last,
            without_sandbox: self.without_sandbox.then_some(&self.reasons),
            time: self.time.unwrap_or(DEFAULT_SOURCE_TIME),
        }
    }

    /// The inputs of the dependency phase: without the project's version, which this phase must not see.
    pub(super) fn of_dependencies<'a>(
        &self,
        context: Context<'a>,
        materials: Materials<'a>,
    ) -> Materials<'a> {
        if self.detected.needs_all_source.is_some() {
            return materials;
        }
        Materials {
            context,
            ..materials
        }
    }

    fn with_version<'a>(&'a self, context: Context<'a>) -> Context<'a> {
        match &self.versioned {
            Some(request) => context.with(request),
            None => context,
        }
    }
}

/// Whether Debian packages can be installed in this kind of build.
fn check_installable(
    request: &Request,
    way: Way<'_>,
    named: &apt::Named,
) -> Result<(), BuildError> {
    if way.without_sandbox {
        return Err(needs("packages of Debian are installed"));
    }
    let place = &named.place;
    let instead = "push a builder that has them: `warpdrive builder push`";
    request
        .place
        .refuse(&format!("the Debian packages of {place}"), instead)
}

/// Prints warnings about the source and the request.
fn warn(context: Context<'_>, reading: &Reading<'_>, detected: &Detected) {
    let of_tree = pitfalls::warnings(reading.tree());
    let of_openshift = pitfalls::of_openshift(&context.request.env);
    let too_short = leaks::Leaks::too_short(context.request);
    let all = detected
        .warnings
        .iter()
        .chain(&of_tree)
        .chain(&of_openshift);
    for warning in all.chain(&too_short) {
        context.progress.warning(warning);
    }
}

/// Step 3: the base, as the project and the caller want it.
fn base_of(context: Context<'_>, way: Way<'_>, planned: &Planned) -> Result<Base, BuildError> {
    let store = context.store;
    if way.without_sandbox {
        let Some(builder) = way.builder else {
            return Err(needs(
                "no builder image is named, by which the last build could be found",
            ));
        };
        match store.image(builder)? {
            // It is in the store, and its Python is known.
            Some(image) if builder::python::known(store, &image)?.is_some() => {}
            _ => {
                let base = way.last.base(context, builder)?;
                return base.ok_or_else(|| {
                    needs("no cache knows the base image as it is now, and its files are not here")
                });
            }
        }
    }
    base::take(context, way.builder, planned.python.as_ref())
}

fn needs(what: &str) -> BuildError {
    BuildError::NeedsSandbox {
        because: vec![what.to_owned()],
    }
}

/// The base, and the image that the application runs on if it differs. The layer of `--harden` is
/// on the one that it runs on.
fn hardened(
    context: Context<'_>,
    mut base: Base,
    packages: Option<&apt::Named>,
) -> Result<(Base, Option<Base>), BuildError> {
    let mut runtime = match &context.request.runtime_image {
        Some(reference) => {
            let runtime = base::runtime(context, reference, &base)?;
            Some(apt::with(context, runtime, packages)?)
        }
        None => None,
    };
    if context.request.harden {
        let below = runtime.as_mut().unwrap_or(&mut base);
        below.harden(context.store, &context.request.budget)?;
    }
    Ok((base, runtime))
}
