//! Which paths stay out of an image, and why.
//!
//! These lists apply in order; a later one wins:
//!
//! 1. the **defaults** below (version control, virtual environments, caches, `.env`, databases …);
//! 2. **`.gitignore`**, at the root and in every directory, as git reads them (`gitignore(5)`), but
//!    without the user's own or a parent directory's ignore files: two clones give one image;
//! 3. **what git tracks**, which counts as wanted (except `.git` itself);
//! 4. **`.dockerignore`** at the root, as Docker reads it: every pattern is anchored at the root,
//!    and `!` may re-include a path below an excluded directory;
//! 5. **`.s2iignore`** at the root, with gitignore's patterns, and `!` as in 4.
//!
//! `!pattern` re-includes what an earlier list left out. A re-included directory comes with everything
//! below it, except what the defaults or the same or later lists leave out. Wildcards do not re-include
//! what the defaults leave out: to have `.venv/x` in an image, `.venv` must be spelled out.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder, Glob};

use super::SourceError;

/// The default exclusions in gitignore's syntax, with the reason for the list of left-out paths.
const DEFAULTS: &[(&str, &[&str])] = &[
    (
        "version control",
        &[".git", ".hg/", ".svn/", ".bzr/", ".jj/"],
    ),
    (
        "a virtual environment",
        &[".venv", "venv/", "__pypackages__/", ".pixi/", ".direnv/"],
    ),
    (
        "a cache",
        &[
            "__pycache__/",
            ".cache/",
            ".mypy_cache/",
            ".pytest_cache/",
            ".ruff_cache/",
            ".tox/",
            ".nox/",
            ".hypothesis/",
            ".pytype/",
            ".pyre/",
            ".eggs/",
            ".coverage",
            ".coverage.*",
            "!.coveragerc",
            "htmlcov/",
            ".ipynb_checkpoints/",
            ".sass-cache/",
            ".parcel-cache/",
            ".eslintcache",
            ".npm/",
        ],
    ),
    ("packages of node", &["node_modules/"]),
    (
        "private settings",
        &[".env", ".env.local", ".env.*.local", ".envrc"],
    ),
    (
        "a database",
        &[
            "*.sqlite3",
            "*.sqlite3-journal",
            "*.sqlite3-wal",
            "*.sqlite3-shm",
        ],
    ),
    (
        "an editor's or desktop's file",
        &[
            ".idea/",
            ".vscode/",
            ".project",
            ".pydevproject",
            ".settings/",
            ".spyderproject",
            ".spyproject/",
            ".ropeproject/",
            "*.swp",
            "*.swo",
            "*~",
            ".#*",
            "\\#*\\#",
            ".DS_Store",
            "Thumbs.db",
            "desktop.ini",
        ],
    ),
];

/// A directory with this file is a virtual environment, with any name (PEP 405).
pub(super) const VENV_MARK: &str = "pyvenv.cfg";
pub(super) const VENV_REASON: &str = "a virtual environment";

/// The lists, by their rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Default,
    Git,
    Tracked,
    Docker,
    S2i,
    Extra,
}

/// How the patterns of a list are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Git,
    Docker,
}

/// The verdict about a path, and the list that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) included: bool,
    pub(super) level: Level,
    /// Why it is left out: `.gitignore`, "a cache".
    pub(super) reason: String,
}

impl Verdict {
    /// The source itself.
    pub(super) fn root() -> Self {
        Self {
            included: true,
            level: Level::Default,
            reason: String::new(),
        }
    }
}

/// The patterns of one file.
#[derive(Debug)]
struct List {
    level: Level,
    reason: String,
    /// Relative to the source; patterns are relative to it.
    base: PathBuf,
    patterns: Gitignore,
    /// Literal text of `!` patterns, for deciding where to look below excluded directories.
    negations: Vec<String>,
}

/// All lists but the nested `.gitignore`s, which the walk adds as it goes down.
#[derive(Debug)]
pub(super) struct Rules {
    defaults: Vec<List>,
    /// `.dockerignore`, `.s2iignore`, options of the command line.
    root_lists: Vec<List>,
}

/// The `.gitignore` files from the root down to a directory.
#[derive(Debug, Clone, Default)]
pub(super) struct GitLists(Vec<std::sync::Arc<List>>);

