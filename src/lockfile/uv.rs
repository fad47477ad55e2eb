//! `uv.lock`: a graph of packages for all environments, walked for one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Deserialize;

use crate::app::files;
use crate::app::listed::LocalProject;
use crate::app::requirement::normalize;

use super::marker::{self, Chosen};
use super::packages::{
    self, Archive, File, Index, Locked, Origin, Package, is_file_name, is_name, is_version, is_word,
};
use super::target::Target;

/// The name of the file.
pub(super) const FILE: &str = "uv.lock";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Document {
    version: u64,
    #[serde(default)]
    pub(super) requires_python: Option<String>,
    #[serde(default, rename = "package")]
    packages: Vec<Entry>,
    #[serde(default)]
    manifest: Manifest,
}

#[derive(Debug, Default, Deserialize)]
struct Manifest {
    #[serde(default)]
    members: Vec<String>,
    #[serde(default)]
    overrides: Vec<Required>,
    #[serde(default)]
    constraints: Vec<Required>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    name: String,
    version: Option<String>,
    source: Source,
    #[serde(default)]
    resolution_markers: Vec<String>,
    #[serde(default)]
    dependencies: Vec<Edge>,
    #[serde(default)]
    optional_dependencies: BTreeMap<String, Vec<Edge>>,
    #[serde(default)]
    dev_dependencies: BTreeMap<String, Vec<Edge>>,
    #[serde(default)]
    metadata: Metadata,
    sdist: Option<Artifact>,
    #[serde(default)]
    wheels: Vec<Artifact>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) requires_dist: Vec<Required>,
    #[serde(default)]
    pub(super) requires_dev: BTreeMap<String, Vec<Required>>,
}

/// A project's own requirements at the time when the lock was written.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Required {
    pub(super) name: String,
    #[serde(default)]
    pub(super) extras: Vec<String>,
    pub(super) specifier: Option<String>,
    pub(super) index: Option<String>,
    pub(super) url: Option<String>,
    pub(super) git: Option<String>,
    pub(super) path: Option<String>,
    pub(super) directory: Option<String>,
    pub(super) editable: Option<String>,
    pub(super) r#virtual: Option<String>,
    pub(super) marker: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
