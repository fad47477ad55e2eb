//! `warpdrive wheels`: a wheelhouse of everything that a build installs, so that a build with
//! `WARPDRIVE_PIP_NO_INDEX=1` needs no index: the requirements, the server and the agent, the
//! dependencies and build requirements of local projects.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::super::detect;
use super::super::environment::Environment;
use super::super::process;
use super::super::project::{Project, Source};
use super::super::python_version::PythonVersion;
use super::super::requirement::LineKind;
use super::super::server::pins::pinned;
use super::list::{self, Part};
use super::{AssembleError, Build, python_version, temporary};

/// Where the wheels go, below the source.
const WHEELHOUSE: &str = ".warpdrive/wheelhouse";

impl Build<'_> {
    pub(super) fn wheels(&self) -> Result<(), AssembleError> {
        let detected = self.detect(self.given)?;
        let base = self.base();
        self.pre_build(&base)?;
        let environment = self.with_files(base)?;
        let directory = environment
            .get("WARPDRIVE_WHEEL_DIR")
            .filter(|value| !value.is_empty())
            .map_or(WHEELHOUSE, String::as_str)
            .to_owned();
        let pip = self.pip(&environment)?;
        let mut wheels = Wheels {
            build: self,
            environment: &environment,
            scratch: temporary(&environment)
                .join(format!("warpdrive-wheels-{}", std::process::id())),
            line: pip,
        };
        wheels.line.extend(
            [
                "wheel",
                "--disable-pip-version-check",
                "--no-input",
                "--exists-action=w",
            ]
            .map(str::to_owned),
        );
        wheels
            .line
            .extend(["--wheel-dir".to_owned(), directory.clone()]);
        let wheelhouse = self.roots.source.join(WHEELHOUSE);
        if wheelhouse.is_dir() {
            let path = wheelhouse.display().to_string();
            wheels.line.extend(["--find-links".to_owned(), path]);
        }
        if environment
            .get("WARPDRIVE_PIP_NO_INDEX")
            .is_some_and(|value| !value.is_empty())
        {
            wheels.line.push("--no-index".to_owned());
        }
        let named: Vec<String> = environment
            .get("WARPDRIVE_PIP_WHEELS")
            .map(|list| list.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default();
        let mut some = false;
        for file in &named {
            // As in the original, a missing list counts as no list.
            if self.roots.source.join(file).is_file() {
                some = true;
                wheels.make(&["-r".to_owned(), file.clone()], file)?;
            }
        }
        if named.is_empty() {
            self.refuse_bound(&detected.project)?;
            some = wheels.of_project(&detected.project)?;
        }
        if !detected.project.local_projects().is_empty() {
            let list = self.build_requirements();
            wheels.make(&list, &list.join(", "))?;
        }
        let mut present: BTreeSet<String> = detected.project.names();
        for line in &detected.project.requirements.lines {
            if let LineKind::Named { name, .. } = &line.kind {
                present.insert(name.clone());
            }
        }
        present.extend(wheels_in(&self.roots.source.join(&directory)));
        let mut more = detected.plan.server_packages.clone();
        if let Some(instrument) = detect::instrument(&detected.project.settings) {
            more.extend(instrument.packages(&present).into_iter().map(str::to_owned));
        }
        let python = python_version(&self.roots.app).unwrap_or(PythonVersion::new(3, 9));
        let more: Vec<String> = more.iter().map(|name| pinned(name, python)).collect();
        if !more.is_empty() {
            wheels.make(&more, &more.join(", "))?;
        } else if !some {
            self.progress
                .note("there are no requirements: nothing to do");
        }
        Ok(())
    }

    /// pip: the environment's own, one on the PATH, or the one that uv can run.
    fn pip(&self, environment: &Environment) -> Result<Vec<String>, AssembleError> {
        let python = self.roots.python().display().to_string();
        if super::site_packages(&self.roots.app).join("pip").is_dir() {
            return Ok([python.as_str(), "-m", "pip"].map(str::to_owned).into());
        }
        let words = |path: PathBuf, more: &[&str]| {
            let mut line = vec![path.display().to_string()];
            line.extend(more.iter().map(|word| (*word).to_owned()));
            line.extend(["--python".to_owned(), python.clone()]);
            line
        };
        if let Some(pip) = process::which("pip", environment) {
            return Ok(words(pip, &[]));
        }
        match process::which("uv", environment) {
            Some(uv) => Ok(words(uv, &["tool", "run", "pip"])),
            None => Err(AssembleError::NoInstaller { name: "pip" }),
        }
    }

    /// `[build-system] requires`, or PEP 517's default.
    fn build_requirements(&self) -> Vec<String> {
        let said = std::fs::read_to_string(self.roots.source.join("pyproject.toml"))
            .ok()
            .and_then(|text| toml::from_str::<toml::Table>(&text).ok())
            .and_then(|table| {
                let list = table
                    .get("build-system")?
                    .get("requires")?
                    .as_array()?
                    .clone();
                list.iter()
                    .map(|item| item.as_str().map(str::to_owned))
                    .collect::<Option<Vec<String>>>()
            });
        said.unwrap_or_else(|| ["setuptools", "wheel"].map(str::to_owned).into())
    }
}

