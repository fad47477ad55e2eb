//! Explains in plain words why a Django project could not be asked.

use serde::Deserialize;

use super::super::adding::Adding;
use super::super::advice::Advice;
use super::super::remedy::{Cause, distribution};

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
    /// All variables that the settings miss, in the order in which they read them.
    #[serde(skip)]
    pub variables: Vec<String>,
    /// How the project adds a package.
    #[serde(skip)]
    pub adding: Adding,
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
    pub(super) fn missing(&self) -> Vec<String> {
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
            hints(advice, self, &line)
        } else {
            Cause::Variables(self.variables.clone()).explain(advice, &[], self.adding)
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

/// Remedies for the most frequent failures.
fn hints(advice: Advice, failure: &Failure, line: &str) -> Advice {
    let kind = failure.kind.as_str();
    let text = line.to_lowercase();
    let cause = Cause::of(line);
    if matches!(cause, Cause::Variables(_) | Cause::Library(_)) {
        return cause.explain(advice, &[], failure.adding);
    }
    if kind == "KeyError" || text.contains("environment variable") {
        return advice
            .cause("The settings read an environment variable that the build does not have.")
            .remedy("give it a default in the settings, or a value to the build:\n  warpdrive image NAME --build-env VARIABLE=value\nor in .warpdrive/action_hooks/build-env");
    }
    if text.contains("pkg_resources") {
        return advice
            .cause("pkg_resources is no longer part of setuptools (since release 82).")
            .remedy(failure.adding.remedy("setuptools<82"));
    }
    if kind == "ModuleNotFoundError" {
        let name = failure.name.as_deref().unwrap_or("the module");
        return advice
            .cause(format!(
                "{name} is neither in the source nor among the requirements."
            ))
            .remedy(failure.adding.remedy(distribution(name)));
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
