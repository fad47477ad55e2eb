//! Dependency groups (PEP 735) of a `pyproject.toml` without `[project]`.

use toml::Value;

use super::super::requirement::normalize;
use super::Declared;

/// Groups that tools fill for developers.
const DEVELOPMENT: &[&str] = &[
    "dev",
    "develop",
    "development",
    "test",
    "tests",
    "testing",
    "lint",
    "linting",
    "docs",
    "doc",
    "typing",
    "types",
    "type-check",
    "ci",
    "format",
    "build",
    "release",
    "debug",
    "local",
    "qa",
    "coverage",
    "benchmark",
];
/// Groups whose names say what they are for, the more exact first.
const PRODUCTION: &[&str] = &[
    "production",
    "prod",
    "deploy",
    "runtime",
    "main",
    "app",
    "web",
    "default",
];

pub(super) fn read(document: &toml::Table) -> Option<Declared> {
    let groups = document.get("dependency-groups")?.as_table()?;
    let mut declared = Declared::of("pyproject.toml");
    let names: Vec<String> = groups.keys().map(|name| normalize(name)).collect();
    let others: Vec<&String> = names
        .iter()
        .filter(|name| !DEVELOPMENT.contains(&name.as_str()))
        .collect();
    let chosen = PRODUCTION
        .iter()
        .find(|name| names.iter().any(|have| have == *name))
        .map(|name| (*name).to_owned())
        .or_else(|| match others.as_slice() {
            [one] => Some((*one).clone()),
            _ => None,
        });
    let Some(chosen) = chosen else {
        if others.is_empty() {
            return None;
        }
        declared.doubt(
            "[dependency-groups]",
            format!(
                "which of the groups {} the application needs is not clear",
                names.join(", ")
            ),
            "what it needs under [project] dependencies, or call its group `prod`",
        );
        return Some(declared);
    };
    add(&mut declared, groups, &chosen, &mut Vec::new());
    Some(declared)
}

/// The lines of a group; `None` if there is no such group.
pub fn of_name(document: &toml::Table, name: &str) -> Option<Vec<String>> {
    let groups = document.get("dependency-groups")?.as_table()?;
    groups
        .keys()
        .find(|key| normalize(key) == normalize(name))?;
    let mut declared = Declared::of("pyproject.toml");
    add(&mut declared, groups, name, &mut Vec::new());
    Some(declared.lines)
}

fn add(declared: &mut Declared, groups: &toml::Table, name: &str, seen: &mut Vec<String>) {
    let normal = normalize(name);
    let place = format!("[dependency-groups] {name}");
    if seen.contains(&normal) {
        declared.doubt(&place, "the group includes itself", "it without the circle");
        return;
    }
    let group = groups.iter().find(|(key, _)| normalize(key) == normal);
    let Some(items) = group.and_then(|(_, value)| value.as_array()) else {
        declared.doubt(
            &place,
            "there is no such group",
            "the name of one that is there",
        );
        return;
    };
    seen.push(normal);
    for item in items {
        if let Some(line) = item.as_str() {
            declared.lines.push(line.to_owned());
        } else if let Some(other) = item.get("include-group").and_then(Value::as_str) {
            add(declared, groups, other, seen);
        } else {
            declared.doubt(
                &place,
                format!("`{item}` is neither a requirement nor an included group"),
                "it as PEP 735 has it",
            );
        }
    }
    seen.pop();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_for_production_or_the_only_one() {
        let read =
            |text: &str| read(&toml::from_str(&format!("[dependency-groups]\n{text}")).unwrap());
        let lines = |text: &str| read(text).unwrap().lines;
        assert_eq!(
            lines("web = ['flask', {include-group = 'db'}]\ndb = ['psycopg']\ndev = ['pytest']"),
            ["flask", "psycopg"]
        );
        assert_eq!(lines("server = ['flask']\nlint = ['ruff']"), ["flask"]);
        assert_eq!(read("dev = ['pytest']"), None);
        for doubted in [
            "a = ['x']\nb = ['y']",
            "main = [{include-group = 'gone'}]",
            "main = [{include-group = 'main'}]",
        ] {
            assert_eq!(read(doubted).unwrap().doubts.len(), 1, "{doubted}");
        }
    }
}
