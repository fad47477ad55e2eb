//! `Pipfile.lock`: hashes by name, and the index of each name.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::{Table, Value};

use crate::app::listed::LocalProject;
use crate::app::requirement::normalize;

use super::hash::{Json, Style, sha256_of_json};
use super::marker::{self, Chosen};
use super::packages::{
    self, Archive, File, Index, Locked, Origin, Package, is_name, is_version, is_word, named,
};
use super::target::Target;

/// The name of the file, and of the one that it is made from.
pub(super) const FILE: &str = "Pipfile.lock";
pub(super) const PIPFILE: &str = "Pipfile";
/// The section of the application's own dependencies.
const DEFAULT: &str = "default";

#[derive(Debug)]
pub(super) struct Document {
    meta: Meta,
    /// `default`, `develop` and others of the project's own.
    sections: BTreeMap<String, BTreeMap<String, Entry>>,
}

#[derive(Debug, Deserialize)]
struct Meta {
    hash: BTreeMap<String, String>,
    #[serde(default)]
    requires: BTreeMap<String, String>,
    #[serde(default)]
    sources: Vec<Source>,
}

#[derive(Debug, Deserialize)]
struct Source {
    name: String,
    url: String,
}

#[derive(Debug, Default, Deserialize)]
struct Entry {
    version: Option<String>,
    #[serde(default)]
    hashes: Vec<String>,
    markers: Option<String>,
    index: Option<String>,
    git: Option<String>,
    r#ref: Option<String>,
    subdirectory: Option<String>,
    path: Option<String>,
    file: Option<String>,
    #[serde(default)]
    editable: bool,
}

impl Entry {
    /// The directory or the file of the tree that it is in: Pipenv has `path` and `file` for both.
    fn place(&self) -> Option<&str> {
        let place = self.path.as_deref().or(self.file.as_deref())?;
        match place.strip_prefix("file:") {
            Some(path) => Some(path.strip_prefix("//").unwrap_or(path)),
            None => (!place.contains("://")).then_some(place),
        }
    }
}

