//! What kind of app a source tree is, from its text alone, so that an impossible one fails before
//! anything is installed.
//!
//! The order of the original: what the owner says; an executable `app.sh`; applications that the
//! syntax trees show; Django; `app.py` as a program. `kinds` has the frameworks' names, `syntax`
//! and `evaluate` read modules, `entry` searches, `django` reads `manage.py`.

mod django;
mod entry;
mod evaluate;
mod kinds;
mod syntax;

use std::collections::BTreeMap;

use super::advice::{Advice, Explain};
use super::environment;
use super::files::{EntryKind, Files};
use super::plan::{Application, DjangoPlan, Plan, Start, StaticMap};
use super::project::{self, Project};
use super::python::{self, PythonRequest, PythonVersion};
use super::server::Server;
use super::settings::{HOOKS, Settings, SettingsError};
use super::{dependencies, requirement};

pub use entry::{Candidate, Found};
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
}

/// What was found out about an app.
#[derive(Debug)]
pub struct Detected {
    pub plan: Plan,
    pub project: Project,
    /// The files that phase one sees.
    pub dependency_files: Vec<String>,
    /// Why phase one needs all the source, if it does.
    pub needs_all_source: Option<String>,
    /// What the owner should know.
    pub warnings: Vec<String>,
}

impl Detected {
    /// Variables that phase one needs because it does not see the source; they belong to its key.
    pub fn phase_one_environment(&self) -> Vec<(String, String)> {
        vec![(
            "WARPDRIVE_SERVER_PACKAGES".to_owned(),
            self.plan.server_packages.join(" "),
        )]
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Environment(#[from] environment::EnvironmentError),
    #[error("no application was found")]
    Nothing {
        looked_at: Vec<String>,
        errors: Vec<SyntaxError>,
        notes: Vec<String>,
        /// Sub-directories that have one.
        elsewhere: Vec<String>,
        /// There is not a single Python file.
        empty: bool,
        home: String,
    },
    #[error("two applications were found: {}", .candidates.join(" and "))]
    Ambiguous { candidates: Vec<String> },
    #[error("the setting application = \"{value}\" ({origin}) is no application: {reason}")]
    Named {
        value: String,
        origin: String,
        reason: String,
    },
    #[error("home = \"{value}\" ({origin}) {reason}")]
    Home {
        value: String,
        origin: String,
        reason: &'static str,
    },
    #[error("{server} cannot serve {reference}, which is an {kind} application")]
    WrongServer {
        server: Server,
        reference: String,
        kind: &'static str,
        others: Vec<&'static str>,
    },
    #[error("deploy mode {mode} needs {file}, which is not there")]
    ModeNeeds { mode: String, file: String },
    #[error("{named_in} names {file}, which is not in the source")]
    MissingRequirements { named_in: String, file: String },
    #[error("{path} is not executable")]
    NotExecutable { path: String },
    #[error(
        "{module} runs only its own server ({framework}) and has no `if __name__ == \"__main__\"`"
    )]
    OwnServer { module: String, framework: String },
    #[error("the app wants Python {request}; the builder has {builder}")]
    Python {
        request: PythonRequest,
        builder: PythonVersion,
    },
}

