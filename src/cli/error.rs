//! The one catalogue of errors: what each means to a user, and its exit code.
//!
//! The libraries report what happened; here it becomes a title, a cause and a remedy. A remedy that needs the
//! error's own data comes from its `hint()`. A new error type gets its `From` below, so that `?` works in
//! every command.

use std::io::{self, Write};

use serde_json::json;

use crate::app::DetectError;
use crate::app::advice::{Advice, Explain};
use crate::pipeline::Lacking;
use crate::progress::{printable, without_logins};
use crate::sandbox::{Exit, give_ids};

use super::printer::Printer;

/// Exit codes of warpdrive's own work (a contract, see docs/reference/exit-codes.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExitStatus {
    Failure,
    Usage,
    AppBuildFailed,
    Refused,
    Network,
    Interrupted,
    /// The status of a program that ran in the foreground, or 125/126/127.
    Program(u8),
}

impl ExitStatus {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Failure => 1,
            Self::Usage => 2,
            Self::AppBuildFailed => 3,
            Self::Refused => 4,
            Self::Network => 5,
            Self::Interrupted => 130,
            Self::Program(code) => code,
        }
    }
}

/// Number of a program's last lines in a JSON error.
const JSON_TAIL: usize = 12;

/// An error as a person (or `--json`) sees it.
#[derive(Debug)]
pub(super) struct CommandError {
    pub(super) exit: ExitStatus,
    /// A stable word for programs: `name-invalid`, `builder-missing`, `assemble-failed` …
    pub(super) code: &'static str,
    /// What warpdrive was doing and what was wrong, without a final full stop.
    pub(super) message: String,
    /// Possible causes, line by line.
    pub(super) causes: Vec<String>,
    /// What to do next, line by line.
    pub(super) hint: Option<String>,
    pub(super) more_hints: Vec<String>,
    /// The failing program's own exit status.
    pub(super) status: Option<i32>,
    /// The failing program's last lines of output.
    pub(super) tail: Vec<String>,
    /// What was done before it failed, for `--json`.
    pub(super) done: Option<(&'static str, serde_json::Value)>,
}

impl CommandError {
    pub(super) fn new(exit: ExitStatus, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            more_hints: Vec::new(),
            status: None,
            tail: Vec::new(),
            done: None,
        }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(ExitStatus::Usage, "usage", message)
    }

    #[must_use]
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with this hint if it has none.
    fn or_hint(mut self, hint: &str) -> Self {
        self.hint.get_or_insert_with(|| hint.to_owned());
        self
    }

    /// The same, with the files that a compilation did not find instead of the guess.
    fn lacking(mut self, lacking: Option<Lacking>) -> Self {
        let Some(Lacking { what, package }) = lacking else {
            return self;
        };
        self.causes
            .retain(|cause| !cause.starts_with("An extension is compiled"));
        self.causes.push(format!(
            "The compilation needs {what}, which is not in the builder image; Debian's package {package} has it."
        ));
        self.hint = Some(format!(
            "build-packages = [\"{package}\"] in [tool.warpdrive] of pyproject.toml adds it for the build; or take a builder image with it"
        ));
        self.more_hints.clear();
        self
    }

    /// A program of the build ended with an error. Its own error text is used, if it is for users.
    /// `withheld`: variables whose logins it did not see.
    fn ended(message: String, exit: Exit, tail: Vec<String>, withheld: &[&str]) -> Self {
        let mut error = Self::new(ExitStatus::AppBuildFailed, "assemble-failed", message);
        error.status = match exit {
            Exit::Code(code) => Some(code),
            Exit::Signal(signal) => Some(128 + signal),
            Exit::TimedOut | Exit::WroteTooMuch | Exit::Interrupted => None,
        };
        let refused = ["401", "403", "nauthorized", "orbidden", "credential"];
        let index = tail
            .iter()
            .any(|line| refused.iter().any(|word| line.contains(word)));
        // The program itself does not know about these.
        let mut hints = Vec::new();
        if index && !withheld.is_empty() {
            hints.push(format!(
                "the code of the app, and of packages that are built from source, sees {} without the login; --expose-index-credentials gives it to them",
                withheld.join(" and ")
            ));
        }
        error.tail = tail;
        if exit != Exit::TimedOut
            && let Some(advice) = Advice::read(&error.tail)
        {
            let told = Self::from(advice);
            error.causes.push(told.message);
            error.causes.extend(told.causes);
            error.tail = told.tail;
            hints.extend(told.hint.into_iter().chain(told.more_hints));
        }
        let mut hints = hints.into_iter();
        error.hint = hints.next();
        error.more_hints = hints.collect();
        error
    }

