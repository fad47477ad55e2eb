//! The directories of an app: its root (virtual environment and home), its source, its home in the source.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::advice::{Advice, Explain};
use super::contract;

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
    #[error("no virtual environment is active, and this is not an image")]
    NoEnvironment,
}

impl Explain for RootsError {
    fn advice(&self) -> Advice {
        Advice::new(self.to_string())
            .remedy("python3 -m venv .venv && . .venv/bin/activate")
            .remedy("or: eval \"$(warpdrive project --create NAME)\"")
    }
}

impl Roots {
    /// App root: `WARPDRIVE_APP_ROOT`, else `/opt/app-root` in an image, else the active virtual
    /// environment. Source: `WARPDRIVE_SRC_ROOT`, else `src` below the app root in an image (and
    /// if `WARPDRIVE_APP_ROOT` is set and has one), else the working directory.
    ///
    /// # Errors
    /// If none of these exists.
    pub fn find(
        variable: impl Fn(&str) -> Option<OsString>,
        directory: &Path,
    ) -> Result<Roots, RootsError> {
        let path = |name: &str| {
            variable(name)
                .filter(|value| !value.is_empty())
                .map(|value| directory.join(value))
        };
        let said = path(contract::APP_ROOT);
        let below_app = said.is_some();
        let in_image =
            || Self::is_image(Path::new(contract::ROOT)).then(|| PathBuf::from(contract::ROOT));
        let app = said
            .or_else(in_image)
            .or_else(|| path("VIRTUAL_ENV"))
            .ok_or(RootsError::NoEnvironment)?;
        let image = Self::is_image(&app);
        let below = app.join("src");
        let source = match path(contract::SRC_ROOT) {
            Some(source) => source,
            None if image || (below_app && below.is_dir()) => below,
            None => directory.to_owned(),
        };
        Ok(Roots { app, source, image })
    }

    fn is_image(app_root: &Path) -> bool {
        app_root.join("s2i/bin").is_dir()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_and_the_laptop() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_str().unwrap();
        std::fs::create_dir_all(directory.path().join("image/s2i/bin")).unwrap();
        std::fs::create_dir_all(directory.path().join("plain/src")).unwrap();
        let image = format!("{root}/image");
        let plain = format!("{root}/plain");
        for (variables, app, source) in [
            (
                vec![("WARPDRIVE_APP_ROOT", image.as_str())],
                image.clone(),
                format!("{image}/src"),
            ),
            (
                vec![("WARPDRIVE_APP_ROOT", "plain")],
                plain.clone(),
                format!("{plain}/src"),
            ),
            (
                vec![("VIRTUAL_ENV", plain.as_str())],
                plain.clone(),
                root.to_owned(),
            ),
            (
                vec![
                    ("VIRTUAL_ENV", "/venv"),
                    ("WARPDRIVE_SRC_ROOT", "other"),
                    ("WARPDRIVE_APP_ROOT", ""),
                ],
                "/venv".to_owned(),
                format!("{root}/other"),
            ),
        ] {
            let value = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let found = Roots::find(value, directory.path()).unwrap();
            assert_eq!(found.app, Path::new(&app), "{variables:?}");
            assert_eq!(found.source, Path::new(&source), "{variables:?}");
        }
        assert!(matches!(
            Roots::find(|_| None, directory.path()),
            Err(RootsError::NoEnvironment)
        ));
    }
}
