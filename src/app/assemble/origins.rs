//! Where the lines of the installer's list come from: its errors speak of that list, which the user has not seen.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::super::requirement::{Line, decode, name_of};

/// The lists that the installer reads, each with the origins of its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Origins(Vec<Written>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    path: PathBuf,
    text: String,
    /// By the offset of the line in the text.
    lines: Vec<(usize, Line)>,
}

impl Origins {
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn add(&mut self, path: &Path, text: &str, lines: Vec<(usize, Line)>) {
        self.0.push(Written {
            path: path.to_owned(),
            text: text.to_owned(),
            lines,
        });
    }

    /// A text of the installer with the places in the source instead.
    pub(super) fn translated<'t>(&self, text: &'t str, source: &Path) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for written in &self.0 {
            let path = written.path.display().to_string();
            if text.contains(&path) {
                text = written.translated(&text, &path, source).into();
            }
        }
        text
    }
}

impl Written {
    fn translated(&self, text: &str, path: &str, source: &Path) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(path) {
            // uv: "in `PATH` at position 9", "PATH:2:1"; pip: "from line 2 of PATH", "-r PATH (line 2)".
            let at = |start: &str, after: &'_ str| -> Option<(usize, usize)> {
                let number = after.strip_prefix(start)?;
                let digits = number.bytes().take_while(u8::is_ascii_digit).count();
                let value = number[..digits].parse().ok()?;
                Some((value, start.len() + digits))
            };
            let (line, skipped, closing) =
                if let Some((offset, length)) = at("` at position ", after) {
                    (self.at_offset(offset), length, "`")
                } else if let Some((number, length)) = at(":", after) {
                    let column = at(":", &after[length..]).map_or(0, |(_, length)| length);
                    (self.at_line(number), length + column, "")
                } else if let Some((number, length)) = at(" (line ", after) {
                    (self.at_line(number), length + 1, "")
                } else {
                    (None, 0, "")
                };
            let mut before = before;
            let mut line = line;
            if line.is_none()
                && let Some(start) = before.strip_suffix(" of ")
                && let Some((words, number)) = start.rsplit_once("line ")
                && let Ok(number) = number.parse()
            {
                before = words;
                line = self.at_line(number);
            }
            out.push_str(before);
            if let Some(line) = line {
                out.push_str(&place(line, source));
                out.push_str(closing);
                rest = after.get(skipped..).unwrap_or_default();
            } else {
                out.push_str(&self.files());
                rest = after;
            }
        }
        out.push_str(rest);
        out
    }

    fn at_offset(&self, offset: usize) -> Option<&Line> {
        let mut lines = self.lines.iter().rev();
        lines
            .find(|(start, _)| *start <= offset)
            .map(|(_, line)| line)
    }

    fn at_line(&self, number: usize) -> Option<&Line> {
        let mut starts = self.text.split_inclusive('\n').scan(0, |end, line| {
            let start = *end;
            *end += line.len();
            Some(start)
        });
        self.at_offset(starts.nth(number.checked_sub(1)?)?)
    }

    /// The files of all lines.
    fn files(&self) -> String {
        let mut files: Vec<&str> = self
            .lines
            .iter()
            .map(|(_, line)| line.file.as_str())
            .collect();
        files.dedup();
        if files.is_empty() {
            return "the list of packages".to_owned();
        }
        files.join(", ")
    }
}

/// `requirements.txt:3`. A line of `pyproject.toml` and the like has the number of its requirement: then its text
/// is looked for in the file.
pub(super) fn place(line: &Line, source: &Path) -> String {
    let start = name_of(&line.text).map_or(line.text.as_str(), |(name, _)| name);
    for file in line.file.split(", ") {
        let bytes = std::fs::read(source.join(file)).unwrap_or_default();
        let text = decode(&bytes).unwrap_or_default();
        let has = |text: &str| {
            text.trim_start_matches(['"', '\'', ' ', '\t', '-'])
                .starts_with(start)
        };
        let lines: Vec<&str> = text.lines().collect();
        let own = line
            .number
            .checked_sub(1)
            .filter(|at| lines.get(*at).is_some_and(|text| has(text)));
        let verbatim = || lines.iter().position(|text| text.contains(&line.text));
        let named = || lines.iter().position(|text| has(text));
        if let Some(at) = own.or_else(verbatim).or_else(named) {
            return format!("{file}:{}", at + 1);
        }
    }
    line.file.clone()
}

#[cfg(test)]
mod tests {
    use super::super::super::requirement::LineKind;
    use super::*;

    #[test]
    fn places_in_the_installers_list_become_those_of_the_source() {
        let source = tempfile::tempdir().unwrap();
        let write =
            |file: &str, text: &str| std::fs::write(source.path().join(file), text).unwrap();
        write("requirements.txt", "# ours\n\nflask ; x ==\n");
        write(
            "pyproject.toml",
            "[project]\ndependencies = [\n  \"six\",\n  \"idna ; os_name\",\n]\n",
        );
        write(
            "Pipfile",
            "[packages]\nrates = {version = '*', markers = 'no'}\n",
        );
        let line = |file: &str, number, text: &str| Line {
            file: file.to_owned(),
            number,
            text: text.to_owned(),
            kind: LineKind::Option,
        };
        let text = "flask ; x ==\nidna ; os_name\nrates ; no\n";
        let mut origins = Origins::default();
        let lines = vec![
            (0, line("requirements.txt", 3, "flask ; x ==")),
            (13, line("pyproject.toml", 2, "idna ; os_name")),
            (28, line("Pipfile", 1, "rates ; no")),
        ];
        origins.add(Path::new("/tmp/requirements-2.txt"), text, lines);
        for (said, expected) in [
            (
                "error: Couldn't parse requirement in `/tmp/requirements-2.txt` at position 0\n",
                "error: Couldn't parse requirement in `requirements.txt:3`\n",
            ),
            (
                "error: Couldn't parse requirement in `/tmp/requirements-2.txt` at position 13",
                "error: Couldn't parse requirement in `pyproject.toml:4`",
            ),
            (
                "or the start of a requirement: /tmp/requirements-2.txt:3:1\n",
                "or the start of a requirement: Pipfile:2\n",
            ),
            (
                "ERROR: Invalid requirement: 'x' (from line 2 of /tmp/requirements-2.txt)",
                "ERROR: Invalid requirement: 'x' (from pyproject.toml:4)",
            ),
            (
                "(from -r /tmp/requirements-2.txt (line 1))",
                "(from -r requirements.txt:3)",
            ),
            (
                "error: cannot read /tmp/requirements-2.txt",
                "error: cannot read requirements.txt, pyproject.toml, Pipfile",
            ),
            ("/tmp/requirements-3.txt", "/tmp/requirements-3.txt"),
        ] {
            assert_eq!(origins.translated(said, source.path()), expected);
        }
    }
}