    /// Prints it: as text on stderr, and with `--json` also as JSON on stdout.
    pub(super) fn report(&self, printer: &Printer, as_json: bool) {
        if as_json {
            // The program's last lines are the cause, if nothing better is known.
            let causes = if self.causes.is_empty() {
                let shown = self.tail.len().saturating_sub(JSON_TAIL);
                let shown = self.tail.iter().skip(shown);
                shown.map(|line| printable(line)).collect()
            } else {
                self.causes.clone()
            };
            let join = |first: &str, rest: &[String], indent: &str| {
                let lines = [&[first.to_owned()], rest].concat();
                // In all quoted text, a URL is shown without its login.
                without_logins(&lines.join(indent)).into_owned()
            };
            let mut value = json!({"error": {
                "code": self.code,
                "message": join(&self.message, &causes, "\n  "),
                "hint": self.hint.as_ref().map(|hint| join(hint, &self.more_hints, "\n      ")),
                "status": self.status,
            }});
            if let Some((name, done)) = &self.done {
                value[*name] = done.clone();
            }
            printer.json(&value);
        }
        let word = printer.paint("1;31", "error");
        printer.paragraph(&format!("{word}: "), &self.message, 2);
        for cause in &self.causes {
            printer.paragraph("  ", cause, 2);
        }
        for text in &self.tail {
            let text = printable(&without_logins(text));
            let _ = writeln!(io::stderr().lock(), "  | {text}");
        }
        if let Some(hint) = &self.hint {
            let word = printer.paint("1;36", "hint");
            let _ = writeln!(io::stderr().lock());
            printer.paragraph(&format!("{word}: "), hint, 6);
            for hint in &self.more_hints {
                printer.paragraph("      ", hint, 6);
            }
        }
    }
}

impl From<crate::oci::ReferenceError> for CommandError {
    fn from(error: crate::oci::ReferenceError) -> Self {
        Self::new(ExitStatus::Usage, "name-invalid", error.to_string()).with_hint(
            "a name looks like `opal`, `opal:1.2` or `registry.example.com/team/opal:1.2`",
        )
    }
}

impl From<crate::oci::OciError> for CommandError {
    fn from(error: crate::oci::OciError) -> Self {
        Self::new(ExitStatus::Failure, "image-malformed", error.to_string())
    }
}

impl From<crate::store::StoreError> for CommandError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::new(ExitStatus::Failure, error.code(), error.to_string())
    }
}

impl From<crate::sandbox::SandboxError> for CommandError {
    fn from(error: crate::sandbox::SandboxError) -> Self {
        if matches!(
            error,
            crate::sandbox::SandboxError::LimitNotEnforceable { .. }
        ) {
            return Self::new(
                ExitStatus::Failure,
                "limit-not-enforceable",
                error.to_string(),
            )
            .with_hint("`--best-effort-limits` goes on without the limit, with a warning");
        }
        Self::new(ExitStatus::Failure, "sandbox", error.to_string())
            .with_hint("`warpdrive doctor` says what this machine allows and how to get the rest")
    }
}

impl From<crate::registry::RegistryError> for CommandError {
    fn from(error: crate::registry::RegistryError) -> Self {
        use crate::registry::RegistryError as E;
        let exit = match &error {
            E::Blocked { .. } => ExitStatus::Refused,
            error if error.is_remote() => ExitStatus::Network,
            _ => ExitStatus::Failure,
        };
        let code = match &error {
            E::Blocked { .. } => "registry-blocked",
            E::Busy { .. } => "registry-busy",
            E::OtherPlatform { .. } => "platform-other",
            E::Unreachable { .. } => "registry-unreachable",
            E::Unauthorized(_) | E::Challenge { .. } => "registry-unauthorized",
            E::NotFound { .. } => "registry-not-found",
            E::Digest { .. } | E::Truncated { .. } => "download-damaged",
            E::Platform { .. } => "platform-missing",
            E::Daemon { .. } => "docker-daemon",
            E::Elsewhere { .. } => "base-elsewhere",
            _ => "registry",
        };
        let hint = error.hint();
        let mut found = Self::new(exit, code, error.to_string());
        found.hint = hint;
        found
    }
}