impl Explain for DetectError {
    fn advice(&self) -> Advice {
        let advice = Advice::new(self.to_string());
        match self {
            DetectError::Settings(error) => error.advice(),
            DetectError::Environment(error) => error.advice(),
            DetectError::Nothing { looked_at, errors, notes, elsewhere, empty, home } => {
                let place = if home.is_empty() { "the source" } else { home.as_str() };
                let mut advice = if *empty {
                    advice.cause(format!("There is no Python file in {place}."))
                } else {
                    advice.cause(
                        "Looked for a module-level WSGI or ASGI application (Flask(), FastAPI(), \
                         get_wsgi_application(), …),\n\
                         an application(environ, start_response), an app(scope, receive, send),\n\
                         or a factory create_app() or make_app(), in wsgi.py, asgi.py, app.py, main.py\n\
                         and in packages; then for Django's manage.py, app.py and an executable app.sh.",
                    )
                };
                if !looked_at.is_empty() {
                    advice = advice.cause(format!("Read: {}", looked_at.join(", ")));
                }
                for error in errors {
                    advice = advice.cause(format!(
                        "{}:{} is not Python 3: {}",
                        error.path, error.line, error.message
                    ));
                }
                for note in notes {
                    advice = advice.cause(note.clone());
                }
                for directory in elsewhere {
                    advice = advice.remedy(format!(
                        "there is one in {directory}/:\n  echo {directory} > .warpdrive/home"
                    ));
                }
                advice.remedy(
                    "name it in pyproject.toml:\n  [tool.warpdrive]\n  application = \"module:object\"\n\
                     or in .warpdrive/application",
                )
            }
            DetectError::Ambiguous { candidates } => {
                let first = candidates.first().map_or("module:object", String::as_str);
                advice.remedy(format!(
                    "choose one in pyproject.toml:\n  [tool.warpdrive]\n  application = \"{first}\"\n\
                     or:\n  echo '{first}' > .warpdrive/application"
                ))
            }
            DetectError::Named { .. } => advice.remedy(
                "write it as module:object, or module:function() for a factory; the module as it is imported from the home",
            ),
            DetectError::Home { .. } => advice.remedy("home is a directory inside the source, relative to it"),
            DetectError::WrongServer { others, .. } => {
                advice.remedy(format!("use one of {}", others.join(", ")))
            }
            DetectError::ModeNeeds { .. } => {
                advice.remedy("remove the deploy mode to let warpdrive find out")
            }
            DetectError::MissingRequirements { .. } => {
                advice.remedy("add the file, or remove the line that names it; is it ignored by git?")
            }
            DetectError::NotExecutable { path } => advice.remedy(format!("chmod +x {path}")),
            DetectError::OwnServer { .. } => advice.remedy(
                "make app.py a program that starts it, under if __name__ == \"__main__\"",
            ),
            DetectError::Python { request, builder } => advice
                .remedy(format!("use a builder image with Python {}", request.text))
                .remedy(format!("or let {} allow {builder}", request.source)),
        }
    }
}

