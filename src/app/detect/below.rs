//! Applications in directories below, where the root has none.

use super::super::files::{EntryKind, Files};
use super::super::project::Project;
use super::choose::Finder;
use super::entry::{NOT_PACKAGES, under};

/// How deep directories are searched, and how many.
const MAX_DEPTH: usize = 3;
const MAX_DIRECTORIES: usize = 200;

/// The directories that are clearly an application. None of them is inside another.
pub(super) fn homes(files: &dyn Files, project: &Project) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = MAX_DIRECTORIES;
    descend(files, project, "", 1, &mut left, &mut found);
    found
}

fn descend(
    files: &dyn Files,
    project: &Project,
    directory: &str,
    depth: usize,
    left: &mut usize,
    found: &mut Vec<String>,
) {
    for entry in files.list(directory) {
        if entry.kind != EntryKind::Directory
            || entry.name.starts_with(['.', '_'])
            || NOT_PACKAGES.contains(&entry.name.as_str())
            || *left == 0
        {
            continue;
        }
        *left -= 1;
        let path = under(directory, &entry.name);
        let finder = Finder {
            files,
            project,
            home: &path,
        };
        if finder.is_application() {
            found.push(path);
        } else if depth < MAX_DEPTH {
            descend(files, project, &path, depth + 1, left, found);
        }
    }
}
