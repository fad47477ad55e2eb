//! A second place that names packages, beside the one that counts.

use super::super::files::{Files, join, parent};
use super::super::project::{Project, Source};
use super::super::requirement::{name_of, normalize};

/// A warning, if another file names packages that the application does not ask for where it counts.
pub fn unheard(files: &dyn Files, project: &Project) -> Option<String> {
    // The settings name the lists: the others are left out on purpose.
    if project.settings.get("requirements").is_some() {
        return None;
    }
    let (counts, other) = match &project.source {
        Source::Requirements(lists) => match lists.as_slice() {
            [list] if list.ends_with("requirements.txt") => (list, "pyproject.toml"),
            _ => return None,
        },
        Source::Dynamic { file } | Source::Static { file, .. } => (file, "Pipfile"),
        _ => return None,
    };
    let directory = parent(counts);
    let installs_itself = |one: &super::super::listed::LocalProject| one.path == directory;
    let is_list = other == "pyproject.toml";
    if is_list && project.local_projects().iter().any(installs_itself) {
        return None;
    }
    let other = join(directory, other)?;
    let document: toml::Table = toml::from_str(&files.text(&other)?).ok()?;
    let mut names: Vec<String> = if is_list {
        let list = document.get("project")?.get("dependencies")?.as_array()?;
        let texts = list.iter().filter_map(toml::Value::as_str);
        texts
            .filter_map(name_of)
            .map(|(name, _)| normalize(name))
            .collect()
    } else {
        let table = document.get("packages")?.as_table()?;
        table.keys().map(|name| normalize(name)).collect()
    };
    let asked = project.names();
    names.retain(|name| !asked.contains(name));
    names.sort();
    let first = names.first()?;
    let more = match names.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    Some(format!(
        "{counts} is used and {other} is not, although it also names {}{more}",
        first.escape_default()
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::super::files::Memory;
    use super::*;

    #[test]
    fn a_second_list() {
        let project = "[project]\nname = 'a'\ndependencies = ['Six==1', 'idna>=3', 'attrs']\n";
        let said = |files: Memory| {
            let project = Project::load(&files, &BTreeMap::new(), &BTreeMap::new()).unwrap();
            unheard(&files, &project)
        };
        let shorter = Memory::new()
            .with("pyproject.toml", project)
            .with("requirements.txt", "six==1\n");
        assert!(said(shorter.clone()).unwrap().contains("attrs and 1 more"));
        assert_eq!(
            said(shorter.clone().with("requirements.txt", "six\n-e .\n")),
            None
        );
        let whole = shorter.with("requirements.txt", "six\nidna\nattrs\nmore\n");
        assert_eq!(said(whole), None);
        let two = Memory::new()
            .with("setup.py", "from setuptools import setup\nsetup()\n")
            .with("Pipfile", "[packages]\nidna = '*'\n");
        assert!(said(two).unwrap().contains("Pipfile"));
    }
}
