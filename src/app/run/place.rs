//! Where the application lies: its root (virtual environment and home in an image) and its source.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

/// The app root of every image.
const IMAGE_ROOT: &str = "/opt/app-root";

/// What the process was started with.
#[derive(Debug, Clone)]
pub struct Caller {
    pub variables: BTreeMap<OsString, OsString>,
    pub directory: PathBuf,
    pub executable: PathBuf,
}

impl Caller {
    /// This process.
    pub fn current() -> io::Result<Caller> {
        Ok(Caller {
            variables: std::env::vars_os().collect(),
            directory: std::env::current_dir()?,
            executable: std::env::current_exe().unwrap_or_default(),
        })
    }

    /// The variables that are text.
    pub fn environment(&self) -> BTreeMap<String, String> {
        self.variables
            .iter()
            .filter_map(|(name, value)| {
                Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()))
            })
            .collect()
    }

    /// A variable that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .filter(|value| !value.is_empty())
            .map(OsString::as_os_str)
    }
}

/// The application's two directories, absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub app_root: PathBuf,
    pub src_root: PathBuf,
}

impl Place {
    /// App root: `WARPDRIVE_APP_ROOT`, else `/opt/app-root` in an image, else `VIRTUAL_ENV`.
    /// Source: `WARPDRIVE_SRC_ROOT`, else `src` below the app root where there is one, else (on a
    /// laptop) the current directory.
    pub fn find(caller: &Caller) -> Place {
        let absolute = |path: &OsStr| caller.directory.join(path);
        let said = caller.variable("WARPDRIVE_APP_ROOT").map(absolute);
        let in_image = caller.executable.starts_with(IMAGE_ROOT);
        let virtual_env = caller.variable("VIRTUAL_ENV").filter(|_| !in_image);
        let laptop = said.is_none() && virtual_env.is_some();
        let app_root = said
            .or_else(|| virtual_env.map(absolute))
            .unwrap_or_else(|| PathBuf::from(IMAGE_ROOT));
        let below = app_root.join("src");
        let src_root = match caller.variable("WARPDRIVE_SRC_ROOT") {
            Some(path) => absolute(path),
            None if app_root == Path::new(IMAGE_ROOT) => below,
            None if !laptop && below.is_dir() => below,
            None => caller.directory.clone(),
        };
        Place { app_root, src_root }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(variables: &[(&str, &str)], executable: &str) -> Caller {
        Caller {
            variables: variables
                .iter()
                .map(|(n, v)| (n.into(), v.into()))
                .collect(),
            directory: "/home/me/site".into(),
            executable: executable.into(),
        }
    }

    #[test]
    fn the_image_and_the_laptop() {
        for (variables, executable, app_root, src_root) in [
            (
                &[][..],
                "/opt/app-root/bin/warpdrive",
                "/opt/app-root",
                "/opt/app-root/src",
            ),
            (
                &[("VIRTUAL_ENV", "/venv")],
                "/opt/app-root/bin/warpdrive",
                "/opt/app-root",
                "/opt/app-root/src",
            ),
            (
                &[("VIRTUAL_ENV", "/venv")],
                "/usr/bin/warpdrive",
                "/venv",
                "/home/me/site",
            ),
            (
                &[("VIRTUAL_ENV", "")],
                "/usr/bin/warpdrive",
                "/opt/app-root",
                "/opt/app-root/src",
            ),
            (
                &[("WARPDRIVE_APP_ROOT", "root"), ("VIRTUAL_ENV", "/venv")],
                "/x",
                "/home/me/site/root",
                "/home/me/site",
            ),
            (
                &[("WARPDRIVE_SRC_ROOT", "../other"), ("VIRTUAL_ENV", "/venv")],
                "/x",
                "/venv",
                "/home/me/site/../other",
            ),
        ] {
            let place = Place::find(&caller(variables, executable));
            assert_eq!(place.app_root, Path::new(app_root), "{variables:?}");
            assert_eq!(place.src_root, Path::new(src_root), "{variables:?}");
        }
    }
}
