//! Writes the list for the installer: the content of all requirement files in one file, so that uv
//! and pip get the same list, whatever encoding, directory or option the files use.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::super::detect::is_old_package;
use super::super::listed::NOT_FOR_BUILDS;
use super::super::progress::StepProgress;
use super::super::project::Project;
use super::super::requirement::{Line, LineKind, is_archive};
use super::AssembleError;
use super::origins::Origins;

/// pip's option for constraints of builds.
pub(super) const FOR_BUILDS_OF_PIP: &str = "--build-constraint";

/// A list, and the command-line options that belong to it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    text: String,
    constraints: String,
    /// Where the lines of both are from, by their offsets.
    origins: Vec<(usize, Line)>,
    of_constraints: Vec<(usize, Line)>,
    /// Constraints for the requirements of builds, in the syntax of one of the installers.
    for_builds: Option<(&'static str, String)>,
    /// Options that uv knows on its command line only.
    options: Vec<String>,
    /// Something is asked for.
    some: bool,
    /// Something of it can only be built: `git+…`, an sdist's URL.
    pub(super) wants_code: bool,
    /// It has hashes, so it is complete.
    pub(super) hashed: bool,
}

/// Which part of the requirements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All but directories of the source, which phase two installs.
    Published,
    /// Everything.
    All,
    /// The same without requirements that have an address: these are installed already.
    Remaining,
    /// The directories alone, with the options that say where packages are.
    Directories,
    /// The options alone.
    Options,
}

/// Options that say where packages come from.
const INDEXES: &[&str] = &[
    "-i",
    "-f",
    "--index-url",
    "--pypi-url",
    "--extra-index-url",
    "--find-links",
    "--no-index",
    "--trusted-host",
];

/// A path that does not exist: the location of a name that the project binds elsewhere and does not require.
pub(super) const NOT_ASKED_FOR: &str = ".warpdrive/bound-and-not-asked-for";

/// The list for an installer, with the requirements of a project below `source`.
pub(super) fn of_project(
    project: &Project,
    part: Part,
    pip: bool,
    source: &Path,
    progress: &dyn StepProgress,
) -> List {
    let mut list = List::default();
    if project.is_complete() {
        list.options.push("--no-deps".to_owned());
    }
    for line in &project.requirements.lines {
        if is_old_package(line) {
            if part == Part::Published {
                progress.warn(&format!(
                    "{}:{}: the package `warpdrive` is left out: it is the tool of 2016, and this image has its successor",
                    line.file, line.number
                ));
            }
            continue;
        }
        list.hashed |= line.text.contains("--hash");
        if pip && project.is_complete() {
            // The files have been verified, and pip would ask for the hashes of repositories.
            let mut line = line.clone();
            line.text
                .truncate(line.text.find(" --hash").unwrap_or(line.text.len()));
            list.add(&line, part, pip, source);
        } else {
            list.add(line, part, pip, source);
        }
    }
    for (name, directory) in project.open().iter().flat_map(|open| &open.others) {
        // If the bound location does not have it, the installation fails: no other index may provide it.
        let place = match directory {
            Some(directory) if part != Part::Published => directory.clone(),
            _ => format!("{NOT_ASKED_FOR}/{name}"),
        };
        let place = source.join(place);
        let line = format!("{name} @ file://{}\n", place.display());
        list.constraints.push_str(&line);
    }
    if matches!(part, Part::Published | Part::Options) && !project.not_for_builds().is_empty() {
        let mut text = String::new();
        for name in project.not_for_builds() {
            let place = source.join(NOT_FOR_BUILDS).join(name);
            let _ = writeln!(text, "{name} @ file://{}", place.display());
        }
        let option = if pip {
            FOR_BUILDS_OF_PIP
        } else {
            "--build-constraints"
        };
        list.for_builds = Some((option, text));
    }
    for line in &project.requirements.constraints {
        list.of_constraints
            .push((list.constraints.len(), line.clone()));
        match &line.kind {
            LineKind::Option => {}
            LineKind::Local { .. } => list.constraints.push_str(&local(line, source)),
            _ => list.constraints.push_str(&line.text),
        }
        list.constraints.push('\n');
    }
    list
}

impl List {
    fn add(&mut self, line: &Line, part: Part, pip: bool, source: &Path) {
        let start = self.text.len();
        self.write_line(line, part, pip, source);
        if self.text.len() > start {
            self.origins.push((start, line.clone()));
        }
    }

