//! `.warpdrive/environment` and the `*-env` hooks: variables for the build and the running app.
//!
//! They are shell fragments, read by a shell ([`evaluate`]). Variables that the caller sets (`-e`, the
//! caller's environment) come before those of the files, unless a file looks at them: `A=${A:-1}`,
//! `OPTIONS="$OPTIONS --more"`, `PATH=/x:$PATH` ([`evaluate`] tells by [`Evaluated::looks_at`]). In the
//! original the files came first. [`plain`] reads files that have only assignments, without a shell,
//! for a plan before anything runs.

mod file;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::advice::{Advice, Explain};
use super::files::Files;
use super::shell_words::expand;

pub use file::{Evaluated, evaluate};

/// The file's path in the source.
pub const FILE: &str = ".warpdrive/environment";
/// More variables for the build, on top of it.
pub const BUILD_FILE: &str = ".warpdrive/action_hooks/build-env";
/// More variables for the running application, on top of it.
pub const DEPLOY_FILE: &str = ".warpdrive/action_hooks/deploy-env";

pub type Environment = BTreeMap<String, String>;

#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("{} is not UTF-8 (byte {offset})", path.display())]
    NotText { path: PathBuf, offset: usize },
    #[error("{} has Windows line ends (line {line})", path.display())]
    LineEnds { path: PathBuf, line: usize },
    #[error("{} starts with a byte order mark", path.display())]
    ByteOrderMark { path: PathBuf },
    #[error("{} failed: the shell that read it ended with status {status}", path.display())]
    Failed { path: PathBuf, status: i32 },
    #[error("cannot run /bin/sh to read {}: {source}", path.display())]
    Run {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl Explain for EnvironmentError {
    fn advice(&self) -> Advice {
        let advice = Advice::new(self.to_string());
        match self {
            Self::NotText { .. } => {
                advice.remedy("save the file as UTF-8 (`iconv -t UTF-8` converts it)")
            }
            Self::LineEnds { path, .. } => {
                advice.remedy(format!("sed -i 's/\\r$//' {}", path.display()))
            }
            Self::ByteOrderMark { path } => {
                let path = path.display();
                advice.remedy(format!("sed -i '1s/^\\xEF\\xBB\\xBF//' {path}"))
            }
            Self::Failed { path, .. } => advice
                .cause("What the shell says about it is shown above.")
                .remedy(format!("run it by hand: sh -ex {}", path.display())),
            Self::Read { .. } | Self::TooLarge { .. } | Self::Run { .. } => advice,
        }
    }
}

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Assignment {
    name: String,
    /// As written, with quotes.
    value: String,
}

/// Reads the lines; `None` if it is a script.
fn parse(text: &str) -> Option<Vec<Assignment>> {
    let mut assignments = Vec::new();
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (name, value) = line.split_once('=')?;
        let valid = !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if !valid || value.contains("$(") || value.contains('`') {
            return None;
        }
        // A quoted value may go on over lines.
        let mut value = value.to_owned();
        while open_quote(&value) {
            value.push('\n');
            value.push_str(lines.next()?);
        }
        // `A=1 command`, `A=1; B=2`: a script.
        let words = super::shell_words::split(&value).ok()?;
        if words.len() > 1 || unquoted(&value, &[';', '&', '|', '<', '>', '(']) {
            return None;
        }
        assignments.push(Assignment {
            name: name.to_owned(),
            value,
        });
    }
    Some(assignments)
}

fn open_quote(text: &str) -> bool {
    scan(text, &[]).0
}

fn unquoted(text: &str, special: &[char]) -> bool {
    scan(text, special).1
}

/// Whether a quote is open at the end, and whether one of `special` is outside quotes.
fn scan(text: &str, special: &[char]) -> (bool, bool) {
    let mut quote = None;
    let mut found = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None | Some('"'), '\\') => {
                characters.next();
            }
            (None, other) if special.contains(&other) => found = true,
            _ => {}
        }
    }
    (quote.is_some(), found)
}

/// The value after quotes and variables.
fn value_of(assignment: &Assignment, environment: &Environment) -> String {
    // Unquoted expansions do not split in an assignment, so the value is expanded as one word.
    let value = &assignment.value;
    if value.contains(['"', '\'', '\\']) {
        expand(value, environment).map_or_else(|_| value.clone(), |words| words.join(" "))
    } else {
        let value = value.split(" #").next().unwrap_or(value).trim();
        expand(&format!("\"{value}\""), environment)
            .map_or_else(|_| value.to_owned(), |words| words.join(" "))
    }
}

