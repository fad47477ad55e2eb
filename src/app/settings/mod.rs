//! The settings of an app, from four places: command line, environment, files
//! (`.warpdrive/NAME`, then plain assignments in `.warpdrive/environment`, then `[tool.warpdrive]`
//! in `pyproject.toml`), defaults; the first place that has a value wins. Every value remembers
//! where it comes from, for `warpdrive env --explain`.
//!
//! [`KEYS`] is the one table of names, and [`schema`] gives it as JSON Schema; what the values
//! mean is elsewhere ([`super::server`], [`mod@super::detect`]).

mod keys;
mod schema;

use std::collections::BTreeMap;
use std::fmt;

use super::advice::{Advice, Explain, nearest};
use super::environment;
use super::files::{Entry, EntryKind, Files};
use super::instrument::Instrument;

pub use keys::{AGENTS, HOOKS, KEYS, Key, Kind, STARTED};
pub use schema::schema;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    CommandLine,
    Environment(String),
    File(String),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::CommandLine => out.write_str("command line"),
            Origin::Environment(name) => write!(out, "environment: {name}"),
            Origin::File(path) => write!(out, "file: {path}"),
            Origin::Default => out.write_str("default"),
        }
    }
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    pub text: String,
    pub origin: Origin,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    #[error("{place}: unknown setting `{name}`")]
    UnknownKey { place: String, name: String },
    #[error("{place}: nothing is started by the name of `{name}`")]
    UnknownStart { place: String, name: String },
    #[error("{place}: `{name}` is not a name of a variable")]
    VariableName { place: String, name: String },
    #[error("{place}: `{name}` is not a name of a process")]
    ProcessName { place: String, name: String },
    #[error("{place}: `{value}` is not a value of {name}")]
    UnknownValue {
        place: String,
        name: String,
        value: String,
        allowed: Vec<String>,
    },
    #[error("{place}: {name} must be {expected}")]
    WrongType {
        place: String,
        name: String,
        expected: &'static str,
    },
    #[error("{path} means nothing; {meant} would")]
    Doubtful { path: String, meant: String },
    #[error("{path} is not UTF-8 (byte {offset})")]
    NotText { path: String, offset: usize },
    #[error("pyproject.toml cannot be read: {message}")]
    Pyproject { message: String },
    #[error("{path} is not a lock file that can be installed: {message}")]
    Lock { path: String, message: String },
}

impl Explain for SettingsError {
    fn advice(&self) -> Advice {
        let advice = Advice::new(self.to_string());
        match self {
            SettingsError::UnknownKey { name, .. } => {
                let known = KEYS
                    .iter()
                    .map(|key| key.name)
                    .chain(["environment", "processes"]);
                match nearest(name, known.clone()) {
                    Some(near) => advice.remedy(format!("did you mean `{near}`?")),
                    None => advice.remedy(format!(
                        "the settings are: {}",
                        known.collect::<Vec<_>>().join(", ")
                    )),
                }
            }
            SettingsError::UnknownValue { value, allowed, .. } => {
                let list = allowed.join(", ");
                match nearest(value, allowed.iter().map(String::as_str)) {
                    Some(near) => advice.remedy(format!("did you mean `{near}`? (one of {list})")),
                    None => advice.remedy(format!("use one of {list}")),
                }
            }
            SettingsError::UnknownStart { name, .. } => {
                let list = STARTED.join(", ");
                match nearest(name, STARTED.iter().copied()) {
                    Some(near) => advice.remedy(format!("did you mean `{near}`? (one of {list})")),
                    None => advice.remedy(format!("use one of {list}")),
                }
            }
            SettingsError::VariableName { .. } => {
                advice.remedy("use letters, digits and _, and no digit at the beginning")
            }
            SettingsError::ProcessName { .. } => {
                advice.remedy("use letters, digits, - and _, as in `web`, `worker` and `release`")
            }
            SettingsError::WrongType { .. } => advice,
            SettingsError::Doubtful { meant, .. } => advice.remedy(format!(
                "did you mean `{meant}`? Rename the file, or keep what is not for warpdrive elsewhere"
            )),
            SettingsError::NotText { .. } => {
                advice.remedy("save the file as UTF-8 (`iconv -t UTF-8` converts it)")
            }
            SettingsError::Lock { .. } => advice.remedy(
                "write it again, for example with `uv pip compile --format pylock.toml`, or name \
                 another list in the setting `requirements`",
            ),
            SettingsError::Pyproject { .. } => {
                advice.remedy("correct pyproject.toml; it is TOML, see https://toml.io")
            }
        }
    }
}

