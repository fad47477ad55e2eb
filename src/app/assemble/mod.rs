//! `assemble` and `build`: installs the dependencies, then the application, and records the plan.
//!
//! Two phases, each of which can run alone. [`Phase::Dependencies`] needs only the files that
//! [`super::dependencies::files`] lists and leaves nothing but what follows from them.
//! [`Phase::Application`] needs all the source. The same code runs on a laptop (`warpdrive build`),
//! without the steps that give an image its normal form.

mod compile;
mod django;
mod error;
mod install;
mod records;
mod wrapper;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::detect::{Detected, Interface, Options, detect, django_application, static_map};
use super::environment::{self, Environment};
use super::files::Directory;
use super::fixup::fixup;
use super::plan::{Application, DjangoPlan, MODULES_DIRECTORY, Start};
use super::process;
use super::progress::Progress;
use super::project::Project;
use super::python::PythonVersion;
use super::roots::Roots;
use super::server::pins::pinned;

pub use django::Failure;
pub use error::{BuildError, NEEDS_SDISTS};

use install::Installer;

/// A part of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Dependencies,
    Application,
}

impl Phase {
    /// `WARPDRIVE_BUILD_PHASE`.
    pub fn from_name(name: &str) -> Option<Phase> {
        match name {
            "dependencies" => Some(Phase::Dependencies),
            "application" => Some(Phase::Application),
            _ => None,
        }
    }
}

/// A build in an image: what `s2i/bin/assemble` does.
///
/// # Errors
/// The first step that fails. [`BuildError::status`] is what the process has to end with.
pub fn assemble(
    roots: &Roots,
    process_environment: &Environment,
    phase: Option<Phase>,
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    let build = Build::new(roots, process_environment, progress);
    match phase {
        Some(Phase::Dependencies) => build.dependencies(None),
        Some(Phase::Application) => {
            build.application()?;
            build.fix_permissions(&[&roots.source])
        }
        None => {
            progress.stage("Installing application source");
            take_source(Path::new("/tmp/src"), &roots.source)?;
            progress.stage("Building application from source");
            build.both()?;
            build.fix_permissions(&[&roots.app])
        }
    }
}

/// A build on a laptop: what `warpdrive build` does, in the active virtual environment.
///
/// # Errors
/// The first step that fails.
pub fn build(
    roots: &Roots,
    process_environment: &Environment,
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    Build::new(roots, process_environment, progress).both()
}

struct Build<'a> {
    roots: &'a Roots,
    given: &'a Environment,
    progress: &'a dyn Progress,
}

