//! What a line means.

use std::borrow::Cow;

use super::super::address::percent_decoded_text;
use super::super::contract;
use super::super::files::{self, Files};
use super::problem::{self, Wrong, uv_cannot, wrong};
use super::{LineKind, name_of, normalize};

/// The position of a line.
pub(super) struct LineContext<'a> {
    pub(super) files: &'a dyn Files,
    /// The directory of its file.
    pub(super) directory: &'a str,
    /// The directory of the application.
    pub(super) home: &'a str,
}

/// Options that stand alone: those with a value, and those without one.
const WITH_VALUE: &[(&str, &str)] = &[
    ("--index-url", "-i"),
    ("--pypi-url", ""),
    ("--extra-index-url", ""),
    ("--find-links", "-f"),
    ("--no-binary", ""),
    ("--only-binary", ""),
    ("--trusted-host", ""),
    ("--use-feature", ""),
];
const ALONE: &[&str] = &["--no-index", "--pre", "--prefer-binary", "--require-hashes"];

/// The value of an option written as `-r FILE`, `-rFILE`, `--requirement FILE` or
/// `--requirement=FILE`.
pub(super) fn option_value<'a>(text: &'a str, short: &str, long: &str) -> Option<&'a str> {
    if let Some(rest) = text.strip_prefix(long) {
        if let Some(value) = rest.strip_prefix('=') {
            return Some(value.trim());
        }
        if rest.starts_with(char::is_whitespace) {
            return Some(rest.trim());
        }
    }
    if !short.is_empty()
        && !text.starts_with("--")
        && let Some(rest) = text.strip_prefix(short)
        && !rest.is_empty()
    {
        return Some(rest.trim_start_matches('=').trim());
    }
    None
}

/// `--index-url URL --trusted-host HOST` is two options, and pip takes them from one line.
pub(super) fn options(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match found.last_mut() {
            Some(last) if !word.starts_with('-') => {
                last.push(' ');
                last.push_str(word);
            }
            _ => found.push(word.to_owned()),
        }
    }
    found
}

/// `FILE:///x` is a path as `file:///x` is (RFC 3986: schemes are the same in both cases).
fn lower_file_scheme(url: &str) -> Cow<'_, str> {
    match url.split_at_checked(5) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file:") => {
            format!("file:{rest}").into()
        }
        _ => url.into(),
    }
}

fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

/// What kind of requirement this text is, and what is wrong with it.
pub(super) fn classify(text: &str, place: &LineContext<'_>) -> (LineKind, Option<Wrong>) {
    let bare = |value: &str| value.trim_matches(['"', '\'']).to_owned();
    for (short, long, constraint) in [("-r", "--requirement", false), ("-c", "--constraint", true)]
    {
        if let Some(value) = option_value(text, short, long).map(bare) {
            let value = lower_file_scheme(&value).into_owned();
            if is_url(&value) && !value.starts_with("file:") {
                return (LineKind::Option, None);
            }
            let value = value.strip_prefix("file:").unwrap_or(&value);
            let path = files::join(place.directory, value);
            return (
                if constraint {
                    LineKind::Constraint(path)
                } else {
                    LineKind::Include(path)
                },
                None,
            );
        }
    }
    if let Some(value) = option_value(text, "-e", "--editable") {
        return target(value, place, true);
    }
    if text.starts_with('-') {
        return (LineKind::Option, of_option(text, place));
    }
    target(text, place, false)
}

fn of_option(text: &str, place: &LineContext<'_>) -> Option<Wrong> {
    if let Some((long, value)) = WITH_VALUE
        .iter()
        .find_map(|(long, short)| option_value(text, short, long).map(|value| (long, value)))
    {
        if value.is_empty() {
            return Some(wrong(
                "the option has no value",
                "a value, or delete the line",
            ));
        }
        let names_a_place = long.ends_with("-url") || *long == "--find-links";
        return names_a_place.then(|| of_place(value, place)).flatten();
    }
    if ALONE.contains(&text) {
        return None;
    }
    let word = text.split(['=', ' ']).next().unwrap_or(text);
    let known = WITH_VALUE
        .iter()
        .map(|(long, _)| *long)
        .chain(ALONE.iter().copied())
        .chain(["--requirement", "--constraint", "--editable"]);
    if known.clone().any(|option| option == word) {
        return Some(wrong(
            "the option has no value, or one where none belongs",
            "it as pip's documentation has it, or delete the line",
        ));
    }
    let near = known
        .map(|option| (strsim::damerau_levenshtein(option, word), option))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    Some(wrong(
        format!("pip knows no option {word} in a requirements file"),
        match near {
            Some((_, option)) => {
                format!("{option}, if that is what it means; else delete the line")
            }
            None => "the requirements without it".to_owned(),
        },
    ))
}

