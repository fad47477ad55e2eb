//! The pipeline: seven steps, one direction, each step's output the next one's input.
//!
//! [`image`] reads as the story: collect the source, plan, take the builder, assemble the
//! dependencies and the application, commit, ship. The steps lie in the files beside this one; what
//! they are made of lies in the modules below (`source`, `app`, `builder`, `sandbox`, `layer`,
//! `store`, `transport`, `registry`).

mod allowed_builders;
mod application;
mod assemble;
mod base;
mod carried;
mod commit;
mod dependencies;
mod difference;
mod environment;
mod error;
mod fetch;
mod files;
mod fragments;
mod git_version;
mod harden;
mod inputs;
mod judge;
mod leaks;
mod lock;
mod locked;
mod network;
mod package_indexes;
mod path_bytes;
mod pitfalls;
mod record;
mod remote;
mod request;
pub mod s2i;
mod secrets;
mod settle;
mod ship;
mod smoke;
mod split;
mod tools;
mod transfers;
mod tree;
mod trusted;
mod two_at_a_time;
mod verify;

use std::collections::BTreeMap;
use std::time::Instant;

use crate::app::{self, python_version::PythonVersion};
use crate::lockfile;
use crate::oci::{Descriptor, Digest};
use crate::progress::{Progress, human_size};
use crate::sandbox;
use crate::source::{self, CollectOptions, SourceRequest, Tree};
use crate::store::Store;

pub use commit::LABEL_PLAN;
pub use difference::Difference;
pub use environment::{PASSED_ON, is_index_login};
pub use error::BuildError;
pub use judge::{Judgement, Verdict};
pub use record::{LABEL_BUILD, Record};
pub use remote::remote_image;
pub use request::{
    CacheReport, CacheState, Explanation, LayerKind, LayerReport, NameAndDigest, Pull, Report,
    Request, Secret,
};
pub use transfers::Transfers;
pub use verify::{Pinned, Verification, verify};

/// The time of application files where neither `SOURCE_DATE_EPOCH` nor a commit gives one:
/// 2010-01-01T00:00:00Z.
const DEFAULT_SOURCE_TIME: i64 = 1_262_304_000;

/// Measures the steps for the report.
#[derive(Clone)]
struct Timings {
    started: Instant,
    steps: BTreeMap<String, u64>,
}

impl Timings {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            steps: BTreeMap::new(),
        }
    }

    /// Ends a step and begins the next.
    fn step(&mut self, name: &str) {
        let took = self.started.elapsed().as_millis();
        self.steps
            .insert(name.to_owned(), u64::try_from(took).unwrap_or(u64::MAX));
        self.started = Instant::now();
    }
}

/// What `--dry-run` shows: everything that is known before anything is fetched or run.
pub struct Preview {
    pub tree: Tree,
    pub detected: app::Detected,
}

