//! Installs packages with uv or pip.
//!
//! The first attempt runs no code of a package (`--no-build`, `--only-binary`), so it may share a
//! cache of wheels with other builds. If a distribution has no wheel, it ends with
//! [`AssembleError::NeedsSdists`], and the caller decides where code may run: the pipeline starts
//! another sandbox with its own cache; a laptop simply continues.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::super::contract::FETCHED;
use super::super::environment::Environment;
use super::super::listed::Open;
use super::super::pip_variables;
use super::super::process::{self, Heard};
use super::super::progress::StepProgress;
use super::super::project::{Project, Source};
use super::super::requirement::{LineKind, name_of, normalize};
use super::super::roots::Roots;
use super::AssembleError;
use super::list::{self, List, Part, Written};
use super::origins::{self, Origins};

fn is_set(environment: &BTreeMap<String, String>, name: &str) -> bool {
    environment.get(name).is_some_and(|value| value == "1")
}

/// uv or pip, ready to be called.
pub(super) struct Installer<'a> {
    pub roots: &'a Roots,
    pub environment: &'a BTreeMap<String, String>,
    pub progress: &'a dyn StepProgress,
    /// The program and its first arguments.
    line: Vec<String>,
    pip: bool,
    /// Where it is called: the source, for relative paths.
    directory: &'a Path,
    /// Code of packages may be run.
    pub build: bool,
    /// Everything is in the installer's cache already.
    fetched: bool,
    /// The project's requirements; their options also apply to packages that are installed beside them.
    project: &'a Project,
    /// Where lists are written.
    temporary: PathBuf,
    /// pip's variables in uv's words.
    translated: Environment,
}