/// Settings as the command line gives them (`--set server_type=gunicorn`), by key.
///
/// # Errors
/// For a name that is not a setting; the values are checked together with all others.
pub fn command_line(words: &[String]) -> Result<BTreeMap<String, String>, SettingsError> {
    let mut settings = BTreeMap::new();
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let canonical = name.replace('-', "_");
        if !word.contains('=') || !KEYS.iter().any(|key| key.name == canonical) {
            return Err(SettingsError::UnknownKey {
                place: Origin::CommandLine.to_string(),
                name: name.to_owned(),
            });
        }
        settings.insert(canonical, value.to_owned());
    }
    Ok(settings)
}

/// All settings, resolved.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    values: BTreeMap<&'static str, Value>,
    /// `[tool.warpdrive.environment]`.
    pub environment: BTreeMap<String, String>,
    /// `[tool.warpdrive.processes]`: lines for the shell by name.
    pub processes: BTreeMap<String, String>,
    /// `[tool.warpdrive.server_args]` or `.warpdrive/server_args/NAME`: arguments by server.
    pub server_args: BTreeMap<String, String>,
    /// Unknown files in `.warpdrive` that look like a known one which also exists: perhaps
    /// copies. (path, known name)
    pub doubtful: Vec<(String, String)>,
}

impl Settings {
    /// Reads the settings of a tree.
    ///
    /// # Errors
    /// For unknown keys and values, wrong types and files that are not text.
    pub fn load(
        files: &dyn Files,
        environment: &BTreeMap<String, String>,
        command_line: &BTreeMap<String, String>,
    ) -> Result<Settings, SettingsError> {
        let mut settings = Settings::default();
        settings.read_pyproject(files)?;
        settings.read_environment_file(files)?;
        settings.read_directory(files)?;
        settings.read_openshift(files, environment)?;
        for key in KEYS {
            for variable in key.variables {
                // OpenShift's names are common ones; there they are paths within the source.
                let other = |text: &str| variable.starts_with("APP_") && text.starts_with('/');
                if let Some(text) = environment.get(*variable)
                    && !text.is_empty()
                    && !other(text)
                {
                    let origin = Origin::Environment((*variable).to_owned());
                    settings.say(key, text, origin)?;
                    break;
                }
            }
            if let Some(text) = command_line.get(key.name) {
                settings.say(key, text, Origin::CommandLine)?;
            }
        }
        Ok(settings)
    }

    /// The same, if this file of the source has set these variables: the file counts as the origin
    /// of their values.
    #[cfg(feature = "host")]
    #[must_use]
    pub fn said_in(
        mut self,
        file: &str,
        variables: &std::collections::BTreeSet<String>,
    ) -> Settings {
        for value in self.values.values_mut() {
            if let Origin::Environment(name) = &value.origin
                && variables.contains(name)
            {
                value.origin = Origin::File(format!("{file} ({name})"));
            }
        }
        self
    }

    /// The same with a home that was found, as if `variable` set it.
    ///
    /// # Errors
    /// If it cannot be a home.
    pub fn with_home(mut self, home: &str, variable: &str) -> Result<Settings, SettingsError> {
        if let Some(key) = KEYS.iter().find(|key| key.name == "home") {
            self.say(key, home, Origin::Environment(variable.to_owned()))?;
        }
        Ok(self)
    }

