//! `doas.conf` (doas.conf(5)).

use super::{lossy, strict_decimal};

/// One rule; the last one that fits decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub line: usize,
    pub permit: bool,
    pub nopass: bool,
    pub identity: Identity,
    /// `None`: as any user, including root.
    pub target: Option<String>,
    /// `None`: any command.
    pub command: Option<String>,
}

/// The users that a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    User(String),
    Uid(u32),
    Group(String),
    Gid(u32),
}

/// The rules, in order, and the numbers of lines that are not rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doas {
    pub rules: Vec<Rule>,
    pub odd_lines: Vec<usize>,
}

impl Rule {
    /// Whether the command may run as root.
    pub fn gives_root(&self) -> bool {
        self.permit
            && self
                .target
                .as_deref()
                .is_none_or(|target| target == "root" || target == "0")
    }
}

/// Reads the file.
pub fn parse(bytes: &[u8]) -> Doas {
    let mut doas = Doas::default();
    for (line, words) in statements(bytes) {
        match rule(line, &words) {
            Some(rule) => doas.rules.push(rule),
            None => doas.odd_lines.push(line),
        }
    }
    doas
}

fn rule(line: usize, words: &[Vec<u8>]) -> Option<Rule> {
    let mut words = words.iter().map(Vec::as_slice).peekable();
    let permit = match words.next()? {
        b"permit" => true,
        b"deny" => false,
        _ => return None,
    };
    let mut nopass = false;
    let identity = loop {
        match words.next()? {
            b"nopass" => nopass = true,
            b"persist" | b"keepenv" | b"nolog" => {}
            b"setenv" => {
                if words.next()? != b"{" {
                    return None;
                }
                while words.next()? != b"}" {}
            }
            word => break identity(word),
        }
    };
    let mut rule = Rule {
        line,
        permit,
        nopass,
        identity,
        target: None,
        command: None,
    };
    if words.next_if(|word| *word == b"as").is_some() {
        rule.target = Some(lossy(words.next()?));
    }
    if words.next_if(|word| *word == b"cmd").is_some() {
        rule.command = Some(lossy(words.next()?));
        words.next_if(|word| *word == b"args");
        return Some(rule);
    }
    words.next().is_none().then_some(rule)
}

fn identity(word: &[u8]) -> Identity {
    match word.strip_prefix(b":") {
        Some(group) => match strict_decimal(group) {
            Some(gid) => Identity::Gid(gid),
            None => Identity::Group(lossy(group)),
        },
        None => match strict_decimal(word) {
            Some(uid) => Identity::Uid(uid),
            None => Identity::User(lossy(word)),
        },
    }
}

/// Splits into lines and words: quotes, backslashes, comments, continued lines, braces that span
/// lines.
fn statements(bytes: &[u8]) -> Vec<(usize, Vec<Vec<u8>>)> {
    let mut statements = Vec::new();
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let (mut line, mut began, mut depth) = (1, 1, 0_usize);
    let mut quoted = false;
    let mut bytes = bytes.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(b'\n') => line += 1,
                Some(next) => word.get_or_insert_default().push(next),
                None => {}
            },
            b'"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            b'\n' => {
                quoted = false;
                words.extend(word.take());
                line += 1;
                if depth == 0 {
                    if !words.is_empty() {
                        statements.push((began, std::mem::take(&mut words)));
                    }
                    began = line;
                }
            }
            _ if quoted => word.get_or_insert_default().push(byte),
            b'#' => while bytes.next_if(|&next| next != b'\n').is_some() {},
            b' ' | b'\t' | b'\r' => words.extend(word.take()),
            b'{' | b'}' => {
                words.extend(word.take());
                words.push(vec![byte]);
                depth = if byte == b'{' {
                    depth + 1
                } else {
                    depth.saturating_sub(1)
                };
            }
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    if !words.is_empty() {
        statements.push((began, words));
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rules_of_all_kinds() {
        let doas = parse(
            b"# everyone\npermit nopass :wheel\npermit persist keepenv app as root cmd /bin/ls args -l\n\
              permit setenv { -ENV PS1=\"a b\"\n } \"app\" as www\ndeny 1001\npermit :0 # x\n\
              permit nopass\nallow app\npermit \\\n  app",
        );
        let read: Vec<(usize, bool, bool, bool)> = doas
            .rules
            .iter()
            .map(|rule| (rule.line, rule.permit, rule.nopass, rule.gives_root()))
            .collect();
        assert_eq!(
            read,
            [
                (2, true, true, true),
                (3, true, false, true),
                (4, true, false, false),
                (6, false, false, false),
                (7, true, false, true),
                (10, true, false, true),
            ]
        );
        assert_eq!(doas.rules[0].identity, Identity::Group("wheel".into()));
        assert_eq!(doas.rules[1].command.as_deref(), Some("/bin/ls"));
        assert_eq!(doas.rules[3].identity, Identity::Uid(1001));
        assert_eq!(doas.rules[4].identity, Identity::Gid(0));
        assert_eq!(doas.odd_lines, [8, 9]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_words_panic(text in "((permit|deny|nopass|as|cmd|args|setenv|\\{|\\}|:a|\"|#|\\\\|\n| )){0,40}") {
            let _ = parse(text.as_bytes());
        }
    }
}