impl Document {
    /// # Errors
    /// A message, if it is not a lock of a known version.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut all: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        let meta = all.remove("_meta").ok_or("it has no _meta")?;
        let meta = serde_json::from_value(meta).map_err(|error| error.to_string())?;
        let mut sections = BTreeMap::new();
        for (name, section) in all {
            let section = serde_json::from_value(section).map_err(|error| error.to_string())?;
            sections.insert(name, section);
        }
        Ok(Self { meta, sections })
    }

    /// The Python that it was written for.
    pub(super) fn python(&self) -> Option<&str> {
        let requires = &self.meta.requires;
        let version = requires
            .get("python_full_version")
            .or_else(|| requires.get("python_version"));
        version.map(String::as_str)
    }

    /// Normalized names of the project's own requirements.
    pub(super) fn direct(pipfile: &Table) -> BTreeSet<String> {
        let asked = pipfile.get("packages").and_then(Value::as_table);
        asked
            .into_iter()
            .flatten()
            .map(|(name, _)| normalize(name))
            .collect()
    }

    /// Normalized names of the sections besides the main one.
    pub(super) fn groups(&self) -> BTreeSet<String> {
        let sections = self.sections.keys().filter(|name| *name != DEFAULT);
        let of_developers = ["dev", "develop", "dev-packages"].map(str::to_owned);
        sections
            .map(|name| normalize(name))
            .chain(of_developers)
            .collect()
    }

    /// Names and versions of all that is in it.
    pub(super) fn versions(&self) -> BTreeSet<(String, String)> {
        let all = self.sections.values().flatten();
        all.map(|(name, entry)| {
            let version = entry.version.as_deref().unwrap_or_default();
            (
                normalize(name),
                version.trim_start_matches('=').trim().to_owned(),
            )
        })
        .collect()
    }

    /// Whether it was written for this `Pipfile`.
    pub(super) fn fits(&self, pipfile: &Table) -> bool {
        self.meta.hash.get("sha256") == Some(&hash(pipfile))
    }

    /// # Errors
    /// In words.
    pub(super) fn select(
        &self,
        pipfile: &Table,
        groups: &BTreeSet<String>,
        target: &Target,
    ) -> Result<Locked, String> {
        let mut found: BTreeMap<String, Package> = BTreeMap::new();
        let mut locked = Locked::default();
        let mut sections = vec![(DEFAULT, "packages")];
        for group in groups {
            sections.push(match group.as_str() {
                "dev" | "develop" | "dev-packages" => ("develop", "dev-packages"),
                other => {
                    let mut names = self.sections.keys().map(String::as_str);
                    let name = names.find(|name| normalize(name) == other);
                    let name = name.unwrap_or(other);
                    (name, name)
                }
            });
        }
        for (section, table) in sections {
            let asked = pipfile.get(table).and_then(Value::as_table);
            locked
                .direct
                .extend(asked.into_iter().flatten().map(|(name, _)| normalize(name)));
            let entries = self.sections.get(section);
            for (name, entry) in entries.into_iter().flatten() {
                let wrong =
                    |problem: &str| format!("the package `{}` {problem}", name.escape_default());
                if !is_name(name) {
                    return Err(wrong("has no name of a package"));
                }
                if let Some(markers) = &entry.markers
                    && !marker::holds(markers, target, &Chosen::default())?
                {
                    continue;
                }
                if let Some(path) = entry.place() {
                    let path = packages::beside(path).ok_or_else(|| {
                        let path = path.escape_default();
                        wrong(&format!("is in {path}, which is outside the source"))
                    })?;
                    locked.local.insert(normalize(name));
                    let hashes = entry.hashes.iter().map(String::as_str);
                    locked.archives.extend(Archive::of(name, &path, hashes));
                    locked.projects.push(LocalProject {
                        path,
                        extras: String::new(),
                        editable: entry.editable,
                        named_in: FILE.to_owned(),
                        is_listed: false,
                    });
                    continue;
                }
                let version = entry.version.as_deref().unwrap_or_default();
                let version = version.trim_start_matches('=').trim();
                let origin = self
                    .origin(entry, version)
                    .map_err(|problem| wrong(&problem))?;
                found.entry(normalize(name)).or_insert(Package {
                    name: normalize(name),
                    version: version.to_owned(),
                    origin,
                });
            }
        }
        locked.packages = found.into_values().collect();
        Ok(locked)
    }

    fn origin(&self, entry: &Entry, version: &str) -> Result<Origin, String> {
        if let Some(url) = &entry.git {
            let commit = entry.r#ref.clone().unwrap_or_default();
            let subdirectory = entry.subdirectory.clone();
            if !is_word(url) || !is_word(&commit) || !subdirectory.as_deref().is_none_or(is_word) {
                return Err("is in a repository whose URL or commit cannot be used".into());
            }
            return Ok(Origin::Git {
                url: url.clone(),
                commit,
                subdirectory,
            });
        }
        let hashes = entry
            .hashes
            .iter()
            .map(|hash| {
                packages::sha256(hash).ok_or_else(|| "has a hash that is not a SHA-256".to_owned())
            })
            .collect::<Result<Vec<String>, String>>()?;
        if let Some(url) = &entry.file {
            let Some(sha256) = hashes.first() else {
                return Err("is an archive without a SHA-256".into());
            };
            if !is_word(url) || !url.contains("://") {
                return Err("is an archive whose URL cannot be used".into());
            }
            return Ok(Origin::Archive {
                file: File {
                    name: File::name_of(url),
                    url: Some(url.clone()),
                    sha256: sha256.clone(),
                    size: None,
                },
                subdirectory: None,
            });
        }
        if !is_version(version) {
            return Err("has no version".into());
        }
        if hashes.is_empty() {
            return Err("has no SHA-256".into());
        }
        // Without a name it is the first source, as for Pipenv.
        let index = match &entry.index {
            Some(name) => Some(
                self.meta
                    .sources
                    .iter()
                    .find(|source| source.name == *name)
                    .ok_or_else(|| {
                        let sources = self.meta.sources.iter().map(|source| source.name.as_str());
                        format!(
                            "is in the index {}, which its sources do not define: {}",
                            name.escape_default(),
                            named(sources)
                        )
                    })?,
            ),
            None => self.meta.sources.first(),
        };
        if index.is_some_and(|source| !is_word(&source.url)) {
            return Err("is in an index whose URL cannot be used".into());
        }
        Ok(Origin::Index {
            indexes: vec![index.map_or_else(Index::default, |source| {
                Index::at(Some(&source.name), &source.url)
            })],
            files: hashes
                .into_iter()
                .map(|sha256| File {
                    name: String::new(),
                    url: None,
                    sha256,
                    size: None,
                })
                .collect(),
        })
    }
}

