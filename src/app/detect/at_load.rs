//! What of a Python module decides how it loads: all of it, without the bodies of functions that a load
//! did not run, and without comments and line breaks.
//!
//! Source text and the lines of functions that were run ─► the names of these functions and a digest. The
//! digest of a later text, with the same names, is equal if a load of it runs the same statements. That the
//! text compiles is not said: the parser takes what Python's compiler refuses (`return` in a class).

use std::collections::BTreeSet;
use std::hash::{Hash as _, Hasher};

use ruff_python_ast::comparable::ComparableStmt;
use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{self as ast, Expr, Stmt};
use ruff_text_size::{Ranged as _, TextRange, TextSize};
use sha2::{Digest as _, Sha256};

use super::parse;

/// The names of the functions that contain these lines (from 1), in the classes that contain them:
/// `Shop.total`. `None` if the text is not a module.
pub fn functions_at(source: &str, lines: &[usize]) -> Option<BTreeSet<String>> {
    let parsed = parse::module(source).ok()?;
    let starts: Vec<usize> = std::iter::once(0)
        .chain(source.match_indices('\n').map(|(at, _)| at + 1))
        .collect();
    let line_of = |at: TextSize| starts.partition_point(|start| *start <= at.to_usize());
    let mut names = BTreeSet::new();
    each_function(&parsed.syntax().body, "", &mut |name, function| {
        let (first, last) = (line_of(function.start()), line_of(function.end()));
        if lines.iter().any(|line| (first..=last).contains(line)) {
            names.insert(name.to_owned());
        }
    });
    Some(names)
}

/// SHA-256 of the statements without the bodies of all functions but these. `None` if the text is not a
/// module. Equal texts have equal digests in one build of warpdrive, and not beyond it.
pub fn digest(source: &str, functions: &BTreeSet<String>) -> Option<[u8; 32]> {
    let mut body = parse::module(source).ok()?.into_syntax().body;
    shorten(&mut body, "", functions);
    parse::on_its_stack(|| {
        let mut hash = Sha256Hasher(Sha256::new());
        for statement in &body {
            ComparableStmt::from(statement).hash(&mut hash);
        }
        hash.0.finalize().into()
    })
    .ok()
}

/// Calls for each outermost function, with its name.
fn each_function(body: &[Stmt], within: &str, call: &mut dyn FnMut(&str, &ast::StmtFunctionDef)) {
    for statement in body {
        match statement {
            Stmt::FunctionDef(function) => call(&format!("{within}{}", function.name), function),
            Stmt::ClassDef(class) => {
                each_function(&class.body, &format!("{within}{}.", class.name), call);
            }
            other => {
                for body in bodies(other) {
                    each_function(body, within, call);
                }
            }
        }
    }
}

/// The statements below one that defines no name.
fn bodies(statement: &Stmt) -> Vec<&[Stmt]> {
    match statement {
        Stmt::If(of) => std::iter::once(&*of.body)
            .chain(of.elif_else_clauses.iter().map(|clause| &*clause.body))
            .collect(),
        Stmt::Try(of) => [&*of.body, &*of.orelse, &*of.finalbody]
            .into_iter()
            .chain(of.handlers.iter().map(|handler| {
                let ast::ExceptHandler::ExceptHandler(handler) = handler;
                &*handler.body
            }))
            .collect(),
        Stmt::With(of) => vec![&of.body],
        Stmt::For(of) => vec![&of.body, &of.orelse],
        Stmt::While(of) => vec![&of.body, &of.orelse],
        Stmt::Match(of) => of.cases.iter().map(|case| &*case.body).collect(),
        _ => Vec::new(),
    }
}

/// As [`bodies`].
fn bodies_mut(statement: &mut Stmt) -> Vec<&mut [Stmt]> {
    match statement {
        Stmt::If(of) => std::iter::once(&mut *of.body)
            .chain(
                of.elif_else_clauses
                    .iter_mut()
                    .map(|clause| &mut *clause.body),
            )
            .collect(),
        Stmt::Try(of) => [&mut *of.body, &mut *of.orelse, &mut *of.finalbody]
            .into_iter()
            .chain(of.handlers.iter_mut().map(|handler| {
                let ast::ExceptHandler::ExceptHandler(handler) = handler;
                &mut *handler.body
            }))
            .collect(),
        Stmt::With(of) => vec![&mut of.body],
        Stmt::For(of) => vec![&mut of.body, &mut of.orelse],
        Stmt::While(of) => vec![&mut of.body, &mut of.orelse],
        Stmt::Match(of) => of.cases.iter_mut().map(|case| &mut *case.body).collect(),
        _ => Vec::new(),
    }
}

