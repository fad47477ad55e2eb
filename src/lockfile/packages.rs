//! Locked packages, for every format of lock file.

use std::collections::BTreeSet;

use crate::app::address::percent_decoded_text;
use crate::app::files;
use crate::app::listed::LocalProject;
use crate::app::pip_variables::is_pypi;
use crate::app::requirement::{is_archive, normalize};

/// The default index.
pub const PYPI: &str = "https://pypi.org/simple";

/// The packages to install.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locked {
    /// By name; each name once.
    pub packages: Vec<Package>,
    /// Normalized names of the project's own requirements.
    pub direct: BTreeSet<String>,
    /// Projects of the tree, which are installed as such and are not in the list of packages.
    pub projects: Vec<LocalProject>,
    /// Their normalized names.
    pub local: BTreeSet<String>,
    /// Files of the tree that are installed, with the name of the package and the hashes in the lock.
    pub archives: Vec<Archive>,
}

/// A wheel or an archive of sources in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Normalized.
    pub name: String,
    pub path: String,
    /// SHA-256, hexadecimal: the file has one of these.
    pub sha256: Vec<String>,
}

impl Archive {
    /// `None` for a directory, and for a file that the lock has no hash of.
    pub(super) fn of<'h>(
        name: &str,
        path: &str,
        hashes: impl IntoIterator<Item = &'h str>,
    ) -> Option<Self> {
        let sha256: Vec<String> = hashes.into_iter().filter_map(sha256).collect();
        (is_archive(path) && !sha256.is_empty()).then(|| Self {
            name: normalize(name),
            path: path.to_owned(),
            sha256,
        })
    }
}

/// One distribution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Normalized (PEP 503).
    pub name: String,
    /// Empty if the format does not have it: for a repository.
    pub version: String,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// One of these files, from one of these indexes and nowhere else. The indexes are asked in
    /// this order; usually there is only one.
    Index {
        indexes: Vec<Index>,
        files: Vec<File>,
    },
    /// This file.
    Archive {
        file: File,
        subdirectory: Option<String>,
    },
    /// A commit of a repository.
    Git {
        url: String,
        commit: String,
        subdirectory: Option<String>,
    },
}

/// A package index (PEP 503).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Index {
    /// The name under which its login is found.
    pub name: Option<String>,
    /// Without login. `None`: the default index of this build.
    pub url: Option<String>,
}

impl Index {
    /// The index of this address; the default one for `PyPI`'s address.
    pub fn at(name: Option<&str>, url: &str) -> Self {
        let url = url.trim_end_matches('/');
        Self {
            name: name.map(str::to_owned),
            url: (!is_pypi(url)).then(|| url.to_owned()),
        }
    }
}

/// A wheel or an archive of sources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct File {
    pub name: String,
    /// Its address, if the lock has it. May be relative to the index.
    pub url: Option<String>,
    /// Hexadecimal, small letters.
    pub sha256: String,
    pub size: Option<u64>,
}

impl File {
    pub(super) fn is_wheel(&self) -> bool {
        self.name
            .rsplit_once('.')
            .is_some_and(|(_, extension)| extension.eq_ignore_ascii_case("whl"))
    }

    /// The last part of a URL's path.
    pub(super) fn name_of(url: &str) -> String {
        let path = url.split(['?', '#']).next().unwrap_or(url);
        let last = path.rsplit('/').next().unwrap_or(path);
        percent_decoded_text(last)
    }
}

/// Names in words: `they are a, b and c`.
pub(super) fn named<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut names: Vec<String> = names
        .map(|name| name.escape_default().to_string())
        .collect();
    let last = names.pop();
    match (names.is_empty(), last) {
        (_, None) => "there are none".to_owned(),
        (true, Some(one)) => format!("the only one is {one}"),
        (false, Some(last)) => format!("they are {} and {last}", names.join(", ")),
    }
}

/// The SHA-256 of `sha256:HEX`, if it is one.
pub(super) fn sha256(text: &str) -> Option<String> {
    let hash = text.strip_prefix("sha256:")?;
    let is_one = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| hash.to_ascii_lowercase())
}

/// Whether the text is exactly one word of a list or command, and not an option.
pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// Normalizes a path that a lock writes relative to its own directory; it may lead to a sibling.
pub(super) fn beside(path: &str) -> Option<String> {
    let mut rest = path;
    while let Some(inner) = rest.strip_prefix("./") {
        rest = inner;
    }
    let mut up = String::new();
    while let Some(inner) = rest.strip_prefix("../") {
        up.push_str("../");
        rest = inner;
    }
    let below = files::join("", rest)?;
    let path = format!("{up}{below}");
    (path.is_empty() || is_word(&path)).then_some(path)
}

/// A distribution's name that is safe in a list.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= 200
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// A version that is safe in a list.
pub(super) fn is_version(text: &str) -> bool {
    text.len() <= 200
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.+!".contains(c))
}

/// A file's name that is safe in a path and in a URL.
pub(super) fn is_file_name(text: &str) -> bool {
    text.len() <= 250
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.+!".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_hashes() {
        assert_eq!(
            File::name_of("https://x/a/b-1%2Bcpu-py3-none-any.whl#x"),
            "b-1+cpu-py3-none-any.whl"
        );
        assert!(is_name("zope.interface") && !is_name("-e") && !is_name("a b"));
        assert!(is_version("1!2.0+cpu.1") && !is_version("1 --x"));
        assert!(!is_file_name("../x") && is_file_name("x-1.tar.gz"));
        assert_eq!(sha256("sha256:00"), None);
        assert_eq!(Index::at(None, "https://pypi.org/simple/").url, None);
    }
}
