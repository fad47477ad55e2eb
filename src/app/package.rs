//! Whether a project is a package that can be installed, or a directory with an application.

use toml::{Table, Value};

use super::files::{EntryKind, Files};
use super::requirement::normalize;

fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter()
        .try_fold(table.get(*first)?, |value, key| value.get(key))
}

/// Whether the project in this directory is installed itself. It is not installed if it says so
/// (`package-mode = false`, `[tool.uv] package = false`, `distribution = false`), if nothing says how to
/// build it, or if its build backend looks for a module of its name and there is none.
pub fn is_package(files: &dyn Files, directory: &str, project: &Table) -> bool {
    let switches = switches(project);
    if switches.contains(&Some(false)) {
        return false;
    }
    let name =
        at(project, &["project", "name"]).or_else(|| at(project, &["tool", "poetry", "name"]));
    let Some(name) = name.and_then(Value::as_str) else {
        return false;
    };
    if !project.contains_key("build-system") && !switches.contains(&Some(true)) {
        return false;
    }
    let backend = at(project, &["build-system", "build-backend"]).and_then(Value::as_str);
    let backend = backend.unwrap_or_default();
    // If the modules are named, or found without the project's name, the backend decides.
    let looks_for_name = match backend.split(['.', ':']).next().unwrap_or_default() {
        "poetry" => at(project, &["tool", "poetry", "packages"]).is_none(),
        "hatchling" => at(project, &["tool", "hatch", "build"]).is_none(),
        "flit_core" => at(project, &["tool", "flit"]).is_none(),
        "uv_build" => at(project, &["tool", "uv", "build-backend"]).is_none(),
        _ => false,
    };
    !looks_for_name || has_module(files, directory, name)
}

/// Whether a project without a lock is certainly not a package. If nothing says how to build it, the
/// installer decides.
pub fn is_no_package(files: &dyn Files, project: &Table) -> bool {
    switches(project).contains(&Some(false))
        || project.contains_key("build-system") && !is_package(files, "", project)
}

fn switches(project: &Table) -> [Option<bool>; 3] {
    let says = |path: &[&str]| at(project, path).and_then(Value::as_bool);
    [
        says(&["tool", "poetry", "package-mode"]),
        says(&["tool", "uv", "package"]),
        says(&["tool", "pdm", "distribution"]),
    ]
}

/// A module or package of a distribution's name, beside `pyproject.toml` or in `src`.
fn has_module(files: &dyn Files, directory: &str, name: &str) -> bool {
    let module = normalize(name).replace('-', "_");
    // Names with dots belong to namespace packages; some projects keep the dots in the directory's name.
    let spelled: Vec<String> = vec![
        module.clone(),
        name.replace('-', "_"),
        name.replace('.', "/").replace('-', "_"),
    ];
    let base = if directory.is_empty() {
        String::new()
    } else {
        format!("{directory}/")
    };
    ["", "src"].iter().any(|place| {
        let place = format!("{base}{place}");
        let place = place.trim_end_matches('/');
        let below = |directory: &str, module: &str| {
            let path = if directory.is_empty() {
                module.to_owned()
            } else {
                format!("{directory}/{module}")
            };
            files.is_directory(&path) || files.is_file(&format!("{path}.py"))
        };
        // The directory of a namespace package has another name.
        let inner = files
            .list(place)
            .into_iter()
            .filter(|entry| entry.kind == EntryKind::Directory);
        let inner: Vec<String> = inner
            .map(|entry| format!("{place}/{}", entry.name))
            .collect();
        spelled.iter().any(|module| {
            below(place, module)
                || inner
                    .iter()
                    .any(|directory| below(directory.trim_start_matches('/'), module))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::files::Memory;
    use super::*;

    #[test]
    fn packages_and_applications() {
        let poetry = "[build-system]\nbuild-backend = 'poetry.core.masonry.api'\n";
        let hatch = "[build-system]\nbuild-backend = 'hatchling.build'\n";
        let setuptools = "[build-system]\nbuild-backend = 'setuptools.build_meta'\n";
        let named = "[project]\nname = 'corner-shop'\n";
        for (text, path, expected) in [
            (format!("{named}{poetry}"), "web.py", false),
            (format!("{named}{poetry}"), "corner_shop/__init__.py", true),
            (
                format!("{named}{poetry}"),
                "src/corner_shop/__init__.py",
                true,
            ),
            (format!("{named}{poetry}"), "corner_shop.py", true),
            (
                format!("{named}{poetry}[tool.poetry]\npackages = [{{include = 'web'}}]\n"),
                "web/x.py",
                true,
            ),
            (
                format!("{named}{poetry}[tool.poetry]\npackage-mode = false\n"),
                "corner_shop.py",
                false,
            ),
            (
                format!("{named}{hatch}"),
                "src/acme/corner_shop/__init__.py",
                true,
            ),
            (format!("{named}{hatch}"), "web.py", false),
            (format!("{named}{setuptools}"), "web.py", true),
            (
                format!("{named}{setuptools}[tool.uv]\npackage = false\n"),
                "web.py",
                false,
            ),
            (
                format!("{named}{setuptools}[tool.pdm]\ndistribution = false\n"),
                "web.py",
                false,
            ),
            (named.to_owned(), "corner_shop.py", false),
            (
                format!("{named}[tool.uv]\npackage = true\n"),
                "corner_shop.py",
                true,
            ),
            (poetry.to_owned(), "x.py", false),
        ] {
            let files = Memory::new().with(path, "");
            let project = toml::from_str(&text).unwrap();
            assert_eq!(is_package(&files, "", &project), expected, "{text} {path}");
        }
    }
}