/// Pipenv's hash of a `Pipfile`.
fn hash(pipfile: &Table) -> String {
    let pypi: Value = Value::Array(vec![Value::Table(Table::from_iter([
        ("name".to_owned(), Value::from("pypi")),
        ("url".to_owned(), Value::from("https://pypi.org/simple")),
        ("verify_ssl".to_owned(), Value::from(true)),
    ]))]);
    let sources = pipfile.get("source").unwrap_or(&pypi);
    let mut document = BTreeMap::from([
        (
            "_meta",
            Json::table([
                ("sources", Json::Part(sources)),
                ("requires", Json::or_table(pipfile.get("requires"))),
            ]),
        ),
        ("default", Json::or_table(pipfile.get("packages"))),
        ("develop", Json::or_table(pipfile.get("dev-packages"))),
    ]);
    for (name, value) in pipfile {
        let known = [
            "source",
            "packages",
            "dev-packages",
            "requires",
            "scripts",
            "pipfile",
            "pipenv",
            "default",
            "develop",
        ];
        if !known.contains(&name.as_str()) {
            document.insert(name, Json::Part(value));
        }
    }
    sha256_of_json(&Json::Table(document), Style::Compact)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "6bc31bbbec6dfaaedc1676dbc11dbda96fe22a2b5c400e9ebad113fec44a9dc6";

    fn select(sections: &str, groups: &[&str]) -> Result<Locked, String> {
        let text = format!(
            "{{\"_meta\": {{\"hash\": {{\"sha256\": \"\"}}, \"sources\": [{{\"name\": \"pypi\", \"url\": \"https://pypi.org/simple\"}}, {{\"name\": \"corp\", \"url\": \"https://corp/simple\"}}]}}, {sections}}}"
        )
        .replace("HASH", HASH);
        let pipfile =
            toml::from_str("[packages]\nFlask = '*'\n[dev-packages]\npytest = '*'\n").unwrap();
        Document::parse(&text)?.select(
            &pipfile,
            &groups.iter().map(|group| (*group).to_owned()).collect(),
            &Target::of("3.11.2", ""),
        )
    }

    #[test]
    fn sections_and_sources() {
        let sections = r#""default": {
            "flask": {"version": "==3.0", "hashes": ["sha256:HASH"], "index": "pypi", "markers": "python_version >= '3.8'"},
            "corplib": {"version": "==1", "hashes": ["sha256:HASH"], "index": "corp"},
            "win": {"version": "==1", "hashes": ["sha256:HASH"], "markers": "sys_platform == 'win32'"},
            "lib": {"path": "./lib", "editable": true},
            "rep": {"git": "https://x/rep", "ref": "0123"}
        }, "develop": {"pytest": {"version": "==8", "hashes": ["sha256:HASH"]}}"#;
        let locked = select(sections, &[]).unwrap();
        let names: Vec<&str> = locked
            .packages
            .iter()
            .map(|package| package.name.as_str())
            .collect();
        assert_eq!(names, ["corplib", "flask", "rep"]);
        assert!(
            matches!(&locked.packages[0].origin, Origin::Index { indexes, .. } if indexes[0].url.as_deref() == Some("https://corp/simple"))
        );
        assert!(
            matches!(&locked.packages[1].origin, Origin::Index { indexes, .. } if indexes[0].url.is_none())
        );
        assert_eq!(locked.projects[0].path, "lib");
        assert_eq!(locked.direct.iter().collect::<Vec<_>>(), ["flask"]);
        assert_eq!(select(sections, &["dev"]).unwrap().packages.len(), 4);
    }

    #[test]
    fn files_of_the_tree() {
        let found = |entry: &str| {
            let locked = select(&format!("\"default\": {{\"rates\": {entry}}}"), &[]).unwrap();
            assert_eq!(locked.packages, []);
            let hashes = locked.archives.first().map(|one| one.sha256.clone());
            (locked.projects[0].path.clone(), hashes.unwrap_or_default())
        };
        let wheel = "wheels/rates-1.0-py3-none-any.whl";
        for (key, start) in [
            ("file", ""),
            ("file", "./"),
            ("path", "./"),
            ("file", "file:"),
        ] {
            let bare = format!("{{\"{key}\": \"{start}{wheel}\"");
            assert_eq!(found(&format!("{bare}}}")), (wheel.into(), vec![]));
            let hashed = format!("{bare}, \"hashes\": [\"sha256:HASH\"]}}");
            assert_eq!(found(&hashed), (wheel.into(), vec![HASH.into()]));
        }
        assert_eq!(found(r#"{"file": "./lib"}"#).0, "lib");
    }

    #[test]
    fn an_index_that_is_not_defined_is_named_with_those_that_are() {
        let entry = r#"{"version": "==1", "hashes": ["sha256:HASH"], "index": "gone"}"#;
        let error = select(&format!("\"default\": {{\"x\": {entry}}}"), &[]).unwrap_err();
        assert_eq!(
            error,
            "the package `x` is in the index gone, which its sources do not define: they are pypi and corp"
        );
    }

    #[test]
    fn what_cannot_be_installed_is_refused() {
        for entry in [
            r#"{"version": "==1"}"#,
            r#"{"version": "*", "hashes": ["sha256:HASH"]}"#,
            r#"{"version": "==1", "hashes": ["md5:HASH"]}"#,
            r#"{"version": "==1", "hashes": ["sha256:HASH"], "index": "gone"}"#,
            r#"{"path": "/x"}"#,
            r#"{"file": "file:///x/a.whl"}"#,
            r#"{"git": "https://x"}"#,
            "1",
        ] {
            assert!(
                select(&format!("\"default\": {{\"x\": {entry}}}"), &[]).is_err(),
                "{entry}"
            );
        }
        assert!(Document::parse("[]").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,200}") {
            let _ = select(&text, &[]);
        }
    }
}
