//! What a source tree says about its packages, without running any of it: requirement files and
//! static metadata (PEP 621, `setup.cfg`).

use std::collections::{BTreeMap, BTreeSet};

use super::files::{EntryKind, Files};
use super::requirement::{LineKind, Requirements, normalize};
use super::settings::{Settings, SettingsError};

/// Where the dependencies of an app stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Requirement files, in order.
    Requirements(Vec<String>),
    /// `[project] dependencies` or `setup.cfg`'s `install_requires`: the file and the requirements.
    /// Phase two installs the project itself.
    Static {
        file: String,
        requirements: Vec<String>,
    },
    /// Only a build backend knows them: `setup.py`, `dynamic = ["dependencies"]`, Poetry's table.
    Dynamic { file: String },
    /// Nothing: the app uses the standard library only.
    None,
}

/// A source tree with its settings and requirements read.
#[derive(Debug)]
pub struct Project {
    pub settings: Settings,
    pub source: Source,
    /// What [`Source::Requirements`] names, flattened.
    pub requirements: Requirements,
    /// `pyproject.toml`, `setup.cfg` or `setup.py` describe an installable project.
    pub installable: bool,
}

impl Project {
    /// # Errors
    /// For settings that cannot be understood.
    pub fn load(
        files: &dyn Files,
        environment: &BTreeMap<String, String>,
        command_line: &BTreeMap<String, String>,
    ) -> Result<Project, SettingsError> {
        let settings = Settings::load(files, environment, command_line)?;
        let named = settings.get("requirements").map(|list| {
            list.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        let said = named.is_some();
        let present: Vec<String> = named
            .unwrap_or_else(|| vec!["requirements.txt".to_owned()])
            .into_iter()
            .map(|file| file.strip_prefix("./").map_or(file.clone(), str::to_owned))
            .filter(|file| said || files.is_file(file))
            .collect();
        let mut requirements = Requirements::default();
        for file in &present {
            if files.is_file(file) {
                requirements.add(files, file, 0);
            } else {
                requirements
                    .missing
                    .push(("the setting `requirements`".to_owned(), file.clone()));
            }
        }
        let metadata = static_metadata(files);
        let installable = metadata.is_some();
        let source = if present.is_empty() {
            metadata.unwrap_or(Source::None)
        } else {
            Source::Requirements(present)
        };
        if let Source::Static {
            file,
            requirements: list,
        } = &source
        {
            requirements.files.insert(file.clone());
            let text = list.join("\n");
            let memory = super::files::Memory::new().with(file, text);
            requirements.add(&memory, file, 0);
        }
        Ok(Project {
            settings,
            source,
            requirements,
            installable,
        })
    }

    /// Normalized names of the packages that the app asks for itself.
    pub fn names(&self) -> BTreeSet<String> {
        self.requirements.names()
    }

    /// Directory of the application in the source: `""` or a relative path.
    pub fn home(&self) -> String {
        self.settings
            .get("home")
            .and_then(|home| super::files::join("", &home))
            .unwrap_or_default()
    }

    /// Whether the installer is pip.
    pub fn uses_pip(&self) -> bool {
        self.settings.get("installer").as_deref() == Some("pip")
    }

    /// Local projects among the requirements, and the tree itself where metadata describe it:
    /// (path relative to the tree with extras, editable, where it is named).
    pub fn local_projects(&self) -> Vec<LocalProject> {
        let mut found: Vec<LocalProject> = self
            .requirements
            .local()
            .filter_map(|line| match &line.kind {
                LineKind::Local {
                    path: Some(path),
                    extras,
                    editable,
                } => Some(LocalProject {
                    path: path.clone(),
                    extras: extras.clone(),
                    editable: *editable,
                    named_in: format!("{}:{}", line.file, line.number),
                }),
                _ => None,
            })
            .collect();
        if let Source::Static { file, .. } | Source::Dynamic { file } = &self.source {
            found.push(LocalProject {
                path: String::new(),
                extras: String::new(),
                editable: true,
                named_in: file.clone(),
            });
        }
        found
    }
}

/// A project of the source tree that is installed as such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalProject {
    /// Relative to the tree; `""` is the tree itself.
    pub path: String,
    pub extras: String,
    pub editable: bool,
    pub named_in: String,
}

fn static_metadata(files: &dyn Files) -> Option<Source> {
    if let Some(document) = files
        .text("pyproject.toml")
        .and_then(|text| toml::from_str::<toml::Table>(&text).ok())
    {
        let build_system = document.contains_key("build-system");
        if let Some(project) = document.get("project").and_then(toml::Value::as_table) {
            let dynamic = project
                .get("dynamic")
                .and_then(toml::Value::as_array)
                .is_some_and(|list| {
                    list.iter()
                        .any(|item| item.as_str() == Some("dependencies"))
                });
            let file = "pyproject.toml".to_owned();
            if dynamic {
                return Some(Source::Dynamic { file });
            }
            let requirements = project
                .get("dependencies")
                .and_then(toml::Value::as_array)
                .map(|list| {
                    list.iter()
                        .filter_map(toml::Value::as_str)
                        .map(str::to_owned)
                        .collect()
                })
                .unwrap_or_default();
            return Some(Source::Static { file, requirements });
        }
        let poetry = document.get("tool").is_some_and(|tool| {
            tool.get("poetry")
                .is_some_and(|p| p.get("dependencies").is_some())
        });
        if poetry && build_system {
            return Some(Source::Dynamic {
                file: "pyproject.toml".to_owned(),
            });
        }
    }
    if let Some(text) = setup_cfg(files, "options", "install_requires")
        && !text.starts_with("file:")
    {
        return Some(Source::Static {
            file: "setup.cfg".to_owned(),
            requirements: text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect(),
        });
    }
    if files.is_file("setup.py") {
        return Some(Source::Dynamic {
            file: "setup.py".to_owned(),
        });
    }
    None
}

/// A value of `setup.cfg`: as Python's configparser reads it, without interpolation.
pub(crate) fn setup_cfg(files: &dyn Files, section: &str, key: &str) -> Option<String> {
    let text = files.text("setup.cfg")?;
    let mut in_section = false;
    let mut value: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with(char::is_whitespace) {
            if let Some(value) = &mut value
                && in_section
                && !trimmed.is_empty()
            {
                value.push('\n');
                value.push_str(trimmed);
            }
            continue;
        }
        if value.is_some() && !trimmed.is_empty() {
            break;
        }
        if let Some(name) = trimmed.strip_prefix('[') {
            in_section = name.trim_end_matches(']') == section;
        } else if in_section
            && let Some((name, text)) = trimmed.split_once(['=', ':'])
            && name.trim().replace('-', "_") == key
        {
            value = Some(text.trim().to_owned());
        }
    }
    value.map(|value| value.trim().to_owned())
}

