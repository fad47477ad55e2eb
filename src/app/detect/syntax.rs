//! A Python module as a table of what its top level binds. Nothing is imported or run.

use ruff_python_ast::{self as ast, Expr, Stmt};
use ruff_text_size::Ranged as _;

use super::parse;

/// What a name is bound to.
#[derive(Debug, Clone)]
pub(super) enum Binding {
    Value(Expr),
    Function(ast::StmtFunctionDef),
    Class(ast::StmtClassDef),
    /// `import a.b as c` (attribute `None`), `from a.b import c`. The module is absolute.
    Import {
        module: String,
        attribute: Option<String>,
    },
}

/// The top level of a module.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// Path of its file, relative to the tree.
    pub path: String,
    /// In order; a later binding of a name replaces an earlier one but can refer to it.
    pub bindings: Vec<(String, Binding)>,
    /// `from x import *`, absolute.
    pub stars: Vec<String>,
    /// The whole names of `import a.b`, which binds only `a`.
    pub imported: Vec<String>,
    /// `name.method(…, other, …)` as statements: the receiver and the names among the arguments.
    pub uses: Vec<(String, Vec<String>)>,
    /// It has an `if __name__ == "__main__":`.
    pub has_main: bool,
    /// Calls that are statements at the top level, outside the main block.
    pub calls: Vec<Expr>,
    /// There is a `while` at the top level.
    pub loops: bool,
    /// Calls that are statements in the main block.
    pub main_calls: Vec<Expr>,
    /// The byte offsets of the bindings; as many as `bindings`.
    offsets: Vec<usize>,
}

/// A module that is not Python: where and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    pub path: String,
    pub line: usize,
    pub message: String,
}

/// Parses a module. `name` is its dotted name, `is_package` whether it is an `__init__.py`.
pub(super) fn parse(
    path: &str,
    name: &str,
    is_package: bool,
    source: &str,
) -> Result<Module, SyntaxError> {
    let parsed = parse::module(source).map_err(|problem| SyntaxError {
        path: path.to_owned(),
        line: source
            .get(..problem.offset)
            .unwrap_or("")
            .matches('\n')
            .count()
            + 1,
        message: problem.message,
    })?;
    let mut module = Module {
        path: path.to_owned(),
        ..Module::default()
    };
    let package = if is_package {
        name.to_owned()
    } else {
        name.rsplit_once('.')
            .map_or(String::new(), |(package, _)| package.to_owned())
    };
    module.read(parsed.suite(), &package);
    Ok(module)
}

/// The bindings inside a function, as if it were a module.
pub(super) fn body(path: &str, package: &str, body: &[Stmt]) -> Module {
    let mut module = Module {
        path: path.to_owned(),
        ..Module::default()
    };
    module.read(body, package);
    module
}

impl Module {
    fn read(&mut self, body: &[Stmt], package: &str) {
        for statement in body {
            self.read_one(statement, package);
            // Those of inner blocks have theirs already.
            let offset = statement.range().start().to_usize();
            self.offsets.resize(self.bindings.len(), offset);
        }
    }

    /// Where the last binding of a name begins.
    pub(super) fn offset_of(&self, name: &str) -> Option<usize> {
        let (index, _) = self.find(name, None)?;
        self.offsets.get(index).copied()
    }

    fn read_one(&mut self, statement: &Stmt, package: &str) {
        {
            match statement {
                Stmt::Assign(assign) => {
                    // `app = application = Flask()`: the second is the first, not another.
                    let mut value: &Expr = &assign.value;
                    for target in &assign.targets {
                        self.bind(target, value);
                        if let Expr::Name(_) = target {
                            value = target;
                        }
                    }
                }
                Stmt::AnnAssign(assign) => {
                    if let Some(value) = &assign.value {
                        self.bind(&assign.target, value);
                    }
                }
                Stmt::FunctionDef(function) => self.bindings.push((
                    function.name.to_string(),
                    Binding::Function(function.clone()),
                )),
                Stmt::ClassDef(class) => self
                    .bindings
                    .push((class.name.to_string(), Binding::Class(class.clone()))),
                Stmt::Import(_) | Stmt::ImportFrom(_) => {
                    if let Stmt::Import(import) = statement {
                        let names = import.names.iter().map(|alias| alias.name.to_string());
                        self.imported.extend(names);
                    }
                    let (bindings, stars) = imports(statement, package);
                    self.bindings.extend(bindings);
                    self.stars.extend(stars);
                }
                Stmt::Expr(expression) => self.call(&expression.value),
                Stmt::If(branch) => {
                    if is_main(&branch.test) {
                        self.has_main = true;
                        let calls = branch.body.iter().filter_map(|inner| match inner {
                            Stmt::Expr(inner) if inner.value.is_call_expr() => {
                                Some((*inner.value).clone())
                            }
                            _ => None,
                        });
                        self.main_calls.extend(calls);
                    } else {
                        self.read(&branch.body, package);
                    }
                    for clause in &branch.elif_else_clauses {
                        self.read(&clause.body, package);
                    }
                }
                Stmt::Try(attempt) => {
                    // Bindings of the branch without a failure come last, so that they win.
                    for handler in &attempt.handlers {
                        let ast::ExceptHandler::ExceptHandler(handler) = handler;
                        self.read(&handler.body, package);
                    }
                    self.read(&attempt.body, package);
                    self.read(&attempt.orelse, package);
                    self.read(&attempt.finalbody, package);
                }
                Stmt::With(with) => self.read(&with.body, package),
                Stmt::While(_) => self.loops = true,
                Stmt::For(each) => self.read(&each.body, package),
                _ => {}
            }
        }
    }

