//! The one catalogue of errors: what each means to a person, and its exit code.
//!
//! Libraries say what happened; here it becomes a title, a cause, a remedy. A new error type gets
//! its `From` below, so that `?` works in every command.

use std::io::{self, Write};

use serde_json::json;

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

/// An error as a person (or `--json`) sees it.
#[derive(Debug)]
pub(super) struct CommandError {
    pub(super) exit: ExitStatus,
    /// A stable word for programs: `name-invalid`, `builder-missing`, `assemble-failed` …
    pub(super) code: &'static str,
    /// What was being done and what was wrong, without a final full stop.
    pub(super) message: String,
    /// What to do next.
    pub(super) hint: Option<String>,
    /// The failing program's own exit status.
    pub(super) status: Option<i32>,
    /// The failing program's last lines of output.
    pub(super) tail: Vec<String>,
}

impl CommandError {
    pub(super) fn new(exit: ExitStatus, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code,
            message: message.into(),
            hint: None,
            status: None,
            tail: Vec::new(),
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

    /// Prints it: as JSON on stdout where that was asked for, as prose on stderr always.
    pub(super) fn report(&self, printer: &Printer, as_json: bool) {
        if as_json {
            printer.json(&json!({"error": {
                "code": self.code,
                "message": self.message,
                "hint": self.hint,
                "status": self.status,
            }}));
        }
        let mut out = io::stderr().lock();
        let _ = writeln!(out, "{}: {}", printer.paint("1;31", "error"), self.message);
        for line in &self.tail {
            let _ = writeln!(out, "  | {line}");
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(out, "\n{}: {hint}", printer.paint("1;36", "hint"));
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
        Self::new(ExitStatus::Failure, "store", error.to_string())
    }
}

impl From<crate::audit::AuditError> for CommandError {
    fn from(error: crate::audit::AuditError) -> Self {
        use crate::audit::AuditError;
        let message = error.to_string();
        match error {
            AuditError::Store(error) => error.into(),
            AuditError::Oci(error) => error.into(),
            AuditError::Policy(_) => Self::new(ExitStatus::Usage, "policy-invalid", message),
            AuditError::NoSuchImage { .. } => {
                Self::new(ExitStatus::Failure, "image-unknown", message)
            }
            _ => Self::new(ExitStatus::Failure, "audit-failed", message)
                .with_hint("the image was not judged: this is no pass"),
        }
    }
}
