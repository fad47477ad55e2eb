//! Chooses how an app is started, in the order of the original, but from syntax trees instead of guesses.

use std::collections::BTreeMap;

use super::super::files::{EntryKind, Files};
use super::super::jupyter;
use super::super::plan::{Application, DjangoPlan, RELEASE, Start, WEB};
use super::super::project::Project;
use super::super::requirement::has;
use super::super::server::{SOCKET_IO, Server};
use super::declared::Said;
use super::entry::{Candidate, Found, Read};
use super::error::{DetectError, Nothing};
use super::kinds::Interface;
use super::{declared, django, django_application, entry, own};

/// The result of choosing.
pub(super) struct Chosen {
    pub start: Start,
    pub framework: String,
    pub django: Option<DjangoPlan>,
    pub python_path: Vec<String>,
    pub warnings: Vec<String>,
    /// It listens on a port.
    pub web: bool,
    /// Distributions that contain its program.
    pub needs: Vec<String>,
    /// Why it was chosen, with file and line.
    pub because: String,
    /// Workers that belong to it: lines by name.
    pub processes: Vec<(String, String)>,
    /// Why it is a start for developers.
    pub development: Option<String>,
}

impl Chosen {
    fn simple(start: Start) -> Chosen {
        Chosen {
            start,
            framework: String::new(),
            django: None,
            python_path: Vec::new(),
            warnings: Vec::new(),
            web: true,
            needs: Vec::new(),
            because: String::new(),
            processes: Vec::new(),
            development: None,
        }
    }

    fn command(line: impl Into<String>) -> Chosen {
        Chosen::simple(Start::Command { line: line.into() })
    }

    fn because(mut self, because: impl Into<String>) -> Chosen {
        self.because = because.into();
        self
    }
}

/// Programs that are looked for, in this order; a setting comes first.
pub(super) const PROGRAMS: &[&str] = &[
    "main.py",
    "run.py",
    "server.py",
    "index.py",
    "application.py",
    "bot.py",
    "worker.py",
];

pub(super) struct Finder<'a> {
    pub files: &'a dyn Files,
    pub project: &'a Project,
    pub home: &'a str,
}

