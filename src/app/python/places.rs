//! The files and settings where users say which Python an application wants.

use super::super::declared;
use super::super::files::Files;
use super::super::requirement::decode;
use super::super::setup_cfg;
use super::{PythonError, PythonRequest, PythonVersion};

/// What one file or setting says: nothing, a request, or something that is not understood.
type Found = Result<PythonRequest, PythonError>;

/// Where mise's configuration of a project is.
pub const MISE: [&str; 4] = [
    "mise.toml",
    ".mise.toml",
    ".config/mise.toml",
    "mise/config.toml",
];

/// What all files and settings say, the most explicit first.
pub(super) fn all(files: &dyn Files) -> Vec<Found> {
    let mut found = Vec::new();
    found.extend(python_version(files));
    found.extend(runtime_txt(files));
    found.extend(pipfile(files));
    found.extend(tool_versions(files));
    for path in MISE {
        found.extend(mise(files, path));
    }
    found.extend(environment_yml(files));
    found.extend(pyproject(files));
    if let Some(text) = setup_cfg::value(files, "options", "python_requires") {
        let source = files.text("setup.cfg").unwrap_or_default();
        let line = line_of(&source, "", "python_requires");
        found.push(request(&text, &format!("setup.cfg:{line} python_requires")));
    }
    if let Some((path, line, text)) = declared::python_of_program(files) {
        found.push(request(&text, &format!("{path}:{line} requires-python")));
    }
    found
}

/// Refuses what is not a version or a condition on versions.
pub(super) fn check(text: &str, place: &str) -> Result<(), PythonError> {
    let clauses = text.split("||").flat_map(|part| part.split(','));
    for clause in clauses
        .map(str::trim)
        .filter(|clause| !clause.is_empty() && *clause != "*")
    {
        let end = clause
            .find(|c: char| !"<>=!~^".contains(c))
            .unwrap_or(clause.len());
        let (operator, version) = (&clause[..end], clause[end..].trim());
        let operators = [
            "", "=", "==", "===", "!=", "<", "<=", ">", ">=", "~", "~=", "^",
        ];
        if !operators.contains(&operator) || !is_version(version) {
            return Err(unreadable(
                place,
                text,
                format!("`{clause}` says no version"),
                "for example 3.13 or >=3.11,<3.14",
            ));
        }
    }
    Ok(())
}

/// `3`, `3.12`, `3.12.1`, `3.12.*`, `3.13.0rc2`, `3.13-dev`, `v3.12`.
fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let text = text.strip_suffix("-dev").unwrap_or(text);
    let mut parts = text.split('.');
    let first = parts.next().unwrap_or_default();
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    number(first)
        && first.len() <= 2
        && parts.clone().count() <= 3
        && parts.all(|part| {
            let digits = part
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(part.len());
            let rest = &part[digits..];
            (part == "*" || part == "x")
                || (digits > 0
                    && (rest.is_empty()
                        || ["a", "b", "rc"]
                            .iter()
                            .any(|mark| rest.strip_prefix(mark).is_some_and(number))))
        })
}

fn request(text: &str, place: &str) -> Found {
    check(text, place)?;
    Ok(PythonRequest {
        text: text.to_owned(),
        source: place.to_owned(),
    })
}

fn unreadable(
    place: &str,
    text: &str,
    why: impl Into<String>,
    write: impl Into<String>,
) -> PythonError {
    PythonError::Unreadable {
        place: place.to_owned(),
        text: text.escape_debug().to_string().chars().take(60).collect(),
        why: why.into(),
        write: write.into(),
    }
}

/// The text of a file that is there.
fn text(files: &dyn Files, path: &str) -> Option<Result<String, PythonError>> {
    let bytes = files.read(path)?;
    Some(decode(&bytes).map_err(|(line, what)| {
        unreadable(&format!("{path}:{line}"), "", what, "the file in UTF-8")
    }))
}

/// The lines that are not empty, by number.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let line = line.split(" #").next().unwrap_or(line).trim();
        (!line.is_empty() && !line.starts_with('#')).then_some((index + 1, line))
    })
}

