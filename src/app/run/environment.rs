//! What every program of the application sees.
//!
//! In this order: the caller's variables; where things lie; substitutes for a HOME that cannot be
//! written to; `.warpdrive/environment` and `.warpdrive/action_hooks/deploy-env`, which set what the
//! caller has not said or what they look at themselves (`A=${A:-1}`, `PATH=/x:$PATH`); the build's
//! record, for what is still not set. (It holds the file's own variables as the build saw them, so
//! it must not come before the file: `A=${A:-$B}` would not see this B.)
//!
//! What the builder image brings (`LANG`, `PYTHON_VERSION`) nobody has said: the record knows these
//! variables, and a file comes before them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::environment::{DEPLOY_FILE, FILE, evaluate};
use super::super::jupyter;
use super::super::plan::{MODULES_DIRECTORY, Plan, PlanError, Start};
use super::super::roots::Roots;
use super::caller::Caller;
use super::error::RunError;
use super::home;

const DEFAULT_PORT: &str = "8080";

/// Where a variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The caller's environment.
    Environment,
    /// A variable of the builder image.
    Image,
    /// A file, relative to the source.
    File(String),
    /// The build's record.
    Plan,
    /// What warpdrive sets when nobody else does, or on top of what was there.
    Default,
    /// HOME cannot be written to.
    ReadOnlyHome,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => out.write_str("environment"),
            Self::Image => out.write_str("image"),
            Self::File(path) => write!(out, "file: {path}"),
            Self::Plan => out.write_str("plan"),
            Self::Default => out.write_str("default"),
            Self::ReadOnlyHome => out.write_str("default: HOME cannot be written to"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    pub value: OsString,
    pub origin: Origin,
}

/// The variables, and what was found out on the way to them.
#[derive(Debug)]
pub struct Environment {
    pub roots: Roots,
    /// `APP_HOME`, absolute: where the application is started.
    pub app_home: PathBuf,
    pub port: u16,
    /// None before the first build.
    pub plan: Option<Plan>,
    pub variables: BTreeMap<OsString, Variable>,
    /// The caller's variables that a file has unset.
    pub unset: BTreeSet<OsString>,
    /// For the user.
    pub warnings: Vec<String>,
    /// This user's own, below `/tmp`.
    pub private: PathBuf,
    directories: Vec<PathBuf>,
}

impl Environment {
    /// Works out the environment; reads files and runs the shell on them, writes nothing.
    ///
    /// # Errors
    /// If the record or a file cannot be read, or PORT is none.
    pub fn of(caller: &Caller) -> Result<Environment, RunError> {
        let roots = caller.roots()?;
        let plan = read_plan(&roots.app)?;
        let variables = caller
            .variables
            .iter()
            .map(|(name, value)| {
                let images = plan
                    .as_ref()
                    .and_then(|plan| plan.image_environment.get(name.to_str()?))
                    .is_some_and(|known| OsStr::new(known) == value);
                let variable = Variable {
                    value: value.clone(),
                    origin: if images {
                        Origin::Image
                    } else {
                        Origin::Environment
                    },
                };
                (name.clone(), variable)
            })
            .collect();
        let (app_home, home_origin) = app_home(caller, &roots, plan.as_ref())?;
        let mut environment = Environment {
            app_home,
            port: 0,
            variables,
            unset: BTreeSet::new(),
            warnings: Vec::new(),
            private: home::private_directory(caller.variable("TMPDIR")),
            directories: Vec::new(),
            roots,
            plan,
        };
        environment.apply_places(home_origin);
        environment.apply_home();
        environment.set_port(None)?;
        for name in [FILE, DEPLOY_FILE] {
            let before = environment.values();
            environment.apply_file(name)?;
            environment.set_port(Some(&before))?;
        }
        environment.apply_plan();
        Ok(environment)
    }

    fn set(&mut self, name: &str, value: impl Into<OsString>, origin: Origin) {
        let variable = Variable {
            value: value.into(),
            origin,
        };
        match self.variables.get(OsStr::new(name)) {
            Some(known) if known.value == variable.value => {}
            _ => {
                self.variables.insert(name.into(), variable);
            }
        }
    }

