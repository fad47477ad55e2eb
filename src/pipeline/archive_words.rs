//! What an archive of sources says about its package. It is a stranger's word: it may only make a list longer, or
//! a build stop.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::app::requirement::name_of;
use crate::layer::{Limits, MemberKind, TarReader, decompressor};

use super::plain_lists::is_plain;

/// Most bytes that are read of one archive.
const ARCHIVE: Limits = Limits {
    max_bytes: 1 << 30,
    max_entries: 100_000,
};
/// Largest file with metadata of a package.
const MAX_WORDS: u64 = 1024 * 1024;
/// The default build requirements of a project (PEP 517).
const USUAL_BUILDER: &str = "setuptools>=40.8.0";

/// The requirements that an archive states for its package.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) needs: BTreeSet<String>,
    pub(super) builders: BTreeSet<String>,
}

impl Words {
    pub(super) fn of(archive: &Path) -> Self {
        let mut words = Self::default();
        let is_said = File::open(archive).is_ok_and(|file| words.read(file));
        if !is_said {
            words.builders = BTreeSet::from([USUAL_BUILDER.to_owned()]);
        }
        words
    }

    /// Reads a tar; returns whether it names its build requirements. Of a damaged one, the part before the
    /// damage is read.
    fn read(&mut self, file: File) -> bool {
        let mut is_said = false;
        let mut tar = TarReader::new(decompressor(file), ARCHIVE);
        while let Ok(Some(member)) = tar.next_member() {
            let mut parts = member.path.iter().skip(1).filter_map(|part| part.to_str());
            let file = match (parts.next(), parts.next(), parts.next()) {
                (Some(name @ ("PKG-INFO" | "pyproject.toml")), None, None) => name,
                (Some(directory), Some("requires.txt"), None)
                    if directory.ends_with(".egg-info") =>
                {
                    "requires.txt"
                }
                _ => continue,
            };
            let mut text = String::new();
            if !matches!(member.kind, MemberKind::File)
                || tar
                    .by_ref()
                    .take(MAX_WORDS)
                    .read_to_string(&mut text)
                    .is_err()
            {
                continue;
            }
            match file {
                "PKG-INFO" => {
                    let headers = text.lines().take_while(|line| !line.is_empty());
                    let named = headers.filter_map(|line| line.strip_prefix("Requires-Dist:"));
                    self.needs.extend(named.filter_map(plain));
                }
                "requires.txt" => {
                    let first = text.lines().take_while(|line| !line.starts_with('['));
                    self.needs.extend(first.filter_map(plain));
                }
                _ => is_said |= self.project(&text),
            }
        }
        is_said
    }

    /// A `pyproject.toml`.
    fn project(&mut self, text: &str) -> bool {
        let Ok(document) = toml::from_str::<toml::Table>(text) else {
            return false;
        };
        let list = |table: &str, key: &str| {
            let list = document.get(table)?.get(key)?.as_array()?;
            let texts = list.iter().filter_map(toml::Value::as_str);
            Some(texts.filter_map(plain).collect::<BTreeSet<String>>())
        };
        self.needs
            .extend(list("project", "dependencies").unwrap_or_default());
        match list("build-system", "requires") {
            Some(builders) => {
                self.builders = builders;
                true
            }
            None => false,
        }
    }
}

/// A name with versions and a marker, which is harmless in a list.
fn plain(text: &str) -> Option<String> {
    let text = text.trim();
    (is_plain(text) && name_of(text).is_some() && !text.contains(" --")).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_an_archive_says() {
        let place = tempfile::tempdir().unwrap();
        let archive = |files: &[(&str, &str)]| {
            let path = place.path().join("a.tar.gz");
            let file = File::create(&path).unwrap();
            let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
                file,
                flate2::Compression::fast(),
            ));
            for (name, text) in files {
                let mut header = tar::Header::new_gnu();
                header.set_size(text.len() as u64);
                header.set_mode(0o644);
                tar.append_data(&mut header, name, text.as_bytes()).unwrap();
            }
            tar.into_inner().unwrap().finish().unwrap();
            Words::of(&path)
        };
        let usual = Words {
            needs: set(&[]),
            builders: set(&[USUAL_BUILDER]),
        };
        assert_eq!(archive(&[("x-1/setup.py", "")]), usual);
        let found = archive(&[
            (
                "x-1/PKG-INFO",
                "Name: x\nRequires-Dist: six>=1; python_version > \"3\"\nRequires-Dist: y @ https://h/y.whl\nRequires-Dist: --index-url=x\n\nRequires-Dist: late\n",
            ),
            (
                "x-1/x.egg-info/requires.txt",
                "click\n-r /etc/passwd\n\n[dev]\npytest\n",
            ),
            (
                "x-1/below/pyproject.toml",
                "[build-system]\nrequires = [\"no\"]\n",
            ),
            (
                "x-1/pyproject.toml",
                "[build-system]\nrequires = [\"hatchling>=1\", \"z @ file:///x\"]\n[project]\ndependencies = [\"attrs\"]\n",
            ),
        ]);
        let expected = Words {
            needs: set(&["six>=1; python_version > \"3\"", "click", "attrs"]),
            builders: set(&["hatchling>=1"]),
        };
        assert_eq!(found, expected);
        std::fs::write(place.path().join("b.tar.gz"), b"\x1f\x8b").unwrap();
        assert_eq!(Words::of(&place.path().join("b.tar.gz")), usual);
    }
}
