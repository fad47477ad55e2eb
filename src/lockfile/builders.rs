//! What builds a package comes from where the project takes packages from, or the package is not built.
//!
//! An installer builds in an environment of its own, and looks for the build requirements in the indexes that it
//! knows. It does not know those of other managers, nor a lock.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::app::declared::binding::Bindings;
use crate::app::files::{self, Files};
use crate::app::listed::LocalProject;
use crate::app::pip_variables;
use crate::app::requirement::{name_of, normalize};

use super::any_name::{self, AnyName, Installer};
use super::error::LockfileError;
use super::fit::at;
use super::packages::{Index, Origin, Package};
use super::pipenv;

/// Build tools of the public index: its names for these are known to everyone, and are not a company's own.
const PUBLIC: &[&str] = &[
    "babel",
    "calver",
    "certifi",
    "cffi",
    "cmake",
    "cppy",
    "cython",
    "expandvars",
    "extension-helpers",
    "flit",
    "flit-core",
    "flit-scm",
    "hatch",
    "hatch-build-scripts",
    "hatch-cython",
    "hatch-docstring-description",
    "hatch-fancy-pypi-readme",
    "hatch-jupyter-builder",
    "hatch-nodejs-version",
    "hatch-regex-commit",
    "hatch-requirements-txt",
    "hatch-vcs",
    "hatchling",
    "importlib-metadata",
    "incremental",
    "jinja2",
    "jupyter-packaging",
    "maturin",
    "meson",
    "meson-python",
    "mypy",
    "nanobind",
    "ninja",
    "numpy",
    "oldest-supported-numpy",
    "packaging",
    "pathspec",
    "pbr",
    "pdm-backend",
    "pdm-build-locked",
    "pdm-pep517",
    "pip",
    "pkgconfig",
    "poetry",
    "poetry-core",
    "poetry-dynamic-versioning",
    "py-build-cmake",
    "pybind11",
    "pytest-runner",
    "pythran",
    "scikit-build",
    "scikit-build-core",
    "scipy",
    "setuptools",
    "setuptools-git-versioning",
    "setuptools-rust",
    "setuptools-scm",
    "sip",
    "swig",
    "toml",
    "tomli",
    "torch",
    "trove-classifiers",
    "typing-extensions",
    "uv-build",
    "uv-dynamic-versioning",
    "versioneer",
    "versioneer-518",
    "versioningit",
    "wheel",
];

/// Which build requirements must not be looked for in the usual index.
#[derive(Debug, Clone, Default)]
pub struct Builders {
    names: Option<Names>,
}

#[derive(Debug, Clone)]
struct Names {
    /// Each name that the project binds, or pattern of names, with the table that says so.
    bound: BTreeMap<String, &'static str>,
    patterns: Vec<(String, AnyName)>,
    /// uv knows where the names of its own table come from when it builds a project.
    of_uv: BTreeSet<String>,
    any: Option<AnyName>,
}

impl Builders {
    /// For the project whose tables are in this directory.
    pub(super) fn read(files: &dyn Files, directory: &str, installer: Installer<'_>) -> Self {
        if pip_variables::without_index(installer.environment) {
            return Self::default();
        }
        let table = |name: &str| {
            let path = files::join(directory, name).unwrap_or_default();
            let text = files.text(&path).unwrap_or_default();
            toml::from_str::<Table>(&text).unwrap_or_default()
        };
        let bindings = Bindings::of(&table("pyproject.toml"), &table(pipenv::PIPFILE));
        let mut names = Names {
            bound: BTreeMap::new(),
            patterns: any_name::of_patterns(
                (
                    &table("pyproject.toml"),
                    &files::join(directory, "pyproject.toml").unwrap_or_default(),
                ),
                installer,
            ),
            of_uv: BTreeSet::new(),
            any: any_name::of_directory(files, directory, installer)
                .into_iter()
                // Poetry asks it last, after the public index.
                .find(|one| {
                    !(one.manager == "poetry" && is_last(&table("pyproject.toml"), &one.name))
                }),
        };
        names.patterns.retain(|(pattern, _)| pattern != "*");
        for (name, binding) in bindings.all() {
            if binding.manager == "pdm" {
                continue;
            }
            if binding.manager == "uv" && !installer.is_pip {
                names.of_uv.insert(name.to_owned());
            }
            names.bound.insert(name.to_owned(), binding.table);
        }
        Self { names: Some(names) }
    }

