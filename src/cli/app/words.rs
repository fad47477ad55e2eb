//! Words of the app commands: lines and errors on stderr.

use std::io::{self, Write as _};

use crate::app::run::RunError;
use crate::app::run::fixup::FixupError;

/// A line for the user.
pub(super) fn tell(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// An error as it is shown, and the exit code that it means.
pub(super) struct Words {
    pub(super) code: u8,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Words {
    pub(super) fn new(code: u8, message: String) -> Self {
        Self {
            code,
            message,
            hint: None,
        }
    }

    /// Everything was said already.
    pub(super) fn said(code: u8) -> Self {
        Self::new(code, String::new())
    }

    /// Shows it.
    pub(super) fn report(&self) -> u8 {
        if self.message.is_empty() {
            return self.code;
        }
        tell(&format!("error: {}", self.message));
        if let Some(hint) = &self.hint {
            tell(&format!("\nhint: {hint}"));
        }
        self.code
    }
}

impl From<RunError> for Words {
    fn from(error: RunError) -> Words {
        Words {
            code: error.exit_code(),
            message: error.to_string(),
            hint: error.hint(),
        }
    }
}

impl From<FixupError> for Words {
    fn from(error: FixupError) -> Words {
        Words {
            code: 1,
            message: error.to_string(),
            hint: None,
        }
    }
}

impl From<io::Error> for Words {
    fn from(error: io::Error) -> Words {
        Words {
            code: 1,
            message: error.to_string(),
            hint: None,
        }
    }
}
