//! What kind of app a source tree is, from its text alone, so that an impossible one fails before
//! anything is installed.
//!
//! The order: what the owner says; `web` of the settings; an executable `app.sh`; `web` of a Procfile; a
//! platform's file; what a configuration names; Django; applications that the syntax trees show; programs.
//!
//! `kinds` has the frameworks' names, `parse`, `syntax` and `evaluate` read modules, `entry` searches, `django` reads `manage.py`.

#[cfg(feature = "host")]
pub mod at_load;
mod below;
mod choose;
mod declared;
mod django;
mod entry;
mod error;
mod evaluate;
mod import_roots;
mod kinds;
mod lists;
mod own;
mod parse;
mod syntax;

use std::collections::BTreeMap;

use super::adding::Adding;
use super::contract::{self, APP_HOME, INSTRUMENT, SERVER_PACKAGES};
use super::declared::unheard::unheard;
use super::environment;
use super::files::Files;
use super::instrument::Instrument;
use super::listed::Listed;
use super::plan::{Application, DjangoPlan, Plan, Start, StaticMap};
use super::project::{self, Project, Source};
use super::python::{self, PythonRequest};
use super::python_version::PythonVersion;
use super::settings::{HOOKS, Settings};
use super::{dependencies, requirement};

use choose::{Chosen, Finder};

pub use entry::{Candidate, Found};
pub use error::{DetectError, Nothing};
pub use kinds::Interface;
pub use syntax::SyntaxError;

/// What detection needs to know besides the tree.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The environment that settings may come from: of the build, not of this process.
    pub environment: BTreeMap<String, String>,
    /// Settings from the command line, by key.
    pub command_line: BTreeMap<String, String>,
    /// The Python of the builder, if it is known.
    pub python: Option<PythonVersion>,
    /// The application's root in the image or on this machine.
    pub app_root: Option<String>,
    /// The list from a manager's lock file, if there is one.
    pub listed: Option<Listed>,
    /// Paths at the top that are not in the tree, and the rule that left them out.
    pub left_out: Vec<(String, String)>,
    /// Seconds since 1970; 0 warns of no end of life.
    pub now: u64,
}

/// What was found out about an app.
#[derive(Debug)]
pub struct Detected {
    pub plan: Plan,
    pub project: Project,
    /// The files that phase one sees.
    pub dependency_files: Vec<String>,
    /// Why phase one needs the complete source, if it does.
    pub needs_all_source: Option<String>,
    /// What the owner should know.
    pub warnings: Vec<String>,
    /// Facts that may interest the owner.
    pub notes: Vec<String>,
    /// Why this start was chosen, with file and line.
    pub because: String,
    /// The home was found, not set by the owner.
    pub found_below: bool,
}

impl Detected {
    /// Variables that phase one needs because it does not see the source; they belong to its key.
    pub fn phase_one_environment(&self) -> Vec<(String, String)> {
        let packages = self.plan.server_packages.join(" ");
        let mut variables = vec![(SERVER_PACKAGES.to_owned(), packages)];
        if self.found_below {
            variables.push((APP_HOME.to_owned(), self.plan.home.clone()));
        }
        if let Some(instrument) = &self.plan.instrument {
            variables.push((INSTRUMENT.to_owned(), instrument.to_string()));
        }
        variables
    }

    /// Whether phase two runs any code that does not belong to warpdrive: hooks and files of variables
    /// (which are shell), an assemble script, a back end of a project that is installed, Django.
    pub fn runs_own_code(&self, files: &dyn Files) -> bool {
        self.plan.django.is_some()
            || !self.project.local_projects().is_empty()
            || files
                .list("")
                .iter()
                .any(|entry| matches!(entry.name.as_str(), ".warpdrive" | ".s2i"))
    }
}

/// Finds out what a source tree is.
///
/// # Errors
/// If it cannot be an app, or is more than one.
pub fn detect(files: &dyn Files, options: &Options) -> Result<Detected, DetectError> {
    let project = Project::load_listed(
        files,
        &options.environment,
        &options.command_line,
        options.listed.as_ref(),
    )?;
    detect_project(files, project, options)
}

/// The same for a tree whose project has been read, with the settings from the options.
///
/// # Errors
/// If it cannot be an app, or is more than one.
pub fn detect_project(
    files: &dyn Files,
    project: Project,
    options: &Options,
) -> Result<Detected, DetectError> {
    let nothing = match detect_in_home(files, project.clone(), options) {
        Err(DetectError::Nothing(nothing)) if nothing.home.is_empty() => nothing,
        other => return other,
    };
    let mut homes = below::homes(files, &project);
    match homes.len() {
        0 => Err(DetectError::Nothing(nothing)),
        1 => {
            let home = homes.remove(0);
            let mut options = options.clone();
            options
                .environment
                .insert(APP_HOME.to_owned(), home.clone());
            let settings = project.settings.with_home(&home, APP_HOME)?;
            let project = match &options.listed {
                Some(listed) => Project::listed(files, settings, &options.environment, listed),
                None => Project::read(files, settings, &options.environment)?,
            };
            let mut detected = detect_in_home(files, project, &options)?;
            detected.found_below = true;
            detected.notes.push(format!(
                "the application was found in `{home}/`, which is its home"
            ));
            Ok(detected)
        }
        _ => Err(DetectError::Homes { homes }),
    }
}

