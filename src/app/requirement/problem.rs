//! Lines that cannot be installed as they are, and what to write instead.

use super::name_of;

/// A line that cannot be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `requirements.txt:3`.
    pub place: String,
    pub text: String,
    pub wrong: String,
    pub write: String,
    /// pip can do it.
    pub uv_only: bool,
}

/// What is wrong with a line, and what to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) write: String,
    pub(super) uv_only: bool,
}

pub(super) fn wrong(wrong: impl Into<String>, write: impl Into<String>) -> Wrong {
    Wrong {
        what: wrong.into(),
        write: write.into(),
        uv_only: false,
    }
}

pub(super) fn uv_cannot(what: impl Into<String>) -> Wrong {
    Wrong {
        what: what.into(),
        write: "let pip install the dependencies: echo pip > .warpdrive/installer".into(),
        uv_only: true,
    }
}

/// Distributions that exist for Windows alone.
const WINDOWS: &[&str] = &[
    "pypiwin32",
    "pywin32",
    "pywinpty",
    "twisted-iocpsupport",
    "windows-curses",
];

/// Known problems of a name, independent of any index: `rest` is the text after the name and its extras.
pub(super) fn of_name(name: &str, written: &str, rest: &str) -> Option<Wrong> {
    if name == "pkg-resources" {
        return Some(wrong(
            "there is no such package: `pip freeze` of Debian and Ubuntu wrote the line by mistake",
            "delete the line; pkg_resources is a part of setuptools",
        ));
    }
    let marked = rest.contains(';');
    let requirement = rest
        .split_once(" --")
        .map_or(rest, |(before, _)| before)
        .trim();
    if !marked && WINDOWS.contains(&name) {
        return Some(wrong(
            "the package exists for Windows only",
            format!("{written}{requirement} ; sys_platform == \"win32\""),
        ));
    }
    if !marked && (name.starts_with("pyobjc-") || name == "pyobjc") {
        return Some(wrong(
            "the package exists for macOS only",
            format!("{written}{requirement} ; sys_platform == \"darwin\""),
        ));
    }
    None
}

/// What is wrong with the text between a name with its extras and the marker.
pub(super) fn of_versions(written: &str, versions: &str) -> Option<Wrong> {
    let inner = versions
        .strip_prefix('(')
        .and_then(|inner| inner.strip_suffix(')'))
        .unwrap_or(versions)
        .trim();
    if inner.is_empty() {
        return None;
    }
    for clause in inner.trim_end_matches(',').split(',').map(str::trim) {
        let end = clause
            .find(|c: char| !"<>=!~".contains(c))
            .unwrap_or(clause.len());
        let (operator, version) = (&clause[..end], clause[end..].trim());
        if operator == "=" {
            return Some(wrong(
                "`=` compares nothing (conda writes it so)",
                format!("{written}=={version}"),
            ));
        }
        let known = ["===", "~=", "==", "!=", "<=", ">=", "<", ">"].contains(&operator);
        if known && version.contains(char::is_whitespace) {
            let next = version.split_whitespace().nth(1).unwrap_or_default();
            return Some(
                if name_of(next).is_some_and(|_| next.starts_with(char::is_alphabetic)) {
                    wrong(
                        format!("`{next}` is a second requirement"),
                        "a line for each",
                    )
                } else {
                    wrong(
                        format!("`{version}` is not a version"),
                        "clauses with commas between them, as >=1.0,<2.0",
                    )
                },
            );
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || ".!+*_-".contains(c);
        if !known || version.is_empty() || !(operator == "===" || version.chars().all(plain)) {
            return Some(wrong(
                format!("`{clause}` is not a condition on a version"),
                format!("for example {written}>=1.0,<2.0 or {written}==1.0"),
            ));
        }
    }
    None
}

/// A path that is not one of the source.
pub(super) fn of_outside(path: &str, name: Option<&str>) -> Wrong {
    let conda = [
        "croot/",
        "conda-bld/",
        "/conda/",
        "tmp/build/",
        "feedstock",
        "/ci/",
        "/ci_",
    ]
    .iter()
    .any(|part| path.contains(part));
    if conda {
        let what = name.unwrap_or("NAME");
        return wrong(
            "conda's `pip freeze` wrote the directory in which the package was built",
            format!(
                "{what}==VERSION (`pip list --format=freeze > requirements.txt` writes all of them so)"
            ),
        );
    }
    if path.starts_with("..") {
        return wrong(
            format!("`{path}` lies outside of the source"),
            "build from the directory above (`--path`) with the setting `home`, or copy it into the source",
        );
    }
    let write = match name {
        Some(name) => format!("{name}==VERSION, or copy it into the source and write ./{name}"),
        None => "copy it into the source and write its path from there, as ./lib".to_owned(),
    };
    wrong(
        format!("`{path}` is a path of the machine that the list was written on"),
        write,
    )
}