    /// `OpenShift`'s variables that choose the list of packages.
    fn read_openshift(
        &mut self,
        files: &dyn Files,
        environment: &BTreeMap<String, String>,
    ) -> Result<(), SettingsError> {
        const PIPENV: (&str, &str) = ("Pipfile.lock", "pipenv");
        const MICROPIPENV: [(&str, &str); 3] = [
            PIPENV,
            ("poetry.lock", "poetry"),
            ("requirements.txt", "pip"),
        ];
        let asks = |name: &str| environment.get(name).is_some_and(|text| !text.is_empty());
        let (name, manager) = if asks("ENABLE_MICROPIPENV") {
            let found = MICROPIPENV.iter().find(|(file, _)| files.is_file(file));
            ("ENABLE_MICROPIPENV", found.unwrap_or(&PIPENV).1)
        } else if asks("ENABLE_PIPENV") {
            ("ENABLE_PIPENV", PIPENV.1)
        } else {
            return Ok(());
        };
        match KEYS.iter().find(|key| key.name == "dependencies") {
            Some(key) => self.say(key, manager, Origin::Environment(name.to_owned())),
            None => Ok(()),
        }
    }

    fn say(&mut self, key: &'static Key, text: &str, origin: Origin) -> Result<(), SettingsError> {
        let text = text.trim();
        let place = origin.to_string();
        let unknown = |allowed: &[&str]| SettingsError::UnknownValue {
            place: place.clone(),
            name: key.name.to_owned(),
            value: text.to_owned(),
            allowed: allowed.iter().map(|name| (*name).to_owned()).collect(),
        };
        let text = match key.kind {
            Kind::Text | Kind::List => text.to_owned(),
            Kind::OneOf(allowed) => {
                let found = allowed
                    .iter()
                    .find(|name| name.replace('-', "_") == text.to_lowercase().replace('-', "_"));
                match found {
                    Some(name) => (*name).to_owned(),
                    None => return Err(unknown(allowed)),
                }
            }
            Kind::Switch => match text.to_lowercase().as_str() {
                "1" | "on" | "yes" | "true" | "" => "on".to_owned(),
                "0" | "off" | "no" | "false" => "off".to_owned(),
                _ => return Err(unknown(&["on", "off"])),
            },
            Kind::Instrument if text.is_empty() => String::new(),
            Kind::Instrument => {
                let all: Vec<&str> = AGENTS.iter().copied().chain(["autowrapt:NAME"]).collect();
                Instrument::parse(text)
                    .ok_or_else(|| unknown(&all))?
                    .to_string()
            }
        };
        if key.name == "server_args" {
            // One text for all servers, from a place that comes before the arguments by server.
            self.server_args.clear();
        }
        self.values.insert(key.name, Value { text, origin });
        Ok(())
    }

    /// Variables of settings that `.warpdrive/environment` or `build-env` set plainly. (A
    /// script's result is not known before it runs.)
    fn read_environment_file(&mut self, files: &dyn Files) -> Result<(), SettingsError> {
        for path in [environment::FILE, environment::BUILD_FILE] {
            // An unreadable file is reported where it is evaluated.
            let found = environment::plain(files, path).unwrap_or_default();
            for key in KEYS {
                let text = key.variables.iter().find_map(|name| found.get(*name));
                if let Some(text) = text.filter(|text| !text.is_empty()) {
                    self.say(key, text, Origin::File(path.to_owned()))?;
                }
            }
        }
        Ok(())
    }

