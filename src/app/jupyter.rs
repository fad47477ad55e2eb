//! Jupyter, for a repository of notebooks: which interface, its command line, and the configuration
//! that takes the password from the environment. A token or a password is never on the command
//! line, where every user of the machine could read it.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::{EntryKind, Files};
use super::requirement::has;

/// Directory of the build's configuration for Jupyter, below the application's root.
pub const CONFIG_DIRECTORY: &str = "etc/warpdrive/jupyter";
/// What `jupyter_server` reads in it.
pub const CONFIG_FILE: &str = "jupyter_server_config.py";
/// Its content.
pub const CONFIG: &str = include_str!("jupyter_config.py");

/// How deep notebooks are looked for.
const MAX_DEPTH: usize = 4;

/// The two front ends of the same server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    Lab,
    Notebook,
}

impl Interface {
    /// The interface that `server_type` names; with `jupyter` alone the requirements decide.
    pub fn choose(server_type: Option<&str>, names: &BTreeSet<String>) -> Interface {
        match server_type {
            Some("jupyter_lab") => Self::Lab,
            Some("jupyter_notebook") => Self::Notebook,
            _ if has(names, "notebook") && !has(names, "jupyterlab") => Self::Notebook,
            _ => Self::Lab,
        }
    }

    /// The sub-command of `jupyter`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lab => "lab",
            Self::Notebook => "notebook",
        }
    }

    /// What to install, where the requirements do not have it.
    pub fn missing_packages(self, names: &BTreeSet<String>) -> Vec<String> {
        let package = match self {
            Self::Lab => "jupyterlab",
            Self::Notebook => "notebook",
        };
        if has(names, package) || has(names, "jupyter") {
            return Vec::new();
        }
        vec![package.to_owned()]
    }

    /// The command, before the app's own arguments. `home` is what the browser shows.
    pub fn command(self, port: u16, home: &str) -> Vec<String> {
        let mut line = vec!["jupyter".to_owned(), self.name().to_owned()];
        line.extend(["--no-browser".to_owned(), "--ip=0.0.0.0".to_owned()]);
        line.push(format!("--port={port}"));
        line.push("--ServerApp.port_retries=0".to_owned());
        line.push(format!("--ServerApp.root_dir={home}"));
        line
    }
}

/// Whether `server_type` or `deploy_mode` asks for Jupyter.
pub fn is_asked_for(name: &str) -> bool {
    matches!(name, "jupyter" | "jupyter_lab" | "jupyter_notebook")
}

/// Whether there are notebooks in a directory or below it.
pub fn has_notebooks(files: &dyn Files, directory: &str) -> bool {
    notebooks_below(files, directory, 0)
}

fn notebooks_below(files: &dyn Files, directory: &str, depth: usize) -> bool {
    depth < MAX_DEPTH
        && files
            .list(directory)
            .into_iter()
            .any(|entry| match entry.kind {
                EntryKind::File { .. } => Path::new(&entry.name)
                    .extension()
                    .is_some_and(|extension| extension == "ipynb"),
                EntryKind::Directory if !entry.name.starts_with('.') => {
                    let below = super::files::join(directory, &entry.name).unwrap_or_default();
                    !below.is_empty() && notebooks_below(files, &below, depth + 1)
                }
                _ => false,
            })
}

#[cfg(test)]
mod tests {
    use super::super::files::Memory;
    use super::*;

    #[test]
    fn the_requirements_choose_the_interface() {
        let names = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<BTreeSet<_>>()
        };
        for (wish, list, expected, missing) in [
            (None, "", Interface::Lab, &["jupyterlab"][..]),
            (None, "notebook", Interface::Notebook, &[]),
            (None, "notebook jupyterlab", Interface::Lab, &[]),
            (None, "jupyter", Interface::Lab, &[]),
            (Some("jupyter"), "notebook", Interface::Notebook, &[]),
            (
                Some("jupyter_lab"),
                "notebook",
                Interface::Lab,
                &["jupyterlab"],
            ),
            (
                Some("jupyter_notebook"),
                "numpy",
                Interface::Notebook,
                &["notebook"],
            ),
        ] {
            let found = Interface::choose(wish, &names(list));
            assert_eq!(found, expected, "{wish:?} {list}");
            assert_eq!(
                found.missing_packages(&names(list)),
                missing,
                "{wish:?} {list}"
            );
        }
    }

    #[test]
    fn notebooks_are_found_in_directories_that_are_not_hidden() {
        for (path, expected) in [
            ("a.ipynb", true),
            ("week 1/a.ipynb", true),
            (".ipynb_checkpoints/a.ipynb", false),
            ("a.py", false),
        ] {
            assert_eq!(
                has_notebooks(&Memory::new().with(path, ""), ""),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn no_secret_has_a_place_on_the_command_line() {
        assert_eq!(
            Interface::Lab.command(8080, "/src/a b").join(" "),
            "jupyter lab --no-browser --ip=0.0.0.0 --port=8080 --ServerApp.port_retries=0 \
             --ServerApp.root_dir=/src/a b"
        );
    }
}
