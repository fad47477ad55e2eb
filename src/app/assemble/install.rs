//! Installs packages with uv or pip.
//!
//! The first attempt runs nobody's code (`--no-build`, `--only-binary`), so it may share a cache of
//! wheels with other builds. Where something has no wheel it ends with [`BuildError::NeedsSdists`],
//! and the caller decides where code may be run: the pipeline starts another sandbox with a cache
//! of its own, a laptop just goes on.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::super::detect::is_old_package;
use super::super::process::{self, Heard};
use super::super::progress::Progress;
use super::super::project::{Project, Source};
use super::super::requirement::LineKind;
use super::super::roots::Roots;
use super::super::shell_words::split;
use super::BuildError;

/// Everything that the list names is in uv's cache: the pipeline has fetched it where the logins of the
/// indexes are known.
const FETCHED: &str = "WARPDRIVE_FETCHED";

fn is_set(environment: &BTreeMap<String, String>, name: &str) -> bool {
    environment.get(name).is_some_and(|value| value == "1")
}

/// uv or pip, ready to be called.
pub(super) struct Installer<'a> {
    pub roots: &'a Roots,
    pub environment: &'a BTreeMap<String, String>,
    pub progress: &'a dyn Progress,
    /// The program and its first arguments.
    line: Vec<String>,
    pip: bool,
    /// Where it is called: the source, for relative paths.
    directory: &'a Path,
    /// Code of packages may be run.
    pub build: bool,
    /// What is to be installed is in the installer's cache already.
    fetched: bool,
    /// Indexes that the requirement files name; for what is installed beside them.
    indexes: Vec<String>,
}

