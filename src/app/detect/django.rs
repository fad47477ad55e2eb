//! What is known about a Django project without running it: `manage.py`, the settings module, and
//! the applications that this names. The build asks Django itself ([`crate::assemble`]).

use ruff_python_ast::{self as ast, Expr};

use super::super::files::{EntryKind, Files};
use super::entry::under;
use super::evaluate::Evaluator;
use super::parse;
use super::syntax::{self, Binding};

/// A Django project, as far as its text shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Django {
    /// Path of `manage.py`.
    pub manage: String,
    /// The directory of its packages.
    pub root: String,
    /// `mysite.settings`, where `manage.py` says it plainly.
    pub settings_module: Option<String>,
    /// `mysite.wsgi.application`.
    pub wsgi_application: Option<String>,
    pub asgi_application: Option<String>,
    /// Its settings say `DEBUG = True`, plainly.
    pub is_in_debug_mode: bool,
}

const VARIABLE: &str = "DJANGO_SETTINGS_MODULE";

/// Looks for a project whose `manage.py` is in `home`.
pub(super) fn find(files: &dyn Files, home: &str) -> Option<Django> {
    let manage = under(home, "manage.py");
    let named = settings_named(&files.text(&manage)?)?;
    let root = named
        .as_deref()
        .and_then(|module| root_of(files, home, module))
        .unwrap_or_else(|| home.to_owned());
    // A link at the top leads to the program beside the packages.
    let beside = under(&root, "manage.py");
    let manage = if files.is_file(&beside) {
        beside
    } else {
        manage
    };
    let evaluator = Evaluator::new(files, vec![root.clone()]);
    let package = named.as_deref().and_then(|name| name.split('.').next());
    let of_package = |module: &str| {
        let module = format!("{}.{module}", package?);
        let path = evaluator.path_of(&module)?;
        Some((format!("{module}.application"), path))
    };
    let (wsgi, asgi) = (of_package("wsgi"), of_package("asgi"));
    // The module that the server will load decides: `manage.py` is for the developer.
    let said = [&wsgi, &asgi]
        .into_iter()
        .flatten()
        .find_map(|(_, path)| settings_named(&files.text(path)?).flatten());
    let settings_module = said
        .filter(|module| evaluator.path_of(module).is_some())
        .or(named);
    let setting = |name: &str| self::setting(&evaluator, settings_module.as_deref()?, name);
    let wsgi_application = setting("WSGI_APPLICATION");
    let asgi_application = setting("ASGI_APPLICATION");
    let is_in_debug_mode = settings_module
        .as_deref()
        .and_then(|module| value(&evaluator, module, "DEBUG", 0))
        .is_some_and(|value| matches!(value, Expr::BooleanLiteral(literal) if literal.value));
    Some(Django {
        manage,
        root,
        // Without the setting: the module that `django-admin startproject` makes.
        wsgi_application: wsgi_application.or(wsgi.map(|(name, _)| name)),
        asgi_application: asgi_application.or(asgi.map(|(name, _)| name)),
        is_in_debug_mode,
        settings_module,
    })
}

/// The settings module that a program names; `None` if the program does not use Django.
#[expect(clippy::option_option, reason = "Django, and perhaps its settings")]
fn settings_named(source: &str) -> Option<Option<String>> {
    match parse::module(source) {
        Ok(parsed) => {
            let mut finder = Finder::default();
            for statement in parsed.suite() {
                ast::visitor::Visitor::visit_stmt(&mut finder, statement);
            }
            finder.mentioned.then_some(finder.value)
        }
        // For example Python 2. Django reports it at build.
        Err(_) => source.contains(VARIABLE).then_some(None),
    }
}

/// The directory of the settings: the home, or one below it.
fn root_of(files: &dyn Files, home: &str, module: &str) -> Option<String> {
    let directories = files
        .list(home)
        .into_iter()
        .filter(|entry| entry.kind == EntryKind::Directory && !entry.name.starts_with('.'))
        .map(|entry| under(home, &entry.name));
    std::iter::once(home.to_owned())
        .chain(directories)
        .find(|root| {
            Evaluator::new(files, vec![root.clone()])
                .path_of(module)
                .is_some()
        })
}

fn setting(evaluator: &Evaluator<'_>, module: &str, name: &str) -> Option<String> {
    syntax::string(&value(evaluator, module, name, 0)?)
}

/// The value of a name in the settings.
fn value(evaluator: &Evaluator<'_>, module: &str, name: &str, depth: u32) -> Option<Expr> {
    let module = evaluator.module(module)?;
    match module.find(name, None) {
        Some((_, Binding::Value(value))) => Some(value.clone()),
        // `from .base import *`
        None if depth < 8 => module
            .stars
            .iter()
            .rev()
            .find_map(|star| self::value(evaluator, star, name, depth + 1)),
        _ => None,
    }
}

/// `os.environ.setdefault("DJANGO_SETTINGS_MODULE", "x")`, `os.environ["DJANGO_…"] = "x"`.
#[derive(Default)]
struct Finder {
    mentioned: bool,
    value: Option<String>,
}

impl<'a> ast::visitor::Visitor<'a> for Finder {
    fn visit_expr(&mut self, expression: &'a Expr) {
        match expression {
            Expr::StringLiteral(literal) if literal.value.to_str() == VARIABLE => {
                self.mentioned = true;
            }
            Expr::Call(call) => {
                if let [first, second, ..] = call.arguments.args.as_ref()
                    && syntax::string(first).as_deref() == Some(VARIABLE)
                    && let Some(value) = syntax::string(second)
                {
                    self.value = Some(value);
                }
            }
            _ => {}
        }
        ast::visitor::walk_expr(self, expression);
    }

    fn visit_stmt(&mut self, statement: &'a ast::Stmt) {
        if let ast::Stmt::Assign(assign) = statement
            && let [Expr::Subscript(subscript)] = assign.targets.as_slice()
            && syntax::string(&subscript.slice).as_deref() == Some(VARIABLE)
            && let Some(value) = syntax::string(&assign.value)
        {
            self.value = Some(value);
        }
        ast::visitor::walk_stmt(self, statement);
    }
}
