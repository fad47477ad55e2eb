//! Whether a `uv.lock` was written for the present requirements of a `pyproject.toml`. (The other
//! managers keep a hash for that; uv keeps the requirements.)

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::app::address::percent_decoded_text;
use crate::app::requirement::normalize;

use super::marker::{self, Chosen};
use super::requirement::{self, Requirement};
use super::target::Target;
use super::uv::{Metadata, Required};

/// A value in nested tables.
pub(super) fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let mut value = table.get(*first)?;
    for key in rest {
        value = value.get(key)?;
    }
    Some(value)
}

/// The location of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    None,
    Index,
    Git,
    Url,
    /// A path of the tree, or another project of the workspace.
    Path,
    /// One of several, by environment.
    Several,
}

/// The parts of a requirement that both sides write in the same way; at the end, where it holds. (The lock changes
/// the form of markers.)
type Key = (
    String,
    BTreeSet<String>,
    BTreeSet<String>,
    (Binding, String),
    BTreeSet<String>,
);

/// The Pythons for which a lock is compared with its project: some patch release of each minor version that it allows.
struct Pythons(Vec<Target>);

impl Pythons {
    const MINORS: std::ops::RangeInclusive<u32> = 8..=16;

    fn of(condition: Option<&str>) -> Self {
        let all = Self::MINORS.map(|minor| format!("3.{minor}.30"));
        let allowed = all
            .filter(|full| condition.is_none_or(|condition| requirement::allows(condition, full)));
        Self(
            allowed
                .map(|full| Target::of(&full, "glibc 2.36"))
                .collect(),
        )
    }

    /// Where a requirement holds: with this extra, or without any.
    fn holds(&self, marker: Option<&str>, extra: Option<&str>) -> BTreeSet<String> {
        let chosen = Chosen {
            extras: extra.map(normalize).into_iter().collect(),
            ..Chosen::default()
        };
        let named = extra.map_or_else(String::new, normalize);
        let holds = self.0.iter().filter(|target| {
            // A marker that cannot be read is the same on both sides.
            marker.is_none_or(|marker| marker::holds(marker, target, &chosen).unwrap_or(true))
        });
        holds
            .map(|target| format!("{named} {}", target.full_version()))
            .collect()
    }
}

/// A description of what does not fit in the settings of a lock's root.
pub(super) fn problem_of_root(
    root: &Table,
    locked: &super::uv::Document,
    is_alone: bool,
) -> Option<String> {
    let pythons = Pythons::of(locked.requires_python.as_deref());
    let sources = Sources::of(root, &Table::new());
    for (key, locked) in [
        ("override-dependencies", locked.overrides()),
        ("constraint-dependencies", locked.constraints()),
    ] {
        let mut wanted = BTreeSet::new();
        for text in texts(at(root, &["tool", "uv", key])) {
            wanted.insert(sources.key(text, &pythons, None)?);
        }
        let found = locked
            .iter()
            .map(|one| sources.locked(one, &pythons, &BTreeSet::new()))
            .collect();
        if let Some(problem) = difference(&wanted, &found) {
            return Some(format!("{problem} ({key})"));
        }
    }
    let condition = at(root, &["project", "requires-python"]).and_then(Value::as_str);
    // Groups may have a condition of their own.
    let is_alone = is_alone && at(root, &["tool", "uv", "dependency-groups"]).is_none();
    if is_alone && let (Some(now), Some(then)) = (condition, &locked.requires_python) {
        let versions = |condition| {
            let all = Pythons::of(Some(condition)).0;
            let all = all.iter().map(|target| target.full_version().to_owned());
            all.collect::<Vec<String>>()
        };
        if versions(now) != versions(then) {
            return Some(format!("it asks for Python {now}, and {then} was locked"));
        }
    }
    None
}

/// A description of what does not fit in the requirements of a library that a path leads to.
pub(super) fn problem_of_library(
    project: &Table,
    locked: &Metadata,
    pythons: Option<&str>,
) -> Option<String> {
    project.get("project")?;
    let mut project = project.clone();
    project.remove("dependency-groups");
    if let Some(uv) = project.get_mut("tool").and_then(|tool| tool.get_mut("uv"))
        && let Some(uv) = uv.as_table_mut()
    {
        uv.remove("dev-dependencies");
    }
    let locked = Metadata {
        requires_dist: locked.requires_dist.clone(),
        requires_dev: BTreeMap::new(),
    };
    problem(&project, &locked, &Table::new(), pythons)
}