/// Finds out what a source tree is.
///
/// # Errors
/// If it cannot be an app, or is more than one.
pub fn detect(files: &dyn Files, options: &Options) -> Result<Detected, DetectError> {
    let project = Project::load(files, &options.environment, &options.command_line)?;
    let settings = &project.settings;
    let mut warnings = warnings(files, &project);
    if let Some((named_in, file)) = project.requirements.missing.first() {
        return Err(DetectError::MissingRequirements {
            named_in: named_in.clone(),
            file: file.clone(),
        });
    }
    let home = home(files, settings)?;
    let mut file_environment = settings.environment.clone();
    file_environment.extend(environment::plain(files)?);
    let names = project.names();
    let finder = Finder {
        files,
        project: &project,
        home: &home,
    };
    let chosen = finder.choose()?;
    let server_packages = match &chosen.start {
        Start::Server {
            server,
            application,
        } => {
            let interface = application
                .as_ref()
                .map_or(Interface::Wsgi, |app| app.interface);
            let wrapped = chosen.django.is_some() || settings.said("wsgi_static_root").is_some();
            server.missing_packages(&names, interface, wrapped)
        }
        _ => Vec::new(),
    };
    let python_request = python::request(files, settings);
    if let (Some(request), Some(builder)) = (&python_request, options.python)
        && !request.matches(builder)
    {
        return Err(DetectError::Python {
            request: request.clone(),
            builder,
        });
    }
    warnings.extend(chosen.warnings);
    let server_name = match &chosen.start {
        Start::Shell { .. } => "shell",
        Start::Python { .. } => "python",
        Start::Server { server, .. } => server.name(),
    };
    let app_root = options.app_root.as_deref().unwrap_or("/opt/app-root");
    let plan = Plan {
        version: Plan::VERSION,
        framework: chosen.framework,
        django: chosen.django,
        static_files: static_setting(settings, app_root).into_iter().collect(),
        python_path: chosen.python_path,
        server_args: settings
            .arguments_for(server_name)
            .map(|text| text.trim().to_owned()),
        environment: file_environment,
        installer: settings.get("installer").unwrap_or_default(),
        python_request,
        python: options.python,
        server_packages,
        hooks: HOOKS
            .iter()
            .filter(|name| project::hook(files, name) == Some(true))
            .map(|name| (*name).to_owned())
            .collect(),
        start: chosen.start,
        home,
    };
    Ok(Detected {
        dependency_files: dependencies::files(files, &options.environment),
        needs_all_source: dependencies::needs_all_source(&project, files),
        plan,
        project,
        warnings,
    })
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
        Err(wrong("is no directory of the source"))
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

fn warnings(files: &dyn Files, project: &Project) -> Vec<String> {
    let mut warnings = Vec::new();
    for (path, meant) in &project.settings.doubtful {
        warnings.push(format!("{path} means nothing; {meant} would"));
    }
    for name in HOOKS {
        if project::hook(files, name) == Some(false) && !matches!(*name, "build-env" | "deploy-env")
        {
            let path = format!(".warpdrive/action_hooks/{name}");
            warnings.push(format!(
                "{path} is not executable and is not run: chmod +x {path}"
            ));
        }
    }
    for line in project.requirements.moving() {
        warnings.push(format!(
            "{}:{}: {} is not pinned to a commit; the next build may install something else",
            line.file, line.number, line.text
        ));
    }
    warnings
}

/// The result of choosing.
struct Chosen {
    start: Start,
    framework: String,
    django: Option<DjangoPlan>,
    python_path: Vec<String>,
    warnings: Vec<String>,
}

impl Chosen {
    fn simple(start: Start) -> Chosen {
        Chosen {
            start,
            framework: String::new(),
            django: None,
            python_path: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

struct Finder<'a> {
    files: &'a dyn Files,
    project: &'a Project,
    home: &'a str,
}

impl Finder<'_> {
    fn choose(&self) -> Result<Chosen, DetectError> {
        let settings = &self.project.settings;
        let mode = settings.get("deploy_mode").unwrap_or_default();
        match mode.as_str() {
            "shell" => {
                return self
                    .shell(true)
                    .and_then(|found| found.ok_or_else(|| self.needs(&mode, "shell_file")));
            }
            "python" => {
                let program = settings.get("python_file").unwrap_or_default();
                if !self.files.is_file(&entry::under(self.home, &program)) {
                    return Err(self.needs(&mode, "python_file"));
                }
                return Ok(Chosen::simple(Start::Python { program }));
            }
            "django" => {
                return self.django()?.ok_or_else(|| DetectError::ModeNeeds {
                    mode: mode.clone(),
                    file: "manage.py with DJANGO_SETTINGS_MODULE".to_owned(),
                });
            }
            _ => {}
        }
        if let Some(chosen) = self.named()? {
            return Ok(chosen);
        }
        // The original's modes `gunicorn`, `uwsgi` …: the owner gives all arguments.
        if let Some(server) = Server::from_name(&mode) {
            return Ok(Chosen::simple(Start::Server {
                server,
                application: None,
            }));
        }
        if mode == "auto"
            && let Some(chosen) = self.shell(false)?
        {
            return Ok(chosen);
        }
        self.search(&mode)
    }

    fn needs(&self, mode: &str, key: &str) -> DetectError {
        DetectError::ModeNeeds {
            mode: mode.to_owned(),
            file: entry::under(
                self.home,
                &self.project.settings.get(key).unwrap_or_default(),
            ),
        }
    }

    /// `app.sh`.
    fn shell(&self, wanted: bool) -> Result<Option<Chosen>, DetectError> {
        let program = self.project.settings.get("shell_file").unwrap_or_default();
        let path = entry::under(self.home, &program);
        match self.files.kind(&path) {
            Some(EntryKind::File { executable: true }) => {
                Ok(Some(Chosen::simple(Start::Shell { program })))
            }
            Some(EntryKind::File { executable: false }) if wanted => {
                Err(DetectError::NotExecutable { path })
            }
            _ => Ok(None),
        }
    }

    /// What the settings `application` or the original's `wsgi_*` name.
    fn named(&self) -> Result<Option<Chosen>, DetectError> {
        let settings = &self.project.settings;
        let (value, origin) = if let Some(value) = settings.said("application") {
            (value.text.clone(), value.origin.to_string())
        } else if let Some(value) = settings
            .said("wsgi_module_name")
            .or_else(|| settings.said("wsgi_callable_object"))
        {
            let module = settings
                .get("wsgi_module_name")
                .unwrap_or_else(|| "wsgi".to_owned());
            let object = settings
                .get("wsgi_callable_object")
                .unwrap_or_else(|| "application".to_owned());
            (format!("{module}:{object}"), value.origin.to_string())
        } else {
            return Ok(None);
        };
        let candidate =
            entry::named(self.files, self.home, &value).map_err(|reason| DetectError::Named {
                value,
                origin,
                reason,
            })?;
        let mut chosen = self.serve(candidate)?;
        if chosen.framework == "django" {
            chosen.django = self.django_plan();
        }
        Ok(Some(chosen))
    }

    fn search(&self, mode: &str) -> Result<Chosen, DetectError> {
        let mut found = entry::search(self.files, self.home);
        match mode {
            "wsgi" => found
                .applications
                .retain(|one| one.interface == Interface::Wsgi),
            "asgi" => found
                .applications
                .retain(|one| one.interface == Interface::Asgi),
            _ => {}
        }
        let program = self.project.settings.get("python_file").unwrap_or_default();
        let program_path = entry::under(self.home, &program);
        let own: Vec<Candidate> = found
            .applications
            .extract_if(.., |one| one.interface == Interface::Own)
            .collect();
        // A program that serves when it is imported cannot be given to a server.
        found
            .applications
            .retain(|one| !(one.path == program_path && found.serving.contains(&program_path)));
        let django = self.django_plan();
        if django.is_some() && mode != "wsgi" && mode != "asgi" {
            let others: Vec<&Candidate> = found
                .applications
                .iter()
                .filter(|one| one.framework != "django" && !one.framework.is_empty())
                .collect();
            if let Some(other) = others.first()
                && other.path == program_path
            {
                return Err(DetectError::Ambiguous {
                    candidates: vec![
                        other.reference(),
                        "Django (deploy_mode = django)".to_owned(),
                    ],
                });
            }
            if let Some(chosen) = self.django()? {
                return Ok(chosen);
            }
        }
        match self.pick(&found.applications)? {
            Some(candidate) => {
                let mut chosen = self.serve(candidate)?;
                chosen.warnings.extend(found.notes);
                Ok(chosen)
            }
            None if self.files.is_file(&program_path) && mode == "auto" => {
                Ok(Chosen::simple(Start::Python { program }))
            }
            None => match own.into_iter().next() {
                Some(own) => Err(DetectError::OwnServer {
                    module: own.path,
                    framework: own.framework,
                }),
                None => Err(self.nothing(found)),
            },
        }
    }

    /// One application, or the one of the two interfaces of a project that the server wants.
    fn pick(&self, found: &[Candidate]) -> Result<Option<Candidate>, DetectError> {
        match found {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            many => {
                let last = |one: &Candidate| one.module.rsplit('.').next().unwrap_or("").to_owned();
                if let [a, b] = many
                    && a.interface != b.interface
                {
                    let of = |interface, name: &str| {
                        many.iter()
                            .find(|one| one.interface == interface && last(one) == name)
                            .cloned()
                    };
                    if let (Some(wsgi), Some(asgi)) =
                        (of(Interface::Wsgi, "wsgi"), of(Interface::Asgi, "asgi"))
                    {
                        let asynchronous = self.wants_asgi();
                        return Ok(Some(if asynchronous { asgi } else { wsgi }));
                    }
                }
                Err(DetectError::Ambiguous {
                    candidates: many.iter().map(Candidate::reference).collect(),
                })
            }
        }
    }

    /// Whether, of an app that has both interfaces, ASGI is meant.
    fn wants_asgi(&self) -> bool {
        let settings = &self.project.settings;
        if settings.get("deploy_mode").as_deref() == Some("asgi") {
            return true;
        }
        if let Some(server) = settings
            .get("server_type")
            .and_then(|name| Server::from_name(&name))
        {
            return !server.serves(Interface::Wsgi);
        }
        let names = self.project.names();
        Server::brought_by(&names, Interface::Wsgi).is_none()
            && Server::brought_by(&names, Interface::Asgi).is_some()
    }

    /// Chooses the server for an application.
    fn serve(&self, candidate: Candidate) -> Result<Chosen, DetectError> {
        let python_path = if candidate.root == self.home || self.project.installable {
            Vec::new()
        } else {
            vec![candidate.root.clone()]
        };
        let framework = candidate.framework.clone();
        let application = Application {
            module: candidate.module,
            object: candidate.object,
            factory: candidate.factory,
            interface: candidate.interface,
            wrapper: None,
        };
        let server = self.server_for(&application)?;
        Ok(Chosen {
            start: Start::Server {
                server,
                application: Some(application),
            },
            framework,
            django: None,
            python_path,
            warnings: Vec::new(),
        })
    }

    fn server_for(&self, application: &Application) -> Result<Server, DetectError> {
        let settings = &self.project.settings;
        let interface = application.interface;
        let mode = settings
            .get("deploy_mode")
            .and_then(|name| Server::from_name(&name));
        let said = mode.or_else(|| {
            settings
                .get("server_type")
                .and_then(|name| Server::from_name(&name))
        });
        if let Some(server) = said {
            if server.serves(interface) {
                return Ok(server);
            }
            return Err(DetectError::WrongServer {
                server,
                reference: application.reference(),
                kind: if interface == Interface::Asgi {
                    "ASGI"
                } else {
                    "WSGI"
                },
                others: Server::ALL
                    .iter()
                    .filter(|server| server.serves(interface))
                    .map(|server| server.name())
                    .collect(),
            });
        }
        Ok(
            Server::brought_by(&self.project.names(), interface).unwrap_or(match interface {
                Interface::Asgi => Server::Uvicorn,
                _ => Server::Gunicorn,
            }),
        )
    }

    fn django_plan(&self) -> Option<DjangoPlan> {
        django::find(self.files, self.home).map(|found| DjangoPlan {
            manage: found.manage,
            settings_module: found.settings_module,
            wsgi_application: found.wsgi_application,
            asgi_application: found.asgi_application,
        })
    }

    /// Django as its text shows it; the build asks Django itself.
    fn django(&self) -> Result<Option<Chosen>, DetectError> {
        let Some(django) = self.django_plan() else {
            return Ok(None);
        };
        let application = django_application(&django, self.wants_asgi());
        let application = application.unwrap_or(Application {
            module: "wsgi".to_owned(),
            object: "application".to_owned(),
            factory: false,
            interface: Interface::Wsgi,
            wrapper: None,
        });
        let server = self.server_for(&application)?;
        Ok(Some(Chosen {
            start: Start::Server {
                server,
                application: Some(application),
            },
            framework: "django".to_owned(),
            django: Some(django),
            python_path: Vec::new(),
            warnings: Vec::new(),
        }))
    }

    fn nothing(&self, found: Found) -> DetectError {
        let mut elsewhere = Vec::new();
        for entry in self.files.list(self.home) {
            if entry.kind != EntryKind::Directory || entry.name.starts_with('.') {
                continue;
            }
            let directory = entry::under(self.home, &entry.name);
            let inner = entry::search(self.files, &directory);
            if django::find(self.files, &directory).is_some() || !inner.applications.is_empty() {
                elsewhere.push(directory);
            }
        }
        elsewhere.truncate(3);
        DetectError::Nothing {
            empty: found.looked_at.is_empty() && !has_python(self.files, self.home, 0),
            looked_at: found.looked_at,
            errors: found.errors,
            notes: found.notes,
            elsewhere,
            home: self.home.to_owned(),
        }
    }
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

fn has_python(files: &dyn Files, directory: &str, depth: usize) -> bool {
    depth < 4
        && files
            .list(directory)
            .into_iter()
            .any(|entry| match entry.kind {
                EntryKind::File { .. } => entry.name.ends_with(".py"),
                EntryKind::Directory => {
                    has_python(files, &entry::under(directory, &entry.name), depth + 1)
                }
                EntryKind::Other => false,
            })
}

/// The wanted Python version alone, for choosing a builder before anything else.
///
/// # Errors
/// For settings that cannot be understood.
pub fn python_request(
    files: &dyn Files,
    environment: &BTreeMap<String, String>,
) -> Result<Option<PythonRequest>, SettingsError> {
    let settings = Settings::load(files, environment, &BTreeMap::new())?;
    Ok(python::request(files, &settings))
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
mod tests;
