//! The errors of a build, each with its exit status and its text.

use std::path::PathBuf;

use super::super::advice::{Advice, Explain};
use super::super::contract::{BUILD_SDISTS, NEEDS_SDISTS};
use super::super::detect::DetectError;
use super::super::environment::EnvironmentError;
use super::super::fixup::FixupError;
use super::super::listed::NOT_FOR_BUILDS;
use super::super::plan::PlanError;
use super::super::process::ProcessError;
use super::added::Added;
use super::django_failure::Failure;

#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    #[error(transparent)]
    Detect(Box<DetectError>),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Fixup(#[from] FixupError),
    #[error("the hook {name} failed with status {status}")]
    Hook {
        name: String,
        status: i32,
        tail: Vec<String>,
    },
    #[error("{name} was not found")]
    NoInstaller { name: &'static str },
    #[error("some packages have no wheel{}", if .what.is_empty() { String::new() } else { format!(": {}", .what) })]
    NeedsSdists { what: String },
    #[error("{installer} could not install the dependencies (status {status})")]
    Install {
        installer: &'static str,
        status: i32,
        missing: Option<String>,
        /// The answer of an index that denies access, with or without a login.
        refused: Option<&'static str>,
        /// The package whose source could not be built.
        unbuilt: Option<String>,
        /// Where the project names the package that is missing, else its list of packages.
        place: String,
        tail: Vec<String>,
    },
    #[error("{}", .0.title())]
    Added(Box<Added>),
    #[error("{table} binds `{name}` to a place, and this command cannot ask that place alone")]
    Bound { name: String, table: &'static str },
    #[error("{distribution} would write {path}, which belongs to the image")]
    Intruder { distribution: String, path: String },
    #[error("{path} was changed while the dependencies were installed")]
    Overwritten { path: PathBuf },
    #[error("byte-compiling failed with status {status}")]
    Compile { status: i32 },
    #[error("{}", .failure.title())]
    Django { status: i32, failure: Box<Failure> },
    #[error("STATICFILES_DIRS names a directory that does not exist: {}", .paths.join(", "))]
    StaticDirectory {
        paths: Vec<String>,
        settings: String,
        source_root: String,
    },
    #[error("cannot {doing} {path}")]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl From<DetectError> for AssembleError {
    fn from(error: DetectError) -> AssembleError {
        AssembleError::Detect(Box::new(error))
    }
}

impl AssembleError {
    /// The exit status of the build: that of the program that failed, if there is one.
    pub fn status(&self) -> i32 {
        match self {
            AssembleError::NeedsSdists { .. } => NEEDS_SDISTS,
            AssembleError::Hook { status, .. }
            | AssembleError::Install { status, .. }
            | AssembleError::Django { status, .. }
                if *status != 0 && *status != NEEDS_SDISTS =>
            {
                *status
            }
            AssembleError::Added(added) if added.status != 0 => added.status,
            AssembleError::Environment(EnvironmentError::Failed { status, .. }) => *status,
            AssembleError::Process(error) => error.status(),
            _ => 1,
        }
    }
}

impl Explain for AssembleError {
    fn advice(&self) -> Advice {
        let advice = Advice::new(self.to_string());
        match self {
            AssembleError::Detect(error) => error.advice(),
            AssembleError::Environment(error) => error.advice(),
            AssembleError::Process(error) => error.advice(),
            AssembleError::Plan(error) => match std::error::Error::source(error) {
                Some(source) => advice.cause(source.to_string()),
                None => advice,
            },
            AssembleError::Hook { name, tail, .. } => advice
                .remedy(format!("run it by hand: .warpdrive/action_hooks/{name}"))
                .tail(tail.iter().cloned()),
            AssembleError::NoInstaller { name } => {
                advice.remedy(format!("install {name}, or choose pip: echo pip > .warpdrive/installer"))
            }
            AssembleError::NeedsSdists { .. } => advice
                .cause("Building from source runs code of the package; that is done apart, with a cache of its own.")
                .remedy(format!("run again with {BUILD_SDISTS}=1")),
            AssembleError::Install { missing, refused, unbuilt, place, tail, .. } => {
                let advice = match (refused, missing) {
                    (Some(answer), _) => advice
                        .cause(format!("The package index refused the request ({answer})."))
                        .remedy("check the login of the index, and that this step has it"),
                    (None, Some(name)) => advice
                        .cause(format!("No package index has {name}."))
                        .remedy(format!("correct the name or the version in {place}")),
                    (None, None) => match (compiler_hints(tail), unbuilt) {
                        (Some((cause, remedy)), _) => advice.cause(cause).remedy(remedy),
                        (None, Some(name)) => advice
                            .cause(format!("{name} has no wheel for this Python, and its source cannot be built here."))
                            .remedy(format!("take a release of {name} that has one, or a Python for which there is one (`.python-version`)"))
                            .remedy("or give its build what it lacks: build-packages = [\"PACKAGE\"] in [tool.warpdrive] of pyproject.toml names packages of Debian"),
                        (None, None) => advice
                            .remedy(format!("correct in {place} what these lines name, and build again; what was built before is still there")),
                    },
                };
                advice.tail(tail.iter().cloned())
            }
            AssembleError::Added(added) => added.explain(advice),
            AssembleError::Bound { .. } => advice
                .cause("A stranger's package of the same name in the public index must not be taken for it.")
                .remedy("build with the `warpdrive` of a machine: `warpdrive build` or `warpdrive image` there heed it"),
            AssembleError::Intruder { .. } => advice
                .cause("The application's source, the S2I scripts, the environment's Python and warpdrive itself are not a package's to write.")
                .remedy("remove the package from the requirements"),
            AssembleError::Overwritten { .. } => {
                advice.remedy("find out which package's setup.py does that, and remove it")
            }
            AssembleError::Fixup(_) | AssembleError::Compile { .. } => advice,
            AssembleError::Django { failure, .. } => failure.explain(advice),
            AssembleError::StaticDirectory { paths, settings, source_root } => {
                let mut advice = advice.cause(format!("It is named by STATICFILES_DIRS in {settings}."));
                if let Some(inside) = paths
                    .iter()
                    .find_map(|path| path.strip_prefix(source_root).map(|path| path.trim_start_matches('/')))
                {
                    advice = advice
                        .cause("git keeps no empty directories, so one that exists here may be missing in a clone.")
                        .remedy(format!("make the directory, with a file in it:\n  mkdir -p {inside} && touch {inside}/.gitkeep"));
                }
                advice
                    .remedy("or let the build of a front end make it: assets = [\"DIR\"] in [tool.warpdrive] names the directory of its package.json")
                    .remedy("or remove it from STATICFILES_DIRS")
                    .remedy("or build without static files: echo off > .warpdrive/collectstatic")
            }
            AssembleError::Io { source, .. } => advice.cause(source.to_string()),
        }
    }
}

/// What is usually missing when an sdist does not compile.
fn compiler_hints(tail: &[String]) -> Option<(String, String)> {
    let text = tail.join("\n");
    if let Some((_, rest)) = text.split_once(&format!("{NOT_FOR_BUILDS}/")) {
        let name = rest.split_whitespace().next().unwrap_or_default();
        return Some((
            format!(
                "A package is built with {name}, which the project binds to another place: a stranger's {name} in the package index would run its code in the build."
            ),
            format!(
                "build the package without {name} ([build-system] requires in its pyproject.toml names it), or publish a wheel of it"
            ),
        ));
    }
    for (sign, cause, remedy) in [
        (
            "pg_config",
            "psycopg2 is compiled, and PostgreSQL's headers are missing.",
            "use a builder with libpq-dev, or psycopg2-binary",
        ),
        (
            "Python.h",
            "An extension is compiled, and Python's headers are missing.",
            "use a builder image with compilers (kind \"build\")",
        ),
        // "command '/usr/bin/gcc' failed with exit code 1" is about a compiler that exists.
        (
            "' failed: No such file",
            "An extension is compiled, and there is no compiler.",
            "use a builder image with compilers (kind \"build\")",
        ),
        (
            "No such file or directory: 'x86_64-linux-gnu-g",
            "An extension is compiled, and there is no compiler.",
            "use a builder image with compilers (kind \"build\")",
        ),
        (
            "bound-and-not-asked-for",
            "A package needs a name that the project binds to a place and does not ask for itself.",
            "name it among the project's dependencies, or write the lock",
        ),
        (
            "apxs",
            "mod_wsgi is compiled, and Apache's headers are missing.",
            "use a builder with apache2-dev, or mod_wsgi-standalone",
        ),
        (
            "Could not resolve host",
            "The network cannot be reached.",
            "check the network, a proxy, or --network",
        ),
        (
            "dns error",
            "The package index cannot be reached.",
            "check the network, a proxy, or UV_INDEX_URL",
        ),
    ] {
        if text.contains(sign) {
            return Some((cause.to_owned(), remedy.to_owned()));
        }
    }
    None
}
