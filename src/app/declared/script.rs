//! PEP 723: the comment at the beginning of a program that names what it needs (`# /// script`).

use super::super::files::{EntryKind, Files, join};
use super::Declared;

/// Larger programs are not read.
const MAX: u64 = 256 * 1024;
/// uv's settings about where packages come from. A name that is bound there is not looked for elsewhere.
const PLACES: [&str; 6] = [
    "sources",
    "index",
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
];

/// The list in the only program of a directory that has such a list.
pub(super) fn read(files: &dyn Files, place: &str) -> Option<Declared> {
    let mut programs = programs(files, place);
    let (path, block) = programs.next()?;
    let mut declared = Declared::of(&path);
    if let Some((other, _)) = programs.next() {
        declared.doubt(
            "# /// script",
            format!("{path} and {other} each have a list of their own, and which one the application needs is not clear"),
            "what it needs in requirements.txt",
        );
        return Some(declared);
    }
    let document = match toml::from_str::<toml::Table>(&block) {
        Ok(document) => document,
        Err(error) => {
            declared.doubt(
                "# /// script",
                format!("it is not TOML: {}", error.message()),
                "it as PEP 723 has it",
            );
            return Some(declared);
        }
    };
    let uv = document.get("tool").and_then(|tool| tool.get("uv"));
    if uv.is_some_and(|uv| PLACES.iter().any(|key| uv.get(key).is_some())) {
        declared.doubt(
            "# /// script",
            "its [tool.uv] says where packages come from, and that is read in pyproject.toml alone",
            "what it needs into pyproject.toml, with [tool.uv]",
        );
        return Some(declared);
    }
    let list = document.get("dependencies").and_then(toml::Value::as_array);
    for item in list.into_iter().flatten() {
        match item.as_str() {
            Some(line) => declared.lines.push(line.to_owned()),
            None => declared.doubt(
                &item.to_string(),
                "it is not text",
                "a requirement in quotes",
            ),
        }
    }
    Some(declared)
}

/// The Python that the only program with a list asks for: its path, the line and the text.
pub(super) fn requires_python(files: &dyn Files, place: &str) -> Option<(String, usize, String)> {
    let mut programs = programs(files, place);
    let (path, block) = programs.next()?;
    if programs.next().is_some() {
        return None;
    }
    let document = toml::from_str::<toml::Table>(&block).ok()?;
    let said = document.get("requires-python")?.as_str()?.to_owned();
    let text = files.text(&path)?;
    let line = text.lines().position(|line| {
        let key = line.strip_prefix('#').unwrap_or_default();
        key.split('=').next().map(str::trim) == Some("requires-python")
    });
    Some((path, line.map_or(1, |line| line + 1), said))
}

/// The programs of a directory that have such a comment, with its text.
fn programs<'a>(
    files: &'a dyn Files,
    place: &'a str,
) -> impl Iterator<Item = (String, String)> + 'a {
    files.list(place).into_iter().filter_map(move |entry| {
        let name = entry.name.strip_suffix(".py")?;
        let path = join(place, &format!("{name}.py"))?;
        let is_file = matches!(entry.kind, EntryKind::File { .. });
        let text = is_file.then(|| files.text(&path))??;
        let block = (text.len() as u64 <= MAX).then(|| block(&text))??;
        Some((path, block))
    })
}

/// The text within the comment: the lines between `# /// script` and `# ///`, each without its `# `.
fn block(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim_end);
    lines.by_ref().find(|line| *line == "# /// script")?;
    let mut found = String::new();
    for line in lines {
        if line == "# ///" {
            return Some(found);
        }
        let rest = line.strip_prefix('#')?;
        found.push_str(rest.strip_prefix(' ').unwrap_or(rest));
        found.push('\n');
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::super::files::Memory;
    use super::*;

    const BLOCK: &str = "#!/usr/bin/env python\n# /// script\n# requires-python = \">=3.11\"\n# dependencies = [\n#   \"flask>=3\",\n#\n#   \"redis\",\n# ]\n# ///\nimport flask\n";

    #[test]
    fn the_python_that_a_program_asks_for() {
        let asked = |files: &Memory| super::super::python_of_program(files);
        let one = || Memory::new().with("main.py", BLOCK);
        let said = Some(("main.py".to_owned(), 3, ">=3.11".to_owned()));
        assert_eq!(asked(&one()), said);
        // Another list counts, and the program is not the application's declaration.
        for (file, text) in [
            ("requirements.txt", "flask"),
            ("pyproject.toml", "[project]\nname = 'x'\n"),
            ("Pipfile", "[packages]\nflask = '*'\n"),
            ("other.py", BLOCK),
        ] {
            assert_eq!(asked(&one().with(file, text)), None, "{file}");
        }
    }

    #[test]
    fn a_programs_own_list() {
        let lines = |files: &Memory| {
            read(files, "").map(|declared| (declared.lines, declared.doubts.len()))
        };
        let one = || Memory::new().with("main.py", BLOCK);
        let both = ["flask>=3".to_owned(), "redis".to_owned()];
        assert_eq!(lines(&one()), Some((both.to_vec(), 0)));
        assert_eq!(lines(&one().with("other.py", BLOCK)), Some((Vec::new(), 1)));
        let bound = BLOCK.replace(
            "# ///\nimport",
            "# [tool.uv.sources]\n# redis = { path = \"x\" }\n# ///\nimport",
        );
        assert_eq!(
            lines(&Memory::new().with("a.py", bound)),
            Some((Vec::new(), 1))
        );
        let number = BLOCK.replace("\"redis\"", "3");
        assert_eq!(
            lines(&Memory::new().with("a.py", number)),
            Some((vec!["flask>=3".to_owned()], 1))
        );
        let broken = BLOCK.replace("redis\"", "redis");
        assert_eq!(
            lines(&Memory::new().with("a.py", broken)),
            Some((Vec::new(), 1))
        );
        for none in [
            "import flask\n",
            "# /// script\n# dependencies = []\n",
            "# /// script\nimport x\n# ///\n",
        ] {
            assert_eq!(lines(&Memory::new().with("main.py", none)), None, "{none}");
        }
    }
}
