//! The directories that are on `sys.path` when a project is installed: the home, `src`, and where
//! `setup.py`, `setup.cfg` or `pyproject.toml` say that packages lie.

use ruff_python_ast::Expr;

use super::super::files::{Files, join};
use super::super::setup_cfg;
use super::syntax;

/// The home first; relative to the tree, each once.
pub(super) fn roots(files: &dyn Files, home: &str) -> Vec<String> {
    let mut found = vec![home.to_owned()];
    let source = under(home, "src");
    if files.is_directory(&source) && !files.is_file(&under(&source, "__init__.py")) {
        found.push(source);
    }
    let said = pyproject(files, home)
        .into_iter()
        .chain(configured(files, home))
        .chain(setup(files, home));
    for directory in said {
        if let Some(path) = join(home, &directory)
            && files.is_directory(&path)
            && !found.contains(&path)
        {
            found.push(path);
        }
    }
    found
}

fn under(home: &str, name: &str) -> String {
    join(home, name).unwrap_or_default()
}

/// The tables of setuptools, Poetry, hatchling and uv.
fn pyproject(files: &dyn Files, home: &str) -> Vec<String> {
    let text = files.text(&under(home, "pyproject.toml"));
    let Some(document) = text.and_then(|text| toml::from_str::<toml::Table>(&text).ok()) else {
        return Vec::new();
    };
    let Some(tool) = document.get("tool") else {
        return Vec::new();
    };
    let at = |path: &[&str]| path.iter().try_fold(tool, |value, key| value.get(key));
    let mut found: Vec<Option<&str>> = vec![
        at(&["setuptools", "package-dir", ""]).and_then(toml::Value::as_str),
        at(&["uv", "build-backend", "module-root"]).and_then(toml::Value::as_str),
    ];
    let list = |path: &[&str]| at(path).and_then(toml::Value::as_array);
    let wheres = list(&["setuptools", "packages", "find", "where"]);
    found.extend(wheres.into_iter().flatten().map(toml::Value::as_str));
    let poetry = list(&["poetry", "packages"]).into_iter().flatten();
    found.extend(poetry.map(|package| package.get("from")?.as_str()));
    let hatch = list(&["hatch", "build", "targets", "wheel", "packages"]);
    let hatch = hatch.into_iter().flatten();
    found.extend(hatch.map(|package| Some(package.as_str()?.rsplit_once('/')?.0)));
    found.into_iter().flatten().map(str::to_owned).collect()
}

/// `setup.cfg`, which only the root of the tree has.
fn configured(files: &dyn Files, home: &str) -> Vec<String> {
    if !home.is_empty() {
        return Vec::new();
    }
    // `package_dir = \n = lib`
    let directories = setup_cfg::value(files, "options", "package_dir").unwrap_or_default();
    let directories = directories
        .lines()
        .filter_map(|line| line.trim().strip_prefix('='))
        .map(|text| text.trim().to_owned());
    directories
        .chain(setup_cfg::value(files, "options.packages.find", "where"))
        .collect()
}

/// `package_dir={"": "lib"}` and `find_packages("lib")` in `setup.py`.
fn setup(files: &dyn Files, home: &str) -> Vec<String> {
    let path = under(home, "setup.py");
    let Some(module) = files
        .text(&path)
        .and_then(|text| syntax::parse(&path, "setup", false, &text).ok())
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for call in module.calls.iter().chain(&module.main_calls) {
        let Expr::Call(call) = call else { continue };
        for keyword in &call.arguments.keywords {
            match (
                keyword
                    .arg
                    .as_ref()
                    .map(ruff_python_ast::Identifier::as_str),
                &keyword.value,
            ) {
                (Some("package_dir"), Expr::Dict(dict)) => {
                    let of_root = dict.items.iter().find(|item| {
                        let key = item.key.as_ref().and_then(syntax::string);
                        key.is_some_and(|key| key.is_empty())
                    });
                    found.extend(of_root.and_then(|item| syntax::string(&item.value)));
                }
                (Some("packages"), Expr::Call(packages)) => {
                    let named = packages.arguments.keywords.iter();
                    let named = named
                        .filter(|keyword| keyword.arg.as_ref().is_some_and(|name| name == "where"))
                        .map(|keyword| &keyword.value);
                    let first = packages.arguments.args.iter().take(1);
                    found.extend(first.chain(named).filter_map(syntax::string));
                }
                _ => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::super::files::Memory;
    use super::*;

    #[test]
    fn directories_of_packages() {
        for (path, text, expected) in [
            ("x.py", "", String::new()),
            (
                "setup.py",
                "from setuptools import setup, find_packages\nsetup(package_dir={'': 'lib'}, packages=find_packages('lib'))\n",
                "|lib".to_owned(),
            ),
            (
                "setup.py",
                "from setuptools import setup, find_packages\nsetup(packages=find_packages(where='lib'))\n",
                "|lib".to_owned(),
            ),
            (
                "setup.cfg",
                "[options]\npackage_dir =\n    = lib\n",
                "|lib".to_owned(),
            ),
            (
                "setup.cfg",
                "[options]\npackages = find:\n[options.packages.find]\nwhere = lib\n",
                "|lib".to_owned(),
            ),
            (
                "pyproject.toml",
                "[tool.setuptools]\npackage-dir = {'' = 'lib'}\n",
                "|lib".to_owned(),
            ),
            (
                "pyproject.toml",
                "[tool.setuptools.packages.find]\nwhere = ['lib']\n",
                "|lib".to_owned(),
            ),
            (
                "pyproject.toml",
                "[tool.poetry]\npackages = [{include = 'shop', from = 'lib'}]\n",
                "|lib".to_owned(),
            ),
            (
                "pyproject.toml",
                "[tool.hatch.build.targets.wheel]\npackages = ['lib/shop']\n",
                "|lib".to_owned(),
            ),
            (
                "pyproject.toml",
                "[tool.uv.build-backend]\nmodule-root = 'lib'\n",
                "|lib".to_owned(),
            ),
            // Outside of the tree, or not there.
            (
                "setup.py",
                "setup(package_dir={'': '../lib'})\n",
                String::new(),
            ),
            (
                "setup.py",
                "setup(package_dir={'': 'gone'})\n",
                String::new(),
            ),
        ] {
            let files = Memory::new()
                .with(path, text)
                .with("lib/shop/__init__.py", "");
            assert_eq!(roots(&files, "").join("|"), expected, "{text}");
        }
    }
}
