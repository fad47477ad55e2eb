//! What a source tree says about its packages, without running any of it: requirement files and
//! static metadata (PEP 621, `setup.cfg`), lock files (PEP 751), and what
//! `declared` finds (Poetry, Pipfile, conda, PEP 723).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::contract::UPGRADE;
use super::declared::{self, Declared};
use super::files::{EntryKind, Files};
pub use super::listed::LocalProject;
use super::listed::{Listed, Open};
use super::lock::{self, Lock};
use super::package;
use super::requirement::{Line, LineKind, Problem, Requirements, is_archive, normalize};
use super::settings::{Settings, SettingsError};

/// Where an app's dependencies are stated.
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
    /// A lock file (PEP 751), which is complete; and the metadata of its project, which phase two
    /// installs.
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
#[derive(Debug, Clone)]
pub struct Project {
    pub settings: Settings,
    pub source: Source,
    /// What [`Source::Requirements`] names, flattened.
    pub requirements: Requirements,
    /// `pyproject.toml`, `setup.cfg` or `setup.py` describe an installable project.
    pub installable: bool,
    /// Why an existing lock file is ignored.
    pub unused_lock: Option<String>,
    /// Normalized names of the packages that the app requires itself. If there is a lock, they
    /// come from the list behind it, because the lock contains the dependencies too.
    names: BTreeSet<String>,
    /// The digest of the list behind the lock file, or of the list itself: [`Project::list_digest`].
    list: String,
    /// The project in `pyproject.toml` says that it is not a package, or cannot be one.
    no_package: bool,
    /// The list from a manager's lock file, if there is one.
    listed: Option<Listed>,
}

impl Project {
    /// # Errors
    /// For settings that cannot be understood.
    pub fn load(
        files: &dyn Files,
        environment: &BTreeMap<String, String>,
        command_line: &BTreeMap<String, String>,
    ) -> Result<Project, SettingsError> {
        Self::load_listed(files, environment, command_line, None)
    }

    /// The same, with the list from a manager's lock file, which then counts.
    ///
    /// # Errors
    /// For settings that cannot be understood.
    pub fn load_listed(
        files: &dyn Files,
        environment: &BTreeMap<String, String>,
        command_line: &BTreeMap<String, String>,
        given: Option<&Listed>,
    ) -> Result<Project, SettingsError> {
        let settings = Settings::load(files, environment, command_line)?;
        match given {
            Some(listed) => Ok(Self::listed(files, settings, environment, listed)),
            None => Self::read(files, settings, environment),
        }
    }

    /// A tree with the list from a manager's lock file, complete or with the open rest.
    pub fn listed(
        files: &dyn Files,
        settings: Settings,
        environment: &BTreeMap<String, String>,
        listed: &Listed,
    ) -> Project {
        match &listed.open {
            None => Self::of_list(files, settings, listed),
            Some(open) => Self::of_open_list(files, settings, environment, listed, open),
        }
    }

    /// A tree of which the settings have been read already.
    ///
    /// # Errors
    /// For lists that cannot be understood.
    pub fn read(
        files: &dyn Files,
        settings: Settings,
        environment: &BTreeMap<String, String>,
    ) -> Result<Project, SettingsError> {
        let Lists {
            are_named,
            present,
            metadata,
            installable,
            requirements,
        } = Lists::find(files, &settings, environment)?;
        let (source, requirements) = match present.as_slice() {
            [file] if lock::is_lock(file) && files.is_file(file) => {
                let lock = read_lock(files, file)?;
                let source = Source::Lock {
                    file: file.clone(),
                    project: None,
                };
                (source, of_lock(file, &lock))
            }
            _ => listed(files, present, metadata, requirements),
        };
        let list = list_digest(files, &source, &requirements);
        let project = Project {
            settings,
            source,
            names: requirements.names(),
            requirements,
            installable,
            unused_lock: None,
            list,
            no_package: no_package(files),
            listed: None,
        };
        if are_named || !files.is_file(lock::FILE) {
            return Ok(project);
        }
        let upgrade = environment.get(UPGRADE).is_some_and(|value| value == "1");
        Ok(project.with_own_lock(&read_lock(files, lock::FILE)?, upgrade))
    }

