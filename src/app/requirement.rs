//! Requirement files: pip's format, as far as warpdrive has to understand it.
//!
//! pip and uv read the files themselves; this module finds which files belong together (`-r`,
//! `-c`), which packages are named, which lines are local projects (phase two installs them), and
//! writes a flat file when lines have to be left out. Names follow PEP 503/508; what a line means
//! beyond its name (markers, extras, hashes) stays text.

use std::collections::BTreeSet;

use super::files::{self, Files};

/// Files that include each other deeper than this are not followed.
const MAX_DEPTH: usize = 16;

/// One logical line of a requirements file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The file it stands in, relative to the tree.
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
    /// `None`: it lies outside the tree.
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

/// Splits text into logical lines: continuations joined, comments removed, empty ones dropped.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = Vec::new();
    let mut pending: Option<(usize, String)> = None;
    for (index, raw) in text.lines().enumerate() {
        let (first, mut joined) = pending.take().unwrap_or((index + 1, String::new()));
        // A comment begins at the start of a line or after white space (pip's COMMENT_RE).
        let comment = raw
            .char_indices()
            .find(|(at, c)| {
                *c == '#' && (*at == 0 || raw[..*at].ends_with(|b: char| b.is_whitespace()))
            })
            .map(|(at, _)| at);
        let body = comment.map_or(raw, |at| &raw[..at]);
        if comment.is_none() && body.ends_with('\\') {
            joined.push_str(body[..body.len() - 1].trim_end());
            joined.push(' ');
            pending = Some((first, joined));
            continue;
        }
        joined.push_str(body);
        if !joined.trim().is_empty() {
            lines.push((first, joined.trim().to_owned()));
        }
    }
    if let Some((first, joined)) = pending
        && !joined.trim().is_empty()
    {
        lines.push((first, joined.trim().to_owned()));
    }
    lines
}

/// The value of an option written as `-r FILE`, `-rFILE`, `--requirement FILE` or
/// `--requirement=FILE`.
fn option_value<'a>(text: &'a str, short: &str, long: &str) -> Option<&'a str> {
    if let Some(rest) = text.strip_prefix(long) {
        if let Some(value) = rest.strip_prefix('=') {
            return Some(value.trim());
        }
        if rest.starts_with(char::is_whitespace) {
            return Some(rest.trim());
        }
    }
    if !text.starts_with("--")
        && let Some(rest) = text.strip_prefix(short)
        && !rest.is_empty()
    {
        return Some(rest.trim_start_matches('=').trim());
    }
    None
}

fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

/// What a requirement with this text is. `directory` is that of the file it stands in.
fn classify(text: &str, directory: &str) -> LineKind {
    let resolve = |value: &str| files::join(directory, value.trim_matches(['"', '\'']));
    if let Some(value) = option_value(text, "-r", "--requirement") {
        return LineKind::Include(resolve(value));
    }
    if let Some(value) = option_value(text, "-c", "--constraint") {
        return LineKind::Constraint(resolve(value));
    }
    if let Some(value) = option_value(text, "-e", "--editable") {
        return target(value, directory, true);
    }
    if text.starts_with('-') {
        return LineKind::Option;
    }
    target(text, directory, false)
}