/// Calls of pip, one after the other.
struct Wheels<'a, 'b> {
    build: &'a Build<'b>,
    environment: &'a Environment,
    scratch: PathBuf,
    line: Vec<String>,
}

impl Wheels<'_, '_> {
    /// Makes the wheels of the project's own list; false if it is empty.
    fn of_project(&self, project: &Project) -> Result<bool, AssembleError> {
        match &project.source {
            Source::Requirements(files) => self.of_list(project, &files.join(", ")),
            Source::Lock { file, .. } if project.open().is_some() => self.of_list(project, file),
            // With its lines as a list of arguments; the hashes stay behind.
            Source::Lock { file, .. } => {
                let mut list: Vec<String> = project
                    .requirements
                    .lines
                    .iter()
                    .filter(|line| matches!(line.kind, LineKind::Named { .. }))
                    .map(|line| {
                        line.text
                            .split(" --hash")
                            .next()
                            .unwrap_or_default()
                            .to_owned()
                    })
                    .collect();
                if project.is_complete() {
                    list.push("--no-deps".to_owned());
                }
                self.make(&list, file)?;
                Ok(true)
            }
            Source::Static { .. } | Source::Dynamic { .. } => {
                self.make(&[".".to_owned()], ".")?;
                Ok(true)
            }
            Source::None => Ok(false),
        }
    }

    fn of_list(&self, project: &Project, name: &str) -> Result<bool, AssembleError> {
        let Build {
            roots, progress, ..
        } = self.build;
        let list = list::of_project(project, Part::All, true, &roots.source, *progress);
        if list.is_empty() {
            return Ok(false);
        }
        let written = list.write(&temporary(self.environment))?;
        self.make(&written.arguments, name)?;
        Ok(true)
    }

    fn make(&self, what: &[String], name: &str) -> Result<(), AssembleError> {
        self.build.progress.step(&format!("Making wheels ({name})"));
        let mut line = self.line.clone();
        let source = self
            .environment
            .get("WARPDRIVE_BLD_ROOT")
            .filter(|value| !value.is_empty())
            .cloned()
            .unwrap_or_else(|| self.scratch.display().to_string());
        line.extend(["--src".to_owned(), source]);
        line.extend_from_slice(what);
        let command = process::command(&line, &self.build.roots.source, self.environment)?;
        let heard = process::listen(command, "pip", |_| true)?;
        if heard.status == 0 {
            return Ok(());
        }
        Err(AssembleError::Install {
            installer: "pip",
            status: heard.status,
            missing: None,
            refused: super::install::refused_by_index(&heard.errors),
            unbuilt: super::install::unbuilt(&heard.errors),
            place: name.to_owned(),
            tail: heard.tail(12),
        })
    }
}

impl Drop for Wheels<'_, '_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

/// The distributions in a wheelhouse, by the names of their files (PEP 427).
fn wheels_in(directory: &std::path::Path) -> Vec<String> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.to_ascii_lowercase().ends_with(".whl"))
        .filter_map(|name| {
            let name = name.split('-').next()?;
            Some(super::super::requirement::normalize(name))
        })
        .collect()
}
