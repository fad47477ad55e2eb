//! Asks a Django project what it is, and collects its static files: one start of Django, through
//! the project's own `manage.py`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::adding::Adding;
use super::super::plan::DjangoPlan;
use super::super::process;
use super::super::roots::Roots;
use super::AssembleError;
use super::django_failure::Failure;

const SCRIPT: &str = include_str!("django.py");

/// Django's answer.
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

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Facts { facts: Facts },
    Failure(Failure),
}

/// Most missing variables that are found one after the other.
const MAX_VARIABLES: usize = 12;

/// Runs the project. A missing variable hides the next one. So each gets a value for another attempt, and
/// all are reported at once.
pub(super) fn ask(
    roots: &Roots,
    django: &DjangoPlan,
    environment: &BTreeMap<String, String>,
    temporary: &Path,
    (collect, adding): (bool, Adding),
) -> Result<Facts, AssembleError> {
    let mut first = match ask_once(roots, django, environment, temporary, collect) {
        Err(AssembleError::Django { failure, status }) => (failure, status),
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
            && let Err(AssembleError::Django { failure, .. }) =
                ask_once(roots, django, &environment, temporary, false)
        {
            found = failure.missing();
        }
    }
    let (mut failure, status) = first;
    failure.adding = adding;
    Err(AssembleError::Django { status, failure })
}

fn ask_once(
    roots: &Roots,
    django: &DjangoPlan,
    environment: &BTreeMap<String, String>,
    temporary: &Path,
    collect: bool,
) -> Result<Facts, AssembleError> {
    let script = temporary.join(format!("warpdrive-django-{}.py", std::process::id()));
    let answer = temporary.join(format!("warpdrive-django-{}.json", std::process::id()));
    let _removed = (Removed(&script), Removed(&answer));
    std::fs::write(&script, SCRIPT).map_err(|source| AssembleError::Io {
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
        PathBuf::from(match (collect, has_front_end(&roots.source)) {
            (false, _) => "no",
            (true, false) => "yes",
            (true, true) => "all",
        }),
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
            if facts.missing_dirs.is_empty()
                || facts.collected
                || !collect
                || !facts.has_staticfiles =>
        {
            Ok(facts)
        }
        Some(Answer::Facts { facts }) => Err(AssembleError::StaticDirectory {
            paths: facts.missing_dirs,
            settings: facts
                .settings_module
                .unwrap_or_else(|| "the settings".to_owned()),
            source_root: roots.source.display().to_string(),
        }),
        Some(Answer::Failure(mut failure)) => {
            // The command reports what is wrong and ends.
            let said = heard.tail(12);
            let mut said = said.iter().rev();
            if failure.kind == "SystemExit"
                && failure.message.is_empty()
                && let Some(line) = said.find_map(|line| line.strip_prefix("CommandError: "))
            {
                "CommandError".clone_into(&mut failure.kind);
                line.clone_into(&mut failure.message);
            }
            Err(AssembleError::Django {
                status: heard.status,
                failure: Box::new(failure),
            })
        }
        None => Err(AssembleError::Django {
            status: heard.status,
            failure: Box::new(Failure {
                step: "manage".to_owned(),
                traceback: heard.tail(12),
                ..Failure::default()
            }),
        }),
    }
}

/// Whether Node builds something, which may make the files that the settings name: at the top, or one
/// directory below.
fn has_front_end(source: &Path) -> bool {
    let below = std::fs::read_dir(source).into_iter().flatten().flatten();
    std::iter::once(source.to_owned())
        .chain(below.map(|entry| entry.path()))
        .any(|directory| directory.join("package.json").is_file())
}

/// A file that is removed at the end.
struct Removed<'p>(&'p Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}