struct Source {
    registry: Option<String>,
    git: Option<String>,
    url: Option<String>,
    path: Option<String>,
    directory: Option<String>,
    editable: Option<String>,
    r#virtual: Option<String>,
    subdirectory: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    name: String,
    version: Option<String>,
    source: Option<Source>,
    #[serde(default)]
    extra: Vec<String>,
    marker: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Artifact {
    url: Option<String>,
    path: Option<String>,
    filename: Option<String>,
    hash: Option<String>,
    size: Option<u64>,
}

/// The wanted part of a workspace.
#[derive(Debug, Default, Clone)]
pub(super) struct Wanted {
    /// The directories of the projects to install with their dependencies, relative to the lock;
    /// `""` is the root.
    pub(super) member: String,
    pub(super) extras: BTreeSet<String>,
    pub(super) groups: BTreeSet<String>,
}

/// uv's variables about the default groups.
pub(super) fn of_variables(groups: &mut BTreeSet<String>, variables: &BTreeMap<String, String>) {
    let on = |name: &str| {
        variables.get(name).is_some_and(|value| {
            ["1", "true", "t", "yes", "y", "on"].contains(&value.to_lowercase().as_str())
        })
    };
    if on("UV_NO_DEFAULT_GROUPS") {
        groups.clear();
    }
    if on("UV_DEV") && !on("UV_NO_DEV") {
        groups.insert("dev".to_owned());
    }
    let without = variables.get("UV_NO_GROUP").map_or("", String::as_str);
    for name in without.split([' ', ',']).filter(|name| !name.is_empty()) {
        groups.remove(&normalize(name));
    }
}

impl Document {
    /// # Errors
    /// A message, if it is not a lock of a known version.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let document: Self = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if document.version != 1 {
            return Err(format!("version {} is not known", document.version));
        }
        Ok(document)
    }

    /// Names and versions of all packages in it, for every environment.
    pub(super) fn versions(&self) -> BTreeSet<(String, String)> {
        let all = self.packages.iter();
        all.map(|entry| {
            let version = entry.version.clone().unwrap_or_default();
            (normalize(&entry.name), version)
        })
        .collect()
    }

    /// Normalized names of the own requirements of the project in this directory.
    pub(super) fn direct(&self, wanted: &Wanted) -> BTreeSet<String> {
        let roots = self.packages.iter().filter(|entry| {
            let place = entry.source.local();
            place.as_deref() == Some(wanted.member.as_str())
                || wanted.member.is_empty() && self.manifest.members.contains(&entry.name)
        });
        let edges = roots.flat_map(|entry| {
            let chosen =
                |all: &'_ BTreeMap<String, Vec<Edge>>, names: &BTreeSet<String>| -> Vec<String> {
                    let lists = names.iter().filter_map(|name| all.get(name));
                    lists.flatten().map(|edge| normalize(&edge.name)).collect()
                };
            let mut names = chosen(&entry.optional_dependencies, &wanted.extras);
            names.extend(chosen(&entry.dev_dependencies, &wanted.groups));
            names.extend(entry.dependencies.iter().map(|edge| normalize(&edge.name)));
            names
        });
        edges.collect()
    }

    /// The extras and the groups of the project in this directory.
    pub(super) fn choices(&self, member: &str) -> (BTreeSet<String>, BTreeSet<String>) {
        let mut extras = BTreeSet::new();
        let mut groups = BTreeSet::new();
        if let Some((_, entry)) = self.root(member) {
            extras.extend(entry.optional_dependencies.keys().cloned());
            groups.extend(entry.dev_dependencies.keys().cloned());
            groups.extend(entry.metadata.requires_dev.keys().cloned());
        }
        (extras, groups)
    }

    /// The requirements of the project in this directory when the lock was written.
    pub(super) fn metadata(&self, member: &str) -> Option<&Metadata> {
        Some(&self.root(member)?.1.metadata)
    }

    /// `override-dependencies` when the lock was written.
    pub(super) fn overrides(&self) -> &[Required] {
        &self.manifest.overrides
    }

    /// `constraint-dependencies` when the lock was written.
    pub(super) fn constraints(&self) -> &[Required] {
        &self.manifest.constraints
    }

    /// The directories of the packages of the tree, relative to the lock, that are not projects of the workspace; with
    /// their requirements when the lock was written.
    pub(super) fn libraries(&self) -> Vec<(String, &Metadata)> {
        let members = self.members();
        let mut found: Vec<(String, &Metadata)> = self
            .packages
            .iter()
            .filter_map(|entry| Some((entry.source.local()?, &entry.metadata)))
            .filter(|(place, _)| !members.contains(place))
            .collect();
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found
    }

    /// The directories of the lock's projects, relative to the lock.
    pub(super) fn members(&self) -> Vec<String> {
        let mut found: Vec<String> = self
            .packages
            .iter()
            .filter(|entry| {
                self.manifest.members.is_empty() && entry.source.local().as_deref() == Some("")
                    || self.manifest.members.contains(&entry.name)
            })
            .filter_map(|entry| entry.source.local())
            .collect();
        found.sort();
        found
    }

    /// Whether the project at the root, with these extras and groups of it, needs the one in this directory, directly
    /// or not, in some environment.
    pub(super) fn root_needs(
        &self,
        member: &str,
        extras: &BTreeSet<String>,
        groups: &BTreeSet<String>,
    ) -> bool {
        let (Some((_, root)), Some((_, goal))) = (self.root(""), self.root(member)) else {
            return false;
        };
        if root.name == goal.name {
            return true;
        }
        let of_extras = extras
            .iter()
            .filter_map(|extra| root.optional_dependencies.get(extra));
        let of_groups = groups
            .iter()
            .filter_map(|group| root.dev_dependencies.get(group));
        let mut left: Vec<&Edge> = of_extras.chain(of_groups).flatten().collect();
        left.extend(&root.dependencies);
        let mut seen = BTreeSet::new();
        while let Some(edge) = left.pop() {
            if edge.name == goal.name {
                return true;
            }
            for part in std::iter::once(None).chain(edge.extra.iter().map(Some)) {
                if !seen.insert((&edge.name, part)) {
                    continue;
                }
                for entry in self.packages.iter().filter(|one| one.name == edge.name) {
                    let edges = match part {
                        None => Some(&entry.dependencies),
                        Some(extra) => entry.optional_dependencies.get(extra),
                    };
                    left.extend(edges.into_iter().flatten());
                }
            }
        }
        false
    }

    fn root(&self, member: &str) -> Option<(usize, &Entry)> {
        self.packages
            .iter()
            .enumerate()
            .find(|(_, entry)| entry.source.local().as_deref() == Some(member))
    }

    /// The packages that the project in `wanted.member` needs in this environment.
    ///
    /// # Errors
    /// In words.
    pub(super) fn select(&self, wanted: &Wanted, target: &Target) -> Result<Locked, String> {
        let mut walk = Walk::new(self, target);
        let roots: Vec<usize> = match self.root(&wanted.member) {
            Some((root, _)) => vec![root],
            // A workspace whose root is not a project itself: all its members.
            None if wanted.member.is_empty() => self
                .packages
                .iter()
                .enumerate()
                .filter(|(_, entry)| self.manifest.members.contains(&entry.name))
                .map(|(at, _)| at)
                .collect(),
            None => return Err(format!("there is no project in {} in it", wanted.member)),
        };
        if roots.is_empty() {
            return Err("it has no project".into());
        }
        // Names of this form distinguish extras and groups that exclude each other.
        for root in &roots {
            let name = &self.packages[*root].name;
            for (kind, chosen) in [("extra", &wanted.extras), ("group", &wanted.groups)] {
                for one in chosen {
                    let encoded = format!("{kind}-{}-{name}-{one}", name.len());
                    walk.chosen.extras.insert(normalize(&encoded));
                }
            }
        }
        let mut direct = BTreeSet::new();
        for root in roots {
            let entry = &self.packages[root];
            walk.visit(root, None);
            let mut edges: Vec<&Edge> = entry.dependencies.iter().collect();
            for extra in &wanted.extras {
                walk.visit(root, Some(extra));
                edges.extend(entry.optional_dependencies.get(extra).into_iter().flatten());
            }
            for group in &wanted.groups {
                for edge in entry.dev_dependencies.get(group).into_iter().flatten() {
                    walk.follow(edge)?;
                    edges.push(edge);
                }
            }
            direct.extend(edges.into_iter().map(|edge| normalize(&edge.name)));
        }
        walk.all()?;
        walk.locked(direct)
    }
}