    /// `.warpdrive/NAME`.
    fn read_directory(&mut self, files: &dyn Files) -> Result<(), SettingsError> {
        let found = files.list(".warpdrive");
        for entry in &found {
            let path = format!(".warpdrive/{}", entry.name);
            if entry.name == "server_args" && entry.kind == EntryKind::Directory {
                self.server_args.clear();
                self.values.remove("server_args");
                let found = files.list(&path);
                for file in &found {
                    let name = file.name.replace('-', "_");
                    if !STARTED.contains(&name.as_str()) {
                        let near = nearest(&name, STARTED.iter().copied());
                        self.doubt(&path, &file.name, near, &found)?;
                        continue;
                    }
                    let path = format!("{path}/{}", file.name);
                    let text = text(files, &path)?;
                    self.server_args.insert(name, text);
                }
                continue;
            }
            let key = KEYS.iter().find(|key| key.name == entry.name && key.file);
            match key {
                Some(key) if matches!(entry.kind, EntryKind::File { .. }) => {
                    let text = text(files, &path)?;
                    self.say(key, &text, Origin::File(path))?;
                }
                Some(_) => {}
                None => {
                    let known = KEYS
                        .iter()
                        .filter(|key| key.file)
                        .map(|key| key.name)
                        .chain(keys::OTHER_FILES.iter().copied());
                    if !keys::OTHER_FILES.contains(&entry.name.as_str()) {
                        self.doubt(
                            ".warpdrive",
                            &entry.name,
                            nearest(&entry.name, known),
                            &found,
                        )?;
                    }
                }
            }
        }
        let found = files.list(".warpdrive/action_hooks");
        for entry in &found {
            if !HOOKS.contains(&entry.name.as_str()) {
                let near = nearest(&entry.name, HOOKS.iter().copied());
                self.doubt(".warpdrive/action_hooks", &entry.name, near, &found)?;
            }
        }
        Ok(())
    }

    /// An unknown name. If it looks like a known one, it is probably a typing error and is refused;
    /// if the known file exists too, it may be a copy, which is only a warning.
    fn doubt(
        &mut self,
        directory: &str,
        name: &str,
        near: Option<&str>,
        found: &[Entry],
    ) -> Result<(), SettingsError> {
        let Some(near) = near else {
            return Ok(());
        };
        let (path, meant) = (format!("{directory}/{name}"), format!("{directory}/{near}"));
        if !found.iter().any(|entry| entry.name == near) {
            return Err(SettingsError::Doubtful { path, meant });
        }
        self.doubtful.push((path, meant));
        Ok(())
    }