    pub(super) fn set_default(&mut self, name: &str, value: impl Into<OsString>, origin: Origin) {
        if self.value(name).is_none() {
            self.set(name, value, origin);
        }
    }

    /// The value of a variable that is set and not empty.
    pub fn value(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(|variable| variable.value.as_os_str())
            .filter(|value| !value.is_empty())
    }

    /// Names and values alone.
    pub fn values(&self) -> BTreeMap<OsString, OsString> {
        self.variables
            .iter()
            .map(|(name, variable)| (name.clone(), variable.value.clone()))
            .collect()
    }

    fn apply_plan(&mut self) {
        let Some(plan) = &self.plan else { return };
        let settings = plan
            .django
            .as_ref()
            .and_then(|django| django.settings_module.clone())
            .map(|module| ("DJANGO_SETTINGS_MODULE".to_owned(), module));
        for (name, value) in plan.environment.clone().into_iter().chain(settings) {
            if !self.variables.contains_key(OsStr::new(&name)) {
                self.set(&name, value, Origin::Plan);
            }
        }
    }

    fn apply_places(&mut self, home_origin: Origin) {
        let Roots {
            app: app_root,
            source: src_root,
            ..
        } = self.roots.clone();
        self.set("WARPDRIVE_PHASE", "deploy", Origin::Default);
        self.set("WARPDRIVE_APP_ROOT", &app_root, Origin::Default);
        self.set("WARPDRIVE_SRC_ROOT", &src_root, Origin::Default);
        self.set("WARPDRIVE_APP_HOME", self.app_home.clone(), home_origin);
        self.set_default("PYTHONUNBUFFERED", "1", Origin::Default);
        let programs = app_root.join("bin");
        if programs.is_dir() {
            let path = with_first(&[&programs], self.value("PATH"));
            self.set("PATH", path, Origin::Default);
        }
        if app_root.join("pyvenv.cfg").is_file() {
            self.set("VIRTUAL_ENV", &app_root, Origin::Default);
        }
        let path = self.python_path();
        self.set("PYTHONPATH", path, Origin::Default);
    }

    fn python_path(&self) -> OsString {
        let given = self.value("PYTHONPATH");
        python_path(&self.roots, &self.app_home, self.plan.as_ref(), given)
    }

    fn apply_home(&mut self) {
        let substitutes = home::substitutes(self.value("HOME"), &self.private);
        for (name, path) in substitutes {
            if self.value(name).is_none() {
                self.directories.push(path.clone());
                self.set(name, path, Origin::ReadOnlyHome);
            }
        }
    }

    /// PORT is `$PORT`, else `$WARPDRIVE_HTTP_PORT`, else 8080, and both are set to it. What a file
    /// has changed since `before` comes first.
    fn set_port(&mut self, before: Option<&BTreeMap<OsString, OsString>>) -> Result<(), RunError> {
        const NAMES: [&str; 2] = ["PORT", "WARPDRIVE_HTTP_PORT"];
        let changed = |name: &&str| match before {
            None => true,
            Some(before) => {
                self.value(name) != before.get(OsStr::new(name)).map(OsString::as_os_str)
            }
        };
        let name = NAMES
            .into_iter()
            .find(|name| changed(name) && self.value(name).is_some())
            .or_else(|| NAMES.into_iter().find(|name| self.value(name).is_some()));
        let (text, name, origin) = match name {
            Some(name) => (
                self.value(name)
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                name,
                self.variables[OsStr::new(name)].origin.clone(),
            ),
            None => (DEFAULT_PORT.to_owned(), NAMES[0], Origin::Default),
        };
        self.port = text
            .trim()
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or(RunError::Port { name, value: text })?;
        for name in NAMES {
            self.set(name, self.port.to_string(), origin.clone());
        }
        Ok(())
    }