impl From<crate::pod::PodError> for CommandError {
    fn from(error: crate::pod::PodError) -> Self {
        use crate::pod::PodError as E;
        let message = error.to_string();
        let failure = |code| Self::new(ExitStatus::Failure, code, message.clone());
        match error {
            E::NoBaseFile { .. } => failure("no-base-file").with_hint(
                "run the build in an image that `warpdrive builder push BUILDER REGISTRY/NAME` made",
            ),
            E::BaseFile { .. } => failure("base-file")
                .with_hint("make the pod's image again: `warpdrive builder push BUILDER REGISTRY/NAME`"),
            E::Dirty { login, .. } => failure("app-root-dirty").with_hint(if login {
                "the cluster's set-up writes logins to HOME before the step begins (Tekton's creds-init does, for secrets of the service account): set HOME=/tmp/home in the step, and link no registry secret to the service account of builds"
            } else {
                "build in a container in which nothing ran before, and mount no volume there but an empty one"
            }),
            E::Changed { .. } => failure("app-root-dirty")
                .with_hint("build in a container in which nothing ran before"),
            E::Home { .. } => failure("home").with_hint("set HOME=/tmp/home in the step"),
            E::Root => failure("in-place-root").with_hint(
                "let the pod have another user (`runAsNonRoot: true`), with the group 0",
            ),
            E::NotWritable { .. } => failure("app-root-read-only").with_hint(
                "run as a member of the group 0; with a read-only root, mount an emptyDir at /opt/app-root and set `workingDir: /`",
            ),
            E::NoFence { credentials } => {
                let what = if credentials.is_empty() {
                    "--fence auto builds without one where no credential can be read".to_owned()
                } else {
                    let places: Vec<String> = credentials
                        .iter()
                        .take(4)
                        .map(|path| path.display().to_string())
                        .collect();
                    format!(
                        "take the credentials out of this step ({}), or build on nodes with Linux 6.2 or newer and Landlock",
                        places.join(", ")
                    )
                };
                failure("no-fence").with_hint(what)
            }
            E::NotHere { instead, .. } => {
                Self::new(ExitStatus::Usage, "not-in-place", message.clone()).with_hint(instead)
            }
            E::Io { .. } => failure("in-place"),
            E::Store(error) => error.into(),
            E::Rootfs(error) => error.into(),
            E::Oci(error) => error.into(),
        }
    }
}

impl From<crate::transport::TransportError> for CommandError {
    fn from(error: crate::transport::TransportError) -> Self {
        use crate::transport::TransportError as E;
        let (exit, code) = match error {
            E::Store(error) => return error.into(),
            E::Registry(error) => return error.into(),
            E::Oci(error) => return error.into(),
            E::Location { .. } => (ExitStatus::Usage, "place-invalid"),
            E::Shape { .. } => (ExitStatus::Usage, "shape-impossible"),
            E::Index { .. } => (ExitStatus::Usage, "platforms-several"),
            E::NoSuchImage { .. } | E::Ambiguous { .. } => (ExitStatus::Failure, "image-missing"),
            E::Malformed { .. } | E::Digest { .. } | E::Archive { .. } => {
                (ExitStatus::Failure, "image-malformed")
            }
            E::Program { .. } => (ExitStatus::Failure, "podman"),
            E::Io { .. } | E::Missing { .. } => (ExitStatus::Failure, "transport"),
        };
        let hint = error.hint();
        let mut found = Self::new(exit, code, error.to_string());
        found.hint = hint;
        found
    }
}

/// What to do about mmdebstrap's last message.
fn mmdebstrap_remedy(tail: &[String]) -> &'static str {
    let says = |words: &[&str]| {
        tail.iter()
            .any(|line| words.iter().any(|word| line.contains(word)))
    };
    if says(&["No space left on device"]) {
        "make room, or name another temporary directory on a disk with 2 GB of room: \
         `TMPDIR=/srv/tmp warpdrive builder build …`"
    } else if says(&[
        "Could not resolve",
        "Could not connect",
        "Temporary failure resolving",
        "Connection failed",
        "Unable to connect",
        "Failed to fetch",
    ]) {
        "the Debian mirror does not answer: give another one with --mirror, or a proxy with http_proxy"
    } else {
        "the lines above are mmdebstrap's own; -v shows all of them, `warpdrive doctor` what is missing here"
    }
}

impl From<crate::remote_cache::CacheError> for CommandError {
    fn from(error: crate::remote_cache::CacheError) -> Self {
        use crate::remote_cache::CacheError as E;
        let message = error.to_string();
        match error {
            E::Registry(error) => error.into(),
            E::Store(error) => error.into(),
            E::Oci(error) => error.into(),
            E::Name { .. } => Self::usage(message)
                .with_hint("name a repository, for example registry.example.com/team/cache"),
            E::Conflict { .. } => Self::new(ExitStatus::Failure, "cache-conflict", message).with_hint(
                "nothing was overwritten; build on a machine that you trust with --no-cache, compare, and \
                 delete the tag if it is the one that is wrong",
            ),
            E::Bad { .. } => Self::new(ExitStatus::Failure, "cache", message),
        }
    }
}

