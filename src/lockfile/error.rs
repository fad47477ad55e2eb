//! Errors of lock files.

use crate::app::advice::{Advice, Explain};
use crate::app::settings::SettingsError;

use super::manager::Manager;

#[derive(Debug, thiserror::Error)]
pub enum LockfileError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("{file} cannot be read: {problem}")]
    Unreadable {
        file: String,
        problem: String,
        mend: String,
    },
    #[error("{file} does not fit {project}: {problem}")]
    Stale {
        file: String,
        project: String,
        problem: String,
        mend: String,
    },
    #[error(
        "{path} is not the file that {file} names: its SHA-256 is {found}, and the lock has {}{}",
        .expected.join(" or "), other_files(.others)
    )]
    Archive {
        path: String,
        file: String,
        expected: Vec<String>,
        found: String,
        /// More files that are not the locked ones.
        others: Vec<String>,
        mend: String,
        /// Of a file whose name and version the public index has, Pipenv writes down the hashes of that index.
        is_pipenv: bool,
    },
    #[error("{file} is for Python {wanted}, and the builder image has Python {found}")]
    Python {
        file: String,
        wanted: String,
        found: String,
    },
    #[error("{file} cannot be installed: {problem}")]
    Unusable { file: String, problem: String },
    #[error(
        "{file} cannot be installed: `{name}` is bound to the index {index}, which {table} does not define: {defined}"
    )]
    NoIndex {
        file: String,
        name: String,
        index: String,
        table: &'static str,
        /// In words.
        defined: String,
    },
    #[error("the packages are declared in several ways: {}", .found.join(", "))]
    Several {
        found: Vec<String>,
        choices: Vec<Manager>,
    },
    #[error("the setting `dependencies` is {manager}, and there is no {file}")]
    Missing {
        manager: &'static str,
        file: &'static str,
        mend: String,
    },
    #[error(
        "{table} says where `{name}` comes from, and there is no {file} that says which files these are"
    )]
    Bound {
        name: String,
        table: &'static str,
        file: &'static str,
        mend: String,
    },
    #[error(
        "{table} says where `{name}` comes from, and only the build backend of {file} knows which package requires it"
    )]
    Dynamic {
        name: String,
        table: &'static str,
        file: String,
        mend: String,
    },
    #[error(
        "{package} is built with `{requirement}`, and {from}: the build would look for it in the public index"
    )]
    Builder {
        package: String,
        requirement: String,
        /// Which table says that it is from elsewhere.
        from: String,
        /// The index, as a value of `UV_INDEX`.
        index: Option<String>,
        is_project: bool,
    },
    #[error(
        "the setting `{key}` is `{value}`, and it cannot be honoured: the packages are from {from}"
    )]
    Choice {
        key: &'static str,
        value: String,
        from: String,
    },
    #[error(
        "any package may come from {table} `{name}` of {place}, and only a {file} says which ones do: there is none"
    )]
    Source {
        name: String,
        table: &'static str,
        /// The file with the table.
        place: String,
        /// The file is that of a member of a workspace, where uv does not read the table.
        is_member: bool,
        file: &'static str,
        mend: String,
        /// What the table may say instead.
        or: &'static str,
    },
    #[error("{file} has no {kind} `{name}`")]
    Unknown {
        file: String,
        kind: &'static str,
        name: String,
        known: Vec<String>,
    },
}

fn other_files(paths: &[String]) -> String {
    if paths.is_empty() {
        return String::new();
    }
    format!("; {} changed as well", paths.join(", "))
}

impl Explain for LockfileError {
    fn advice(&self) -> Advice {
        let advice = Advice::new(self.to_string());
        match self {
            Self::Settings(error) => error.advice(),
            Self::Unreadable { mend, .. } => advice.remedy(format!("write it again with `{mend}`")),
            Self::Stale { mend, .. } | Self::Missing { mend, .. } => {
                advice.remedy(format!("run `{mend}` and commit what it writes"))
            }
            Self::Python { wanted, .. } => advice.remedy(format!(
                "choose a builder image with Python {wanted} (`--builder`), or lock for this one"
            )),
            Self::Archive { path, others, mend, is_pipenv, .. } => {
                let paths: Vec<&str> = std::iter::once(path).chain(others).map(String::as_str).collect();
                let advice = advice.remedy(format!(
                    "put the locked {} back, or, if the change is intended, run `{mend}` and commit what it writes",
                    paths.join(", ")
                ));
                if *is_pipenv {
                    return advice.remedy(
                        "if that changes nothing, the hashes are those of a public package with this name and version: \
                         give yours a version that is not public, such as 1.0+ours",
                    );
                }
                advice
            }
            Self::Unusable { .. } => advice,
            Self::NoIndex { index, table, .. } => advice.remedy(format!(
                "define it (name = \"{index}\" and its url, in {table}), or name one that is defined"
            )),
            Self::Several { choices, .. } => {
                let choices: Vec<String> = choices
                    .iter()
                    .map(|manager| format!("\"{}\"", manager.name()))
                    .collect();
                advice.remedy(format!(
                    "keep one, or say which one counts in pyproject.toml: [tool.warpdrive] dependencies = {}",
                    choices.join(" or ")
                ))
            }
            Self::Bound { mend, .. } => advice
                .cause("a stranger's package of the same name in the public index must not be taken for it")
                .remedy(format!("run `{mend}` and commit what it writes")),
            Self::Dynamic { mend, .. } => advice
                .cause("a stranger's package of the same name in the public index must not be taken for it")
                .remedy(format!(
                    "list the packages in [project] dependencies of pyproject.toml, run `{mend}` and commit what it writes"
                )),
            Self::Builder {
                index,
                package,
                requirement,
                is_project,
                ..
            } => {
                let mut advice = advice.cause(
                    "a stranger's package of the same name would run its code in the build",
                );
                if let Some(index) = index {
                    advice = advice.remedy(format!(
                        "give the build this index: `--build-env UV_INDEX={index}`; it is asked first for every name"
                    ));
                }
                advice.remedy(if *is_project {
                    format!("build {package} without {requirement}: [build-system] requires names it")
                } else {
                    format!("publish a wheel of {package}, and lock again")
                })
            }
            Self::Choice { .. } => advice.remedy(
                "write a lock with the manager of the project (`uv lock`, `poetry lock`, `pdm lock`, `pipenv lock`), or list these packages where the others are, and remove the setting",
            ),
            Self::Source { mend, or, place, is_member, .. } => {
                let advice = advice
                    .cause("its packages must not be looked for in the public index, where a stranger may have their names");
                if *is_member {
                    return advice.remedy(format!(
                        "move it from {place} to the pyproject.toml of the workspace's root, where uv reads it, run `{mend}` and commit what it writes; or {or}"
                    ));
                }
                advice.remedy(format!("run `{mend}` and commit what it writes; or {or}"))
            }
            Self::Unknown { known, .. } if known.is_empty() => advice,
            Self::Unknown { known, .. } => advice.remedy(format!("it has {}", known.join(", "))),
        }
    }
}