    fn apply_file(&mut self, name: &str) -> Result<(), RunError> {
        let path = self.roots.source.join(name);
        let before = self.values();
        let Some(found) = evaluate(&path, &self.roots.source, &before)? else {
            return Ok(());
        };
        if found.status != 0 {
            let (path, status) = (path.display(), found.status);
            self.warnings.push(format!(
                "the last command in {path} ended with status {status}"
            ));
        }
        for gone in before
            .keys()
            .filter(|gone| !found.variables.contains_key(*gone))
        {
            self.variables.remove(gone);
            self.unset.insert(gone.clone());
        }
        for (name_of_variable, value) in &found.variables {
            let (name_of_variable, value) = (name_of_variable.clone(), value.clone());
            let said = self
                .variables
                .get(&name_of_variable)
                .is_some_and(|known| known.origin == Origin::Environment)
                && !found.looks_at(&name_of_variable.to_string_lossy());
            if before.get(&name_of_variable) != Some(&value) && !said {
                self.unset.remove(&name_of_variable);
                let origin = Origin::File(name.to_owned());
                self.variables
                    .insert(name_of_variable, Variable { value, origin });
            }
        }
        Ok(())
    }

    /// What only the server's process sees: the variables of agents and of Jupyter.
    pub(super) fn set_for_server(&mut self) {
        let Some(plan) = self.plan.clone() else {
            return;
        };
        if let Some(instrument) = &plan.instrument {
            for (name, value) in instrument.variables(plan.service.as_deref()) {
                self.set_default(name, value, Origin::Default);
            }
        }
        if matches!(plan.start, Start::Jupyter { .. }) {
            let ours = self.roots.app.join(jupyter::CONFIG_DIRECTORY);
            let path = with_first(&[&ours], self.value("JUPYTER_CONFIG_PATH"));
            self.set("JUPYTER_CONFIG_PATH", path, Origin::Default);
        }
    }

    /// `WARPDRIVE_SERVER_ARGS`, which comes before what the build has recorded.
    pub(super) fn server_arguments(&self) -> Option<String> {
        self.value("WARPDRIVE_SERVER_ARGS")
            .map(|text| text.to_string_lossy().into_owned())
    }

    /// A variable that tells hooks which command runs them.
    pub(super) fn set_action(&mut self, action: &str) {
        self.set("WARPDRIVE_ACTION", action, Origin::Default);
    }

    /// Gives a command this environment and nothing else, and makes its directories.
    pub(super) fn give_to(&self, command: &mut Command) {
        for directory in &self.directories {
            home::make(directory, &self.private);
        }
        command.env_clear().envs(
            self.variables
                .iter()
                .map(|(name, variable)| (name, &variable.value)),
        );
    }
}

/// `first`, then the elements of an old search path that are neither empty (that would be the
/// current directory) nor among them.
fn with_first(first: &[&Path], old: Option<&OsStr>) -> OsString {
    let mut parts: Vec<PathBuf> = Vec::new();
    let old = old.map(std::env::split_paths).into_iter().flatten();
    for part in first.iter().map(|path| path.to_path_buf()).chain(old) {
        if !part.as_os_str().is_empty() && !parts.contains(&part) {
            parts.push(part);
        }
    }
    let mut joined = OsString::new();
    for part in parts {
        if !joined.is_empty() {
            joined.push(":");
        }
        joined.push(part);
    }
    joined
}

/// `PYTHONPATH`: home, source, further directories of the source, what the caller has, the build's
/// own modules.
pub(crate) fn python_path(
    roots: &Roots,
    home: &Path,
    plan: Option<&Plan>,
    given: Option<&OsStr>,
) -> OsString {
    let mut first = vec![home.to_owned(), roots.source.clone()];
    for path in plan.iter().flat_map(|plan| &plan.python_path) {
        first.push(roots.source.join(path));
    }
    let first: Vec<&Path> = first.iter().map(PathBuf::as_path).collect();
    let modules = roots.app.join(MODULES_DIRECTORY);
    let mut path = with_first(&first, given);
    if modules.is_dir() && !std::env::split_paths(&path).any(|part| part == modules) {
        path.push(":");
        path.push(modules);
    }
    path
}