    /// `[tool.warpdrive]`; keys with `-` or `_` alike.
    fn read_pyproject(&mut self, files: &dyn Files) -> Result<(), SettingsError> {
        if !files.is_file("pyproject.toml") {
            return Ok(());
        }
        let source = text(files, "pyproject.toml")?;
        let document: toml::Table =
            toml::from_str(&source).map_err(|error| SettingsError::Pyproject {
                message: error.to_string().trim_end().to_owned(),
            })?;
        let Some(table) = document.get("tool").and_then(|tool| tool.get("warpdrive")) else {
            return Ok(());
        };
        let place = "pyproject.toml [tool.warpdrive]".to_owned();
        let Some(table) = table.as_table() else {
            return Err(SettingsError::WrongType {
                place,
                name: "tool.warpdrive".to_owned(),
                expected: "a table",
            });
        };
        for (name, value) in table {
            let canonical = name.replace('-', "_");
            let wrong = |expected| SettingsError::WrongType {
                place: place.clone(),
                name: name.clone(),
                expected,
            };
            if canonical == "environment" {
                self.environment = strings(value).ok_or_else(|| wrong("a table of strings"))?;
                if let Some(name) = self.environment.keys().find(|name| !is_variable(name)) {
                    let name = name.clone();
                    return Err(SettingsError::VariableName { place, name });
                }
                continue;
            }
            if canonical == "processes" {
                self.processes = strings(value).ok_or_else(|| wrong("a table of strings"))?;
                if let Some(name) = self.processes.keys().find(|name| !is_process(name)) {
                    let name = name.clone();
                    return Err(SettingsError::ProcessName { place, name });
                }
                continue;
            }
            if canonical == "server_args" && value.is_table() {
                let table = strings(value).ok_or_else(|| wrong("a table of strings"))?;
                for (name, text) in table {
                    let canonical = name.replace('-', "_");
                    if !STARTED.contains(&canonical.as_str()) {
                        return Err(SettingsError::UnknownStart { place, name });
                    }
                    self.server_args.insert(canonical, text);
                }
                continue;
            }
            let Some(key) = KEYS.iter().find(|key| key.name == canonical) else {
                return Err(SettingsError::UnknownKey {
                    place,
                    name: name.clone(),
                });
            };
            let text = match (value, key.kind) {
                (toml::Value::String(text), kind) => {
                    is_exact(text, kind, key.name, &place)?;
                    text.clone()
                }
                (toml::Value::Boolean(on), Kind::Switch) => on.to_string(),
                (toml::Value::Array(items), Kind::List) => items
                    .iter()
                    .map(|item| item.as_str())
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| wrong("a list of strings"))?
                    .join(" "),
                (_, Kind::List) => return Err(wrong("a list of strings")),
                (_, Kind::Switch) => return Err(wrong("true or false")),
                _ => return Err(wrong("a string")),
            };
            self.say(key, &text, Origin::File(place.clone()))?;
        }
        Ok(())
    }

    /// The value of a key, if it is set or has a default.
    pub fn value(&self, name: &str) -> Option<Value> {
        self.values
            .get(name)
            .cloned()
            .or_else(|| {
                let key = KEYS.iter().find(|key| key.name == name)?;
                key.default.map(|text| Value {
                    text: text.to_owned(),
                    origin: Origin::Default,
                })
            })
            .filter(|value| !value.text.is_empty())
    }

    pub fn get(&self, name: &str) -> Option<String> {
        self.value(name).map(|value| value.text)
    }

    /// A value that is set, not a default.
    pub fn said(&self, name: &str) -> Option<&Value> {
        self.values.get(name).filter(|value| !value.text.is_empty())
    }

    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).as_deref() == Some("on")
    }

    /// The extra arguments for a server: text before expansion.
    pub fn arguments_for(&self, server: &str) -> Option<&str> {
        self.server_args
            .get(server)
            .map(String::as_str)
            .or_else(|| self.said("server_args").map(|value| value.text.as_str()))
    }

    /// Every key with its value, for `env --explain`.
    pub fn explain(&self) -> Vec<(&'static Key, Option<Value>)> {
        KEYS.iter().map(|key| (key, self.value(key.name))).collect()
    }
}

/// TOML has types, so its strings have one spelling (with `-` or `_`), as the schema says.
fn is_exact(text: &str, kind: Kind, name: &str, place: &str) -> Result<(), SettingsError> {
    let allowed: &[&str] = match kind {
        Kind::OneOf(allowed) => allowed,
        Kind::Switch => &["on", "off"],
        Kind::Text | Kind::List | Kind::Instrument => return Ok(()),
    };
    if allowed.contains(&text.replace('-', "_").as_str()) {
        return Ok(());
    }
    Err(SettingsError::UnknownValue {
        place: place.to_owned(),
        name: name.to_owned(),
        value: text.to_owned(),
        allowed: allowed.iter().map(|name| (*name).to_owned()).collect(),
    })
}