impl From<crate::builder::BuilderError> for CommandError {
    fn from(error: crate::builder::BuilderError) -> Self {
        use crate::builder::BuilderError as E;
        let message = error.to_string();
        let failure = |code| Self::new(ExitStatus::Failure, code, message.clone());
        match error {
            E::Store(error) => error.into(),
            E::Sandbox(error) => error.into(),
            E::Interrupted => Self::new(ExitStatus::Interrupted, "interrupted", message),
            E::OtherLibc { .. } => failure("libc-other").with_hint(
                "push with a static warpdrive, which `make dist` makes, or take a newer base",
            ),
            E::UnknownDefinition { known, name } => {
                let mut error = Self::new(ExitStatus::Usage, "builder-unknown", message);
                let others = format!(
                    "give one of these names, or a directory with a builder.toml: {}",
                    known.join(", ")
                );
                match crate::builder::definition::meant(&name) {
                    Some(meant) => {
                        error.hint = Some(format!("did you mean `{meant}`?"));
                        error.more_hints = vec![others];
                    }
                    None => error.hint = Some(others),
                }
                error
            }
            E::Misspelt { meant, reference } => Self::new(ExitStatus::Usage, "builder-unknown", message)
                .with_hint(format!(
                    "did you mean `{meant}`? `warpdrive builder list` shows all; an image of a \
                     registry is named in full, as docker.io/library/{reference}"
                )),
            E::NotMade { name } => failure("builder-not-made").with_hint(format!(
                "make it, once: `warpdrive builder build {name}`; or name another image with --builder"
            )),
            E::NoBuilderFits { known, .. } => {
                let known: Vec<String> = known
                    .iter()
                    .map(|(name, python)| format!("{name} (Python {python})"))
                    .collect();
                failure("builder-python").with_hint(format!(
                    "there are {}; `--builder IMAGE` takes any other image with a Python; \
                     or change what the app asks for",
                    known.join(", ")
                ))
            }
            E::NoMmdebstrap => failure("mmdebstrap-missing").with_hint(
                "on Debian and Ubuntu: `sudo apt-get install mmdebstrap uidmap debian-archive-keyring`; \
                 elsewhere pull or import a builder: `warpdrive pull docker.io/library/python:3.13-slim`",
            ),
            E::OldMmdebstrap => failure("mmdebstrap-old").with_hint(
                "make the builder on a newer machine and import it here, or build on an image of a registry; the \
                 last line of `warpdrive doctor` has both commands",
            ),
            E::NoSubordinateIds { name, official } => {
                let mut error = failure("subuid-missing").with_hint(format!(
                    "use an image of a registry: `warpdrive image NAME --builder {official}`"
                ));
                error.more_hints = vec![
                    format!(
                        "or one that another machine made: there `warpdrive export {name} \
                         oci-archive:{name}.tar:{name}`, here `warpdrive import \
                         oci-archive:{name}.tar:{name} {name}`"
                    ),
                    format!(
                        "or ask the administrator for a range: `sudo {}`",
                        give_ids("$USER")
                    ),
                ];
                error
            }
            E::NoOpenPlace { .. } => failure("temporary-directory").with_hint(
                "name one on a disk with 2 GB of room: `TMPDIR=/srv/tmp warpdrive builder build …`",
            ),
            E::Mmdebstrap { status, tail, .. } => {
                let mut error =
                    failure("mmdebstrap-failed").with_hint(mmdebstrap_remedy(&tail));
                error.status = Some(status);
                error.tail = tail;
                error
            }
            E::UvPython { status, tail, .. } => {
                let mut error = failure("uv-python-failed").with_hint(
                    "the lines above are uv's own; it fetches python-build-standalone from GitHub, or from the \
                     mirror that UV_PYTHON_INSTALL_MIRROR names",
                );
                error.status = Some(status);
                error.tail = tail;
                error
            }
            E::NoPython { detail, .. } => failure("builder-without-python").with_hint(format!(
                "a builder is any image with Python 3 ({detail}); `warpdrive builder list` shows \
                 those that can be made here"
            )),
            E::WrongPython { wanted, .. } => failure("builder-python").with_hint(format!(
                "leave --builder out so that one with Python {wanted} is chosen, or change what the app asks for"
            )),
            _ => failure("builder"),
        }
    }
}

impl From<crate::rootfs::RootfsError> for CommandError {
    fn from(error: crate::rootfs::RootfsError) -> Self {
        match error {
            crate::rootfs::RootfsError::Store(error) => error.into(),
            crate::rootfs::RootfsError::Layer {
                source:
                    crate::layer::LayerError::Interrupted | crate::layer::LayerError::NoSpace { .. },
                ..
            } => {
                let message = error.to_string();
                let crate::rootfs::RootfsError::Layer { source, .. } = error else {
                    return Self::new(ExitStatus::Failure, "layer", message);
                };
                let mut error = Self::from(source);
                error.message = message;
                error
            }
            error @ crate::rootfs::RootfsError::Grows { .. } => Self::new(
                ExitStatus::Failure,
                "layer-grows",
                error.to_string(),
            )
            .with_hint(
                "it may be an attack on your disk; WARPDRIVE_MAX_UNPACKED=BYTES allows more for \
                     an image that you trust",
            ),
            error => Self::new(ExitStatus::Failure, "layer", error.to_string()),
        }
    }
}

