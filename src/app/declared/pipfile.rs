//! A `Pipfile` without its lock.

use toml::Value;

use super::super::files::Files;
use super::super::pip_variables::is_pypi;
use super::Declared;

pub(super) fn read(files: &dyn Files) -> Option<Declared> {
    let text = files.text("Pipfile")?;
    // Invalid TOML is reported where the Python version is read.
    let document: toml::Table = toml::from_str(&text).ok()?;
    let packages = document.get("packages")?.as_table()?;
    let mut declared = Declared::of("Pipfile");
    let urls: Vec<(&str, &str)> = document
        .get("source")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|source| {
            let name = source
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            Some((name, source.get("url")?.as_str()?))
        })
        .collect();
    // The first source is for all packages that name no other. The public index is asked anyway, or this
    // machine's substitute for it.
    match urls.first() {
        None => {}
        Some((_, url)) if is_pypi(url) => {}
        Some((_, url)) => declared.lines.push(format!("--index-url {url}")),
    }
    for (name, value) in packages {
        match requirement(name, value) {
            Ok(line) => declared.lines.push(line),
            Err(wrong) => {
                declared.doubt(&format!("{name} = {value}"), wrong, "the lock: pipenv lock");
            }
        }
    }
    Some(declared)
}

const MARKERS: &[&str] = &[
    "sys_platform",
    "platform_system",
    "platform_machine",
    "platform_python_implementation",
    "python_version",
    "python_full_version",
    "os_name",
    "implementation_name",
];

const KNOWN: &[&str] = &[
    "version",
    "extras",
    "markers",
    "git",
    "ref",
    "subdirectory",
    "path",
    "file",
    "editable",
    // Such a name is bound: the installing code knows its location.
    "index",
];

fn requirement(name: &str, value: &Value) -> Result<String, String> {
    let versions = |text: &str| match text.trim() {
        "*" | "" => String::new(),
        text if text.starts_with(|c: char| c.is_ascii_digit()) => format!("=={text}"),
        text => text.to_owned(),
    };
    if let Some(version) = value.as_str() {
        return Ok(format!("{name}{}", versions(version)));
    }
    let Some(table) = value.as_table() else {
        return Err("it is neither a version nor a table".to_owned());
    };
    let text = |key: &str| table.get(key).and_then(Value::as_str);
    if let Some(key) = table
        .keys()
        .find(|key| !KNOWN.contains(&key.as_str()) && !MARKERS.contains(&key.as_str()))
    {
        return Err(format!("`{key}` has no equal in a list of requirements"));
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
    let mut markers: Vec<String> = text("markers").map(str::to_owned).into_iter().collect();
    for name in MARKERS {
        markers.extend(text(name).map(|condition| format!("{name} {condition}")));
    }
    let marker = match markers.as_slice() {
        [] => String::new(),
        [one] => format!(" ; {one}"),
        many => format!(" ; ({})", many.join(") and (")),
    };
    if let Some(git) = text("git") {
        let reference = text("ref").map_or(String::new(), |name| format!("@{name}"));
        let below =
            text("subdirectory").map_or(String::new(), |path| format!("#subdirectory={path}"));
        return Ok(format!(
            "{name}{extras} @ git+{git}{reference}{below}{marker}"
        ));
    }
    if let Some(path) = text("path").or_else(|| text("file")) {
        if path.contains("://") && !path.starts_with("file:") {
            return Ok(format!("{name}{extras} @ {path}{marker}"));
        }
        let editable = table.get("editable").and_then(Value::as_bool) == Some(true);
        let editable = if editable { "-e " } else { "" };
        let start = if path.starts_with(['.', '/']) || path.starts_with("file:") {
            ""
        } else {
            "./"
        };
        return Ok(format!("{editable}{start}{path}{extras}{marker}"));
    }
    let version = versions(text("version").unwrap_or("*"));
    Ok(format!("{name}{extras}{version}{marker}"))
}

#[cfg(test)]
mod tests {
    use super::super::super::files::Memory;
    use super::*;

    #[test]
    fn packages_of_a_pipfile() {
        let text = "\
            [[source]]\nname = 'pypi'\nurl = 'https://pypi.org/simple'\n\
            [packages]\n\
            flask = '*'\n\
            django = '~=5.0'\n\
            requests = {version = '>=2', extras = ['socks'], sys_platform = \"== 'linux'\"}\n\
            lib = {path = 'lib', editable = true}\n\
            bound = {version = '*', index = 'corp'}\n\
            [dev-packages]\npytest = '*'\n";
        let declared = read(&Memory::new().with("Pipfile", text)).unwrap();
        assert_eq!(
            declared.lines,
            [
                "bound",
                "django~=5.0",
                "flask",
                "-e ./lib",
                "requests[socks]>=2 ; sys_platform == 'linux'",
            ]
        );
        assert_eq!(declared.doubts, []);
    }
}