/// Whether a process can have that name, as in a `Procfile`.
pub fn is_process(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// Whether a shell can hold a variable of that name.
fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn strings(value: &toml::Value) -> Option<BTreeMap<String, String>> {
    value
        .as_table()?
        .iter()
        .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The text of a file that must be UTF-8.
pub(crate) fn text(files: &dyn Files, path: &str) -> Result<String, SettingsError> {
    let bytes = files.read(path).unwrap_or_default();
    String::from_utf8(bytes).map_err(|error| SettingsError::NotText {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::files::Memory;
    use super::*;

    fn load(files: &Memory, environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Settings::load(files, &environment, &BTreeMap::new())
    }

    #[test]
    fn the_first_place_that_says_something_wins() {
        let files = Memory::new()
            .with(
                "pyproject.toml",
                "[tool.warpdrive]\nserver-type = 'waitress'\nhome = 'web'\n",
            )
            .with(".warpdrive/server_type", " mod-wsgi \n");
        let settings = load(&files, &[]).unwrap();
        assert_eq!(settings.get("server_type").unwrap(), "mod_wsgi");
        assert_eq!(settings.get("home").unwrap(), "web");
        let settings = load(&files, &[("WARPDRIVE_SERVER_TYPE", "uwsgi")]).unwrap();
        let value = settings.value("server_type").unwrap();
        assert_eq!(value.text, "uwsgi");
        assert_eq!(
            value.origin.to_string(),
            "environment: WARPDRIVE_SERVER_TYPE"
        );
        let line = BTreeMap::from([("server_type".to_owned(), "gunicorn".to_owned())]);
        let settings = Settings::load(&files, &BTreeMap::new(), &line).unwrap();
        assert_eq!(
            settings.value("server_type").unwrap().origin,
            Origin::CommandLine
        );
        assert_eq!(settings.value("installer").unwrap().origin, Origin::Default);
    }

    #[test]
    fn mistakes_name_the_nearest() {
        for (files, title, remedy) in [
            (
                Memory::new().with(".warpdrive/server-type", "x"),
                ".warpdrive/server-type means nothing; .warpdrive/server_type would",
                "did you mean `.warpdrive/server_type`?",
            ),
            (
                Memory::new().with(".warpdrive/action_hooks/deply", "x"),
                ".warpdrive/action_hooks/deply means nothing; .warpdrive/action_hooks/deploy would",
                "did you mean `.warpdrive/action_hooks/deploy`?",
            ),
            (
                Memory::new().with("pyproject.toml", "[tool.warpdrive]\nsevrer_type = 'x'\n"),
                "pyproject.toml [tool.warpdrive]: unknown setting `sevrer_type`",
                "did you mean `server_type`?",
            ),
            (
                Memory::new().with(".warpdrive/server_type", "gunicron"),
                "file: .warpdrive/server_type: `gunicron` is not a value of server_type",
                "did you mean `gunicorn`?",
            ),
            (
                Memory::new().with(".warpdrive/home", b"\xff"),
                ".warpdrive/home is not UTF-8 (byte 0)",
                "save the file as UTF-8",
            ),
            (
                Memory::new().with("pyproject.toml", "[tool.warpdrive]\ncollectstatic = 3\n"),
                "pyproject.toml [tool.warpdrive]: collectstatic must be true or false",
                "",
            ),
        ] {
            let advice = load(&files, &[]).unwrap_err().advice();
            assert_eq!(advice.title, title);
            if !remedy.is_empty() {
                assert!(advice.remedies[0].starts_with(remedy), "{advice}");
            }
        }
    }

    #[test]
    fn arguments_by_server() {
        let files = Memory::new()
            .with(".warpdrive/server_args/gunicorn", "--workers 3")
            .with(".warpdrive/action_hooks/deploy", "")
            .with(".warpdrive/action_hooks/deploy~", "")
            .with(".warpdrive/home", "")
            .with(".warpdrive/home.1", "x")
            .with(".warpdrive/notes.txt", "x");
        let settings = load(&files, &[]).unwrap();
        assert_eq!(settings.arguments_for("gunicorn"), Some("--workers 3"));
        assert_eq!(settings.arguments_for("waitress"), None);
        assert_eq!(settings.doubtful.len(), 2, "{:?}", settings.doubtful);
        let files = Memory::new().with(".warpdrive/server_args", "--threads 2\n");
        let settings = load(&files, &[]).unwrap();
        assert_eq!(settings.arguments_for("waitress"), Some("--threads 2"));
    }

    #[test]
    fn a_switch_has_many_spellings() {
        for (text, expected) in [("off", false), ("0", false), ("yes", true), ("1", true)] {
            let settings = load(&Memory::new(), &[("WARPDRIVE_COLLECTSTATIC", text)]).unwrap();
            assert_eq!(settings.is_on("collectstatic"), expected, "{text}");
        }
    }
}
