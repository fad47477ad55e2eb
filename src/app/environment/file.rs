//! `.warpdrive/environment` and similar files: shell fragments whose assignments become variables
//! of every program. `/bin/sh` reads them with `set -a`, so that all its logic works and everything
//! is exported (the original forgot that at deployment).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::EnvironmentError;
use crate::process::UntilEnd;

/// Largest file, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Largest environment, in bytes.
const MAX_OUTPUT: u64 = 8 << 20;

/// The shell's own variables, not the application's.
const SHELL_VARIABLES: &[&str] = &["PWD", "OLDPWD", "SHLVL", "_"];

/// Reads `$1` and prints the status of its last command and the variables, separated by NUL. What
/// the fragment itself prints goes to stderr; `command -p` finds `env` even if it changed PATH.
const SCRIPT: &str = r#"set -a; . "$1" 1>&2; printf '%s\0' "$?"; command -p env -0"#;

/// What a fragment leaves.
#[derive(Debug, PartialEq, Eq)]
pub struct Evaluated {
    pub variables: BTreeMap<OsString, OsString>,
    /// The status of its last command. It does not prove a failure: `[ -n "$X" ] && Y=1` is not
    /// one.
    pub status: i32,
    /// The fragment's text, without its comments.
    text: String,
}

impl Evaluated {
    /// Whether the fragment contains `$NAME` or `${NAME…`: then it has used the caller's value,
    /// and its own result counts.
    pub fn looks_at(&self, name: &str) -> bool {
        ["$", "${"].iter().any(|before| {
            let word = format!("{before}{name}");
            self.text.match_indices(&word).any(|(at, _)| {
                !self.text[at + word.len()..]
                    .starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            })
        })
    }
}

/// Evaluates `path` in `directory` with `variables` set. `None` if there is no such file.
///
/// # Errors
/// If it is not text, or the shell ends before the end of the file (a syntax error, `exit`).
pub fn evaluate(
    path: &Path,
    directory: &Path,
    variables: &BTreeMap<OsString, OsString>,
) -> Result<Option<Evaluated>, EnvironmentError> {
    let Some(text) = check(path)? else {
        return Ok(None);
    };
    let shell = |source| EnvironmentError::Run {
        path: path.to_owned(),
        source,
    };
    let mut child = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "sh"])
        .arg(path)
        .current_dir(directory)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(shell)?;
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        UntilEnd::of(&child, stdout)
            .take(MAX_OUTPUT)
            .read_to_end(&mut output)
            .map_err(shell)?;
    }
    let ended = child.wait().map_err(shell)?;
    let failed = |status| EnvironmentError::Failed {
        path: path.to_owned(),
        status,
    };
    let mut parts = output.split(|byte| *byte == 0);
    let status = parts
        .next()
        .and_then(|word| std::str::from_utf8(word).ok())
        .and_then(|word| word.parse().ok())
        .filter(|_| ended.success())
        .ok_or_else(|| failed(ended.code().unwrap_or(128)))?;
    let mut found: BTreeMap<OsString, OsString> = parts
        .filter_map(|part| {
            let at = part
                .iter()
                .position(|byte| *byte == b'=')
                .filter(|at| *at > 0)?;
            let name = OsStr::from_bytes(&part[..at]).to_owned();
            Some((name, OsStr::from_bytes(&part[at + 1..]).to_owned()))
        })
        .collect();
    for name in SHELL_VARIABLES {
        let name = OsStr::new(name);
        found.remove(name);
        if let Some(value) = variables.get(name) {
            found.insert(name.to_owned(), value.clone());
        }
    }
    Ok(Some(Evaluated {
        variables: found,
        status,
        text,
    }))
}