/// Names of the servers' packages and others among `names`.
pub(crate) fn has(names: &BTreeSet<String>, name: &str) -> bool {
    names.contains(&normalize(name))
}

/// Whether a hook is there at all, executable or not.
pub fn hook(files: &dyn Files, name: &str) -> Option<bool> {
    match files.kind(&format!(".warpdrive/action_hooks/{name}")) {
        Some(EntryKind::File { executable }) => Some(executable),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::Memory;
    use super::*;

    fn load(files: &Memory) -> Project {
        Project::load(files, &BTreeMap::new(), &BTreeMap::new()).unwrap()
    }

    #[test]
    fn sources_of_dependencies() {
        let cases: Vec<(Memory, Source)> = vec![
            (Memory::new().with("app.py", ""), Source::None),
            (
                Memory::new().with("requirements.txt", "flask").with("setup.py", ""),
                Source::Requirements(vec!["requirements.txt".into()]),
            ),
            (
                Memory::new().with("pyproject.toml", "[project]\nname='x'\ndependencies=['Flask>=3']\n"),
                Source::Static { file: "pyproject.toml".into(), requirements: vec!["Flask>=3".into()] },
            ),
            (
                Memory::new().with("pyproject.toml", "[project]\nname='x'\ndynamic=['dependencies']\n"),
                Source::Dynamic { file: "pyproject.toml".into() },
            ),
            (
                Memory::new().with("setup.py", "").with(
                    "setup.cfg",
                    "[metadata]\nname = x\n\n[options]\npackages = find:\ninstall_requires =\n  flask>=2\n  # web\n  requests\n\n[options.extras_require]\nx = y\n",
                ),
                Source::Static { file: "setup.cfg".into(), requirements: vec!["flask>=2".into(), "requests".into()] },
            ),
            (Memory::new().with("setup.py", ""), Source::Dynamic { file: "setup.py".into() }),
            (Memory::new().with("pyproject.toml", "[tool.black]\n"), Source::None),
        ];
        for (files, expected) in cases {
            assert_eq!(load(&files).source, expected);
        }
    }

    #[test]
    fn static_dependencies_are_names_too() {
        let project = load(&Memory::new().with(
            "pyproject.toml",
            "[project]\nname='x'\ndependencies=['fastapi','uvicorn[standard]>=0.3']\n",
        ));
        assert!(has(&project.names(), "uvicorn"));
        assert_eq!(project.local_projects().len(), 1);
    }

    #[test]
    fn a_named_file_that_is_missing_is_remembered() {
        let files = Memory::new()
            .with(".warpdrive/requirements", "a.txt requirements/b.txt")
            .with("a.txt", "x");
        let project = load(&files);
        assert_eq!(project.requirements.missing.len(), 1);
    }
}
