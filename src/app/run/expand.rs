//! `$V`, `${V}` and `${V:-default}` in the arguments of a server. Nothing else of the shell: no
//! command substitution, no globs.

use super::error::RunError;

/// Defaults in defaults in defaults: no deeper than this.
const MAX_DEPTH: usize = 8;

/// Expands one argument. An argument that is one expansion and nothing else, as `$EXTRA_ARGS`,
/// gives as many arguments as its value has words, and none if it is empty; any other gives
/// exactly one.
///
/// `\$` is a dollar sign, and so is one that no name or brace follows (`$(date)` stays as it is).
pub fn expand(
    argument: &str,
    value_of: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, RunError> {
    let fail = |reason| RunError::Expansion {
        argument: argument.to_owned(),
        reason,
    };
    let (text, whole) = replace(argument, value_of, 0).map_err(fail)?;
    Ok(if whole {
        text.split_whitespace().map(str::to_owned).collect()
    } else {
        vec![text]
    })
}

/// The text with its variables replaced, and whether it was one expansion from end to end.
fn replace(
    text: &str,
    value_of: &dyn Fn(&str) -> Option<String>,
    depth: usize,
) -> Result<(String, bool), &'static str> {
    if depth > MAX_DEPTH {
        return Err("defaults within defaults too deep");
    }
    let mut out = String::new();
    let mut rest = text;
    let mut whole = false;
    while let Some(at) = rest.find(['$', '\\']) {
        out.push_str(&rest[..at]);
        let from_start = rest.len() == text.len() && at == 0;
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("\\$") {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            let end = closing_brace(after).ok_or("a `${` without `}`")?;
            let (name, default) = match after[..end].split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (&after[..end], None),
            };
            if name.is_empty() || name_length(name) != name.len() {
                return Err("only ${NAME} and ${NAME:-default} are known");
            }
            match (value_of(name).filter(|value| !value.is_empty()), default) {
                (Some(value), _) => out.push_str(&value),
                (None, Some(default)) => out.push_str(&replace(default, value_of, depth + 1)?.0),
                (None, None) => {}
            }
            rest = &after[end + 1..];
            whole = from_start && rest.is_empty();
        } else if rest.starts_with('$') && name_length(&rest[1..]) > 0 {
            let after = &rest[1..];
            let end = name_length(after);
            out.push_str(&value_of(&after[..end]).unwrap_or_default());
            rest = &after[end..];
            whole = from_start && rest.is_empty();
        } else {
            out.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    Ok((out, whole))
}

/// Where the brace closes that was opened before `text`.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut previous = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '{' if previous == '$' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        previous = c;
    }
    None
}

/// The length of the variable name at the start of `text`.
fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value_of(name: &str) -> Option<String> {
        match name {
            "W" => Some("7".to_owned()),
            "EMPTY" => Some(String::new()),
            "ARGS" => Some(" --threads 2  --preload ".to_owned()),
            "TRICK" => Some("$W $(touch /tmp/x)".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn three_forms_and_no_more() {
        for (argument, expected) in [
            ("--workers", &["--workers"][..]),
            ("$W", &["7"]),
            ("${W}", &["7"]),
            ("${W:-3}", &["7"]),
            ("${NONE:-3}", &["3"]),
            ("${EMPTY:-3}", &["3"]),
            ("${NONE:-${W:-1}}", &["7"]),
            ("${NONE:-a}b}", &["ab}"]),
            ("0.0.0.0:${W}", &["0.0.0.0:7"]),
            ("$W$W", &["77"]),
            ("a$NONE", &["a"]),
            ("$NONE", &[]),
            ("${EMPTY}", &[]),
            ("$ARGS", &["--threads", "2", "--preload"]),
            ("x=$ARGS", &["x= --threads 2  --preload "]),
            ("${NONE:--a -b}", &["-a", "-b"]),
            ("", &[""]),
            ("\\$W", &["$W"]),
            ("100%$", &["100%$"]),
            ("$5", &["$5"]),
            ("ü$W€", &["ü7€"]),
            ("\\n", &["\\n"]),
        ] {
            assert_eq!(expand(argument, &value_of).unwrap(), expected, "{argument}");
        }
    }

    /// BUG of the original: arguments went through a here-document, which runs `$(…)` and `` `…` ``.
    #[test]
    fn no_command_is_substituted() {
        for argument in ["$(touch /tmp/x)", "`touch /tmp/x`", "a$((1+1))"] {
            assert_eq!(expand(argument, &value_of).unwrap(), [argument]);
        }
        assert_eq!(
            expand("a$TRICK", &value_of).unwrap(),
            ["a$W $(touch /tmp/x)"]
        );
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for argument in [
            "${W",
            "${W:?x}",
            "${W%x}",
            "${}",
            "${#W}",
            "${!W}",
            "${NONE:-${W}",
        ] {
            assert!(expand(argument, &value_of).is_err(), "{argument}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(argument in r"[${}:\-Wa\\é ]{0,40}") {
            let _ = expand(&argument, &value_of);
        }
    }
}