    /// The names that no build of an archive or of a repository may look for. (Projects of the tree are not meant: uv
    /// knows where those of its own table are when it builds one.)
    pub(super) fn bound(&self) -> Vec<String> {
        let names = self.names.iter().flat_map(|names| names.bound.keys());
        names.cloned().collect()
    }

    /// The same of a lock's packages: those from an index that the installer does not know.
    pub fn bound_of(&self, packages: &[Package]) -> Vec<String> {
        let Some(names) = &self.names else {
            return Vec::new();
        };
        let of_patterns = names.patterns.iter().map(|(_, one)| one);
        let unknown: Vec<String> = of_patterns
            .chain(&names.any)
            .map(|one| pip_variables::key(&one.address))
            .collect();
        let is_unknown = |index: &Index| {
            let url = index.url.as_deref();
            url.is_some_and(|url| unknown.contains(&pip_variables::key(url)))
        };
        packages
            .iter()
            .filter(|package| match &package.origin {
                Origin::Index { indexes, .. } => indexes.iter().any(is_unknown),
                _ => false,
            })
            .map(|package| package.name.clone())
            .filter(|name| !PUBLIC.contains(&name.as_str()))
            .collect()
    }

    /// Refuses projects of the tree whose build would look for such a requirement.
    ///
    /// # Errors
    /// If there is one.
    pub fn check_projects(
        &self,
        files: &dyn Files,
        projects: &[LocalProject],
    ) -> Result<(), LockfileError> {
        for project in projects {
            let path = files::join(&project.path, "pyproject.toml").unwrap_or_default();
            let text = files.text(&path).unwrap_or_default();
            let document = toml::from_str::<Table>(&text).unwrap_or_default();
            let list = at(&document, &["build-system", "requires"]).and_then(Value::as_array);
            let texts = list.into_iter().flatten().filter_map(Value::as_str);
            let place = match project.path.as_str() {
                "" => "the project",
                path => path,
            };
            self.check(place, texts, true)?;
        }
        Ok(())
    }

    /// The same for the build requirements of an archive.
    ///
    /// # Errors
    /// If there is one that must not be looked for.
    pub fn check_archive<'t>(
        &self,
        package: &str,
        requires: impl Iterator<Item = &'t str>,
    ) -> Result<(), LockfileError> {
        self.check(package, requires, false)
    }

    fn check<'t>(
        &self,
        package: &str,
        requires: impl Iterator<Item = &'t str>,
        is_project: bool,
    ) -> Result<(), LockfileError> {
        let Some(names) = &self.names else {
            return Ok(());
        };
        for text in requires {
            let Some((name, rest)) = name_of(text.trim()) else {
                continue;
            };
            let name = normalize(name);
            // It says itself where it is.
            let is_placed = rest.contains('@');
            if is_placed || is_project && names.of_uv.contains(&name) {
                continue;
            }
            let of_pattern = names.patterns.iter().find(|(pattern, _)| {
                normalize(pattern) == name || any_name::is_pattern(pattern, &name)
            });
            let (from, index) = match (names.bound.get(&name), of_pattern, &names.any) {
                (Some(table), ..) => (format!("{table} says where that comes from"), None),
                (None, Some((_, one)), _) => (
                    format!(
                        "{} `{}` of {} says that it is from there",
                        one.table, one.name, one.place
                    ),
                    Some(one),
                ),
                (None, None, Some(any)) if !PUBLIC.contains(&name.as_str()) => (
                    format!(
                        "that may come from {} `{}` of {}",
                        any.table, any.name, any.place
                    ),
                    Some(any),
                ),
                _ => continue,
            };
            return Err(LockfileError::Builder {
                package: package.to_owned(),
                requirement: text.escape_default().to_string(),
                from,
                index: index.map(AnyName::option),
                is_project,
            });
        }
        Ok(())
    }
}

/// Whether Poetry asks this source after all others.
fn is_last(document: &Table, name: &str) -> bool {
    let sources = at(document, &["tool", "poetry", "source"]).and_then(Value::as_array);
    sources.into_iter().flatten().any(|source| {
        let text = |key: &str| source.get(key).and_then(Value::as_str);
        text("name") == Some(name) && text("priority") == Some("supplemental")
    })
}
