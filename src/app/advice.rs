//! What an error tells a user: what went wrong, the possible cause, and what to do. The catalogue
//! of the command line prints it; the errors themselves stay data.

use std::fmt;

/// An error as text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advice {
    /// One line.
    pub title: String,
    /// Known or likely causes, the most likely first.
    pub causes: Vec<String>,
    /// What to type or change, best first.
    pub remedies: Vec<String>,
    /// The last lines of what the failing program wrote.
    pub tail: Vec<String>,
}

impl Advice {
    pub fn new(title: impl Into<String>) -> Advice {
        Advice {
            title: title.into(),
            ..Advice::default()
        }
    }

    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Advice {
        self.causes.push(cause.into());
        self
    }

    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Advice {
        self.remedies.push(remedy.into());
        self
    }

    #[must_use]
    pub fn tail(mut self, lines: impl IntoIterator<Item = String>) -> Advice {
        self.tail.extend(lines);
        self
    }
}

impl fmt::Display for Advice {
    /// A block with a bar at its left, as Heroku's build packs print theirs.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, " !     {}", self.title)?;
        for cause in &self.causes {
            writeln!(out, " !")?;
            for line in cause.lines() {
                writeln!(out, " !     {line}")?;
            }
        }
        if !self.remedies.is_empty() {
            writeln!(out, " !")?;
            for remedy in &self.remedies {
                for (number, line) in remedy.lines().enumerate() {
                    let mark = if number == 0 { "->" } else { "  " };
                    writeln!(out, " !  {mark} {line}")?;
                }
            }
        }
        if !self.tail.is_empty() {
            writeln!(out, " !")?;
            for line in &self.tail {
                writeln!(out, " !     | {line}")?;
            }
        }
        Ok(())
    }
}

/// Whether a line is one of an error's block.
#[cfg(feature = "host")]
pub fn is_block(line: &str) -> bool {
    line.starts_with(" !")
}

impl Advice {
    /// Reads the last block among lines that a program has printed: the reverse of
    /// [`fmt::Display`].
    #[cfg(feature = "host")]
    pub fn read(lines: &[String]) -> Option<Advice> {
        let start = lines
            .iter()
            .rposition(|line| line.starts_with(" !     "))
            .map(|last| {
                let before = lines[..last].iter().rposition(|line| !is_block(line));
                before.map_or(0, |before| before + 1)
            })?;
        let mut block = lines[start..]
            .iter()
            .take_while(|line| is_block(line))
            .map(|line| line.get(2..).unwrap_or_default());
        let mut advice = Advice::new(block.next()?.trim());
        let mut fresh = true;
        for line in block {
            if let Some(text) = line.strip_prefix("     | ") {
                advice.tail.push(text.to_owned());
            } else if let Some(text) = line.strip_prefix("  -> ") {
                advice.remedies.push(text.to_owned());
            } else if line.trim().is_empty() {
                fresh = true;
                continue;
            } else {
                let text = line.get(5..).unwrap_or_default();
                let list = if advice.remedies.is_empty() {
                    &mut advice.causes
                } else {
                    &mut advice.remedies
                };
                match list.last_mut().filter(|_| !fresh) {
                    Some(paragraph) => {
                        paragraph.push('\n');
                        paragraph.push_str(text);
                    }
                    None => list.push(text.to_owned()),
                }
            }
            fresh = false;
        }
        Some(advice)
    }
}

/// Errors whose text has more than one line.
pub trait Explain: std::error::Error {
    fn advice(&self) -> Advice;
}

/// The name among `known` that was probably meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&name, &candidate.to_lowercase().replace('-', "_")),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 3))
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_as_it_was_written() {
        let advice = Advice::new("it failed")
            .cause("One.\nTwo.")
            .cause("Three.")
            .remedy("do this:\n  a b")
            .remedy("or that")
            .tail(["Traceback".to_owned(), "  File x".to_owned()]);
        let lines: Vec<String> = format!("noise\n{advice}")
            .lines()
            .map(str::to_owned)
            .collect();
        let read = Advice::read(&lines).unwrap();
        assert_eq!(read.title, advice.title);
        assert_eq!(read.remedies, advice.remedies);
        assert_eq!(read.tail, advice.tail);
        assert_eq!(read.causes.join("\n"), advice.causes.join("\n"));
        assert_eq!(Advice::read(&["noise".to_owned()]), None);
    }

    #[test]
    fn nearest_finds_typing_mistakes_only() {
        let known = ["gunicorn", "uvicorn", "mod_wsgi", "waitress"];
        for (name, expected) in [
            ("gunicron", Some("gunicorn")),
            ("mod-wsgi", Some("mod_wsgi")),
            ("Waitres", Some("waitress")),
            ("apache", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
    }

    #[test]
    fn reads_as_a_block() {
        let advice = Advice::new("No application was found")
            .cause("Looked in: wsgi.py")
            .remedy("name it:\n  echo x > y");
        insta::assert_snapshot!(advice.to_string(), @r"
         !     No application was found
         !
         !     Looked in: wsgi.py
         !
         !  -> name it:
         !       echo x > y
        ");
    }
}