    /// With the lock that warpdrive wrote, if it belongs to the list.
    fn with_own_lock(mut self, lock: &Lock, upgrade: bool) -> Project {
        let behind = (self.source != Source::None).then_some(self.list.as_str());
        match (lock.list.as_deref(), behind) {
            (Some(made_for), Some(list)) if made_for != list => {
                self.unused_lock = Some(format!(
                    "{} is ignored: the requirements changed since it was written; \
                     `warpdrive image --write-lock` writes it again",
                    lock::FILE
                ));
                return self;
            }
            (Some(_), Some(_)) if upgrade => return self,
            _ => {}
        }
        // The list tells whether the lock still belongs to it.
        let listed = std::mem::take(&mut self.requirements);
        self.requirements = of_lock(lock::FILE, lock);
        indexes_of(listed.lines, &mut self.requirements.lines);
        if self.source == Source::None {
            self.names = self.requirements.names();
        }
        self.requirements.files.extend(listed.files);
        self.source = Source::Lock {
            file: lock::FILE.to_owned(),
            project: match self.source {
                Source::Static { file, .. } | Source::Dynamic { file } => Some(file),
                _ => None,
            },
        };
        self
    }

    /// The same if a manager's lock file is complete.
    fn of_list(files: &dyn Files, settings: Settings, listed: &Listed) -> Project {
        let mut requirements = Requirements::default();
        requirements.lines = fetched_lines(&listed.file, &listed.lines);
        requirements.files = listed.files.iter().cloned().collect();
        let source = Source::Lock {
            file: listed.file.clone(),
            project: None,
        };
        Self::of_lock(files, settings, listed, source, requirements)
    }

    fn of_open_list(
        files: &dyn Files,
        settings: Settings,
        environment: &BTreeMap<String, String>,
        listed: &Listed,
        open: &Open,
    ) -> Project {
        let mut requirements = Requirements::new(environment, "");
        requirements.add_texts(files, &listed.file, &listed.lines);
        let fetched = fetched_lines(&listed.file, &open.fetched);
        requirements.lines.extend(fetched);
        requirements.files.extend(listed.files.iter().cloned());
        let source = Source::Lock {
            file: listed.file.clone(),
            project: open.project.clone(),
        };
        Project {
            no_package: no_package(files),
            ..Self::of_lock(files, settings, listed, source, requirements)
        }
    }

    fn of_lock(
        files: &dyn Files,
        settings: Settings,
        listed: &Listed,
        source: Source,
        requirements: Requirements,
    ) -> Project {
        Project {
            settings,
            list: list_digest(files, &source, &requirements),
            source,
            requirements,
            installable: static_metadata(files).is_some(),
            unused_lock: None,
            names: listed.names.clone(),
            no_package: false,
            listed: Some(listed.clone()),
        }
    }

    /// Whether the list has everything that the app needs.
    pub fn is_complete(&self) -> bool {
        self.listed.is_some() && self.open().is_none()
    }

    /// The facts about an incomplete list.
    pub fn open(&self) -> Option<&Open> {
        self.listed.as_ref()?.open.as_ref()
    }

    /// Normalized names that must not be looked for, whatever requires them: they are in the list.
    pub fn settled(&self) -> &[String] {
        self.listed.as_ref().map_or(&[], |listed| &listed.settled)
    }

    /// Normalized names that no build of a package may look for.
    pub fn not_for_builds(&self) -> &[String] {
        let listed = self.listed.as_ref();
        listed.map_or(&[], |listed| &listed.not_for_builds)
    }

