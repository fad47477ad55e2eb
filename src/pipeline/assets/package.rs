//! Finds the front-end packages of a tree, and the commands that build each. Only text is read
//! here; nothing is run.

use std::path::Path;

use serde_json::Value;

use crate::app::files::{EntryKind, Files, join};
use crate::app::settings::Settings;

/// How deep below the home packages are looked for.
const MAX_DEPTH: usize = 3;
/// How many Python files are searched for the name of a package's directory, and their largest size.
const MAX_MODULES: usize = 2000;
const MAX_MODULE: usize = 256 * 1024;
const NOT_SEARCHED: &[&str] = &["node_modules", "tests", "test", "docs", "examples"];

/// The newest release that reads the lock, unless the package names one.
const YARN: &str = "yarn@1.22.22";
const YARN_BERRY: &str = "@yarnpkg/cli-dist@4";

/// A package with a build script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    /// Relative to the source; `""` is the source itself.
    pub(super) directory: String,
    pub(super) manager: Manager,
    /// The lock file that is used.
    pub(super) lock: Option<String>,
    /// It needs other packages.
    pub(super) has_dependencies: bool,
}

/// What installs a package's dependencies and runs its script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Manager {
    Npm,
    /// The package that npm gets it from, with its version.
    Pnpm(String),
    Yarn(String),
    /// Bun's lock, which no Debian package reads.
    Bun,
}

/// The packages that were found, and warnings about those that are not built.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) packages: Vec<Package>,
    pub(super) notes: Vec<String>,
}

/// The packages that are built: those that the setting `assets` names, else the one of the home and
/// those below it whose directory a Python file names.
pub(super) fn find(files: &dyn Files, home: &str, settings: &Settings) -> Found {
    if let Some(said) = settings.get("assets") {
        let directories = said.split_whitespace().filter(|word| *word != "off");
        return Found {
            packages: directories
                .filter_map(|directory| read(files, &join("", directory)?))
                .collect(),
            notes: Vec::new(),
        };
    }
    let mut found = Found::default();
    let mut modules = None;
    descend(files, home, home, 0, &mut modules, &mut found);
    found
}

fn descend(
    files: &dyn Files,
    home: &str,
    directory: &str,
    depth: usize,
    modules: &mut Option<Vec<String>>,
    found: &mut Found,
) {
    if let Some(package) = read(files, directory) {
        let texts = modules.get_or_insert_with(|| python(files, home));
        if directory == home || texts.iter().any(|text| names(text, directory)) {
            found.packages.push(package);
        } else {
            found.notes.push(format!(
                "{directory}/package.json has a build script, and no Python file names `{directory}`: it is not \
                 built; assets = [\"{directory}\"] in [tool.warpdrive] builds it"
            ));
        }
        // What is below are members of its workspace.
        return;
    }
    if depth == MAX_DEPTH {
        return;
    }
    for entry in files.list(directory) {
        let searched = entry.kind == EntryKind::Directory
            && !entry.name.starts_with('.')
            && !NOT_SEARCHED.contains(&entry.name.as_str());
        if searched && let Some(inner) = join(directory, &entry.name) {
            descend(files, home, &inner, depth + 1, modules, found);
        }
    }
}

/// A directory's package, if it has a build script.
fn read(files: &dyn Files, directory: &str) -> Option<Package> {
    let text = files.text(&join(directory, "package.json")?)?;
    let document: Value = serde_json::from_str(&text).ok()?;
    let script = document.get("scripts")?.get("build")?.as_str()?;
    if script.trim().is_empty() {
        return None;
    }
    let has_dependencies = ["dependencies", "devDependencies", "optionalDependencies"]
        .iter()
        .filter_map(|name| document.get(name)?.as_object())
        .any(|table| !table.is_empty());
    let said = document.get("packageManager").and_then(Value::as_str);
    let (manager, lock) = manager(files, directory, said);
    Some(Package {
        directory: directory.to_owned(),
        manager,
        lock,
        has_dependencies,
    })
}