/// A description of what does not fit.
pub(super) fn problem(
    project: &Table,
    locked: &Metadata,
    root: &Table,
    pythons: Option<&str>,
) -> Option<String> {
    let pythons = Pythons::of(pythons);
    let dynamic = at(project, &["project", "dynamic"]).and_then(Value::as_array);
    let dynamic =
        |key: &str| dynamic.is_some_and(|list| list.iter().any(|item| item.as_str() == Some(key)));
    let sources = Sources::of(project, root);
    // An extra may name the project itself with other extras.
    let own = at(project, &["project", "name"])
        .and_then(Value::as_str)
        .map(normalize);
    let foreign = |key: &Key| own.as_ref() != Some(&key.0);
    if !dynamic("dependencies") && !dynamic("optional-dependencies") {
        let mut wanted = BTreeSet::new();
        for text in texts(at(project, &["project", "dependencies"])) {
            wanted.insert(sources.key(text, &pythons, None)?);
        }
        let mut extras = BTreeSet::new();
        let optional = at(project, &["project", "optional-dependencies"]).and_then(Value::as_table);
        for (extra, list) in optional.into_iter().flatten() {
            extras.insert(extra.clone());
            for text in texts(Some(list)) {
                wanted.insert(sources.key(text, &pythons, Some(extra))?);
            }
        }
        let found: BTreeSet<Key> = locked
            .requires_dist
            .iter()
            .map(|one| sources.locked(one, &pythons, &extras))
            .collect();
        let wanted = wanted.into_iter().filter(foreign).collect();
        let found = found.into_iter().filter(foreign).collect();
        if let Some(problem) = difference(&wanted, &found) {
            return Some(problem);
        }
    }
    let groups = groups(project);
    let mut names: BTreeSet<&String> = groups.keys().collect();
    names.extend(locked.requires_dev.keys());
    for name in names {
        let mut wanted = BTreeSet::new();
        for text in groups.get(name).into_iter().flatten() {
            wanted.insert(sources.key(text, &pythons, None)?);
        }
        let list = locked.requires_dev.get(name);
        let found = list
            .into_iter()
            .flatten()
            .map(|one| sources.locked(one, &pythons, &BTreeSet::new()))
            .collect();
        if let Some(problem) = difference(&wanted, &found) {
            return Some(format!("{problem} (group {name})"));
        }
    }
    None
}

fn difference(wanted: &BTreeSet<Key>, found: &BTreeSet<Key>) -> Option<String> {
    let text = |(name, extras, specifiers, ..): &Key| {
        let extras: Vec<&str> = extras.iter().map(String::as_str).collect();
        let extras = if extras.is_empty() {
            String::new()
        } else {
            format!("[{}]", extras.join(","))
        };
        let specifiers: Vec<&str> = specifiers.iter().map(String::as_str).collect();
        format!("{name}{extras}{}", specifiers.join(","))
    };
    if let Some(missing) = wanted.difference(found).next() {
        return Some(match found.iter().find(|other| other.0 == missing.0) {
            Some(other) if text(other) == text(missing) && other.3 == missing.3 => {
                format!(
                    "it asks for {} with other extras or in other environments than when it was locked",
                    missing.0
                )
            }
            Some(other) if text(other) == text(missing) => {
                format!(
                    "{} is to come from elsewhere than when it was locked",
                    missing.0
                )
            }
            Some(other) => format!(
                "it asks for {}, and {} was locked",
                text(missing),
                text(other)
            ),
            None => format!("it asks for {}, which was not locked", text(missing)),
        });
    }
    let more = found.difference(wanted).next()?;
    Some(format!(
        "{} was locked, and it does not ask for it",
        text(more)
    ))
}

fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// `[dependency-groups]` with included groups, and uv's older `dev-dependencies`.
fn groups(project: &Table) -> BTreeMap<String, Vec<&str>> {
    let table = at(project, &["dependency-groups"]).and_then(Value::as_table);
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let by_name: BTreeMap<String, &Value> = table
        .into_iter()
        .flatten()
        .map(|(name, list)| (normalize(name), list))
        .collect();
    for name in by_name.keys() {
        let mut lines = Vec::new();
        collect(&by_name, name, &mut BTreeSet::new(), &mut lines);
        found.insert(name.clone(), lines);
    }
    let old: Vec<&str> = texts(at(project, &["tool", "uv", "dev-dependencies"])).collect();
    if !old.is_empty() {
        found.entry("dev".to_owned()).or_default().extend(old);
    }
    found
}

fn collect<'a>(
    by_name: &BTreeMap<String, &'a Value>,
    name: &str,
    seen: &mut BTreeSet<String>,
    lines: &mut Vec<&'a str>,
) {
    if !seen.insert(name.to_owned()) {
        return;
    }
    let list = by_name.get(name).and_then(|list| list.as_array());
    for item in list.into_iter().flatten() {
        if let Some(text) = item.as_str() {
            lines.push(text);
        } else if let Some(other) = item.get("include-group").and_then(Value::as_str) {
            collect(by_name, &normalize(other), seen, lines);
        }
    }
}

