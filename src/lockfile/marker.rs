//! Environment markers (PEP 508), evaluated for one environment.
//!
//! A marker comes from a lock file, which is hostile. So it is read once from left to right, and only
//! its truth is computed. (A hostile marker can make a library that normalizes markers work for ever.)

use std::collections::BTreeSet;

use pep440_rs::{Version, VersionSpecifier};

use super::target::Target;

/// Largest nesting depth of a marker.
const MAX_DEPTH: usize = 32;
/// Longest marker that is read, in bytes.
const MAX_LENGTH: usize = 64 * 1024;

/// The extras and groups that hold, in addition to the target's variables.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Normalized names for `extra == 'x'` and `'x' in extras`.
    pub extras: BTreeSet<String>,
    /// Normalized names for `'x' in dependency_groups`.
    pub groups: BTreeSet<String>,
}

/// Whether a marker holds for this environment.
///
/// # Errors
/// A message, if it is not a marker.
pub fn holds(marker: &str, target: &Target, chosen: &Chosen) -> Result<bool, String> {
    let wrong = |problem: &str| Err(format!("the marker `{}` {problem}", shortened(marker)));
    if marker.len() > MAX_LENGTH {
        return wrong("is too long");
    }
    let Some(tokens) = tokens(marker) else {
        return wrong("cannot be read");
    };
    let mut reader = Reader {
        tokens: &tokens,
        target,
        chosen,
    };
    match reader.any(0) {
        Some(value) if reader.tokens.is_empty() => Ok(value),
        _ => wrong("cannot be read"),
    }
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    /// `==`, `<`, …
    Operator(String),
    /// A variable, or `and`, `or`, `not`, `in`.
    Word(String),
    Text(String),
}

fn tokens(marker: &str) -> Option<Vec<Token>> {
    let mut found = Vec::new();
    let mut rest = marker.trim_start();
    while let Some(first) = rest.chars().next() {
        let end_of =
            |wanted: &dyn Fn(char) -> bool| rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '\'' | '"' => {
                let text = rest[1..].split_once(first)?.0;
                (Token::Text(text.to_owned()), text.len() + 2)
            }
            '=' | '!' | '<' | '>' | '~' => {
                let end = end_of(&|c| "=!<>~".contains(c));
                (Token::Operator(rest[..end].to_owned()), end)
            }
            c if c.is_ascii_alphabetic() => {
                let end = end_of(&|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
                (Token::Word(rest[..end].to_owned()), end)
            }
            _ => return None,
        };
        found.push(token);
        rest = rest[length..].trim_start();
    }
    Some(found)
}

/// Reads and evaluates at once; the whole expression is read, even if its beginning already decides.
struct Reader<'a> {
    tokens: &'a [Token],
    target: &'a Target,
    chosen: &'a Chosen,
}

enum Side {
    Variable(String),
    Text(String),
}

