//! What a changed file means, by its name.

use std::ffi::OsStr;
use std::path::{Component, Path};

use crate::app::{dependencies, python};

/// What has changed; the order is that of the work that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Python's, which a server that watches for itself sees.
    Code,
    /// What is read once, at start: templates, configuration.
    Other,
    /// How the application is built or started.
    Settings,
    /// What is installed.
    Dependencies,
}

/// Directories in which nothing is the application's source.
const SKIPPED: [&str; 14] = [
    ".git",
    ".hg",
    ".venv",
    "venv",
    "__pycache__",
    "node_modules",
    ".tox",
    ".nox",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".idea",
    ".vscode",
    ".ipynb_checkpoints",
];

/// Files that say what is installed, besides `requirements*.txt`, `constraints*.txt`, `pylock.*.toml` and those
/// that the application's detection reads ([`dependencies`], [`python`]).
const DEPENDENCIES: [&str; 8] = [
    "setup.py",
    "pdm.lock",
    "poetry.toml",
    "package.json",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "yarn.lock",
];

/// Read at start, and not with each request. Assets (`.css`, `.js`, pictures) are served from the tree as
/// they are; what an application writes itself (`.json`, `.log`, databases) is not to start it again.
const READ_ONCE: [&str; 15] = [
    "html", "htm", "jinja", "jinja2", "j2", "mako", "toml", "yaml", "yml", "ini", "cfg", "conf",
    "env", "mo", "sh",
];

/// Whether nothing below this directory counts.
pub(super) fn is_skipped(name: &OsStr) -> bool {
    SKIPPED.iter().any(|skipped| name == *skipped)
        || name.as_encoded_bytes().ends_with(b".egg-info")
}

/// The name of a file that is the application's source.
fn counts(path: &Path) -> Option<&str> {
    let mut directories = path.parent()?.components();
    if directories.any(|part| matches!(part, Component::Normal(name) if is_skipped(name))) {
        return None;
    }
    let name = path.file_name()?.to_str()?;
    // Editors' own: swap files, backups, locks, files to be renamed.
    let of_an_editor =
        name.starts_with(".#") || name.ends_with(['~', '#']) || name.starts_with("4913");
    (!of_an_editor).then_some(name)
}

impl Change {
    /// Of a path relative to the source, for an application that is built by scripts of others: any file
    /// that changes.
    pub fn of_any(path: &Path) -> Option<Self> {
        let name = counts(path)?;
        let swap = Path::new(name)
            .extension()
            .is_some_and(|it| it.len() == 3 && it.as_encoded_bytes().starts_with(b"sw"));
        (!swap).then(|| Self::of(path).unwrap_or(Self::Other))
    }

    /// Of a path relative to the source; `None` where nothing is to be done.
    pub fn of(path: &Path) -> Option<Self> {
        let name = counts(path)?;
        if path.starts_with(".warpdrive") || path.starts_with(".s2i") {
            return Some(Self::Settings);
        }
        if path.parent() == Some(Path::new("")) && matches!(name, "Procfile" | "app.sh") {
            return Some(Self::Settings);
        }
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        let list = matches!(extension, "txt" | "in")
            && (name.starts_with("requirements")
                || name.starts_with("constraints")
                || path
                    .parent()
                    .is_some_and(|parent| parent.ends_with("requirements")));
        let lock = name.starts_with("pylock.") && extension == "toml";
        let of_python = dependencies::ROOT_FILES.contains(&name)
            || (python::MISE.iter().chain(&dependencies::DEBIAN_PACKAGES))
                .any(|file| path.ends_with(file));
        if list || lock || of_python || DEPENDENCIES.contains(&name) {
            return Some(Self::Dependencies);
        }
        match extension {
            "py" | "pyi" => Some(Self::Code),
            _ if READ_ONCE.contains(&extension) => Some(Self::Other),
            _ if name == ".env" => Some(Self::Other),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_to_be_done() {
        for (path, expected) in [
            ("app.py", Some(Change::Code)),
            ("shop/models.py", Some(Change::Code)),
            ("templates/index.html", Some(Change::Other)),
            (".env", Some(Change::Other)),
            ("requirements.txt", Some(Change::Dependencies)),
            ("requirements-dev.txt", Some(Change::Dependencies)),
            ("requirements/base.txt", Some(Change::Dependencies)),
            ("pylock.web.toml", Some(Change::Dependencies)),
            ("pyproject.toml", Some(Change::Dependencies)),
            ("backend/uv.lock", Some(Change::Dependencies)),
            ("Aptfile", Some(Change::Dependencies)),
            (".binder/apt.txt", Some(Change::Dependencies)),
            (".tool-versions", Some(Change::Dependencies)),
            (".config/mise.toml", Some(Change::Dependencies)),
            (".config/other.toml", Some(Change::Other)),
            ("yarn.lock", Some(Change::Dependencies)),
            (".warpdrive/server_type", Some(Change::Settings)),
            (".warpdrive/action_hooks/deploy", Some(Change::Settings)),
            ("Procfile", Some(Change::Settings)),
            ("static/site.css", None),
            ("notes.txt", None),
            ("db.sqlite3", None),
            ("state.json", None),
            (".venv/lib/x.py", None),
            ("a/__pycache__/b.py", None),
            (".git/hooks/x.py", None),
            ("app.py~", None),
            (".#app.py", None),
            ("", None),
        ] {
            assert_eq!(Change::of(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn for_scripts_of_others_any_file_counts() {
        for (path, expected) in [
            ("server.js", Some(Change::Other)),
            ("static/site.css", Some(Change::Other)),
            ("app.py", Some(Change::Code)),
            ("package.json", Some(Change::Dependencies)),
            ("node_modules/x.js", None),
            (".server.js.swp", None),
            ("server.js~", None),
        ] {
            assert_eq!(Change::of_any(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn the_greater_work_comes_last() {
        assert!(Change::Dependencies > Change::Settings);
        assert!(Change::Settings > Change::Other);
        assert!(Change::Other > Change::Code);
    }
}
