//! Requirement files: pip's format, as far as warpdrive has to understand it.
//!
//! This module finds which files belong together (`-r`, `-c`), what each line is (a name, a URL, a
//! path of the source, an option) and which lines cannot be installed; the installer gets one list
//! made from them ([`super::assemble`]). No line is dropped: a line that is not understood is a
//! [`Problem`]. Names follow PEP 503/508; what a line means beyond its name (markers, extras, hashes)
//! stays text.

mod classify;
mod problem;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use super::files::{self, Files};

pub use classify::is_archive;
use classify::{LineContext, classify, name_of_wheel};
pub use problem::Problem;
use problem::{Wrong, wrong};
use text::logical_lines;
pub use text::{decode, expand};

/// Most letters of a line that an error shows.
const MAX_SHOWN: usize = 200;
/// Files that include each other deeper than this are not followed.
const MAX_DEPTH: usize = 16;

/// One logical line of a requirements file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its file, relative to the tree.
    pub file: String,
    /// Number of its first physical line.
    pub number: usize,
    /// Without comment and with continuation lines joined.
    pub text: String,
    pub kind: LineKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineKind {
    /// `name`, `name[extra]==1.0`, `name @ https://…`. The name is normalized.
    Named { name: String, url: Option<String> },
    /// `git+https://…#egg=name`, `https://…/x.whl`; the name if the text tells it.
    Url {
        url: String,
        name: Option<String>,
        editable: bool,
    },
    /// `.`, `./lib`, `-e .`, `file:lib`: a directory or archive of the tree, relative to the tree.
    /// `None`: it is outside the tree. `extras` is everything after the path, including a marker.
    Local {
        path: Option<String>,
        extras: String,
        editable: bool,
    },
    /// `-r FILE`; the path is relative to the tree.
    Include(Option<String>),
    /// `-c FILE`.
    Constraint(Option<String>),
    /// `--index-url …`, `--find-links …`, `--pre` and so on.
    Option,
}

impl Line {
    /// Whether it names a list on the web, which the installer fetches. (Those of the source are read here.)
    pub fn names_a_list(&self) -> bool {
        self.kind == LineKind::Option && is_either(&self.text, "-r", "--requirement")
    }

    /// The same of constraints.
    pub fn names_constraints(&self) -> bool {
        self.kind == LineKind::Option && is_either(&self.text, "-c", "--constraint")
    }
}

fn is_either(text: &str, short: &str, long: &str) -> bool {
    text.starts_with(short) || text.starts_with(long)
}

/// Normalizes a distribution's name (PEP 503).
pub fn normalize(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '-' | '_' | '.' => {
                if !out.ends_with('-') {
                    out.push('-');
                }
            }
            other => out.push(other.to_ascii_lowercase()),
        }
    }
    out
}

/// The name at the beginning of a PEP 508 requirement, as written, and the rest of the text.
pub fn name_of(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
        .unwrap_or(text.len());
    let name = text[..end].trim_end_matches(['-', '_', '.']);
    if name.is_empty() || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let rest = text[name.len()..].trim_start();
    let plausible = rest.is_empty()
        || rest.starts_with(['[', '=', '<', '>', '!', '~', ';', '@', '(', ',', '-']);
    plausible.then_some((name, rest))
}

/// Whether a line names another file or a project, and no option besides.
fn is_reference(text: &str) -> bool {
    [
        "-r",
        "-c",
        "-e",
        "--requirement",
        "--constraint",
        "--editable",
    ]
    .iter()
    .any(|option| text.starts_with(option))
}

/// Reads a requirements file and all it includes, in order. Files that are missing are returned
/// beside the lines.
pub fn read(files: &dyn Files, file: &str) -> Requirements {
    let mut requirements = Requirements::default();
    requirements.add(files, file, 0);
    requirements
}

/// The lines of requirement files with what they include.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// `-r` lines are replaced by what they include; `-c` lines stay.
    pub lines: Vec<Line>,
    /// The lines of constraint files.
    pub constraints: Vec<Line>,
    /// Every file that was read or named, constraints too.
    pub files: BTreeSet<String>,
    /// Named but not there: (file and line that names it, path).
    pub missing: Vec<(String, String)>,
    /// Lines that cannot be installed.
    pub problems: Vec<Problem>,
    /// `${NAME}` without a value, and its position.
    pub unset: Vec<(String, String)>,
    /// The values of `${NAME}`.
    variables: BTreeMap<String, String>,
    /// The directory of the application, where paths begin.
    home: String,
}