fn python_version(files: &dyn Files) -> Option<Found> {
    let text = match text(files, ".python-version")? {
        Ok(text) => text,
        Err(error) => return Some(Err(error)),
    };
    let mut first: Option<PythonRequest> = None;
    for (number, line) in lines(&text) {
        if line == "system" {
            continue;
        }
        let place = format!(".python-version:{number}");
        let one = match of_pyenv(line, &place) {
            Ok(one) => one,
            Err(error) => return Some(Err(error)),
        };
        let minor = |text: &str| text.parse::<PythonVersion>().ok();
        match &first {
            None => first = Some(one),
            Some(before) if minor(&before.text) == minor(&one.text) => {}
            Some(before) => {
                return Some(Err(unreadable(
                    &place,
                    line,
                    format!(
                        "{} says {} before, and an image has one Python",
                        before.source, before.text
                    ),
                    "one version into .python-version",
                )));
            }
        }
    }
    first.map(Ok)
}

/// A line of pyenv's or uv's.
fn of_pyenv(line: &str, place: &str) -> Found {
    let version = [
        "cpython-", "cpython@", "python-", "python@", "cpython", "python",
    ]
    .iter()
    .find_map(|start| line.strip_prefix(start))
    .unwrap_or(line);
    // uv's `cpython-3.12.4-linux-x86_64-gnu`.
    let version = match version.split_once('-') {
        Some((version, rest)) if rest.starts_with("linux") || rest.starts_with("macos") => version,
        _ => version,
    };
    if check(version, place).is_ok() {
        return request(version, place);
    }
    let implementation = [
        "pypy",
        "graalpy",
        "jython",
        "ironpython",
        "stackless",
        "miniconda",
        "anaconda",
        "miniforge",
        "mambaforge",
        "micropython",
        "pyston",
        "nogil",
        "cinder",
    ]
    .iter()
    .find(|name| line.to_lowercase().starts_with(*name));
    if let Some(name) = implementation {
        return Err(unreadable(
            place,
            line,
            format!("{name} is another implementation or distribution, and builders have CPython"),
            "a version of CPython into .python-version, as 3.13",
        ));
    }
    if version.strip_suffix('t').is_some_and(is_version) {
        return Err(unreadable(
            place,
            line,
            "builders have no free-threaded Python",
            "the version without `t`",
        ));
    }
    let looks_like = line
        .rsplit(['-', '_'])
        .find(|part| part.contains('.') && is_version(part));
    Err(unreadable(
        place,
        line,
        "it looks like the name of a pyenv environment on one machine",
        match looks_like {
            Some(version) => format!("the version itself: echo {version} > .python-version"),
            None => "the version itself into .python-version, as 3.13".to_owned(),
        },
    ))
}

fn runtime_txt(files: &dyn Files) -> Option<Found> {
    // The two directories are repo2docker's.
    let path = ["runtime.txt", "binder/runtime.txt", ".binder/runtime.txt"]
        .into_iter()
        .find(|path| files.is_file(path))?;
    let text = match text(files, path)? {
        Ok(text) => text,
        Err(error) => return Some(Err(error)),
    };
    let (number, line) = lines(&text).next()?;
    let place = format!("{path}:{number}");
    let version = line.strip_prefix("python-").unwrap_or(line);
    if is_version(version) {
        return Some(request(version, &place));
    }
    Some(Err(unreadable(
        &place,
        line,
        "the file has one line, python- and a version",
        "python-3.13 into runtime.txt",
    )))
}

/// A TOML document, with its text.
fn table(files: &dyn Files, path: &str) -> Option<Result<(toml::Table, String), PythonError>> {
    let text = match text(files, path)? {
        Ok(text) => text,
        Err(error) => return Some(Err(error)),
    };
    Some(match toml::from_str::<toml::Table>(&text) {
        Ok(table) => Ok((table, text)),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let line = 1 + text
                .get(..at)
                .map_or(0, |before| before.matches('\n').count());
            let place = format!("{path}:{line}");
            let why = error.message().to_owned();
            Err(unreadable(&place, "", why, "the file as TOML has it"))
        }
    })
}

fn pipfile(files: &dyn Files) -> Option<Found> {
    let (table, source) = match table(files, "Pipfile")? {
        Ok(found) => found,
        Err(error) => return Some(Err(error)),
    };
    let requires = table.get("requires")?;
    ["python_full_version", "python_version"]
        .iter()
        .find_map(|key| Some((key, requires.get(*key)?.as_str()?)))
        .map(|(key, version)| {
            let line = line_of(&source, "requires", key);
            request(version, &format!("Pipfile:{line}"))
        })
}