/// Leaves of each outermost function that is not among `kept` its head, its docstring, and whether it is a
/// generator: what others can ask of a function that is not called.
fn shorten(body: &mut [Stmt], within: &str, kept: &BTreeSet<String>) {
    for statement in body {
        match statement {
            Stmt::FunctionDef(function) => {
                if kept.contains(&format!("{within}{}", function.name)) {
                    continue;
                }
                let mut seen = Generator(None);
                seen.visit_body(&function.body);
                let first = function.body.first();
                let documented = first.is_some_and(ast::helpers::is_docstring_stmt);
                function.body.truncate(usize::from(documented));
                function.body.extend(seen.0);
            }
            Stmt::ClassDef(class) => {
                shorten(&mut class.body, &format!("{within}{}.", class.name), kept);
            }
            other => {
                for body in bodies_mut(other) {
                    shorten(body, within, kept);
                }
            }
        }
    }
}

/// A bare `yield`, if a function has any `yield` of its own.
struct Generator(Option<Stmt>);

impl<'a> Visitor<'a> for Generator {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        if !matches!(statement, Stmt::FunctionDef(_) | Stmt::ClassDef(_)) {
            visitor::walk_stmt(self, statement);
        }
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        match expression {
            Expr::Lambda(_) => {}
            Expr::Yield(_) | Expr::YieldFrom(_) => {
                let (range, node_index) = (TextRange::default(), ast::AtomicNodeIndex::NONE);
                let bare = ast::ExprYield {
                    value: None,
                    range,
                    node_index: node_index.clone(),
                };
                self.0 = Some(Stmt::Expr(ast::StmtExpr {
                    value: Box::new(bare.into()),
                    range,
                    node_index,
                }));
            }
            other => visitor::walk_expr(self, other),
        }
    }
}

struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not asked for.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = r#"import os

LIMIT = 3  # of all

def prices():
    """All of them."""
    return [1, 2]

class Shop:
    name = "shop"

    @property
    def total(self):
        return sum(prices())

    def each(self):
        yield from prices()

if os.name == "posix":
    def here():
        return 1

app = Shop()
"#;

    fn names(lines: &[usize]) -> BTreeSet<String> {
        functions_at(SHOP, lines).unwrap()
    }

    #[test]
    fn functions_are_found_by_their_lines() {
        assert!(names(&[1, 3, 9, 10, 23]).is_empty());
        // Python names the line of the first decorator.
        assert_eq!(names(&[12]), ["Shop.total".to_owned()].into());
        let two = ["here".to_owned(), "prices".to_owned()];
        assert_eq!(names(&[5, 20]), two.into());
        assert_eq!(functions_at("def x(:", &[1]), None);
    }

    #[test]
    fn what_a_load_does_not_run_changes_no_digest() {
        let ran: BTreeSet<String> = ["prices".to_owned()].into();
        let before = digest(SHOP, &ran).unwrap();
        for (old, new) in [
            ("  # of all", ""),
            ("\n\nclass", "\n\n\n# A shop.\nclass"),
            ("sum(prices())", "max(prices()) + missing"),
            (
                "yield from prices()",
                "for one in prices():\n            yield one",
            ),
            ("return 1", "return 2"),
        ] {
            let after = SHOP.replace(old, new);
            assert_ne!(after, SHOP);
            assert_eq!(digest(&after, &ran).as_ref(), Some(&before), "{new}");
        }
        for (old, new) in [
            ("LIMIT = 3", "LIMIT = 4"),
            ("[1, 2]", "[1, 2, 3]"),
            ("All of", "Most of"),
            ("@property", "@staticmethod"),
            ("def total(self)", "def total(self, tax=None)"),
            ("yield from prices()", "return prices()"),
            ("def here", "async def here"),
            ("\"posix\"", "\"nt\""),
            ("name = \"shop\"", "name = \"store\""),
            ("def each", "def every"),
            ("app = Shop()", "app = Shop().total"),
            ("import os", "import os, missing"),
        ] {
            let after = SHOP.replace(old, new);
            assert_ne!(after, SHOP);
            assert_ne!(digest(&after, &ran).as_ref(), Some(&before), "{new}");
        }
        assert_ne!(digest(SHOP, &BTreeSet::new()).as_ref(), Some(&before));
        assert_eq!(digest("def x(:", &ran), None);
    }

    #[test]
    fn a_deep_module_does_not_exhaust_the_stack() {
        let deep = format!("x = {}1\n", "-".repeat(450));
        assert!(digest(&deep, &BTreeSet::new()).is_some());
        let nested = format!(
            "def f():\n    return {}1{}\n",
            "(".repeat(400),
            ")".repeat(400)
        );
        assert!(digest(&nested, &BTreeSet::new()).is_some());
        assert_eq!(
            digest(&format!("x = {}1\n", "-".repeat(20_000)), &BTreeSet::new()),
            None
        );
    }
}
