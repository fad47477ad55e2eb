//! How an application is started: resolved once, at build, and recorded as JSON at
//! `$APP_ROOT/etc/warpdrive/plan.json`, so that a start need not find it out again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the plan lies below the app root.
pub const PLAN_FILE: &str = "etc/warpdrive/plan.json";

/// The record of a build, read by `start`, `setup`, `migrate`, `alive`, `ready` and by
/// `warpdrive inspect --plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Raised when a field changes its meaning.
    pub format: u32,
    /// `gunicorn`, `uvicorn`, `waitress`, `mod_wsgi`, `uwsgi`, `python`, `shell` …
    pub server: String,
    /// The application object; none for `python`, `shell` and `jupyter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<EntryPoint>,
    /// The program and its arguments as they are run in APP_HOME. `${PORT}`, `${WARPDRIVE_APP_ROOT}`
    /// and `${WARPDRIVE_SRC_ROOT}` are replaced at start; `server_args` are part of it, still with
    /// their `$V`, `${V}`, `${V:-d}`.
    pub command: Vec<String>,
    /// APP_HOME, relative to the source root; empty for the root itself.
    #[serde(default)]
    pub home: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub static_files: Option<StaticFiles>,
    /// Set for the server and for hooks, unless the environment has them.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// `3.11`.
    pub python: String,
}

/// A module-level object or factory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPoint {
    pub module: String,
    pub object: String,
    pub interface: Interface,
    /// The object is a function that gives the application.
    #[serde(default)]
    pub factory: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    Wsgi,
    Asgi,
}

/// Files that the server sends without the application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticFiles {
    /// `/static/`.
    pub url: String,
    /// Absolute, or below `${WARPDRIVE_APP_ROOT}`.
    pub root: String,
}
