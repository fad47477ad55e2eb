//! What the process was started with.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;

use super::super::roots::{Roots, RootsError};

#[derive(Debug, Clone)]
pub struct Caller {
    pub variables: BTreeMap<OsString, OsString>,
    pub directory: PathBuf,
}

impl Caller {
    /// This process.
    pub fn current() -> io::Result<Caller> {
        Ok(Caller {
            variables: std::env::vars_os().collect(),
            directory: std::env::current_dir()?,
        })
    }

    /// A variable that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .filter(|value| !value.is_empty())
            .map(OsString::as_os_str)
    }

    /// The application's directories.
    pub fn roots(&self) -> Result<Roots, RootsError> {
        Roots::find(
            |name| self.variable(name).map(OsStr::to_owned),
            &self.directory,
        )
    }

    /// The variables that are text.
    pub fn text_variables(&self) -> BTreeMap<String, String> {
        self.variables
            .iter()
            .filter_map(|(name, value)| {
                Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()))
            })
            .collect()
    }
}
