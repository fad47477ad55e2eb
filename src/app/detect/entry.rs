//! Finds the application's entry point in the syntax trees of `wsgi.py`, `asgi.py`, `app.py` and `main.py`,
//! then of all modules of the root and of packages.
//!
//! Every module-level application object and every factory is a candidate. Candidates that are one
//! application under several names (imported, wrapped, made by the factory, mounted) form a group;
//! one group is the answer, and in it the outermost name. With two groups, the application's owner
//! must decide.

use std::collections::{BTreeMap, BTreeSet};

use ruff_python_ast::Expr;

use super::super::files::{EntryKind, Files};
use super::evaluate::{Evaluator, Value, needs_no_arguments};
use super::import_roots::roots;
use super::kinds::{FACTORIES, Interface};
use super::syntax::{Binding, SyntaxError};

/// Modules that are looked at, the most explicit first.
pub(super) const MODULES: &[&str] = &["wsgi", "asgi", "app", "main"];

/// Directories that are not an application's package.
pub(super) const NOT_PACKAGES: &[&str] = &[
    "bin",
    "build",
    "data",
    "dist",
    "doc",
    "docs",
    "examples",
    "migrations",
    "node_modules",
    "notebooks",
    "scripts",
    "static",
    "templates",
    "test",
    "testing",
    "tests",
    "tools",
    "venv",
];

/// Something that a server can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Dotted module name.
    pub module: String,
    /// Its file.
    pub path: String,
    pub object: String,
    /// `object` is a function that makes the application.
    pub factory: bool,
    pub interface: Interface,
    pub framework: String,
    /// Directory that must be on `sys.path`, relative to the tree, if it is not the home.
    pub root: String,
    /// The line of its file that binds it, if it is known.
    pub line: usize,
    /// The name that is bound; `object` may be an attribute of it.
    name: String,
    /// Names of exactly this application: (file, name).
    through: BTreeSet<(String, String)>,
    /// Names in its expression or in the arguments of its methods.
    mentions: BTreeSet<(String, String)>,
    order: usize,
}

impl Candidate {
    /// `module:object`, `module:factory()`.
    pub fn reference(&self) -> String {
        let call = if self.factory { "()" } else { "" };
        format!("{}:{}{call}", self.module, self.object)
    }

    /// The reference, with file and line behind it.
    pub fn with_place(&self) -> String {
        format!("{} ({})", self.reference(), self.place())
    }

    /// `app.py:3`
    fn place(&self) -> String {
        match self.line {
            0 => self.path.clone(),
            line => format!("{}:{line}", self.path),
        }
    }

    /// What it is and where, for people.
    pub(super) fn words(&self) -> String {
        let what = if self.factory { "makes" } else { "is" };
        let kind = match (self.framework.as_str(), self.interface) {
            ("", Interface::Wsgi) => "a WSGI application".to_owned(),
            ("", Interface::Asgi) => "an ASGI application".to_owned(),
            ("", Interface::Own) => "an application".to_owned(),
            (framework, _) => format!("an application ({framework})"),
        };
        format!("{}: `{}` {what} {kind}", self.place(), self.object)
    }
}

/// What the search found.
#[derive(Debug, Default)]
pub struct Found {
    /// One per application, the best name of each.
    pub applications: Vec<Candidate>,
    /// Files that were looked at.
    pub looked_at: Vec<String>,
    pub errors: Vec<SyntaxError>,
    /// Factories that cannot be used, and why.
    pub notes: Vec<String>,
    /// Files that serve by themselves when imported.
    pub serving: BTreeSet<String>,
    /// Files with an `if __name__ == "__main__":`.
    pub programs: BTreeSet<String>,
    /// The modules that were parsed.
    pub(super) modules: Vec<Read>,
}

/// What a module contains besides applications.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub path: String,
    pub module: String,
    /// It is in the home, not in a package.
    pub in_home: bool,
    /// Dotted names of what it imports.
    pub imports: BTreeSet<String>,
    /// The whole names of `import a.b`.
    pub imported: Vec<String>,
    pub has_main: bool,
    /// It does more than define names when it runs.
    pub acts: bool,
    /// What `uvicorn.run("module:object")` in its main block names.
    pub runs: Option<String>,
    /// Names of its classes, of what it makes by a call, with the last name of what was called, and of
    /// functions with that of their decorator.
    pub objects: Vec<(String, String)>,
}