/// `[tool.uv.sources]`, of the project and below it of the workspace's root.
struct Sources(BTreeMap<String, (Binding, String)>);

impl Sources {
    fn of(project: &Table, root: &Table) -> Self {
        let mut found = BTreeMap::new();
        for table in [root, project] {
            let sources = at(table, &["tool", "uv", "sources"]).and_then(Value::as_table);
            for (name, source) in sources.into_iter().flatten() {
                let has = |key: &str| source.get(key).is_some();
                let binding = if source.is_array() || has("marker") || has("extra") || has("group")
                {
                    Binding::Several
                } else if has("git") {
                    Binding::Git
                } else if has("url") {
                    Binding::Url
                } else if has("path") || has("workspace") {
                    Binding::Path
                } else if has("index") {
                    Binding::Index
                } else {
                    Binding::None
                };
                let place = match binding {
                    Binding::Git => place_of_git(source),
                    _ => String::new(),
                };
                found.insert(normalize(name), (binding, place));
            }
        }
        Self(found)
    }

    /// From a requirement in `pyproject.toml`.
    fn key(&self, text: &str, pythons: &Pythons, extra: Option<&str>) -> Option<Key> {
        let requirement = Requirement::parse(text)?;
        let other = |binding| (binding, String::new());
        let binding = match (self.0.get(&requirement.name), &requirement.url) {
            (Some(binding), _) => binding.clone(),
            (None, Some(url)) if url.starts_with("git+") => other(Binding::Git),
            (None, Some(url)) if url.starts_with("file:") => other(Binding::Path),
            (None, Some(_)) => other(Binding::Url),
            (None, None) => other(Binding::None),
        };
        Some(key(
            requirement.name,
            requirement.extras,
            requirement.specifiers,
            binding,
            pythons.holds(requirement.marker.as_deref(), extra),
        ))
    }

    /// From a requirement in the lock.
    fn locked(&self, required: &Required, pythons: &Pythons, extras: &BTreeSet<String>) -> Key {
        let name = normalize(&required.name);
        let marker = required.marker.as_deref();
        let mut holds = pythons.holds(marker, None);
        if holds.is_empty() {
            let of_extras = extras
                .iter()
                .map(|extra| pythons.holds(marker, Some(extra)));
            holds = of_extras.flatten().collect();
        }
        let path = [
            &required.path,
            &required.directory,
            &required.editable,
            &required.r#virtual,
        ];
        let bound = self.0.get(&name);
        let binding = if bound.is_some_and(|(binding, _)| *binding == Binding::Several) {
            Binding::Several
        } else if required.git.is_some() {
            Binding::Git
        } else if required.url.is_some() {
            Binding::Url
        } else if path.iter().any(|path| path.is_some()) {
            Binding::Path
        } else if required.index.is_some() {
            Binding::Index
        } else {
            Binding::None
        };
        let extras = required
            .extras
            .iter()
            .map(|extra| normalize(extra))
            .collect();
        let specifiers = requirement::specifiers(required.specifier.as_deref().unwrap_or_default());
        let place = match (binding, bound, &required.git) {
            (Binding::Git, Some(_), Some(url)) => place_of_locked_git(url),
            _ => String::new(),
        };
        key(name, extras, specifiers, (binding, place), holds)
    }
}

/// The reference of a repository in `[tool.uv.sources]`: a tag, a branch or a revision.
fn place_of_git(source: &Value) -> String {
    let keys = ["tag", "branch", "rev"].into_iter();
    let mut found = keys.filter_map(|key| Some((key, source.get(key)?.as_str()?)));
    found
        .next()
        .map_or_else(String::new, |(key, value)| format!("{key}={value}"))
}

/// The same in a lock: `https://host/path?tag=v1`.
fn place_of_locked_git(url: &str) -> String {
    let url = url.split('#').next().unwrap_or(url);
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mut parts = query.split('&').filter(|part| {
        let key = part.split('=').next().unwrap_or_default();
        ["tag", "branch", "rev"].contains(&key)
    });
    parts.next().map(percent_decoded_text).unwrap_or_default()
}

