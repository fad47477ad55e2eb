//! Asks a Django project what it is, and collects its static files: one start of Django, through
//! the project's own `manage.py`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::advice::Advice;
use super::super::plan::DjangoPlan;
use super::super::process;
use super::super::remedy::{Cause, distribution};
use super::super::roots::Roots;
use super::BuildError;

const SCRIPT: &str = include_str!("django.py");

/// What Django told.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Facts {
    pub settings_module: Option<String>,
    pub wsgi_application: Option<String>,
    pub asgi_application: Option<String>,
    pub static_url: Option<String>,
    /// Absolute.
    pub static_root: Option<String>,
    /// The project serves its static files itself.
    pub own_whitenoise: bool,
    pub has_staticfiles: bool,
    pub missing_dirs: Vec<String>,
    pub collected: bool,
}

/// A failure, as Python saw it.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Failure {
    /// `import`, `manage`, `settings` or `collectstatic`.
    #[serde(rename = "failed")]
    pub step: String,
    /// The exception's class.
    #[serde(rename = "type")]
    pub kind: String,
    pub message: String,
    /// The module that could not be imported.
    pub name: Option<String>,
    pub traceback: Vec<String>,
    /// All that the settings miss, in the order in which they ask.
    #[serde(skip)]
    pub variables: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Facts { facts: Facts },
    Failure(Failure),
}

/// Variables that are looked for one after the other.
const MAX_VARIABLES: usize = 12;

/// Runs the project. A variable that its settings miss hides the next: with a value they get further, and
/// all are told at once.
pub(super) fn ask(
    roots: &Roots,
    django: &DjangoPlan,
    environment: &BTreeMap<String, String>,
    temporary: &Path,
    collect: bool,
) -> Result<Facts, BuildError> {
    let mut first = match ask_once(roots, django, environment, temporary, collect) {
        Err(BuildError::Django { failure, status }) => (failure, status),
        other => return other,
    };
    let mut environment = environment.clone();
    let mut found = first.0.missing();
    while let Some(name) = found.pop() {
        if first.0.variables.contains(&name) || first.0.variables.len() >= MAX_VARIABLES {
            continue;
        }
        environment.insert(name.clone(), "build-only".to_owned());
        first.0.variables.push(name);
        if found.is_empty()
            && let Err(BuildError::Django { failure, .. }) =
                ask_once(roots, django, &environment, temporary, false)
        {
            found = failure.missing();
        }
    }
    let (failure, status) = first;
    Err(BuildError::Django { status, failure })
}

fn ask_once(
    roots: &Roots,
    django: &DjangoPlan,
    environment: &BTreeMap<String, String>,
    temporary: &Path,
    collect: bool,
) -> Result<Facts, BuildError> {
    let script = temporary.join(format!("warpdrive-django-{}.py", std::process::id()));
    let answer = temporary.join(format!("warpdrive-django-{}.json", std::process::id()));
    let _removed = (Removed(&script), Removed(&answer));
    std::fs::write(&script, SCRIPT).map_err(|source| BuildError::Io {
        doing: "write",
        path: script.clone(),
        source,
    })?;
    let manage = roots.source.join(&django.manage);
    let directory = manage.parent().unwrap_or(&roots.source).to_owned();
    let line: Vec<String> = [
        roots.python(),
        script.clone(),
        manage,
        answer.clone(),
        roots.app.join("static/django"),
        PathBuf::from(if collect { "yes" } else { "no" }),
    ]
    .iter()
    .map(|part| part.display().to_string())
    .collect();
    let heard = process::listen(
        process::command(&line, &directory, environment)?,
        "manage.py",
        |_| true,
    )?;
    let answer = std::fs::read(&answer)
        .ok()
        .and_then(|text| serde_json::from_slice::<Answer>(&text).ok());
    match answer {
        Some(Answer::Facts { facts })
            if facts.missing_dirs.is_empty() || !collect || !facts.has_staticfiles =>
        {
            Ok(facts)
        }
        Some(Answer::Facts { facts }) => Err(BuildError::StaticDirectory {
            paths: facts.missing_dirs,
            settings: facts
                .settings_module
                .unwrap_or_else(|| "the settings".to_owned()),
            source_root: roots.source.display().to_string(),
        }),
        Some(Answer::Failure(failure)) => Err(BuildError::Django {
            status: heard.status,
            failure: Box::new(failure),
        }),
        None => Err(BuildError::Django {
            status: heard.status,
            failure: Box::new(Failure {
                step: "manage".to_owned(),
                traceback: heard.tail(12),
                ..Failure::default()
            }),
        }),
    }
}

/// A file that is removed at the end.
struct Removed<'p>(&'p Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}

impl Failure {
    /// One line.
    pub fn title(&self) -> String {
        match self.step.as_str() {
            "settings" => "Django's settings could not be loaded".to_owned(),
            "collectstatic" => "collectstatic failed".to_owned(),
            "import" => "Django is not installed, but manage.py needs it".to_owned(),
            _ => "manage.py failed".to_owned(),
        }
    }

    fn line(&self) -> String {
        if self.kind.is_empty() {
            self.message.clone()
        } else {
            format!("{}: {}", self.kind, self.message)
        }
    }

    /// The variables that it names, the last first.
    fn missing(&self) -> Vec<String> {
        match Cause::of(&self.line()) {
            Cause::Variables(names) => names.into_iter().rev().collect(),
            _ => Vec::new(),
        }
    }

    /// Likely causes and what to do about them.
    pub fn explain(&self, advice: Advice) -> Advice {
        let line = self.line();
        let advice = if line.is_empty() {
            advice
        } else {
            advice.cause(line.clone())
        };
        let advice = if self.variables.is_empty() {
            hints(advice, &self.kind, &line, self.name.as_deref())
        } else {
            Cause::Variables(self.variables.clone()).explain(advice, &[])
        };
        let keep = self.traceback.len().saturating_sub(12);
        let advice = advice.tail(self.traceback.iter().skip(keep).cloned());
        if self.step == "collectstatic" {
            advice.remedy("to build without static files: echo off > .warpdrive/collectstatic")
        } else {
            advice
        }
    }
}

/// Remedies for the failures that are seen most.
fn hints(advice: Advice, kind: &str, line: &str, module: Option<&str>) -> Advice {
    let text = line.to_lowercase();
    let cause = Cause::of(line);
    if matches!(cause, Cause::Variables(_) | Cause::Library(_)) {
        return cause.explain(advice, &[]);
    }
    if kind == "KeyError" || text.contains("environment variable") {
        return advice
            .cause("The settings read an environment variable that the build does not have.")
            .remedy("give it a default in the settings, or a value to the build:\n  warpdrive image NAME --build-env VARIABLE=value\nor in .warpdrive/action_hooks/build-env");
    }
    if text.contains("pkg_resources") {
        return advice
            .cause("pkg_resources is no longer part of setuptools (since release 82).")
            .remedy("add setuptools<82 to requirements.txt");
    }
    if kind == "ModuleNotFoundError" {
        let name = module.unwrap_or("the module");
        return advice
            .cause(format!(
                "{name} is neither in the source nor among the requirements."
            ))
            .remedy(format!("add {} to requirements.txt", distribution(name)));
    }
    if text.contains("could not connect")
        || text.contains("connection refused")
        || kind == "OperationalError"
    {
        return advice
            .cause("Importing the settings or the apps opens a connection; at build there is no database.")
            .remedy("connect when the first request comes, or only if WARPDRIVE_PHASE is not \"build\"");
    }
    advice
}
