//! Step 2: what the project says about itself, read from its text before anything is fetched. Its
//! settings and its lists are read here, once in a build, and passed on.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::Path;

use crate::app::contract;
use crate::app::project::Project;
use crate::app::python::PythonRequest;
use crate::app::python_version::PythonVersion;
use crate::app::settings::{Settings, SettingsError};
use crate::app::{self, Detected};
use crate::lockfile::{self, Found};
use crate::s2i::environment;
use crate::source::Tree;
use crate::store::Store;

use super::allowed_builders;
use super::error::BuildError;
use super::files::TreeFiles;
use super::image_use::Use;
use super::request::Request;
use super::runtime_image;
use super::timings::now;

/// A source tree, as a build reads it.
pub(super) struct Reading<'a> {
    tree: &'a Tree,
    pub(super) files: TreeFiles<'a>,
    /// With the variables of `.s2i/environment` below its own: on `OpenShift` they are the image's.
    pub(super) request: Request,
    /// The variables that the source has added.
    of_source: BTreeSet<String>,
    options: app::Options,
    settings: OnceCell<Settings>,
    unlocked: OnceCell<Project>,
}

/// The facts about a project that are needed before its builder is loaded.
pub(super) struct Planned {
    pub(super) python: Option<PythonRequest>,
    pub(super) lock: Option<Found>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(request: &Request, tree: &'a Tree) -> Result<Self, BuildError> {
        let mut request = request.clone();
        let mut of_source = BTreeSet::new();
        for file in environment::IN_SOURCE {
            let Some(bytes) = tree.read(Path::new(file), environment::MAX)? else {
                continue;
            };
            let found = environment::parse(file, &bytes)
                .map_err(|error| BuildError::S2iBuild(error.into()))?;
            for (name, value) in environment::settled(found) {
                if !request.env.iter().any(|(known, _)| *known == name) {
                    of_source.insert(name.clone());
                    request.env.push((name, value));
                }
            }
            break;
        }
        Ok(Self {
            files: TreeFiles::new(tree),
            options: options(&request, tree),
            tree,
            request,
            of_source,
            settings: OnceCell::new(),
            unlocked: OnceCell::new(),
        })
    }

    /// Including the project's choice of the image that it runs on.
    pub(super) fn with_runtime(mut self, store: &Store) -> Result<Self, BuildError> {
        let settings = self.settings()?.clone();
        runtime_image::take_choice(store, &mut self.request, &settings)?;
        Ok(self)
    }

    /// The project's settings, with those of the command line and of the build's variables.
    pub(super) fn settings(&self) -> Result<&Settings, SettingsError> {
        if let Some(settings) = self.settings.get() {
            return Ok(settings);
        }
        let Self { files, options, .. } = self;
        let read = Settings::load(files, &options.environment, &options.command_line)?
            .said_in(environment::IN_SOURCE[0], &self.of_source);
        Ok(self.settings.get_or_init(|| read))
    }

    /// The project by its lists, without a lock.
    fn unlocked(&self) -> Result<&Project, SettingsError> {
        if let Some(project) = self.unlocked.get() {
            return Ok(project);
        }
        let settings = self.settings()?.clone();
        let read = Project::read(&self.files, settings, &self.options.environment)?;
        Ok(self.unlocked.get_or_init(|| read))
    }

    /// The builder image that the caller, the project or the caller's environment names.
    pub(super) fn named_builder(&self, store: &Store) -> Result<Option<String>, BuildError> {
        if let Some(builder) = &self.request.builder {
            return Ok(Some(builder.clone()));
        }
        let Some(named) = self.settings()?.value("builder_image") else {
            let variable = self.request.host_env.get("WARPDRIVE_BUILDER_IMAGE");
            return Ok(variable.cloned());
        };
        allowed_builders::check(Use::Builder, store, &named, &self.request.allowed_builders)?;
        Ok(Some(named.text))
    }

    /// Reads what the project needs. An app that cannot be started is refused before anything is fetched.
    pub(super) fn plan(&self) -> Result<Planned, BuildError> {
        Ok(self.plan_and_detect()?.0)
    }

    /// The same, with the findings.
    pub(super) fn plan_and_detect(&self) -> Result<(Planned, Detected), BuildError> {
        let settings = self.settings()?;
        let mut python = app::python_request(&self.files, settings)?;
        let environment = &self.options.environment;
        let mut lock = lockfile::find(&self.files, settings, environment, || self.unlocked())?;
        let listed = lock.as_ref().map(Found::preview);
        let mut detected = self.detect(listed.as_ref(), None)?;
        if detected.found_below {
            // The version is in the directory where the application was found, and so may the lock be.
            python = app::python_request(&self.files, &detected.project.settings)?;
        }
        if lock.is_none() && detected.found_below {
            let there = &detected.project;
            lock = lockfile::find(&self.files, &there.settings, environment, || Ok(there))?;
            if let Some(lock) = &lock {
                detected = self.detect(Some(&lock.preview()), None)?;
            }
        }
        if let Some(Found::Lock(lock)) = &mut lock {
            lock.take_member(&detected.plan.home);
        }
        Ok((Planned { python, lock }, detected))
    }

    /// The kind of application, as far as it is known with this list and for this Python.
    pub(super) fn detect(
        &self,
        listed: Option<&app::listed::Listed>,
        python: Option<PythonVersion>,
    ) -> Result<Detected, BuildError> {
        let project = match listed {
            Some(listed) => Project::listed(
                &self.files,
                self.settings()?.clone(),
                &self.options.environment,
                listed,
            ),
            None => self.unlocked()?.clone(),
        };
        let options = app::Options {
            listed: listed.cloned(),
            python,
            ..self.options.clone()
        };
        Ok(app::detect_project(&self.files, project, &options)?)
    }

    pub(super) fn tree(&self) -> &'a Tree {
        self.tree
    }
}

/// The input for detection besides the tree: the variables of the build.
fn options(request: &Request, tree: &Tree) -> app::Options {
    let upgrade = request
        .upgrade
        .then(|| (contract::UPGRADE.to_owned(), "1".to_owned()));
    app::Options {
        environment: request
            .env
            .iter()
            .chain(&request.build_env)
            .cloned()
            .chain(upgrade)
            .collect(),
        app_root: Some(crate::builder::APP_ROOT.to_owned()),
        now: now(),
        left_out: tree
            .left_out
            .paths
            .iter()
            .filter_map(|(path, rule)| Some((path.to_str()?.to_owned(), rule.clone())))
            .collect(),
        ..app::Options::default()
    }
}