impl Requirements {
    /// For an application in this directory of the source, with these values of `${NAME}`.
    pub fn new(variables: &BTreeMap<String, String>, home: &str) -> Requirements {
        Requirements {
            variables: variables.clone(),
            home: home.to_owned(),
            ..Requirements::default()
        }
    }

    /// Reads one more file.
    pub fn add(&mut self, files: &dyn Files, file: &str, depth: usize) {
        let Some(bytes) = files.read(file) else {
            if files.is_file(file) {
                let what = format!("it has more than {} bytes", files::MAX_FILE);
                self.problem(file, "", wrong(what, "a shorter list"));
            }
            return;
        };
        if depth > MAX_DEPTH {
            let what = "files include each other more than 16 deep";
            self.problem(file, "", wrong(what, "one list"));
            return;
        }
        self.files.insert(file.to_owned());
        for (number, text) in self.read_lines(file, &bytes) {
            let place = format!("{file}:{number}");
            let texts = if text.starts_with('-') && !is_reference(&text) {
                classify::options(&text)
            } else {
                vec![text]
            };
            for text in texts {
                self.add_line(files, file, number, &place, text, depth);
            }
        }
    }

    /// Adds lines from a file of another format.
    pub fn add_texts(&mut self, files: &dyn Files, file: &str, texts: &[String]) {
        self.files.insert(file.to_owned());
        for (index, text) in texts.iter().enumerate() {
            self.add_line(files, file, index + 1, file, text.trim().to_owned(), 0);
        }
    }

    fn add_line(
        &mut self,
        files: &dyn Files,
        file: &str,
        number: usize,
        place: &str,
        mut text: String,
        depth: usize,
    ) {
        let (kind, wrong) = self.classify(files, file, place, &mut text);
        if let Some(wrong) = wrong {
            self.problem(place, &text, wrong);
        }
        match &kind {
            LineKind::Include(Some(path)) => {
                if self.files.contains(path) {
                    return;
                }
                if files.is_file(path) {
                    self.add(files, path, depth + 1);
                } else {
                    self.missing.push((place.to_owned(), path.clone()));
                }
                return;
            }
            LineKind::Include(None) => {
                self.missing.push((place.to_owned(), text));
                return;
            }
            LineKind::Constraint(Some(path)) => self.add_constraint(files, path, place, depth),
            LineKind::Constraint(None) => self.missing.push((place.to_owned(), text.clone())),
            _ => {}
        }
        self.lines.push(Line {
            file: file.to_owned(),
            number,
            text,
            kind,
        });
    }

    fn read_lines(&mut self, file: &str, bytes: &[u8]) -> Vec<(usize, String)> {
        match decode(bytes) {
            Ok(text) => logical_lines(&text),
            Err((line, what)) => {
                let write = format!("the file in UTF-8: iconv -f ENCODING -t UTF-8 {file}");
                self.problem(&format!("{file}:{line}"), "", wrong(what, write));
                Vec::new()
            }
        }
    }

    /// What a line is. Its variables become their values where uv does not do that itself, as it does in
    /// addresses: these may have secrets in them.
    fn classify(
        &mut self,
        files: &dyn Files,
        file: &str,
        place: &str,
        text: &mut String,
    ) -> (LineKind, Option<Wrong>) {
        let (expanded, unset) = expand(text, &self.variables);
        let unset = unset.into_iter().map(|name| (place.to_owned(), name));
        self.unset.extend(unset);
        let place = LineContext {
            files,
            directory: files::parent(file),
            home: &self.home,
        };
        let (kind, wrong) = classify(&expanded, &place);
        let has_no_address = matches!(kind, LineKind::Named { url: None, .. } | LineKind::Option);
        if has_no_address && !expanded.contains("://") {
            *text = expanded;
        }
        (kind, wrong)
    }

    fn problem(&mut self, place: &str, text: &str, wrong: Wrong) {
        let mut shown: String = text.chars().take(MAX_SHOWN).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        self.problems.push(Problem {
            place: place.to_owned(),
            text: shown,
            wrong: wrong.what,
            write: wrong.write,
            uv_only: wrong.uv_only,
        });
    }