/// A file's variables where it is not a script: for a plan, before anything runs.
///
/// # Errors
/// If it is not UTF-8.
pub fn plain(files: &dyn Files, path: &str) -> Result<Environment, EnvironmentError> {
    let Some(bytes) = files.read(path) else {
        return Ok(Environment::new());
    };
    let text = text(&bytes, Path::new(path))?;
    let mut environment = Environment::new();
    for assignment in parse(text).unwrap_or_default() {
        let value = value_of(&assignment, &environment);
        environment.insert(assignment.name, value);
    }
    Ok(environment)
}

/// The names that the file sets; `None` if it is a script, whose result is not known before it runs.
pub fn plain_names(files: &dyn Files) -> Option<Vec<String>> {
    let Some(bytes) = files.read(FILE) else {
        return Some(Vec::new());
    };
    let assignments = parse(std::str::from_utf8(&bytes).ok()?)?;
    Some(assignments.into_iter().map(|a| a.name).collect())
}

fn text<'b>(bytes: &'b [u8], path: &Path) -> Result<&'b str, EnvironmentError> {
    std::str::from_utf8(bytes).map_err(|error| EnvironmentError::NotText {
        path: path.to_owned(),
        offset: error.valid_up_to(),
    })
}

/// Adds the variables that a fragment sets to `environment`, and removes those that it unsets.
/// Variables that the caller has `said` do not change, unless the fragment looks at them. Returns
/// the status of the fragment's last command, which may not mean anything; 0 if the file is
/// missing.
///
/// # Errors
/// If it is not text, or ends the shell.
pub fn apply(
    environment: &mut Environment,
    path: &Path,
    directory: &Path,
    said: &dyn Fn(&str) -> bool,
) -> Result<i32, EnvironmentError> {
    let variables = environment
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let Some(found) = evaluate(path, directory, &variables)? else {
        return Ok(0);
    };
    let text = |word: OsString| word.to_string_lossy().into_owned();
    let mut after = Environment::new();
    for (name, value) in &found.variables {
        let (name, value) = (text(name.clone()), text(value.clone()));
        let kept = match environment.get(&name) {
            Some(old) if said(&name) && !found.looks_at(&name) => old.clone(),
            _ => value,
        };
        after.insert(name, kept);
    }
    *environment = after;
    Ok(found.status)
}

/// A value in single quotes, for `eval`.
pub fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

/// A command line for a shell: words in quotes where they need them.
pub fn quote_words(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    let words: Vec<String> = words
        .iter()
        .map(|word| match word.as_str() {
            text if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
            text => quote(text),
        })
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::files::Memory;
    use super::*;

    #[test]
    fn what_can_be_read_without_a_shell() {
        let text = "# comment\nA=1\nexport B='two words'\nC=\"$A-$B\"\nD=${X:-none} # why\nE='a\nb'\nF=$A/b\n";
        let found = plain(&Memory::new().with(FILE, text), FILE).unwrap();
        for (name, value) in [
            ("A", "1"),
            ("B", "two words"),
            ("C", "1-two words"),
            ("D", "none"),
            ("E", "a\nb"),
            ("F", "1/b"),
        ] {
            assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
        }
    }

    #[test]
    fn a_shell_says_the_same_and_more() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("environment");
        let text = "A=1\nC=\"$A-$GIVEN\"\nif true; then S=$(echo x); fi\nPATH=/x:$PATH\nunset GONE\nSET=file\n# $SAID\nSAID=file\nLOOKED=\"${LOOKED:-x} more\"\n";
        std::fs::write(&file, text).unwrap();
        let pairs = [
            ("PATH", "/usr/bin:/bin"),
            ("GIVEN", "g"),
            ("GONE", "1"),
            ("SET", "given"),
            ("SAID", "caller"),
            ("LOOKED", "caller"),
        ];
        let mut environment: Environment = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let said = |name: &str| matches!(name, "SAID" | "LOOKED" | "PATH");
        assert_eq!(
            apply(&mut environment, &file, directory.path(), &said).unwrap(),
            0
        );
        for (name, value) in [
            ("A", "1"),
            ("C", "1-g"),
            ("S", "x"),
            ("PATH", "/x:/usr/bin:/bin"),
            ("SET", "file"),
            ("SAID", "caller"),
            ("LOOKED", "caller more"),
        ] {
            assert_eq!(
                environment.get(name).map(String::as_str),
                Some(value),
                "{name}"
            );
        }
        assert!(!environment.contains_key("GONE"));
        std::fs::write(&file, "if true; then exit 7; fi").unwrap();
        let error = apply(&mut environment, &file, directory.path(), &said).unwrap_err();
        assert!(matches!(error, EnvironmentError::Failed { status: 7, .. }));
    }
}
