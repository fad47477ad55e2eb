//! `requirements/*.txt`, `requirements-prod.txt` and `requirements.in`, else what a program says itself.

use super::super::files::{EntryKind, Files, join};
use super::{Declared, script};

/// The purposes of lists, production first.
const WANTED: &[&str] = &[
    "production",
    "prod",
    "deploy",
    "deployment",
    "live",
    "heroku",
    "docker",
    "runtime",
    "requirements",
    "main",
    "base",
    "common",
    "core",
    "default",
    "app",
];
/// Lists for developers.
const NOT_WANTED: &[&str] = &[
    "dev",
    "devel",
    "develop",
    "development",
    "test",
    "tests",
    "testing",
    "ci",
    "lint",
    "docs",
    "doc",
    "local",
    "debug",
    "build",
    "typing",
    "qa",
    "staging",
    "constraints",
];

pub(super) fn read(files: &dyn Files, home: &str) -> Option<Declared> {
    let mut places = vec![home];
    if !home.is_empty() {
        places.push("");
    }
    places
        .into_iter()
        .find_map(|place| in_directory(files, place))
        .or_else(|| of_binder(files))
}

/// The directory in which repo2docker reads its files.
fn of_binder(files: &dyn Files) -> Option<Declared> {
    ["binder", ".binder"].into_iter().find_map(|directory| {
        let path = |name: &str| format!("{directory}/{name}");
        let list = path("requirements.txt");
        if files.is_file(&list) {
            return Some(Declared {
                files: vec![list],
                ..Declared::default()
            });
        }
        let other = [
            "environment.yml",
            "environment.yaml",
            "Pipfile",
            "Pipfile.lock",
            "pyproject.toml",
            "setup.py",
        ]
        .into_iter()
        .map(path)
        .find(|path| files.is_file(path))?;
        let mut declared = Declared::of(&other);
        declared.doubt(
            "",
            "it is not read there",
            format!("it to the top of the source, or its list into {list}"),
        );
        Some(declared)
    })
}

fn in_directory(files: &dyn Files, place: &str) -> Option<Declared> {
    let mut lists: Vec<(String, String)> = Vec::new();
    let is_file = |kind| matches!(kind, EntryKind::File { .. });
    for name in ["requirements", "reqs"] {
        let directory = join(place, name)?;
        for entry in files.list(&directory) {
            if let Some(purpose) = entry.name.strip_suffix(".txt")
                && is_file(entry.kind)
            {
                lists.push((
                    purpose.to_lowercase(),
                    format!("{directory}/{}", entry.name),
                ));
            }
        }
    }
    if lists.is_empty() {
        for entry in files.list(place) {
            let purpose = entry
                .name
                .strip_prefix("requirements")
                .and_then(|rest| rest.strip_suffix(".txt"))
                .and_then(|rest| rest.strip_prefix(['-', '_', '.']));
            if let Some(purpose) = purpose
                && is_file(entry.kind)
            {
                lists.push((purpose.to_lowercase(), join(place, &entry.name)?));
            }
        }
    }
    if lists.is_empty() {
        let file = join(place, "requirements.in")?;
        if files.is_file(&file) {
            return Some(Declared {
                files: vec![file],
                ..Declared::default()
            });
        }
        return script::read(files, place);
    }
    let chosen = WANTED
        .iter()
        .find_map(|wanted| lists.iter().find(|(purpose, _)| purpose == wanted))
        .or_else(|| {
            let mut others = lists
                .iter()
                .filter(|(purpose, _)| !NOT_WANTED.contains(&purpose.as_str()));
            let only = others.next()?;
            others.next().is_none().then_some(only)
        });
    if let Some((_, file)) = chosen {
        return Some(Declared {
            files: vec![file.clone()],
            ..Declared::default()
        });
    }
    let names: Vec<&str> = lists.iter().map(|(_, file)| file.as_str()).collect();
    let mut declared = Declared::of(names.first().copied().unwrap_or_default());
    declared.doubt(
        "",
        format!(
            "which of {} the application needs is not clear",
            names.join(", ")
        ),
        "the one in pyproject.toml:\n  [tool.warpdrive]\n  requirements = [\"FILE\"]",
    );
    Some(declared)
}

#[cfg(test)]
mod tests {
    use super::super::super::files::Memory;
    use super::*;

    #[test]
    fn production_before_base() {
        for (names, chosen) in [
            (
                &[
                    "requirements/base.txt",
                    "requirements/production.txt",
                    "requirements/dev.txt",
                ][..],
                Some("requirements/production.txt"),
            ),
            (
                &["requirements/base.txt", "requirements/dev.txt"],
                Some("requirements/base.txt"),
            ),
            (
                &["requirements/web.txt", "requirements/test.txt"],
                Some("requirements/web.txt"),
            ),
            (
                &["requirements-prod.txt", "requirements-dev.txt"],
                Some("requirements-prod.txt"),
            ),
            (&["requirements.in"], Some("requirements.in")),
            (
                &["binder/requirements.txt"],
                Some("binder/requirements.txt"),
            ),
            (&["binder/environment.yml"], None),
            (&["requirements/web.txt", "requirements/worker.txt"], None),
            (&["requirements/dev.txt"], None),
        ] {
            let files = names
                .iter()
                .fold(Memory::new(), |files, name| files.with(name, ""));
            let declared = read(&files, "").unwrap();
            assert_eq!(
                declared.files.first().map(String::as_str),
                chosen,
                "{names:?}"
            );
            assert_eq!(
                declared.doubts.len(),
                usize::from(chosen.is_none()),
                "{names:?}"
            );
        }
        assert_eq!(read(&Memory::new().with("app.py", ""), ""), None);
    }
}