/// An ignore file at the root.
pub(super) struct RootFile<'a> {
    pub(super) name: &'a str,
    pub(super) text: Vec<u8>,
}

impl Rules {
    pub(super) fn new(
        dockerignore: Option<RootFile<'_>>,
        s2iignore: Option<RootFile<'_>>,
        extra: &[String],
    ) -> Result<Self, SourceError> {
        let mut defaults = Vec::new();
        for (reason, patterns) in DEFAULTS {
            let text = patterns.join("\n");
            defaults.push(List::parse(
                Level::Default,
                Dialect::Git,
                reason,
                Path::new(""),
                text.as_bytes(),
            )?);
        }
        let mut root_lists = Vec::new();
        for (file, level, dialect) in [
            (dockerignore, Level::Docker, Dialect::Docker),
            (s2iignore, Level::S2i, Dialect::Git),
        ] {
            if let Some(file) = file {
                let base = Path::new("");
                root_lists.push(List::parse(level, dialect, file.name, base, &file.text)?);
            }
        }
        if !extra.is_empty() {
            let text = extra.join("\n");
            let base = Path::new("");
            root_lists.push(List::parse(
                Level::Extra,
                Dialect::Git,
                "an option",
                base,
                text.as_bytes(),
            )?);
        }
        Ok(Self {
            defaults,
            root_lists,
        })
    }

    /// The verdict about `path`, whose parent directory has the verdict `parent`.
    pub(super) fn judge(
        &self,
        path: &Path,
        is_dir: bool,
        parent: &Verdict,
        git: &GitLists,
        tracked: bool,
    ) -> Verdict {
        let is_git_itself = path.file_name() == Some(OsStr::new(".git"));
        let by_default = self
            .defaults
            .iter()
            .find_map(|list| list.verdict(path, is_dir));
        let itself = by_default.as_ref().is_some_and(|verdict| !verdict.included);
        let below = !parent.included && parent.level == Level::Default;
        // Default exclusions must be re-included by name.
        let asks = |glob: &Glob| (!itself || names_it(glob)) && (!below || names_something(glob));
        for list in self.root_lists.iter().rev() {
            if let Some((verdict, glob)) = list.verdict_and_glob(path, is_dir) {
                let applies = if verdict.included {
                    may_include(list.level, parent) && asks(glob)
                } else {
                    may_exclude(&verdict, parent)
                };
                if applies {
                    return verdict;
                }
            }
        }
        // A directory with tracked files below is walked, and its other files stay out.
        if tracked && !is_dir && !is_git_itself && may_include(Level::Tracked, parent) {
            return Verdict {
                included: true,
                level: Level::Tracked,
                reason: String::new(),
            };
        }
        for list in git.0.iter().rev() {
            if let Some((verdict, glob)) = list.verdict_and_glob(path, is_dir) {
                let applies = if verdict.included {
                    // As in git: nothing below an excluded directory comes back by .gitignore.
                    parent.included && asks(glob)
                } else {
                    may_exclude(&verdict, parent)
                };
                if applies {
                    return verdict;
                }
                break;
            }
        }
        match by_default {
            Some(verdict) if !verdict.included => verdict,
            _ => parent.clone(),
        }
    }

    /// Whether a `!` pattern may re-include something below the excluded directory.
    pub(super) fn may_reinclude_below(&self, path: &Path, verdict: &Verdict) -> bool {
        self.root_lists
            .iter()
            .filter(|list| list.level >= verdict.level)
            .flat_map(|list| &list.negations)
            .any(|pattern| reaches_below(pattern, path, verdict.level == Level::Default))
    }
}

/// Whether an exclusion applies below a directory: if a later list re-included the directory,
/// only the defaults and that list itself can exclude entries in it.
fn may_exclude(verdict: &Verdict, parent: &Verdict) -> bool {
    !parent.included || verdict.level == Level::Default || verdict.level >= parent.level
}

/// Whether a list may re-include below an excluded directory.
fn may_include(level: Level, parent: &Verdict) -> bool {
    parent.included || level >= parent.level
}

