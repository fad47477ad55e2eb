//! A minor version of Python, the unit in which builder images differ. `python` finds out which one
//! an app asks for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A minor version of Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PythonVersion {
    pub major: u32,
    pub minor: u32,
}

impl PythonVersion {
    pub const fn new(major: u32, minor: u32) -> PythonVersion {
        PythonVersion { major, minor }
    }
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

impl From<PythonVersion> for String {
    fn from(version: PythonVersion) -> String {
        version.to_string()
    }
}

impl TryFrom<String> for PythonVersion {
    type Error = String;
    fn try_from(text: String) -> Result<PythonVersion, String> {
        text.parse()
    }
}

impl FromStr for PythonVersion {
    type Err = String;

    /// `3.12`, `3.12.1`, `3.12rc1`.
    fn from_str(text: &str) -> Result<PythonVersion, String> {
        let wrong = || format!("`{text}` is not a Python version");
        let mut parts = text.trim().split('.');
        let major = parts
            .next()
            .and_then(|part| part.parse().ok())
            .ok_or_else(wrong)?;
        let minor = parts.next().ok_or_else(wrong)?;
        let digits = minor
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(minor.len());
        let minor = minor[..digits].parse().map_err(|_| wrong())?;
        Ok(PythonVersion { major, minor })
    }
}