    /// Constraint files can name other files, but not requirements.
    fn add_constraint(&mut self, files: &dyn Files, path: &str, place: &str, depth: usize) {
        if self.files.contains(path) || depth > MAX_DEPTH {
            return;
        }
        let Some(bytes) = files.read(path) else {
            self.missing.push((place.to_owned(), path.to_owned()));
            return;
        };
        self.files.insert(path.to_owned());
        for (number, mut text) in self.read_lines(path, &bytes) {
            let place = format!("{path}:{number}");
            let (kind, wrong) = self.classify(files, path, &place, &mut text);
            if let LineKind::Include(Some(inner)) | LineKind::Constraint(Some(inner)) = &kind {
                self.add_constraint(files, inner, &place, depth + 1);
                continue;
            }
            // A constraint that names another platform's package binds nothing.
            if let Some(wrong) = wrong
                && !matches!(kind, LineKind::Named { .. })
            {
                self.problem(&place, &text, wrong);
            }
            self.constraints.push(Line {
                file: path.to_owned(),
                number,
                text,
                kind,
            });
        }
    }

    /// The normalized names of all packages that are named.
    pub fn names(&self) -> BTreeSet<String> {
        self.lines
            .iter()
            .filter_map(|line| match &line.kind {
                LineKind::Named { name, .. }
                | LineKind::Url {
                    name: Some(name), ..
                } => Some(name.clone()),
                LineKind::Local {
                    path: Some(path), ..
                } => name_of_wheel(path),
                _ => None,
            })
            .collect()
    }

    /// Local projects and archives.
    pub fn local(&self) -> impl Iterator<Item = &Line> {
        self.lines
            .iter()
            .filter(|line| matches!(line.kind, LineKind::Local { .. }))
    }

    /// Version control requirements without a commit: another build may give something else.
    pub fn moving(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| {
            let (LineKind::Url { url, .. } | LineKind::Named { url: Some(url), .. }) = &line.kind
            else {
                return false;
            };
            let Some((_, rest)) = url.split_once('+') else {
                return false;
            };
            let path = rest.split(['#', '?']).next().unwrap_or(rest);
            let reference = path
                .rsplit_once('/')
                .and_then(|(_, last)| last.split_once('@'))
                .map(|(_, reference)| reference);
            !reference
                .is_some_and(|text| text.len() >= 7 && text.bytes().all(|b| b.is_ascii_hexdigit()))
        })
    }
}

/// Whether a name, however it is spelt, is among normalized names.
pub(crate) fn has(names: &BTreeSet<String>, name: &str) -> bool {
    names.contains(&normalize(name))
}

#[cfg(test)]
mod tests {
    use super::super::files::Memory;
    use super::*;

    #[test]
    fn names_are_normalized() {
        for (name, expected) in [
            ("Django", "django"),
            ("zope.interface", "zope-interface"),
            ("a__b--c", "a-b-c"),
            ("mod_wsgi", "mod-wsgi"),
        ] {
            assert_eq!(normalize(name), expected);
        }
    }

    fn kind(text: &str) -> LineKind {
        let files = Memory::new()
            .with("setup.py", "")
            .with("lib/setup.py", "")
            .with("vendor/x-1.0-py3-none-any.whl", "");
        let place = LineContext {
            files: &files,
            directory: "",
            home: "",
        };
        let (kind, wrong) = classify(text, &place);
        assert_eq!(wrong, None, "{text}");
        kind
    }

