//! What a source tree says about its packages, without running any of it: requirement files and
//! static metadata (PEP 621, `setup.cfg`), lock files (PEP 751).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::files::{EntryKind, Files};
use super::lock::{self, Lock};
use super::requirement::{Line, LineKind, Requirements};
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
    /// A lock file (PEP 751), which says all there is; and the metadata of the project that it is
    /// for, which phase two installs.
    Lock {
        file: String,
        project: Option<String>,
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
    /// Why a lock file that is there is not gone by.
    pub unused_lock: Option<String>,
    /// Normalized names of the packages that the app asks for itself: of the list behind a lock,
    /// where there is one, since a lock has what they depend on, too.
    names: BTreeSet<String>,
    /// The digest of the list behind the lock file, or of the list itself: [`Project::list_digest`].
    list: String,
}

/// Set for a build that is to resolve everything anew.
const UPGRADE: &str = "WARPDRIVE_UPGRADE";

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
        let home = settings
            .get("home")
            .and_then(|home| super::files::join("", &home))
            .unwrap_or_default();
        // What the root does not say, the home does.
        let metadata = static_metadata(files).or_else(|| metadata_of_home(files, &home));
        let installable = metadata.is_some();
        let present: Vec<String> = named
            .unwrap_or_else(|| vec![requirements_file(files, &home)])
            .into_iter()
            .map(|file| file.strip_prefix("./").map_or(file.clone(), str::to_owned))
            .filter(|file| said || files.is_file(file))
            .collect();
        let (source, requirements) = match present.as_slice() {
            [file] if lock::is_lock(file) && files.is_file(file) => {
                let lock = read_lock(files, file)?;
                let source = Source::Lock {
                    file: file.clone(),
                    project: None,
                };
                (source, of_lock(file, &lock))
            }
            _ => {
                let (source, mut requirements) = listed(files, present, metadata);
                from_home(files, &home, &mut requirements.lines);
                (source, requirements)
            }
        };
        let list = list_digest(files, &source, &requirements);
        let mut project = Project {
            settings,
            source,
            names: requirements.names(),
            requirements,
            installable,
            unused_lock: None,
            list,
        };
        if !said && files.is_file(lock::FILE) {
            let lock = read_lock(files, lock::FILE)?;
            let behind = (project.source != Source::None).then_some(project.list.as_str());
            let upgrade = environment.get(UPGRADE).is_some_and(|value| value == "1");
            match (lock.list.as_deref(), behind) {
                (Some(made_for), Some(list)) if made_for != list => {
                    project.unused_lock = Some(format!(
                        "{} is not gone by: the list of requirements is another than the one it was written for; \
                         `warpdrive image --write-lock` writes it anew",
                        lock::FILE
                    ));
                }
                (Some(_), Some(_)) if upgrade => {}
                _ => {
                    // The list says whether the lock is still its own.
                    let listed = std::mem::take(&mut project.requirements);
                    project.requirements = of_lock(lock::FILE, &lock);
                    indexes_of(listed.lines, &mut project.requirements.lines);
                    if project.source == Source::None {
                        project.names = project.requirements.names();
                    }
                    project.requirements.files.extend(listed.files);
                    project.source = Source::Lock {
                        file: lock::FILE.to_owned(),
                        project: match project.source {
                            Source::Static { file, .. } | Source::Dynamic { file } => Some(file),
                            _ => None,
                        },
                    };
                }
            }
        }
        Ok(project)
    }

    /// Of the list of requirements that people write, which a lock is made from.
    pub fn list_digest(&self) -> &str {
        &self.list
    }

    /// Normalized names of the packages that the app asks for itself.
    pub fn names(&self) -> BTreeSet<String> {
        self.names.clone()
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

    /// The directory of the project whose metadata list the dependencies.
    pub fn own_directory(&self) -> &str {
        match &self.source {
            Source::Static { file, .. }
            | Source::Dynamic { file }
            | Source::Lock {
                project: Some(file),
                ..
            } => super::files::parent(file),
            _ => "",
        }
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
        if let Source::Static { file, .. }
        | Source::Dynamic { file }
        | Source::Lock {
            project: Some(file),
            ..
        } = &self.source
        {
            found.push(LocalProject {
                path: super::files::parent(file).to_owned(),
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

/// The requirements of these files, or else of the metadata.
fn listed(
    files: &dyn Files,
    present: Vec<String>,
    metadata: Option<Source>,
) -> (Source, Requirements) {
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
    (source, requirements)
}

/// `requirements.txt` of the root, else of the home.
fn requirements_file(files: &dyn Files, home: &str) -> String {
    let plain = "requirements.txt";
    let below = format!("{home}/{plain}");
    if files.is_file(plain) || !files.is_file(&below) {
        plain.to_owned()
    } else {
        below
    }
}

/// The metadata of a project in the home, with paths relative to the tree.
fn metadata_of_home(files: &dyn Files, home: &str) -> Option<Source> {
    if home.is_empty() || files.is_file("requirements.txt") {
        return None;
    }
    let below = super::files::Below {
        files,
        directory: home,
    };
    let place = |file: &str| format!("{home}/{file}");
    Some(match static_metadata(&below)? {
        Source::Static { file, requirements } => Source::Static {
            file: place(&file),
            requirements,
        },
        Source::Dynamic { file } => Source::Dynamic { file: place(&file) },
        other => other,
    })
}

/// A local path of a requirement file in the home that is meant from there, not from the root.
fn from_home(files: &dyn Files, home: &str, lines: &mut [Line]) {
    for line in lines {
        let directory = super::files::parent(&line.file).to_owned();
        let text = line.text.clone();
        if home.is_empty() || directory != home {
            continue;
        }
        if let LineKind::Local { path, .. } = &mut line.kind {
            let there = |path: &str| files.kind(path).is_some();
            if path.as_deref().is_some_and(there) {
                continue;
            }
            let word = text
                .trim_start_matches("-e")
                .trim_start_matches("--editable");
            let word = word.trim_start_matches(['=', ' ']);
            let word = word.split(['[', ' ', ';']).next().unwrap_or(word);
            if let Some(found) = super::files::join(home, word).filter(|path| there(path)) {
                *path = Some(found);
            }
        }
    }
}

fn read_lock(files: &dyn Files, file: &str) -> Result<Lock, SettingsError> {
    lock::read(&files.text(file).unwrap_or_default()).map_err(|message| SettingsError::Lock {
        path: file.to_owned(),
        message,
    })
}

fn of_lock(file: &str, lock: &Lock) -> Requirements {
    let mut requirements = Requirements::default();
    let memory = super::files::Memory::new().with(file, lock.lines.join("\n"));
    requirements.add(&memory, file, 0);
    requirements
}

/// Where the list says that packages are, they are: it may have a login, which a lock has not.
fn indexes_of(listed: Vec<Line>, locked: &mut Vec<Line>) {
    let mut options: Vec<Line> = listed
        .into_iter()
        .filter(|line| line.kind == LineKind::Option)
        .collect();
    if !options.is_empty() {
        locked.retain(|line| line.kind != LineKind::Option);
        options.append(locked);
        *locked = options;
    }
}

fn list_digest(files: &dyn Files, source: &Source, requirements: &Requirements) -> String {
    let mut hash = Sha256::new();
    for line in &requirements.lines {
        hash.update(line.text.as_bytes());
        hash.update(b"\n");
    }
    // Constraints decide, too, and so does what a build backend reads.
    for file in &requirements.files {
        let constraint = requirements
            .lines
            .iter()
            .any(|line| matches!(&line.kind, LineKind::Constraint(Some(path)) if path == file));
        if constraint {
            hash.update(files.text(file).unwrap_or_default().as_bytes());
        }
    }
    if let Source::Dynamic { file } = source {
        hash.update(files.text(file).unwrap_or_default().as_bytes());
    }
    let mut text = "sha256:".to_owned();
    for byte in hash.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
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
    if let Some(text) = super::setup_cfg::value(files, "options", "install_requires")
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
    use super::super::requirement::has;
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
    fn a_lock_comes_before_the_list_that_it_was_made_from() {
        let wheel = format!(
            "wheels = [{{ hashes = {{ sha256 = \"{}\" }} }}]",
            "0".repeat(64)
        );
        let lock = |more: &str| {
            format!(
                "lock-version = \"1.0\"\n[[packages]]\nname = \"x\"\nversion = \"1\"\n{wheel}\n{more}"
            )
        };
        let locked = Source::Lock {
            file: "pylock.toml".into(),
            project: None,
        };
        let listed = Source::Requirements(vec!["requirements.txt".into()]);
        let list = Memory::new()
            .with(
                "requirements.txt",
                "--index-url https://a:b@c/\nx\n-c c.txt",
            )
            .with("c.txt", "y<1");
        let digest = load(&list).list_digest().to_owned();
        let ours = lock(&format!("[tool.warpdrive]\nlist = \"{digest}\"\n"));

        let alone = load(&Memory::new().with("pylock.toml", lock("")));
        assert_eq!(alone.source, locked);
        assert!(has(&alone.names(), "x"));
        let project = load(&list.clone().with("pylock.toml", &ours));
        assert_eq!(
            (&project.source, project.list_digest()),
            (&locked, digest.as_str())
        );
        let lines = &project.requirements.lines;
        assert_eq!(lines[0].text, "--index-url https://a:b@c/");
        assert!(lines[1].text.starts_with("x==1 --hash"), "{lines:?}");
        for file in ["pylock.toml", "requirements.txt", "c.txt"] {
            assert!(project.requirements.files.contains(file), "{file}");
        }
        // Comments are nobody's business; other lists and constraints are.
        let noted = list.clone().with(
            "requirements.txt",
            "--index-url https://a:b@c/\n# why\nx\n-c c.txt",
        );
        assert_eq!(load(&noted.with("pylock.toml", &ours)).source, locked);
        for (file, text) in [("requirements.txt", "x\nz\n-c c.txt"), ("c.txt", "y<2")] {
            let project = load(&list.clone().with("pylock.toml", &ours).with(file, text));
            assert_eq!(project.source, listed, "{file}");
            assert!(project.unused_lock.is_some(), "{file}");
        }
        // Another's lock says nothing of a list.
        assert_eq!(
            load(&list.clone().with("pylock.toml", lock(""))).source,
            locked
        );
        let upgrade = BTreeMap::from([(UPGRADE.to_owned(), "1".to_owned())]);
        let again = list.clone().with("pylock.toml", &ours);
        let project = Project::load(&again, &upgrade, &BTreeMap::new()).unwrap();
        assert_eq!((project.source, project.unused_lock), (listed, None));
        // A setting is stronger; it may name a lock, too.
        let named = again.with(".warpdrive/requirements", "requirements.txt");
        assert!(matches!(load(&named).source, Source::Requirements(_)));
        let named = list
            .with(".warpdrive/requirements", "deploy/pylock.prod.toml")
            .with("deploy/pylock.prod.toml", lock(""));
        assert!(matches!(load(&named).source, Source::Lock { .. }));
        let bad = Memory::new().with("pylock.toml", "x = 1");
        assert!(Project::load(&bad, &BTreeMap::new(), &BTreeMap::new()).is_err());
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