/// The file without its comments, if it exists; an error for text that no shell would read as
/// intended.
fn check(path: &Path) -> Result<Option<String>, EnvironmentError> {
    let read = |source| EnvironmentError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
        Err(error) => return Err(read(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(read)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(EnvironmentError::TooLarge {
            path: path.to_owned(),
            limit: MAX_FILE,
        });
    }
    let text = super::text(&bytes, path)?;
    if text.starts_with('\u{feff}') {
        return Err(EnvironmentError::ByteOrderMark {
            path: path.to_owned(),
        });
    }
    if let Some(line) = text.split('\n').position(|line| line.ends_with('\r')) {
        return Err(EnvironmentError::LineEnds {
            path: path.to_owned(),
            line: line + 1,
        });
    }
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    Ok(Some(code.collect::<Vec<_>>().join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<OsString, OsString> {
        pairs.iter().map(|(n, v)| (n.into(), v.into())).collect()
    }

    fn read(
        content: impl AsRef<[u8]>,
        before: &[(&str, &str)],
    ) -> Result<Evaluated, EnvironmentError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("environment");
        std::fs::write(&path, content).unwrap();
        evaluate(&path, directory.path(), &variables(before)).map(Option::unwrap)
    }

    #[test]
    fn full_shell_logic_and_everything_is_exported() {
        let found = read(
            "A=1\nB=\"${B:-none} and $A\"\nif [ \"$MODE\" = x ]; then C=$(echo d); fi\nM='one\ntwo='\n\
             unset GONE\nPATH=/nowhere\necho noise\n",
            &[("MODE", "x"), ("GONE", "1"), ("KEPT", "k"), ("PWD", "/old")],
        )
        .unwrap();
        let expected = variables(&[
            ("A", "1"),
            ("B", "none and 1"),
            ("C", "d"),
            ("M", "one\ntwo="),
            ("PATH", "/nowhere"),
            ("MODE", "x"),
            ("KEPT", "k"),
            ("PWD", "/old"),
        ]);
        assert_eq!(found.variables, expected);
        assert_eq!(found.status, 0);
    }

    #[test]
    fn what_a_fragment_looks_at() {
        let text = "A=${A:-1}\nB=\"$B x\"\n# $C\nC=1\nD=$DD\n  E=${EE}\n";
        let found = read(text, &[]).unwrap();
        for (name, expected) in [
            ("A", true),
            ("B", true),
            ("C", false),
            ("D", false),
            ("E", false),
        ] {
            assert_eq!(found.looks_at(name), expected, "{name}");
        }
    }

    #[test]
    fn a_last_test_that_is_false_is_no_failure() {
        let found = read("A=1\n[ -n \"$NONE\" ] && B=1\n", &[]).unwrap();
        assert_eq!(found.status, 1);
        assert_eq!(found.variables.get(OsStr::new("A")).unwrap(), "1");
    }

    #[test]
    fn what_ends_the_shell_is_a_failure() {
        for (content, expected) in [
            ("exit 3\n", 3),
            ("exit 0\n", 0),
            ("set -e\nfalse\nA=1\n", 1),
        ] {
            match read(content, &[]) {
                Err(EnvironmentError::Failed { status, path }) => {
                    assert_eq!(status, expected, "{content}");
                    assert!(path.ends_with("environment"));
                }
                other => panic!("{content}: {other:?}"),
            }
        }
        assert!(matches!(
            read("if\n", &[]),
            Err(EnvironmentError::Failed { .. })
        ));
    }

    #[test]
    fn bytes_that_no_one_meant() {
        assert!(matches!(
            read(b"A=caf\xe9\n", &[]),
            Err(EnvironmentError::NotText { offset: 5, .. })
        ));
        assert!(matches!(
            read("A=1\nB=2\r\n", &[]),
            Err(EnvironmentError::LineEnds { line: 2, .. })
        ));
        assert!(matches!(
            read("\u{feff}A=1\n", &[]),
            Err(EnvironmentError::ByteOrderMark { .. })
        ));
    }

    #[test]
    fn no_file_is_fine() {
        let nothing = evaluate(
            Path::new("/nonexistent/x"),
            Path::new("/"),
            &BTreeMap::new(),
        );
        assert_eq!(nothing.unwrap(), None);
    }
}