impl From<crate::layer::LayerError> for CommandError {
    fn from(error: crate::layer::LayerError) -> Self {
        use crate::layer::LayerError as E;
        let message = error.to_string();
        match error {
            E::Interrupted => Self::new(ExitStatus::Interrupted, "interrupted", message),
            E::TooLarge { what: "layer", .. } => {
                Self::new(ExitStatus::Failure, "layer-too-large", message)
                    .with_hint("allow more with --max-layer, or leave large files out of the image")
            }
            E::TooLarge { .. } => Self::new(ExitStatus::Failure, "build-too-large", message)
                .with_hint("allow more with --max-written, or leave large files out of the image"),
            E::TimedOut => Self::new(ExitStatus::Failure, "layer-timeout", message)
                .with_hint("give it more with --timeout, or leave large files out of the image"),
            E::NoSpace { .. } => Self::new(ExitStatus::Failure, "no-space", message).with_hint(
                "`warpdrive prune` frees what no image needs; WARPDRIVE_STORE names another place",
            ),
            _ => Self::new(ExitStatus::Failure, "layer", message),
        }
    }
}

impl From<crate::source::SourceError> for CommandError {
    fn from(error: crate::source::SourceError) -> Self {
        use crate::source::SourceError as E;
        let (exit, code) = match &error {
            E::LooksLikeOption { .. } | E::Url { .. } | E::Reference { .. } => {
                (ExitStatus::Usage, "source-invalid")
            }
            E::NotADirectory { .. } | E::ContextDir { .. } | E::Root { .. } => {
                (ExitStatus::Usage, "source")
            }
            E::Transport { .. } => (ExitStatus::Usage, "source-transport"),
            E::Fetch { .. } | E::TimedOut { .. } => (ExitStatus::Network, "source-fetch"),
            E::NoSuchReference { .. } | E::EmptyRepository { .. } => {
                (ExitStatus::Failure, "source-reference")
            }
            E::Member { .. } | E::TooMuch { .. } => (ExitStatus::Failure, "source-refused"),
            E::Archive { .. } | E::NoArchive { .. } => (ExitStatus::Failure, "source-archive"),
            E::NoGit => (ExitStatus::Failure, "git-missing"),
            E::Interrupted => (ExitStatus::Interrupted, "interrupted"),
            _ => (ExitStatus::Failure, "source"),
        };
        let mut found = Self::new(exit, code, error.to_string());
        found.hint = error.hint();
        match error {
            E::NotADirectory { .. } => found.hint = Some(WHERE_SOURCE_IS.into()),
            E::Fetch { tail, .. } if tail.len() > 1 => found.tail = tail,
            _ => {}
        }
        found
    }
}

const WHERE_SOURCE_IS: &str =
    "--path names the directory with the app; without it, it is the current one";

impl From<Advice> for CommandError {
    fn from(advice: Advice) -> Self {
        let mut error = Self::new(ExitStatus::AppBuildFailed, "app", advice.title);
        let lines = |texts: &[String]| -> Vec<String> {
            let lines = texts.iter().flat_map(|text| text.lines());
            lines.map(str::to_owned).collect()
        };
        error.causes = lines(&advice.causes);
        let mut remedies = lines(&advice.remedies).into_iter();
        error.hint = remedies.next();
        error.more_hints = remedies.collect();
        error.tail = advice.tail;
        error
    }
}

impl From<crate::s2i::S2iError> for CommandError {
    fn from(error: crate::s2i::S2iError) -> Self {
        use crate::s2i::S2iError as E;
        let exit = match error {
            E::Option { .. } | E::Environment { .. } => ExitStatus::Usage,
            E::Metadata { .. } => ExitStatus::AppBuildFailed,
            E::Label { .. } | E::OnBuild { .. } => ExitStatus::Failure,
        };
        Self::new(exit, "s2i", error.to_string())
    }
}

/// What to do where a program of the build came to a bound.
fn of_bound(exit: Exit) -> Option<&'static str> {
    match exit {
        Exit::TimedOut => Some("give it more with --timeout, or find out what it waits for"),
        Exit::WroteTooMuch => Some("allow more with --max-written, or find out what it writes"),
        _ => None,
    }
}

