//! `warpdrive env`: prints the environment for `eval`, for people and for programs.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;

use serde_json::{Map, Value, json};

use super::environment::{Environment, Origin};

/// For `eval "$(warpdrive env)"`: what warpdrive sets or unsets on top of the caller's environment,
/// quoted so that any byte survives. (In the original, the caller had to leave the output unquoted,
/// and it lost its newlines.) `fish`: in that shell's syntax, for `warpdrive env --shell fish |
/// source`.
pub fn for_eval(environment: &Environment, fish: bool, out: &mut dyn Write) -> io::Result<()> {
    let (unset, export, between) = if fish {
        ("set --erase", "set --global --export", " ")
    } else {
        ("unset", "export", "=")
    };
    for name in &environment.unset {
        if is_name(name) {
            writeln!(out, "{unset} {}", name.display())?;
        }
    }
    for (name, variable) in &environment.variables {
        if is_name(name) && shown(name, &variable.origin) {
            write!(out, "{export} {}{between}", name.display())?;
            if fish {
                out.write_all(&quote_for_fish(&variable.value))?;
            } else {
                out.write_all(&quote(&variable.value))?;
            }
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// A line each, with the origin.
pub fn explain(environment: &Environment, out: &mut dyn Write) -> io::Result<()> {
    for (name, variable) in &environment.variables {
        if shown(name, &variable.origin) {
            write!(out, "{}=", name.display())?;
            out.write_all(&quote(&variable.value))?;
            writeln!(out, "  # {}", variable.origin)?;
        }
    }
    for name in &environment.unset {
        writeln!(out, "# {} is unset by a file", name.display())?;
    }
    Ok(())
}

/// `{"NAME": "value"}`, or `{"NAME": {"value", "origin"}}`.
pub fn json(environment: &Environment, explain: bool) -> Value {
    let mut object = Map::new();
    for (name, variable) in &environment.variables {
        if !shown(name, &variable.origin) {
            continue;
        }
        let value = variable.value.to_string_lossy();
        let value = if explain {
            json!({"value": value, "origin": variable.origin.to_string()})
        } else {
            json!(value)
        };
        object.insert(name.to_string_lossy().into_owned(), value);
    }
    Value::Object(object)
}

/// The caller's own variables are left out, except those that control warpdrive.
fn shown(name: &OsStr, origin: &Origin) -> bool {
    !matches!(origin, Origin::Environment | Origin::Image)
        || name.as_bytes().starts_with(b"WARPDRIVE_")
        || [
            "PORT",
            "PATH",
            "PYTHONPATH",
            "PYTHONUNBUFFERED",
            "VIRTUAL_ENV",
        ]
        .iter()
        .any(|known| name == OsStr::new(known))
}

/// Whether a shell can hold such a variable.
fn is_name(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty()
        && !bytes[0].is_ascii_digit()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// In single quotes, where a shell changes nothing.
fn quote(value: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in value.as_bytes() {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// fish reads `\\` and `\'` in single quotes, and nothing else.
fn quote_for_fish(value: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in value.as_bytes() {
        if matches!(byte, b'\'' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::caller::Caller;
    use super::*;

    /// BUG of the original: `eval $(warpdrive env)` collapsed newlines.
    #[test]
    fn newlines_and_quotes_survive_eval() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("src/.warpdrive")).unwrap();
        std::fs::write(
            directory.path().join("src/.warpdrive/environment"),
            "A='one\ntwo  three'\nB=\"it's \\$HOME *\"\nunset GONE\n",
        )
        .unwrap();
        let mut variables: BTreeMap<_, _> = std::env::vars_os().collect();
        variables.insert("WARPDRIVE_APP_ROOT".into(), directory.path().into());
        variables.insert("GONE".into(), "x".into());
        let environment = Environment::of(&Caller {
            variables,
            directory: "/".into(),
        })
        .unwrap();
        let mut text = Vec::new();
        for_eval(&environment, false, &mut text).unwrap();
        let script = "GONE=x; eval \"$1\"; printf '%s|%s|%s|%s' \"$A\" \"$B\" \"${GONE-gone}\" \"$WARPDRIVE_PHASE\"";
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", script, "sh"])
            .arg(OsStr::from_bytes(&text))
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "one\ntwo  three|it's $HOME *|gone|deploy"
        );
        let explained = json(&environment, true);
        assert_eq!(explained["A"]["origin"], "file: .warpdrive/environment");
        assert_eq!(explained["PORT"]["origin"], "default");
    }
}