impl<'a> Installer<'a> {
    /// Finds the installer that the app wants.
    pub(super) fn find(
        roots: &'a Roots,
        environment: &'a BTreeMap<String, String>,
        project: &'a Project,
        progress: &'a dyn StepProgress,
        build: bool,
    ) -> Result<Installer<'a>, AssembleError> {
        let mut environment_of_uv = environment.clone();
        environment_of_uv.extend(pip_variables::for_uv(environment));
        let lines = project.requirements.lines.iter();
        let options = lines.filter(|line| line.kind == LineKind::Option);
        let options = options.map(|line| line.text.as_str());
        if pip_variables::has_own_index(options, environment) {
            environment_of_uv
                .retain(|name, _| !pip_variables::DEFAULT_INDEX.contains(&name.as_str()));
        }
        let python = roots.python().display().to_string();
        let uv = process::which("uv", environment);
        let pip = project.uses_pip() || (uv.is_none() && !roots.image);
        let line = if pip {
            // In the sandbox pip is not in the virtual environment but on PATH; elsewhere another
            // environment's pip can serve this one.
            let own = super::site_packages(&roots.app).join("pip").is_dir();
            let mut line = if own {
                vec![python, "-m".to_owned(), "pip".to_owned()]
            } else {
                let pip = process::which("pip", environment)
                    .ok_or(AssembleError::NoInstaller { name: "pip" })?;
                vec![pip.display().to_string(), "--python".to_owned(), python]
            };
            line.extend(
                [
                    "install",
                    "--no-compile",
                    "--disable-pip-version-check",
                    "--no-input",
                    "--exists-action=w",
                ]
                .map(str::to_owned),
            );
            if roots.image {
                // Requirements of the base's Python do not count.
                line.push("--no-warn-script-location".to_owned());
            }
            line
        } else {
            let mut line = vec![
                uv.ok_or(AssembleError::NoInstaller { name: "uv" })?
                    .display()
                    .to_string(),
            ];
            line.extend(["pip", "install", "--python"].map(str::to_owned));
            line.push(python);
            line.extend(["--link-mode", "copy", "--no-python-downloads"].map(str::to_owned));
            line
        };
        Ok(Installer {
            roots,
            environment,
            progress,
            line,
            pip,
            directory: &roots.source,
            build,
            fetched: !pip && is_set(environment, FETCHED),
            project,
            temporary: super::temporary(environment),
            translated: environment_of_uv,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        if self.pip { "pip" } else { "uv" }
    }

    pub(super) fn is_pip(&self) -> bool {
        self.pip
    }

    /// Installs requirements that are not in a file, from the same indexes.
    pub(super) fn install_more(
        &self,
        requirements: &[String],
        options: &[String],
    ) -> Result<(), AssembleError> {
        let mut list = self.list(Part::Options);
        for requirement in requirements {
            list.ask(requirement);
        }
        let written = list.write(&self.temporary)?;
        let mut line = written.arguments.clone();
        line.extend_from_slice(options);
        self.install(&line, &written.origins)
    }

    /// Installs the source's own directories that the requirements name.
    pub(super) fn install_directories(&self) -> Result<(), AssembleError> {
        // A list with hashes has all their dependencies; pip would ask for hashes of the directories.
        let hashed = self.list(Part::Directories).hashed;
        let part = match self.project.open() {
            _ if hashed => Part::Directories,
            None => Part::All,
            Some(_) => Part::Remaining,
        };
        let list = self.list(part);
        if self.list(Part::Directories).is_empty() {
            return Ok(());
        }
        let written = list.write(&self.temporary)?;
        let mut line = written.arguments.clone();
        if hashed {
            line.push("--no-deps".to_owned());
        }
        // Requirements that are bound to another location are installed already.
        let there = excluded(self.project, self, &self.temporary, |open, name| {
            !open.directories.contains(name)
        })?;
        line.extend(there.iter().flat_map(Settled::arguments));
        self.install(&line, &written.origins)
    }

    fn list(&self, part: Part) -> List {
        list::of_project(self.project, part, self.pip, self.directory, self.progress)
    }

    /// Installs what the arguments name. Errors speak of the source's files instead of these lists.
    pub(super) fn install(
        &self,
        arguments: &[String],
        origins: &Origins,
    ) -> Result<(), AssembleError> {
        let mut line = self.line.clone();
        if !self.build {
            if self.pip {
                line.extend(["--only-binary", ":all:"].map(str::to_owned));
            } else {
                line.push("--no-build".to_owned());
            }
        }
        let wheelhouse = self.roots.source.join(".warpdrive/wheelhouse");
        if wheelhouse.is_dir() {
            line.extend(["--find-links".to_owned(), wheelhouse.display().to_string()]);
        }
        if pip_variables::without_index(self.environment) {
            line.push("--no-index".to_owned());
        }
        line.extend_from_slice(arguments);
        let for_builds;
        let environment = if !self.pip {
            line.extend(pip_variables::options_for_uv(self.environment));
            &self.translated
        } else if let Some(list) = take_list_for_builds(&mut line) {
            let mut environment = self.environment.clone();
            environment.insert("PIP_BUILD_CONSTRAINT".to_owned(), list);
            for_builds = environment;
            &for_builds
        } else {
            self.environment
        };
        if !self.pip {
            once(&mut line);
        }
        if self.fetched && self.offline(&line)? {
            return Ok(());
        }
        let command = process::command(&line, self.directory, environment)?;
        // An error that the second attempt will not have is not shown.
        let mut held = String::new();
        let may_hold = !self.build;
        let heard = process::listen(command, self.name(), |text| {
            let start = text.trim_start();
            let error = start.starts_with('×')
                || start.starts_with("error:")
                || start.starts_with("ERROR:");
            let said = origins.translated(text, self.directory);
            if may_hold && (error || !held.is_empty()) {
                held.push_str(&said);
                return false;
            }
            if said != text {
                let _ = std::io::stderr().write_all(said.as_bytes());
                return false;
            }
            true
        })?;
        if heard.status == 0 {
            return Ok(());
        }
        let heard = Heard {
            errors: origins
                .translated(&heard.errors, self.directory)
                .into_owned(),
            ..heard
        };
        if !self.build && wants_code(&heard.errors) {
            return Err(AssembleError::NeedsSdists {
                what: without_wheel(&heard.errors),
            });
        }
        let _ = std::io::stderr().write_all(held.as_bytes());
        Err(self.failed(&heard))
    }

    /// Installs what was fetched before, without asking an index; false if something is missing.
    fn offline(&self, line: &[String]) -> Result<bool, AssembleError> {
        let line = [line, &["--offline".to_owned()]].concat();
        let command = process::command(&line, self.directory, &self.translated)?;
        let mut held = String::new();
        let heard = process::listen(command, self.name(), |text| {
            held.push_str(text);
            false
        })?;
        if heard.status == 0 {
            let _ = std::io::stderr().write_all(held.as_bytes());
        }
        Ok(heard.status == 0)
    }

    /// Where the project names a package, else what lists its packages.
    fn place(&self, package: Option<&str>) -> String {
        let wanted = package.and_then(name_of).map(|(name, _)| normalize(name));
        let mut lines = self.project.requirements.lines.iter();
        let named = lines.find(
            |line| matches!(&line.kind, LineKind::Named { name, .. } if Some(name) == wanted.as_ref()),
        );
        match (named, &self.project.source) {
            (Some(line), _) => origins::place(line, self.directory),
            (None, Source::Requirements(files)) => files.join(", "),
            (
                None,
                Source::Static { file, .. }
                | Source::Lock {
                    project: Some(file),
                    ..
                }
                | Source::Dynamic { file }
                | Source::Lock { file, .. },
            ) => file.clone(),
            (None, Source::None) => "the requirements".to_owned(),
        }
    }

    fn failed(&self, heard: &Heard) -> AssembleError {
        let missing = missing_package(&heard.errors);
        AssembleError::Install {
            installer: self.name(),
            status: heard.status,
            place: self.place(missing.as_deref()),
            missing,
            unbuilt: unbuilt(&heard.errors),
            refused: refused_by_index(&heard.errors),
            tail: heard.tail(12),
        }
    }
}

/// The list of constraints for builds, which is then no option any more: pip before 25.3 does not know it, and passes
/// over a variable that it does not know.
fn take_list_for_builds(line: &mut Vec<String>) -> Option<String> {
    let at = line
        .iter()
        .position(|word| word == list::FOR_BUILDS_OF_PIP)?;
    line.remove(at);
    (at < line.len()).then(|| line.remove(at))
}

/// uv takes no switch twice, and more than one part of this program may have a reason for one.
fn once(line: &mut Vec<String>) {
    const SWITCHES: &[&str] = &[
        "--no-deps",
        "--no-index",
        "--no-build",
        "--require-hashes",
        "--pre",
    ];
    for switch in SWITCHES {
        let mut given = false;
        line.retain(|word| word != switch || !std::mem::replace(&mut given, true));
    }
}

/// Whether the installer failed because it was not allowed to build.
fn wants_code(errors: &str) -> bool {
    let errors: String = errors.split_whitespace().collect::<Vec<_>>().join(" ");
    [
        "building from source is disabled",
        "no usable wheels",
        "ource distributions is disabled",
        // pip does not say why it found nothing; the second attempt will.
        "No matching distribution found",
        "Could not find a version that satisfies",
    ]
    .iter()
    .any(|phrase| errors.contains(phrase))
}

/// The first package that has no wheel.
fn without_wheel(errors: &str) -> String {
    let errors: String = errors.split_whitespace().collect::<Vec<_>>().join(" ");
    for (before, after) in [
        ("Wheels are required for `", '`'),
        ("distribution found for ", ' '),
    ] {
        if let Some(start) = errors.find(before).map(|at| at + before.len()) {
            return errors[start..]
                .split(after)
                .next()
                .unwrap_or_default()
                .to_owned();
        }
    }
    String::new()
}

/// The answer of an index that did not list its packages: it does not mean that a package is missing.
pub(super) fn refused_by_index(errors: &str) -> Option<&'static str> {
    let errors: String = errors.split_whitespace().collect::<Vec<_>>().join(" ");
    // As uv and pip have it.
    [
        ("401 Unauthorized", "401 Unauthorized"),
        ("403 Forbidden", "403 Forbidden"),
        ("401 Client Error", "401 Unauthorized"),
        ("403 Client Error", "403 Forbidden"),
        ("401 Error, Credentials not correct", "401 Unauthorized"),
    ]
    .into_iter()
    .find(|(words, _)| errors.contains(words))
    .map(|(_, answer)| answer)
}