impl Source {
    /// The directory of a project of the tree.
    fn local(&self) -> Option<String> {
        let path = self
            .editable
            .as_ref()
            .or(self.r#virtual.as_ref())
            .or(self.directory.as_ref())?;
        files::join("", path)
    }
}

struct Walk<'a> {
    document: &'a Document,
    target: &'a Target,
    chosen: Chosen,
    by_name: HashMap<&'a str, Vec<usize>>,
    /// Packages with the extras of them that are needed; `None` is the package itself.
    seen: HashSet<(usize, Option<String>)>,
    waiting: Vec<(usize, Option<String>)>,
}

impl<'a> Walk<'a> {
    fn new(document: &'a Document, target: &'a Target) -> Self {
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, entry) in document.packages.iter().enumerate() {
            by_name.entry(&entry.name).or_default().push(at);
        }
        Self {
            document,
            target,
            chosen: Chosen::default(),
            by_name,
            seen: HashSet::new(),
            waiting: Vec::new(),
        }
    }

    fn visit(&mut self, at: usize, extra: Option<&str>) {
        let item = (at, extra.map(str::to_owned));
        if self.seen.insert(item.clone()) {
            self.waiting.push(item);
        }
    }

    fn all(&mut self) -> Result<(), String> {
        while let Some((at, extra)) = self.waiting.pop() {
            let entry = &self.document.packages[at];
            let edges = match &extra {
                None => Some(&entry.dependencies),
                Some(extra) => entry.optional_dependencies.get(extra),
            };
            for edge in edges.into_iter().flatten() {
                self.follow(edge)?;
            }
        }
        Ok(())
    }

    fn follow(&mut self, edge: &Edge) -> Result<(), String> {
        if let Some(marker) = &edge.marker
            && !marker::holds(marker, self.target, &self.chosen)?
        {
            return Ok(());
        }
        let at = self.find(edge)?;
        self.visit(at, None);
        for extra in &edge.extra {
            self.visit(at, Some(extra));
        }
        Ok(())
    }

    fn find(&self, edge: &Edge) -> Result<usize, String> {
        let candidates = self.by_name.get(edge.name.as_str()).into_iter().flatten();
        let mut fitting: Vec<usize> = Vec::new();
        for at in candidates {
            let entry = &self.document.packages[*at];
            if edge.version.is_some() && edge.version != entry.version
                || edge
                    .source
                    .as_ref()
                    .is_some_and(|source| *source != entry.source)
            {
                continue;
            }
            fitting.push(*at);
        }
        if fitting.len() > 1 {
            // One entry for each part of the environments.
            let mut here = Vec::new();
            for at in &fitting {
                for marker in &self.document.packages[*at].resolution_markers {
                    if marker::holds(marker, self.target, &self.chosen)? {
                        here.push(*at);
                        break;
                    }
                }
            }
            fitting = here;
        }
        match fitting.as_slice() {
            [at] => Ok(*at),
            [] => Err(format!("{} is needed and is not in it", edge.name)),
            _ => Err(format!(
                "{} is in it more than once for this Python",
                edge.name
            )),
        }
    }

    fn locked(&self, direct: BTreeSet<String>) -> Result<Locked, String> {
        let mut locked = Locked {
            direct,
            ..Locked::default()
        };
        let mut found: Vec<usize> = self
            .seen
            .iter()
            .filter(|(_, extra)| extra.is_none())
            .map(|(at, _)| *at)
            .collect();
        found.sort_unstable();
        let mut names = HashSet::new();
        for at in found {
            let entry = &self.document.packages[at];
            let wrong =
                |problem: &str| format!("the package `{}` {problem}", entry.name.escape_default());
            if !is_name(&entry.name) {
                return Err(wrong("has no name of a package"));
            }
            if !names.insert(normalize(&entry.name)) {
                return Err(wrong("is in it more than once for this Python"));
            }
            if entry.source.r#virtual.is_some() {
                continue;
            }
            let local = [
                &entry.source.editable,
                &entry.source.directory,
                &entry.source.path,
            ];
            if let Some(path) = local.into_iter().flatten().next() {
                let Some(path) = packages::beside(path) else {
                    return Err(wrong(&format!(
                        "is in {}, which is outside the source",
                        path.escape_default()
                    )));
                };
                locked.local.insert(normalize(&entry.name));
                if entry.source.path.is_some() {
                    let files = entry.wheels.iter().chain(&entry.sdist);
                    let hashes = files.filter_map(|file| file.hash.as_deref());
                    locked
                        .archives
                        .extend(Archive::of(&entry.name, &path, hashes));
                }
                locked.projects.push(LocalProject {
                    path,
                    extras: String::new(),
                    editable: entry.source.editable.is_some(),
                    named_in: FILE.to_owned(),
                    is_listed: false,
                });
                continue;
            }
            locked.packages.push(Package {
                name: normalize(&entry.name),
                version: entry.version.clone().unwrap_or_default(),
                origin: entry.origin().map_err(|problem| wrong(&problem))?,
            });
        }
        // The application's own project comes last, after its dependencies.
        locked
            .projects
            .sort_by_key(|project| std::cmp::Reverse(project.path.clone()));
        locked.packages.sort();
        Ok(locked)
    }
}

