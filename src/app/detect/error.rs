//! Why a source tree cannot be an app, and what its owner can do.

use super::super::advice::{Advice, Explain};
use super::super::environment;
use super::super::python::{PythonError, PythonRequest};
use super::super::python_version::PythonVersion;
use super::super::requirement::Problem;
use super::super::server::Server;
use super::super::settings::SettingsError;
use super::super::shell_words::ArgumentsError;
use super::syntax::SyntaxError;

/// The files that were searched without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nothing {
    pub looked_at: Vec<String>,
    pub errors: Vec<SyntaxError>,
    pub notes: Vec<String>,
    /// There are notebooks.
    pub notebooks: bool,
    /// A framework among the requirements, and the line that starts a program of it.
    pub required: Option<(&'static str, &'static str)>,
    /// The file of a conda project.
    pub conda: Option<String>,
    /// An `app.sh` that is not executable.
    pub script: Option<String>,
    /// Programs of the home: modules with a main block.
    pub programs: Vec<String>,
    /// There is not a single Python file.
    pub empty: bool,
    pub home: String,
}

#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Environment(#[from] environment::EnvironmentError),
    #[error(transparent)]
    Arguments(#[from] ArgumentsError),
    #[error("no application was found")]
    Nothing(Box<Nothing>),
    #[error("two applications were found: {}", .candidates.join(" and "))]
    Ambiguous { candidates: Vec<String> },
    #[error("{path} lists the dependencies for conda, which cannot be installed here")]
    Conda { path: String },
    #[error("{path} names several processes, and none is `web`: {}", .names.join(", "))]
    Processes { path: String, names: Vec<String> },
    #[error("{} directories have an application: {}", .homes.len(), .homes.join(", "))]
    Homes { homes: Vec<String> },
    #[error("\"{value}\" ({origin}) is not an application: {reason}")]
    Named {
        value: String,
        origin: String,
        reason: String,
    },
    #[error("home = \"{value}\" ({origin}) {reason}")]
    Home {
        value: String,
        origin: String,
        reason: &'static str,
    },
    #[error("{server} cannot serve {reference}, which is an {kind} application")]
    WrongServer {
        server: Server,
        reference: String,
        kind: &'static str,
        others: Vec<&'static str>,
    },
    #[error("deploy mode {mode} needs {file}, which is not there")]
    ModeNeeds { mode: String, file: String },
    #[error("{named_in} names {file}, which is not in the source")]
    MissingRequirements {
        named_in: String,
        file: String,
        /// The rule that leaves it out, where one does.
        ignored: Option<String>,
    },
    #[error("{}", title(.problems))]
    Requirements { problems: Vec<Problem> },
    #[error(
        "{file} is left out of the source by {rule}, and nothing else says what the application needs"
    )]
    IgnoredRequirements { file: String, rule: String },
    #[error("{file} is not read, and nothing else says what the application needs")]
    MisspeltRequirements { file: String },
    #[error("{path} is not executable")]
    NotExecutable { path: String },
    #[error(
        "{module} runs only its own server ({framework}) and has no `if __name__ == \"__main__\"`"
    )]
    OwnServer { module: String, framework: String },
    #[error(transparent)]
    PythonVersion(#[from] PythonError),
    #[error("the app wants Python {request}; the builder has {builder}")]
    Python {
        request: PythonRequest,
        builder: PythonVersion,
    },
}

/// `requirements.txt` in the same directory.
fn usual_name(file: &str) -> String {
    match super::super::files::parent(file) {
        "" => "requirements.txt".to_owned(),
        directory => format!("{directory}/requirements.txt"),
    }
}

/// What to do: text to write, or another instruction.
fn to_do(write: &str) -> String {
    let other = ["delete ", "give ", "let ", "copy ", "build "];
    if other.iter().any(|start| write.starts_with(start)) {
        write.to_owned()
    } else {
        format!("write {write}")
    }
}

fn title(problems: &[Problem]) -> String {
    match problems {
        [one] => format!("{} cannot be done as it stands", one.place),
        many => format!(
            "{} lines of the requirements cannot be done as they stand",
            many.len()
        ),
    }
}

