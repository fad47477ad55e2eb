//! `[tool.poetry.dependencies]`: what Poetry 1 knows, and 2 still reads.

use toml::Value;

use super::{Declared, poetry_versions};

pub(super) fn read(document: &toml::Table) -> Option<Declared> {
    let poetry = document.get("tool")?.get("poetry")?;
    let dependencies = poetry.get("dependencies")?.as_table()?;
    let mut declared = Declared::of("pyproject.toml");
    let sources = poetry.get("source").and_then(Value::as_array);
    for source in sources.into_iter().flatten() {
        let text = |key: &str| source.get(key).and_then(Value::as_str);
        let name = text("name").unwrap_or_default();
        // `lockfile::places` handles a source that is used only by the names bound to it.
        if name.eq_ignore_ascii_case("pypi") || text("priority") == Some("explicit") {
            continue;
        }
        declared.doubt(
            &format!("[[tool.poetry.source]] {name}"),
            "a binding of packages to indexes counts only with a lock",
            "the lock: poetry lock; or priority = \"explicit\" for an index of the packages that name it",
        );
    }
    for (name, value) in dependencies {
        if name == "python" {
            continue;
        }
        // Several conditions, each with a marker.
        let all: Vec<&Value> = match value.as_array() {
            Some(list) => list.iter().collect(),
            None => vec![value],
        };
        for value in all {
            match requirement(name, value) {
                Ok(Some(line)) => declared.lines.push(line),
                Ok(None) => {}
                Err(wrong) => {
                    let write =
                        "it under [project] dependencies (PEP 621), or write the lock: poetry lock";
                    declared.doubt(&format!("{name} = {value}"), wrong, write);
                }
            }
        }
    }
    Some(declared)
}

const KNOWN: &[&str] = &[
    "version",
    "extras",
    "markers",
    "python",
    "platform",
    "optional",
    "git",
    "branch",
    "tag",
    "rev",
    "subdirectory",
    "url",
    "path",
    "file",
    "develop",
    "allow-prereleases",
    // Such a name is bound: the installing code knows its location.
    "source",
];

/// A line for a dependency; none if only an extra requires it.
fn requirement(name: &str, value: &Value) -> Result<Option<String>, String> {
    if let Some(version) = value.as_str() {
        return Ok(Some(format!(
            "{name}{}",
            poetry_versions::clauses(version)?.join(",")
        )));
    }
    let Some(table) = value.as_table() else {
        return Err("it is neither a version nor a table".to_owned());
    };
    if let Some(key) = table.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(format!("`{key}` has no equal in a list of requirements"));
    }
    let text = |key: &str| table.get(key).and_then(Value::as_str);
    if table.get("optional").and_then(Value::as_bool) == Some(true) {
        return Ok(None);
    }
    let extras: Vec<&str> = table
        .get("extras")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let extras = if extras.is_empty() {
        String::new()
    } else {
        format!("[{}]", extras.join(","))
    };
    let mut markers: Vec<String> = Vec::new();
    markers.extend(text("markers").map(str::to_owned));
    if let Some(python) = text("python") {
        markers.extend(poetry_versions::python_marker(python)?);
    }
    markers.extend(text("platform").map(|name| format!("sys_platform == \"{name}\"")));
    let marker = match markers.as_slice() {
        [] => String::new(),
        [one] => format!(" ; {one}"),
        many => format!(" ; ({})", many.join(") and (")),
    };
    if let Some(git) = text("git") {
        let reference = ["rev", "tag", "branch"].iter().find_map(|key| text(key));
        let reference = reference.map_or(String::new(), |name| format!("@{name}"));
        let below =
            text("subdirectory").map_or(String::new(), |path| format!("#subdirectory={path}"));
        return Ok(Some(format!(
            "{name}{extras} @ git+{git}{reference}{below}{marker}"
        )));
    }
    if let Some(url) = text("url") {
        return Ok(Some(format!("{name}{extras} @ {url}{marker}")));
    }
    if let Some(path) = text("path").or_else(|| text("file")) {
        let editable = table.get("develop").and_then(Value::as_bool) == Some(true);
        let editable = if editable { "-e " } else { "" };
        let start = if path.starts_with(['.', '/']) {
            ""
        } else {
            "./"
        };
        return Ok(Some(format!("{editable}{start}{path}{extras}{marker}")));
    }
    let version = poetry_versions::clauses(text("version").unwrap_or("*"))?.join(",");
    Ok(Some(format!("{name}{extras}{version}{marker}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_of_poetry() {
        let document = "\
            [tool.poetry.dependencies]\n\
            python = '^3.10'\n\
            Flask = '^3.0'\n\
            uvicorn = {version = '*', extras = ['standard']}\n\
            tomli = {version = '^2', python = '<3.11'}\n\
            lib = {path = 'libs/lib', develop = true}\n\
            fork = {git = 'https://x/fork.git', tag = 'v1', markers = \"sys_platform == 'linux'\"}\n\
            nice = {version = '1', optional = true}\n\
            odd = '^1 || ^3'\n\
            bound = {version = '1', source = 'corp'}\n";
        let declared = read(&toml::from_str(document).unwrap()).unwrap();
        assert_eq!(
            declared.lines,
            [
                "Flask>=3.0,<4",
                "bound==1",
                "fork @ git+https://x/fork.git@v1 ; sys_platform == 'linux'",
                "-e ./libs/lib",
                "tomli>=2,<3 ; python_version < \"3.11\"",
                "uvicorn[standard]",
            ]
        );
        let doubted: Vec<&str> = declared.doubts.iter().map(|d| d.wrong.as_str()).collect();
        assert_eq!(
            doubted,
            ["alternatives (`||`) have no equal in a list of requirements"]
        );
    }
}
