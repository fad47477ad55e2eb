//! Where an app lies: its root (virtual environment and home), its source, its home in the source.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The root in every image.
pub const APP_ROOT: &str = "/opt/app-root";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// `/opt/app-root`, or the virtual environment.
    pub app: PathBuf,
    /// `/opt/app-root/src`, or the working directory.
    pub source: PathBuf,
    /// In an image (or a build of one), not on a laptop.
    pub image: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    #[error("no virtual environment is active, and this is no image")]
    NoEnvironment,
    #[error("the working directory cannot be found")]
    WorkingDirectory(#[source] std::io::Error),
}

impl Roots {
    /// From `WARPDRIVE_APP_ROOT` and `WARPDRIVE_SRC_ROOT`, the active virtual environment, or the
    /// image this runs in.
    ///
    /// # Errors
    /// If there is none of these.
    pub fn find(environment: &BTreeMap<String, String>) -> Result<Roots, RootsError> {
        let variable = |name: &str| {
            environment
                .get(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let in_image = Path::new(APP_ROOT).join("s2i/bin").is_dir();
        let app = variable("WARPDRIVE_APP_ROOT")
            .or_else(|| in_image.then(|| PathBuf::from(APP_ROOT)))
            .or_else(|| variable("VIRTUAL_ENV"))
            .ok_or(RootsError::NoEnvironment)?;
        let image = app.join("s2i/bin").is_dir();
        let source = match variable("WARPDRIVE_SRC_ROOT") {
            Some(source) => source,
            None if image => app.join("src"),
            None => std::env::current_dir().map_err(RootsError::WorkingDirectory)?,
        };
        Ok(Roots { app, source, image })
    }

    pub fn python(&self) -> PathBuf {
        self.app.join("bin/python")
    }

    /// The application's home in the source.
    pub fn home(&self, home: &str) -> PathBuf {
        if home.is_empty() {
            self.source.clone()
        } else {
            self.source.join(home)
        }
    }
}
