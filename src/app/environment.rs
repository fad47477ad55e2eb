//! `.warpdrive/environment` and the `*-env` hooks: variables for the build and the running app.
//!
//! `environment` is a list of `NAME=value` lines with `$V`, `${V}`, `${V:-default}`; what needs more
//! than that is a shell script, and is run as one (the original sourced it). A variable that the
//! environment has already keeps its value, unless the line extends it (`PATH=x:$PATH`); what a hook
//! sets, wins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::advice::{Advice, Explain};
use super::files::Files;
use super::server::expand;

/// Where the file lies in the source.
pub const FILE: &str = ".warpdrive/environment";

pub type Environment = BTreeMap<String, String>;

#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    #[error("{path} is not UTF-8 (byte {offset})")]
    NotText { path: String, offset: usize },
    #[error("{path} failed with status {status}")]
    Failed { path: PathBuf, status: i32 },
    #[error("{path} cannot be run")]
    Run {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Explain for EnvironmentError {
    fn advice(&self) -> Advice {
        let advice = Advice::new(self.to_string());
        match self {
            EnvironmentError::NotText { .. } => {
                advice.remedy("save the file as UTF-8 (`iconv -t UTF-8` converts it)")
            }
            EnvironmentError::Failed { path, .. } => {
                advice.remedy(format!("run it by hand: sh -ex {}", path.display()))
            }
            EnvironmentError::Run { source, .. } => advice.cause(source.to_string()),
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
        let words = super::server::split(&value).ok()?;
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

/// Whether a quote is open at the end, and whether one of `special` stands outside of quotes.
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

/// The file's variables where it is no script: for a plan, before anything runs.
///
/// # Errors
/// If it is not UTF-8.
pub fn plain(files: &dyn Files) -> Result<Environment, EnvironmentError> {
    let Some(bytes) = files.read(FILE) else {
        return Ok(Environment::new());
    };
    let text = text(&bytes, FILE)?;
    let mut environment = Environment::new();
    for assignment in parse(text).unwrap_or_default() {
        let value = value_of(&assignment, &environment);
        environment.insert(assignment.name, value);
    }
    Ok(environment)
}

fn text<'b>(bytes: &'b [u8], path: &str) -> Result<&'b str, EnvironmentError> {
    std::str::from_utf8(bytes).map_err(|error| EnvironmentError::NotText {
        path: path.to_owned(),
        offset: error.valid_up_to(),
    })
}

/// Adds the file's variables to `environment`.
///
/// # Errors
/// If it is not UTF-8, or a script that fails.
pub fn apply_file(environment: &mut Environment, source: &Path) -> Result<(), EnvironmentError> {
    let path = source.join(FILE);
    let Ok(bytes) = std::fs::read(&path) else {
        return Ok(());
    };
    match parse(text(&bytes, FILE)?) {
        Some(assignments) => {
            let given = environment.clone();
            for assignment in assignments {
                let extends = mentions(&assignment.value, &assignment.name);
                if given.contains_key(&assignment.name) && !extends {
                    continue;
                }
                let value = value_of(&assignment, environment);
                environment.insert(assignment.name, value);
            }
            Ok(())
        }
        None => apply_script(environment, &path, source, true),
    }
}

fn mentions(value: &str, name: &str) -> bool {
    value.match_indices(name).any(|(at, _)| {
        let before = &value[..at];
        let after = value[at + name.len()..].chars().next();
        (before.ends_with('$') || before.ends_with("${"))
            && !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// Runs a script in a shell that exports all it sets, and takes over its environment.
/// `keep`: variables that are set already keep their values.
///
/// # Errors
/// If it cannot be run or fails.
pub fn apply_script(
    environment: &mut Environment,
    script: &Path,
    directory: &Path,
    keep: bool,
) -> Result<(), EnvironmentError> {
    let run = |source| EnvironmentError::Run {
        path: script.to_owned(),
        source,
    };
    // What `cat` was started with is the shell's environment, names and values to the byte.
    let output = Command::new("/bin/sh")
        .args([
            "-c",
            "set -ea; . \"$1\" 1>&2; exec cat /proc/self/environ",
            "sh",
        ])
        .arg(script)
        .env_clear()
        .envs(environment.iter())
        .current_dir(directory)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(run)?;
    if !output.status.success() {
        return Err(EnvironmentError::Failed {
            path: script.to_owned(),
            status: super::process::status_of(output.status),
        });
    }
    for pair in output.stdout.split(|byte| *byte == 0) {
        let Some(split) = pair.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let name = String::from_utf8_lossy(&pair[..split]).into_owned();
        let value = String::from_utf8_lossy(&pair[split + 1..]).into_owned();
        if matches!(name.as_str(), "_" | "PWD" | "OLDPWD" | "SHLVL")
            || (keep && environment.contains_key(&name) && name != "PATH")
        {
            continue;
        }
        environment.insert(name, value);
    }
    Ok(())
}

/// A value in single quotes, for `eval`.
pub fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mut environment = Environment::from([
            ("PATH".to_owned(), "/bin".to_owned()),
            ("SET".to_owned(), "given".to_owned()),
        ]);
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(".warpdrive")).unwrap();
        std::fs::write(
            directory.path().join(FILE),
            "# comment\nA=1\nexport B='two words'\nC=\"$A-$B\"\nD=${X:-none} # why\nSET=file\nPATH=/x:$PATH\nE='a\nb'\nF=$A/b\n",
        )
        .unwrap();
        apply_file(&mut environment, directory.path()).unwrap();
        for (name, value) in [
            ("A", "1"),
            ("B", "two words"),
            ("C", "1-two words"),
            ("D", "none"),
            ("SET", "given"),
            ("PATH", "/x:/bin"),
            ("E", "a\nb"),
            ("F", "1/b"),
        ] {
            assert_eq!(
                environment.get(name).map(String::as_str),
                Some(value),
                "{name}"
            );
        }
    }

    #[test]
    fn a_script_is_run() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(".warpdrive")).unwrap();
        let file = directory.path().join(FILE);
        std::fs::write(
            &file,
            "if true; then A=$(echo x); fi\necho noise\nB='1\n2'\n",
        )
        .unwrap();
        let mut environment = Environment::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        apply_file(&mut environment, directory.path()).unwrap();
        assert_eq!(environment["A"], "x");
        assert_eq!(environment["B"], "1\n2");
        std::fs::write(&file, "if true; then exit 7; fi").unwrap();
        let error = apply_file(&mut environment, directory.path()).unwrap_err();
        assert!(
            matches!(error, EnvironmentError::Failed { status: 7, .. }),
            "{error}"
        );
        std::fs::write(&file, b"A=\xff").unwrap();
        let error = apply_file(&mut environment, directory.path()).unwrap_err();
        assert_eq!(
            error.to_string(),
            ".warpdrive/environment is not UTF-8 (byte 2)"
        );
    }

    #[test]
    fn quoting() {
        assert_eq!(quote("it's\n"), "'it'\\''s\n'");
    }
}
