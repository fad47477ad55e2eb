//! `pdm.lock`: a list with groups and markers for each package, or, in older files, with dependencies.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::{Table, Value};

use crate::app::declared::binding::glob;
use crate::app::listed::LocalProject;
use crate::app::requirement::normalize;

use super::hash::{Json, Style, sha256_of_json};
use super::marker::{self, Chosen};
use super::packages::{
    self, Archive, File, Index, Locked, Origin, Package, is_file_name, is_name, is_version, is_word,
};
use super::requirement::Requirement;
use super::target::Target;

/// The name of the file.
pub(super) const FILE: &str = "pdm.lock";
/// The group of the application's own dependencies.
const DEFAULT: &str = "default";

#[derive(Debug, Deserialize)]
pub(super) struct Document {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default, rename = "package")]
    packages: Vec<Entry>,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    lock_version: String,
    #[serde(default)]
    content_hash: String,
    #[serde(default)]
    strategy: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    targets: Vec<LockTarget>,
}

/// One of the environments that it was written for.
#[derive(Debug, Deserialize)]
struct LockTarget {
    requires_python: Option<String>,
    platform: Option<String>,
}

impl LockTarget {
    /// As PDM names the platforms: `linux`, `manylinux_2_17_x86_64`, `alpine`, `windows_amd64`.
    fn is_here(&self) -> bool {
        let platform = self.platform.as_deref().unwrap_or_default();
        !["windows", "macos"]
            .iter()
            .any(|other| platform.starts_with(other))
    }
}

#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    extras: Vec<String>,
    groups: Option<Vec<String>>,
    marker: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
    #[serde(default)]
    files: Vec<Artifact>,
    git: Option<String>,
    revision: Option<String>,
    subdirectory: Option<String>,
    path: Option<String>,
    url: Option<String>,
    #[serde(default)]
    editable: bool,
}

#[derive(Debug, Deserialize)]
struct Artifact {
    file: Option<String>,
    url: Option<String>,
    hash: String,
}