    #[test]
    fn lines_are_classified() {
        let named = |name: &str| LineKind::Named {
            name: name.to_owned(),
            url: None,
        };
        for (text, expected) in [
            ("Flask", named("flask")),
            ("flask==3.0 ; python_version < '3.9'", named("flask")),
            ("uvicorn[standard]>=0.2", named("uvicorn")),
            ("ruamel.yaml (>1)", named("ruamel-yaml")),
            ("x==1 --hash=sha256:00 --hash=sha256:11", named("x")),
            (
                "pip @ https://example.com/pip.whl ; x",
                LineKind::Named {
                    name: "pip".into(),
                    url: Some("https://example.com/pip.whl".into()),
                },
            ),
            ("--index-url https://x", LineKind::Option),
            ("-i https://x", LineKind::Option),
            ("-r other.txt", LineKind::Include(Some("other.txt".into()))),
            ("-rother.txt", LineKind::Include(Some("other.txt".into()))),
            (
                "--requirement=a/b.txt",
                LineKind::Include(Some("a/b.txt".into())),
            ),
            ("-r ../out.txt", LineKind::Include(None)),
            ("-c c.txt", LineKind::Constraint(Some("c.txt".into()))),
            (
                "-e .[dev]",
                LineKind::Local {
                    path: Some(String::new()),
                    extras: "[dev]".into(),
                    editable: true,
                },
            ),
            (
                "./lib",
                LineKind::Local {
                    path: Some("lib".into()),
                    extras: String::new(),
                    editable: false,
                },
            ),
            (
                "vendor/x-1.0-py3-none-any.whl",
                LineKind::Local {
                    path: Some("vendor/x-1.0-py3-none-any.whl".into()),
                    extras: String::new(),
                    editable: false,
                },
            ),
            (
                "lib @ file:./lib",
                LineKind::Local {
                    path: Some("lib".into()),
                    extras: String::new(),
                    editable: false,
                },
            ),
            (
                "-e git+https://github.com/x/y.git@master#egg=Opal",
                LineKind::Url {
                    url: "git+https://github.com/x/y.git@master#egg=Opal".into(),
                    name: Some("opal".into()),
                    editable: true,
                },
            ),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn brackets_without_end_are_refused() {
        for (count, refused) in [(100, false), (101, true), (100_000, true)] {
            let text = format!(
                "six; {}python_version > '3'{}\n",
                "(".repeat(count),
                ")".repeat(count)
            );
            let files = Memory::new().with("requirements.txt", text);
            let problems = read(&files, "requirements.txt").problems;
            assert_eq!(!problems.is_empty(), refused, "{count}: {problems:?}");
        }
    }

    #[test]
    fn packages_are_at_an_address_or_in_the_source() {
        for (text, refused) in [
            ("--find-links /x", true),
            ("-f /x", true),
            ("--find-links=file:///x", true),
            ("--find-links ../x", true),
            ("--find-links ~/x", true),
            ("--find-links C:\\x", true),
            ("-i file:///x", true),
            ("--index-url file:///x", true),
            ("--index-url file://localhost/x", true),
            ("--extra-index-url /x", true),
            ("--find-links wheels", false),
            ("--find-links ./wheels", false),
            ("--find-links file:///opt/app-root/src/wheels", false),
            ("--find-links https://h/x", false),
            ("-i https://h/x", false),
            ("--trusted-host h", false),
        ] {
            let files = Memory::new().with("requirements.txt", format!("{text}\nflask\n"));
            let problems = read(&files, "requirements.txt").problems;
            assert_eq!(problems.len(), usize::from(refused), "{text}: {problems:?}");
        }
    }

    #[test]
    fn schemes_are_the_same_in_both_cases() {
        for line in [
            "x @ FILE:///opt/x",
            "x @ file:///opt/x",
            "File:///opt/x",
            "-e FILE:///opt/x",
            "-f FILE:///opt/x",
            "--index-url FiLe:///opt/x",
            "git+file:///opt/x",
            "git+FILE:///opt/x@main#egg=x",
            "x @ git+file:///opt/x",
            "x[a] @ GIT+file:///opt/x ; python_version > '3'",
            "-e git+file:///opt/app-root/src/x#egg=x",
            "git+../x",
            "git+/opt/x",
        ] {
            let files = Memory::new().with("requirements.txt", line);
            let problems = read(&files, "requirements.txt").problems;
            assert_eq!(problems.len(), 1, "{line}: {problems:?}");
        }
    }

    #[test]
    fn files_include_each_other() {
        let files = Memory::new()
            .with("requirements.txt", "-r requirements/base.txt\r\n-c constraints.txt\nflask \\\n  ==3.0 # web\n-r gone.txt\n")
            .with("requirements/base.txt", "# base\n-r ../requirements.txt\nDjango>=4 \\\n --hash=sha256:0\n-r more.txt\n")
            .with("requirements/more.txt", "x#egg=1\n")
            .with("constraints.txt", "-r pins.txt\n")
            .with("pins.txt", "y==1\n");
        let requirements = read(&files, "requirements.txt");
        assert_eq!(
            requirements.files.iter().collect::<Vec<_>>(),
            [
                "constraints.txt",
                "pins.txt",
                "requirements.txt",
                "requirements/base.txt",
                "requirements/more.txt"
            ]
        );
        assert_eq!(
            requirements.names().into_iter().collect::<Vec<_>>(),
            ["django", "flask"]
        );
        assert_eq!(
            requirements.missing,
            [("requirements.txt:5".to_owned(), "gone.txt".to_owned())]
        );
    }

    #[test]
    fn moving_references_are_found() {
        let files = Memory::new().with(
            "r.txt",
            "git+https://x/y.git\ngit+https://x/y@0123456789abcdef0123456789abcdef01234567\n-e git+ssh://git@x/y@master#egg=y\n",
        );
        let requirements = read(&files, "r.txt");
        let moving: Vec<_> = requirements.moving().map(|line| line.number).collect();
        assert_eq!(moving, [1, 3]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,400}") {
            let files = Memory::new().with("requirements.txt", text);
            read(&files, "requirements.txt");
        }
    }
}
