//! A list of packages to install that was made before, from a lock file, for one environment.
//!
//! The host reads the lock files of package managers (`crate::lockfile`), and passes the result to
//! the executable in the image in a file ([`super::contract::LISTED`]).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What a lock file amounts to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Which lock file.
    pub file: String,
    /// As in a requirements file; what they depend on is among them.
    pub lines: Vec<String>,
    /// Normalized names of all that is in the list and of the projects: they are looked for nowhere.
    #[serde(default)]
    pub settled: Vec<String>,
    /// Normalized names of the packages that the app asks for itself.
    pub names: BTreeSet<String>,
    /// Projects of the tree, which are installed as such and without what they depend on.
    pub projects: Vec<LocalProject>,
    /// Files that the list was made of, relative to the tree.
    pub files: Vec<String>,
    /// What the lines depend on is not among them, and is looked up.
    #[serde(default)]
    pub open: Option<Open>,
}

/// What is to be known of a list that was made without a lock: where the names are that the project binds to
/// a place, so that they are looked for nowhere else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// Normalized names that directories of the source bring, which are among the lines.
    pub directories: BTreeSet<String>,
    /// Names that the project binds and does not ask for itself; with the directory of the source, if
    /// it is one.
    pub others: Vec<(String, Option<String>)>,
    /// The metadata of the project itself, which is installed, too.
    pub project: Option<String>,
    /// Lines for the files that an index gave for the names that are bound to it.
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
    /// A list of requirements names it; else it is the source itself, by its metadata, or in a lock.
    pub is_listed: bool,
}
