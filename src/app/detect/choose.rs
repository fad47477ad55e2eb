//! Chooses how an app is started: the order of the original, with syntax trees in place of guesses.

use super::super::files::{EntryKind, Files};
use super::super::jupyter;
use super::super::plan::{Application, DjangoPlan, Start};
use super::super::project::Project;
use super::super::server::Server;
use super::entry::{Candidate, Found};
use super::error::{DetectError, Nothing};
use super::kinds::Interface;
use super::{django, django_application, entry};

/// The result of choosing.
pub(super) struct Chosen {
    pub start: Start,
    pub framework: String,
    pub django: Option<DjangoPlan>,
    pub python_path: Vec<String>,
    pub warnings: Vec<String>,
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

pub(super) struct Finder<'a> {
    pub files: &'a dyn Files,
    pub project: &'a Project,
    pub home: &'a str,
}

impl Finder<'_> {
    pub(super) fn choose(&self) -> Result<Chosen, DetectError> {
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
            "jupyter" => return Ok(self.jupyter()),
            _ => {}
        }
        let server_type = settings.get("server_type");
        if mode == "auto" && server_type.as_deref().is_some_and(jupyter::is_asked_for) {
            return Ok(self.jupyter());
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
            None if own.is_empty()
                && mode == "auto"
                && jupyter::has_notebooks(self.files, self.home) =>
            {
                Ok(self.jupyter())
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

    /// Notebooks, for Jupyter.
    fn jupyter(&self) -> Chosen {
        let server_type = self.project.settings.get("server_type");
        let interface = jupyter::Interface::choose(server_type.as_deref(), &self.project.names());
        let mut chosen = Chosen::simple(Start::Jupyter { interface });
        "jupyter".clone_into(&mut chosen.framework);
        chosen
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
        match settings.get("deploy_mode").as_deref() {
            Some("asgi") => return true,
            Some("wsgi") => return false,
            _ => {}
        }
        if let Some(server) = settings
            .get("server_type")
            .and_then(|name| Server::from_name(&name))
        {
            return server.is_asynchronous();
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
        DetectError::Nothing(Box::new(Nothing {
            empty: found.looked_at.is_empty() && !has_python(self.files, self.home, 0),
            looked_at: found.looked_at,
            errors: found.errors,
            notes: found.notes,
            elsewhere,
            home: self.home.to_owned(),
        }))
    }
}

fn has_python(files: &dyn Files, directory: &str, depth: usize) -> bool {
    depth < 4
        && files
            .list(directory)
            .into_iter()
            .any(|entry| match entry.kind {
                EntryKind::File { .. } => std::path::Path::new(&entry.name)
                    .extension()
                    .is_some_and(|extension| extension == "py"),
                EntryKind::Directory => {
                    has_python(files, &entry::under(directory, &entry.name), depth + 1)
                }
                EntryKind::Other => false,
            })
}