fn detect_in_home(
    files: &dyn Files,
    project: Project,
    options: &Options,
) -> Result<Detected, DetectError> {
    let settings = &project.settings;
    refuse_hooks(files)?;
    let mut warnings = warnings(files, &project);
    warnings.extend(lists::check(files, &project, &options.left_out)?);
    let home = home(files, settings)?;
    refuse_conda_alone(files, &project)?;
    let mut file_environment = settings.environment.clone();
    file_environment.extend(environment::plain(files, environment::FILE)?);
    let finder = Finder {
        files,
        project: &project,
        home: &home,
    };
    let chosen = finder.choose()?;
    let server_packages = server_packages(&chosen, &project);
    let (python_request, of_python) = python_for(files, settings, options)?;
    warnings.extend(of_python);
    let server_args = server_args(&chosen.start, settings)?;
    let processes = processes(files, &home, settings, &chosen);
    warnings.extend(chosen.warnings);
    let app_root = options.app_root.as_deref().unwrap_or(contract::ROOT);
    let plan = Plan {
        version: Plan::VERSION,
        framework: chosen.framework,
        django: chosen.django,
        static_files: static_setting(settings, app_root).into_iter().collect(),
        python_path: chosen.python_path,
        server_args,
        environment: file_environment,
        installer: settings.get("installer").unwrap_or_default(),
        python_request,
        python: options.python,
        server_packages,
        server_version: None,
        hooks: HOOKS
            .iter()
            .filter(|name| project::hook(files, name) == Some(true))
            .map(|name| (*name).to_owned())
            .collect(),
        start: chosen.start,
        home,
        instrument: instrument(settings),
        service: super::metadata::read(files).name,
        image_environment: BTreeMap::new(),
        processes,
        web: chosen.web,
        adding: Adding::of(files, settings),
        development: chosen.development,
    };
    Ok(Detected {
        notes: Vec::new(),
        because: chosen.because,
        found_below: false,
        dependency_files: dependencies::files(files, &project),
        needs_all_source: dependencies::needs_all_source(&project, files),
        plan,
        project,
        warnings,
    })
}

