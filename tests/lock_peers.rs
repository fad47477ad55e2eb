//! What is installed from lock files is what the managers' own tools install: names, versions, and the hashes
//! of all files. Two projects for each format, with packages of the public index; and files of the tree, which each
//! tool locks in its own way.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::package_index::{PackageIndex, WSGI, Wheel};
use crate::support::process::{self, words};
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive, binary};

#[test]
fn the_same_is_installed_as_by_the_managers_own_tools() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let projects = root.join("tests/projects/locks");
    let mut all: Vec<_> = std::fs::read_dir(&projects)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    assert_eq!(all.len(), 10, "{all:?}");
    let path = format!(
        "{}:{}",
        binary().parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    // Each tool mostly waits for the index.
    let outputs = std::thread::scope(|scope| {
        let halves: Vec<_> = (0..2)
            .map(|half| {
                let projects = all.iter().skip(half).step_by(2);
                let mut command = Command::new(root.join("scripts/compare-with-managers"));
                command
                    .args(projects)
                    .env("PATH", &path)
                    .env("WARPDRIVE_STORE", warpdrive.store())
                    .env("WARPDRIVE_COMPARE_BUILDER", PYTHON_311_RUN);
                scope.spawn(move || process::output_within(&mut command, Duration::from_mins(15)))
            })
            .collect();
        halves
            .into_iter()
            .map(|half| half.join().unwrap())
            .collect::<Vec<_>>()
    });
    let mut same = 0;
    for output in outputs {
        assert!(output.status.success(), "{}", words(&output));
        same += String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|line| line.starts_with("same "))
            .count();
    }
    assert_eq!(same, 10);
}

/// Where `scripts/install-test-dependencies` has put the managers.
fn tools() -> PathBuf {
    let said = std::env::var_os("WARPDRIVE_LOCK_TOOLS");
    said.map_or_else(|| "/opt/warpdrive-lock-tools".into(), PathBuf::from)
}

/// Runs a command of a manager, as a person does.
fn manager(command: &str, project: &Path) {
    let mut parts = command.split_whitespace();
    let name = parts.next().unwrap();
    let mut command = Command::new(tools().join(name).join("bin").join(name));
    command
        .args(parts)
        .current_dir(project)
        .env_remove("VIRTUAL_ENV")
        .env("PIPENV_VENV_IN_PROJECT", "1")
        .env("PIPENV_IGNORE_VIRTUALENVS", "1")
        .env("PIPENV_NOSPIN", "1")
        .env("POETRY_NO_INTERACTION", "1");
    let output = process::output_within(&mut command, Duration::from_mins(5));
    assert!(output.status.success(), "{}", words(&output));
}

/// A wheel whose module says this.
fn wheel(says: &str) -> Vec<u8> {
    let module = format!("SAYS = {says:?}\n");
    Wheel::new("rates-of-ours", "1.0")
        .file("rates_of_ours.py", module.as_bytes())
        .bytes()
}

