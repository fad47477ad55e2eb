//! What the application may not change in the source tree that it is given: what programs of the developer's
//! machine run by themselves, such as `git` for a prompt, or an editor that opens the directory.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::change::is_skipped;

/// A repository's configuration and hooks, at any depth. Git runs what they name, for `git status` too.
const REPOSITORIES: [&str; 2] = [".git", ".hg"];

/// At the top alone.
const AT_THE_TOP: [&str; 18] = [
    ".git",
    ".hg",
    ".jj",
    ".claude",
    ".cursor",
    ".devcontainer",
    ".envrc",
    ".githooks",
    ".husky",
    ".idea",
    ".mcp.json",
    ".mise.toml",
    ".pre-commit-config.yaml",
    ".venv",
    ".vscode",
    ".zed",
    "mise.toml",
    "venv",
];

/// Entries that are looked at, and how deep.
const MAX_ENTRIES: usize = 20_000;
const MAX_DEPTH: usize = 6;

/// The paths below the source that the application only reads, relative to it.
pub fn read_only(source: &Path) -> Vec<PathBuf> {
    let goes_on = |entry: &DirEntry| {
        let above = entry.path().parent().and_then(Path::file_name);
        let is_repository = |name: &OsStr| REPOSITORIES.iter().any(|known| name == *known);
        // A repository's own directory, and nothing in it.
        entry.depth() == 0
            || is_repository(entry.file_name())
            || !(above.is_some_and(is_repository) || is_skipped(entry.file_name()))
    };
    let tree = WalkDir::new(source).max_depth(MAX_DEPTH).into_iter();
    let repositories = tree
        .filter_entry(goes_on)
        .take(MAX_ENTRIES)
        .flatten()
        .filter(|entry| REPOSITORIES.iter().any(|name| entry.file_name() == *name))
        .map(DirEntry::into_path);
    let named = AT_THE_TOP.iter().map(|name| source.join(name));
    repositories
        .chain(named)
        // Where a link leads is outside, or is the application's own.
        .filter(|path| {
            path.symlink_metadata()
                .is_ok_and(|found| !found.is_symlink())
        })
        .filter_map(|path| path.strip_prefix(source).ok().map(Path::to_owned))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn repositories_and_what_editors_run_are_for_reading() {
        let source = tempfile::tempdir().unwrap();
        let path = |name: &str| source.path().join(name);
        for directory in [
            ".git/modules/x/.git",
            "app/vendor/.hg",
            "node_modules/x/.git",
            ".vscode",
            "app/.vscode",
        ] {
            fs::create_dir_all(path(directory)).unwrap();
        }
        fs::write(path("app/.git"), "gitdir: ../.git/modules/x").unwrap();
        fs::write(path("app/views.py"), "").unwrap();
        std::os::unix::fs::symlink("/etc", path(".idea")).unwrap();
        let mut found = read_only(source.path());
        found.sort();
        let expected = [".git", ".vscode", "app/.git", "app/vendor/.hg"];
        assert_eq!(found, expected.map(PathBuf::from));
    }
}
