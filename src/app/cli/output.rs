//! Output of the app commands. Progress goes to stdout where S2I shows it (`assemble`, `build`), and
//! to stderr where stdout belongs to a result or a program. Errors are a block on stderr.

use std::io::{self, Write as _};

use crate::DetectError;
use crate::advice::{Advice, Explain};
use crate::assemble::AssembleError;
use crate::fixup::FixupError;
use crate::progress::StepProgress;
use crate::run::RunError;

/// Shows progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Stdout,
    Stderr,
}

impl Output {
    fn line(self, text: &str) {
        // A closed pipe is not an error here.
        let _ = match self {
            Self::Stdout => writeln!(io::stdout().lock(), "{text}"),
            Self::Stderr => writeln!(io::stderr().lock(), "{text}"),
        };
    }
}

impl StepProgress for Output {
    fn stage(&self, text: &str) {
        self.line(&format!("---> {text}"));
    }

    fn step(&self, text: &str) {
        self.line(&format!(" -----> {text}"));
    }

    fn note(&self, text: &str) {
        self.line(&format!("        {text}"));
    }

    fn warn(&self, text: &str) {
        Self::Stderr.line(&format!("WARNING: {text}"));
    }

    fn advise(&self, advice: &Advice) {
        Self::Stderr.line(advice.to_string().trim_end());
    }
}

/// A line of a result.
pub(super) fn result(line: &str) {
    Output::Stdout.line(line);
}

/// An error as text, with its exit code.
pub(super) struct Failure {
    code: u8,
    /// Boxed: it is large, and rare. `None`: the status is enough.
    advice: Option<Box<Advice>>,
}

impl Failure {
    pub(super) fn new(code: u8, advice: Advice) -> Failure {
        Failure {
            code,
            advice: Some(Box::new(advice)),
        }
    }

    #[must_use]
    pub(super) fn with_code(self, code: u8) -> Failure {
        Failure { code, ..self }
    }

    /// Shows it.
    pub(super) fn report(&self) -> u8 {
        if let Some(advice) = &self.advice {
            let _ = write!(io::stderr().lock(), "{advice}");
        }
        self.code
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        Failure::new(error.exit_code(), error.advice())
    }
}

impl From<AssembleError> for Failure {
    fn from(error: AssembleError) -> Failure {
        let code = match &error {
            AssembleError::Detect(error) if matches!(**error, DetectError::Settings(_)) => 2,
            error => u8::try_from(error.status()).unwrap_or(1),
        };
        // The pipeline calls again with permission to build; there is nothing to report.
        if matches!(error, AssembleError::NeedsSdists { .. }) {
            return Failure { code, advice: None };
        }
        Failure::new(code, error.advice())
    }
}

impl From<FixupError> for Failure {
    fn from(error: FixupError) -> Failure {
        Failure::new(1, Advice::new(error.to_string()))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::new(1, Advice::new(error.to_string()))
    }
}