/// A source with a file of conda's must have a list that pip or uv can install.
fn refuse_conda_alone(files: &dyn Files, project: &Project) -> Result<(), DetectError> {
    let found = ["environment.yml", "environment.yaml"]
        .into_iter()
        .find(|path| files.is_file(path));
    match found {
        Some(path) if project.source == Source::None => Err(DetectError::Conda {
            path: path.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// What the start needs besides what the project lists.
fn server_packages(chosen: &Chosen, project: &Project) -> Vec<String> {
    let names = project.names();
    match &chosen.start {
        Start::Server {
            server,
            application,
        } => {
            let interface = application
                .as_ref()
                .map_or(Interface::Wsgi, |app| app.interface);
            let wrapped =
                chosen.django.is_some() || project.settings.said("wsgi_static_root").is_some();
            server.missing_packages(&names, interface, wrapped)
        }
        Start::Jupyter { interface } => interface.missing_packages(&names),
        Start::Command { .. } => chosen.needs.clone(),
        Start::Shell { .. } | Start::Python { .. } => Vec::new(),
    }
}

/// The Python that the source asks for, with warnings.
///
/// # Errors
/// If the builder has another one.
fn python_for(
    files: &dyn Files,
    settings: &Settings,
    options: &Options,
) -> Result<(Option<PythonRequest>, Vec<String>), DetectError> {
    let said = python::request(files, settings)?;
    let mut warnings = said.warnings;
    let Some(builder) = options.python else {
        return Ok((said.request, warnings));
    };
    warnings.extend(python::warn_of_end(builder, options.now));
    match said.request {
        Some(request) if !request.matches(builder) => Err(DetectError::Python { request, builder }),
        request => Ok((request, warnings)),
    }
}

/// Arguments that a setting adds to the start.
fn server_args(start: &Start, settings: &Settings) -> Result<Option<String>, DetectError> {
    let name = match start {
        Start::Shell { .. } => "shell",
        Start::Python { .. } => "python",
        Start::Command { .. } => "process",
        Start::Jupyter { .. } => "jupyter",
        Start::Server { server, .. } => server.name(),
    };
    let args = settings
        .arguments_for(name)
        .map(|text| text.trim().to_owned());
    if let Some(text) = &args {
        // Text that is expanded at start is checked now: a command in it never runs.
        super::shell_words::expand(text, &BTreeMap::new())?;
    }
    Ok(args)
}

/// The other processes: settings come before the Procfile, and this before what the start brings.
fn processes(
    files: &dyn Files,
    home: &str,
    settings: &Settings,
    chosen: &Chosen,
) -> BTreeMap<String, String> {
    let mut processes: BTreeMap<String, String> = declared::procfile(files, home)
        .into_iter()
        .map(|(name, said)| (name, said.value))
        .collect();
    processes.extend(settings.processes.clone());
    for (name, line) in &chosen.processes {
        processes
            .entry(name.clone())
            .or_insert_with(|| line.clone());
    }
    if chosen.web {
        processes.remove(super::plan::WEB);
    }
    processes
}

/// The agent that the settings ask for.
pub(crate) fn instrument(settings: &Settings) -> Option<Instrument> {
    settings
        .get("instrument")
        .and_then(|text| Instrument::parse(&text))
}

fn home(files: &dyn Files, settings: &Settings) -> Result<String, DetectError> {
    let Some(value) = settings.value("home") else {
        return Ok(String::new());
    };
    let wrong = |reason| DetectError::Home {
        value: value.text.clone(),
        origin: value.origin.to_string(),
        reason,
    };
    let home =
        super::files::join("", &value.text).ok_or_else(|| wrong("lies outside the source"))?;
    if files.is_directory(&home) {
        Ok(home)
    } else {
        Err(wrong("is not a directory of the source"))
    }
}

/// `wsgi_static_url` and `wsgi_static_root`.
fn static_setting(settings: &Settings, app_root: &str) -> Option<StaticMap> {
    let root = settings.get("wsgi_static_root")?;
    let url = settings.get("wsgi_static_url")?;
    let root = if root.starts_with('/') {
        root
    } else {
        format!("{app_root}/src/{root}")
    };
    Some(static_map(&url, &root))
}

/// A mapping with its slashes in place.
pub(crate) fn static_map(url: &str, root: &str) -> StaticMap {
    StaticMap {
        url: match url.trim_matches('/') {
            "" => "/".to_owned(),
            inner => format!("/{inner}/"),
        },
        root: format!("{}/", root.trim_end_matches('/')),
    }
}

/// Otherwise a hook that is not executable would fail only when its command runs, perhaps in
/// production. (The original skipped such a hook, `build` even silently.)
fn refuse_hooks(files: &dyn Files) -> Result<(), DetectError> {
    // These two are read, not run.
    let run = HOOKS
        .iter()
        .filter(|name| !matches!(**name, "build-env" | "deploy-env"));
    for name in run {
        if project::hook(files, name) == Some(false) {
            return Err(DetectError::NotExecutable {
                path: format!(".warpdrive/action_hooks/{name}"),
            });
        }
    }
    Ok(())
}

fn warnings(files: &dyn Files, project: &Project) -> Vec<String> {
    let mut warnings = Vec::new();
    for (path, meant) in &project.settings.doubtful {
        warnings.push(format!("{path} means nothing; {meant} would"));
    }
    warnings.extend(project.unused_lock.clone());
    warnings.extend(unheard(files, project));
    for line in project.requirements.moving() {
        warnings.push(format!(
            "{}:{}: {} is not pinned to a commit; the next build may install something else",
            line.file, line.number, line.text
        ));
    }
    warnings
}

/// The application of a Django project: `WSGI_APPLICATION` or `ASGI_APPLICATION`, split at the last
/// dot.
pub(crate) fn django_application(django: &DjangoPlan, asgi: bool) -> Option<Application> {
    let named = |text: &Option<String>, interface| {
        let (module, object) = text.as_deref()?.rsplit_once('.')?;
        Some(Application {
            module: module.to_owned(),
            object: object.to_owned(),
            factory: false,
            interface,
            wrapper: None,
        })
    };
    let wsgi = || named(&django.wsgi_application, Interface::Wsgi);
    let asynchronous = || named(&django.asgi_application, Interface::Asgi);
    if asgi {
        asynchronous().or_else(wsgi)
    } else {
        wsgi().or_else(asynchronous)
    }
}

/// Only the requested Python version, to choose a builder before anything else.
///
/// # Errors
/// For settings and versions that cannot be understood.
pub fn python_request(
    files: &dyn Files,
    settings: &Settings,
) -> Result<Option<PythonRequest>, DetectError> {
    Ok(python::request(files, settings)?.request)
}

/// The old `PyPI` package `warpdrive`, which would overwrite the in-image tool.
pub(crate) fn is_old_package(line: &requirement::Line) -> bool {
    matches!(
        &line.kind,
        requirement::LineKind::Named { name, .. } | requirement::LineKind::Url { name: Some(name), .. }
            if name == "warpdrive"
    )
}

#[cfg(test)]
mod page;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod tests;