/// An archive of sources whose module says this; it is built with what it brings.
fn sdist(says: &str) -> Vec<u8> {
    let backend = format!(
        r#"
import os, zipfile

def build_wheel(directory, settings=None, metadata=None):
    name = "tariffs_of_ours-1.0-py3-none-any.whl"
    info = "tariffs_of_ours-1.0.dist-info"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as z:
        z.writestr("tariffs_of_ours.py", "SAYS = '{says}'\n")
        z.writestr(info + "/METADATA", "Metadata-Version: 2.1\nName: tariffs-of-ours\nVersion: 1.0\n")
        z.writestr(info + "/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(info + "/RECORD", "")
    return name

def get_requires_for_build_wheel(settings=None):
    return []
"#
    );
    let project = "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n\
        [project]\nname = 'tariffs-of-ours'\nversion = '1.0'\n";
    let information = "Metadata-Version: 2.2\nName: tariffs-of-ours\nVersion: 1.0\n";
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (name, text) in [
        ("PKG-INFO", information),
        ("pyproject.toml", project),
        ("backend.py", &backend),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        let path = format!("tariffs_of_ours-1.0/{name}");
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

const WHEEL: &str = "wheels/rates_of_ours-1.0-py3-none-any.whl";
const SDIST: &str = "wheels/tariffs_of_ours-1.0.tar.gz";

/// Each manager, what locks its project, the project's file and its text.
fn projects() -> Vec<(&'static str, &'static str, &'static str, String)> {
    let start = "[project]\nname = \"app\"\nversion = \"1\"\nrequires-python = \">=3.9\"\n";
    vec![
        (
            "uv",
            "uv lock",
            "pyproject.toml",
            format!(
                "{start}dependencies = [\"rates-of-ours\", \"tariffs-of-ours\"]\n[tool.uv.sources]\n\
                 rates-of-ours = {{ path = \"{WHEEL}\" }}\ntariffs-of-ours = {{ path = \"{SDIST}\" }}\n"
            ),
        ),
        (
            "poetry",
            "poetry lock",
            "pyproject.toml",
            format!(
                "{start}[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\n\
                 rates-of-ours = {{ path = \"{WHEEL}\" }}\ntariffs-of-ours = {{ path = \"{SDIST}\" }}\n"
            ),
        ),
        (
            "pdm",
            "pdm lock",
            "pyproject.toml",
            format!(
                "{start}dependencies = [\n  \"rates-of-ours @ file:///${{PROJECT_ROOT}}/{WHEEL}\",\n  \
                 \"tariffs-of-ours @ file:///${{PROJECT_ROOT}}/{SDIST}\",\n]\n[tool.pdm]\ndistribution = false\n"
            ),
        ),
        (
            "pipenv",
            "pipenv lock",
            "Pipfile",
            format!(
                "[[source]]\nname = \"pypi\"\nurl = \"https://pypi.org/simple\"\nverify_ssl = true\n\
                 [packages]\nrates-of-ours = {{ path = \"./{WHEEL}\" }}\ntariffs-of-ours = {{ file = \"{SDIST}\" }}\n"
            ),
        ),
    ]
}

/// A file of the tree is the one that the lock names, or it is not installed; what the error says mends the lock.
#[test]
fn files_of_the_tree_are_those_of_each_managers_lock() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let index = PackageIndex::start();
    index.add(&Wheel::new("gunicorn", "27.0.1"));
    let mirror = format!("UV_DEFAULT_INDEX={}", index.url());
    let question = "import rates_of_ours as r, tariffs_of_ours as t; print(r.SAYS, t.SAYS)";
    for (name, lock, file, text) in projects() {
        let place = tempfile::tempdir().unwrap();
        let project = place.path();
        fs::create_dir(project.join("wheels")).unwrap();
        fs::write(project.join("wsgi.py"), WSGI).unwrap();
        fs::write(project.join(file), text).unwrap();
        fs::write(project.join(WHEEL), wheel("one")).unwrap();
        fs::write(project.join(SDIST), sdist("one")).unwrap();
        manager(lock, project);
        let says = |expected: &str| {
            warpdrive.image_with("app", project, &[&mirror], &[]);
            assert_eq!(warpdrive.python("app", question).trim(), expected, "{name}");
        };
        says("one one");
        // One after the other: a manager that must build what the lock has still otherwise refuses it.
        let changes = [
            (WHEEL, wheel("two"), "two one"),
            (SDIST, sdist("two"), "two two"),
        ];
        for (changed, bytes, then) in changes {
            fs::write(project.join(changed), bytes).unwrap();
            let arguments = warpdrive.image_arguments("app");
            let mut command = warpdrive.command_in(project, &[&mirror], &arguments);
            let output = process::output(&mut command);
            let said = words(&output);
            assert_eq!(output.status.code(), Some(2), "{name}: {said}");
            assert!(
                said.contains(" is not the file that ") && said.contains("its SHA-256 is "),
                "{name}: {said}"
            );
            let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
            let (_, rest) = said.split_once("if the change is intended, run `").unwrap();
            manager(rest.split('`').next().unwrap(), project);
            says(then);
        }
    }
    let asked = index.asked();
    let of_the_tree = asked.iter().find(|line| line.contains("of-ours"));
    assert_eq!(of_the_tree, None);
}
