//! Warns about files in a source tree that often cause failures: pointers of git-lfs in place of files, a
//! virtual environment that git tracks, scripts with Windows line ends, an `app.sh` that may not be run, a
//! README that the build needs and that is left out; files that another builder would use. The warnings
//! come before anything is built.

use std::path::{Path, PathBuf};

use crate::source::{SourceEntry, SourceKind, Tree};

/// Largest file to examine, in bytes: pointers and scripts are small.
const MAX: u64 = 64 * 1024;
/// Number of names that are shown.
const SHOWN: usize = 3;

pub(super) fn warnings(tree: &Tree) -> Vec<String> {
    [
        pointers(tree),
        environments(tree),
        scripts(tree),
        program(tree),
        readme(tree),
        second_list(tree),
    ]
    .into_iter()
    .flatten()
    .chain(of_other_builders(tree))
    .collect()
}

/// Files that Heroku and repo2docker run or read, but this build does not.
fn of_other_builders(tree: &Tree) -> Vec<String> {
    const HOOK: &str = "is not run; .warpdrive/action_hooks/build is run in the build";
    const FILES: [(&str, &str); 8] = [
        ("bin/pre_compile", HOOK),
        ("bin/post_compile", HOOK),
        ("postBuild", HOOK),
        ("binder/postBuild", HOOK),
        (".binder/postBuild", HOOK),
        (
            "nltk.txt",
            "is not read; .warpdrive/action_hooks/build can fetch the data: python -m nltk.downloader -d nltk_data NAME",
        ),
        (
            "package-list.txt",
            "is a list of conda's and is not read; what PyPI has belongs into requirements.txt",
        ),
        (
            "install.R",
            "is not run; a builder has Python and nothing of R",
        ),
    ];
    FILES
        .iter()
        .filter(|(path, _)| is_file(tree, path))
        .map(|(path, why)| format!("{path} {why}"))
        .collect()
}

fn is_file(tree: &Tree, path: &str) -> bool {
    let path = Path::new(path);
    tree.entries()
        .iter()
        .any(|entry| entry.path == path && matches!(entry.kind, SourceKind::File { .. }))
}

/// A manager's list without a lock, beside the `requirements.txt` that is installed.
fn second_list(tree: &Tree) -> Option<String> {
    if !is_file(tree, "requirements.txt") {
        return None;
    }
    let project = read(tree, Path::new("pyproject.toml")).unwrap_or_default();
    let project: toml::Table =
        toml::from_str(&String::from_utf8_lossy(&project)).unwrap_or_default();
    let tool = |name: &str| project.get("tool")?.get(name);
    if tool("warpdrive").is_some_and(|tool| {
        tool.get("dependencies").is_some() || tool.get("requirements").is_some()
    }) {
        return None;
    }
    let poetry = tool("poetry").and_then(|poetry| poetry.get("dependencies")?.as_table());
    let asks = poetry.is_some_and(|table| table.keys().any(|name| name != "python"));
    let other = if is_file(tree, "Pipfile") && !is_file(tree, "Pipfile.lock") {
        "Pipfile"
    } else if asks && !is_file(tree, "poetry.lock") {
        "[tool.poetry.dependencies] of pyproject.toml"
    } else {
        return None;
    };
    Some(format!(
        "requirements.txt is installed from, and {other} is not; delete one of the two, or write \
         dependencies = \"pip\" into [tool.warpdrive] of pyproject.toml"
    ))
}

fn read(tree: &Tree, path: &Path) -> Option<Vec<u8>> {
    tree.read(path, MAX).ok().flatten()
}

