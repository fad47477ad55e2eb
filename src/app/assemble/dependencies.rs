//! Phase one: the hook `pre-build` (or `install`, its old name), the app's requirements, the server's packages, and the normal
//! form of what was installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::super::contract;
use super::super::detect::{self, Detected};
use super::super::environment::Environment;
use super::super::files::Directory;
use super::super::instrument::Instrument;
use super::super::project::Project;
use super::super::python_version::PythonVersion;
use super::super::server::pins::pinned;
use super::added::Added;
use super::compiler::Check;
use super::install::{self, Installer};
use super::{AssembleError, Build, compile, python_version, records, site_packages, temporary};

impl Build<'_> {
    /// Phase one.
    pub(super) fn dependencies(&self, detected: Option<&Detected>) -> Result<(), AssembleError> {
        let roots = self.roots;
        let base = self.base();
        self.pre_build(&base)?;
        let environment = self.with_files(base)?;
        let project = self.project(self.given)?;
        self.refuse_bound(&project)?;
        let protected = || {
            if roots.image {
                records::protected_files(&roots.app)
            } else {
                BTreeMap::new()
            }
        };
        let before = protected();
        // A laptop runs the code of packages as pip does; in an image the pipeline decides when.
        let asked = environment
            .get(contract::BUILD_SDISTS)
            .is_some_and(|value| value == "1");
        let phased = environment.contains_key(contract::BUILD_PHASE);
        let mut installer = Installer::find(
            roots,
            &environment,
            &project,
            self.progress,
            asked || !roots.image,
        )?;
        let temporary = temporary(&environment);
        if let Some(arguments) = install::arguments(&project, &installer, &temporary)? {
            self.progress.step(&format!(
                "Installing dependencies with {} ({})",
                installer.name(),
                arguments.names
            ));
            // Directories of the source come in phase two.
            let later = install::excluded(&project, &installer, &temporary, |open, name| {
                open.directories.contains(name)
            })?;
            let mut line = arguments.line().to_vec();
            line.extend(later.iter().flat_map(install::Settled::arguments));
            let result = if arguments.wants_code && !installer.build {
                Err(AssembleError::NeedsSdists {
                    what: String::new(),
                })
            } else {
                installer.install(&line, arguments.origins())
            };
            match result {
                Err(AssembleError::NeedsSdists { .. }) if !phased => {
                    self.progress
                        .note("some packages have no wheel and are built from source");
                    installer.build = true;
                    installer.install(&line, arguments.origins())?;
                }
                other => other?,
            }
        }
        let instrument = detect::instrument(&project.settings);
        self.install_server(
            &project,
            &mut installer,
            &environment,
            detected,
            instrument.as_ref(),
            phased,
        )?;
        let site = site_packages(&roots.app);
        let mut distributions = records::read_all(&site)?;
        records::refuse_intruders(&distributions, &site, roots)?;
        if !roots.image {
            return Ok(());
        }
        let after = protected();
        if before != after {
            let path = before
                .iter()
                .find(|(path, state)| after.get(*path) != Some(*state))
                .map(|(path, _)| path)
                .or_else(|| after.keys().find(|path| !before.contains_key(*path)))
                .cloned()
                .unwrap_or_default();
            return Err(AssembleError::Overwritten { path });
        }
        if self.settle_collisions(&installer, &distributions, &site)? {
            distributions = records::read_all(&site)?;
        }
        for distribution in &distributions {
            records::normalise(distribution)?;
        }
        for leftover in [".lock", ".gitignore", "CACHEDIR.TAG"] {
            let _ = fs::remove_file(roots.app.join(leftover));
        }
        // Only byte-code that was compiled here belongs to warpdrive.
        compile::remove(&site)?;
        compile::compile(&roots.python(), &[site], Check::Unchecked)
    }

    /// The hook `pre-build`; if it is missing, `install`, its old name.
    pub(super) fn pre_build(&self, environment: &Environment) -> Result<(), AssembleError> {
        let hooks = self.roots.source.join(".warpdrive/action_hooks");
        match (
            hooks.join("pre-build").is_file(),
            hooks.join("install").is_file(),
        ) {
            (false, true) => self.hook("install", environment),
            (true, both) => {
                if both {
                    self.progress.warn(
                        ".warpdrive/action_hooks/install is not run: it is the old name of \
                         pre-build, which is there, too",
                    );
                }
                self.hook("pre-build", environment)
            }
            (false, false) => Ok(()),
        }
    }

    /// The packages for the server and the agent that the requirements did not bring.
    fn install_server(
        &self,
        project: &Project,
        installer: &mut Installer<'_>,
        environment: &Environment,
        detected: Option<&Detected>,
        instrument: Option<&Instrument>,
        phased: bool,
    ) -> Result<(), AssembleError> {
        let mut wanted: Vec<String> = match detected {
            Some(detected) => detected.plan.server_packages.clone(),
            None => environment
                .get(contract::SERVER_PACKAGES)
                .map(|list| list.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default(),
        };
        let present: BTreeSet<String> = records::name_all(&site_packages(&self.roots.app))?
            .into_iter()
            .map(|distribution| distribution.name)
            .collect();
        if let Some(instrument) = instrument {
            wanted.extend(instrument.packages(&present).into_iter().map(str::to_owned));
        }
        let python = python_version(&self.roots.app).unwrap_or(PythonVersion::new(3, 9));
        let missing: Vec<String> = wanted
            .iter()
            .filter(|name| !present.contains(name.as_str()))
            .map(|name| pinned(name, python))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let what = match instrument {
            Some(instrument) => format!("the server and {instrument}"),
            None => "the server".to_owned(),
        };
        self.progress
            .step(&format!("Installing {what} ({})", missing.join(", ")));
        let settled = install::settled(project, installer, &temporary(environment))?;
        let options: Vec<String> = settled
            .iter()
            .flat_map(install::Settled::arguments)
            .collect();
        let result = match installer.install_more(&missing, &options) {
            Err(AssembleError::NeedsSdists { .. }) if !phased => {
                installer.build = true;
                installer.install_more(&missing, &options)
            }
            other => other,
        };
        result.map_err(|error| match (error, Directory::open(&self.roots.source)) {
            (
                AssembleError::Install {
                    status,
                    missing: Some(name),
                    refused: None,
                    tail,
                    ..
                },
                Ok(files),
            ) => AssembleError::Added(Box::new(Added {
                status,
                tail,
                ..Added::of(&missing, &name, project, &files, environment)
            })),
            (error, _) => error,
        })
    }

    /// Where two distributions have the same path with different content, the first by name wins.
    /// Whether anything was installed again.
    fn settle_collisions(
        &self,
        installer: &Installer<'_>,
        distributions: &[records::Distribution],
        site: &Path,
    ) -> Result<bool, AssembleError> {
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
        // The last installation overwrites the others, so the first by name comes last.
        for index in again.iter().rev() {
            let Some(distribution) = distributions.get(*index) else {
                continue;
            };
            let option = if installer.is_pip() {
                "--force-reinstall"
            } else {
                "--reinstall"
            };
            installer.install_more(
                &[records::requirement(distribution)],
                &[option.to_owned(), "--no-deps".to_owned()],
            )?;
        }
        Ok(!again.is_empty())
    }
}