/// Where packages are: an address, or a directory of the source.
fn of_place(value: &str, place: &LineContext<'_>) -> Option<Wrong> {
    let value = lower_file_scheme(value.trim_matches(['"', '\'']));
    if is_url(&value) && !value.starts_with("file:") {
        return None;
    }
    let path = plain_path(&value);
    let candidates = candidates(&path, place);
    (candidates.is_empty()).then(|| problem::of_outside(&path, None))
}

/// Splits a line into the requirement and its options (`--hash …`).
fn without_options(text: &str) -> (&str, &str) {
    let at = [" --", "\t--", " -C"]
        .iter()
        .filter_map(|start| text.find(start))
        .min()
        .unwrap_or(text.len());
    (text[..at].trim(), text[at..].trim())
}

fn of_own_options(options: &str) -> Option<Wrong> {
    let other = options
        .split_whitespace()
        .find(|word| word.starts_with('-') && !word.starts_with("--hash"))?;
    let other = other.split('=').next().unwrap_or(other);
    let known = [
        "--global-option",
        "--install-option",
        "--config-settings",
        "--config-setting",
        "-C",
    ];
    Some(if known.contains(&other) {
        uv_cannot(format!("uv does not take {other} in a list"))
    } else {
        wrong(
            format!("a requirement has no option {other}"),
            "the option on a line of its own, or not at all",
        )
    })
}

/// Most brackets of a requirement: the installers' parsers recurse for each, and crash without a
/// message when their stack overflows.
const MAX_BRACKETS: usize = 100;

fn target(text: &str, place: &LineContext<'_>, editable: bool) -> (LineKind, Option<Wrong>) {
    let (requirement, own_options) = without_options(text);
    let brackets = text.bytes().filter(|byte| b"([{".contains(byte)).count();
    let own = if brackets > MAX_BRACKETS {
        Some(wrong(
            format!("it has more than {MAX_BRACKETS} brackets"),
            "a marker without so many of them",
        ))
    } else {
        of_own_options(own_options)
    };
    let (kind, wrong) = target_without_options(requirement, place, editable);
    (kind, wrong.or(own))
}

fn target_without_options(
    text: &str,
    place: &LineContext<'_>,
    editable: bool,
) -> (LineKind, Option<Wrong>) {
    // A marker after a URL or a path has a space before it.
    let end = text.find(" ;").unwrap_or(text.len());
    let bare = lower_file_scheme(text[..end].trim().trim_matches(['"', '\'']));
    let bare: &str = &bare;
    let marker = &text[end..];
    // `x.whl` is a file, `x @ https://host/x.whl` is not.
    let is_named = |rest: &str| rest.starts_with(['@', '[']) || !is_archive(bare);
    if let Some((name, rest)) = name_of(text)
        && !editable
        && is_named(rest)
    {
        let (extras, after_extras) = match rest.strip_prefix('[').and_then(|i| i.split_once(']')) {
            Some((extras, after)) => (extras, after.trim_start()),
            None => ("", rest),
        };
        let written = if extras.is_empty() {
            name.to_owned()
        } else {
            format!("{name}[{extras}]")
        };
        let normal = normalize(name);
        if let Some(url) = after_extras.strip_prefix('@') {
            let url = lower_file_scheme(url.trim_start());
            let url: &str = &url;
            let (url, marker) = match url.find(" ;") {
                Some(at) => (url[..at].trim(), &url[at..]),
                None => (url.trim(), ""),
            };
            if url.starts_with("file:") || url.starts_with(['.', '/']) {
                let extras = if extras.is_empty() {
                    String::new()
                } else {
                    format!("[{extras}]")
                };
                return local(url, place, false, Some(name), &format!("{extras}{marker}"));
            }
            let wrong = of_url(url);
            return (
                LineKind::Named {
                    name: normal,
                    url: Some(url.to_owned()),
                },
                wrong,
            );
        }
        let versions = after_extras.split(';').next().unwrap_or_default().trim();
        let wrong = problem::of_name(&normal, &written, after_extras)
            .or_else(|| problem::of_versions(&written, versions));
        return (
            LineKind::Named {
                name: normal,
                url: None,
            },
            wrong,
        );
    }
    if (is_url(bare) && !bare.starts_with("file:")) || bare.starts_with("git+") {
        return (
            LineKind::Url {
                url: bare.to_owned(),
                name: name_of_url(bare),
                editable,
            },
            of_url(bare),
        );
    }
    local(bare, place, editable, None, marker)
}

fn of_url(url: &str) -> Option<Wrong> {
    let scheme = url.split(['+', ':']).next().unwrap_or_default();
    if ["hg", "svn", "bzr"].contains(&scheme) {
        return Some(wrong(
            format!("packages are fetched with git, not with {scheme}"),
            "a released version, or the URL of an archive or of a git repository",
        ));
    }
    // `git+file:///x`, `git+/x`, `git+../x`: no repository of this machine is in the sandbox.
    let git = url
        .split_once('+')
        .filter(|(git, _)| git.eq_ignore_ascii_case("git"));
    if let Some((_, place)) = git {
        let place = lower_file_scheme(place);
        let place: &str = &place;
        if place.starts_with("file:") || place.starts_with(['/', '.', '~']) {
            return Some(problem::of_outside(&plain_path(place), None));
        }
    }
    None
}