    fn bind(&mut self, target: &Expr, value: &Expr) {
        match target {
            Expr::Name(name) => self
                .bindings
                .push((name.id.to_string(), Binding::Value(value.clone()))),
            Expr::Tuple(names) => {
                if let Expr::Tuple(values) = value
                    && values.elts.len() == names.elts.len()
                {
                    for (name, value) in names.elts.iter().zip(&values.elts) {
                        self.bind(name, value);
                    }
                } else if value.is_call_expr()
                    && let Some(first) = names.elts.first()
                {
                    // `app, rt = fast_app()`
                    self.bind(first, value);
                }
            }
            // `app.wsgi_app = ProxyFix(app.wsgi_app)` wraps in place: nothing new.
            _ => {}
        }
    }

    fn call(&mut self, expression: &Expr) {
        let Expr::Call(call) = expression else { return };
        self.calls.push(expression.clone());
        if let Expr::Attribute(attribute) = call.func.as_ref()
            && let Expr::Name(receiver) = attribute.value.as_ref()
        {
            let mut names = Vec::new();
            for argument in arguments(call) {
                names_in(argument, &mut names);
            }
            self.uses.push((receiver.id.to_string(), names));
        }
    }

    /// The last binding of a name, or the last before `before`.
    pub(super) fn find(&self, name: &str, before: Option<usize>) -> Option<(usize, &Binding)> {
        self.bindings
            .iter()
            .enumerate()
            .take(before.unwrap_or(self.bindings.len()))
            .rev()
            .find(|(_, (bound, _))| bound == name)
            .map(|(index, (_, binding))| (index, binding))
    }
}

/// The bindings that an import statement makes, and the modules that it imports all of.
pub(super) fn imports(statement: &Stmt, package: &str) -> (Vec<(String, Binding)>, Vec<String>) {
    let mut bindings = Vec::new();
    let mut stars = Vec::new();
    match statement {
        Stmt::Import(import) => {
            for alias in &import.names {
                let (name, module) = if let Some(asname) = &alias.asname {
                    (asname.to_string(), alias.name.to_string())
                } else {
                    // `import a.b` binds `a`.
                    let first = alias.name.split('.').next().unwrap_or("").to_owned();
                    (first.clone(), first)
                };
                bindings.push((
                    name,
                    Binding::Import {
                        module,
                        attribute: None,
                    },
                ));
            }
        }
        Stmt::ImportFrom(import) => {
            let named = import.module.as_ref().map_or("", |module| module.as_str());
            let Some(module) = absolute(package, import.level, named) else {
                return (bindings, stars);
            };
            for alias in &import.names {
                if alias.name.as_str() == "*" {
                    stars.push(module.clone());
                    continue;
                }
                let bound = alias.asname.as_ref().unwrap_or(&alias.name).to_string();
                bindings.push((
                    bound,
                    Binding::Import {
                        module: module.clone(),
                        attribute: Some(alias.name.to_string()),
                    },
                ));
            }
        }
        _ => {}
    }
    (bindings, stars)
}

/// The absolute name of a relative import (PEP 328).
fn absolute(package: &str, level: u32, module: &str) -> Option<String> {
    if level == 0 {
        return Some(module.to_owned());
    }
    let mut parts: Vec<&str> = package.split('.').filter(|part| !part.is_empty()).collect();
    for _ in 1..level {
        parts.pop()?;
    }
    parts.extend(module.split('.').filter(|part| !part.is_empty()));
    Some(parts.join("."))
}

/// `__name__ == "__main__"`, alone or in a condition.
fn is_main(test: &Expr) -> bool {
    match test {
        Expr::Compare(compare) => {
            let sides = std::iter::once(compare.left.as_ref()).chain(compare.comparators.iter());
            let mut name = false;
            let mut main = false;
            for side in sides {
                match side {
                    Expr::Name(side) => name |= side.id.as_str() == "__name__",
                    Expr::StringLiteral(side) => main |= side.value.to_str() == "__main__",
                    _ => {}
                }
            }
            name && main
        }
        Expr::BoolOp(operation) => operation.values.iter().any(is_main),
        _ => false,
    }
}

/// Positional and keyword arguments.
pub(super) fn arguments(call: &ast::ExprCall) -> impl Iterator<Item = &Expr> {
    call.arguments
        .args
        .iter()
        .chain(call.arguments.keywords.iter().map(|keyword| &keyword.value))
}

/// Every plain name in an expression.
pub(super) fn names_in(expression: &Expr, names: &mut Vec<String>) {
    struct Collector<'n>(&'n mut Vec<String>);
    impl<'a> ast::visitor::Visitor<'a> for Collector<'_> {
        fn visit_expr(&mut self, expression: &'a Expr) {
            if let Expr::Name(name) = expression {
                self.0.push(name.id.to_string());
            }
            ast::visitor::walk_expr(self, expression);
        }
    }
    ast::visitor::Visitor::visit_expr(&mut Collector(names), expression);
}

/// The text of a string literal.
pub(super) fn string(expression: &Expr) -> Option<String> {
    match expression {
        Expr::StringLiteral(literal) => Some(literal.value.to_str().to_owned()),
        _ => None,
    }
}