impl Finder<'_> {
    /// Every decision, in order; `page` says the same in words.
    pub(super) fn choose(&self) -> Result<Chosen, DetectError> {
        let mut chosen = self.decide()?;
        chosen.processes = self.background();
        chosen.development = self.development(&chosen);
        Ok(chosen)
    }

    fn decide(&self) -> Result<Chosen, DetectError> {
        let mode = self.project.settings.get("deploy_mode").unwrap_or_default();
        if let Some(chosen) = self.said(&mode)? {
            return Ok(chosen);
        }
        if mode == "auto" {
            if let Some(chosen) = self.process(WEB, &self.project.settings.processes) {
                return self.startable(chosen);
            }
            if let Some(chosen) = self.shell(false)? {
                return Ok(chosen);
            }
            if let Some(chosen) = self.procfile_web() {
                return self.startable(chosen);
            }
            if let Some(said) = declared::platform(self.files, self.home) {
                return self.startable(self.of_line(&said, WEB));
            }
        }
        if mode != "django"
            && let Some(chosen) = self.referred()?
        {
            return Ok(chosen);
        }
        self.search(&mode)
    }

    /// A line that begins with a program of the source, which must be executable.
    fn startable(&self, chosen: Chosen) -> Result<Chosen, DetectError> {
        let Start::Command { line } = &chosen.start else {
            return Ok(chosen);
        };
        let word = line
            .split_whitespace()
            .find(|word| !matches!(*word, "exec" | "env") && !word.contains('='));
        let path = word
            .filter(|word| word.contains('/') && !word.starts_with('/'))
            .and_then(|word| super::super::files::join(self.home, word));
        match path {
            Some(path) if self.files.kind(&path) == Some(EntryKind::File { executable: false }) => {
                Err(DetectError::NotExecutable { path })
            }
            _ => Ok(chosen),
        }
    }

    /// A shell script that platforms start by default.
    fn script_by_name(&self) -> Option<Chosen> {
        ["start.sh", "run.sh", "entrypoint.sh"]
            .iter()
            .find_map(|name| {
                let path = entry::under(self.home, name);
                let kind = self.files.kind(&path)?;
                (kind == EntryKind::File { executable: true }).then(|| {
                    let program = (*name).to_owned();
                    Chosen::simple(Start::Shell { program }).because(format!("{path}: a program"))
                })
            })
    }

    /// Celery's processes beside the application, where the requirements have it.
    fn background(&self) -> Vec<(String, String)> {
        let names = self.project.names();
        if !has(&names, "celery") {
            return Vec::new();
        }
        let found = entry::search_all(self.files, self.home);
        let Some(module) = own::celery(&found.modules) else {
            return Vec::new();
        };
        let worker = format!("celery -A {module} worker --loglevel=INFO");
        let mut processes = vec![("worker".to_owned(), worker)];
        let schedules = |module: &Read| {
            let text = self.files.text(&module.path).unwrap_or_default();
            text.to_lowercase().contains("beat_schedule") || text.contains("add_periodic_task")
        };
        if has(&names, "django-celery-beat") || found.modules.iter().any(schedules) {
            let beat =
                format!("celery -A {module} beat --loglevel=INFO --schedule=/tmp/celerybeat");
            processes.push(("beat".to_owned(), beat));
        }
        processes
    }

    /// Why a start is one for developers, with the file.
    fn development(&self, chosen: &Chosen) -> Option<String> {
        let program = match &chosen.start {
            Start::Python { program } => program,
            Start::Command { line } => line.split_whitespace().find(|word| is_module(word))?,
            Start::Server { .. } => {
                let django = django::find(self.files, self.home)?;
                let settings = django.settings_module.filter(|_| django.is_in_debug_mode)?;
                return Some(format!("{settings}: DEBUG = True"));
            }
            _ => return None,
        };
        let path = entry::under(self.home, program);
        let text = self.files.text(&path)?;
        let debugs = entry::debugs_in(&path, &text)?;
        Some(format!("{path}: {debugs}"))
    }

    /// An application that is clear in a directory below: not a program, not a notebook.
    pub(super) fn is_application(&self) -> bool {
        let shell = self.files.kind(&entry::under(self.home, "app.sh"));
        shell == Some(EntryKind::File { executable: true })
            || self.procfile_web().is_some()
            || declared::platform(self.files, self.home).is_some()
            || self.django_plan().is_some()
            || {
                let found = entry::search(self.files, self.home);
                // Files in a directory that is not a package belong to that directory.
                let own = |one: &Candidate| {
                    let directory = super::super::files::parent(&one.path);
                    directory == self.home
                        || directory == entry::under(self.home, "src")
                        || self.files.is_file(&entry::under(directory, "__init__.py"))
                };
                found.applications.iter().any(own) || self.framework(&found, true).is_some()
            }
    }

    /// What settings say.
    fn said(&self, mode: &str) -> Result<Option<Chosen>, DetectError> {
        let settings = &self.project.settings;
        let origin = |key: &str| {
            settings
                .value(key)
                .map_or_else(String::new, |value| value.origin.to_string())
        };
        match mode {
            "shell" => {
                let found = self.shell(true)?;
                return found
                    .map(|chosen| chosen.because(origin("deploy_mode")))
                    .ok_or_else(|| self.needs(mode, "shell_file"))
                    .map(Some);
            }
            "python" => {
                let program = settings.get("python_file").unwrap_or_default();
                if !self.files.is_file(&entry::under(self.home, &program)) {
                    return Err(self.needs(mode, "python_file"));
                }
                let chosen = Chosen::simple(Start::Python { program });
                return Ok(Some(chosen.because(origin("deploy_mode"))));
            }
            "django" => {
                let found = self.django()?.ok_or_else(|| DetectError::ModeNeeds {
                    mode: mode.to_owned(),
                    file: "manage.py with DJANGO_SETTINGS_MODULE".to_owned(),
                })?;
                return Ok(Some(found.because(origin("deploy_mode"))));
            }
            "jupyter" => return Ok(Some(self.jupyter().because(origin("deploy_mode")))),
            _ => {}
        }
        let server_type = settings.get("server_type");
        if mode == "auto" && server_type.as_deref().is_some_and(jupyter::is_asked_for) {
            return Ok(Some(self.jupyter().because(origin("server_type"))));
        }
        if let Some(chosen) = self.named()? {
            return Ok(Some(chosen));
        }
        // The original's modes `gunicorn`, `uwsgi` …: the owner gives all arguments.
        if let Some(server) = Server::from_name(mode) {
            let chosen = Chosen::simple(Start::Server {
                server,
                application: None,
            });
            return Ok(Some(chosen.because(origin("deploy_mode"))));
        }
        if mode == "auto" {
            return self.openshift();
        }
        Ok(None)
    }

    /// `APP_SCRIPT` and `APP_FILE`, which name a program on `OpenShift`.
    fn openshift(&self) -> Result<Option<Chosen>, DetectError> {
        let said = |key: &str, variable: &str| {
            let value = self.project.settings.said(key)?;
            let from = value.origin.to_string();
            from.ends_with(variable).then(|| (value.text.clone(), from))
        };
        if let Some((_, from)) = said("shell_file", "APP_SCRIPT") {
            let found = self.shell(true)?;
            return found
                .map(|chosen| chosen.because(from))
                .ok_or_else(|| self.needs("shell", "shell_file"))
                .map(Some);
        }
        if let Some((program, from)) = said("python_file", "APP_FILE") {
            if !self.files.is_file(&entry::under(self.home, &program)) {
                return Err(self.needs("python", "python_file"));
            }
            let chosen = Chosen::simple(Start::Python { program });
            return Ok(Some(chosen.because(from)));
        }
        Ok(None)
    }

    /// A process of `[tool.warpdrive.processes]`.
    fn process(&self, name: &str, processes: &BTreeMap<String, String>) -> Option<Chosen> {
        let line = processes.get(name)?;
        let said = Said {
            value: line.clone(),
            path: "pyproject.toml [tool.warpdrive.processes]".to_owned(),
            line: 0,
        };
        Some(self.of_line(&said, name))
    }

    fn procfile_web(&self) -> Option<Chosen> {
        let said = declared::procfile(self.files, self.home).remove(WEB)?;
        Some(self.of_line(&said, WEB))
    }

    /// A line that says how a process is started.
    fn of_line(&self, said: &Said, name: &str) -> Chosen {
        let place = match said.line {
            0 => said.path.clone(),
            line => format!("{}:{line}", said.path),
        };
        let mut chosen =
            Chosen::command(&said.value).because(format!("{place}: the process `{name}`"));
        chosen.web = name == WEB;
        chosen.django = self.django_plan();
        if chosen.django.is_some() {
            "django".clone_into(&mut chosen.framework);
            chosen.python_path = self.django_path();
        }
        chosen.needs = self.servers_in(&said.value);
        chosen
    }

    /// Servers that a line starts and that the requirements do not have.
    fn servers_in(&self, line: &str) -> Vec<String> {
        let names = self.project.names();
        line.split_whitespace()
            .filter_map(Server::from_name)
            .flat_map(|server| server.missing_packages(&names, Interface::Wsgi, false))
            .collect()
    }

    /// Without `web`: the only process of the `Procfile` or the setting, or `worker`.
    fn other_process(&self) -> Result<Option<Chosen>, DetectError> {
        let mut all = declared::procfile(self.files, self.home);
        for (name, line) in &self.project.settings.processes {
            let said = Said {
                value: line.clone(),
                path: "pyproject.toml [tool.warpdrive.processes]".to_owned(),
                line: 0,
            };
            all.insert(name.clone(), said);
        }
        all.remove(RELEASE);
        let name = if all.contains_key("worker") {
            "worker".to_owned()
        } else if all.len() > 1 {
            return Err(DetectError::Processes {
                path: all
                    .values()
                    .next()
                    .map_or_else(String::new, |said| said.path.clone()),
                names: all.into_keys().collect(),
            });
        } else {
            match all.keys().next() {
                Some(name) => name.clone(),
                None => return Ok(None),
            }
        };
        Ok(all.get(&name).map(|said| self.of_line(said, &name)))
    }

    /// An application that the file of a tool names.
    fn referred(&self) -> Result<Option<Chosen>, DetectError> {
        for said in declared::references(self.files, self.home) {
            let origin = format!("{}:{}", said.path, said.line);
            let candidate = entry::named(self.files, self.home, &said.value).map_err(|reason| {
                DetectError::Named {
                    value: said.value.clone(),
                    origin: origin.clone(),
                    reason,
                }
            })?;
            // Django is more than its application: its static files are collected.
            if candidate.framework == "django" && self.django_plan().is_some() {
                continue;
            }
            return self
                .serve(candidate)
                .map(|chosen| Some(chosen.because(format!("{origin}: {}", said.value))));
        }
        Ok(None)
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
                let chosen = Chosen::simple(Start::Shell { program });
                Ok(Some(chosen.because(format!("{path}: a program"))))
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
                value: value.clone(),
                origin: origin.clone(),
                reason,
            })?;
        let mut chosen = self.serve(candidate)?;
        chosen.because = format!("{origin}: {value}");
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
                        other.with_place(),
                        "Django (deploy_mode = django)".to_owned(),
                    ],
                });
            }
            if let Some(chosen) = self.django()? {
                return Ok(chosen);
            }
        }
        match self.pick(&found)? {
            Some(candidate) => {
                let because = candidate.words();
                let socket_io = candidate.framework == "flask"
                    && found
                        .modules
                        .iter()
                        .any(|module| own::imports(module, "flask_socketio"));
                let mut chosen = self.serve(candidate)?.because(because);
                if socket_io {
                    SOCKET_IO.clone_into(&mut chosen.framework);
                }
                chosen.warnings.extend(found.notes);
                Ok(chosen)
            }
            None if mode == "auto" => self.without_application(found, own, &program),
            None => Err(self.nothing(found)),
        }
    }

    /// No server can serve anything here.
    fn without_application(
        &self,
        found: Found,
        own: Vec<Candidate>,
        program: &str,
    ) -> Result<Chosen, DetectError> {
        if let Some(chosen) = self.framework(&found, true) {
            return Ok(chosen);
        }
        for candidate in &own {
            if let Some(line) = own::object(candidate, &found.modules) {
                let mut chosen = Chosen::command(line).because(candidate.words());
                chosen.framework.clone_from(&candidate.framework);
                chosen.python_path = self.path_for(&candidate.root);
                return Ok(chosen);
            }
        }
        if let Some(chosen) = self.paste() {
            return Ok(chosen);
        }
        if let Some(chosen) = self.other_process()? {
            return Ok(chosen);
        }
        let program_path = entry::under(self.home, program);
        let named = self.project.settings.said("python_file").is_some();
        if self.files.is_file(&program_path) && (named || self.framework(&found, false).is_none()) {
            return Ok(program_of(&found, &program_path, program));
        }
        if let Some(chosen) = self.framework(&found, false) {
            return Ok(chosen);
        }
        if found.errors.is_empty()
            && found.notes.is_empty()
            && let Some(name) = program_by_name(&found)
        {
            let path = entry::under(self.home, &name);
            return Ok(program_of(&found, &path, &name));
        }
        if let Some(chosen) = self.script()? {
            return Ok(chosen);
        }
        if let Some(chosen) = self.package(&found) {
            return Ok(chosen);
        }
        if let Some(chosen) = self.script_by_name() {
            return Ok(chosen);
        }
        if let Some((module, name)) = only_serving(&found) {
            return Ok(program_of(&found, &module.path, name));
        }
        if own.is_empty() && jupyter::has_notebooks(self.files, self.home) {
            return Ok(self.jupyter().because("notebooks, and nothing else"));
        }
        match own.into_iter().next() {
            Some(own) => Err(DetectError::OwnServer {
                module: own.path,
                framework: own.framework,
            }),
            None => Err(self.nothing(found)),
        }
    }

    /// A program of a framework that serves by itself (`web`), or of a worker's or bot's.
    fn framework(&self, found: &Found, web: bool) -> Option<Chosen> {
        const FIRST: [&str; 7] = [
            "streamlit_app",
            "app",
            "main",
            "Home",
            "home",
            "index",
            "server",
        ];
        let own = own::FRAMEWORKS.iter().filter(|own| own.web == web);
        let names = self.project.names();
        for framework in own {
            let mut modules: Vec<&Read> = found
                .modules
                .iter()
                .filter(|module| module.in_home || !web)
                .filter(|module| framework.is_of(module, &names))
                .collect();
            modules.sort_by_key(|module| {
                let first = FIRST.iter().position(|name| *name == module.module);
                let constructs = framework.package != "celery" || own::makes_celery(module);
                (!constructs, !module.has_main, first.unwrap_or(FIRST.len()))
            });
            let Some(module) = modules.first() else {
                continue;
            };
            let file = module
                .path
                .strip_prefix(&format!("{}/", self.home))
                .unwrap_or(&module.path);
            let program = module.has_main || module.acts;
            let line = framework
                .line_of(program && module.in_home)
                .replace("{file}", file)
                .replace("{module}", &module.module)
                .replace("{object}", framework.object_in(module).unwrap_or_default());
            let mut chosen = Chosen::command(line)
                .because(format!("{}: imports {}", module.path, framework.package));
            framework.framework.clone_into(&mut chosen.framework);
            chosen.web = web;
            if !framework.needs.is_empty() && !has(&self.project.names(), framework.needs) {
                chosen.needs.push(framework.needs.to_owned());
            }
            return Some(chosen);
        }
        None
    }

    /// Pyramid's ini file.
    fn paste(&self) -> Option<Chosen> {
        let said = declared::paste(self.files, self.home)?;
        let mut chosen = Chosen::command(format!(
            "gunicorn --paste {} --bind 0.0.0.0:$PORT --access-logfile -",
            said.value
        ))
        .because(format!(
            "{}:{}: an application of PasteDeploy",
            said.path, said.line
        ));
        "pyramid".clone_into(&mut chosen.framework);
        chosen.needs = self.servers_in("gunicorn");
        Some(chosen)
    }

    /// The only program of `[project.scripts]`.
    fn script(&self) -> Result<Option<Chosen>, DetectError> {
        let mut found = declared::scripts(self.files, self.home);
        let Some(first) = found.first().cloned() else {
            return Ok(None);
        };
        if found.len() > 1 {
            let preferred = ["serve", "server", "start", "web", "run"];
            found.retain(|said| preferred.contains(&said.value.as_str()));
            if found.len() != 1 {
                return Err(DetectError::Processes {
                    path: first.path.clone(),
                    names: declared::scripts(self.files, self.home)
                        .into_iter()
                        .map(|said| said.value)
                        .collect(),
                });
            }
        }
        Ok(found.pop().map(|said| {
            Chosen::command(&said.value).because(format!(
                "{}:{}: the script `{}`",
                said.path, said.line, said.value
            ))
        }))
    }

    /// The only package that Python can run: `python -m PACKAGE`.
    fn package(&self, found: &Found) -> Option<Chosen> {
        let mut programs = found
            .modules
            .iter()
            .filter(|module| module.has_main || module.acts)
            .filter_map(|module| Some((module, module.module.strip_suffix(".__main__")?)));
        let (module, package) = programs.next()?;
        if programs.next().is_some() {
            return None;
        }
        let mut chosen = Chosen::command(format!("python -m {package}"))
            .because(format!("{}: a program", module.path));
        let file = format!("{}/__main__.py", package.replace('.', "/"));
        let root = module.path.strip_suffix(&file).unwrap_or_default();
        chosen.python_path = self.path_for(root.trim_end_matches('/'));
        Some(chosen)
    }

    /// Notebooks, for Jupyter.
    fn jupyter(&self) -> Chosen {
        let server_type = self.project.settings.get("server_type");
        let interface = jupyter::Interface::choose(server_type.as_deref(), &self.project.names());
        let mut chosen = Chosen::simple(Start::Jupyter { interface });
        "jupyter".clone_into(&mut chosen.framework);
        chosen
    }

    /// The only application, or, of a project's two interfaces, the one that the server needs.
    fn pick(&self, found: &Found) -> Result<Option<Candidate>, DetectError> {
        match found.applications.as_slice() {
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
                // `uvicorn.run("module:app")` in a main block says which one.
                let runs: Vec<&String> = found
                    .modules
                    .iter()
                    .filter_map(|module| module.runs.as_ref())
                    .collect();
                if let [said] = runs.as_slice()
                    && let Some(one) = many.iter().find(|one| one.reference() == **said)
                {
                    return Ok(Some(one.clone()));
                }
                Err(DetectError::Ambiguous {
                    candidates: many.iter().map(Candidate::with_place).collect(),
                })
            }
        }
    }

    fn path_for(&self, root: &str) -> Vec<String> {
        // An installed project is found in any directory.
        let installed = || {
            let projects = self.project.local_projects();
            projects.iter().any(|project| project.path == self.home)
        };
        if root == self.home || installed() {
            Vec::new()
        } else {
            vec![root.to_owned()]
        }
    }

    /// Whether ASGI is chosen for an app that has both interfaces.
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
        let python_path = self.path_for(&candidate.root);
        let framework = candidate.framework.clone();
        let application = Application {
            module: candidate.module,
            object: candidate.object,
            factory: candidate.factory,
            interface: candidate.interface,
            wrapper: None,
        };
        let server = self.server_for(&application)?;
        let mut chosen = Chosen::simple(Start::Server {
            server,
            application: Some(application),
        });
        chosen.framework = framework;
        chosen.python_path = python_path;
        Ok(chosen)
    }

    /// The server that the owner chose.
    fn said_server(&self) -> Option<Server> {
        ["deploy_mode", "server_type"]
            .into_iter()
            .filter_map(|key| self.project.settings.get(key))
            .find_map(|name| Server::from_name(&name))
    }

    fn server_for(&self, application: &Application) -> Result<Server, DetectError> {
        let interface = application.interface;
        if let Some(server) = self.said_server() {
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

    /// The directory of Django's packages, where it is not the home.
    fn django_path(&self) -> Vec<String> {
        django::find(self.files, self.home)
            .map(|found| found.root)
            .filter(|root| root != self.home)
            .into_iter()
            .collect()
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
        let mut application = application.unwrap_or(Application {
            module: "wsgi".to_owned(),
            object: "application".to_owned(),
            factory: false,
            interface: Interface::Wsgi,
            wrapper: None,
        });
        // Django has both interfaces, whichever modules a project has.
        if let Some(server) = self.said_server()
            && !server.serves(application.interface)
        {
            application = django_itself(application.interface == Interface::Wsgi);
        }
        let server = self.server_for(&application)?;
        let mut chosen = Chosen::simple(Start::Server {
            server,
            application: Some(application),
        })
        .because(format!("{}: a Django project", django.manage));
        "django".clone_into(&mut chosen.framework);
        chosen.django = Some(django);
        chosen.python_path = self.django_path();
        Ok(Some(chosen))
    }

    fn nothing(&self, found: Found) -> DetectError {
        DetectError::Nothing(Box::new(Nothing {
            empty: found.looked_at.is_empty() && !has_python(self.files, self.home, 0),
            programs: found
                .modules
                .iter()
                .filter(|module| module.in_home && module.has_main)
                .filter_map(|module| module.path.rsplit('/').next().map(str::to_owned))
                .collect(),
            looked_at: found.looked_at,
            errors: found.errors,
            notes: found.notes,
            script: {
                let program = self.project.settings.get("shell_file").unwrap_or_default();
                Some(entry::under(self.home, &program)).filter(|path| self.files.is_file(path))
            },
            notebooks: jupyter::has_notebooks(self.files, self.home),
            required: own::required(&self.project.names()),
            conda: ["environment.yml", "environment.yaml"]
                .into_iter()
                .map(|name| entry::under(self.home, name))
                .find(|path| self.files.is_file(path)),
            home: self.home.to_owned(),
        }))
    }
}

fn is_module(word: &str) -> bool {
    std::path::Path::new(word)
        .extension()
        .is_some_and(|end| end == "py")
}

/// A program; of a framework that serves in it, with the address changed.
fn program_of(found: &Found, path: &str, program: &str) -> Chosen {
    let module = found.modules.iter().find(|module| module.path == path);
    let Some(own) = module.and_then(own::of_program) else {
        let program = program.to_owned();
        let chosen = Chosen::simple(Start::Python { program });
        return chosen.because(format!("{path}: a program"));
    };
    let mut chosen = Chosen::command(own.line.replace("{file}", program))
        .because(format!("{path}: imports {}", own.package));
    own.framework.clone_into(&mut chosen.framework);
    chosen
}

/// The only program, whatever its name, of a framework that serves in it.
fn only_serving(found: &Found) -> Option<(&Read, &str)> {
    let mut programs = found
        .modules
        .iter()
        .filter(|module| module.in_home && module.has_main && own::of_program(module).is_some());
    let one = programs.next().filter(|_| programs.next().is_none())?;
    Some((one, one.path.rsplit('/').next()?))
}

/// A program by its name: one with a main block, or the only module.
fn program_by_name(found: &Found) -> Option<String> {
    let root: Vec<&Read> = found
        .modules
        .iter()
        .filter(|module| module.in_home)
        .collect();
    let name = |module: &Read| {
        let name = module.path.rsplit('/').next().unwrap_or(&module.path);
        name.to_owned()
    };
    PROGRAMS
        .iter()
        .find(|program| {
            root.iter()
                .any(|module| name(module) == **program && (module.has_main || module.acts))
        })
        .map(|program| (*program).to_owned())
        .or_else(|| match root.as_slice() {
            [one] if one.has_main || (one.acts && found.modules.len() == 1) => Some(name(one)),
            _ => None,
        })
}

/// Django's own function that makes an application.
fn django_itself(asgi: bool) -> Application {
    let (module, object, interface) = if asgi {
        ("django.core.asgi", "get_asgi_application", Interface::Asgi)
    } else {
        ("django.core.wsgi", "get_wsgi_application", Interface::Wsgi)
    };
    Application {
        module: module.to_owned(),
        object: object.to_owned(),
        factory: true,
        interface,
        wrapper: None,
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