fn read_plan(app_root: &Path) -> Result<Option<Plan>, RunError> {
    match Plan::load(app_root) {
        Ok(plan) => Ok(Some(plan)),
        Err(PlanError::Read { source, .. })
            if matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// `WARPDRIVE_APP_HOME`, else the record's, else (before a build) what `.warpdrive/home` says;
/// relative to the source.
fn app_home(
    caller: &Caller,
    roots: &Roots,
    plan: Option<&Plan>,
) -> Result<(PathBuf, Origin), RunError> {
    const FILE: &str = ".warpdrive/home";
    let below = |path: &Path| -> PathBuf {
        // Without `.` and trailing slashes, so that it is seen when it is the source itself.
        roots.source.join(path).components().collect()
    };
    if let Some(path) = caller.variable("WARPDRIVE_APP_HOME") {
        return Ok((below(Path::new(path)), Origin::Environment));
    }
    if let Some(plan) = plan {
        return Ok((below(Path::new(&plan.home)), Origin::Plan));
    }
    let path = roots.source.join(FILE);
    let Ok(bytes) = std::fs::read(&path) else {
        return Ok((below(Path::new("")), Origin::Default));
    };
    let text = String::from_utf8(bytes).map_err(|error| RunError::NotText {
        path,
        offset: error.utf8_error().valid_up_to(),
    })?;
    Ok((below(Path::new(text.trim())), Origin::File(FILE.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::app::plan::PLAN_FILE;

    struct Fixture {
        directory: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Fixture {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir_all(directory.path().join("src/.warpdrive/action_hooks")).unwrap();
            fs::create_dir_all(directory.path().join("bin")).unwrap();
            Fixture { directory }
        }

        fn root(&self) -> &str {
            self.directory.path().to_str().unwrap()
        }

        fn with(self, path: &str, content: impl AsRef<[u8]>) -> Fixture {
            let path = self.directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            self
        }

        fn plan(self, home: &str) -> Fixture {
            let plan = serde_json::json!({
                "version": 1, "start": {"mode": "python", "program": "app.py"}, "installer": "uv",
                "home": home, "environment": {"DJANGO_SETTINGS_MODULE": "site.settings", "A": "plan"},
            });
            self.with(PLAN_FILE, plan.to_string())
        }

        fn of(&self, variables: &[(&str, &str)]) -> Result<Environment, RunError> {
            let mut all: BTreeMap<OsString, OsString> = variables
                .iter()
                .map(|(n, v)| (n.into(), v.into()))
                .collect();
            all.insert("WARPDRIVE_APP_ROOT".into(), self.root().into());
            all.entry("PATH".into())
                .or_insert_with(|| "/usr/bin:/bin".into());
            Environment::of(&Caller {
                variables: all,
                directory: "/".into(),
            })
        }
    }

    fn text<'a>(environment: &'a Environment, name: &str) -> &'a str {
        environment
            .value(name)
            .unwrap_or_default()
            .to_str()
            .unwrap()
    }

    #[test]
    fn where_things_lie() {
        let fixture = Fixture::new().plan("web");
        let root = fixture.root();
        let found = fixture.of(&[]).unwrap();
        for (name, expected) in [
            ("WARPDRIVE_PHASE", "deploy".to_owned()),
            ("WARPDRIVE_APP_ROOT", root.to_owned()),
            ("WARPDRIVE_SRC_ROOT", format!("{root}/src")),
            ("WARPDRIVE_APP_HOME", format!("{root}/src/web")),
            ("PATH", format!("{root}/bin:/usr/bin:/bin")),
            ("PYTHONPATH", format!("{root}/src/web:{root}/src")),
            ("PYTHONUNBUFFERED", "1".to_owned()),
            ("DJANGO_SETTINGS_MODULE", "site.settings".to_owned()),
            ("PORT", "8080".to_owned()),
            ("WARPDRIVE_HTTP_PORT", "8080".to_owned()),
        ] {
            assert_eq!(text(&found, name), expected, "{name}");
        }
        assert_eq!(
            found.variables[OsStr::new("WARPDRIVE_APP_HOME")].origin,
            Origin::Plan
        );
    }

    /// BUG of the original: an empty PYTHONPATH left a trailing `:`, the current directory.
    #[test]
    fn pythonpath_has_no_empty_element() {
        let fixture = Fixture::new();
        let src = format!("{}/src", fixture.root());
        for (old, expected) in [
            ("", src.clone()),
            (":", src.clone()),
            ("/lib:", format!("{src}:/lib")),
            (":/lib::/more", format!("{src}:/lib:/more")),
            (&format!("{src}:/lib"), format!("{src}:/lib")),
        ] {
            let found = fixture.of(&[("PYTHONPATH", old)]).unwrap();
            assert_eq!(text(&found, "PYTHONPATH"), expected, "{old:?}");
        }
    }

    /// BUG of the original: at deployment the files were evaluated but not exported.
    #[test]
    fn the_files_are_exported() {
        let fixture = Fixture::new()
            .plan("")
            .with(
                "src/.warpdrive/environment",
                "A=1\nB=${GIVEN:-2}\nunset GONE\n",
            )
            .with(
                "src/.warpdrive/action_hooks/deploy-env",
                "C=\"$A-$B\"\nA=3\n",
            );
        let found = fixture.of(&[("GIVEN", "x"), ("GONE", "1")]).unwrap();
        assert_eq!(text(&found, "A"), "3");
        assert_eq!(text(&found, "B"), "x");
        assert_eq!(text(&found, "C"), "1-x");
        assert!(found.unset.contains(OsStr::new("GONE")));
        assert_eq!(
            found.variables[OsStr::new("B")].origin.to_string(),
            "file: .warpdrive/environment"
        );
        let mut command = Command::new("/usr/bin/env");
        found.give_to(&mut command);
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert!(output.lines().any(|line| line == "B=x"), "{output}");
    }

    /// The original's order was the other way round.
    #[test]
    fn the_caller_comes_before_the_files() {
        let fixture = Fixture::new()
            .plan("")
            .with(
                "src/.warpdrive/environment",
                "SAID=file\nADDED=\"$ADDED more\"\nLANG=de_DE.UTF-8\nEMPTY=file\nunset GONE\n",
            )
            .with(
                "src/.warpdrive/action_hooks/deploy-env",
                "SAID=hook\nNEW=1\n",
            );
        let plan = serde_json::json!({
            "version": 1, "start": {"mode": "python", "program": "app.py"}, "installer": "uv",
            "image_environment": {"LANG": "C.UTF-8", "OTHER": "x"},
        });
        let fixture = fixture.with(PLAN_FILE, plan.to_string());
        let caller = [
            ("SAID", "caller"),
            ("ADDED", "caller"),
            ("LANG", "C.UTF-8"),
            ("EMPTY", ""),
            ("GONE", "1"),
        ];
        let found = fixture.of(&caller).unwrap();
        for (name, value, origin) in [
            ("SAID", "caller", "environment"),
            ("ADDED", "caller more", "file: .warpdrive/environment"),
            ("LANG", "de_DE.UTF-8", "file: .warpdrive/environment"),
            ("EMPTY", "", "environment"),
            ("NEW", "1", "file: .warpdrive/action_hooks/deploy-env"),
        ] {
            let variable = &found.variables[OsStr::new(name)];
            assert_eq!(variable.value, value, "{name}");
            assert_eq!(variable.origin.to_string(), origin, "{name}");
        }
        assert!(found.unset.contains(OsStr::new("GONE")));
        // Another value than the image's is somebody's.
        let found = fixture.of(&[("LANG", "fr_FR.UTF-8")]).unwrap();
        assert_eq!(text(&found, "LANG"), "fr_FR.UTF-8");
    }

    #[test]
    fn the_port() {
        let none = Fixture::new();
        let port = Fixture::new().with("src/.warpdrive/environment", "PORT=9001\n");
        let http = Fixture::new().with("src/.warpdrive/environment", "WARPDRIVE_HTTP_PORT=9002\n");
        let looks = Fixture::new().with("src/.warpdrive/environment", "PORT=${GIVEN:-9003}\n");
        for (fixture, variables, expected) in [
            (&none, &[][..], 8080),
            (&none, &[("WARPDRIVE_HTTP_PORT", "81")], 81),
            (&none, &[("WARPDRIVE_HTTP_PORT", "81"), ("PORT", "82")], 82),
            (&none, &[("WARPDRIVE_HTTP_PORT", "81"), ("PORT", "")], 81),
            (&port, &[], 9001),
            (&port, &[("WARPDRIVE_HTTP_PORT", "81")], 81),
            (&http, &[], 9002),
            (&http, &[("PORT", "82")], 82),
            (&looks, &[("PORT", "82")], 82),
            (&looks, &[], 9003),
        ] {
            let found = fixture.of(variables).unwrap();
            assert_eq!(found.port, expected, "{variables:?}");
            assert_eq!(text(&found, "PORT"), expected.to_string());
            assert_eq!(text(&found, "WARPDRIVE_HTTP_PORT"), expected.to_string());
        }
        for wrong in ["0", "65536", "http", "tcp://10.0.0.1:80"] {
            let error = none.of(&[("WARPDRIVE_HTTP_PORT", wrong)]).unwrap_err();
            assert!(
                error.to_string().starts_with("WARPDRIVE_HTTP_PORT="),
                "{error}"
            );
        }
    }

    #[test]
    fn the_plan_gives_way_to_the_environment() {
        let fixture = Fixture::new().plan("");
        assert_eq!(text(&fixture.of(&[]).unwrap(), "A"), "plan");
        assert_eq!(text(&fixture.of(&[("A", "mine")]).unwrap(), "A"), "mine");
    }

    #[test]
    fn a_home_from_three_places() {
        let fixture = Fixture::new().with("src/.warpdrive/home", " web/ \n");
        let root = fixture.root();
        let home = |found: &Environment| found.app_home.to_str().unwrap().to_owned();
        assert_eq!(home(&fixture.of(&[]).unwrap()), format!("{root}/src/web"));
        let said = fixture.of(&[("WARPDRIVE_APP_HOME", "other")]).unwrap();
        assert_eq!(home(&said), format!("{root}/src/other"));
        let absolute = fixture.of(&[("WARPDRIVE_APP_HOME", "/srv")]).unwrap();
        assert_eq!(home(&absolute), "/srv");
    }

    #[test]
    fn a_second_time_changes_nothing() {
        let fixture = Fixture::new()
            .plan("web")
            .with("src/.warpdrive/environment", "A=${A:-1}\n");
        let first = fixture.of(&[("PYTHONPATH", "/lib")]).unwrap();
        let second = Environment::of(&Caller {
            variables: first.values(),
            directory: "/somewhere".into(),
        })
        .unwrap();
        assert_eq!(first.values(), second.values());
    }

    #[test]
    fn mistakes_name_the_file() {
        let fixture = Fixture::new().with("src/.warpdrive/environment", b"A=\xff\n");
        let error = fixture.of(&[]).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("src/.warpdrive/environment is not UTF-8 (byte 2)"),
            "{error}"
        );
        let fixture = Fixture::new().with(PLAN_FILE, "{}");
        assert!(matches!(fixture.of(&[]), Err(RunError::Plan(_))));
    }

    #[test]
    fn home_that_cannot_be_written_to() {
        let fixture = Fixture::new();
        let found = fixture
            .of(&[
                ("HOME", "/nonexistent"),
                ("MPLCONFIGDIR", "/mine"),
                ("TMPDIR", fixture.root()),
            ])
            .unwrap();
        assert_eq!(text(&found, "HOME"), "/nonexistent");
        assert_eq!(text(&found, "MPLCONFIGDIR"), "/mine");
        let cache = Path::new(found.value("XDG_CACHE_HOME").unwrap()).to_owned();
        assert!(cache.starts_with(fixture.root()));
        assert!(!cache.exists(), "looking makes nothing");
        found.give_to(&mut Command::new("/bin/true"));
        assert!(cache.is_dir());
    }
}