impl Document {
    /// # Errors
    /// A message, if it is not a lock of a known version.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let document: Self = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let version = &document.metadata.lock_version;
        if version.split('.').next() == Some("4") {
            Ok(document)
        } else {
            Err(format!("lock_version {version} is not known"))
        }
    }

    /// The Python versions that it was written for, one condition for each environment.
    pub(super) fn pythons(&self) -> Vec<&str> {
        let targets = self.metadata.targets.iter();
        targets
            .filter(|target| target.is_here())
            .filter_map(|target| target.requires_python.as_deref())
            .collect()
    }

    /// Normalized names of the project's own requirements.
    pub(super) fn direct(pyproject: &Table, groups: &BTreeSet<String>) -> BTreeSet<String> {
        asked(pyproject, groups)
            .into_iter()
            .map(|asked| asked.name)
            .collect()
    }

    /// Names and versions of all packages in it, for every environment.
    pub(super) fn versions(&self) -> BTreeSet<(String, String)> {
        let all = self.packages.iter();
        all.map(|entry| (normalize(&entry.name), entry.version.clone()))
            .collect()
    }

    /// The groups that it has.
    pub(super) fn groups(&self) -> &[String] {
        &self.metadata.groups
    }

    /// Whether it was written for this `pyproject.toml`.
    pub(super) fn fits(&self, pyproject: &Table) -> bool {
        let hash = content_hash(pyproject);
        self.metadata.content_hash == format!("sha256:{hash}")
    }

    /// # Errors
    /// In words.
    pub(super) fn select(
        &self,
        pyproject: &Table,
        groups: &BTreeSet<String>,
        target: &Target,
    ) -> Result<Locked, String> {
        let targets = &self.metadata.targets;
        if !targets.is_empty() && !targets.iter().any(LockTarget::is_here) {
            let mut names: Vec<&str> = targets
                .iter()
                .filter_map(|target| target.platform.as_deref())
                .collect();
            names.dedup();
            return Err(format!(
                "it is for {} only, and an image is for linux: run `pdm lock --platform linux --append`",
                names.join(" and ").escape_default()
            ));
        }
        let asked = asked(pyproject, groups);
        let told = self.packages.iter().all(|entry| entry.groups.is_some());
        let found = if told
            && self
                .metadata
                .strategy
                .iter()
                .any(|one| one == "inherit_metadata")
        {
            self.of_groups(groups, target)?
        } else {
            self.reached(&asked, target)?
        };
        let sources = Sources::of(pyproject);
        let mut locked = Locked {
            direct: asked.into_iter().map(|asked| asked.name).collect(),
            ..Locked::default()
        };
        let mut packages: BTreeMap<String, Package> = BTreeMap::new();
        for at in found {
            let entry = &self.packages[at];
            let wrong =
                |problem: &str| format!("the package `{}` {problem}", entry.name.escape_default());
            if !is_name(&entry.name) {
                return Err(wrong("has no name of a package"));
            }
            if let Some(path) = &entry.path {
                let path = packages::beside(path).ok_or_else(|| wrong("is outside the source"))?;
                let project = LocalProject {
                    path,
                    extras: String::new(),
                    editable: entry.editable,
                    named_in: FILE.to_owned(),
                    is_listed: false,
                };
                locked.local.insert(normalize(&entry.name));
                let hashes = entry.files.iter().map(|file| file.hash.as_str());
                let archive = Archive::of(&entry.name, &project.path, hashes);
                locked.archives.extend(archive);
                if !locked.projects.contains(&project) {
                    locked.projects.push(project);
                }
                continue;
            }
            if !is_version(&entry.version) {
                return Err(wrong("has no version"));
            }
            let name = normalize(&entry.name);
            let package = Package {
                origin: entry
                    .origin(&sources, &name)
                    .map_err(|problem| wrong(&problem))?,
                version: entry.version.clone(),
                name: name.clone(),
            };
            // The same package with other extras is a separate entry.
            if let Some(other) = packages.get(&name)
                && other.version != package.version
            {
                return Err(wrong("is in it more than once for this Python"));
            }
            packages.insert(name, package);
        }
        locked.packages = packages.into_values().collect();
        Ok(locked)
    }

    fn of_groups(&self, groups: &BTreeSet<String>, target: &Target) -> Result<Vec<usize>, String> {
        let mut found = Vec::new();
        for (at, entry) in self.packages.iter().enumerate() {
            let mut own = entry.groups.iter().flatten().map(|group| normalize(group));
            if own.any(|group| group == DEFAULT || groups.contains(&group)) && entry.here(target)? {
                found.push(at);
            }
        }
        Ok(found)
    }

    fn reached(&self, asked: &[Requirement], target: &Target) -> Result<Vec<usize>, String> {
        let mut waiting: Vec<Requirement> = asked.to_vec();
        let mut seen = BTreeSet::new();
        while let Some(wanted) = waiting.pop() {
            if let Some(marker) = &wanted.marker
                && !marker::holds(marker, target, &Chosen::default())?
            {
                continue;
            }
            let mut fitting = Vec::new();
            for (at, entry) in self.packages.iter().enumerate() {
                let extras: BTreeSet<String> =
                    entry.extras.iter().map(|extra| normalize(extra)).collect();
                if normalize(&entry.name) == wanted.name
                    && (extras.is_empty() || extras == wanted.extras)
                    && entry.here(target)?
                {
                    fitting.push(at);
                }
            }
            if fitting.is_empty() {
                return Err(format!("{} is needed and is not in it", wanted.name));
            }
            for at in fitting {
                if seen.insert(at) {
                    let lines = self.packages[at].dependencies.iter();
                    waiting.extend(lines.filter_map(|line| Requirement::parse(line)));
                }
            }
        }
        Ok(seen.into_iter().collect())
    }
}

impl Entry {
    fn here(&self, target: &Target) -> Result<bool, String> {
        let marker = self.marker.as_ref();
        let held = marker.map(|marker| marker::holds(marker, target, &Chosen::default()));
        Ok(held.transpose()?.unwrap_or(true))
    }

    fn origin(&self, sources: &Sources, name: &str) -> Result<Origin, String> {
        if let Some(git) = &self.git {
            let commit = self.revision.clone().unwrap_or_default();
            if !is_word(git)
                || !is_word(&commit)
                || !self.subdirectory.as_deref().is_none_or(is_word)
            {
                return Err("is in a repository whose URL or commit cannot be used".into());
            }
            return Ok(Origin::Git {
                url: git.clone(),
                commit,
                subdirectory: self.subdirectory.clone(),
            });
        }
        let mut files = Vec::new();
        for artifact in &self.files {
            let sha256 = packages::sha256(&artifact.hash)
                .ok_or_else(|| "has a file without a SHA-256".to_owned())?;
            let url = artifact.url.clone().filter(|url| is_word(url));
            let name = artifact
                .file
                .clone()
                .or_else(|| url.as_deref().map(File::name_of));
            let name = name.filter(|name| is_file_name(name));
            files.push(File {
                name: name.ok_or_else(|| "has a file whose name cannot be used".to_owned())?,
                url,
                sha256,
                size: None,
            });
        }
        let Some(first) = files.first() else {
            return Err("has no file".into());
        };
        if let Some(url) = self.url.as_ref().filter(|url| is_word(url)) {
            return Ok(Origin::Archive {
                file: File {
                    url: Some(url.clone()),
                    ..first.clone()
                },
                subdirectory: self.subdirectory.clone(),
            });
        }
        Ok(Origin::Index {
            indexes: sources.of_name(name)?,
            files,
        })
    }
}

