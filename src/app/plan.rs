//! The plan: how an app is started, as far as the build can know. It is made by [`super::detect()`] from
//! the text of the source, completed by [`super::assemble`], recorded in the image as
//! `etc/warpdrive/plan.json` and read by `start`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::adding::Adding;
use super::detect::Interface;
use super::instrument::Instrument;
use super::jupyter;
use super::python::PythonRequest;
use super::python_version::PythonVersion;
use super::server::Server;

pub use super::contract::PLAN_FILE;
/// Python modules that the build writes for the servers, below the application's root.
pub const MODULES_DIRECTORY: &str = "etc/warpdrive/modules";

/// How an app is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Raised when a reader of an older plan could misunderstand it.
    pub version: u32,
    pub start: Start,
    /// `flask`, `django`, …; empty if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub framework: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub django: Option<DjangoPlan>,
    /// Served by the server or the wrapper in front of the application.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub static_files: Vec<StaticMap>,
    /// Directory of the application below the source, `""` for the source itself.
    #[serde(default)]
    pub home: String,
    /// More directories below the source for `PYTHONPATH`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub python_path: Vec<String>,
    /// More arguments for the server, before expansion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_args: Option<String>,
    /// Variables of `.warpdrive/environment` and `[tool.warpdrive.environment]`, for readers of the
    /// plan; `start` reads the files themselves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    pub installer: String,
    /// What the app says about its Python.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python_request: Option<PythonRequest>,
    /// What it was built with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<PythonVersion>,
    /// Packages that warpdrive adds for the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub server_packages: Vec<String>,
    /// The agent around the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instrument: Option<Instrument>,
    /// What agents call the application: `[project] name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The variables of the builder image. They do not describe the application, so a file of the
    /// application comes before them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub image_environment: BTreeMap<String, String>,
    /// The installed release of the server's package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
    /// Hooks that exist and are executable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<String>,
    /// Further processes by name, each a line for the shell: `start NAME` runs it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub processes: BTreeMap<String, String>,
    /// The started program listens on a port.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub web: bool,
    /// How the project adds a package, for advice.
    #[serde(default, skip_serializing_if = "Adding::is_list")]
    pub adding: Adding,
    /// Why it is a start for developers: `app.py: debug=True`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub development: Option<String>,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_yes(web: &bool) -> bool {
    *web
}

/// The process that starts by default.
pub const WEB: &str = "web";
/// The process that a new release runs before it starts.
pub const RELEASE: &str = "release";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum Start {
    /// An executable of the source, relative to the home.
    Shell { program: String },
    /// `python PROGRAM`.
    Python { program: String },
    /// A line for the shell, in the home: of a `Procfile`, or a framework's own server.
    Command { line: String },
    /// `jupyter lab` or `jupyter notebook`, over the home.
    Jupyter { interface: jupyter::Interface },
    Server {
        server: Server,
        /// `None`: everything is in the arguments (the original's modes `gunicorn`, `uwsgi` …), or
        /// it is Django's and not yet known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        application: Option<Application>,
    },
}

/// What a server serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    pub module: String,
    pub object: String,
    /// `object` is a function that makes it.
    #[serde(default)]
    pub factory: bool,
    pub interface: Interface,
    /// The module of [`MODULES_DIRECTORY`] in front of it, with an `application` of the
    /// same interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrapper: Option<String>,
}

impl Application {
    /// `module:object`, as most servers want it.
    pub fn reference(&self) -> String {
        format!("{}:{}", self.module, self.object)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DjangoPlan {
    /// Path of `manage.py`, relative to the source.
    pub manage: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_module: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wsgi_application: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asgi_application: Option<String>,
}

/// Files below `root` are served below `url`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticMap {
    /// Begins and ends with `/`.
    pub url: String,
    /// Absolute, with a `/` at its end.
    pub root: String,
}

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("{path} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is not a plan of this warpdrive: {message}")]
    Parse { path: PathBuf, message: String },
    #[error("{path} cannot be written")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Plan {
    pub const VERSION: u32 = 1;

    /// Reads a plan's text.
    ///
    /// # Errors
    /// If it is not JSON, or has another version.
    pub fn from_json(text: &[u8]) -> Result<Plan, String> {
        let plan: Plan = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if plan.version == Plan::VERSION {
            Ok(plan)
        } else {
            Err(format!("its version is {}", plan.version))
        }
    }

    /// # Errors
    /// If it is missing or cannot be understood.
    pub fn load(app_root: &Path) -> Result<Plan, PlanError> {
        let path = app_root.join(PLAN_FILE);
        let text = std::fs::read(&path).map_err(|source| PlanError::Read {
            path: path.clone(),
            source,
        })?;
        Plan::from_json(&text).map_err(|message| PlanError::Parse { path, message })
    }

    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, app_root: &Path) -> Result<(), PlanError> {
        let path = app_root.join(PLAN_FILE);
        let write = || -> std::io::Result<()> {
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory)?;
            }
            let mut text = serde_json::to_vec_pretty(self)?;
            text.push(b'\n');
            std::fs::write(&path, text)
        };
        write().map_err(|source| PlanError::Write {
            path: path.clone(),
            source,
        })
    }

    /// The server, if one serves the app.
    pub fn server(&self) -> Option<Server> {
        match &self.start {
            Start::Server { server, .. } => Some(*server),
            _ => None,
        }
    }

    pub fn application(&self) -> Option<&Application> {
        match &self.start {
            Start::Server { application, .. } => application.as_ref(),
            _ => None,
        }
    }
}
