//! Fills the shared wheel cache, before anything of the application or of a package can run.
//!
//! Hostile code runs early in a build: `.warpdrive/environment` is a shell script, a wheel may
//! replace `bin/python`, and a base image may contain any Python. Each of these could put a changed
//! `flask` into a cache that it may write. So assemble never may write it (see [`WheelCache`](super::environment::WheelCache)).
//! Here, in a separate sandbox, only the pinned `uv` and the base's Python run, with a list of
//! requirements that warpdrive wrote and without any variable, configuration file or program of the
//! source. Every base image has its own cache, because its Python runs too.
//!
//! The installed tree is thrown away; uv's cache of verified downloads stays. A failure here does
//! not fail the build: assemble downloads what is missing, and its error explains more.

use std::path::Path;

use crate::app::contract::RUN;
use crate::app::files::Files;
use crate::app::pip_variables;
use crate::app::requirement::LineKind;
use crate::app::server::pins::pinned;
use crate::builder::APP_ROOT;
use crate::progress::Progress;
use crate::sandbox::{Exit, IdMode, Mount, Network};
use crate::source::Tree;

use super::assemble::PhaseEnd;
use super::context::Context;
use super::environment;
use super::error::BuildError;
use super::files::TreeFiles;
use super::materials::Materials;
use super::overlay::overlay_owned;
use super::plain_lists::of_lines;
use super::sandbox_inputs::SandboxInputs;
use super::sdists::Sdists;
use super::tools::Tools;
use super::trusted::{self, Job};
use super::wheel_cache::CacheScope;

/// The content of the installer's cache now.
#[derive(Default)]
pub(super) struct Fetched {
    /// Everything that the application needs.
    pub(super) complete: bool,
    /// It includes source distributions, which are in this directory.
    pub(super) sdists: Option<Mount>,
}

/// Downloads the packages that the application's list states plainly. `scratch` is for packages that must be
/// built.
pub(super) fn fetch(
    materials: &Materials<'_>,
    source: &Tree,
    tools: &Tools,
    scratch: &Path,
) -> Result<Fetched, BuildError> {
    let Materials {
        context,
        detected,
        base,
        ..
    } = *materials;
    let request = context.request;
    if request.network == Network::None || detected.project.uses_pip() {
        return Ok(Fetched::default());
    }
    // assemble reads uv's own settings and asks the indexes in them; no other index is asked before.
    if !detected.project.is_complete() && has_uv_settings(&TreeFiles::new(source)) {
        return Ok(Fetched::default());
    }
    let mut options = detected.project.requirements.lines.iter();
    if options.any(|line| line.kind == LineKind::Option && line.text.trim() == "--no-index") {
        return Ok(Fetched::default());
    }
    let said = request.build_env.iter().cloned().collect();
    if pip_variables::without_index(&said) {
        return Ok(Fetched::default());
    }
    let agent = detected.plan.instrument.iter();
    let agent = agent.flat_map(|agent| agent.packages(&detected.project.names()));
    let server: Vec<String> = detected
        .plan
        .server_packages
        .iter()
        .map(String::as_str)
        .chain(agent)
        .map(|name| pinned(name, base.python.minor()))
        .collect();
    let lists = of_lines(source, detected, &server, request, &said);
    if lists.requirements.is_empty() {
        return Ok(Fetched::default());
    }
    let complete = lists.left_out.is_none();
    // Names that the project binds to a location are not looked for.
    let others = detected.project.open().into_iter();
    let others = others.flat_map(|open| open.others.iter().map(|(name, _)| name));
    let excluded: Vec<&str> = detected
        .project
        .settled()
        .iter()
        .chain(others)
        .map(String::as_str)
        .collect();
    let run = |requirements: &str, constraints: &str, excluded: &[&str]| {
        install(materials, tools, requirements, constraints, excluded)
    };
    let mut outcome = run(&lists.requirements, &lists.constraints, &excluded)?;
    let mut sdists = Sdists::new(context, base, scratch);
    let told = SandboxInputs::of_application(request, None);
    if !environment::withheld(&told).is_empty() {
        while outcome.exit != Exit::Code(0) && sdists.add(&outcome.tail, &lists)? {
            let mut requirements = lists.requirements.clone();
            for need in &sdists.needs {
                requirements.push_str(need);
                requirements.push('\n');
            }
            let excluded: Vec<&str> = excluded
                .iter()
                .copied()
                .chain(sdists.names.iter().map(String::as_str))
                .collect();
            outcome = run(&requirements, &lists.constraints, &excluded)?;
        }
        let indexes: Vec<&str> = lists
            .requirements
            .lines()
            .filter(|line| line.starts_with('-'))
            .collect();
        for builders in &sdists.builders {
            if outcome.exit == Exit::Code(0) && !builders.is_empty() {
                let lines = indexes.iter().copied();
                let lines: Vec<&str> = lines.chain(builders.iter().map(String::as_str)).collect();
                outcome = run(&(lines.join("\n") + "\n"), "", &[])?;
            }
        }
    }
    let complete = complete && outcome.exit == Exit::Code(0);
    Ok(Fetched {
        complete,
        sdists: sdists.into_mount().filter(|_| complete),
    })
}