/// `[[tool.pdm.source]]`.
struct Sources {
    indexes: Vec<(Index, Vec<String>, Vec<String>)>,
    unusable: Option<String>,
}

impl Sources {
    fn of(pyproject: &Table) -> Self {
        let pdm = pyproject.get("tool").and_then(|tool| tool.get("pdm"));
        let list = pdm
            .and_then(|pdm| pdm.get("source"))
            .and_then(Value::as_array);
        let mut sources = Self {
            indexes: vec![(Index::default(), Vec::new(), Vec::new())],
            unusable: None,
        };
        for source in list.into_iter().flatten() {
            let text = |key: &str| source.get(key).and_then(Value::as_str);
            let patterns = |key: &str| -> Vec<String> {
                let list = source.get(key).and_then(Value::as_array);
                list.into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect()
            };
            let name = text("name");
            let url = text("url").unwrap_or_default();
            if text("type") == Some("find_links") || !is_word(url) || !url.contains("://") {
                sources.unusable = Some(format!(
                    "{} in [[tool.pdm.source]] is not an index",
                    url.escape_default()
                ));
                continue;
            }
            let entry = (
                Index::at(name, url),
                patterns("include_packages"),
                patterns("exclude_packages"),
            );
            // A source of this name replaces the usual one.
            if name == Some("pypi") {
                sources.indexes[0] = entry;
            } else {
                sources.indexes.push(entry);
            }
        }
        sources
    }

    /// As in PDM: the sources that name it, else those that do not exclude it.
    fn of_name(&self, name: &str) -> Result<Vec<Index>, String> {
        if let Some(problem) = &self.unusable {
            return Err(format!("may be anywhere: {problem}"));
        }
        let matches = |patterns: &[String]| patterns.iter().any(|pattern| glob(pattern, name));
        let named: Vec<Index> = self
            .indexes
            .iter()
            .filter(|(_, include, _)| matches(include))
            .map(|(index, ..)| index.clone())
            .collect();
        if !named.is_empty() {
            return Ok(named);
        }
        let left = self
            .indexes
            .iter()
            .filter(|(_, _, exclude)| !matches(exclude));
        Ok(left.map(|(index, ..)| index.clone()).collect())
    }
}

/// What the project asks for itself.
fn asked(pyproject: &Table, groups: &BTreeSet<String>) -> Vec<Requirement> {
    let project = pyproject.get("project");
    let mut lines: Vec<&Value> = Vec::new();
    let own = project.and_then(|project| project.get("dependencies"));
    lines.extend(own.and_then(Value::as_array).into_iter().flatten());
    let pdm = pyproject.get("tool").and_then(|tool| tool.get("pdm"));
    let tables = [
        project.and_then(|project| project.get("optional-dependencies")),
        pyproject.get("dependency-groups"),
        pdm.and_then(|pdm| pdm.get("dev-dependencies")),
    ];
    for (name, list) in tables
        .into_iter()
        .flatten()
        .filter_map(Value::as_table)
        .flatten()
    {
        if groups.contains(&normalize(name)) {
            lines.extend(list.as_array().into_iter().flatten());
        }
    }
    lines
        .into_iter()
        .filter_map(Value::as_str)
        .filter_map(Requirement::parse)
        .collect()
}

/// PDM's content hash.
fn content_hash(pyproject: &Table) -> String {
    let project = |key: &str| {
        pyproject
            .get("project")
            .and_then(|project| project.get(key))
    };
    let pdm = |key: &str| {
        let pdm = pyproject.get("tool").and_then(|tool| tool.get("pdm"));
        pdm.and_then(|pdm| pdm.get(key))
    };
    let mut names: BTreeMap<String, Vec<Json<'_>>> = BTreeMap::new();
    let tables = [pyproject.get("dependency-groups"), pdm("dev-dependencies")];
    for (name, list) in tables
        .into_iter()
        .flatten()
        .filter_map(Value::as_table)
        .flatten()
    {
        let items = list.as_array().into_iter().flatten().map(Json::Part);
        names.entry(normalize(name)).or_default().extend(items);
    }
    let groups = names
        .iter()
        .map(|(name, list)| (name.as_str(), Json::List(list.clone())));
    let python = project("requires-python").map_or(Json::Text(""), Json::Part);
    let document = Json::table([
        ("sources", Json::or_list(pdm("source"))),
        ("dependencies", Json::or_list(project("dependencies"))),
        ("dev-dependencies", Json::table(groups)),
        (
            "optional-dependencies",
            Json::or_table(project("optional-dependencies")),
        ),
        ("requires-python", python),
        ("resolution", Json::or_table(pdm("resolution"))),
    ]);
    sha256_of_json(&document, Style::Spaced)
}

#[cfg(test)]
mod tests;
