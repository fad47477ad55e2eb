//! Parses Python source to a syntax tree without exhausting the stack.
//!
//! The parser calls itself for every bracket, prefix and branch, and so does the code that walks over
//! its tree: a text of 20,000 minus signs would end the process. So the text is measured first, token by
//! token.

use std::thread;

use ruff_python_ast::ModModule;
use ruff_python_ast::token::TokenKind;
use ruff_python_parser::{Mode, Parsed, lexer, parse_module};

/// How deep a tree may be. `CPython` takes 200 brackets and 100 indentations.
const MAX_DEPTH: usize = 500;
/// The parser's stack for this depth, in bytes; the machine allocates only what is used.
const STACK: usize = 64 << 20;

/// Where the text is not a module, in bytes from its start, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) offset: usize,
    pub(super) message: String,
}

/// Parses a module.
pub(super) fn module(source: &str) -> Result<Parsed<ModModule>, Problem> {
    if too_deep(source) {
        return Err(Problem {
            offset: first_too_deep(source),
            message: format!("it is nested more than {MAX_DEPTH} deep"),
        });
    }
    let parsed = on_its_stack(|| parse_module(source))?;
    parsed.map_err(|error| Problem {
        offset: error.location.start().to_usize().min(source.len()),
        message: error.error.to_string(),
    })
}

/// Does what follows a tree down, on a stack that is large enough for it.
pub(super) fn on_its_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Problem> {
    let problem = |message: String| Problem { offset: 0, message };
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(|error| problem(format!("there is no thread to parse it on: {error}")))?;
        worker
            .join()
            .map_err(|_| problem("the parser cannot read it".into()))
    })
}

/// One bracket that is open, or the statement.
#[derive(Default)]
struct Level {
    bracket: Option<TokenKind>,
    /// Operators since the last comma: each may be nested in the previous one.
    operators: usize,
    /// Lambdas whose parameters have not ended: commas between these end nothing.
    lambdas: usize,
}

/// Where the first line begins that makes a text too deep.
fn first_too_deep(source: &str) -> usize {
    let mut ends: Vec<usize> = source.match_indices('\n').map(|(at, _)| at + 1).collect();
    ends.push(source.len());
    let fine = ends.partition_point(|end| !too_deep(&source[..*end]));
    fine.checked_sub(1)
        .and_then(|line| ends.get(line))
        .map_or(0, |end| *end)
}

/// Whether the tree of this text could be deeper than [`MAX_DEPTH`]: an estimate that is never too low.
fn too_deep(source: &str) -> bool {
    let mut lexer = lexer::lex(source, Mode::Module);
    let mut levels = vec![Level::default()];
    let mut indentation: usize = 0;
    // Of all levels: their brackets and operators.
    let mut depth: usize = 0;
    loop {
        let token = lexer.next_token();
        match token {
            TokenKind::EndOfFile => return false,
            TokenKind::Indent => indentation += 1,
            TokenKind::Dedent => indentation = indentation.saturating_sub(1),
            TokenKind::Newline | TokenKind::Semi if levels.len() == 1 => {
                levels[0] = Level::default();
                depth = 0;
            }
            TokenKind::Lpar
            | TokenKind::Lsqb
            | TokenKind::Lbrace
            | TokenKind::FStringStart
            | TokenKind::TStringStart => {
                levels.push(Level {
                    bracket: closing(token),
                    ..Level::default()
                });
                depth += 1;
            }
            _ => {
                let top = levels.len() - 1;
                // A bracket that closes another one is an error, and closes nothing here.
                if top > 0 && levels[top].bracket == Some(token) {
                    depth -= 1 + levels[top].operators;
                    levels.truncate(top);
                    levels[top - 1].operators += 1;
                    depth += 1;
                } else {
                    count(&mut levels[top], token, &mut depth);
                }
            }
        }
        if depth + indentation > MAX_DEPTH {
            return true;
        }
    }
}

fn count(level: &mut Level, token: TokenKind, depth: &mut usize) {
    match token {
        TokenKind::Comma if level.lambdas == 0 => {
            *depth -= level.operators;
            level.operators = 0;
        }
        TokenKind::Colon if level.lambdas > 0 => level.lambdas -= 1,
        TokenKind::Comma
        | TokenKind::Colon
        | TokenKind::Semi
        | TokenKind::Newline
        | TokenKind::NonLogicalNewline
        | TokenKind::Comment
        | TokenKind::Name
        | TokenKind::Int
        | TokenKind::Float
        | TokenKind::Complex
        | TokenKind::String
        | TokenKind::FStringMiddle
        | TokenKind::TStringMiddle => {}
        _ => {
            if token == TokenKind::Lambda {
                level.lambdas += 1;
            }
            level.operators += 1;
            *depth += 1;
        }
    }
}