    /// The digest of the list that users write, from which a lock is made.
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
        if let Some(listed) = self.listed.as_ref().filter(|listed| listed.open.is_none()) {
            return listed.projects.clone();
        }
        let mut found: Vec<LocalProject> = self
            .requirements
            .local()
            .filter_map(|line| match &line.kind {
                LineKind::Local {
                    path: Some(path),
                    extras,
                    editable,
                } if !is_archive(path) => Some(LocalProject {
                    path: path.clone(),
                    extras: extras.clone(),
                    editable: *editable,
                    named_in: format!("{}:{}", line.file, line.number),
                    is_listed: true,
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
            && !(self.no_package && file == "pyproject.toml")
        {
            found.push(LocalProject {
                path: super::files::parent(file).to_owned(),
                extras: String::new(),
                editable: true,
                named_in: file.clone(),
                is_listed: false,
            });
        }
        found
    }
}

/// The lists of a source tree.
struct Lists {
    /// A setting names them.
    are_named: bool,
    /// Files with requirements.
    present: Vec<String>,
    metadata: Option<Source>,
    /// The metadata describe a project that can be installed.
    installable: bool,
    /// What was read from lists of other tools.
    requirements: Requirements,
}

impl Lists {
    fn find(
        files: &dyn Files,
        settings: &Settings,
        environment: &BTreeMap<String, String>,
    ) -> Result<Lists, SettingsError> {
        let named = settings.get("requirements").map(|list| {
            list.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        let are_named = named.is_some();
        let home = settings
            .get("home")
            .and_then(|home| super::files::join("", &home))
            .unwrap_or_default();
        // The home fills in what the root does not state.
        let mut metadata = static_metadata(files).or_else(|| metadata_of_home(files, &home));
        let installable = metadata.is_some();
        let usual = [home.as_str(), ""]
            .iter()
            .filter_map(|directory| super::files::join(directory, "requirements.txt"))
            .find(|file| files.is_file(file));
        let document: Option<toml::Table> = files
            .text("pyproject.toml")
            .and_then(|text| toml::from_str(&text).ok());
        if let Some(Source::Static { file, requirements }) = &mut metadata
            && file == "pyproject.toml"
            && let Some(document) = &document
        {
            requirements.extend(chosen(document, settings)?);
        }
        let mut requirements = Requirements::new(environment, &home);
        let mut elsewhere = None;
        if !are_named && usual.is_none() {
            elsewhere = elsewhere_declared(files, &home, metadata.as_ref(), document.as_ref());
            let doubts = || poetry_doubts(metadata.as_ref(), document.as_ref());
            if let Some(declared) = elsewhere.clone().or_else(doubts) {
                declare(&mut requirements, files, &declared);
            }
        }
        let read_files = elsewhere.as_ref().map(|declared| declared.files.clone());
        let present: Vec<String> = named
            .or(read_files.filter(|list| !list.is_empty()))
            .unwrap_or_else(|| usual.into_iter().collect())
            .into_iter()
            .map(|file| file.strip_prefix("./").map_or(file.clone(), str::to_owned))
            .filter(|file| are_named || files.is_file(file))
            .collect();
        let metadata = match elsewhere {
            Some(declared) if !declared.file.is_empty() => {
                Some(Source::Requirements(vec![declared.file]))
            }
            _ => metadata,
        };
        Ok(Lists {
            are_named,
            present,
            metadata,
            installable,
            requirements,
        })
    }
}

/// The lists of other tools, unless the metadata name dependencies.
fn elsewhere_declared(
    files: &dyn Files,
    home: &str,
    metadata: Option<&Source>,
    document: Option<&toml::Table>,
) -> Option<Declared> {
    match metadata {
        None => declared::find(files, home, document).or_else(|| declared::find_in(files, home)),
        // The project names no dependencies, but lists beside it do.
        Some(Source::Static { requirements, .. }) if requirements.is_empty() => {
            declared::lists(files, home)
        }
        Some(_) => None,
    }
}

/// What could not be read of Poetry's table. Its lines come with the metadata.
fn poetry_doubts(metadata: Option<&Source>, document: Option<&toml::Table>) -> Option<Declared> {
    let Some(Source::Static { .. }) = metadata else {
        return None;
    };
    Some(Declared {
        lines: Vec::new(),
        ..declared::of_poetry(document?)?
    })
}

/// What the settings add to `[project] dependencies`: extras and groups.
fn chosen(document: &toml::Table, settings: &Settings) -> Result<Vec<String>, SettingsError> {
    let optional = document
        .get("project")
        .and_then(|project| project.get("optional-dependencies"))
        .and_then(toml::Value::as_table);
    let mut found = Vec::new();
    for key in ["dependency_extras", "dependency_groups"] {
        let Some(value) = settings.value(key) else {
            continue;
        };
        for name in value.text.split_whitespace() {
            let lines = if key == "dependency_groups" {
                declared::groups::of_name(document, name)
            } else {
                let mut lists = optional.into_iter().flatten();
                lists
                    .find(|(extra, _)| normalize(extra) == normalize(name))
                    .map(|(_, list)| {
                        let list = list.as_array().into_iter().flatten();
                        list.filter_map(toml::Value::as_str)
                            .map(str::to_owned)
                            .collect()
                    })
            };
            found.extend(lines.ok_or_else(|| {
                SettingsError::UnknownValue {
                    place: value.origin.to_string(),
                    name: key.to_owned(),
                    value: name.to_owned(),
                    allowed: match key {
                        "dependency_groups" => keys(document.get("dependency-groups")),
                        _ => optional
                            .into_iter()
                            .flatten()
                            .map(|(name, _)| name.clone())
                            .collect(),
                    },
                }
            })?);
        }
    }
    Ok(found)
}

fn keys(table: Option<&toml::Value>) -> Vec<String> {
    let table = table.and_then(toml::Value::as_table);
    table
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

/// The requirements of these files, or else of the metadata.
fn listed(
    files: &dyn Files,
    present: Vec<String>,
    metadata: Option<Source>,
    mut requirements: Requirements,
) -> (Source, Requirements) {
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
        requirements.add_texts(files, file, list);
    }
    (source, requirements)
}

/// Lines with addresses. They are never projects of the tree.
fn fetched_lines(file: &str, texts: &[String]) -> Vec<Line> {
    let line = |(at, text): (usize, &String)| {
        let (name, rest) = super::requirement::name_of(text)?;
        let rest = match rest.strip_prefix('[') {
            Some(extras) => extras.split_once(']')?.1.trim_start(),
            None => rest,
        };
        let url = rest.trim_start_matches('@').split_whitespace().next();
        Some(Line {
            file: file.to_owned(),
            number: at + 1,
            text: text.clone(),
            kind: LineKind::Named {
                name: normalize(name),
                url: url.map(str::to_owned),
            },
        })
    };
    texts.iter().enumerate().filter_map(line).collect()
}

fn no_package(files: &dyn Files) -> bool {
    let text = files.text("pyproject.toml").unwrap_or_default();
    toml::from_str(&text).is_ok_and(|document| package::is_no_package(files, &document))
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

/// Adds what a place of another form asks for.
fn declare(requirements: &mut Requirements, files: &dyn Files, declared: &Declared) {
    for doubt in &declared.doubts {
        requirements.problems.push(Problem {
            place: doubt.place.clone(),
            text: doubt.text.clone(),
            wrong: doubt.wrong.clone(),
            write: doubt.write.clone(),
            uv_only: false,
        });
    }
    if !declared.file.is_empty() {
        requirements.add_texts(files, &declared.file, &declared.lines);
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

/// The list decides where packages come from: it may have a login, which a lock does not have.
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
        if let Some(project) = document.get("project").and_then(toml::Value::as_table)
            && declared::of_poetry(&document).is_none()
        {
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
        let file = "pyproject.toml".to_owned();
        if let Some(poetry) = declared::of_poetry(&document)
            && declared::is_poetry_package(&document)
        {
            return Some(Source::Static {
                file,
                requirements: poetry.lines,
            });
        }
        // Other backends have their own tables; setuptools has setup.py or setup.cfg.
        let backend = document
            .get("build-system")
            .and_then(|system| system.get("build-backend"))
            .and_then(toml::Value::as_str);
        if backend.is_some_and(|name| !name.starts_with("setuptools")) {
            return Some(Source::Dynamic { file });
        }
    }
    if let Some(text) = super::setup_cfg::value(files, "options", "install_requires") {
        if text.starts_with("file:") {
            let file = "setup.cfg".to_owned();
            return Some(Source::Dynamic { file });
        }
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
        for more in [
            "[tool.uv]\npackage = false\n",
            "[build-system]\nbuild-backend = 'hatchling.build'\n",
        ] {
            let text = format!("[project]\nname='x'\ndependencies=['flask']\n{more}");
            let project = load(&Memory::new().with("pyproject.toml", text));
            assert!(project.local_projects().is_empty(), "{more}");
        }
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
        // Comments do not count; other lists and constraints do.
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
        // A lock of another tool says nothing about a list.
        assert_eq!(
            load(&list.clone().with("pylock.toml", lock(""))).source,
            locked
        );
        let upgrade = BTreeMap::from([(UPGRADE.to_owned(), "1".to_owned())]);
        let again = list.clone().with("pylock.toml", &ours);
        let project = Project::load(&again, &upgrade, &BTreeMap::new()).unwrap();
        assert_eq!((project.source, project.unused_lock), (listed, None));
        // A setting comes first; it may name a lock, too.
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
    fn extras_and_groups_of_a_project_without_a_lock() {
        let project = "[project]\nname='x'\ndependencies=['flask']\n\
            [project.optional-dependencies]\npg=['psycopg']\n[dependency-groups]\nprod=['sentry', {include-group='more'}]\nmore=['six']\n";
        let files = |settings: &str| {
            Memory::new().with(
                "pyproject.toml",
                format!("{project}[tool.warpdrive]\n{settings}"),
            )
        };
        let names = |settings: &str| {
            let project = load(&files(settings));
            project.names().into_iter().collect::<Vec<_>>()
        };
        assert_eq!(names(""), ["flask"]);
        assert_eq!(
            names("dependency-extras = 'PG'\ndependency-groups = 'prod'\n"),
            ["flask", "psycopg", "sentry", "six"]
        );
        let wrong = files("dependency-groups = 'web'\n");
        let error = Project::load(&wrong, &BTreeMap::new(), &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("`web`"), "{error}");
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
