//! What the app commands print: progress on stdout as the original did (S2I shows an assemble
//! script's stdout), warnings and errors on stderr.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{self, Write as _};

use crate::app::advice::Advice;
use crate::app::progress::Progress;

/// Prints progress.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// Progress goes to stderr: stdout has a result.
    pub to_stderr: bool,
}

impl Words {
    /// A result.
    pub fn out(self, text: &str) {
        // A closed pipe is no failure of ours.
        let _ = writeln!(io::stdout(), "{text}");
    }

    pub fn failure(self, text: &str) {
        print_advice(&Advice::new(text));
    }

    fn line(self, text: &str) {
        let _ = if self.to_stderr {
            writeln!(io::stderr(), "{text}")
        } else {
            writeln!(io::stdout(), "{text}")
        };
    }
}

impl Progress for Words {
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
        let _ = writeln!(io::stderr(), "WARNING: {text}");
    }
}

/// Prints an error as a block on stderr.
pub fn print_advice(advice: &Advice) {
    let _ = write!(io::stderr(), "{advice}");
}