/// Has uv install a list into a directory that is thrown away.
fn install(
    materials: &Materials<'_>,
    tools: &Tools,
    requirements_text: &str,
    constraints_text: &str,
    excluded: &[&str],
) -> Result<PhaseEnd, BuildError> {
    let Materials {
        context,
        detected,
        base,
        ..
    } = *materials;
    let Context {
        store,
        request,
        progress,
    } = context;
    let scratch = store.scratch("fetch")?;
    let target = format!("{RUN}/fetched");
    let requirements = format!("{RUN}/requirements.txt");
    let constraints = format!("{RUN}/constraints.txt");
    let python = format!("{APP_ROOT}/bin/python");
    let uv = format!("{RUN}/tools/bin/uv");
    let excluded_file = format!("{RUN}/excluded.txt");
    let excluded = excluded.join("\n");
    let mut command = vec![
        uv.as_str(),
        "pip",
        "install",
        "--no-config",
        "--no-build",
        "--no-python-downloads",
        "--link-mode",
        "copy",
        "--python",
        &python,
        "--target",
        &target,
        "-r",
        &requirements,
        "-c",
        &constraints,
    ];
    if !excluded.is_empty() {
        command.extend(["--excludes", &excluded_file]);
    }
    let job = Job {
        command: command.into_iter().map(str::to_owned).collect(),
        files: vec![
            (requirements.clone(), requirements_text.to_owned()),
            (constraints.clone(), constraints_text.to_owned()),
            (excluded_file.clone(), excluded),
        ],
        output: Some((
            overlay_owned(&scratch, "fetched", IdMode::current())?.upper,
            target.clone(),
        )),
        defaults: &[],
    };
    let scope = CacheScope::of(request, &detected.project.requirements.lines);
    let downloads = Downloads(progress);
    trusted::run(context.telling(&downloads), base, tools, &scope, job)
}

/// Whether `pyproject.toml` has settings for uv.
pub(super) fn has_uv_settings(files: &dyn Files) -> bool {
    if files.is_file("uv.toml") {
        return true;
    }
    let Some(text) = files.text("pyproject.toml") else {
        return false;
    };
    // The installer reports a file that cannot be read.
    toml::from_str::<toml::Table>(&text).map_or(true, |document| {
        document
            .get("tool")
            .is_some_and(|tool| tool.get("uv").is_some())
    })
}

/// Shows the downloads, which take most of the time, and leaves the rest to assemble.
struct Downloads<'a>(&'a dyn Progress);

impl Progress for Downloads<'_> {
    fn step(&self, _line: &str) {}
    fn warning(&self, _text: &str) {}
    fn moved(&self, _what: &str, _done: u64, _total: Option<u64>) {}

    fn output(&self, line: &str) {
        let word = line.trim_start();
        if word.starts_with("Downloading ") || word.starts_with("Downloaded ") {
            self.0.output(line);
        }
    }
}