fn tool_versions(files: &dyn Files) -> Option<Found> {
    let text = match text(files, ".tool-versions")? {
        Ok(text) => text,
        Err(error) => return Some(Err(error)),
    };
    let (number, words) = lines(&text).find_map(|(number, line)| {
        let mut words = line.split_whitespace();
        (words.next() == Some("python")).then_some((number, words))
    })?;
    let place = format!(".tool-versions:{number}");
    // The others are asdf's fallbacks for a machine that lacks the first.
    let version = words.into_iter().find(|word| *word != "system")?;
    Some(of_pyenv(version, &place))
}

fn mise(files: &dyn Files, path: &str) -> Option<Found> {
    let (table, source) = match table(files, path)? {
        Ok(found) => found,
        Err(error) => return Some(Err(error)),
    };
    let said = table.get("tools")?.get("python")?;
    let said = said
        .as_array()
        .and_then(|list| list.first())
        .unwrap_or(said);
    let version = said.get("version").unwrap_or(said).as_str()?;
    if ["latest", "system"].contains(&version) {
        return None;
    }
    let line = line_of(&source, "tools", "python");
    let version = version.strip_prefix("prefix:").unwrap_or(version);
    Some(of_pyenv(version, &format!("{path}:{line}")))
}

/// `- python=3.11` of conda's file.
fn environment_yml(files: &dyn Files) -> Option<Found> {
    let path = ["environment.yml", "environment.yaml"]
        .into_iter()
        .find(|path| files.is_file(path))?;
    let text = match text(files, path)? {
        Ok(text) => text,
        Err(error) => return Some(Err(error)),
    };
    let (number, version) = lines(&text).find_map(|(number, line)| {
        let item = line.strip_prefix("- ")?.trim().trim_matches(['"', '\'']);
        let version = item.strip_prefix("python")?.trim();
        version
            .starts_with(['=', '<', '>', '!', '~'])
            .then_some((number, version))
    })?;
    // conda's `=3.11` is any release of it, and a build may follow.
    let version = match version.strip_prefix('=') {
        Some(exact) => exact
            .trim_start_matches('=')
            .split('=')
            .next()
            .unwrap_or(exact),
        None => version,
    };
    Some(request(version, &format!("{path}:{number}")))
}

fn pyproject(files: &dyn Files) -> Vec<Found> {
    let mut found = Vec::new();
    let (table, source) = match table(files, "pyproject.toml") {
        None => return found,
        Some(Ok(found)) => found,
        Some(Err(error)) => return vec![Err(error)],
    };
    let path = |keys: &[&str]| {
        let mut keys = keys.iter();
        let first = table.get(*keys.next()?)?;
        keys.try_fold(first, |value, key| value.get(*key))?.as_str()
    };
    if let Some(text) = path(&["project", "requires-python"]) {
        let line = line_of(&source, "project", "requires-python");
        found.push(request(
            text,
            &format!("pyproject.toml:{line} requires-python"),
        ));
    }
    if let Some(text) = path(&["tool", "poetry", "dependencies", "python"]) {
        let line = line_of(&source, "tool.poetry.dependencies", "python");
        let place = format!("pyproject.toml:{line} [tool.poetry.dependencies]");
        found.push(request(text, &place));
    }
    found
}