impl Explain for DetectError {
    fn advice(&self) -> Advice {
        let advice = Advice::new(self.to_string());
        match self {
            DetectError::Settings(error) => error.advice(),
            DetectError::Environment(error) => error.advice(),
            DetectError::Arguments(_) => advice.remedy(
                "server_args knows $V, ${V} and ${V:-default}; put the result of a command into \
                 .warpdrive/action_hooks/deploy-env",
            ),
            DetectError::Nothing(nothing) => nothing.explain(advice),
            DetectError::Ambiguous { candidates } => {
                let first = candidates
                    .first()
                    .and_then(|text| text.split(' ').next())
                    .unwrap_or("module:object");
                advice.remedy(format!(
                    "choose one in pyproject.toml:\n  [tool.warpdrive]\n  application = \"{first}\"\n\
                     or:\n  echo '{first}' > .warpdrive/application"
                ))
            }
            DetectError::Conda { .. } => conda(advice),
            DetectError::Processes { path, names } => {
                let first = names.first().map_or("NAME", String::as_str);
                advice.remedy(format!(
                    "say which one is started: in {path}, or in pyproject.toml with the line of {first}, say:\n  \
                     [tool.warpdrive.processes]\n  web = \"…\"\n\
                     and `worker` in place of `web` for what does not listen on a port"
                ))
            }
            DetectError::Homes { homes } => {
                let first = homes.first().map_or("DIR", String::as_str);
                advice
                    .remedy(format!("build one of them with all the source:\n  echo {first} > .warpdrive/home"))
                    .remedy(format!("or alone: warpdrive image NAME --context-dir {first}"))
            }
            DetectError::Named { .. } => advice.remedy(
                "write it as module:object, or module:function() for a factory; the module as it is imported from the home",
            ),
            DetectError::Home { .. } => advice.remedy("home is a directory inside the source, relative to it"),
            DetectError::WrongServer { others, .. } => {
                advice.remedy(format!("use one of {}", others.join(", ")))
            }
            DetectError::ModeNeeds { .. } => {
                advice.remedy("remove the deploy mode to let warpdrive find out")
            }
            DetectError::MissingRequirements { ignored: Some(rule), file, .. } => advice
                .cause(format!("{file} is left out of the source by {rule}."))
                .remedy("take it out of the ignore file, or track it: git add --force"),
            DetectError::MissingRequirements { .. } => {
                advice.remedy("add the file, or remove the line that names it; is it ignored by git?")
            }
            DetectError::Requirements { problems } => problems.iter().fold(advice, |advice, problem| {
                let line = match problem.text.as_str() {
                    "" => problem.place.clone(),
                    text => format!("{}: {text}", problem.place),
                };
                advice
                    .cause(format!("{line}\n  {}", problem.wrong))
                    .remedy(format!("{}: {}", problem.place, to_do(&problem.write)))
            }),
            DetectError::IgnoredRequirements { file, .. } => advice.remedy(format!(
                "take {file} out of the ignore file, or track it: git add --force {file}"
            )),
            DetectError::MisspeltRequirements { file } => advice
                .remedy(format!("call it requirements.txt:\n  git mv {file} {}", usual_name(file)))
                .remedy(format!("or name it in pyproject.toml:\n  [tool.warpdrive]\n  requirements = [\"{file}\"]")),
            DetectError::NotExecutable { path } => advice
                .remedy(format!("chmod +x {path}"))
                .remedy(format!("in git: git update-index --chmod=+x {path}")),
            DetectError::OwnServer { .. } => advice.remedy(
                "make app.py a program that starts it, under if __name__ == \"__main__\"",
            ),
            DetectError::PythonVersion(PythonError::Unreadable { write, .. }) => {
                advice.remedy(format!("write {write}"))
            }
            DetectError::PythonVersion(PythonError::Conflict(requests)) => advice
                .remedy(format!(
                    "change {} or {}",
                    requests[0].source, requests[1].source
                ))
                .remedy("or say which Python it is in pyproject.toml:\n  [tool.warpdrive]\n  python = \"3.13\""),
            DetectError::Python { request, builder } => advice
                .remedy(format!("use a builder image with Python {}", request.text))
                .remedy(format!("or let {} allow {builder}", request.source)),
        }
    }
}

fn conda(advice: Advice) -> Advice {
    advice
        .remedy("write what it lists from PyPI into requirements.txt, and the Python version into .python-version")
        .remedy("what comes from conda-forge only (C libraries) goes into the builder image")
}

impl Nothing {
    fn explain(&self, advice: Advice) -> Advice {
        let place = if self.home.is_empty() {
            "the source"
        } else {
            self.home.as_str()
        };
        if let Some(path) = &self.conda {
            return conda(advice.cause(format!(
                "{path} describes a conda environment, which is not read."
            )));
        }
        if let [first, _, ..] = self.programs.as_slice()
            && self.required.is_none()
            && self.errors.is_empty()
            && self.notes.is_empty()
        {
            return advice
                .cause(format!(
                    "{} can be run, and which of them is the application is not known.",
                    self.programs.join(", ")
                ))
                .remedy(format!(
                    "name it in pyproject.toml:\n  [tool.warpdrive]\n  python_file = \"{first}\""
                ))
                .remedy(format!(
                    "or in a file Procfile (`worker:` where it listens on no port):\n  web: python {first}"
                ));
        }
        let mut advice = if self.empty {
            advice.cause(format!("There is no Python file in {place}."))
        } else if let Some((name, line)) = self.required
            && self.errors.is_empty()
        {
            return advice
                .cause(format!(
                    "{name} is among the requirements, and no module of {place} imports it."
                ))
                .remedy(format!(
                    "say how its program is started, in a file Procfile:\n  web: {}",
                    line.replace("{file}", "FILE.py")
                ));
        } else {
            advice.cause(
                "No module has a WSGI or ASGI application (Flask(), FastAPI(), \
                 get_wsgi_application(), …) or a factory\n\
                 create_app() or make_app(); there is no Django manage.py, no program app.py, main.py, \
                 run.py or server.py,\n\
                 no executable app.sh, no Procfile and no [project.scripts].",
            )
        };
        if !self.looked_at.is_empty() {
            let mut list = self.looked_at.clone();
            let more = list.len().saturating_sub(12);
            list.truncate(12);
            let more = match more {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            advice = advice.cause(format!("Read: {}{more}", list.join(", ")));
        }
        for error in &self.errors {
            advice = advice.cause(format!(
                "{}:{} is not Python 3: {}",
                error.path, error.line, error.message
            ));
        }
        for note in &self.notes {
            advice = advice.cause(note.clone());
        }
        if self.empty {
            if let Some(path) = &self.script {
                return advice
                    .cause(format!(
                        "{path} is not executable, so it is not taken for the program."
                    ))
                    .remedy(format!(
                        "chmod +x {path}, and in git: git update-index --chmod=+x {path}"
                    ));
            }
            return advice
                .remedy("is the path right? --context-dir names a directory of the source");
        }
        advice
            .remedy(
                "name it in pyproject.toml:\n  [tool.warpdrive]\n  application = \"module:object\"\n\
                 or in .warpdrive/application",
            )
            .remedy("for a program: deploy_mode = \"python\" and python_file = \"FILE.py\"")
    }
}