/// A package that does not come from an index has only one version.
fn key(
    name: String,
    extras: BTreeSet<String>,
    specifiers: BTreeSet<String>,
    binding: (Binding, String),
    holds: BTreeSet<String>,
) -> Key {
    let specifiers = match binding.0 {
        Binding::None | Binding::Index => specifiers,
        _ => BTreeSet::new(),
    };
    (name, extras, specifiers, binding, holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(project: &str, metadata: &str) -> Option<String> {
        let project: Table = toml::from_str(project).unwrap();
        let metadata: Metadata = toml::from_str(metadata).unwrap();
        problem(&project, &metadata, &Table::new(), Some(">=3.11"))
    }

    #[test]
    fn what_was_asked_for_then_and_now() {
        let project = "[project]\ndependencies = ['Flask>=3.0, <4', 'rates', 'x @ git+https://h/x', 'c>=1']\n\
                       [project.optional-dependencies]\npg = ['psycopg[binary]']\n\
                       [dependency-groups]\ndev = ['pytest', {include-group = 'lint'}]\nlint = ['ruff']\n\
                       [tool.uv.sources]\nrates = { path = 'libs/rates' }\nc = { index = 'corp' }\n";
        let locked = "requires-dist = [{ name = 'flask', specifier = '>=3.0,<4' }, { name = 'rates', directory = 'libs/rates' }, { name = 'x', git = 'https://h/x' }, { name = 'c', specifier = '>=1', index = 'https://corp/simple' }, { name = 'psycopg', extras = ['binary'], marker = \"extra == 'pg'\" }]\n\
                      [requires-dev]\ndev = [{ name = 'pytest' }, { name = 'ruff' }]\nlint = [{ name = 'ruff' }]\n";
        assert_eq!(check(project, locked), None);
        for (from, to, word) in [
            ("<4", "<5", "flask"),
            ("'rates', ", "", "rates"),
            ("'rates', ", "'rates', 'more', ", "more"),
            ("path = 'libs/rates'", "git = 'https://h/r'", "elsewhere"),
            ("rates = { path = 'libs/rates' }", "", "elsewhere"),
            ("'pytest', ", "", "pytest"),
            ("[binary]", "", "psycopg"),
        ] {
            let problem = check(&project.replace(from, to), locked);
            assert!(
                problem.as_ref().is_some_and(|text| text.contains(word)),
                "{from}: {problem:?}"
            );
        }
    }

    #[test]
    fn where_a_requirement_holds_and_which_commit_is_meant() {
        let project = "[project]\ndependencies = ['six', 'old ; python_version < \"3.9\"', 'win ; sys_platform == \"win32\"']\n\
            [project.optional-dependencies]\nPg_Sql = ['idna>=3', 'six>1 ; python_version >= \"3.12\"']\n\
            [tool.uv.sources]\nx = { git = 'https://h/x', tag = 'v/1' }\n[dependency-groups]\nprod = ['x']\n";
        let locked = "requires-dist = [{ name = 'six' }, { name = 'old', marker = \"python_full_version < '3.9'\" }, { name = 'win', marker = \"sys_platform == 'win32'\" }, { name = 'idna', marker = \"extra == 'pg-sql'\", specifier = '>=3' }, { name = 'six', marker = \"python_full_version >= '3.12' and extra == 'pg-sql'\", specifier = '>1' }]\n\
            [requires-dev]\nprod = [{ name = 'x', git = 'https://h/x?subdirectory=y&tag=v%2F1' }]\n";
        assert_eq!(check(project, locked), None);
        for (from, to) in [
            ("'six',", "'six', 'idna>=3',"),
            (" ; sys_platform == \"win32\"", ""),
            ("Pg_Sql", "other"),
            ("; python_version >= \"3.12\"", ""),
            ("tag = 'v/1'", "tag = 'v2'"),
            ("tag = 'v/1'", "branch = 'v/1'"),
        ] {
            let problem = check(&project.replace(from, to), locked);
            assert!(problem.is_some(), "{from}");
        }
        // The lock leaves out what holds for each Python that it allows.
        let always = project.replace("'six',", "'six ; python_version >= \"3.8\"',");
        assert_eq!(check(&always, locked), None);
    }

    #[test]
    fn settings_of_the_root_and_libraries_of_the_tree() {
        let lock = "version = 1\nrequires-python = '>=3.11'\n[manifest]\noverrides = [{ name = 'idna', specifier = '==3.4' }]\n";
        let lock = super::super::uv::Document::parse(lock).unwrap();
        let root = "[project]\nrequires-python = '>=3.11'\n[tool.uv]\noverride-dependencies = ['idna==3.4']\n";
        let check = |text: &str| problem_of_root(&toml::from_str(text).unwrap(), &lock, true);
        assert_eq!(check(root), None);
        assert!(check(&root.replace("3.4", "3.5")).unwrap().contains("3.5"));
        assert!(
            check(&root.replace(">=3.11", ">=3.12"))
                .unwrap()
                .contains("Python")
        );
        let library =
            "[project]\nname = 'rates'\ndependencies = ['six']\n[dependency-groups]\ndev = ['x']\n";
        let library: Table = toml::from_str(library).unwrap();
        let then = |text: &str| {
            let metadata: Metadata = toml::from_str(text).unwrap();
            problem_of_library(&library, &metadata, Some(">=3.11"))
        };
        assert_eq!(then("requires-dist = [{ name = 'six' }]\n"), None);
        assert!(then("").unwrap().contains("six"));
    }
}