impl Read {
    fn new(place: &ModuleFile, module: &super::syntax::Module, home: &str) -> Read {
        let mut imports: BTreeSet<String> = module.stars.iter().cloned().collect();
        for (_, binding) in &module.bindings {
            if let Binding::Import {
                module, attribute, ..
            } = binding
            {
                imports.insert(module.clone());
                if let Some(attribute) = attribute {
                    imports.insert(format!("{module}.{attribute}"));
                }
            }
        }
        Read {
            path: place.path.clone(),
            module: place.module.clone(),
            in_home: super::super::files::parent(&place.path) == home,
            imports,
            imported: module.imported.clone(),
            has_main: module.has_main,
            acts: !module.calls.is_empty() || module.loops,
            runs: module.main_calls.iter().find_map(named_in_run),
            objects: module
                .bindings
                .iter()
                .filter_map(|(name, binding)| Some((name.clone(), made_by(name, binding)?)))
                .collect(),
        }
    }
}

/// The last part of the name of an object's constructor; a class counts as its own.
fn made_by(name: &str, binding: &Binding) -> Option<String> {
    match binding {
        Binding::Class(_) => Some(name.to_owned()),
        // `@functions_framework.http`
        Binding::Function(function) => match &function.decorator_list.first()?.expression {
            Expr::Name(decorator) => Some(decorator.id.to_string()),
            Expr::Attribute(decorator) => Some(decorator.attr.to_string()),
            _ => None,
        },
        Binding::Value(Expr::Call(call)) => match call.func.as_ref() {
            Expr::Name(called) => Some(called.id.to_string()),
            Expr::Attribute(called) => Some(called.attr.to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// What makes a program one for developers.
pub(super) fn debugs_in(path: &str, text: &str) -> Option<&'static str> {
    let module = super::syntax::parse(path, "", false, text).ok()?;
    let mut calls = module.main_calls.iter().chain(&module.calls);
    calls.find_map(debugs)
}

/// `app.run(debug=True)`, `uvicorn.run(…, reload=True)`.
fn debugs(call: &Expr) -> Option<&'static str> {
    let Expr::Call(call) = call else { return None };
    let is_run = match call.func.as_ref() {
        Expr::Attribute(attribute) => attribute.attr.starts_with("run"),
        Expr::Name(name) => name.id.starts_with("run"),
        _ => false,
    };
    let keywords = call.arguments.keywords.iter().filter(|_| is_run);
    let mut on = keywords
        .filter(|keyword| matches!(&keyword.value, Expr::BooleanLiteral(literal) if literal.value));
    on.find_map(|keyword| match keyword.arg.as_ref()?.as_str() {
        "debug" => Some("debug=True"),
        "reload" => Some("reload=True"),
        "use_reloader" => Some("use_reloader=True"),
        _ => None,
    })
}

/// `uvicorn.run("a:b")`, `granian.Granian("a:b").serve()`.
fn named_in_run(call: &Expr) -> Option<String> {
    let Expr::Call(call) = call else { return None };
    let first = call.arguments.args.first();
    let reference = first.and_then(super::syntax::string);
    if let Some(reference) = reference.filter(|text| text.contains(':')) {
        let factory = call.arguments.keywords.iter().any(|keyword| {
            keyword
                .arg
                .as_ref()
                .is_some_and(|name| name.as_str() == "factory")
        });
        let call = if factory && !reference.ends_with("()") {
            "()"
        } else {
            ""
        };
        return Some(format!("{reference}{call}"));
    }
    match call.func.as_ref() {
        Expr::Attribute(attribute) => named_in_run(&attribute.value),
        _ => None,
    }
}

/// Looks for applications below `home`: first in modules with the usual names; if these have none,
/// in all modules of the root and of packages.
pub(super) fn search(files: &dyn Files, home: &str) -> Found {
    let first = search_in(files, home, &places(files, home));
    let served = |one: &Candidate| one.interface != Interface::Own;
    if first.applications.iter().any(served) {
        return first;
    }
    search_all(files, home)
}

/// Searches all modules, whatever the first ones contain.
pub(super) fn search_all(files: &dyn Files, home: &str) -> Found {
    search_in(files, home, &all_places(files, home))
}

fn search_in(files: &dyn Files, home: &str, places: &[ModuleFile]) -> Found {
    let mut found = Found::default();
    let evaluator = Evaluator::new(files, roots(files, home));
    let mut candidates: Vec<Candidate> = Vec::new();
    for (order, place) in places.iter().enumerate() {
        let Some(module) = evaluator.module_at(&place.path, &place.module) else {
            continue;
        };
        let read = Read::new(place, &module, home);
        // Invoke's file of tasks, not Celery's.
        if place.path.ends_with("tasks.py")
            && read.imports.iter().any(|name| name.starts_with("invoke"))
        {
            continue;
        }
        found.looked_at.push(place.path.clone());
        found.modules.push(read);
        if let Some(name) = sibling_import(files, place, &module) {
            found.notes.push(format!(
                "{} imports {name}, which lies beside it: its directory would be the home",
                place.path
            ));
            continue;
        }
        if module.has_main {
            found.programs.insert(place.path.clone());
        }
        if evaluator.serves(&module) {
            found.serving.insert(place.path.clone());
        }
        let mut names: BTreeSet<String> = module
            .bindings
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        for star in module
            .stars
            .iter()
            .filter_map(|star| evaluator.module(star))
        {
            names.extend(star.bindings.iter().map(|(name, _)| name.clone()));
        }
        for name in &names {
            let name = name.as_str();
            let (factory, app) = match evaluator.name(&module, name) {
                Some(Value::App(app)) => (false, app),
                Some(Value::Function(home, function)) if FACTORIES.contains(&name) => {
                    let Some(mut app) = evaluator.returned(&home, &function) else {
                        continue;
                    };
                    if !needs_no_arguments(&function.parameters) {
                        found.notes.push(format!(
                            "{}: {name}() needs arguments, so a server cannot call it",
                            place.path
                        ));
                        continue;
                    }
                    app.through
                        .insert((home.path.clone(), function.name.to_string()));
                    (true, app)
                }
                _ => continue,
            };
            let mut through = app.through;
            // `app.mount("/api", api)`: `api` is a part of `app`.
            let given = module
                .uses
                .iter()
                .filter(|(receiver, _)| receiver == name)
                .flat_map(|(_, arguments)| arguments.clone());
            let itself = (place.path.clone(), name.to_owned());
            let mentions = mentioned(&module, name)
                .into_iter()
                .chain(given)
                .map(|other| (place.path.clone(), other))
                .filter(|other| *other != itself)
                .collect();
            through.remove(&itself);
            let object = match app.attribute {
                Some(attribute) if !factory => format!("{name}.{attribute}"),
                // A server cannot take an attribute of a factory's result.
                Some(_) => continue,
                None => name.to_owned(),
            };
            let line = module.offset_of(name).map_or(0, |offset| {
                line_at(&files.text(&place.path).unwrap_or_default(), offset)
            });
            candidates.push(Candidate {
                module: place.module.clone(),
                path: place.path.clone(),
                name: name.to_owned(),
                line,
                object,
                factory,
                interface: app.interface,
                framework: app.framework,
                root: place.root.clone(),
                through,
                mentions,
                order,
            });
        }
    }
    found.errors = evaluator.errors.into_inner();
    found.applications = group(&candidates);
    found
}

/// Reads one named entry point, `module:object` or `module:factory()`.
pub(super) fn named(files: &dyn Files, home: &str, reference: &str) -> Result<Candidate, String> {
    let (module_name, object) = reference
        .split_once(':')
        .unwrap_or((reference, "application"));
    let (object, call) = match object.strip_suffix("()") {
        Some(object) => (object, true),
        None => (object, false),
    };
    let identifier = |text: &str| {
        !text.is_empty()
            && text.split('.').all(|part| {
                part.chars().all(|c| c.is_alphanumeric() || c == '_')
                    && !part.starts_with(|c: char| c.is_ascii_digit())
                    && !part.is_empty()
            })
    };
    if !identifier(module_name) || !identifier(object) {
        return Err("it must read module:object or module:function()".to_owned());
    }
    let roots = roots(files, home);
    let evaluator = Evaluator::new(files, roots.clone());
    let Some(path) = evaluator.path_of(module_name) else {
        let file = module_name.replace('.', "/");
        return Err(format!("there is neither {file}.py nor {file}/__init__.py"));
    };
    let dotted = module_name.replace('.', "/");
    let root = roots
        .into_iter()
        .rev()
        .find(|root| {
            let rest = path.strip_prefix(under(root, &dotted).as_str());
            rest.is_some_and(|rest| rest.starts_with(['.', '/']))
        })
        .unwrap_or_else(|| home.to_owned());
    let Some(module) = evaluator.module_at(&path, module_name) else {
        let error = evaluator.errors.into_inner().pop();
        return Err(error.map_or_else(
            || format!("{path} cannot be read"),
            |error| format!("{}:{}: {}", error.path, error.line, error.message),
        ));
    };
    let first = object.split('.').next().unwrap_or(object);
    let value = evaluator.name(&module, first);
    let (factory, interface, framework) = match value {
        Some(Value::App(app)) => (call, Some(app.interface), app.framework),
        Some(Value::Function(home, function)) => {
            let app = evaluator.returned(&home, &function);
            let framework = app
                .as_ref()
                .map_or(String::new(), |app| app.framework.clone());
            (true, app.map(|app| app.interface), framework)
        }
        Some(Value::Class(app)) => (true, Some(app.interface), app.framework),
        _ if module.find(first, None).is_none() && module.stars.is_empty() => {
            return Err(format!("{path} binds no `{first}`"));
        }
        _ => (call, None, String::new()),
    };
    let interface = interface.unwrap_or(if path.ends_with("asgi.py") {
        Interface::Asgi
    } else {
        Interface::Wsgi
    });
    let line = module.offset_of(first).map_or(0, |offset| {
        line_at(&files.text(&path).unwrap_or_default(), offset)
    });
    Ok(Candidate {
        module: module_name.to_owned(),
        path,
        name: first.to_owned(),
        line,
        object: object.to_owned(),
        factory,
        interface,
        framework,
        root,
        through: BTreeSet::new(),
        mentions: BTreeSet::new(),
        order: 0,
    })
}

/// The number of the line with that byte.
fn line_at(text: &str, offset: usize) -> usize {
    let before = text.get(..offset.min(text.len())).unwrap_or_default();
    before.matches('\n').count() + 1
}

struct ModuleFile {
    path: String,
    module: String,
    root: String,
}

pub(super) fn under(directory: &str, name: &str) -> String {
    if directory.is_empty() {
        name.to_owned()
    } else {
        format!("{directory}/{name}")
    }
}

/// The files to look at, the most explicit first.
fn places(files: &dyn Files, home: &str) -> Vec<ModuleFile> {
    let mut places = Vec::new();
    let roots = roots(files, home);
    for root in &roots {
        for module in MODULES {
            let path = under(root, &format!("{module}.py"));
            if files.is_file(&path) {
                places.push(ModuleFile {
                    path,
                    module: (*module).to_owned(),
                    root: root.clone(),
                });
            }
        }
    }
    for root in &roots {
        for entry in files.list(root) {
            let name = entry.name;
            if entry.kind != EntryKind::Directory
                || NOT_PACKAGES.contains(&name.as_str())
                || !name.chars().all(|c| c.is_alphanumeric() || c == '_')
                || roots.contains(&under(root, &name))
                || (root == home && is_project(files, &under(root, &name)))
            {
                continue;
            }
            let directory = under(root, &name);
            for module in MODULES.iter().chain(&["__init__"]) {
                let path = under(&directory, &format!("{module}.py"));
                if files.is_file(&path) {
                    let module = match *module {
                        "__init__" => name.clone(),
                        module => format!("{name}.{module}"),
                    };
                    places.push(ModuleFile {
                        path,
                        module,
                        root: root.clone(),
                    });
                }
            }
        }
    }
    places
}

/// Whether a directory is a separate project, not a package of this one: it has its own
/// requirements.
fn is_project(files: &dyn Files, directory: &str) -> bool {
    const SAY: [&str; 5] = [
        "requirements.txt",
        "pyproject.toml",
        "Pipfile",
        "setup.py",
        "Procfile",
    ];
    let has = |name: &str| files.is_file(&under(directory, name));
    !has("__init__.py") && SAY.into_iter().any(has)
}

/// Modules with these names do not start an application.
const NOT_MODULES: &[&str] = &[
    "conftest",
    "fabfile",
    "manage",
    "noxfile",
    "setup",
    "versioneer",
];
/// How many modules are parsed, and how deep in packages.
const MAX_PLACES: usize = 300;
const MAX_PACKAGES: usize = 3;

/// All modules of the root and of packages: first those that [`places`] has.
fn all_places(files: &dyn Files, home: &str) -> Vec<ModuleFile> {
    let mut found = places(files, home);
    let roots = roots(files, home);
    for root in &roots {
        modules_in(files, root, root, "", 0, &mut found);
    }
    found
}

fn modules_in(
    files: &dyn Files,
    root: &str,
    directory: &str,
    package: &str,
    depth: usize,
    found: &mut Vec<ModuleFile>,
) {
    let good = |name: &str| name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let entries = files.list(directory);
    for entry in &entries {
        let Some(name) = entry.name.strip_suffix(".py") else {
            continue;
        };
        let path = under(directory, &entry.name);
        if !matches!(entry.kind, EntryKind::File { .. })
            || !good(name)
            || NOT_MODULES.contains(&name)
            || name.starts_with("test_")
            || name.ends_with("_test")
            || (name == "__init__" && package.is_empty())
            || found.len() >= MAX_PLACES
            || found.iter().any(|place| place.path == path)
        {
            continue;
        }
        let module = match (package, name) {
            (package, "__init__") => package.to_owned(),
            ("", name) => name.to_owned(),
            (package, name) => format!("{package}.{name}"),
        };
        found.push(ModuleFile {
            path,
            module,
            root: root.to_owned(),
        });
    }
    for entry in &entries {
        let inner = under(directory, &entry.name);
        if depth >= MAX_PACKAGES
            || entry.kind != EntryKind::Directory
            || !good(&entry.name)
            || NOT_PACKAGES.contains(&entry.name.as_str())
            || !files.is_file(&under(&inner, "__init__.py"))
        {
            continue;
        }
        let name = match package {
            "" => entry.name.clone(),
            package => format!("{package}.{}", entry.name),
        };
        modules_in(files, root, &inner, &name, depth + 1, found);
    }
}

/// A module beside the file that is imported as if its directory were on `sys.path`, which is not
/// the case.
fn sibling_import(
    files: &dyn Files,
    place: &ModuleFile,
    module: &super::syntax::Module,
) -> Option<String> {
    let directory = super::super::files::parent(&place.path);
    if directory == place.root {
        return None;
    }
    module.bindings.iter().find_map(|(_, binding)| {
        let Binding::Import { module, .. } = binding else {
            return None;
        };
        let first = module.split('.').next()?;
        // Relative imports have been made absolute, so they begin at the root.
        let at = |directory: &str| {
            let path = under(directory, first);
            files.is_file(&format!("{path}.py")) || files.is_directory(&path)
        };
        (!first.is_empty() && at(directory) && !at(&place.root)).then(|| first.to_owned())
    })
}

/// Plain names in the value that a name is bound to.
fn mentioned(module: &super::syntax::Module, name: &str) -> Vec<String> {
    let mut names = Vec::new();
    if let Some((_, Binding::Value(value @ (Expr::Call(_) | Expr::Attribute(_))))) =
        module.find(name, None)
    {
        super::syntax::names_in(value, &mut names);
    }
    names
}

/// The representative of a candidate's group.
fn root(parent: &mut [usize], mut at: usize) -> usize {
    while parent[at] != at {
        parent[at] = parent[parent[at]];
        at = parent[at];
    }
    at
}

/// Joins the candidates that are one application and chooses a name for each.
fn group(candidates: &[Candidate]) -> Vec<Candidate> {
    let mut parent: Vec<usize> = (0..candidates.len()).collect();
    let mut owners: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        owners.insert((candidate.path.clone(), candidate.name.clone()), index);
    }
    let mut by_origin: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut inner: BTreeSet<usize> = BTreeSet::new();
    for (index, candidate) in candidates.iter().enumerate() {
        for origin in candidate.through.iter().chain(&candidate.mentions) {
            let mut other = owners.get(origin).copied();
            if let Some(other) = other {
                inner.insert(other);
            } else if candidate.through.contains(origin) {
                // A name in a file that was not looked at joins those that come from it.
                other = Some(*by_origin.entry(origin.clone()).or_insert(index));
            }
            if let Some(other) = other {
                let (a, b) = (root(&mut parent, index), root(&mut parent, other));
                parent[a] = b;
            }
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in 0..candidates.len() {
        groups
            .entry(root(&mut parent, index))
            .or_default()
            .push(index);
    }
    let mut best: Vec<Candidate> = groups
        .into_values()
        .filter_map(|members| {
            let outer: Vec<usize> = members
                .iter()
                .copied()
                .filter(|index| !inner.contains(index))
                .collect();
            let from = if outer.is_empty() { members } else { outer };
            from.into_iter()
                .min_by_key(|index| rank(&candidates[*index]))
                .map(|index| candidates[index].clone())
        })
        .collect();
    best.sort_by_key(|candidate| (candidate.order, candidate.object.clone()));
    best
}

fn rank(candidate: &Candidate) -> (bool, usize, bool, usize, String) {
    let name = ["application", "app", "wsgi_app", "asgi_app"]
        .iter()
        .position(|name| *name == candidate.name)
        .unwrap_or(if candidate.object.starts_with('_') {
            9
        } else {
            8
        });
    (
        candidate.factory,
        candidate.order,
        candidate.object != candidate.name,
        name,
        candidate.object.clone(),
    )
}