impl<'a> Build<'a> {
    fn new(roots: &'a Roots, given: &'a Environment, progress: &'a dyn Progress) -> Build<'a> {
        Build {
            roots,
            given,
            progress,
        }
    }

    /// Both phases, one after the other.
    fn both(&self) -> Result<(), BuildError> {
        let detected = self.detect(self.given)?;
        for warning in &detected.warnings {
            self.progress.warn(warning);
        }
        self.dependencies(Some(&detected))?;
        self.application()
    }

    /// The environment of everything that a build runs, before the app's own variables.
    fn base(&self) -> Environment {
        let mut environment = self.given.clone();
        let roots = self.roots;
        let app = roots.app.display();
        for (name, value) in [
            ("WARPDRIVE_PHASE", "build".to_owned()),
            ("WARPDRIVE_BUILD_TARGET", "application".to_owned()),
            ("WARPDRIVE_APP_ROOT", app.to_string()),
            ("WARPDRIVE_SRC_ROOT", roots.source.display().to_string()),
            ("VIRTUAL_ENV", app.to_string()),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1".to_owned()),
            ("UV_LINK_MODE", "copy".to_owned()),
            ("UV_PYTHON_DOWNLOADS", "never".to_owned()),
        ] {
            environment.insert(name.to_owned(), value);
        }
        let system = if roots.image { "image" } else { "local" };
        environment
            .entry("WARPDRIVE_BUILD_SYSTEM".to_owned())
            .or_insert_with(|| system.to_owned());
        if roots.image {
            // Byte code is written by one pinned method only.
            environment.insert("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned());
        }
        let path = environment
            .get("PATH")
            .cloned()
            .unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
        let mut parts = vec![format!("{app}/bin")];
        if roots.image && Path::new("/run/warpdrive/bin").is_dir() {
            parts.insert(0, "/run/warpdrive/bin".to_owned());
        }
        parts.extend(path.split(':').map(str::to_owned));
        let mut unique: Vec<String> = Vec::new();
        for part in parts {
            if !part.is_empty() && !unique.contains(&part) {
                unique.push(part);
            }
        }
        environment.insert("PATH".to_owned(), unique.join(":"));
        environment
    }

    /// Adds `.warpdrive/environment` and the hook `build-env`.
    fn with_files(&self, mut environment: Environment) -> Result<Environment, BuildError> {
        let source = &self.roots.source;
        for name in [environment::FILE, ".warpdrive/action_hooks/build-env"] {
            let status = environment::apply(&mut environment, &source.join(name), source)?;
            if status != 0 {
                let text = format!("the last command in {name} ended with status {status}");
                self.progress.warn(&text);
            }
        }
        Ok(environment)
    }

    fn detect(&self, environment: &Environment) -> Result<Detected, BuildError> {
        let files = Directory::open(&self.roots.source).map_err(|source| BuildError::Io {
            doing: "open",
            path: self.roots.source.clone(),
            source,
        })?;
        let options = Options {
            environment: environment.clone(),
            command_line: BTreeMap::new(),
            python: python_version(&self.roots.app),
            app_root: Some(self.roots.app.display().to_string()),
        };
        Ok(detect(&files, &options)?)
    }

    fn project(&self, environment: &Environment) -> Result<Project, BuildError> {
        let files = Directory::open(&self.roots.source).map_err(|source| BuildError::Io {
            doing: "open",
            path: self.roots.source.clone(),
            source,
        })?;
        Project::load(&files, environment, &BTreeMap::new())
            .map_err(|error| BuildError::Detect(error.into()))
    }

    fn temporary(&self, environment: &Environment) -> PathBuf {
        environment
            .get("TMPDIR")
            .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
    }

    /// Phase one.
    fn dependencies(&self, detected: Option<&Detected>) -> Result<(), BuildError> {
        let roots = self.roots;
        let base = self.base();
        self.hook("pre-build", &base)?;
        let environment = self.with_files(base)?;
        let project = self.project(&environment)?;
        let before = if roots.image {
            records::protected_files(&roots.app)
        } else {
            BTreeMap::new()
        };
        // A laptop runs the code of packages as pip does; in an image the pipeline says when.
        let asked = environment
            .get("WARPDRIVE_BUILD_SDISTS")
            .is_some_and(|value| value == "1");
        let phased = environment.contains_key("WARPDRIVE_BUILD_PHASE");
        let mut installer = Installer::find(
            roots,
            &environment,
            &project,
            self.progress,
            asked || !roots.image,
        )?;
        let temporary = self.temporary(&environment);
        if let Some(arguments) = install::arguments(&project, &installer, &temporary)? {
            self.progress.step(&format!(
                "Installing dependencies with {} ({})",
                installer.name(),
                arguments.names
            ));
            let result = if arguments.wants_code && !installer.build {
                Err(BuildError::NeedsSdists {
                    what: String::new(),
                })
            } else {
                installer.install(&arguments.arguments)
            };
            match result {
                Err(BuildError::NeedsSdists { .. }) if !phased => {
                    self.progress
                        .note("some packages have no wheel and are built from source");
                    installer.build = true;
                    installer.install(&arguments.arguments)?;
                }
                other => other?,
            }
        }
        self.install_server(&mut installer, &environment, detected, phased)?;
        let site = site_packages(&roots.app);
        let mut distributions = records::read_all(&site)?;
        records::refuse_intruders(&distributions, &site, roots)?;
        if !roots.image {
            return Ok(());
        }
        let after = records::protected_files(&roots.app);
        if before != after {
            let path = before
                .iter()
                .find(|(path, state)| after.get(*path) != Some(*state))
                .map(|(path, _)| path)
                .or_else(|| after.keys().find(|path| !before.contains_key(*path)))
                .cloned()
                .unwrap_or_default();
            return Err(BuildError::Overwritten { path });
        }
        if self.settle_collisions(&installer, &distributions, &site)? {
            distributions = records::read_all(&site)?;
        }
        for distribution in &distributions {
            records::normalise(distribution, &site)?;
        }
        for leftover in [".lock", ".gitignore", "CACHEDIR.TAG"] {
            let _ = fs::remove_file(roots.app.join(leftover));
        }
        compile::compile(&roots.python(), &[site], compile::Check::Unchecked)
    }

    /// The packages for the server that the requirements did not bring.
    fn install_server(
        &self,
        installer: &mut Installer<'_>,
        environment: &Environment,
        detected: Option<&Detected>,
        phased: bool,
    ) -> Result<(), BuildError> {
        let wanted: Vec<String> = match detected {
            Some(detected) => detected.plan.server_packages.clone(),
            None => environment
                .get("WARPDRIVE_SERVER_PACKAGES")
                .map(|list| list.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default(),
        };
        let installed: Vec<String> = records::read_all(&site_packages(&self.roots.app))?
            .into_iter()
            .map(|distribution| distribution.name)
            .collect();
        let python = python_version(&self.roots.app).unwrap_or(PythonVersion::new(3, 9));
        let missing: Vec<String> = wanted
            .iter()
            .filter(|name| !installed.contains(name))
            .map(|name| pinned(name, python))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.progress
            .step(&format!("Installing the server ({})", missing.join(", ")));
        match installer.install(&missing) {
            Err(BuildError::NeedsSdists { .. }) if !phased => {
                installer.build = true;
                installer.install(&missing)
            }
            other => other,
        }
    }

    /// Where two distributions have the same path with different content, the first by name wins.
    /// Whether anything was installed again.
    fn settle_collisions(
        &self,
        installer: &Installer<'_>,
        distributions: &[records::Distribution],
        site: &Path,
    ) -> Result<bool, BuildError> {
        let collisions = records::collisions(distributions, site);
        let name = |index: usize| {
            distributions
                .get(index)
                .map_or("", |distribution| distribution.name.as_str())
        };
        for collision in &collisions {
            let others: Vec<&str> = collision.others.iter().map(|index| name(*index)).collect();
            self.progress.warn(&format!(
                "{} is in {} and in {}, with different content: {}'s is kept",
                collision.path,
                name(collision.winner),
                others.join(", "),
                name(collision.winner)
            ));
        }
        let mut again: Vec<usize> = collisions
            .iter()
            .filter(|collision| collision.wrong)
            .map(|collision| collision.winner)
            .collect();
        again.sort_unstable();
        again.dedup();
        // The last one to be installed has its way, so the first by name comes last.
        for index in again.iter().rev() {
            let Some(distribution) = distributions.get(*index) else {
                continue;
            };
            let option = if installer.is_pip() {
                "--force-reinstall"
            } else {
                "--reinstall"
            };
            installer.install(&[
                option.to_owned(),
                "--no-deps".to_owned(),
                format!("{}=={}", distribution.name, distribution.version),
            ])?;
        }
        Ok(!again.is_empty())
    }

    /// Phase two.
    fn application(&self) -> Result<(), BuildError> {
        let roots = self.roots;
        let mut environment = self.with_files(self.base())?;
        let mut detected = self.detect(&environment)?;
        let home = roots.home(&detected.plan.home);
        environment.insert("WARPDRIVE_APP_HOME".to_owned(), home.display().to_string());
        self.install_projects(&environment, &detected)?;
        environment.insert(
            "PYTHONPATH".to_owned(),
            super::run::python_path(
                roots,
                &home,
                Some(&detected.plan),
                environment.get("PYTHONPATH").map(AsRef::as_ref),
            )
            .to_string_lossy()
            .into_owned(),
        );
        self.hook("build", &environment)?;
        detected.plan.python = python_version(&roots.app);
        if detected.plan.django.is_some() {
            self.django(&environment, &mut detected)?;
        }
        let plan = &mut detected.plan;
        let modules = roots.app.join(MODULES_DIRECTORY);
        if modules.is_dir() {
            fs::remove_dir_all(&modules).map_err(|source| BuildError::Io {
                doing: "remove",
                path: modules.clone(),
                source,
            })?;
        }
        let static_files = plan.static_files.clone();
        if let Start::Server {
            server,
            application: Some(application),
        } = &mut plan.start
        {
            application.wrapper = wrapper::write(&roots.app, *server, application, &static_files)?;
        }
        plan.save(&roots.app)?;
        if roots.image {
            let mut directories = vec![roots.source.clone()];
            if modules.is_dir() {
                directories.push(modules);
            }
            compile::compile(&roots.python(), &directories, compile::Check::Checked)?;
        }
        Ok(())
    }

    /// `-e .`, `./lib`, and a project that is the source itself.
    fn install_projects(
        &self,
        environment: &Environment,
        detected: &Detected,
    ) -> Result<(), BuildError> {
        let projects = detected.project.local_projects();
        if projects.is_empty() {
            return Ok(());
        }
        let installer = Installer::find(
            self.roots,
            environment,
            &detected.project,
            self.progress,
            true,
        )?;
        let names: Vec<String> = projects
            .iter()
            .map(|project| match project.path.as_str() {
                "" => ".".to_owned(),
                path => format!("./{path}"),
            })
            .collect();
        self.progress.step(&format!(
            "Installing the project with {} ({})",
            installer.name(),
            names.join(", ")
        ));
        // Phase one installed what the requirements and static metadata name.
        let complete = !matches!(
            detected.project.source,
            super::project::Source::Dynamic { .. }
        );
        for (project, name) in projects.iter().zip(names) {
            let mut arguments = Vec::new();
            if complete
                && project.path.is_empty()
                && project.extras.is_empty()
                && detected.project.installable
                && !matches!(
                    detected.project.source,
                    super::project::Source::Requirements(_)
                )
            {
                arguments.push("--no-deps".to_owned());
            }
            if project.editable {
                arguments.push("-e".to_owned());
            }
            arguments.push(format!("{name}{}", project.extras));
            installer.install(&arguments)?;
        }
        if self.roots.image {
            let _ = fs::remove_file(self.roots.app.join(".lock"));
            let site = site_packages(&self.roots.app);
            for distribution in records::read_all(&site)? {
                records::normalise(&distribution, &site)?;
            }
            compile::compile(&self.roots.python(), &[site], compile::Check::Unchecked)?;
        }
        Ok(())
    }

    /// Lets Django tell about itself and collect its static files.
    fn django(&self, environment: &Environment, detected: &mut Detected) -> Result<(), BuildError> {
        let plan = &mut detected.plan;
        let Some(django) = plan.django.clone() else {
            return Ok(());
        };
        let collect = detected.project.settings.is_on("collectstatic")
            && environment
                .get("DISABLE_COLLECTSTATIC")
                .is_none_or(|value| value.is_empty() || value == "0");
        if collect {
            self.progress.step("Collecting static files for Django");
        } else {
            self.progress.step("Reading the settings of Django");
        }
        let facts = django::ask(
            self.roots,
            &django,
            environment,
            &self.temporary(environment),
            collect,
        )?;
        if collect && !facts.has_staticfiles {
            self.progress
                .note("django.contrib.staticfiles is not installed: nothing to collect");
        }
        let asked = DjangoPlan {
            manage: django.manage,
            settings_module: facts.settings_module,
            wsgi_application: facts.wsgi_application.or(django.wsgi_application),
            asgi_application: facts.asgi_application.or(django.asgi_application),
        };
        if let Start::Server {
            server,
            application: Some(application),
        } = &mut plan.start
        {
            let asgi = application.interface == Interface::Asgi;
            let found = django_application(&asked, asgi).unwrap_or(Application {
                // A project without a WSGI module: Django's own.
                module: "django.core.wsgi".to_owned(),
                object: "get_wsgi_application".to_owned(),
                factory: true,
                interface: Interface::Wsgi,
                wrapper: None,
            });
            if plan.framework == "django"
                && server.serves(found.interface)
                && detected.project.settings.said("application").is_none()
            {
                *application = found;
            }
        }
        if plan.static_files.is_empty()
            && !(facts.own_whitenoise
                && !facts
                    .static_root
                    .as_deref()
                    .unwrap_or("")
                    .starts_with(&self.roots.app.join("static").display().to_string()))
            && let Some(root) = &facts.static_root
            && (facts.collected || Path::new(root).is_dir())
            && let Some(url) = &facts.static_url
            && !url.contains("://")
            && !url.starts_with("//")
        {
            plan.static_files.push(static_map(url, root));
        }
        plan.django = Some(asked);
        Ok(())
    }

    /// Runs a hook, if there is one. (Detection refuses one that is not executable.)
    fn hook(&self, name: &str, environment: &Environment) -> Result<(), BuildError> {
        let path = self.roots.source.join(".warpdrive/action_hooks").join(name);
        if !path.is_file() {
            return Ok(());
        }
        self.progress.step(&format!("Running the hook {name}"));
        let mut environment = environment.clone();
        environment.insert("WARPDRIVE_ACTION".to_owned(), name.to_owned());
        let line = [path.display().to_string()];
        let command = process::command(&line, &self.roots.source, &environment)?;
        let heard = process::listen(command, name, |_| true)?;
        if heard.status == 0 {
            Ok(())
        } else {
            Err(BuildError::Hook {
                name: name.to_owned(),
                status: heard.status,
                tail: heard.tail(12),
            })
        }
    }

    fn fix_permissions(&self, paths: &[&Path]) -> Result<(), BuildError> {
        self.progress.stage("Fix permissions on application source");
        for path in paths {
            fixup(path)?;
        }
        for name in ["etc", "static"] {
            let path = self.roots.app.join(name);
            if path.is_dir() {
                fixup(&path)?;
            }
        }
        Ok(())
    }
}

/// The directory of packages of a virtual environment.
pub(crate) fn site_packages(app_root: &Path) -> PathBuf {
    let library = app_root.join("lib");
    let mut names: Vec<String> = fs::read_dir(&library)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("python3"))
        .collect();
    names.sort();
    let name = match python_version(app_root).map(|version| format!("python{version}")) {
        Some(name) => name,
        None => names.pop().unwrap_or_else(|| "python3".to_owned()),
    };
    library.join(name).join("site-packages")
}

/// The Python of a virtual environment, from `pyvenv.cfg` (`version` of venv, `version_info` of uv
/// and virtualenv).
pub fn python_version(app_root: &Path) -> Option<PythonVersion> {
    let text = fs::read_to_string(app_root.join("pyvenv.cfg")).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        matches!(name.trim(), "version" | "version_info")
            .then(|| value.trim().parse().ok())
            .flatten()
    })
}

/// Moves the source where S2I put it to where it belongs. Nothing to do if it is not there.
fn take_source(from: &Path, to: &Path) -> Result<(), BuildError> {
    if !from.is_dir() {
        return Ok(());
    }
    copy_tree(from, to)?;
    // A mount point cannot be removed; what it held is not needed any more.
    let _ = fs::remove_dir_all(from);
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), BuildError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| BuildError::Io {
            doing: "copy",
            path,
            source,
        }
    };
    fs::create_dir_all(to).map_err(failed(to))?;
    for entry in fs::read_dir(from).map_err(failed(from))? {
        let entry = entry.map_err(failed(from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(failed(&path))?;
        if kind.is_dir() {
            copy_tree(&path, &target)?;
        } else if kind.is_symlink() {
            let link = fs::read_link(&path).map_err(failed(&path))?;
            let _ = fs::remove_file(&target);
            std::os::unix::fs::symlink(link, &target).map_err(failed(&target))?;
        } else if kind.is_file() {
            fs::copy(&path, &target).map_err(failed(&path))?;
        }
    }
    Ok(())
}