impl From<crate::pipeline::s2i::S2iBuildError> for CommandError {
    fn from(error: crate::pipeline::s2i::S2iBuildError) -> Self {
        use crate::pipeline::s2i::S2iBuildError as E;
        let message = error.to_string();
        let failure = |code| Self::new(ExitStatus::Failure, code, message.clone());
        let usage = |code| Self::new(ExitStatus::Usage, code, message.clone());
        match error {
            E::S2i(error) => error.into(),
            E::Registry(error) => error.into(),
            E::Dockerfile { .. } => failure("dockerfile"),
            E::InTheWay { .. } => {
                failure("dockerfile").with_hint("name a new directory: nothing is overwritten")
            }
            E::Script { exit, tail, .. } => {
                Self::ended(message, exit, tail, &[]).or_hint(of_bound(exit).unwrap_or(
                    "mend what the builder's script printed last; the previous image and the cache are as they were",
                ))
            }
            E::UserRefused { .. } => Self::new(ExitStatus::Refused, "user-refused", message)
                .with_hint("take an image whose USER is a number within the allowed ranges"),
            E::OneUid { .. } | E::OneUidChange { .. } => failure("subuid-missing").with_hint(format!(
                "an administrator can give you a range of subordinate ids (subuid): `sudo {}`; or run as root",
                give_ids("$USER")
            )),
            E::NotInStore { .. } => failure("builder-missing")
                .with_hint("`warpdrive pull` or `warpdrive import` brings it"),
            E::NoScript { .. } | E::NoScriptsAt { .. } => failure("script-missing").with_hint(
                "a builder names its scripts in the label io.openshift.s2i.scripts-url; \
                 --scripts-url or .s2i/bin in the source can bring others",
            ),
            E::ScriptsNotAskedFor { url, host, .. } => {
                Self::new(ExitStatus::Refused, "scripts-refused", message).with_hint(format!(
                    "`s2i build --scripts-url {url}` asks for them, `--scripts-host {host}` allows \
                     this host"
                ))
            }
            E::ScriptsOffline { .. } => usage("scripts-refused")
                .with_hint("fetch them before, and name their directory: --scripts-url file://DIR"),
            E::Download { .. } => Self::new(ExitStatus::Network, "script-unreachable", message),
            E::NoEntrypoint { .. } => {
                Self::new(ExitStatus::AppBuildFailed, "no-entrypoint", message)
            }
            E::ArtifactMissing { .. } | E::Artifact { .. } => {
                Self::new(ExitStatus::AppBuildFailed, "artifact-missing", message)
            }
            E::NoBuilder
            | E::NeedsName
            | E::NotWithOurs { .. }
            | E::Inject { .. }
            | E::Volume { .. }
            | E::Capability { .. }
            | E::NoArtifacts { .. } => usage("s2i"),
            E::User(_) => failure("user-unknown"),
            E::Labels { .. } => failure("labels-too-large"),
            E::NotADirectory { .. } | E::Io { .. } => failure("s2i"),
        }
    }
}