impl Entry {
    fn origin(&self) -> Result<Origin, String> {
        if let Some(git) = &self.source.git {
            let (address, commit) = git
                .split_once('#')
                .ok_or_else(|| "is in a repository without a commit".to_owned())?;
            let (url, query) = address.split_once('?').unwrap_or((address, ""));
            let subdirectory = query
                .split('&')
                .find_map(|part| part.strip_prefix("subdirectory="))
                .map(str::to_owned);
            if !is_word(url) || !is_word(commit) || !subdirectory.as_deref().is_none_or(is_word) {
                return Err("is in a repository whose URL cannot be used".into());
            }
            return Ok(Origin::Git {
                url: url.to_owned(),
                commit: commit.to_owned(),
                subdirectory,
            });
        }
        if !self.version.as_deref().is_some_and(is_version) {
            return Err("has no version".into());
        }
        let files = self
            .wheels
            .iter()
            .chain(&self.sdist)
            .map(Artifact::file)
            .collect::<Result<Vec<File>, String>>()?;
        if let Some(url) = &self.source.url {
            let Some(mut file) = files.into_iter().next() else {
                return Err("is an archive without a SHA-256".into());
            };
            if !is_word(url) {
                return Err("is an archive whose URL cannot be used".into());
            }
            file.url = Some(url.clone());
            file.name = File::name_of(url);
            return Ok(Origin::Archive {
                file,
                subdirectory: self.source.subdirectory.clone(),
            });
        }
        let Some(registry) = &self.source.registry else {
            return Err("has no source that is known".into());
        };
        if !registry.contains("://") {
            return Err(format!(
                "is in the index {}, which is a directory",
                registry.escape_default()
            ));
        }
        if !is_word(registry) {
            return Err("is in an index whose URL cannot be used".into());
        }
        if files.is_empty() {
            return Err("has no file".into());
        }
        Ok(Origin::Index {
            indexes: vec![Index::at(None, registry)],
            files,
        })
    }
}

impl Artifact {
    fn file(&self) -> Result<File, String> {
        let Some(sha256) = self.hash.as_deref().and_then(packages::sha256) else {
            return Err("has a file without a SHA-256".into());
        };
        let url = self.url.clone().filter(|url| is_word(url));
        let place = self
            .filename
            .as_ref()
            .or(url.as_ref())
            .or(self.path.as_ref());
        let name = place.map(|place| File::name_of(place)).unwrap_or_default();
        // A package from a URL may have any file name.
        if !is_file_name(&name) && (url.is_some() || self.path.is_some()) {
            return Err("has a file whose name cannot be used".into());
        }
        Ok(File {
            name,
            url,
            sha256,
            size: self.size,
        })
    }
}

#[cfg(test)]
mod tests;
