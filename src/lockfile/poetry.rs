//! `poetry.lock`: version 1.x lists the dependencies of each package; version 2.x lists for each
//! package its groups and its marker.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;
use toml::{Table, Value};

use crate::app::listed::LocalProject;
use crate::app::requirement::normalize;

use super::hash::{Json, Style, sha256_of_json};
use super::marker::{self, Chosen};
use super::packages::{
    self, Archive, File, Index, Locked, Origin, Package, is_file_name, is_name, is_version, is_word,
};
use super::requirement::{self, Requirement};
use super::target::Target;

/// The name of the file.
pub(super) const FILE: &str = "poetry.lock";
/// The group of the application's own dependencies.
pub(super) const MAIN: &str = "main";

#[derive(Debug, Deserialize)]
pub(super) struct Document {
    #[serde(default, rename = "package")]
    packages: Vec<Entry>,
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Metadata {
    lock_version: String,
    #[serde(default)]
    python_versions: String,
    content_hash: String,
    /// Of locks before Poetry 1.3.
    #[serde(default)]
    files: BTreeMap<String, Vec<Artifact>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    name: String,
    version: String,
    #[serde(default)]
    python_versions: String,
    /// Of Poetry 2.
    groups: Option<Vec<String>>,
    markers: Option<Markers>,
    #[serde(default)]
    files: Vec<Artifact>,
    #[serde(default)]
    dependencies: BTreeMap<String, OneOrMore>,
    #[serde(default)]
    extras: BTreeMap<String, Vec<String>>,
    source: Option<Source>,
    #[serde(default)]
    develop: bool,
}

/// For all groups, or for each.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Markers {
    All(String),
    Groups(BTreeMap<String, String>),
}

#[derive(Debug, Clone, Deserialize)]
struct Artifact {
    file: String,
    hash: String,
}

#[derive(Debug, Deserialize)]
struct Source {
    r#type: String,
    url: String,
    reference: Option<String>,
    resolved_reference: Option<String>,
    subdirectory: Option<String>,
}