/// By the lock beside the package, else by `packageManager`.
fn manager(files: &dyn Files, directory: &str, said: Option<&str>) -> (Manager, Option<String>) {
    // `pnpm@9.1.0+sha512.…`
    let version = |name: &str| {
        let rest = said?.strip_prefix(name)?.strip_prefix('@')?;
        let version = rest.split('+').next()?;
        let plain = version
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        (plain && !version.is_empty()).then(|| version.to_owned())
    };
    let lock = |name: &str| {
        let path = join(directory, name)?;
        Some((path.clone(), files.text(&path)?))
    };
    let pnpm = |text: &str| match version("pnpm") {
        Some(version) => Manager::Pnpm(format!("pnpm@{version}")),
        None => Manager::Pnpm(format!("pnpm@{}", pnpm_for(text))),
    };
    let yarn = |text: &str| match (version("yarn"), text.contains("__metadata:")) {
        (Some(version), _) if !version.starts_with(['0', '1']) => {
            Manager::Yarn(format!("@yarnpkg/cli-dist@{version}"))
        }
        (Some(version), false) => Manager::Yarn(format!("yarn@{version}")),
        (_, true) => Manager::Yarn(YARN_BERRY.to_owned()),
        (None, false) => Manager::Yarn(YARN.to_owned()),
    };
    if let Some((path, text)) = lock("pnpm-lock.yaml") {
        return (pnpm(&text), Some(path));
    }
    if let Some((path, text)) = lock("yarn.lock") {
        return (yarn(&text), Some(path));
    }
    for name in ["package-lock.json", "npm-shrinkwrap.json"] {
        if let Some((path, _)) = lock(name) {
            return (Manager::Npm, Some(path));
        }
    }
    for name in ["bun.lock", "bun.lockb"] {
        if let Some((path, _)) = lock(name) {
            return (Manager::Bun, Some(path));
        }
    }
    let manager = match said.and_then(|said| said.split('@').next()) {
        Some("pnpm") => pnpm(""),
        Some("yarn") => yarn(""),
        _ => Manager::Npm,
    };
    (manager, None)
}

/// The newest release of pnpm that reads a lock of this version.
fn pnpm_for(lock: &str) -> &'static str {
    let version = lock
        .lines()
        .find_map(|line| line.strip_prefix("lockfileVersion:"));
    match version.map(|text| text.trim().trim_matches(['\'', '"'])) {
        Some(text) if text.starts_with('5') => "7",
        Some(text) if text.starts_with('6') => "8",
        _ => "9",
    }
}

impl Package {
    /// The directory, for people.
    pub(super) fn place(&self) -> String {
        join(&self.directory, "package.json").unwrap_or_default()
    }

    /// The line that is printed before the build.
    pub(super) fn words(&self) -> String {
        let name = match &self.manager {
            Manager::Npm => "npm",
            Manager::Pnpm(package) | Manager::Yarn(package) => package,
            Manager::Bun => "bun",
        };
        let lock = match &self.lock {
            Some(lock) => format!(" and {lock}"),
            None => String::new(),
        };
        format!("{} with {name}{lock}", self.place())
    }

    /// The commands, for a shell that runs in the package's directory and ends at the first failure.
    pub(super) fn script(&self) -> String {
        let (before, install, build) = match &self.manager {
            Manager::Npm | Manager::Bun if self.lock.is_some() => {
                (String::new(), "npm ci", "npm run build")
            }
            Manager::Npm | Manager::Bun => (
                String::new(),
                "npm install --no-package-lock",
                "npm run build",
            ),
            Manager::Pnpm(package) => (
                format!("run() {{ npx --yes {package} \"$@\"; }}\n"),
                if self.lock.is_some() {
                    "run install --frozen-lockfile"
                } else {
                    "run install --no-lockfile"
                },
                "run run build",
            ),
            Manager::Yarn(package) => (
                format!("run() {{ npx --yes {package} \"$@\"; }}\n"),
                match (self.lock.is_some(), package.starts_with('@')) {
                    (true, true) => "run install --immutable",
                    (true, false) => "run install --frozen-lockfile --non-interactive",
                    (false, true) => "run install",
                    (false, false) => "run install --no-lockfile --non-interactive",
                },
                "run run build",
            ),
        };
        let install = if self.has_dependencies || self.lock.is_some() {
            format!("{install}\n")
        } else {
            String::new()
        };
        format!("{before}{install}{build}\n")
    }
}

/// The text of the home's Python files.
fn python(files: &dyn Files, home: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut pending = vec![home.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in files.list(&directory) {
            let Some(path) = join(&directory, &entry.name) else {
                continue;
            };
            match entry.kind {
                EntryKind::Directory if !NOT_SEARCHED.contains(&entry.name.as_str()) => {
                    pending.push(path);
                }
                EntryKind::File { .. } if is_python(&entry.name) => {
                    texts.extend(files.text(&path).filter(|text| text.len() <= MAX_MODULE));
                }
                _ => {}
            }
            if texts.len() >= MAX_MODULES {
                return texts;
            }
        }
    }
    texts
}

fn is_python(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "py")
}