/// Steps 1 and 2 alone.
pub fn preview(
    store: &Store,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Preview, BuildError> {
    let tree = collect(store, &request.source, &CollectOptions::default(), progress)?;
    let request = &with_environment_of(request, &tree)?;
    let reader = files::TreeFiles::new(&tree);
    let mut options = detection(request, &tree, None);
    let settings =
        app::settings::Settings::load(&reader, &options.environment, &options.command_line)?;
    options.listed = lockfile::find(&reader, &settings)?.map(|lock| lock.preview());
    let detected = app::detect(&reader, &options)?;
    Ok(Preview { tree, detected })
}

/// Builds an image, gives it its name in the store, and ships it.
pub fn image(
    store: &Store,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Report, BuildError> {
    let _in_use = store.lock_shared()?;
    settle::beside(store, || {
        let made = base::mending(store, progress, || make(store, request, progress))?;
        let (descriptor, report) = match made {
            Made::Here(made) => *made,
            Made::Foreign(report) => return Ok(*report),
        };
        name_and_ship(store, request, &descriptor, report, progress)
    })
}

/// Gives a finished image its name, and does step 7.
fn name_and_ship(
    store: &Store,
    request: &Request,
    descriptor: &Descriptor,
    mut report: Report,
    progress: &dyn Progress,
) -> Result<Report, BuildError> {
    let mut timings = Timings::new();
    store.tag(request.name.as_given(), descriptor)?;
    report.pushed = ship::ship(store, descriptor, request, progress)?;
    timings.step("ship");
    report.timings_ms.extend(timings.steps);
    Ok(report)
}

/// What the first six steps gave.
enum Made {
    /// An image in the store that was judged and has no name yet.
    Here(Box<(Descriptor, Report)>),
    /// An S2I builder's image, named and shipped.
    Foreign(Box<Report>),
}

/// Steps 1 to 6.
fn make(store: &Store, request: &Request, progress: &dyn Progress) -> Result<Made, BuildError> {
    let mut timings = Timings::new();

    let mut tree = collect(store, &request.source, &CollectOptions::default(), progress)?;
    let source_digest = tree.digest_with(store)?;
    if let Some(pinned) = &request.pinned {
        pinned.check(&source_digest, &mut tree)?;
    }
    timings.step("source");

    let reader = files::TreeFiles::new(&tree);
    let options = detection(request, &tree, None);
    // A record of ours is of two phases, whatever its builder's name stands for today.
    if request.pinned.is_none()
        && let Some(builder) = wish(store, &reader, &options, request)?
        && {
            base::refresh(store, &builder, request, progress)?;
            s2i::is_builder(store, &builder, s2i::PullPolicy::IfNotPresent, progress)?
        }
    {
        let source = s2i::Source::of_request(tree, &request.source);
        let request = s2i::Request::of_image(request, builder);
        let built = s2i::build(store, &request, &source, progress)?;
        return Ok(Made::Foreign(Box::new(built.report)));
    }
    let request = &with_environment_of(request, &tree)?;
    let made = in_two_phases(store, request, &tree, &source_digest, timings, progress)?;
    Ok(Made::Here(Box::new(made)))
}

/// The steps after the source with a builder of ours, or any image with a Python.
fn in_two_phases(
    store: &Store,
    request: &Request,
    tree: &Tree,
    source_digest: &Digest,
    mut timings: Timings,
    progress: &dyn Progress,
) -> Result<(Descriptor, Report), BuildError> {
    // What is found in the cache needs no limit, and is not to be had without the one asked for.
    sandbox::check_limits(&request.limits)?;
    let reader = files::TreeFiles::new(tree);
    let options = detection(request, tree, None);
    let python = app::python_request(&reader, &options.environment)?;
    let settings =
        app::settings::Settings::load(&reader, &options.environment, &options.command_line)?;
    let lock = lockfile::find(&reader, &settings)?;
    // An app that cannot be started is refused before anything is fetched.
    app::detect(
        &reader,
        &app::Options {
            listed: lock.as_ref().map(lockfile::Lock::preview),
            ..options.clone()
        },
    )?;
    timings.step("plan");

    let wish = wish(store, &reader, &options, request)?;
    let mut base = base::take(store, wish.as_deref(), python.as_ref(), request, progress)?;
    let locked = match &lock {
        Some(lock) => Some(locked::read(store, lock, &base, request)?),
        None => None,
    };
    let request = &Request {
        listed: locked.as_ref().map(|locked| locked.listed().clone()),
        ..request.clone()
    };
    let detected = app::detect(
        &reader,
        &detection(request, tree, Some(base.python.minor())),
    )?;
    for note in &detected.notes {
        progress.step(&format!("---> {note}"));
    }
    for warning in detected.warnings.iter().chain(&pitfalls::warnings(tree)) {
        progress.warning(warning);
    }
    for warning in leaks::Leaks::too_short(request) {
        progress.warning(&warning);
    }
    timings.step("base");

    let mut runtime = match &request.runtime_image {
        Some(reference) => Some(base::runtime(store, reference, &base, request, progress)?),
        None => None,
    };
    if request.harden {
        runtime.as_mut().unwrap_or(&mut base).harden(store)?;
    }
    judge::builder(store, &base, request, progress)?;
    let runtime = match &runtime {
        Some(runtime) => {
            judge::builder(store, runtime, request, progress)?;
            runtime
        }
        None => &base,
    };

    let given = git_version::given(&reader, &detected.project, tree, request, progress);
    let with_version = given.as_ref().unwrap_or(request);
    let first = if detected.needs_all_source.is_some() {
        with_version
    } else {
        request
    };

    progress.step("---> Installing application source");
    progress.step("---> Building application from source");
    let phase1 = dependencies::phase(
        store,
        tree,
        &detected,
        &base,
        locked.as_ref(),
        first,
        progress,
    )?;
    timings.step("dependencies");

    let time = request
        .source_date_epoch
        .or_else(|| tree.commit.as_ref().map(|commit| commit.time));
    // The dependencies are compressed while the application is built on them.
    let (dependencies, phase2) = rayon::join(
        || phase1.written(store, request),
        || {
            application::phase(
                store,
                tree,
                source_digest,
                time.unwrap_or(DEFAULT_SOURCE_TIME),
                &base,
                runtime,
                &phase1,
                request.smoke && detected.project.settings.is_on("smoke"),
                with_version,
                progress,
            )
        },
    );
    let (dependencies, phase2) = (dependencies?, phase2?);
    timings.step("application");

    let committed = commit::commit(
        store,
        &commit::Parts {
            base: runtime,
            builder: &base.reference,
            dependencies: &dependencies,
            dependencies_hit: phase1.explanation.hit,
            application: &phase2.result,
            application_hit: phase2.explanation.hit,
        },
        &commit::Facts {
            request,
            commit: tree.commit.as_ref(),
            project: &app::metadata::read(&reader),
            record: &Record {
                resolved: dependencies.resolved.clone(),
                wheels: lock::files(&dependencies),
                ..Record::new(
                    request,
                    source_digest,
                    tree.commit.as_ref(),
                    base.named(),
                    request.runtime_image.is_some().then(|| runtime.named()),
                )
            },
            created: commit::rfc3339(time.unwrap_or(crate::builder::FIXED_TIME)),
        },
    )?;
    let built = store.image_at(&committed.descriptor)?;
    let verdict = judge::image(
        store,
        &built,
        &runtime.reference,
        runtime.image.manifest.layers().len(),
        request,
        progress,
    )?;
    timings.step("commit");

    let state = |hit| {
        if hit {
            CacheState::Hit
        } else {
            CacheState::Miss
        }
    };
    let report = Report {
        name: request.name.as_given().to_owned(),
        digest: committed.descriptor.digest().to_string(),
        config_digest: committed.config.digest().to_string(),
        media_type: committed.descriptor.media_type().to_string(),
        user: crate::builder::APP_UID.to_string(),
        base: runtime.named(),
        builder: base.named(),
        layers: committed.layers,
        cache: CacheReport {
            dependencies: state(phase1.explanation.hit),
            application: state(phase2.explanation.hit),
        },
        explain: vec![phase1.explanation, phase2.explanation],
        audit: verdict,
        plan: phase2.result.plan,
        timings_ms: timings.steps,
        pushed: Vec::new(),
        lock: lock::text(
            &dependencies,
            &base.python.minor,
            detected.project.list_digest(),
        ),
    };
    Ok((committed.descriptor, report))
}

/// The builder image that somebody has named.
fn wish(
    store: &Store,
    reader: &files::TreeFiles<'_>,
    options: &app::Options,
    request: &Request,
) -> Result<Option<String>, BuildError> {
    if request.builder.is_some() {
        return Ok(request.builder.clone());
    }
    let settings =
        app::settings::Settings::load(reader, &options.environment, &options.command_line)?;
    if let Some(named) = settings.value("builder_image") {
        allowed_builders::check(store, &named, &request.allowed_builders)?;
    }
    Ok(settings
        .get("builder_image")
        .or_else(|| request.host_env.get("WARPDRIVE_BUILDER_IMAGE").cloned()))
}

/// Step 1: the files that go into the image, and what git knows of them.
pub(crate) fn collect(
    store: &Store,
    request: &SourceRequest,
    options: &CollectOptions,
    progress: &dyn Progress,
) -> Result<Tree, BuildError> {
    let tree = source::take(store, request, options, progress, &sandbox::interrupted)?;
    for warning in &tree.warnings {
        progress.warning(warning);
    }
    let (files, bytes) = tree.totals();
    progress.step(&format!(
        "---> Collected {files} files, {}; left out {} files, {}",
        human_size(bytes),
        tree.left_out.files,
        human_size(tree.left_out.bytes)
    ));
    if let Some(commit) = &tree.commit {
        progress.step(&format!("---> {}", at_commit(commit)));
    }
    if tree.is_empty() {
        return Err(BuildError::EmptySource {
            source_name: request.origin.to_string(),
        });
    }
    Ok(tree)
}

/// `At commit 1a2b3c4d5e6f (main), with changes that are not committed`
fn at_commit(commit: &source::Commit) -> String {
    let id: String = commit.id.chars().take(12).collect();
    let branch = commit
        .reference
        .as_ref()
        .map_or_else(String::new, |branch| format!(" ({branch})"));
    let changed = if commit.dirty {
        ", with changes that are not committed"
    } else {
        ""
    };
    format!("At commit {id}{branch}{changed}")
}

/// The variables of `.s2i/environment` below those of the request: on `OpenShift` they are the image's.
fn with_environment_of(request: &Request, tree: &Tree) -> Result<Request, BuildError> {
    let mut request = request.clone();
    for file in crate::s2i::environment::IN_SOURCE {
        let Some(bytes) = tree.read(std::path::Path::new(file), crate::s2i::environment::MAX)?
        else {
            continue;
        };
        let found = crate::s2i::environment::parse(file, &bytes)
            .map_err(|error| BuildError::S2iBuild(error.into()))?;
        for (name, value) in crate::s2i::environment::settled(found) {
            if !request.env.iter().any(|(known, _)| *known == name) {
                request.env.push((name, value));
            }
        }
        break;
    }
    Ok(request)
}

/// What detection knows besides the tree: the variables of the build, and the builder's Python.
fn detection(request: &Request, tree: &Tree, python: Option<PythonVersion>) -> app::Options {
    let upgrade = request
        .upgrade
        .then(|| ("WARPDRIVE_UPGRADE".to_owned(), "1".to_owned()));
    app::Options {
        environment: request
            .env
            .iter()
            .chain(&request.build_env)
            .cloned()
            .chain(upgrade)
            .collect(),
        python,
        app_root: Some(crate::builder::APP_ROOT.to_owned()),
        listed: request.listed.clone(),
        now: dependencies::now(),
        left_out: tree
            .left_out
            .paths
            .iter()
            .filter_map(|(path, rule)| Some((path.to_str()?.to_owned(), rule.clone())))
            .collect(),
        ..app::Options::default()
    }
}
