//! Phase two: the project itself, the hook `build`, Django, the plan, byte code.

use std::fs;
use std::path::Path;

use super::super::contract;
use super::super::detect::{Detected, Interface, django_application, static_map};
use super::super::environment::Environment;
use super::super::jupyter;
use super::super::plan::{Application, DjangoPlan, MODULES_DIRECTORY, Start};
use super::super::project::Source;
use super::super::run::python_path;
use super::compiler::Check;
use super::install::Installer;
use super::origins::Origins;
use super::{
    AssembleError, Build, compile, django, python_version, records, site_packages, temporary,
    wrapper,
};

impl Build<'_> {
    /// Phase two.
    pub(super) fn application(&self) -> Result<(), AssembleError> {
        let roots = self.roots;
        let mut environment = self.with_files(self.base())?;
        // As the host detected it: a variable that a script computes comes too late for settings.
        let mut detected = self.detect(self.given)?;
        let home = roots.home(&detected.plan.home);
        environment.insert(contract::APP_HOME.to_owned(), home.display().to_string());
        self.install_projects(&environment, &detected)?;
        environment.insert(
            "PYTHONPATH".to_owned(),
            python_path(
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
            fs::remove_dir_all(&modules).map_err(|source| AssembleError::Io {
                doing: "remove",
                path: modules.clone(),
                source,
            })?;
        }
        wrapper::complete(plan, &roots.app, &|packages| {
            let installed = records::name_all(&site_packages(&roots.app))?;
            let mut installed = installed.into_iter();
            let server = installed.find(|one| packages.contains(&one.name.as_str()));
            Ok(server.map(|one| one.version))
        })?;
        if roots.image && plan.framework == "fasthtml" {
            keep_session_key_elsewhere(&home)?;
        }
        plan.image_environment = self
            .given
            .get(contract::IMAGE_ENVIRONMENT)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        if matches!(plan.start, Start::Jupyter { .. }) {
            self.write_jupyter_configuration()?;
        }
        plan.save(&roots.app)?;
        if roots.image {
            let mut directories = vec![roots.source.clone()];
            if modules.is_dir() {
                directories.push(modules);
            }
            compile::compile(&roots.python(), &directories, Check::Checked)?;
        }
        Ok(())
    }

    /// Writes the file that takes Jupyter's password from the environment.
    fn write_jupyter_configuration(&self) -> Result<(), AssembleError> {
        let directory = self.roots.app.join(jupyter::CONFIG_DIRECTORY);
        let path = directory.join(jupyter::CONFIG_FILE);
        fs::create_dir_all(&directory)
            .and_then(|()| fs::write(&path, jupyter::CONFIG))
            .map_err(|source| AssembleError::Io {
                doing: "write",
                path,
                source,
            })
    }

    /// `-e .`, `./lib`, and a project that is the source itself.
    fn install_projects(
        &self,
        environment: &Environment,
        detected: &Detected,
    ) -> Result<(), AssembleError> {
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
        let complete = !matches!(detected.project.source, Source::Dynamic { .. });
        installer.install_directories()?;
        let own = projects
            .iter()
            .zip(names)
            .filter(|(project, _)| !project.is_listed);
        for (project, name) in own {
            let mut arguments = Vec::new();
            if detected.project.is_complete() {
                // The lock is complete, whatever else the project asks for.
                arguments.push("--no-deps".to_owned());
            } else if complete
                && project.path == detected.project.own_directory()
                && project.extras.is_empty()
                && detected.project.installable
                && !matches!(detected.project.source, Source::Requirements(_))
            {
                arguments.push("--no-deps".to_owned());
            }
            if project.editable {
                arguments.push("-e".to_owned());
            }
            arguments.push(format!("{name}{}", project.extras));
            installer.install(&arguments, &Origins::default())?;
        }
        if self.roots.image {
            let _ = fs::remove_file(self.roots.app.join(".lock"));
            // Only new files: those of phase one must stay the same, byte and inode, or the
            // application's layer would have a copy of them.
            let site = site_packages(&self.roots.app);
            let mut code = Vec::new();
            for distribution in records::read_all(&site)? {
                if !records::is_normal(&distribution) {
                    code.extend(records::python_files(&distribution, &site));
                    records::normalise(&distribution)?;
                }
            }
            compile::files(&self.roots.python(), code, Check::Unchecked)?;
        }
        Ok(())
    }

    /// Asks Django about itself and lets it collect its static files.
    fn django(
        &self,
        environment: &Environment,
        detected: &mut Detected,
    ) -> Result<(), AssembleError> {
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
        let mut environment = environment.clone();
        if let Some(module) = &django.settings_module {
            environment
                .entry("DJANGO_SETTINGS_MODULE".to_owned())
                .or_insert_with(|| module.clone());
        }
        let facts = django::ask(
            self.roots,
            &django,
            &environment,
            &temporary(&environment),
            (collect, plan.adding),
        )?;
        if facts.collected && !facts.missing_dirs.is_empty() {
            self.progress.warn(&format!(
                "STATICFILES_DIRS names a directory that does not exist: {}; its files are not in the image",
                facts.missing_dirs.join(", ")
            ));
        }
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
        // A project with its own WhiteNoise serves its STATIC_ROOT, unless warpdrive has set this directory.
        let ours = self.roots.app.join("static").display().to_string();
        let in_ours = facts
            .static_root
            .as_deref()
            .is_some_and(|root| root.starts_with(&ours));
        if plan.static_files.is_empty()
            && (in_ours || !facts.own_whitenoise)
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
}

/// `FastHTML` writes a new session key into its working directory when it finds none. A read-only root does not
/// allow that, and a key in the image would be the same for all: so a link leads to `/tmp`, where each
/// container has its own key.
fn keep_session_key_elsewhere(home: &Path) -> Result<(), AssembleError> {
    let path = home.join(".sesskey");
    if fs::symlink_metadata(&path).is_ok() {
        return Ok(());
    }
    std::os::unix::fs::symlink("/tmp/.sesskey", &path).map_err(|source| AssembleError::Io {
        doing: "write",
        path,
        source,
    })
}