fn names(paths: &[&PathBuf]) -> String {
    let shown: Vec<String> = paths
        .iter()
        .take(SHOWN)
        .map(|path| path.display().to_string())
        .collect();
    let more = match paths.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

/// `OpenShift`'s variables that mean nothing here, and why.
pub(super) fn of_openshift(env: &[(String, String)]) -> Vec<String> {
    const NONE: [(&str, &str); 2] = [
        (
            "UPGRADE_PIP_TO_LATEST",
            "warpdrive brings uv and pip of its own, in the newest release that it was tested with",
        ),
        (
            "PIN_PIPENV_VERSION",
            "Pipfile.lock is read without pipenv, so no version of it is installed",
        ),
    ];
    NONE.iter()
        .filter(|(name, _)| {
            let said = env.iter().find(|(known, _)| known == name);
            said.is_some_and(|(_, value)| !value.is_empty())
        })
        .map(|(name, why)| format!("{name} changes nothing: {why}"))
        .collect()
}

/// Pointers of git-lfs, if its filter is configured.
fn pointers(tree: &Tree) -> Option<String> {
    let asked = tree.entries().iter().any(|entry| {
        entry
            .path
            .file_name()
            .is_some_and(|name| name == ".gitattributes")
            && read(tree, &entry.path)
                .is_some_and(|text| String::from_utf8_lossy(&text).contains("filter=lfs"))
    });
    if !asked {
        return None;
    }
    let found: Vec<&PathBuf> = tree
        .entries()
        .iter()
        .filter(|entry| matches!(entry.kind, SourceKind::File { size, .. } if size < 1024))
        .filter(|entry| {
            read(tree, &entry.path)
                .is_some_and(|text| text.starts_with(b"version https://git-lfs.github.com/spec/"))
        })
        .map(|entry| &entry.path)
        .collect();
    (!found.is_empty()).then(|| {
        format!(
            "{}: pointers of git-lfs, not the files; `git lfs pull` fetches them",
            names(&found)
        )
    })
}

fn environments(tree: &Tree) -> Option<String> {
    let found: Vec<PathBuf> = tree
        .entries()
        .iter()
        .filter(|entry| {
            entry
                .path
                .file_name()
                .is_some_and(|name| name == "pyvenv.cfg")
        })
        .filter_map(|entry| entry.path.parent().map(Path::to_owned))
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    let found: Vec<&PathBuf> = found.iter().collect();
    (!found.is_empty()).then(|| {
        format!(
            "{}: a virtual environment goes into the image, as an ignore file asks, and does not work there; \
             take the `!` pattern out",
            names(&found)
        )
    })
}

fn scripts(tree: &Tree) -> Option<String> {
    let windows = |entry: &&SourceEntry| {
        let small =
            matches!(entry.kind, SourceKind::File { size, executable } if executable && size < MAX);
        small
            && read(tree, &entry.path).is_some_and(|text| {
                let line = text.split(|byte| *byte == b'\n').next();
                text.starts_with(b"#!") && line.is_some_and(|line| line.ends_with(b"\r"))
            })
    };
    let found: Vec<&PathBuf> = tree
        .entries()
        .iter()
        .filter(windows)
        .map(|entry| &entry.path)
        .collect();
    (!found.is_empty()).then(|| {
        format!(
            "{}: Windows line ends (CRLF), so the kernel does not find the interpreter; sed -i 's/\\r$//' mends it",
            names(&found)
        )
    })
}

/// A file beside an application that is found without it. (Without one, nothing is found.)
fn program(tree: &Tree) -> Option<String> {
    let path = Path::new("app.sh");
    let plain = tree.entries().iter().any(|entry| {
        entry.path == path
            && matches!(
                entry.kind,
                SourceKind::File {
                    executable: false,
                    ..
                }
            )
    });
    (plain && read(tree, path)?.starts_with(b"#!")).then(|| {
        "app.sh is not executable, so it is not what the image starts; chmod +x app.sh, and in git: \
         git update-index --chmod=+x app.sh"
            .to_owned()
    })
}

/// The file of `[project] readme`, which build backends read.
fn readme(tree: &Tree) -> Option<String> {
    let text = read(tree, Path::new("pyproject.toml"))?;
    let document: toml::Table = toml::from_str(&String::from_utf8_lossy(&text)).ok()?;
    let readme = document.get("project")?.get("readme")?;
    let name = readme
        .as_str()
        .or_else(|| readme.get("file").and_then(toml::Value::as_str))?;
    if tree.follow(Path::new(name)).is_some() {
        return None;
    }
    let left_out = tree
        .left_out
        .paths
        .iter()
        .find(|(path, _)| path == Path::new(name));
    Some(match left_out {
        Some((_, reason)) => format!(
            "pyproject.toml names {name} as readme, which is left out ({reason}): the build backend will miss it"
        ),
        None => format!("pyproject.toml names {name} as readme, which is not in the source"),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::source::{CollectOptions, collect};

    #[test]
    fn what_others_would_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let said = || warnings(&collect(directory.path(), &CollectOptions::default()).unwrap());
        write("requirements.txt", "flask\n");
        write(
            "pyproject.toml",
            "[tool.poetry.dependencies]\npython = '*'\n",
        );
        assert_eq!(said(), Vec::<String>::new());
        write("bin/post_compile", "#!/bin/sh\n");
        write("nltk.txt", "city_database\n");
        write(
            "pyproject.toml",
            "[tool.poetry.dependencies]\nflask = '*'\n",
        );
        let begin = |text: &str| text.split(';').next().unwrap_or_default().to_owned();
        assert_eq!(
            said().iter().map(|text| begin(text)).collect::<Vec<_>>(),
            [
                "requirements.txt is installed from, and [tool.poetry.dependencies] of pyproject.toml is not",
                "bin/post_compile is not run",
                "nltk.txt is not read",
            ]
        );
        write("Pipfile", "[packages]\n");
        assert!(said()[0].contains("and Pipfile is not"), "{:?}", said());
        write("pyproject.toml", "[tool.warpdrive]\ndependencies = 'pip'\n");
        assert_eq!(said().len(), 2, "{:?}", said());
    }

    #[test]
    fn each_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        write("app.py", "x = 1\n");
        let tree = || collect(directory.path(), &CollectOptions::default()).unwrap();
        assert_eq!(warnings(&tree()), Vec::<String>::new());
        write(
            ".gitattributes",
            "*.bin filter=lfs diff=lfs merge=lfs -text\n",
        );
        write(
            "model.bin",
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        );
        write("app.sh", "exports for scripts\n");
        assert_eq!(warnings(&tree()).len(), 1, "{:?}", warnings(&tree()));
        write("app.sh", "#!/bin/sh\n");
        let script = write("go.sh", "#!/bin/sh\r\necho\r\n");
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
        write(
            "pyproject.toml",
            "[project]\nname = 'x'\nreadme = 'README.md'\n",
        );
        let said = [("PIN_PIPENV_VERSION", "1"), ("UPGRADE_PIP_TO_LATEST", "")];
        let said = said.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let told = of_openshift(&said);
        assert!(
            told.len() == 1 && told[0].contains("without pipenv"),
            "{told:?}"
        );
        write(".dockerignore", "*.md\n!own/\n!own/**\n");
        write("own/pyvenv.cfg", "home = /usr/bin\n");
        write("README.md", "x");
        let found = warnings(&tree()).join("\n");
        for part in [
            "model.bin: pointers",
            "go.sh: Windows",
            "app.sh is not executable",
            "README.md as readme",
            "own: a virtual environment",
        ] {
            assert!(found.contains(part), "{found}");
        }
    }
}