/// The package whose source could not be built, as uv and pip name it.
pub(super) fn unbuilt(errors: &str) -> Option<String> {
    let errors: String = errors.split_whitespace().collect::<Vec<_>>().join(" ");
    // Then there was nothing to build.
    let other = [
        "Failed to fetch",
        "Git operation failed",
        "requirements from `build-system",
    ];
    if other.iter().any(|words| errors.contains(words)) {
        return None;
    }
    [
        "Failed to build `",
        "Failed to download and build `",
        "Failed building wheel for ",
    ]
    .iter()
    .find_map(|words| {
        let (_, rest) = errors.split_once(words)?;
        let name = rest.split(['`', ' ']).next()?;
        Some(name.to_owned())
    })
}

/// The package that no index has.
fn missing_package(errors: &str) -> Option<String> {
    let errors: String = errors.split_whitespace().collect::<Vec<_>>().join(" ");
    for (before, after) in [
        ("Because ", " was not found in the package registry"),
        ("there is no version of ", " and you require"),
        ("No matching distribution found for ", ""),
    ] {
        let Some(start) = errors.find(before).map(|at| at + before.len()) else {
            continue;
        };
        let rest = &errors[start..];
        let end = if after.is_empty() {
            rest.find(' ').unwrap_or(rest.len())
        } else {
            match rest.find(after) {
                Some(end) => end,
                None => continue,
            }
        };
        return Some(rest[..end].to_owned());
    }
    None
}

/// The input for the installer for the app's own requirements, without those of phase two.
/// `None`: there is nothing to install.
pub(super) struct Arguments {
    /// Shown to the user.
    pub names: String,
    /// Something of the list can only be built: `git+…`, an sdist's URL.
    pub wants_code: bool,
    list: Option<Written>,
    line: Vec<String>,
}