/// Whether a text has the last part of a directory as a string, or as a part of a path in one.
fn names(text: &str, directory: &str) -> bool {
    let name = directory.rsplit('/').next().unwrap_or(directory);
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        let edge = |c: Option<char>| c.is_some_and(|c| matches!(c, '"' | '\'' | '/'));
        edge(before) && edge(after)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::app::files::Memory;

    const BUILD: &str = r#"{"scripts": {"build": "node build.js"}}"#;

    fn found(files: &[(&str, &str)]) -> Found {
        let tree = files
            .iter()
            .fold(Memory::new(), |tree, (path, text)| tree.with(path, *text));
        let settings = Settings::load(&tree, &BTreeMap::new(), &BTreeMap::new()).unwrap();
        find(&tree, "", &settings)
    }

    #[test]
    fn packages_are_found_where_python_names_them() {
        for (files, expected) in [
            (&[("package.json", BUILD)][..], &[""][..]),
            (
                &[
                    ("ui/package.json", BUILD),
                    ("s.py", "D = [BASE / 'ui' / 'dist']"),
                ],
                &["ui"],
            ),
            (
                &[
                    ("web/ui/package.json", BUILD),
                    ("a/s.py", "D = ['web/ui/dist']"),
                ],
                &["web/ui"],
            ),
            // Not its own.
            (&[("ui/package.json", BUILD), ("s.py", "import ui")], &[]),
            (&[("ui/package.json", BUILD)], &[]),
            // Members of a workspace are built by its root.
            (
                &[
                    ("package.json", BUILD),
                    ("ui/package.json", BUILD),
                    ("s.py", "'ui/dist'"),
                ],
                &[""],
            ),
            (&[("package.json", r#"{"scripts": {"test": "x"}}"#)], &[]),
            (&[("package.json", "{")], &[]),
            (
                &[("package.json", BUILD), (".warpdrive/assets", "off")],
                &[],
            ),
            (
                &[("ui/package.json", BUILD), (".warpdrive/assets", "ui\n")],
                &["ui"],
            ),
            (
                &[("node_modules/x/package.json", BUILD), ("s.py", "'x'")],
                &[],
            ),
        ] {
            let found = found(files);
            let places: Vec<&str> = found
                .packages
                .iter()
                .map(|package| package.directory.as_str())
                .collect();
            assert_eq!(places, expected, "{files:?}");
        }
        let notes = found(&[("ui/package.json", BUILD)]).notes;
        assert!(notes[0].contains("assets = [\"ui\"]"), "{notes:?}");
    }

    #[test]
    fn commands_follow_the_lock() {
        let script = |package: &str, lock: &str, text: &str| {
            let files = [("package.json", package), (lock, text)];
            found(&files).packages[0].script()
        };
        let needs = r#"{"scripts": {"build": "x"}, "devDependencies": {"a": "1"}}"#;
        for (package, lock, text, expected) in [
            (BUILD, "x", "", "npm run build\n"),
            (
                needs,
                "x",
                "",
                "npm install --no-package-lock\nnpm run build\n",
            ),
            (needs, "package-lock.json", "{}", "npm ci\nnpm run build\n"),
            (
                needs,
                "pnpm-lock.yaml",
                "lockfileVersion: '6.0'\n",
                "run() { npx --yes pnpm@8 \"$@\"; }\nrun install --frozen-lockfile\nrun run build\n",
            ),
            (
                r#"{"scripts": {"build": "x"}, "packageManager": "pnpm@9.1.0+sha512.ab"}"#,
                "pnpm-lock.yaml",
                "lockfileVersion: '9.0'\n",
                "run() { npx --yes pnpm@9.1.0 \"$@\"; }\nrun install --frozen-lockfile\nrun run build\n",
            ),
            (
                needs,
                "yarn.lock",
                "# yarn lockfile v1\n",
                "run() { npx --yes yarn@1.22.22 \"$@\"; }\nrun install --frozen-lockfile --non-interactive\nrun run build\n",
            ),
            (
                r#"{"scripts": {"build": "x"}, "packageManager": "yarn@4.5.0"}"#,
                "yarn.lock",
                "__metadata:\n  version: 8\n",
                "run() { npx --yes @yarnpkg/cli-dist@4.5.0 \"$@\"; }\nrun install --immutable\nrun run build\n",
            ),
            // A version must not contain commands.
            (
                r#"{"scripts": {"build": "x"}, "packageManager": "pnpm@1; rm -rf /"}"#,
                "pnpm-lock.yaml",
                "",
                "run() { npx --yes pnpm@9 \"$@\"; }\nrun install --frozen-lockfile\nrun run build\n",
            ),
        ] {
            assert_eq!(script(package, lock, text), expected, "{package} {lock}");
        }
    }
}