impl Reader<'_> {
    fn word(&mut self, word: &str) -> bool {
        match self.tokens.split_first() {
            Some((Token::Word(found), rest)) if found == word => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }

    fn next(&mut self) -> Option<&Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn any(&mut self, depth: usize) -> Option<bool> {
        let mut value = self.all(depth)?;
        while self.word("or") {
            value |= self.all(depth)?;
        }
        Some(value)
    }

    fn all(&mut self, depth: usize) -> Option<bool> {
        let mut value = self.one(depth)?;
        while self.word("and") {
            value &= self.one(depth)?;
        }
        Some(value)
    }

    fn one(&mut self, depth: usize) -> Option<bool> {
        if depth > MAX_DEPTH {
            return None;
        }
        if self.tokens.first() == Some(&Token::Open) {
            self.next();
            let value = self.any(depth + 1)?;
            return (self.next() == Some(&Token::Close)).then_some(value);
        }
        let left = self.side()?;
        let operator = if self.word("not") {
            if !self.word("in") {
                return None;
            }
            "not in".to_owned()
        } else if self.word("in") {
            "in".to_owned()
        } else {
            match self.next()? {
                Token::Operator(operator) => operator.clone(),
                _ => return None,
            }
        };
        let right = self.side()?;
        self.compare(&left, &operator, &right)
    }

    fn side(&mut self) -> Option<Side> {
        Some(match self.next()? {
            Token::Word(name) if !matches!(name.as_str(), "and" | "or" | "not" | "in") => {
                Side::Variable(name.clone())
            }
            Token::Text(text) => Side::Text(text.clone()),
            _ => return None,
        })
    }

    fn compare(&self, left: &Side, operator: &str, right: &Side) -> Option<bool> {
        let variable = |side: &Side| match side {
            Side::Variable(name) => Some(name.clone()),
            Side::Text(_) => None,
        };
        let chosen = match (variable(left), variable(right)) {
            (Some(name), None) if name == "extra" => Some((&self.chosen.extras, right)),
            (None, Some(name)) if name == "extra" || name == "extras" => {
                Some((&self.chosen.extras, left))
            }
            (None, Some(name)) if name == "dependency_groups" => Some((&self.chosen.groups, left)),
            _ => None,
        };
        if let Some((set, Side::Text(text))) = chosen {
            let inside = set.contains(&crate::app::requirement::normalize(text));
            return match operator {
                "==" | "in" => Some(inside),
                "!=" | "not in" => Some(!inside),
                _ => None,
            };
        }
        let value = |side: &Side| match side {
            Side::Text(text) => Some(text.clone()),
            Side::Variable(name) => self.target.value(name).map(str::to_owned),
        };
        let versions = [left, right].iter().any(|side| {
            matches!(side, Side::Variable(name)
                if matches!(name.as_str(), "python_version" | "python_full_version" | "implementation_version"))
        });
        let (left, right) = (value(left)?, value(right)?);
        match operator {
            "in" if versions => {
                let listed = |text: &str| text.trim() == left;
                return Some(right.split([',', ' ', '|']).any(listed) || right.contains(&left));
            }
            "not in" => return Some(!right.contains(&left)),
            "in" => return Some(right.contains(&left)),
            _ => {}
        }
        if versions && let Some(result) = compare_versions(&left, operator, &right) {
            return Some(result);
        }
        // The same for the others where both are versions (`platform_release`), else as text.
        Some(match operator {
            "==" | "===" => left == right,
            "!=" => left != right,
            "<" | ">" | "<=" | ">=" | "~=" => {
                if let Some(result) = compare_versions(&left, operator, &right) {
                    result
                } else {
                    match operator {
                        "<" => left < right,
                        ">" => left > right,
                        "<=" => left <= right,
                        ">=" => left >= right,
                        _ => return None,
                    }
                }
            }
            _ => return None,
        })
    }
}

/// Compares `left operator right` as versions; the variable may be on either side.
fn compare_versions(left: &str, operator: &str, right: &str) -> Option<bool> {
    let left: Version = left.parse().ok()?;
    let specifier: VersionSpecifier = format!("{operator} {right}").parse().ok()?;
    Some(specifier.contains(&left))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen() -> Chosen {
        Chosen {
            extras: ["standard".to_owned()].into(),
            groups: ["prod".to_owned()].into(),
        }
    }

    #[test]
    fn markers() {
        let target = Target::of("3.11.2", "glibc 2.36");
        for (marker, expected) in [
            ("python_version >= '3.8'", Some(true)),
            ("python_version < '3.10'", Some(false)),
            ("'3.10' < python_version", Some(true)),
            ("python_full_version < '3.11.3'", Some(true)),
            ("python_full_version == '3.11.*'", Some(true)),
            ("python_version ~= '3.9'", Some(true)),
            ("sys_platform == 'win32'", Some(false)),
            (
                "sys_platform != \"win32\" and os_name == 'posix'",
                Some(true),
            ),
            (
                "sys_platform == 'win32' or platform_machine == 'x86_64' and python_version > '3'",
                Some(true),
            ),
            (
                "(sys_platform == 'win32' or python_version < '3') and os_name == 'posix'",
                Some(false),
            ),
            ("platform_python_implementation == 'CPython'", Some(true)),
            ("implementation_name == 'pypy'", Some(false)),
            ("extra == 'Standard'", Some(true)),
            ("extra != 'standard'", Some(false)),
            ("'standard' in extras", Some(true)),
            (
                "'prod' in dependency_groups and 'dev' not in dependency_groups",
                Some(true),
            ),
            ("platform_machine in 'x86_64 AMD64'", Some(true)),
            ("python_version not in '2.7, 3.8'", Some(true)),
            (
                "platform_release >= '5' and sys_platform == 'win32'",
                Some(false),
            ),
            ("", None),
            ("python_version", None),
            ("python_version >= ", None),
            ("python_version >= '3' and", None),
            ("(python_version >= '3'", None),
            ("nonsense == '3'", None),
            ("python_version >= '3' \n -e .", None),
            ("extra < 'x'", None),
        ] {
            assert_eq!(holds(marker, &target, &chosen()).ok(), expected, "{marker}");
        }
        let deep = format!("{}os_name == 'posix'{}", "(".repeat(5000), ")".repeat(5000));
        assert!(holds(&deep, &target, &chosen()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "[ ()'\"a-z_=<>!~0-9.]{0,80}") {
            let _ = holds(&text, &Target::of("3.11.2", ""), &chosen());
        }
    }
}
