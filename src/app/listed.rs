//! A list of packages to install that was made before, from a lock file, for one environment.
//!
//! The host reads the lock files of package managers (`crate::lockfile`), and passes the result to
//! the executable in the image in a file ([`super::contract::LISTED`]).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A path that does not exist, as the place of the names that no build gets: what a repository is built with is known
/// only when the installer has it.
pub const NOT_FOR_BUILDS: &str = ".warpdrive/bound-and-not-for-builds";

/// The content of a lock file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Which lock file.
    pub file: String,
    /// Lines as in a requirements file, including all dependencies.
    pub lines: Vec<String>,
    /// Normalized names of everything in the list and of the projects: they are not looked for anywhere.
    #[serde(default)]
    pub settled: Vec<String>,
    /// Normalized names of the packages that the app asks for itself.
    pub names: BTreeSet<String>,
    /// Normalized names that no build of a package gets from an index: the project binds them to another place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_for_builds: Vec<String>,
    /// Projects of the tree, which are installed as such, without their dependencies.
    pub projects: Vec<LocalProject>,
    /// Files that the list was made of, relative to the tree.
    pub files: Vec<String>,
    /// The dependencies of the lines are not included, and are looked up.
    #[serde(default)]
    pub open: Option<Open>,
}

/// Facts about a list that was made without a lock: the locations of the names that the project binds, so
/// that they are not looked for elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// Normalized names of directories of the source that are among the lines.
    pub directories: BTreeSet<String>,
    /// Names that the project binds but does not require itself; with the directory of the source, if
    /// the location is one.
    pub others: Vec<(String, Option<String>)>,
    /// The metadata of the project itself, which is installed, too.
    pub project: Option<String>,
    /// Lines for the files that an index has for the names bound to it.
    pub fetched: Vec<String>,
    /// SHA-256 of these files.
    pub hashes: Vec<String>,
}

/// A project of the source tree that is installed as such.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalProject {
    /// Relative to the tree; `""` is the tree itself.
    pub path: String,
    pub extras: String,
    pub editable: bool,
    pub named_in: String,
    /// A list of requirements names it; otherwise it is the source itself (by its metadata), or a
    /// lock names it.
    pub is_listed: bool,
}