fn name_of_url(url: &str) -> Option<String> {
    url.split_once('#')
        .and_then(|(_, fragment)| {
            fragment
                .split('&')
                .find_map(|part| part.strip_prefix("egg="))
        })
        .and_then(name_of)
        .map(|(name, _)| normalize(name))
        .or_else(|| name_of_wheel(url.split(['#', '?']).next()?))
}

/// The name in a wheel's path.
pub(super) fn name_of_wheel(path: &str) -> Option<String> {
    let stem = path.rsplit('/').next()?.strip_suffix(".whl")?;
    stem.split('-').next().map(normalize)
}

/// Whether a path is that of a file that an installer takes.
pub fn is_archive(path: &str) -> bool {
    const ENDS: &[&str] = &[".whl", ".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz"];
    ENDS.iter().any(|end| path.ends_with(end))
}

fn without_scheme(written: &str) -> &str {
    let path = written.strip_prefix("file:").unwrap_or(written);
    let Some(path) = path.strip_prefix("//") else {
        return path;
    };
    // The machine's own name is not a host, and an absolute path follows it.
    match path.strip_prefix("localhost") {
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

fn plain_path(written: &str) -> String {
    let path = without_scheme(written);
    let path = path.split('#').next().unwrap_or(path);
    percent_decoded_text(path.trim_end())
}

/// What a path may mean in the source, without reading the source; empty for a path outside.
fn candidates(path: &str, place: &LineContext<'_>) -> Vec<String> {
    // A list that was written in an image has the source's path there.
    // `file:///./lib` is what is left of pdm's `file:///${PROJECT_ROOT}/lib`.
    let from_root = path
        .strip_prefix(contract::SOURCE)
        .or_else(|| path.strip_prefix("/.").filter(|rest| rest.starts_with('/')))
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .map(|rest| rest.trim_start_matches('/'));
    let windows = path.get(1..2) == Some(":") || path.contains('\\') || path.starts_with("/C:");
    if windows || (path.starts_with('/') && from_root.is_none()) || path.starts_with('~') {
        return Vec::new();
    }
    // pip reads a path relative to its working directory, uv relative to the list's directory.
    let all: Vec<Option<String>> = match from_root {
        Some(path) => vec![files::join("", path)],
        None => [place.home, "", place.directory]
            .iter()
            .map(|directory| files::join(directory, path))
            .collect(),
    };
    all.into_iter().flatten().collect()
}

/// A path in the source or outside. `after` is what follows it in the line.
fn local(
    written: &str,
    place: &LineContext<'_>,
    editable: bool,
    name: Option<&str>,
    after: &str,
) -> (LineKind, Option<Wrong>) {
    let path = without_scheme(written);
    let (path, _fragment) = path.split_once('#').unwrap_or((path, ""));
    let (path, extras) = match path.find('[') {
        Some(at) => (&path[..at], format!("{}{after}", &path[at..])),
        None => (path, after.to_owned()),
    };
    let path = percent_decoded_text(path.trim_end());
    let of_kind = |path: Option<String>| LineKind::Local {
        path,
        extras: extras.clone(),
        editable,
    };
    let candidates = candidates(&path, place);
    let Some(first) = candidates.first() else {
        return (of_kind(None), Some(problem::of_outside(&path, name)));
    };
    let found = candidates
        .iter()
        .find(|path| is_installable(place.files, path));
    if let Some(found) = found {
        return (of_kind(Some(found.clone())), None);
    }
    let there = candidates
        .iter()
        .find(|path| place.files.is_directory(path));
    let looks_like_path = written.starts_with("file:")
        || editable
        || name.is_some()
        || written.contains('/')
        || written.starts_with('.')
        || is_archive(written);
    let wrong = match there {
        Some(_) if looks_like_path => wrong(
            format!(
                "the directory {path} has no pyproject.toml, setup.py or setup.cfg: it is not a project that can be installed"
            ),
            "the path of a project, or delete the line (the application's own modules need no installation)",
        ),
        _ if looks_like_path => wrong(
            format!("there is no {path} in the source"),
            "a path that is there (is it ignored by git?), or a name and a version",
        ),
        _ => wrong(
            "it is not a requirement that pip knows",
            "a name with a version, as flask==3.0, a URL or a path that begins with ./",
        ),
    };
    let kept = there.unwrap_or(first).clone();
    (of_kind(Some(kept)), Some(wrong))
}

/// Whether an installer can install the directory or file at this path.
fn is_installable(files: &dyn Files, path: &str) -> bool {
    if is_archive(path) {
        return files.is_file(path);
    }
    ["pyproject.toml", "setup.py", "setup.cfg"]
        .iter()
        .any(|name| files.is_file(&files::join(path, name).unwrap_or_default()))
}