impl Arguments {
    pub(super) fn origins(&self) -> &Origins {
        const NONE: &Origins = &Origins::none();
        self.list.as_ref().map_or(NONE, |list| &list.origins)
    }

    pub(super) fn line(&self) -> &[String] {
        self.list
            .as_ref()
            .map_or(&self.line, |list| &list.arguments)
    }
}

/// Works out the arguments.
pub(super) fn arguments(
    project: &Project,
    installer: &Installer<'_>,
    temporary_directory: &Path,
) -> Result<Option<Arguments>, AssembleError> {
    let names = match &project.source {
        Source::None => return Ok(None),
        Source::Requirements(files) => files.join(", "),
        Source::Static { file, .. } | Source::Lock { file, .. } => file.clone(),
        Source::Dynamic { file } => {
            // pip cannot install the dependencies alone; phase two does it with the project.
            return Ok((!installer.pip).then(|| Arguments {
                names: file.clone(),
                wants_code: true,
                list: None,
                line: vec!["-r".to_owned(), file.clone()],
            }));
        }
    };
    let list = list::of_project(
        project,
        Part::Published,
        installer.pip,
        installer.directory,
        installer.progress,
    );
    if list.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arguments {
        names,
        wants_code: list.wants_code,
        list: Some(list.write(temporary_directory)?),
        line: Vec::new(),
    }))
}

/// A file with names that the installer must not look for.
pub(super) struct Settled(PathBuf);

impl Settled {
    pub(super) fn arguments(&self) -> [String; 2] {
        ["--excludes".to_owned(), self.0.display().to_string()]
    }
}

impl Drop for Settled {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Names that must not be looked for, because a lock has them. (pip does not look for installed packages.)
pub(super) fn settled(
    project: &Project,
    installer: &Installer<'_>,
    temporary_directory: &Path,
) -> Result<Option<Settled>, AssembleError> {
    not_looked_for(project.settled(), installer, temporary_directory)
}

/// The bound names of an incomplete list that must not be looked for now.
pub(super) fn excluded(
    project: &Project,
    installer: &Installer<'_>,
    temporary_directory: &Path,
    wanted: impl Fn(&Open, &str) -> bool,
) -> Result<Option<Settled>, AssembleError> {
    let Some(open) = project.open() else {
        return Ok(None);
    };
    let names: Vec<String> = project
        .settled()
        .iter()
        .filter(|name| wanted(open, name))
        .cloned()
        .collect();
    not_looked_for(&names, installer, temporary_directory)
}

fn not_looked_for(
    names: &[String],
    installer: &Installer<'_>,
    temporary_directory: &Path,
) -> Result<Option<Settled>, AssembleError> {
    if names.is_empty() || installer.pip {
        return Ok(None);
    }
    let path = temporary_directory.join(format!("settled-{}.txt", std::process::id()));
    let text = names.join("\n") + "\n";
    std::fs::write(&path, text).map_err(|source| AssembleError::Io {
        doing: "write",
        path: path.clone(),
        source,
    })?;
    Ok(Some(Settled(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_installers() {
        let uv = "error: No solution found when resolving dependencies\n  cause: Because nonesuch was not found in the package registry and you require nonesuch,\n      we can conclude that your requirements are unsatisfiable.\n";
        assert!(!wants_code(uv));
        assert_eq!(missing_package(uv).as_deref(), Some("nonesuch"));
        assert_eq!(refused_by_index(uv), None);
        let refused = format!(
            "{uv}\nhint: An index URL (http://h/simple) could not be queried due to a lack of valid authentication credentials (401\n      Unauthorized).\n"
        );
        assert_eq!(refused_by_index(&refused), Some("401 Unauthorized"));
        let uv = "error: No solution found when resolving dependencies\n  cause: Because all versions of ffs have no usable wheels and you require ffs, we can conclude that your requirements are unsatisfiable.\n\nhint: Wheels are required for `ffs` because building from source is disabled for all packages (i.e., with `--no-build`)\n";
        assert!(wants_code(uv));
        assert_eq!(without_wheel(uv), "ffs");
        let failed =
            "error: Failed to build `ffs==1.0`\n  cause: The build backend returned an error\n";
        assert_eq!(unbuilt(failed).as_deref(), Some("ffs==1.0"));
        assert_eq!(unbuilt(uv), None);
        let unreachable = "error: Failed to download and build `x @ https://h/x-1.tar.gz`\n  cause: Failed to fetch: https://h/x-1.tar.gz\n";
        assert_eq!(unbuilt(unreachable), None);
        let pip = "ERROR: Could not find a version that satisfies the requirement x==1 (from versions: none)\nERROR: No matching distribution found for x==1\n";
        assert!(wants_code(pip));
        assert_eq!(missing_package(pip).as_deref(), Some("x==1"));
    }
}