impl<'a> Installer<'a> {
    /// Finds the installer that the app wants.
    pub(super) fn find(
        roots: &'a Roots,
        environment: &'a BTreeMap<String, String>,
        project: &Project,
        progress: &'a dyn Progress,
        build: bool,
    ) -> Result<Installer<'a>, BuildError> {
        let python = roots.python().display().to_string();
        let uv = process::which("uv", environment);
        let pip = project.uses_pip() || (uv.is_none() && !roots.image);
        let line = if pip {
            // In the sandbox pip is not in the virtual environment but a wrapper on PATH; elsewhere
            // another environment's pip can serve this one.
            let wrapper = Path::new("/run/warpdrive/bin/pip");
            let own = super::site_packages(&roots.app).join("pip").is_dir();
            let mut line = if roots.image && wrapper.is_file() {
                vec![wrapper.display().to_string()]
            } else if own {
                vec![python, "-m".to_owned(), "pip".to_owned()]
            } else {
                let pip = process::which("pip", environment)
                    .ok_or(BuildError::NoInstaller { name: "pip" })?;
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
                uv.ok_or(BuildError::NoInstaller { name: "uv" })?
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
            indexes: indexes(project, &roots.source),
        })
    }

    pub(super) fn name(&self) -> &'static str {
        if self.pip { "pip" } else { "uv" }
    }

    pub(super) fn is_pip(&self) -> bool {
        self.pip
    }

    /// Installs requirements that stand in no file, from the same indexes.
    pub(super) fn install_more(&self, arguments: &[String]) -> Result<(), BuildError> {
        self.install(&[&self.indexes, arguments].concat())
    }

    /// Installs what the arguments name.
    pub(super) fn install(&self, arguments: &[String]) -> Result<(), BuildError> {
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
        if self
            .environment
            .get("WARPDRIVE_PIP_NO_INDEX")
            .is_some_and(|value| !value.is_empty())
        {
            line.push("--no-index".to_owned());
        }
        line.extend_from_slice(arguments);
        if self.fetched && self.offline(&line)? {
            return Ok(());
        }
        let command = process::command(&line, self.directory, self.environment)?;
        // An error that the second attempt will not have is not shown.
        let mut held = String::new();
        let may_hold = !self.build;
        let heard = process::listen(command, self.name(), |text| {
            let start = text.trim_start();
            let error = start.starts_with('×')
                || start.starts_with("error:")
                || start.starts_with("ERROR:");
            if may_hold && (error || !held.is_empty()) {
                held.push_str(text);
                return false;
            }
            true
        })?;
        if heard.status == 0 {
            return Ok(());
        }
        if !self.build && wants_code(&heard.errors) {
            return Err(BuildError::NeedsSdists {
                what: without_wheel(&heard.errors),
            });
        }
        let _ = std::io::stderr().write_all(held.as_bytes());
        Err(self.failed(&heard))
    }

    /// Installs what was fetched before, without a question to an index; false if that is not all.
    fn offline(&self, line: &[String]) -> Result<bool, BuildError> {
        let line = [line, &["--offline".to_owned()]].concat();
        let command = process::command(&line, self.directory, self.environment)?;
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

    fn failed(&self, heard: &Heard) -> BuildError {
        BuildError::Install {
            installer: self.name(),
            status: heard.status,
            missing: missing_package(&heard.errors),
            tail: heard.tail(12),
        }
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

/// What to give to the installer for the app's own requirements, without what belongs to phase two.
/// Nothing: there is nothing to install.
pub(super) struct Arguments {
    pub line: Vec<String>,
    /// Shown to the user.
    pub names: String,
    /// Holds a flattened list, if one was needed.
    pub temporary: Option<PathBuf>,
    /// Something of the list can only be built: `git+…`, an sdist's URL.
    pub wants_code: bool,
}

impl Drop for Arguments {
    fn drop(&mut self) {
        if let Some(path) = &self.temporary {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Works out the arguments.
pub(super) fn arguments(
    project: &Project,
    installer: &Installer<'_>,
    temporary_directory: &Path,
) -> Result<Option<Arguments>, BuildError> {
    let (files, names) = match &project.source {
        Source::None => return Ok(None),
        Source::Requirements(files) => (files.clone(), files.join(", ")),
        Source::Lock { file, .. } => (Vec::new(), file.clone()),
        Source::Static { file, requirements } => {
            if requirements.is_empty() {
                return Ok(None);
            }
            (Vec::new(), file.clone())
        }
        Source::Dynamic { file } => {
            // pip cannot install the dependencies alone; phase two does it with the project.
            return Ok((!installer.pip).then(|| Arguments {
                line: vec!["-r".to_owned(), file.clone()],
                names: file.clone(),
                temporary: None,
                wants_code: true,
            }));
        }
    };
    let mut flat = String::new();
    let mut changed = files.is_empty();
    let mut some = false;
    let mut wants_code = false;
    for line in &project.requirements.lines {
        if is_old_package(line) {
            installer.progress.warn(&format!(
                "{}:{}: the package `warpdrive` is left out: it is the tool of 2016, and this image has its successor",
                line.file, line.number
            ));
            changed = true;
            continue;
        }
        match &line.kind {
            LineKind::Local { .. } => {
                changed = true;
                continue;
            }
            LineKind::Url { url, editable, .. } => {
                wants_code |= !is_wheel(url);
                some = true;
                if *editable {
                    // An editable checkout would lie outside of the environment.
                    changed = true;
                    let text = line
                        .text
                        .trim_start_matches("-e")
                        .trim_start_matches("--editable");
                    flat.push_str(text.trim_start_matches('=').trim());
                    flat.push('\n');
                    continue;
                }
            }
            LineKind::Named { url, .. } => {
                wants_code |= url.as_ref().is_some_and(|url| !is_wheel(url));
                some = true;
            }
            LineKind::Constraint(Some(path)) => {
                let path = installer.directory.join(path);
                flat.push_str("-c ");
                flat.push_str(&path.display().to_string());
                flat.push('\n');
                continue;
            }
            LineKind::Option => {
                flat.push_str(&absolute_option(
                    &line.text,
                    &line.file,
                    installer.directory,
                ));
                flat.push('\n');
                continue;
            }
            _ => {}
        }
        flat.push_str(&line.text);
        flat.push('\n');
    }
    if !some {
        return Ok(None);
    }
    if !changed {
        let line = files
            .into_iter()
            .flat_map(|file| ["-r".to_owned(), file])
            .collect();
        return Ok(Some(Arguments {
            line,
            names,
            temporary: None,
            wants_code,
        }));
    }
    let path = temporary_directory.join(format!("requirements-{}.txt", std::process::id()));
    std::fs::write(&path, flat).map_err(|source| BuildError::Io {
        doing: "write",
        path: path.clone(),
        source,
    })?;
    Ok(Some(Arguments {
        line: vec!["-r".to_owned(), path.display().to_string()],
        names,
        temporary: Some(path),
        wants_code,
    }))
}

/// Whether a URL is that of a wheel, which needs no code to be run.
fn is_wheel(url: &str) -> bool {
    let path = url.split(['#', '?']).next().unwrap_or(url);
    Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "whl")
}

/// The options of requirement files that say where packages come from.
fn indexes(project: &Project, directory: &Path) -> Vec<String> {
    const NAMES: &[&str] = &[
        "-i",
        "-f",
        "--index-url",
        "--extra-index-url",
        "--find-links",
        "--no-index",
        "--trusted-host",
    ];
    project
        .requirements
        .lines
        .iter()
        .filter(|line| line.kind == LineKind::Option)
        .filter_map(|line| split(&absolute_option(&line.text, &line.file, directory)).ok())
        .filter(|words| {
            let first = words.first().map_or("", String::as_str);
            NAMES.contains(&first.split('=').next().unwrap_or(first))
        })
        .flatten()
        .collect()
}

/// `--find-links wheels` with an absolute path, for a list that lies elsewhere.
fn absolute_option(text: &str, file: &str, directory: &Path) -> String {
    for option in ["--find-links", "-f"] {
        if let Some(value) = text.strip_prefix(option) {
            let value = value.trim_start_matches('=').trim();
            if !value.contains("://") && !value.starts_with('/') {
                let beside = Path::new(file).parent().unwrap_or(Path::new(""));
                let path = directory.join(beside).join(value);
                let path = if path.exists() {
                    path
                } else {
                    directory.join(value)
                };
                return format!("--find-links {}", path.display());
            }
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::super::files::Memory;
    use super::*;

    #[test]
    fn indexes_of_the_requirements() {
        let files = Memory::new().with(
            "requirements.txt",
            "--index-url https://x/simple\n--extra-index-url=https://y\n--pre\n-f wheels\nflask\n",
        );
        let project = Project::load(&files, &BTreeMap::new(), &BTreeMap::new()).unwrap();
        assert_eq!(
            indexes(&project, Path::new("/src")).join(" "),
            "--index-url https://x/simple --extra-index-url=https://y --find-links /src/wheels"
        );
    }

    #[test]
    fn messages_of_the_installers() {
        let uv = "error: No solution found when resolving dependencies\n  cause: Because nonesuch was not found in the package registry and you require nonesuch,\n      we can conclude that your requirements are unsatisfiable.\n";
        assert!(!wants_code(uv));
        assert_eq!(missing_package(uv).as_deref(), Some("nonesuch"));
        let uv = "error: No solution found when resolving dependencies\n  cause: Because all versions of ffs have no usable wheels and you require ffs, we can conclude that your requirements are unsatisfiable.\n\nhint: Wheels are required for `ffs` because building from source is disabled for all packages (i.e., with `--no-build`)\n";
        assert!(wants_code(uv));
        assert_eq!(without_wheel(uv), "ffs");
        let pip = "ERROR: Could not find a version that satisfies the requirement x==1 (from versions: none)\nERROR: No matching distribution found for x==1\n";
        assert!(wants_code(pip));
        assert_eq!(missing_package(pip).as_deref(), Some("x==1"));
    }
}