fn closing(token: TokenKind) -> Option<TokenKind> {
    Some(match token {
        TokenKind::Lpar => TokenKind::Rpar,
        TokenKind::Lsqb => TokenKind::Rsqb,
        TokenKind::Lbrace => TokenKind::Rbrace,
        TokenKind::FStringStart => TokenKind::FStringEnd,
        TokenKind::TStringStart => TokenKind::TStringEnd,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Texts that nest by each of the ways that the grammar has.
    fn nested(times: usize) -> Vec<(&'static str, String)> {
        let many = |text: &str| text.repeat(times);
        let blocks = (0..times.min(2000)).fold(String::new(), |mut text, level| {
            text.push_str(&" ".repeat(level));
            text.push_str("if x:\n");
            text
        });
        let end = " ".repeat(times.min(2000));
        vec![
            ("minus", format!("x = {}1\n", many("-"))),
            ("not", format!("x = {}1\n", many("not "))),
            ("await", format!("x = {}y\n", many("await "))),
            ("round", format!("x = {}1{}\n", many("("), many(")"))),
            ("never closed", many("(")),
            ("wrongly closed", many("(]")),
            ("square", format!("x = {}{}\n", many("["), many("]"))),
            ("curly", format!("x = {}1{}\n", many("{1:"), many("}"))),
            ("lambda", format!("x = {}1\n", many("lambda: "))),
            ("lambdas", format!("x = {}1\n", many("lambda a, b: -"))),
            ("choice", format!("x = {}1\n", many("1 if y else "))),
            ("power", format!("x = {}1\n", many("1 ** "))),
            ("sum", format!("x = {}1\n", many("1 + "))),
            ("calls", format!("x = y{}\n", many("()"))),
            ("attributes", format!("x = y{}\n", many(".z"))),
            ("items", format!("x = y{}\n", many("[0]"))),
            ("starred", format!("x = {}y\n", many("*"))),
            ("named", format!("({}1)\n", many("x := "))),
            (
                "pattern",
                format!("match x:\n  case {}y{}: pass\n", many("["), many("]")),
            ),
            ("one line", format!("{}pass\n", many("if x: "))),
            ("blocks", format!("{blocks}{end}pass\n")),
        ]
    }

    #[test]
    fn no_text_ends_the_stack() {
        for times in [600, 20_000, 100_000] {
            for (way, text) in nested(times) {
                let Err(problem) = module(&text) else {
                    panic!("{way}");
                };
                assert!(problem.offset <= text.len(), "{way}");
            }
        }
        let text = format!("a = 1\nb = '''\n'''\nc = {}1\n", "-".repeat(2000));
        let problem = module(&text).unwrap_err();
        assert_eq!(&text[problem.offset..=problem.offset], "c");
        assert!(problem.message.contains("nested"), "{}", problem.message);
    }

    #[test]
    fn what_people_write_is_parsed() {
        // What is wrong with these is not their depth.
        let broken = [
            "never closed",
            "wrongly closed",
            "starred",
            "await",
            "named",
            "one line",
            "lambdas",
        ];
        for (way, text) in nested(90) {
            match module(&text) {
                Ok(_) => {}
                Err(problem) => assert!(
                    broken.contains(&way) && !problem.message.contains("nested"),
                    "{way}: {}",
                    problem.message
                ),
            }
        }
        let row = "    (1, -2, lambda a, b: a + b, {'a': [x for x in y if not x]}, f'{a}b'),\n";
        let table = format!("table = [\n{}]\n", row.repeat(5000));
        let lines = "x = -1 + 2; y = f(a)[0].b\n".repeat(5000);
        let text = format!("{table}{lines}s = ({})\n", "'word'\n".repeat(5000));
        assert!(module(&text).is_ok());
    }

    /// The positive control: without measuring, the process ends.
    #[test]
    fn the_parser_alone_ends_the_stack() {
        const TRY: &str = "TEST_PARSER_ALONE";
        let text = format!("x = {}1\n", "-".repeat(100_000));
        if std::env::var_os(TRY).is_some() {
            let _ = parse_module(&text);
            return;
        }
        let name = "detect::parse::tests::the_parser_alone_ends_the_stack";
        let ran = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact"])
            .env(TRY, "1")
            .output()
            .unwrap();
        assert!(!ran.status.success());
        assert!(String::from_utf8_lossy(&ran.stderr).contains("overflow"));
    }
}
