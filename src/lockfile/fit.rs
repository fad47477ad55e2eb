//! Whether a `uv.lock` was written for the present requirements of a `pyproject.toml`. (The other
//! managers keep a hash for that; uv keeps the requirements.)

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::app::requirement::normalize;

use super::requirement::{self, Requirement};
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

/// The parts of a requirement that both sides write in the same way. (The lock changes the form of
/// markers.)
type Key = (String, BTreeSet<String>, BTreeSet<String>, Binding);

/// A description of what does not fit.
pub(super) fn problem(project: &Table, locked: &Metadata, root: &Table) -> Option<String> {
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
            wanted.insert(sources.key(text)?);
        }
        let optional = at(project, &["project", "optional-dependencies"]).and_then(Value::as_table);
        for (_, list) in optional.into_iter().flatten() {
            for text in texts(Some(list)) {
                wanted.insert(sources.key(text)?);
            }
        }
        let found: BTreeSet<Key> = locked
            .requires_dist
            .iter()
            .map(|one| sources.locked(one))
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
            wanted.insert(sources.key(text)?);
        }
        let list = locked.requires_dev.get(name);
        let found = list
            .into_iter()
            .flatten()
            .map(|one| sources.locked(one))
            .collect();
        if let Some(problem) = difference(&wanted, &found) {
            return Some(format!("{problem} (group {name})"));
        }
    }
    None
}

fn difference(wanted: &BTreeSet<Key>, found: &BTreeSet<Key>) -> Option<String> {
    let text = |(name, extras, specifiers, _): &Key| {
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
struct Sources(BTreeMap<String, Binding>);

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
                found.insert(normalize(name), binding);
            }
        }
        Self(found)
    }

    /// From a requirement in `pyproject.toml`.
    fn key(&self, text: &str) -> Option<Key> {
        let requirement = Requirement::parse(text)?;
        let binding = match (self.0.get(&requirement.name), &requirement.url) {
            (Some(binding), _) => *binding,
            (None, Some(url)) if url.starts_with("git+") => Binding::Git,
            (None, Some(url)) if url.starts_with("file:") => Binding::Path,
            (None, Some(_)) => Binding::Url,
            (None, None) => Binding::None,
        };
        Some(key(
            requirement.name,
            requirement.extras,
            requirement.specifiers,
            binding,
        ))
    }

    /// From a requirement in the lock.
    fn locked(&self, required: &Required) -> Key {
        let name = normalize(&required.name);
        let path = [
            &required.path,
            &required.directory,
            &required.editable,
            &required.r#virtual,
        ];
        let binding = if self.0.get(&name) == Some(&Binding::Several) {
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
        key(name, extras, specifiers, binding)
    }
}

/// A package that does not come from an index has only one version.
fn key(
    name: String,
    extras: BTreeSet<String>,
    specifiers: BTreeSet<String>,
    binding: Binding,
) -> Key {
    let specifiers = match binding {
        Binding::None | Binding::Index => specifiers,
        _ => BTreeSet::new(),
    };
    (name, extras, specifiers, binding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(project: &str, metadata: &str) -> Option<String> {
        let project: Table = toml::from_str(project).unwrap();
        let metadata: Metadata = toml::from_str(metadata).unwrap();
        problem(&project, &metadata, &Table::new())
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
}