fn target(text: &str, directory: &str, editable: bool) -> LineKind {
    // Per-requirement options and markers do not belong to the target.
    let end = text
        .find(" --")
        .or_else(|| text.find(" ;"))
        .unwrap_or(text.len());
    let bare = text[..end].trim().trim_matches(['"', '\'']);
    if let Some((name, rest)) = name_of(text)
        && !editable
    {
        let after_extras = match rest.strip_prefix('[') {
            Some(inner) => inner
                .split_once(']')
                .map_or("", |(_, rest)| rest)
                .trim_start(),
            None => rest,
        };
        if let Some(url) = after_extras.strip_prefix('@') {
            let url = url.split(';').next().unwrap_or(url).trim();
            if let Some(path) = url.strip_prefix("file:") {
                return local(path, directory, editable);
            }
            return LineKind::Named {
                name: normalize(name),
                url: Some(url.to_owned()),
            };
        }
        let looks_like_archive = [".whl", ".tar.gz", ".zip"]
            .iter()
            .any(|s| bare.ends_with(s));
        if !looks_like_archive {
            return LineKind::Named {
                name: normalize(name),
                url: None,
            };
        }
    }
    if let Some(path) = bare.strip_prefix("file:") {
        return local(path, directory, editable);
    }
    if is_url(bare) || bare.starts_with("git+") {
        let name = bare
            .split_once('#')
            .and_then(|(_, fragment)| {
                fragment
                    .split('&')
                    .find_map(|part| part.strip_prefix("egg="))
            })
            .and_then(name_of)
            .map(|(name, _)| normalize(name))
            .or_else(|| {
                let file = bare.split(['#', '?']).next()?.rsplit('/').next()?;
                let stem = file.strip_suffix(".whl")?;
                stem.split('-').next().map(normalize)
            });
        return LineKind::Url {
            url: bare.to_owned(),
            name,
            editable,
        };
    }
    local(bare, directory, editable)
}

fn local(path: &str, directory: &str, editable: bool) -> LineKind {
    let path = path.strip_prefix("//").unwrap_or(path);
    let (path, extras) = match path.find('[') {
        Some(at) => (&path[..at], path[at..].to_owned()),
        None => (path, String::new()),
    };
    // pip takes a local path relative to the working directory, which is the tree's root; uv takes
    // it relative to the file. They agree where it matters: files in the root.
    let _ = directory;
    LineKind::Local {
        path: files::join("", path),
        extras,
        editable,
    }
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
    /// Every file that was read or named, constraints too.
    pub files: BTreeSet<String>,
    /// Named but not there: (file and line that names it, path).
    pub missing: Vec<(String, String)>,
}

impl Requirements {
    /// Reads one more file.
    pub fn add(&mut self, files: &dyn Files, file: &str, depth: usize) {
        let Some(text) = files.text(file) else {
            return;
        };
        if depth > MAX_DEPTH {
            return;
        }
        self.files.insert(file.to_owned());
        for (number, text) in logical_lines(&text) {
            let kind = classify(&text, files::parent(file));
            let place = format!("{file}:{number}");
            match &kind {
                LineKind::Include(Some(path)) => {
                    if self.files.contains(path) {
                        continue;
                    }
                    if files.is_file(path) {
                        self.add(files, path, depth + 1);
                    } else {
                        self.missing.push((place, path.clone()));
                    }
                    continue;
                }
                LineKind::Include(None) => {
                    self.missing.push((place, text));
                    continue;
                }
                LineKind::Constraint(Some(path)) => self.add_constraint(files, path, &place, depth),
                LineKind::Constraint(None) if !text.contains("://") => {
                    self.missing.push((place, text.clone()));
                }
                // A file or directory of this machine, say.
                LineKind::Local { path: None, .. } => self.missing.push((place, text.clone())),
                _ => {}
            }
            self.lines.push(Line {
                file: file.to_owned(),
                number,
                text,
                kind,
            });
        }
    }

    /// Constraint files name files themselves, but no requirements.
    fn add_constraint(&mut self, files: &dyn Files, path: &str, place: &str, depth: usize) {
        if self.files.contains(path) || depth > MAX_DEPTH {
            return;
        }
        let Some(text) = files.text(path) else {
            self.missing.push((place.to_owned(), path.to_owned()));
            return;
        };
        self.files.insert(path.to_owned());
        for (number, text) in logical_lines(&text) {
            if let LineKind::Include(Some(inner)) | LineKind::Constraint(Some(inner)) =
                classify(&text, files::parent(path))
            {
                self.add_constraint(files, &inner, &format!("{path}:{number}"), depth + 1);
            }
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
        classify(text, "")
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
            let files = Memory::new().with("requirements.txt", &text);
            read(&files, "requirements.txt");
        }
    }
}
