//! What a name in a module is, as far as the text tells: an application, a class of applications,
//! or something of a package outside of the tree. Follows assignments, imports inside the tree and
//! what functions return; bounded in depth and steps, because the text is hostile.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use ruff_python_ast::{self as ast, Expr, Stmt};

use super::super::files::Files;
use super::kinds::{self, Interface};
use super::syntax::{self, Binding, Module, SyntaxError};

const MAX_DEPTH: u32 = 24;
const MAX_STEPS: u32 = 20_000;

/// An application object, and the names that were passed on the way to it.
#[derive(Debug, Clone)]
pub(super) struct App {
    pub interface: Interface,
    pub framework: String,
    /// The attribute of the object that is the application: Dash's `server`.
    pub attribute: Option<&'static str>,
    /// (file, name)
    pub through: BTreeSet<(String, String)>,
}

impl App {
    fn new((interface, framework): (Interface, &str)) -> App {
        App {
            interface,
            framework: framework.to_owned(),
            attribute: None,
            through: BTreeSet::new(),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    App(App),
    /// Calling it gives an application.
    Class(App),
    Function(Rc<Module>, ast::StmtFunctionDef),
    /// A module, or something in a module outside of the tree, by its dotted name.
    Path(String),
    /// The result of calling such an object.
    Instance(String),
}

pub(super) struct Evaluator<'f> {
    files: &'f dyn Files,
    /// Directories that are on `sys.path`, relative to the tree.
    roots: Vec<String>,
    modules: RefCell<BTreeMap<String, Option<Rc<Module>>>>,
    pub errors: RefCell<Vec<SyntaxError>>,
    steps: Cell<u32>,
}

/// Where a name is looked up.
#[derive(Clone, Copy)]
struct Scope<'s> {
    module: &'s Rc<Module>,
    /// Only the bindings before this one.
    before: Option<usize>,
    locals: Option<(&'s Module, Option<usize>)>,
}

impl<'f> Evaluator<'f> {
    pub(super) fn new(files: &'f dyn Files, roots: Vec<String>) -> Evaluator<'f> {
        Evaluator {
            files,
            roots,
            modules: RefCell::default(),
            errors: RefCell::default(),
            steps: Cell::new(0),
        }
    }

    /// A module of the tree by its file.
    pub(super) fn module_at(&self, path: &str, name: &str) -> Option<Rc<Module>> {
        if let Some(known) = self.modules.borrow().get(path) {
            return known.clone();
        }
        let module = self.files.text(path).and_then(|source| {
            let package = path.ends_with("__init__.py");
            match syntax::parse(path, name, package, &source) {
                Ok(module) => Some(Rc::new(module)),
                Err(error) => {
                    self.errors.borrow_mut().push(error);
                    None
                }
            }
        });
        self.modules
            .borrow_mut()
            .insert(path.to_owned(), module.clone());
        module
    }

    /// A module of the tree by its dotted name.
    pub(super) fn module(&self, name: &str) -> Option<Rc<Module>> {
        let path = self.path_of(name)?;
        self.module_at(&path, name)
    }

    pub(super) fn path_of(&self, name: &str) -> Option<String> {
        if name.is_empty() {
            return None;
        }
        let relative = name.replace('.', "/");
        self.roots.iter().find_map(|root| {
            let prefix = if root.is_empty() {
                relative.clone()
            } else {
                format!("{root}/{relative}")
            };
            [format!("{prefix}/__init__.py"), format!("{prefix}.py")]
                .into_iter()
                .find(|path| self.files.is_file(path))
        })
    }

    /// What a module-level name is in the end.
    pub(super) fn name(&self, module: &Rc<Module>, name: &str) -> Option<Value> {
        self.lookup(module, name, None, 0)
    }

    /// What a function returns when it is an application.
    pub(super) fn returned(
        &self,
        module: &Rc<Module>,
        function: &ast::StmtFunctionDef,
    ) -> Option<App> {
        self.returns(module, function, 0)
    }

    /// Whether a call at the top level of a module serves, so that an import of it would not end.
    pub(super) fn serves(&self, module: &Rc<Module>) -> bool {
        let scope = Scope {
            module,
            before: None,
            locals: None,
        };
        module.calls.iter().any(|call| {
            let Expr::Call(call) = call else { return false };
            if let Some(Value::Path(path)) = self.eval(scope, &call.func, 0)
                && kinds::serves(&path)
            {
                return true;
            }
            if let Expr::Attribute(attribute) = call.func.as_ref() {
                let receiver = self.eval(scope, &attribute.value, 0);
                return match attribute.attr.as_str() {
                    "run" | "listen" => {
                        matches!(receiver, Some(Value::App(_) | Value::Instance(_)))
                    }
                    "serve_forever" | "run_forever" => true,
                    _ => false,
                };
            }
            false
        })
    }

    fn step(&self, depth: u32) -> bool {
        self.steps.set(self.steps.get() + 1);
        depth < MAX_DEPTH && self.steps.get() < MAX_STEPS
    }

    fn lookup(
        &self,
        module: &Rc<Module>,
        name: &str,
        before: Option<usize>,
        depth: u32,
    ) -> Option<Value> {
        if !self.step(depth) {
            return None;
        }
        let Some((index, binding)) = module.find(name, before) else {
            return module.stars.iter().find_map(|star| {
                let Some(inner) = self.module(star) else {
                    // `from fasthtml.common import *`: only the known names of an outside package.
                    let dotted = format!("{star}.{name}");
                    return kinds::constructor(&dotted).map(|_| Value::Path(dotted));
                };
                self.lookup(&inner, name, None, depth + 1)
            });
        };
        let scope = Scope {
            module,
            before: Some(index),
            locals: None,
        };
        let value = self.binding(scope, name, binding, depth)?;
        Some(through(value, &module.path, name))
    }

    fn binding(
        &self,
        scope: Scope<'_>,
        name: &str,
        binding: &Binding,
        depth: u32,
    ) -> Option<Value> {
        match binding {
            Binding::Value(expression) => {
                let value = self.eval(scope, expression, depth + 1);
                match value {
                    None | Some(Value::Instance(_)) => self
                        .wrapped_as(scope, name, expression, depth)
                        .map(Value::App)
                        .or(value),
                    value => value,
                }
            }
            Binding::Function(function) => Some(match raw_application(function, 0) {
                Some(interface) => Value::App(App::new((interface, ""))),
                None => Value::Function(Rc::clone(scope.module), function.clone()),
            }),
            Binding::Class(class) => self.class(scope, class, depth).map(Value::Class),
            Binding::Import { module, attribute } => match attribute {
                None => Some(Value::Path(module.clone())),
                Some(attribute) => Some(self.member(module, attribute, depth)),
            },
        }
    }

    /// `attribute` of the module `path`, or the module `path.attribute`.
    fn member(&self, path: &str, attribute: &str, depth: u32) -> Value {
        if let Some(module) = self.module(path)
            && let Some(value) = self.lookup(&module, attribute, None, depth + 1)
        {
            return value;
        }
        Value::Path(format!("{path}.{attribute}"))
    }

    fn scoped(&self, scope: Scope<'_>, name: &str, depth: u32) -> Option<Value> {
        if let Some((locals, before)) = scope.locals
            && let Some((index, binding)) = locals.find(name, before)
        {
            let inner = Scope {
                locals: Some((locals, Some(index))),
                ..scope
            };
            return self.binding(inner, name, binding, depth + 1);
        }
        self.lookup(scope.module, name, scope.before, depth + 1)
    }

    fn eval(&self, scope: Scope<'_>, expression: &Expr, depth: u32) -> Option<Value> {
        if !self.step(depth) {
            return None;
        }
        match expression {
            Expr::Name(name) => self.scoped(scope, name.id.as_str(), depth),
            Expr::Named(named) => self.eval(scope, &named.value, depth + 1),
            Expr::If(choice) => self
                .application(scope, &choice.body, depth + 1)
                .or_else(|| self.application(scope, &choice.orelse, depth + 1))
                .map(Value::App),
            Expr::BoolOp(operation) => operation
                .values
                .iter()
                .find_map(|value| self.application(scope, value, depth + 1))
                .map(Value::App),
            Expr::Attribute(attribute) => {
                let name = attribute.attr.as_str();
                match self.eval(scope, &attribute.value, depth + 1)? {
                    Value::Path(path) => Some(self.member(&path, name, depth)),
                    Value::Instance(dotted) => Some(Value::Instance(format!("{dotted}.{name}"))),
                    Value::App(app) if app.attribute == Some(name) => Some(Value::App(App {
                        attribute: None,
                        ..app
                    })),
                    Value::App(app) => {
                        kinds::attribute(name).map(|interface| Value::App(App { interface, ..app }))
                    }
                    _ => None,
                }
            }
            Expr::Call(call) => self.call(scope, call, depth + 1),
            _ => None,
        }
    }

    fn application(&self, scope: Scope<'_>, expression: &Expr, depth: u32) -> Option<App> {
        match self.eval(scope, expression, depth) {
            Some(Value::App(app)) => Some(app),
            _ => None,
        }
    }

    fn call(&self, scope: Scope<'_>, call: &ast::ExprCall, depth: u32) -> Option<Value> {
        if let Expr::Attribute(attribute) = call.func.as_ref()
            && let Some(kind) = kinds::method(attribute.attr.as_str())
        {
            return Some(Value::App(App::new(kind)));
        }
        match self.eval(scope, &call.func, depth + 1)? {
            Value::Class(app) => Some(Value::App(app)),
            Value::Function(module, function) => {
                self.returns(&module, &function, depth + 1).map(|mut app| {
                    app.through
                        .insert((module.path.clone(), function.name.to_string()));
                    Value::App(app)
                })
            }
            Value::Path(path) => {
                if let Some(kind) = kinds::constructor(&path) {
                    let mut app = App::new(kind);
                    // `WsgiToAsgi(app)`, `socketio.ASGIApp(sio, app)`: the inner one is this one.
                    for argument in syntax::arguments(call) {
                        if let Some(inner) = self.application(scope, argument, depth + 1) {
                            app.through.extend(inner.through);
                            if app.framework.is_empty() {
                                app.framework = inner.framework;
                            }
                        }
                    }
                    return Some(Value::App(app));
                }
                if let Some((attribute, interface, framework)) = kinds::holder(&path) {
                    let mut app = App::new((interface, framework));
                    app.attribute = Some(attribute);
                    // `Dash(server=flask_app)`: Flask's is a part of it.
                    for argument in syntax::arguments(call) {
                        if let Some(inner) = self.application(scope, argument, depth + 1) {
                            app.through.extend(inner.through);
                        }
                    }
                    return Some(Value::App(app));
                }
                if kinds::wraps(&path)
                    && let Some(app) = syntax::arguments(call)
                        .find_map(|argument| self.application(scope, argument, depth + 1))
                {
                    return Some(Value::App(app));
                }
                Some(Value::Instance(path))
            }
            _ => None,
        }
    }

    /// `app = Unknown(app)`, `application = anything(app)`: an application by its name.
    fn wrapped_as(
        &self,
        scope: Scope<'_>,
        name: &str,
        expression: &Expr,
        depth: u32,
    ) -> Option<App> {
        let Expr::Call(call) = expression else {
            return None;
        };
        let conventional = matches!(
            name,
            "app" | "application" | "wsgi_app" | "asgi_app" | "wsgi" | "asgi" | "handler"
        );
        let rebinds = syntax::arguments(call).any(
            |argument| matches!(argument, Expr::Name(argument) if argument.id.as_str() == name),
        );
        if !conventional && !rebinds {
            return None;
        }
        syntax::arguments(call).find_map(|argument| self.application(scope, argument, depth + 1))
    }

    fn class(&self, scope: Scope<'_>, class: &ast::StmtClassDef, depth: u32) -> Option<App> {
        for statement in &class.body {
            if let Stmt::FunctionDef(method) = statement
                && method.name.as_str() == "__call__"
                && let Some(interface) = raw_application(method, 1)
            {
                return Some(App::new((interface, "")));
            }
        }
        let arguments = class.arguments.as_ref()?;
        arguments
            .args
            .iter()
            .find_map(|base| match self.eval(scope, base, depth + 1)? {
                Value::Class(app) => Some(app),
                Value::Path(path) => kinds::constructor(&path).map(App::new),
                _ => None,
            })
    }

    fn returns(
        &self,
        module: &Rc<Module>,
        function: &ast::StmtFunctionDef,
        depth: u32,
    ) -> Option<App> {
        if !self.step(depth) {
            return None;
        }
        let package = module.path.trim_end_matches(".py").replace('/', ".");
        let package = package
            .strip_suffix(".__init__")
            .unwrap_or(package.rsplit_once('.').map_or("", |(package, _)| package));
        let locals = syntax::body(&module.path, package, &function.body);
        let scope = Scope {
            module,
            before: None,
            locals: Some((&locals, None)),
        };
        let mut found = None;
        each_return(&function.body, &mut |expression| {
            if found.is_none() {
                found = self.application(scope, expression, depth + 1);
            }
        });
        let found = found.or_else(|| {
            let annotation = function.returns.as_ref()?;
            match self.eval(scope, annotation, depth + 1)? {
                Value::Path(path) => kinds::constructor(&path).map(App::new),
                Value::Class(app) => Some(app),
                _ => None,
            }
        });
        // Only the framework's own server awaits a factory.
        found.filter(|app| !function.is_async || app.interface == Interface::Own)
    }
}

fn through(value: Value, path: &str, name: &str) -> Value {
    match value {
        Value::App(mut app) => {
            app.through.insert((path.to_owned(), name.to_owned()));
            Value::App(app)
        }
        other => other,
    }
}

/// PEP 3333's `(environ, start_response)`, or ASGI's `async (scope, receive, send)`, after `skip`
/// parameters: by their names, or by how they are used.
fn raw_application(function: &ast::StmtFunctionDef, skip: usize) -> Option<Interface> {
    let names: Vec<&str> = function
        .parameters
        .posonlyargs
        .iter()
        .chain(function.parameters.args.iter())
        .skip(skip)
        .map(|parameter| parameter.parameter.name.as_str())
        .collect();
    match (function.is_async, names.as_slice()) {
        (false, [environ, start])
            if environ.trim_start_matches('_').starts_with("env")
                && start.trim_start_matches('_').starts_with("start")
                || calls(&function.body, start, is_status) =>
        {
            Some(Interface::Wsgi)
        }
        (true, ["scope", "receive", "send"]) => Some(Interface::Asgi),
        (true, [_, _, send]) if calls(&function.body, send, is_message) => Some(Interface::Asgi),
        _ => None,
    }
}

/// Whether `name` is called with arguments like these.
fn calls(body: &[Stmt], name: &str, like: fn(&[Expr]) -> bool) -> bool {
    let mut found = false;
    each_part(body, &mut |part| {
        if let Part::Call(call) = part
            && matches!(call.func.as_ref(), Expr::Name(called) if called.id.as_str() == name)
        {
            found |= like(&call.arguments.args);
        }
    });
    found
}

/// `("200 OK", headers)`: a status with its number, and a list.
fn is_status(arguments: &[Expr]) -> bool {
    let [status, headers, ..] = arguments else {
        return false;
    };
    let numbered = |text: &str| {
        let mut bytes = text.bytes();
        let number = bytes.by_ref().take(3).filter(u8::is_ascii_digit).count() == 3;
        number && bytes.next() == Some(b' ')
    };
    match status {
        Expr::StringLiteral(status) => numbered(status.value.to_str()),
        Expr::Name(status) => {
            status.id.as_str() == "status" && matches!(headers, Expr::Name(_) | Expr::List(_))
        }
        _ => false,
    }
}

/// `({"type": "http.…", …})`.
fn is_message(arguments: &[Expr]) -> bool {
    let [Expr::Dict(message)] = arguments else {
        return false;
    };
    let text = |expression: &Expr| match expression {
        Expr::StringLiteral(literal) => Some(literal.value.to_str().to_owned()),
        _ => None,
    };
    message.items.iter().any(|item| {
        item.key.as_ref().and_then(text).as_deref() == Some("type")
            && text(&item.value).is_some_and(|kind| kind.contains('.'))
    })
}

/// Whether a function can be called without arguments.
pub(super) fn needs_no_arguments(parameters: &ast::Parameters) -> bool {
    parameters
        .posonlyargs
        .iter()
        .chain(parameters.args.iter())
        .chain(parameters.kwonlyargs.iter())
        .all(|parameter| parameter.default.is_some())
}

fn each_return(body: &[Stmt], visit: &mut dyn FnMut(&Expr)) {
    each_part(body, &mut |part| {
        if let Part::Return(value) = part {
            visit(value);
        }
    });
}

/// What to look for in a function.
enum Part<'a> {
    Return(&'a Expr),
    Call(&'a ast::ExprCall),
}

/// Walks a function, but not the functions within it. One visitor serves both purposes, because each
/// visitor is much code.
fn each_part(body: &[Stmt], visit: &mut dyn FnMut(Part<'_>)) {
    struct Parts<'v>(&'v mut dyn FnMut(Part<'_>));
    impl<'a> ast::visitor::Visitor<'a> for Parts<'_> {
        fn visit_stmt(&mut self, statement: &'a Stmt) {
            match statement {
                Stmt::FunctionDef(_) | Stmt::ClassDef(_) => return,
                Stmt::Return(statement) => {
                    if let Some(value) = &statement.value {
                        (self.0)(Part::Return(value));
                    }
                }
                _ => {}
            }
            ast::visitor::walk_stmt(self, statement);
        }

        fn visit_expr(&mut self, expression: &'a Expr) {
            if let Expr::Call(call) = expression {
                (self.0)(Part::Call(call));
            }
            ast::visitor::walk_expr(self, expression);
        }
    }
    let mut parts = Parts(visit);
    for statement in body {
        ast::visitor::Visitor::visit_stmt(&mut parts, statement);
    }
}
