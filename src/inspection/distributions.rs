//! The installed Python distributions, by their `METADATA` and `RECORD`.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::contents::{Contents, normal};

/// Most distributions that are reported.
const MAX: usize = 5000;

/// Of a name, a version or a licence, in characters.
const MAX_TEXT: usize = 120;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    pub name: String,
    pub version: String,
    /// From its own metadata; may be empty.
    pub licence: String,
    /// Bytes of its files, byte-code included.
    pub size: u64,
    pub files: usize,
    /// Which layer has its `METADATA`, from the lowest, 0.
    pub layer: usize,
}

/// All of them, by name.
pub(super) fn of(contents: &Contents) -> Vec<Distribution> {
    let mut found: Vec<Distribution> = contents
        .documents
        .iter()
        .filter(|(path, _)| path.file_name() == Some(OsStr::new("METADATA")))
        .filter_map(|(path, bytes)| one(contents, path, bytes))
        .take(MAX)
        .collect();
    found.sort_by(|a, b| {
        (a.name.to_lowercase(), &a.version).cmp(&(b.name.to_lowercase(), &b.version))
    });
    found
}

fn one(contents: &Contents, path: &Path, metadata: &[u8]) -> Option<Distribution> {
    let layer = contents.files.get(path)?.layer;
    let text = String::from_utf8_lossy(metadata);
    let headers = Headers::of(&text);
    let info = path.parent()?;
    let site = info.parent()?;
    let record = contents.documents.get(&info.join("RECORD"));
    let own = own_files(contents, site, record.map_or(&[][..], Vec::as_slice));
    Some(Distribution {
        name: clipped(headers.first("Name")?),
        version: clipped(headers.first("Version").unwrap_or_default()),
        licence: clipped(&headers.licence()),
        size: own
            .iter()
            .filter_map(|path| contents.files.get(path))
            .map(|file| file.size)
            .sum(),
        files: own.len(),
        layer,
    })
}

/// The existing files in `RECORD`, and their byte-code, which not every installer lists.
fn own_files(contents: &Contents, site: &Path, record: &[u8]) -> HashSet<PathBuf> {
    let mut own = HashSet::new();
    for line in record.split(|byte| *byte == b'\n') {
        let name = match line.strip_prefix(b"\"") {
            Some(quoted) => quoted.split(|byte| *byte == b'"').next(),
            None => line.split(|byte| *byte == b',').next(),
        };
        let Some(path) = name
            .filter(|name| !name.is_empty())
            .and_then(|name| normal(&site.join(OsStr::from_bytes(name))))
        else {
            continue;
        };
        if path.extension() == Some(OsStr::new("py"))
            && let (Some(parent), Some(stem)) = (path.parent(), path.file_stem())
        {
            let mut begin = stem.to_owned();
            begin.push(".");
            let cache = parent.join("__pycache__");
            let from = cache.join(&begin);
            let code = contents
                .files
                .range(from..)
                .map(|(path, _)| path)
                .take_while(|path| path.starts_with(&cache))
                .take_while(|path| {
                    path.file_name()
                        .is_some_and(|name| name.as_bytes().starts_with(begin.as_bytes()))
                });
            own.extend(code.cloned());
        }
        if contents.files.contains_key(&path) {
            own.insert(path);
        }
    }
    own
}

/// The fields of a `METADATA` file (RFC 822's form), before the description.
struct Headers<'t>(Vec<(&'t str, &'t str)>);

impl<'t> Headers<'t> {
    fn of(text: &'t str) -> Self {
        let fields = text
            .lines()
            .take_while(|line| !line.is_empty())
            .filter(|line| !line.starts_with([' ', '\t']))
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name, value.trim()));
        Self(fields.collect())
    }

    fn all(&self, wanted: &'t str) -> impl Iterator<Item = &'t str> + '_ {
        let fields = self.0.iter();
        fields
            .filter(move |(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| *value)
    }

    fn first(&self, name: &'t str) -> Option<&'t str> {
        self.all(name).find(|value| !value.is_empty())
    }

    /// The expression (PEP 639), else what the classifiers say, else the first line of the free text.
    fn licence(&self) -> String {
        if let Some(expression) = self.first("License-Expression") {
            return expression.to_owned();
        }
        let classified: Vec<&str> = self
            .all("Classifier")
            .filter_map(|text| text.strip_prefix("License :: "))
            .map(|text| text.rsplit(" :: ").next().unwrap_or(text))
            .collect();
        if !classified.is_empty() {
            return classified.join(", ");
        }
        match self.first("License") {
            Some(text) if text != "UNKNOWN" => text.to_owned(),
            _ => String::new(),
        }
    }
}

fn clipped(text: &str) -> String {
    let mut clipped: String = text.chars().take(MAX_TEXT).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspection::contents::File;

    #[test]
    fn the_licence_is_what_the_package_says_best() {
        for (text, expected) in [
            ("License-Expression: MIT\nLicense: x\n", "MIT"),
            (
                "License: BSD\nClassifier: License :: OSI Approved :: MIT License\n",
                "MIT License",
            ),
            ("License: BSD\n more\n", "BSD"),
            ("License: UNKNOWN\n", ""),
            ("Name: x\n\nLicense: of the description\n", ""),
        ] {
            assert_eq!(Headers::of(text).licence(), expected, "{text}");
        }
    }

    #[test]
    fn a_distribution_is_as_large_as_its_files_and_their_byte_code() {
        let mut contents = Contents::default();
        let mut put = |path: &str, size| {
            let file = File {
                layer: 2,
                size,
                digest: None,
            };
            contents.files.insert(path.into(), file);
        };
        put("s/a.py", 10);
        put("s/__pycache__/a.cpython-311.pyc", 5);
        put("s/__pycache__/ab.cpython-311.pyc", 100);
        put("bin/a", 1);
        put("s/a-1.dist-info/METADATA", 3);
        put("other", 1000);
        let documents = [
            ("s/a-1.dist-info/METADATA", "Name: A\nVersion: 1\n"),
            (
                "s/a-1.dist-info/RECORD",
                "a.py,sha256=x,10\n\"../bin/a\",,\n../../../other,,\nmissing,,\n",
            ),
        ];
        for (path, text) in documents {
            contents.documents.insert(path.into(), text.into());
        }
        let found = of(&contents);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].size, found[0].files, found[0].layer), (16, 3, 2));
    }
}