    fn write_line(&mut self, line: &Line, part: Part, pip: bool, source: &Path) {
        let text = match &line.kind {
            LineKind::Option => {
                let name = line.text.split(['=', ' ']).next().unwrap_or(&line.text);
                let short = line.text.get(..2).unwrap_or(name);
                let index = INDEXES.contains(&name)
                    || (!line.text.starts_with("--") && INDEXES.contains(&short));
                if index || matches!(part, Part::Published | Part::All | Part::Remaining) {
                    self.option(line, pip, source);
                }
                // The list that the installer fetches may contain everything.
                self.some |= line.names_a_list() && matches!(part, Part::Published | Part::All);
                return;
            }
            // Detection has refused a path that does not exist.
            LineKind::Constraint(_) | LineKind::Include(_) | LineKind::Local { path: None, .. } => {
                return;
            }
            LineKind::Local {
                path: Some(path), ..
            } => {
                let wanted = match part {
                    Part::Published => is_archive(path),
                    Part::Directories | Part::Remaining => !is_archive(path),
                    Part::All => true,
                    Part::Options => false,
                };
                if !wanted {
                    return;
                }
                self.wants_code |= !is_wheel(path);
                local(line, source)
            }
            _ if matches!(part, Part::Directories | Part::Options) => return,
            LineKind::Url { url, editable, .. } => {
                self.wants_code |= !is_wheel(url);
                if *editable {
                    // An editable checkout would be outside the environment.
                    let text = line.text.trim_start_matches("-e");
                    let text = text.trim_start_matches("--editable");
                    text.trim_start_matches('=').trim().to_owned()
                } else {
                    line.text.clone()
                }
            }
            LineKind::Named { url: Some(_), .. } if part == Part::Remaining => return,
            LineKind::Named { url, .. } => {
                self.wants_code |= url.as_ref().is_some_and(|url| !is_wheel(url));
                line.text.clone()
            }
        };
        self.some = true;
        self.push(&text);
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// An option in the installer's syntax.
    fn option(&mut self, line: &Line, pip: bool, source: &Path) {
        let text = absolute_option(&line.text, &line.file, source);
        let value = |option: &str| {
            text.strip_prefix(option)
                .map(|rest| rest.trim_start_matches('=').trim().to_owned())
        };
        if pip {
            self.push(&text);
        } else if text == "--pre" {
            self.options
                .extend(["--prerelease", "allow"].map(str::to_owned));
        } else if text == "--require-hashes" {
            self.options.push(text);
        } else if let Some(host) = value("--trusted-host") {
            self.options
                .extend(["--allow-insecure-host".to_owned(), host]);
        } else if let Some(index) = value("--pypi-url") {
            self.push(&format!("--index-url {index}"));
        } else if text == "--prefer-binary" || text.starts_with("--use-feature") {
            // Detection warns about both: uv does not need the one, and does not know the other.
        } else if let Some((option, names)) = ["--no-binary", "--only-binary"]
            .iter()
            .find_map(|option| value(option).map(|names| (option, names)))
        {
            // uv takes one name each.
            for name in names
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
            {
                self.push(&format!("{option} {name}"));
            }
        } else {
            self.push(&text);
        }
    }

    /// Asks for one more.
    pub(super) fn ask(&mut self, requirement: &str) {
        self.some = true;
        self.push(requirement);
    }

    /// Whether there is something to install.
    pub(super) fn is_empty(&self) -> bool {
        !self.some
    }

    /// Writes it into a directory; the file exists as long as the result.
    pub(super) fn write(self, directory: &Path) -> Result<Written, AssembleError> {
        let mut written = Written {
            arguments: self.options,
            origins: Origins::default(),
            files: Vec::new(),
        };
        let (option_for_builds, for_builds) = self.for_builds.unwrap_or_default();
        for (option, name, text, lines) in [
            ("-r", "requirements", self.text, self.origins),
            ("-c", "constraints", self.constraints, self.of_constraints),
            (
                option_for_builds,
                "build-constraints",
                for_builds,
                Vec::new(),
            ),
        ] {
            if option != "-r" && text.is_empty() {
                continue;
            }
            let path = directory.join(format!("{name}-{}.txt", std::process::id()));
            std::fs::write(&path, &text).map_err(|source| AssembleError::Io {
                doing: "write",
                path: path.clone(),
                source,
            })?;
            written.origins.add(&path, &text, lines);
            written
                .arguments
                .extend([option.to_owned(), path.display().to_string()]);
            written.files.push(path);
        }
        Ok(written)
    }
}

/// A list on the disk.
pub(super) struct Written {
    /// For the installer.
    pub(super) arguments: Vec<String>,
    /// For the installer's errors.
    pub(super) origins: Origins,
    files: Vec<PathBuf>,
}

impl Drop for Written {
    fn drop(&mut self) {
        for path in &self.files {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A path of the source, in a form that an installer takes in any directory.
fn local(line: &Line, source: &Path) -> String {
    let LineKind::Local {
        path: Some(path),
        extras,
        editable,
    } = &line.kind
    else {
        return String::new();
    };
    let place = source.join(path);
    let place = place.display().to_string();
    let place = place.trim_end_matches('/');
    let editable = if *editable { "-e " } else { "" };
    // Both installers take a path with white space as a URL only.
    let written = if place.contains(char::is_whitespace) || place.contains('#') {
        let quoted = place
            .replace('%', "%25")
            .replace(' ', "%20")
            .replace('#', "%23");
        format!("file://{quoted}")
    } else {
        place.to_owned()
    };
    let hashes = line.text.find("--hash").map_or("", |at| &line.text[at..]);
    format!("{editable}{written}{extras} {hashes}")
        .trim_end()
        .to_owned()
}

/// Whether a URL is that of a wheel, which is installed without running code.
fn is_wheel(url: &str) -> bool {
    let path = url.split(['#', '?']).next().unwrap_or(url);
    Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "whl")
}

/// `--find-links wheels` with an absolute path, for a list in another directory.
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
    use std::collections::BTreeMap;

    use super::super::super::files::Memory;
    use super::super::super::progress::SilentSteps;
    use super::*;

    fn list(text: &str, part: Part, pip: bool) -> List {
        let files = Memory::new()
            .with("requirements.txt", text)
            .with("c.txt", "click<9 # why\n")
            .with("lib/setup.py", "")
            .with("my lib/setup.py", "")
            .with("wheels/x-1-py3-none-any.whl", "");
        let project = Project::load(&files, &BTreeMap::new(), &BTreeMap::new()).unwrap();
        assert_eq!(project.requirements.problems, []);
        of_project(&project, part, pip, Path::new("/src"), &SilentSteps)
    }

    #[test]
    fn a_list_that_the_installer_fetches_is_something_to_install() {
        let texts = [
            "-r https://x.example/base.txt\n",
            "--requirement=https://x.example/base.txt\n",
        ];
        for (text, pip) in texts
            .into_iter()
            .flat_map(|text| [(text, false), (text, true)])
        {
            let published = list(text, Part::Published, pip);
            assert_eq!(
                (published.is_empty(), published.text.as_str()),
                (false, text)
            );
            assert!(list(text, Part::Directories, pip).is_empty());
            assert!(list(text, Part::Options, pip).is_empty());
        }
    }

    #[test]
    fn every_line_is_in_one_of_the_parts() {
        let text = "\
            --index-url https://u:${P}@x/simple --trusted-host x\n\
            --no-binary a,b\n--pre\n-c c.txt\n-f wheels\n\
            flask[async]>=3 ; python_version > '3'\n\
            -e ./lib[dev] ; python_version > '3'\n\
            './my lib'\n\
            wheels/x-1-py3-none-any.whl --hash=sha256:00\n\
            -e git+https://x/y.git@v1#egg=y\n";
        let published = list(text, Part::Published, false);
        assert_eq!(
            published.text,
            "--index-url https://u:${P}@x/simple\n--no-binary a\n--no-binary b\n\
             --find-links /src/wheels\nflask[async]>=3 ; python_version > '3'\n\
             /src/wheels/x-1-py3-none-any.whl --hash=sha256:00\n\
             git+https://x/y.git@v1#egg=y\n"
        );
        assert_eq!(
            published.options.join(" "),
            "--allow-insecure-host x --prerelease allow"
        );
        assert_eq!(published.constraints, "click<9\n");
        assert!(published.wants_code && published.hashed);
        let local = list(text, Part::Directories, false);
        assert_eq!(
            local.text,
            "--index-url https://u:${P}@x/simple\n--find-links /src/wheels\n\
             -e /src/lib[dev] ; python_version > '3'\nfile:///src/my%20lib\n"
        );
        let pip = list(text, Part::Options, true);
        assert_eq!(
            pip.text,
            "--index-url https://u:${P}@x/simple\n--trusted-host x\n--find-links /src/wheels\n"
        );
        assert!(pip.is_empty() && pip.options.is_empty());
    }
}
