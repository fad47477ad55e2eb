//! What can be told about a Django project without running it: `manage.py`, the settings module,
//! and which applications it names. The build asks Django itself ([`crate::app::assemble`]).

use ruff_python_ast::{self as ast, Expr};

use super::super::files::Files;
use super::entry::under;
use super::evaluate::Evaluator;
use super::parse;
use super::syntax::{self, Binding};

/// A Django project, as its text tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Django {
    /// Path of `manage.py`.
    pub manage: String,
    /// `mysite.settings`, where `manage.py` says it plainly.
    pub settings_module: Option<String>,
    /// `mysite.wsgi.application`.
    pub wsgi_application: Option<String>,
    pub asgi_application: Option<String>,
    /// `STATIC_URL`, where it is a plain string.
    pub static_url: Option<String>,
}

const VARIABLE: &str = "DJANGO_SETTINGS_MODULE";

/// Looks for a project whose `manage.py` is in `home`.
pub(super) fn find(files: &dyn Files, home: &str) -> Option<Django> {
    let manage = under(home, "manage.py");
    let source = files.text(&manage)?;
    let settings_module = match parse::module(&source) {
        Ok(parsed) => {
            let mut finder = Finder::default();
            for statement in parsed.suite() {
                ast::visitor::Visitor::visit_stmt(&mut finder, statement);
            }
            if !finder.mentioned {
                return None;
            }
            finder.value
        }
        // Python 2, say. Django will tell at build.
        Err(_) if source.contains(VARIABLE) => None,
        Err(_) => return None,
    };
    let evaluator = Evaluator::new(files, vec![home.to_owned()]);
    let setting = |name: &str| setting(&evaluator, settings_module.as_deref()?, name, 0);
    let wsgi_application = setting("WSGI_APPLICATION");
    let asgi_application = setting("ASGI_APPLICATION");
    let static_url = setting("STATIC_URL");
    // Without the setting: the module that `django-admin startproject` makes.
    let package = settings_module
        .as_deref()
        .and_then(|name| name.split('.').next());
    let guess = |module: &str| {
        let module = format!("{}.{module}", package?);
        evaluator
            .path_of(&module)
            .map(|_| format!("{module}.application"))
    };
    Some(Django {
        manage,
        wsgi_application: wsgi_application.or_else(|| guess("wsgi")),
        asgi_application: asgi_application.or_else(|| guess("asgi")),
        static_url,
        settings_module,
    })
}

fn setting(evaluator: &Evaluator<'_>, module: &str, name: &str, depth: u32) -> Option<String> {
    let module = evaluator.module(module)?;
    match module.find(name, None) {
        Some((_, Binding::Value(value))) => syntax::string(value),
        // `from .base import *`
        None if depth < 8 => module
            .stars
            .iter()
            .rev()
            .find_map(|star| setting(evaluator, star, name, depth + 1)),
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