/// A dependency, or one for each part of the environments.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(Dependency),
    More(Vec<Dependency>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Dependency {
    Version(String),
    Table(Constraint),
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Constraint {
    version: Option<String>,
    markers: Option<String>,
    python: Option<String>,
    platform: Option<String>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    extras: Vec<String>,
}

/// A project's own requirement: a name and its condition.
#[derive(Debug, Clone)]
struct Asked {
    name: String,
    constraint: Constraint,
}

impl OneOrMore {
    fn all(&self) -> Vec<Constraint> {
        let one = |dependency: &Dependency| match dependency {
            Dependency::Version(version) => Constraint {
                version: Some(version.clone()),
                ..Constraint::default()
            },
            Dependency::Table(constraint) => constraint.clone(),
        };
        match self {
            Self::One(dependency) => vec![one(dependency)],
            Self::More(all) => all.iter().map(one).collect(),
        }
    }
}

impl Document {
    /// # Errors
    /// A message, if it is not a lock of a known version.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let document: Self = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let version = &document.metadata.lock_version;
        if matches!(version.split('.').next(), Some("1" | "2")) {
            Ok(document)
        } else {
            Err(format!("lock-version {version} is not known"))
        }
    }

    /// The Python versions that it was written for, in Poetry's syntax.
    pub(super) fn python_versions(&self) -> &str {
        &self.metadata.python_versions
    }

    /// Normalized names of the project's own requirements.
    pub(super) fn direct(pyproject: &Table, groups: &BTreeSet<String>) -> BTreeSet<String> {
        let asked = asked(pyproject, groups).unwrap_or_default();
        asked.into_iter().map(|asked| asked.name).collect()
    }

    /// Names and versions of all packages in it, for every environment.
    pub(super) fn versions(&self) -> BTreeSet<(String, String)> {
        let all = self.packages.iter();
        all.map(|entry| (normalize(&entry.name), entry.version.clone()))
            .collect()
    }

    /// Whether it was written for this `pyproject.toml`.
    pub(super) fn fits(&self, pyproject: &Table) -> bool {
        [true, false]
            .iter()
            .any(|with_groups| content_hash(pyproject, *with_groups) == self.metadata.content_hash)
    }

    /// # Errors
    /// In words.
    pub(super) fn select(
        &self,
        pyproject: &Table,
        extras: &BTreeSet<String>,
        groups: &BTreeSet<String>,
        target: &Target,
    ) -> Result<Locked, String> {
        let chosen = Chosen {
            extras: extras.clone(),
            groups: BTreeSet::new(),
        };
        let mut groups = groups.clone();
        groups.insert(MAIN.to_owned());
        let asked = asked(pyproject, &groups)?;
        let told = self.packages.iter().all(|entry| entry.groups.is_some());
        let found = if told && self.metadata.lock_version.as_str() >= "2.1" {
            self.of_groups(&groups, &chosen, target)?
        } else {
            self.reached(pyproject, &asked, &chosen, target)?
        };
        let mut locked = Locked {
            direct: asked.into_iter().map(|asked| asked.name).collect(),
            ..Locked::default()
        };
        let mut names = HashSet::new();
        for at in found {
            let entry = &self.packages[at];
            let wrong =
                |problem: &str| format!("the package `{}` {problem}", entry.name.escape_default());
            if !is_name(&entry.name) {
                return Err(wrong("has no name of a package"));
            }
            if !is_version(&entry.version) {
                return Err(wrong("has no version"));
            }
            if !names.insert(normalize(&entry.name)) {
                return Err(wrong("is in it more than once for this Python"));
            }
            match self.origin(entry).map_err(|problem| wrong(&problem))? {
                PackageSource::Project(project) => {
                    locked.local.insert(normalize(&entry.name));
                    let source = entry.source.as_ref();
                    if source.is_some_and(|source| source.r#type == "file") {
                        let hashes = self.artifacts(entry).iter();
                        let hashes = hashes.map(|file| file.hash.as_str());
                        locked
                            .archives
                            .extend(Archive::of(&entry.name, &project.path, hashes));
                    }
                    locked.projects.push(project);
                }
                PackageSource::Elsewhere(origin) => locked.packages.push(Package {
                    name: normalize(&entry.name),
                    version: entry.version.clone(),
                    origin,
                }),
            }
        }
        locked.packages.sort();
        Ok(locked)
    }

    /// For Poetry 2: each package has its groups and markers.
    fn of_groups(
        &self,
        groups: &BTreeSet<String>,
        chosen: &Chosen,
        target: &Target,
    ) -> Result<Vec<usize>, String> {
        let mut found = Vec::new();
        for (at, entry) in self.packages.iter().enumerate() {
            for group in entry.groups.iter().flatten() {
                let marker = match &entry.markers {
                    None => None,
                    Some(Markers::All(marker)) => Some(marker),
                    Some(Markers::Groups(markers)) => markers.get(group),
                };
                if groups.contains(&normalize(group))
                    && marker
                        .map(|marker| marker::holds(marker, target, chosen))
                        .transpose()?
                        .unwrap_or(true)
                {
                    found.push(at);
                    break;
                }
            }
        }
        Ok(found)
    }

    /// For Poetry 1: from the project's requirements, along the dependencies.
    fn reached(
        &self,
        pyproject: &Table,
        asked: &[Asked],
        chosen: &Chosen,
        target: &Target,
    ) -> Result<Vec<usize>, String> {
        let mut waiting: Vec<(String, Constraint, Chosen)> = Vec::new();
        let of_extras = optional_names(pyproject, &chosen.extras);
        for one in asked {
            if !one.constraint.optional || of_extras.contains(&one.name) {
                waiting.push((one.name.clone(), one.constraint.clone(), chosen.clone()));
            }
        }
        let mut seen: BTreeSet<(usize, BTreeSet<String>)> = BTreeSet::new();
        while let Some((name, constraint, chosen)) = waiting.pop() {
            if !applies(&constraint, target, &chosen)? {
                continue;
            }
            let at = self.find(&name, constraint.version.as_deref(), target)?;
            let extras: BTreeSet<String> = constraint
                .extras
                .iter()
                .map(|extra| normalize(extra))
                .collect();
            if !seen.insert((at, extras.clone())) {
                continue;
            }
            let entry = &self.packages[at];
            let wanted: BTreeSet<String> = entry
                .extras
                .iter()
                .filter(|(extra, _)| extras.contains(&normalize(extra)))
                .flat_map(|(_, list)| list)
                .filter_map(|line| crate::app::requirement::name_of(line))
                .map(|(name, _)| normalize(name))
                .collect();
            let chosen = Chosen {
                extras,
                groups: BTreeSet::new(),
            };
            for (name, constraints) in &entry.dependencies {
                let name = normalize(name);
                for constraint in constraints.all() {
                    if !constraint.optional || wanted.contains(&name) {
                        waiting.push((name.clone(), constraint, chosen.clone()));
                    }
                }
            }
        }
        let found: BTreeSet<usize> = seen.into_iter().map(|(at, _)| at).collect();
        Ok(found.into_iter().collect())
    }

    fn find(&self, name: &str, version: Option<&str>, target: &Target) -> Result<usize, String> {
        let all: Vec<usize> = self
            .packages
            .iter()
            .enumerate()
            .filter(|(_, entry)| normalize(&entry.name) == name)
            .map(|(at, _)| at)
            .collect();
        let fits = |at: &&usize| {
            let entry = &self.packages[**at];
            version.is_none_or(|wanted| requirement::allows(wanted, &entry.version))
                && requirement::allows(&entry.python_versions, target.full_version())
        };
        match all.as_slice() {
            [] => Err(format!("{name} is needed and is not in it")),
            [at] => Ok(*at),
            several => match several.iter().filter(fits).collect::<Vec<_>>().as_slice() {
                [at] => Ok(**at),
                _ => Err(format!("{name} is in it more than once for this Python")),
            },
        }
    }

    /// The files of a package; older locks have them in a table of their own.
    fn artifacts<'a>(&'a self, entry: &'a Entry) -> &'a [Artifact] {
        if !entry.files.is_empty() {
            return &entry.files;
        }
        let mut by_name = self.metadata.files.iter();
        let found = by_name.find(|(name, _)| normalize(name) == normalize(&entry.name));
        found.map_or(&[], |(_, files)| files.as_slice())
    }

    fn origin(&self, entry: &Entry) -> Result<PackageSource, String> {
        if let Some(source) = &entry.source {
            match source.r#type.as_str() {
                "directory" | "file" => {
                    let path = packages::beside(&source.url).ok_or_else(|| {
                        format!(
                            "is in {}, which is outside the source",
                            source.url.escape_default()
                        )
                    })?;
                    return Ok(PackageSource::Project(LocalProject {
                        path,
                        extras: String::new(),
                        editable: entry.develop && source.r#type == "directory",
                        named_in: FILE.to_owned(),
                        is_listed: false,
                    }));
                }
                "git" => {
                    let commit = source.resolved_reference.clone().unwrap_or_default();
                    let subdirectory = source.subdirectory.clone();
                    if !is_word(&commit)
                        || !is_word(&source.url)
                        || !subdirectory.as_deref().is_none_or(is_word)
                    {
                        return Err("is in a repository whose URL or commit cannot be used".into());
                    }
                    return Ok(PackageSource::Elsewhere(Origin::Git {
                        url: source.url.clone(),
                        commit,
                        subdirectory,
                    }));
                }
                "url" | "legacy" => {}
                other => {
                    return Err(format!(
                        "is of the type {}, which is not known",
                        other.escape_default()
                    ));
                }
            }
        }
        let files = self
            .artifacts(entry)
            .iter()
            .map(|artifact| {
                let sha256 = packages::sha256(&artifact.hash)
                    .ok_or_else(|| "has a file without a SHA-256".to_owned())?;
                if !is_file_name(&artifact.file) {
                    return Err("has a file whose name cannot be used".to_owned());
                }
                Ok(File {
                    name: artifact.file.clone(),
                    url: None,
                    sha256,
                    size: None,
                })
            })
            .collect::<Result<Vec<File>, String>>()?;
        let Some(first) = files.first() else {
            return Err("has no file".into());
        };
        Ok(PackageSource::Elsewhere(match &entry.source {
            Some(source) if !is_word(&source.url) => {
                return Err("is in an index whose URL cannot be used".into());
            }
            Some(source) if source.r#type == "url" => Origin::Archive {
                file: File {
                    url: Some(source.url.clone()),
                    ..first.clone()
                },
                subdirectory: source.subdirectory.clone(),
            },
            Some(source) => Origin::Index {
                indexes: vec![Index::at(source.reference.as_deref(), &source.url)],
                files,
            },
            None => Origin::Index {
                indexes: vec![Index::default()],
                files,
            },
        }))
    }
}

