//! `.s2i/environment`, the files of `-E`, and `-e`: variables for assemble and for the image.
//!
//! A line is `NAME=VALUE`; blanks around it are not a part of it. Lines that begin with `#` or `//` are
//! comments. There is no quoting and no expansion. Any other line is an error that names file and line:
//! a misspelt line that is skipped silently would only be noticed in production.

use super::{S2iError, shown};

/// Its path in the source.
pub const IN_SOURCE: [&str; 2] = [".s2i/environment", ".sti/environment"];
/// Largest file that is read, in bytes.
pub const MAX: u64 = 1024 * 1024;

/// Reads the lines of `file`, which is named in errors. A later line with the same name wins;
/// both are returned, in their order.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Vec<(String, String)>, S2iError> {
    let wrong = |line: usize, problem: String| S2iError::Environment {
        file: shown(file),
        line,
        problem,
    };
    if bytes.len() as u64 > MAX {
        return Err(wrong(1, format!("the file is larger than {MAX} bytes")));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut found = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let wrong = |problem: String| wrong(index + 1, problem);
        let line = std::str::from_utf8(line).map_err(|_| wrong("it is not UTF-8".into()))?;
        let line = line.trim_matches([' ', '\t', '\r']);
        if line.is_empty() || line.starts_with('#') || line.starts_with("//") {
            continue;
        }
        found.push(pair(line).map_err(wrong)?);
    }
    Ok(found)
}

/// A warning for each line with a quoted value: the quotes are part of the value, as with `s2i`, but
/// users seldom intend this.
pub fn quoted(file: &str, bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_matches([' ', '\t', '\r', '\u{feff}']);
        if line.starts_with('#') || line.starts_with("//") {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let value = value.trim_start();
        let in_quotes =
            |quote: char| value.len() >= 2 && value.starts_with(quote) && value.ends_with(quote);
        if in_quotes('"') || in_quotes('\'') {
            found.push(format!(
                "{}, line {}: the quotes are part of the value of {}, as with s2i; leave them out if \
                 they are not meant",
                shown(file),
                index + 1,
                shown(name.trim_end())
            ));
        }
    }
    found
}

/// Reads one `NAME=VALUE`, from a file or from `-e`. Commas are part of the value.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{:?} is not of the form NAME=VALUE", shown(text)))?;
    let name = name.trim_end();
    if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!("{:?} is not the name of a variable", shown(name)));
    }
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err(format!(
            "the value of {} has control characters",
            shown(name)
        ));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// One value for each name: the last one, at the place of the first.
pub fn settled(variables: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut settled: Vec<(String, String)> = Vec::new();
    for (name, value) in variables {
        match settled.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => settled.push((name, value)),
        }
    }
    settled
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(found: &[(String, String)]) -> Vec<(&str, &str)> {
        found
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect()
    }

    #[test]
    fn lines_are_read_without_quoting_and_without_expansion() {
        let text = b"\xef\xbb\xbf# comment\n// comment\n\nA=1\r\n  B = two words \nC=\"$A\"\nD=a,b=c\nE=\nA=2\nmy.dotted-name=\xc3\xa9\n";
        assert_eq!(
            pairs(&parse("f", text).unwrap()),
            [
                ("A", "1"),
                ("B", " two words"),
                ("C", "\"$A\""),
                ("D", "a,b=c"),
                ("E", ""),
                ("A", "2"),
                ("my.dotted-name", "\u{e9}"),
            ]
        );
        assert_eq!(
            pairs(&settled(parse("f", text).unwrap()))[0],
            ("A", "2"),
            "the later one wins"
        );
    }

    #[test]
    fn quotes_are_told_with_their_line() {
        let text = b"# A=\"x\"\nA=\"x\"\nB='y z'\nC=a\"b\"\nD=\"\nE=\"\"\n";
        let found = quoted("f", text);
        let lines: Vec<&str> = found.iter().filter_map(|w| w.split(':').next()).collect();
        assert_eq!(lines, ["f, line 2", "f, line 3", "f, line 6"]);
    }

    #[test]
    fn a_line_that_is_none_is_an_error_that_names_it() {
        for (text, line, reason) in [
            (&b"A=1\nB\n"[..], 2, "not of the form"),
            (b"=x", 1, "not the name"),
            (b"export A=1", 1, "not the name"),
            (b"\n\nA=\x1b[2J", 3, "control characters"),
            (b"A=x\x00y", 1, "control characters"),
            (b"A=x\ry", 1, "control characters"),
            (b"A\x07=x", 1, "not the name"),
            (b"A=\xff", 1, "not UTF-8"),
            (b"A=\xc2\x9b2J", 1, "control characters"),
        ] {
            let error = parse(".s2i/environment", text).unwrap_err();
            let words = error.to_string();
            assert!(
                words.starts_with(&format!(".s2i/environment, line {line}: "))
                    && words.contains(reason),
                "{words}"
            );
            assert!(
                !words.contains('\u{1b}') && !words.contains('\u{7}'),
                "{words}"
            );
        }
        assert!(parse("f", &vec![b'#'; 1024 * 1024 + 1]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_clean(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(found) = parse("f", &bytes) {
                for (name, value) in found {
                    prop_assert!(!name.is_empty() && !name.contains(['=', ' ', '\n', '\0']));
                    let clean = !value.chars().any(|c| c.is_control() && c != '\t');
                    prop_assert!(clean);
                }
            }
        }

        #[test]
        fn what_is_written_is_read(name in "[A-Za-z_.][A-Za-z0-9_.]{0,8}", value in "[!-~]([ -~]{0,20}[!-~])?") {
            let text = format!("# x\n{name}={value}\n");
            prop_assert_eq!(parse("f", text.as_bytes()).unwrap(), [(name, value)]);
        }
    }
}
