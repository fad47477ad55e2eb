//! Lists for an installer that runs without any code of the application: names, versions and indexes, if the
//! application states them plainly.

use std::collections::BTreeMap;
use std::path::Path;

use crate::app::Detected;
use crate::app::requirement::{Line, LineKind, expand};
use crate::source::Tree;

use super::request::Request;

/// Largest constraints file that is read.
const MAX_CONSTRAINTS: u64 = 1024 * 1024;

/// The list for uv.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lists {
    /// Names, versions, and the indexes that they are looked up in.
    pub(super) requirements: String,
    pub(super) constraints: String,
    /// The first line that is in neither list, if there is one.
    pub(super) left_out: Option<String>,
}

/// The application's plainly stated requirements, and `more`.
pub(super) fn of_project(
    source: &Tree,
    detected: &Detected,
    more: &[String],
    request: &Request,
) -> Lists {
    of_lines(source, detected, more, request, &BTreeMap::new())
}

/// The same with the values of `${NAME}` in the addresses of indexes. Then it may contain a login.
pub(super) fn of_lines(
    source: &Tree,
    detected: &Detected,
    more: &[String],
    request: &Request,
    variables: &BTreeMap<String, String>,
) -> Lists {
    let constraints = |path: &str| {
        let bytes = source
            .read(Path::new(path), MAX_CONSTRAINTS)
            .ok()
            .flatten()?;
        String::from_utf8(bytes).ok()
    };
    let mut all = detected.project.requirements.lines.clone();
    for line in all.iter_mut().filter(|line| line.kind == LineKind::Option) {
        line.text = expand(&line.text, variables).0;
    }
    let mut lists = lists(&all, more, &constraints);
    if let Some(pinned) = &request.pinned {
        lists.constraints.push_str(&pinned.constraints);
    }
    lists
}

/// Names, versions and indexes. URLs, paths and other options are left out: the source chooses what
/// they mean, and the result would go to a place that other applications share.
fn lists(lines: &[Line], server: &[String], constraints: &dyn Fn(&str) -> Option<String>) -> Lists {
    let mut lists = Lists::default();
    let mut named = false;
    let mut requirements: Vec<&str> = Vec::new();
    let mut left_out = None;
    for line in lines {
        match &line.kind {
            LineKind::Named { url: None, .. } if is_plain(&line.text) => {
                named = true;
                requirements.push(&line.text);
            }
            LineKind::Option if is_index(&line.text) => requirements.push(&line.text),
            LineKind::Include(Some(_)) => {}
            LineKind::Constraint(Some(path)) => {
                let text = constraints(path);
                if text.is_none() {
                    left_out.get_or_insert(&line.text);
                }
                for text in text.iter().flat_map(|text| text.lines()) {
                    let text = text.split(" #").next().unwrap_or(text).trim();
                    if text.is_empty() || text.starts_with('#') {
                    } else if is_plain(text) && !text.starts_with('-') {
                        lists.constraints.push_str(text);
                        lists.constraints.push('\n');
                    } else {
                        left_out.get_or_insert(&line.text);
                    }
                }
            }
            _ => {
                left_out.get_or_insert(&line.text);
            }
        }
    }
    lists.left_out = left_out.cloned();
    requirements.extend(server.iter().map(String::as_str));
    if named || !server.is_empty() {
        for line in requirements {
            lists.requirements.push_str(line);
            lists.requirements.push('\n');
        }
    }
    lists
}

/// A name with extras, versions, markers and hashes, on one line.
pub(super) fn is_plain(text: &str) -> bool {
    !text.contains(['@', '/', '\\', '$', '\n', '\r'])
}

/// An index on the web.
fn is_index(text: &str) -> bool {
    if text == "--pre" {
        return true;
    }
    let value = ["--index-url", "--extra-index-url", "-i"]
        .iter()
        .find_map(|option| text.strip_prefix(option))
        .map(|rest| rest.trim_start_matches('=').trim());
    value.is_some_and(|url| {
        (url.starts_with("https://") || url.starts_with("http://"))
            && !url.contains(char::is_whitespace)
            && !url.contains("${")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, kind: LineKind) -> Line {
        Line {
            file: "requirements.txt".into(),
            number: 1,
            text: text.into(),
            kind,
        }
    }

    fn named(text: &str) -> Line {
        line(
            text,
            LineKind::Named {
                name: String::new(),
                url: None,
            },
        )
    }

    #[test]
    fn only_names_versions_and_indexes_are_fetched() {
        let option = |text: &str| line(text, LineKind::Option);
        let lines = [
            option("--index-url https://index.example/simple"),
            option("--extra-index-url=http://other.example/"),
            option("--index-url file:///opt/app-root/src/index"),
            option("--index-url https://a/ --trusted-host pypi.org"),
            option("--trusted-host pypi.org"),
            option("--find-links ./wheels"),
            option("--no-binary :all:"),
            named("flask[async]==3.0 ; python_version > '3.8' --hash=sha256:00"),
            named("evil @ file:///x.whl"),
            named("evil==$SECRET"),
            line(
                "x @ https://x/x.whl",
                LineKind::Named {
                    name: "x".into(),
                    url: Some("https://x/x.whl".into()),
                },
            ),
            line("-c c.txt", LineKind::Constraint(Some("c.txt".into()))),
        ];
        let constraints = |path: &str| {
            assert_eq!(path, "c.txt");
            Some("click<9\nevil @ git+https://x/y\n--no-binary :all:\n-c other\n./dir\n".into())
        };
        assert_eq!(
            lists(&lines, &["gunicorn==23.0.0".into()], &constraints),
            Lists {
                requirements: "--index-url https://index.example/simple\n\
                    --extra-index-url=http://other.example/\n\
                    flask[async]==3.0 ; python_version > '3.8' --hash=sha256:00\n\
                    gunicorn==23.0.0\n"
                    .into(),
                constraints: "click<9\n".into(),
                left_out: Some("--index-url file:///opt/app-root/src/index".into()),
            }
        );
        let nothing = lists(&lines[..2], &[], &constraints);
        assert_eq!(nothing, Lists::default());
    }
}