enum PackageSource {
    Project(LocalProject),
    Elsewhere(Origin),
}

/// Whether a dependency counts in this environment.
fn applies(constraint: &Constraint, target: &Target, chosen: &Chosen) -> Result<bool, String> {
    if let Some(markers) = &constraint.markers
        && !marker::holds(markers, target, chosen)?
    {
        return Ok(false);
    }
    if let Some(python) = &constraint.python
        && !requirement::allows(python, target.full_version())
    {
        return Ok(false);
    }
    Ok(constraint.platform.as_deref().is_none_or(is_here))
}

/// Whether a condition on the platform allows Linux: `linux`, `!=win32`, `linux || darwin`.
fn is_here(platforms: &str) -> bool {
    platforms
        .split('|')
        .filter(|one| !one.trim().is_empty())
        .any(|all| {
            all.split(',').all(|one| {
                let one = one.trim();
                let name = one.trim_start_matches(['=', '!']).trim();
                one.starts_with('!') != (name == "linux")
            })
        })
}

fn table<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let mut value = table.get(*first)?;
    for key in rest {
        value = value.get(key)?;
    }
    Some(value)
}

/// The names of optional dependencies that the chosen extras bring.
fn optional_names(pyproject: &Table, extras: &BTreeSet<String>) -> BTreeSet<String> {
    table(pyproject, &["tool", "poetry", "extras"])
        .and_then(Value::as_table)
        .into_iter()
        .flatten()
        .filter(|(extra, _)| extras.contains(&normalize(extra)))
        .flat_map(|(_, list)| list.as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .map(normalize)
        .collect()
}

/// What the project asks for itself in these groups.
fn asked(pyproject: &Table, groups: &BTreeSet<String>) -> Result<Vec<Asked>, String> {
    let mut found = Vec::new();
    let mut of_table = |value: Option<&Value>| -> Result<(), String> {
        for (name, value) in value.and_then(Value::as_table).into_iter().flatten() {
            if name.eq_ignore_ascii_case("python") {
                continue;
            }
            let constraints: OneOrMore = value.clone().try_into().map_err(|_| {
                format!(
                    "what pyproject.toml says of {} cannot be read",
                    name.escape_default()
                )
            })?;
            for constraint in constraints.all() {
                found.push(Asked {
                    name: normalize(name),
                    constraint,
                });
            }
        }
        Ok(())
    };
    of_table(table(pyproject, &["tool", "poetry", "dependencies"]))?;
    if groups.contains("dev") {
        of_table(table(pyproject, &["tool", "poetry", "dev-dependencies"]))?;
    }
    for group in table(pyproject, &["tool", "poetry", "group"])
        .and_then(Value::as_table)
        .into_iter()
        .flatten()
    {
        if groups.contains(&normalize(group.0)) {
            of_table(group.1.get("dependencies"))?;
        }
    }
    let list = table(pyproject, &["project", "dependencies"]).and_then(Value::as_array);
    for text in list.into_iter().flatten().filter_map(Value::as_str) {
        let Some(Requirement {
            name,
            extras,
            specifiers,
            marker,
            ..
        }) = Requirement::parse(text)
        else {
            return Err(format!(
                "`{}` in pyproject.toml cannot be read",
                text.escape_default()
            ));
        };
        found.push(Asked {
            name,
            constraint: Constraint {
                version: (!specifiers.is_empty())
                    .then(|| specifiers.into_iter().collect::<Vec<_>>().join(",")),
                markers: marker,
                extras: extras.into_iter().collect(),
                ..Constraint::default()
            },
        });
    }
    Ok(found)
}

/// Poetry's content hash.
fn content_hash(pyproject: &Table, with_groups: bool) -> String {
    let of_project = ["requires-python", "dependencies", "optional-dependencies"]
        .into_iter()
        .filter_map(|key| Some((key, Json::Part(table(pyproject, &["project", key])?))));
    let project: BTreeMap<&str, Json<'_>> = of_project.collect();
    let groups = pyproject
        .get("dependency-groups")
        .filter(|groups| with_groups && groups.as_table().is_some_and(|table| !table.is_empty()));
    let mut poetry = BTreeMap::new();
    for key in [
        "dependencies",
        "source",
        "extras",
        "dev-dependencies",
        "group",
    ] {
        let value = table(pyproject, &["tool", "poetry", key]);
        let old = key != "group" && project.is_empty() && groups.is_none();
        if value.is_some() || old {
            poetry.insert(key, Json::or_null(value));
        }
    }
    let document = if project.is_empty() && groups.is_none() {
        Json::Table(poetry)
    } else {
        let mut relevant =
            BTreeMap::from([("tool", Json::table([("poetry", Json::Table(poetry))]))]);
        if !project.is_empty() {
            relevant.insert("project", Json::Table(project));
        }
        if let Some(groups) = groups {
            relevant.insert("dependency-groups", Json::Part(groups));
        }
        Json::Table(relevant)
    };
    sha256_of_json(&document, Style::Spaced)
}

#[cfg(test)]
mod tests;