impl GitLists {
    /// With the `.gitignore` of the directory `base` on top.
    pub(super) fn with(&self, base: &Path, text: &[u8]) -> Result<Self, SourceError> {
        let reason = base.join(".gitignore").display().to_string();
        let list = List::parse(Level::Git, Dialect::Git, &reason, base, text)?;
        let mut lists = self.clone();
        lists.0.push(std::sync::Arc::new(list));
        Ok(lists)
    }
}

impl List {
    fn parse(
        level: Level,
        dialect: Dialect,
        reason: &str,
        base: &Path,
        text: &[u8],
    ) -> Result<Self, SourceError> {
        let mut builder = GitignoreBuilder::new("");
        let text = String::from_utf8_lossy(text);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut negations = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let Some(pattern) = (match dialect {
                Dialect::Git => Some(line.trim_end_matches('\r').to_owned()),
                Dialect::Docker => from_docker(line),
            }) else {
                continue;
            };
            if let Some(negated) = pattern.strip_prefix('!') {
                negations.push(negated.trim_end().to_owned());
            }
            match builder.add_line(None, &pattern) {
                Ok(_) => {}
                // git ignores an invalid pattern; in a list for images it is an error.
                Err(_) if level <= Level::Git => {}
                Err(error) => {
                    return Err(SourceError::Pattern {
                        path: PathBuf::from(reason),
                        line: index + 1,
                        problem: error.to_string(),
                    });
                }
            }
        }
        let patterns = builder.build().map_err(|error| SourceError::Pattern {
            path: PathBuf::from(reason),
            line: 0,
            problem: error.to_string(),
        })?;
        Ok(Self {
            level,
            reason: reason.to_owned(),
            base: base.to_owned(),
            patterns,
            negations,
        })
    }

    fn verdict(&self, path: &Path, is_dir: bool) -> Option<Verdict> {
        self.verdict_and_glob(path, is_dir)
            .map(|(verdict, _)| verdict)
    }

    /// The verdict of the last pattern that matches exactly this path.
    fn verdict_and_glob(&self, path: &Path, is_dir: bool) -> Option<(Verdict, &Glob)> {
        let path = path.strip_prefix(&self.base).ok()?;
        let (included, glob) = match self.patterns.matched(path, is_dir) {
            Match::None => return None,
            Match::Ignore(glob) => (false, glob),
            Match::Whitelist(glob) => (true, glob),
        };
        let verdict = Verdict {
            included,
            level: self.level,
            reason: self.reason.clone(),
        };
        Some((verdict, glob))
    }
}

/// A line of a `.dockerignore` as a gitignore pattern, or `None` for a comment or an empty line.
///
/// Docker trims the line, cleans the path (`./a//b/` is `a/b`) and matches it from the root.
fn from_docker(line: &str) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let line = line.trim();
    let (negation, pattern) = match line.strip_prefix('!') {
        Some(pattern) => ("!", pattern.trim()),
        None => ("", line),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| format!("{negation}/{}", parts.join("/")))
}

const WILD: [char; 4] = ['*', '?', '[', '\\'];

/// Whether the last component of a `!` pattern has letters: `!*.sqlite3` does, `!app/**` does not.
fn names_it(glob: &Glob) -> bool {
    let pattern = glob
        .original()
        .trim_start_matches('!')
        .trim_end_matches('/');
    let last = pattern.rsplit('/').next().unwrap_or(pattern);
    last.chars().any(|c| !WILD.contains(&c))
}

/// Whether any component of a `!` pattern has letters.
fn names_something(glob: &Glob) -> bool {
    let wild = |c: char| WILD.contains(&c) || c == '/';
    !glob.original().trim_start_matches('!').chars().all(wild)
}

/// Whether a `!` pattern may match something below `directory`. With `spelled_out`, the directory's
/// own name must be in it without wildcards.
fn reaches_below(pattern: &str, directory: &Path, spelled_out: bool) -> bool {
    let anchored = pattern.trim_end_matches('/').contains('/');
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let name = directory
        .file_name()
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    if spelled_out {
        return parts.contains(&name);
    }
    if !anchored {
        return true; // `!name` matches at every depth
    }
    for (part, component) in parts.iter().zip(directory.components()) {
        if *part == "**" {
            return true;
        }
        let component = component.as_os_str().to_string_lossy();
        if !part.contains(WILD) && *part != component {
            return false;
        }
    }
    parts.len() > directory.components().count()
}

#[cfg(test)]
mod tests;