/// The line of a key in a section; 1 if it is written another way.
fn line_of(text: &str, section: &str, key: &str) -> usize {
    let mut inside = section.is_empty();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            inside = section.is_empty() || name.split(']').next() == Some(section);
        } else if inside
            && line
                .split(['=', ':', ' '])
                .next()
                .map(|name| name.trim_matches('"'))
                == Some(key)
        {
            return index + 1;
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;

    use super::super::super::files::Memory;
    use super::super::super::settings::Settings;
    use super::super::{Said, request};
    use super::*;

    fn said(files: &Memory) -> Result<Said, PythonError> {
        let settings = Settings::load(files, &BTreeMap::new(), &BTreeMap::new()).unwrap();
        request(files, &settings)
    }

    #[test]
    fn places() {
        let cases: &[(&str, &str, &str)] = &[
            (
                ".python-version",
                "# x\n3.12.1 # y\n3.12\n",
                "3.12.1 (.python-version:2)",
            ),
            (
                ".python-version",
                "cpython-3.12.4-linux-x86_64-gnu\n",
                "3.12.4 (.python-version:1)",
            ),
            (
                ".python-version",
                "3.13-dev",
                "3.13-dev (.python-version:1)",
            ),
            (
                ".python-version",
                "\u{feff}3.13\r\n",
                "3.13 (.python-version:1)",
            ),
            (
                ".python-version",
                ">=3.11,<3.14",
                ">=3.11,<3.14 (.python-version:1)",
            ),
            ("runtime.txt", "python-3.9.18\n", "3.9.18 (runtime.txt:1)"),
            (
                "binder/runtime.txt",
                "python-3.9\n",
                "3.9 (binder/runtime.txt:1)",
            ),
            (
                "environment.yml",
                "dependencies:\n  - python=3.11=h1\n",
                "3.11 (environment.yml:2)",
            ),
            (
                "environment.yml",
                "dependencies:\n  - 'python>=3.10,<3.12'\n",
                ">=3.10,<3.12 (environment.yml:2)",
            ),
            (
                "Pipfile",
                "[requires]\npython_version = '3.11'\n",
                "3.11 (Pipfile:2)",
            ),
            (
                ".tool-versions",
                "nodejs 20\npython 3.11.4 3.10.2\n",
                "3.11.4 (.tool-versions:2)",
            ),
            (
                "mise.toml",
                "[tools]\nnode = '22'\npython = ['3.12', '3.11']\n",
                "3.12 (mise.toml:3)",
            ),
            (
                ".mise.toml",
                "[tools]\npython = {version = '3.12'}\n",
                "3.12 (.mise.toml:2)",
            ),
            (
                "pyproject.toml",
                "[project]\nname = 'x'\nrequires-python='>=3.10'\n",
                ">=3.10 (pyproject.toml:3 requires-python)",
            ),
            (
                "pyproject.toml",
                "[tool.poetry.dependencies]\npython='^3.10'\n",
                "^3.10 (pyproject.toml:2 [tool.poetry.dependencies])",
            ),
            (
                "setup.cfg",
                "[options]\npython_requires = >=3.8\n",
                ">=3.8 (setup.cfg:2 python_requires)",
            ),
        ];
        for (file, text, expected) in cases {
            let found = said(&Memory::new().with(file, text)).unwrap();
            assert_eq!(found.request.unwrap().to_string(), *expected, "{file}");
        }
        for (file, text) in [
            ("app.py", ""),
            (".python-version", "system\n"),
            (".python-version", "# nothing\n\n"),
            ("mise.toml", "[tools]\npython = 'latest'\n"),
        ] {
            assert_eq!(
                said(&Memory::new().with(file, text)),
                Ok(Said::default()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_refused() {
        let latin: &[u8] = b"3.12 # M\xfcller";
        let cases: &[(&str, &[u8])] = &[
            (".python-version", b"shop-env-3.11\n"),
            (".python-version", b"myproject\n"),
            (".python-version", b"3.11.4\n3.12.1\n"),
            (".python-version", b"pypy3.10-7.3\n"),
            (".python-version", b"3.13t\n"),
            (".python-version", latin),
            (".python-version", b"\x00\x01\x02"),
            ("runtime.txt", b"ruby-3.2\n"),
            ("Pipfile", b"[requires\n"),
            ("Pipfile", b"[requires]\npython_version = 'three'\n"),
            (".tool-versions", b"python ref:main\n"),
            ("pyproject.toml", b"[project]\nrequires-python = 'new'\n"),
        ];
        let mut all = String::new();
        for (file, text) in cases {
            let error = said(&Memory::new().with(file, text)).unwrap_err();
            let PythonError::Unreadable { write, .. } = &error else {
                panic!("{error}")
            };
            let _ = writeln!(all, "{error}\n  write {write}");
        }
        insta::assert_snapshot!(all);
    }

    #[test]
    fn places_that_exclude_each_other() {
        let tree = |first: &str, second: &str| {
            Memory::new().with(".python-version", first).with(
                "pyproject.toml",
                format!("[project]\nrequires-python = '{second}'\n"),
            )
        };
        let conflict = said(&tree("3.9", ">=3.10")).unwrap_err();
        insta::assert_snapshot!(conflict, @"3.9 (.python-version:1) and >=3.10 (pyproject.toml:2 requires-python) exclude each other");
        let agreed = said(&tree("3.11", ">=3.10")).unwrap();
        assert_eq!(agreed.request.unwrap().text, "3.11");
        let set = tree("3.9", ">=3.10").with(".warpdrive/python", "3.11");
        let said = said(&set).unwrap();
        assert_eq!(said.request.unwrap().text, "3.11");
        assert_eq!(said.warnings.len(), 1);
    }
}