impl From<crate::pipeline::BuildError> for CommandError {
    fn from(error: crate::pipeline::BuildError) -> Self {
        use crate::pipeline::BuildError as E;
        let message = error.to_string();
        match error {
            E::Settings(error) | E::Detect(DetectError::Settings(error)) => Self {
                exit: ExitStatus::Usage,
                code: "setting-invalid",
                ..error.advice().into()
            },
            E::Detect(error) => error.advice().into(),
            E::Lockfile(error) => Self {
                exit: ExitStatus::Usage,
                code: "lockfile",
                ..error.advice().into()
            },
            E::IndexUnreachable { tail, .. } => {
                let mut error = Self::new(ExitStatus::Network, "index-unreachable", message).with_hint(
                    "check the network and HTTPS_PROXY; PIP_INDEX_URL names another index; a build whose \
                     requirements have not changed needs none",
                );
                error.tail = tail;
                error
            }
            E::OfficialUnreachable {
                source, pythons, ..
            } => {
                let mut error = Self::from(source);
                let own = error.hint.take();
                error.message = message;
                error.hint = Some(format!(
                    "without a registry: ask for a Python that a Debian builder has ({}), make a builder with \
                     uv's Python (`warpdrive builder build python-3.12`), or `warpdrive import` the image from a \
                     file and name it with --builder",
                    pythons.join(", ")
                ));
                error.more_hints = own
                    .into_iter()
                    .filter(|hint| !hint.contains("builder build"))
                    .collect();
                error
            }
            E::NotInIndex { .. } => Self::new(ExitStatus::AppBuildFailed, "not-in-index", message)
                .with_hint("lock the project again; a package that the project binds to a place is looked for nowhere else"),
            E::IndexLogin {
                variables,
                has_login,
                ..
            } => {
                let verb = if has_login { "correct" } else { "set" };
                let hint = match variables {
                    Some([user, password]) => {
                        format!("{verb} the variables {user} and {password} for warpdrive, and build again")
                    }
                    None => "give the index a name in the project: its login is then taken from the variables with that name. \
                             Or name the index with its login: UV_DEFAULT_INDEX=https://USER:PASSWORD@HOST/simple"
                        .to_owned(),
                };
                Self::new(ExitStatus::AppBuildFailed, "index-login", message).with_hint(hint)
            }
            E::NothingFits {
                wanted, offered, ..
            } => {
                let has = match offered.len() {
                    0 => "the index has no file of that name with a SHA-256".to_owned(),
                    count => format!(
                        "the index has {}{}",
                        offered.iter().take(5).cloned().collect::<Vec<_>>().join(", "),
                        if count > 5 { " and others" } else { "" }
                    ),
                };
                let asked = if wanted.is_empty() {
                    String::new()
                } else {
                    format!("asked for is {wanted}; ")
                };
                Self::new(ExitStatus::AppBuildFailed, "not-in-index", message).with_hint(format!(
                    "{asked}{has}; change the version or the index in the project, which binds it to this index alone"
                ))
            }
            E::NoVersion { ref variable, .. } => {
                let hint = format!("give the version: --build-env {variable}=VERSION");
                Self::new(ExitStatus::AppBuildFailed, "no-version", message).with_hint(hint)
            }
            E::NoNetwork { .. } => Self::new(ExitStatus::AppBuildFailed, "no-network", message)
                .with_hint("build once without --network none: the store keeps what is fetched"),
            E::LocalPython { .. } => Self::new(ExitStatus::AppBuildFailed, "no-python", message)
                .with_hint("make the virtual environment again: warpdrive project --create NAME"),
            E::Smoke(advice) => Self {
                code: "smoke-failed",
                ..(*advice).into()
            },
            E::BuilderOnly { .. } => Self::new(ExitStatus::AppBuildFailed, "smoke-failed", message)
                .with_hint("build with --runtime-image builder"),
            E::S2iBuild(error) => error.into(),
            E::Builder(error) => error.into(),
            E::Pod(error) => error.into(),
            E::OtherBase { .. } => Self::new(ExitStatus::Refused, "base-other", message).with_hint(
                "build and push in the same image, named by its digest: the base may have been pushed again between",
            ),
            E::OtherDependencies { .. } => Self::new(ExitStatus::Refused, "dependencies-other", message)
                .with_hint("give all steps the same source, image and options, and the volume to the dependency step alone for writing"),
            E::OnlyDependencies => Self::new(ExitStatus::Failure, "only-dependencies", message),
            E::OtherContent { .. } => Self::new(ExitStatus::Refused, "layer-other", message)
                .with_hint("what the build step wrote was changed: look into the code that ran in it"),
            E::Source(error) => error.into(),
            E::Store(error) => error.into(),
            E::Rootfs(error) => error.into(),
            E::Layer(error) => error.into(),
            E::Sandbox(error) => error.into(),
            E::Registry(error) => error.into(),
            E::Transport(error) => error.into(),
            E::Oci(error) => error.into(),
            E::Cache(error) => error.into(),
            E::NeedsSandbox { .. } => Self::new(ExitStatus::Failure, "needs-sandbox", message).with_hint(
                "remove --sandbox never where `warpdrive doctor` says that a sandbox works; elsewhere fill a cache on \
                 another machine (--cache-to), and read it here (--cache-from)",
            ),
            E::Unassembled(error) => {
                use crate::app::advice::Explain as _;
                error.advice().into()
            }
            E::Interrupted => Self::new(ExitStatus::Interrupted, "interrupted", message),
            E::Assemble {
                exit,
                tail,
                withheld,
                lacking,
                ..
            } => {
                Self::ended(message, exit, tail, &withheld).lacking(lacking).or_hint(of_bound(exit).unwrap_or(
                    "correct what its last lines name, and build again; the previous image is as it was, and -v says more about what was done",
                ))
            }
            E::Assets { exit, tail, .. } => Self {
                code: "assets-failed",
                ..Self::ended(message, exit, tail, &[])
            }
            .or_hint("correct what it printed last; `assets = \"off\"` in [tool.warpdrive] builds without it"),
            E::NoNode { reference, .. } => {
                let mut error = Self::new(ExitStatus::AppBuildFailed, "node-missing", message);
                error.causes = vec![format!("{reference} has no Node, and debian-13-python-3.13-node is not made.")];
                error.hint = Some("`warpdrive builder build debian-13-python-3.13-node` makes a builder with Debian's Node and npm".into());
                error.more_hints = vec![
                    "`assets_builder` in [tool.warpdrive], or WARPDRIVE_ASSETS_BUILDER, names another image with both".into(),
                    "`assets = \"off\"` builds without it, where the built files are in the source or are not needed".into(),
                ];
                error
            }
            E::AssetsLock { .. } => Self::new(ExitStatus::AppBuildFailed, "assets-lock", message)
                .with_hint("lock it with npm, pnpm or yarn; or build it before, and set `assets = \"off\"` in [tool.warpdrive]"),
            E::AptLine { .. } => Self::new(ExitStatus::AppBuildFailed, "apt-line", message)
                .with_hint("write names of packages of Debian, one to a line; other repositories are not read"),
            E::AptBase { place, packages, .. } => Self::new(ExitStatus::AppBuildFailed, "apt-base", message)
                .with_hint(format!(
                    "build as root on a machine with mmdebstrap, or on an image that has {}, and remove them from {place}",
                    packages.join(", ")
                )),
            E::NoAssets { .. } => Self::new(ExitStatus::AppBuildFailed, "assets-empty", message)
                .with_hint("name the directory of the package.json to build: `assets = [\"DIR\"]` in [tool.warpdrive]; `assets = \"off\"` builds none"),
            E::Wheel { .. } => Self::new(ExitStatus::AppBuildFailed, "wheel-refused", message)
                .with_hint(
                    "nothing of it was installed; remove the package from the requirements, and tell \
                     those who publish it",
                ),
            E::BuilderNotAllowed { used, ref reference, .. } => {
                let once = used.option().map_or_else(String::new, |option| {
                    format!("`{option} {reference}` takes it for this build; ")
                });
                let hint = format!(
                    "{once}`--allow-builder {reference}` and WARPDRIVE_ALLOWED_BUILDERS let sources name it"
                );
                Self::new(ExitStatus::Refused, "builder-not-allowed", message).with_hint(hint)
            }
            E::NoRecord { .. } => Self::new(ExitStatus::Failure, "no-build-record", message)
                .with_hint("build the image again with this release of warpdrive, which writes a record"),
            E::NotPulled { .. } => Self::new(ExitStatus::Failure, "builder-missing", message)
                .with_hint("`warpdrive pull` or `warpdrive import` brings it; `--pull missing` lets the build fetch it"),
            E::NoSuchBuilder { .. } => Self::new(ExitStatus::Failure, "builder-missing", message)
                .with_hint("`warpdrive import` or `warpdrive pull` brings it into the store"),
            E::OtherSource { commit, .. } => {
                let error = Self::new(ExitStatus::Failure, "source-differs", message);
                match commit {
                    Some(commit) => error.with_hint(format!(
                        "check it out (`git checkout {commit}`), and name the directory with --source"
                    )),
                    None => error.with_hint("--source names the directory"),
                }
            }
            E::Audit(error) => error.into(),
            E::AuditRefused { findings, .. } => {
                let mut error = Self::new(ExitStatus::Refused, "audit-refused", message);
                error.tail = findings;
                error.with_hint(
                    "nothing was named, copied or pushed; `warpdrive audit --rules` lists the rules, \
                     --harden removes setuid programs of the base, and a policy can excuse a finding",
                )
            }
            E::SecretInImage { .. } => Self::new(ExitStatus::Refused, "secret-in-image", message)
                .with_hint(
                    "no image was made; find out which step writes it (a configuration file that it leaves, a URL with a \
                     login, a log), and read secrets from /run/secrets only",
                ),
            E::NoLock => Self::new(ExitStatus::Failure, "no-lock", message).with_hint(
                "the image is made; `uv lock` or `uv pip compile --format pylock.toml` can lock what is built \
                 from source, too",
            ),
            E::EmptySource { .. } => {
                Self::new(ExitStatus::Usage, "source", message).with_hint(WHERE_SOURCE_IS)
            }
            E::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => Self::new(
                ExitStatus::Failure,
                "disk-full",
                message,
            )
            .with_hint(
                "free some space with `warpdrive prune`, or point WARPDRIVE_STORE to another disk",
            ),
            E::TreesGone => Self::new(ExitStatus::Failure, "build", message)
                .with_hint("build again: what is missing is installed again"),
            E::NoInstaller { .. }
            | E::Write { .. }
            | E::Read { .. }
            | E::Threads(_)
            | E::NoPlan => {
                Self::new(ExitStatus::Failure, "build", message)
            }
        }
    }
}

impl From<crate::audit::AuditError> for CommandError {
    fn from(error: crate::audit::AuditError) -> Self {
        use crate::audit::AuditError;
        let message = error.to_string();
        match error {
            AuditError::Store(error) => error.into(),
            AuditError::Oci(error) => error.into(),
            AuditError::Interrupted => Self::new(ExitStatus::Interrupted, "interrupted", message),
            AuditError::TimedOut => Self::new(ExitStatus::Failure, "audit-timeout", message)
                .with_hint("allow more time with --timeout, or leave large files out of the image"),
            AuditError::Policy(_) => Self::new(ExitStatus::Usage, "policy-invalid", message),
            AuditError::NoSuchImage { .. } => {
                Self::new(ExitStatus::Failure, "image-missing", message)
            }
            _ => Self::new(ExitStatus::Failure, "audit-failed", message)
                .with_hint("the image was not judged; run it again with -v"),
        }
    }
}
