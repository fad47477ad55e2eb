//! `-e K=V` and `--env-file F`: variables for the container, in docker's format of such files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::ContainerError;

/// Largest file of variables that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// A variable to set (`K=V`), or to copy from the caller's environment (`K`; removed if it is unset there).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    pub value: Option<String>,
}

/// Reads `-e K=V` or `-e K`.
pub fn parse_variable(text: &str) -> Result<Variable, ContainerError> {
    parse(text).map_err(|problem| ContainerError::Variable {
        value: text.to_owned(),
        problem: problem.to_owned(),
    })
}

fn parse(text: &str) -> Result<Variable, &'static str> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err("the name of the variable is missing");
    }
    if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("the name of the variable holds white space");
    }
    if text.contains('\0') {
        return Err("there is a NUL in it");
    }
    Ok(Variable {
        name: name.to_owned(),
        value,
    })
}

/// Reads a file of variables: one in each line, `#` begins a comment line, quotes have no meaning.
pub fn read_env_file(path: &Path) -> Result<Vec<Variable>, ContainerError> {
    let io = |source| ContainerError::Io {
        doing: "read the file of variables",
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(io)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    let wrong = |line: usize, problem: &str| ContainerError::EnvFile {
        path: path.to_owned(),
        line,
        problem: problem.to_owned(),
    };
    if bytes.len() as u64 > MAX_FILE {
        return Err(wrong(0, "it is larger than 1 MiB"));
    }
    parse_env_file(&bytes).map_err(|(line, problem)| wrong(line, problem))
}

/// The lines of such a file; an error has the line's number.
fn parse_env_file(bytes: &[u8]) -> Result<Vec<Variable>, (usize, &'static str)> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut variables = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line)
            .map_err(|_| (index + 1, "it is not UTF-8"))?
            .trim_start();
        if !line.is_empty() && !line.starts_with('#') {
            variables.push(parse(line).map_err(|problem| (index + 1, problem))?);
        }
    }
    Ok(variables)
}

/// Puts `variables` over `env`, later ones winning; a name alone takes the caller's value.
pub(super) fn merge(
    env: &mut Vec<(String, String)>,
    variables: impl IntoIterator<Item = Variable>,
    caller: impl Fn(&str) -> Option<String>,
) {
    for Variable { name, value } in variables {
        let Some(value) = value.or_else(|| caller(&name)) else {
            env.retain(|(known, _)| *known != name);
            continue;
        };
        match env.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => env.push((name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_is_read_as_docker_reads_it() {
        let text = b"\xef\xbb\xbfA=1\r\n\n  # no\n  B= two words # kept\nC=\nD\nE=\"x\"\nF=a=b";
        let got: Vec<(String, Option<String>)> = parse_env_file(text)
            .unwrap()
            .into_iter()
            .map(|v| (v.name, v.value))
            .collect();
        let expected = [
            ("A", Some("1")),
            ("B", Some(" two words # kept")),
            ("C", Some("")),
            ("D", None),
            ("E", Some("\"x\"")),
            ("F", Some("a=b")),
        ]
        .map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        assert_eq!(got, expected);
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, line) in [
            (&b"A=1\n=x"[..], 2),
            (b"A B=1", 1),
            (b"\n\nA=\xff", 3),
            (b"A=\0", 1),
        ] {
            assert_eq!(parse_env_file(text).unwrap_err().0, line);
        }
    }

    #[test]
    fn later_ones_win_and_names_alone_are_taken_from_the_caller() {
        let mut env = vec![("A".to_owned(), "1".to_owned()), ("B".into(), "2".into())];
        let variables = ["B=3", "C", "A", "D=4"].map(|text| parse_variable(text).unwrap());
        merge(&mut env, variables, |name| {
            (name == "C").then(|| "caller".to_owned())
        });
        let text: Vec<String> = env.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(text, ["B=3", "C=caller", "D=4"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(variables) = parse_env_file(&bytes) {
                for variable in variables {
                    prop_assert!(!variable.name.is_empty() && !variable.name.contains('='));
                    prop_assert!(!variable.value.unwrap_or_default().contains(['\0', '\n']));
                }
            }
        }

        #[test]
        fn what_is_written_is_read_again(
            pairs in proptest::collection::vec(("[A-Za-z_][A-Za-z0-9_.]{0,9}", "[^\0\r\n]{0,20}"), 0..9)
        ) {
            let text: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}={v}\n")).collect();
            let text = text.concat();
            let read = parse_env_file(text.as_bytes()).unwrap();
            let expected: Vec<Variable> = pairs
                .into_iter()
                .map(|(name, value)| Variable { name, value: Some(value) })
                .collect();
            prop_assert_eq!(read, expected);
        }
    }
}
