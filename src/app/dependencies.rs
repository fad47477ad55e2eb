//! Which files decide what is installed. Phase one of a build sees these and no others, and is
//! keyed by their content.

use std::collections::BTreeSet;

use super::files::{EntryKind, Files};
use super::project::{Project, Source, hook};
use super::requirement::{LineKind, is_archive};

/// Always read: metadata and lock files at the root.
pub const ROOT_FILES: &[&str] = &[
    ".python-version",
    ".tool-versions",
    "Pipfile",
    "Pipfile.lock",
    "environment.yaml",
    "environment.yml",
    "poetry.lock",
    "pylock.toml",
    "pyproject.toml",
    "requirements.txt",
    "runtime.txt",
    "setup.cfg",
    "uv.lock",
    "uv.toml",
];

/// Files that name Debian packages, one to a line.
pub const DEBIAN_PACKAGES: [&str; 4] = ["Aptfile", "apt.txt", "binder/apt.txt", ".binder/apt.txt"];

/// These files below `.warpdrive` do not change phase one.
const NOT_IN_PHASE_ONE: &[&str] = &[
    ".warpdrive/action_hooks/alive",
    ".warpdrive/action_hooks/build",
    ".warpdrive/action_hooks/deploy",
    ".warpdrive/action_hooks/deploy-cfg",
    ".warpdrive/action_hooks/deploy-env",
    ".warpdrive/action_hooks/migrate",
    ".warpdrive/action_hooks/ready",
    ".warpdrive/action_hooks/setup",
    ".warpdrive/action_hooks/verify",
];

/// The files that phase one sees, sorted. Local projects are not among them.
pub fn files(files: &dyn Files, project: &Project) -> Vec<String> {
    let mut found: BTreeSet<String> = ROOT_FILES
        .iter()
        .filter(|path| files.is_file(path))
        .map(|path| (*path).to_owned())
        .collect();
    below(files, ".warpdrive", 0, &mut found);
    found.retain(|path| !NOT_IN_PHASE_ONE.contains(&path.as_str()));
    let named = project.requirements.files.iter();
    found.extend(named.filter(|path| files.is_file(path)).cloned());
    let home = project.home();
    if !home.is_empty() {
        let below = ROOT_FILES.iter().map(|name| format!("{home}/{name}"));
        found.extend(below.filter(|path| files.is_file(path)));
    }
    found.extend(archives(project).filter(|path| files.is_file(path)));
    for path in find_links(project) {
        below(files, &path, 0, &mut found);
    }
    if let Some(list) = project.settings.get("pre_build_reads") {
        for path in list.split_whitespace() {
            if files.is_file(path) {
                found.insert(path.to_owned());
            } else {
                below(files, path.trim_end_matches('/'), 0, &mut found);
            }
        }
    }
    found.into_iter().collect()
}

/// Wheels and archives of the tree that the requirements name.
fn archives(project: &Project) -> impl Iterator<Item = String> + '_ {
    let requirements = &project.requirements;
    let lines = requirements.lines.iter().chain(&requirements.constraints);
    lines.filter_map(|line| match &line.kind {
        LineKind::Local {
            path: Some(path), ..
        } if is_archive(path) => Some(path.clone()),
        _ => None,
    })
}

/// Directories of the tree that `--find-links` names.
fn find_links(project: &Project) -> Vec<String> {
    project
        .requirements
        .lines
        .iter()
        .filter_map(|line| {
            let value = line
                .text
                .strip_prefix("--find-links")
                .or_else(|| line.text.strip_prefix("-f"))?;
            let value = value.trim_start_matches('=').trim();
            let directory = super::files::parent(&line.file);
            let places = [directory, ""].map(|place| super::files::join(place, value));
            (!value.contains("://")).then_some(places)
        })
        .flatten()
        .flatten()
        .collect()
}

fn below(files: &dyn Files, directory: &str, depth: usize, found: &mut BTreeSet<String>) {
    if depth > 8 {
        return;
    }
    for entry in files.list(directory) {
        let path = format!("{directory}/{}", entry.name);
        match entry.kind {
            EntryKind::Directory => below(files, &path, depth + 1, found),
            EntryKind::File { .. } => {
                found.insert(path);
            }
            EntryKind::Other => {}
        }
    }
}

/// Why phase one needs the complete source, if it does.
pub fn needs_all_source(project: &Project, files: &dyn Files) -> Option<String> {
    let mut hooks = ["pre-build", "install"].into_iter();
    if let Some(name) = hooks.find(|name| hook(files, name) == Some(true))
        && project.settings.said("pre_build_reads").is_none()
    {
        return Some(format!("the hook {name} may read any file"));
    }
    if let Source::Dynamic { file } = &project.source {
        return Some(format!("{file} computes the dependencies"));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::files::Memory;
    use super::*;

    fn load(tree: &Memory) -> Project {
        Project::load(tree, &BTreeMap::new(), &BTreeMap::new()).unwrap()
    }

    #[test]
    fn only_what_decides() {
        let tree = Memory::new()
            .with(
                "requirements.txt",
                "-r requirements/prod.txt\n-c pins.txt\n-e ./lib\n--find-links wheels\n",
            )
            .with("requirements/prod.txt", "flask")
            .with("requirements/dev.txt", "pytest")
            .with("pins.txt", "")
            .with("wheels/x-1-py3-none-any.whl", "")
            .with("lib/setup.py", "")
            .with("app.py", "")
            .with(".warpdrive/server_type", "gunicorn")
            .with_program(".warpdrive/action_hooks/build-env", "")
            .with_program(".warpdrive/action_hooks/deploy", "");
        assert_eq!(
            files(&tree, &load(&tree)),
            [
                ".warpdrive/action_hooks/build-env",
                ".warpdrive/server_type",
                "pins.txt",
                "requirements.txt",
                "requirements/prod.txt",
                "wheels/x-1-py3-none-any.whl",
            ]
        );
    }

    #[test]
    fn a_hook_and_dynamic_metadata_need_everything() {
        let tree = Memory::new().with_program(".warpdrive/action_hooks/pre-build", "");
        assert!(needs_all_source(&load(&tree), &tree).is_some());
        let old_name = Memory::new().with_program(".warpdrive/action_hooks/install", "");
        assert!(needs_all_source(&load(&old_name), &old_name).is_some());
        let tree = tree
            .with(".warpdrive/pre_build_reads", "versions.json")
            .with("versions.json", "");
        assert_eq!(needs_all_source(&load(&tree), &tree), None);
        assert!(files(&tree, &load(&tree)).contains(&"versions.json".to_owned()));
        let tree = Memory::new().with("setup.py", "");
        assert!(needs_all_source(&load(&tree), &tree).is_some());
        let tree = Memory::new().with("requirements.txt", "flask");
        assert_eq!(needs_all_source(&load(&tree), &tree), None);
    }
}
