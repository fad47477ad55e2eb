//! The ways in which people say what an application needs: each builds what it says, or is refused with the
//! line and with what to write. One builder and one index for all.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::support::package_index::{PackageIndex, WSGI, Wheel};
use crate::support::process::{self, words};
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive, commit};

/// A project of its own build backend, which needs nothing from an index.
const PYPROJECT: &str =
    "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n";
/// Its wheels are editable in name only.
const BACKEND: &str = r#"
import os, zipfile

NAME = os.path.basename(os.getcwd())

def build_wheel(directory, settings=None, metadata=None):
    version = os.environ.get("SETUPTOOLS_SCM_PRETEND_VERSION_FOR_LEDGER", "1.0")
    name = "ledger" if NAME == "src" else NAME
    info = f"{name}-{version}.dist-info"
    wheel = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, wheel), "w") as z:
        z.writestr(f"{name}.py", "")
        z.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(f"{info}/RECORD", "")
    return wheel

build_editable = build_wheel

def get_requires_for_build_wheel(settings=None):
    return []

get_requires_for_build_editable = get_requires_for_build_wheel
"#;

const INSTALLED: &str = "from importlib.metadata import distributions as d; \
    print(' '.join(sorted(f'{x.name}={x.version}' for x in d())))";

/// Files, and what they hold.
type Tree<'a> = &'a [(&'a str, &'a [u8])];

fn write(place: &Path, tree: Tree<'_>) {
    for (path, content) in tree {
        let path = place.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn utf16(text: &str) -> Vec<u8> {
    let all = "\u{feff}".encode_utf16().chain(text.encode_utf16());
    all.flat_map(u16::to_le_bytes).collect()
}

#[test]
fn each_way_installs_what_it_says() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let index = PackageIndex::start();
    let vendored = Wheel::new("vendored", "3.0").requires("small");
    for (name, version) in [
        ("gunicorn", "27.0.1"),
        ("small", "1.0"),
        ("small", "2.0"),
        ("other", "1.0"),
        ("setuptools-scm", "8.0"),
    ] {
        index.add(&Wheel::new(name, version));
    }
    let wheel = vendored.bytes();
    let url = index.url();
    let env = [format!("PIP_INDEX_URL={url}")];
    let env: Vec<&str> = env.iter().map(String::as_str).collect();
    let by_variable = format!(
        "--index-url {}\nsmall\n",
        url.replace("/simple", "/${PLACE}")
    );
    let powershell = utf16("small==1.0\r\nother\r\n");
    let scm = format!(
        "{}[project]\nname = 'ledger'\ndynamic = ['version']\ndependencies = ['small']\n",
        PYPROJECT.replace("[]", "['setuptools-scm']")
    );
    let cases: &[(&str, Tree<'_>, &str)] = &[
        ("UTF-16", &[("requirements.txt", &powershell)], "gunicorn=27.0.1 other=1.0 small=1.0"),
        (
            "a coding comment",
            &[("requirements.txt", b"# coding: cp1252\nsmall # M\xfcller\n")],
            "gunicorn=27.0.1 small=2.0",
        ),
        (
            "a variable in the index, for the server too",
            &[("requirements.txt", by_variable.as_bytes())],
            "gunicorn=27.0.1 small=2.0",
        ),
        (
            "a wheel of the source and a constraint",
            &[
                ("requirements.txt", b"vendor/vendored-3.0-py3-none-any.whl\n-c c.txt\n"),
                ("vendor/vendored-3.0-py3-none-any.whl", &wheel),
                ("c.txt", b"small<2\n"),
            ],
            "gunicorn=27.0.1 small=1.0 vendored=3.0",
        ),
        (
            "a sibling of the home",
            &[
                ("pyproject.toml", b"[tool.warpdrive]\nhome = 'backend'\n"),
                ("backend/requirements.txt", b"small\n../shared\n"),
                ("backend/wsgi.py", WSGI.as_bytes()),
                ("shared/pyproject.toml", PYPROJECT.as_bytes()),
                ("shared/backend.py", BACKEND.as_bytes()),
            ],
            "gunicorn=27.0.1 shared=1.0 small=2.0",
        ),
        (
            "variables in versions and options",
            &[
                ("requirements.txt", b"small==${SMALL}.0\n--only-binary ${NAME}\nother\n-c pins.txt\n"),
                ("pins.txt", b"other==${SMALL}.0\n"),
            ],
            "gunicorn=27.0.1 other=1.0 small=1.0",
        ),
        (
            "another platform's line",
            &[("requirements.txt", b"small\npywin32==306 ; sys_platform == \"win32\"\n")],
            "gunicorn=27.0.1 small=2.0",
        ),
        (
            "Poetry without a lock",
            &[("pyproject.toml", b"[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\npython = '^3.9'\nsmall = '^1.0'\n")],
            "gunicorn=27.0.1 small=1.0",
        ),
        (
            "a Pipfile without a lock",
            &[("Pipfile", b"[packages]\nsmall = '<2'\n[dev-packages]\nother = '*'\n")],
            "gunicorn=27.0.1 small=1.0",
        ),
        (
            "groups",
            &[("pyproject.toml", b"[dependency-groups]\nprod = ['small', {include-group = 'db'}]\ndb = ['other']\ndev = ['gone']\n")],
            "gunicorn=27.0.1 other=1.0 small=2.0",
        ),
        (
            "production before base",
            &[
                ("requirements/base.txt", b"small==1.0\n"),
                ("requirements/production.txt", b"-r base.txt\nother\n"),
                ("requirements/dev.txt", b"gone\n"),
            ],
            "gunicorn=27.0.1 other=1.0 small=1.0",
        ),
        ("requirements.in", &[("requirements.in", b"small\n")], "gunicorn=27.0.1 small=2.0"),
        (
            "environment.yml",
            &[("environment.yml", b"dependencies:\n  - python=3.11\n  - pip:\n    - small==1.0\n")],
            "gunicorn=27.0.1 small=1.0",
        ),
        (
            "the version from git",
            &[("pyproject.toml", scm.as_bytes()), ("backend.py", BACKEND.as_bytes())],
            "gunicorn=27.0.1 ledger=1.4.0 small=2.0",
        ),
    ];
    let mut wrong = String::new();
    for (name, tree, expected) in cases {
        let place = tempfile::tempdir().unwrap();
        if !tree.iter().any(|(path, _)| path.ends_with("wsgi.py")) {
            write(place.path(), &[("wsgi.py", WSGI.as_bytes())]);
        }
        write(place.path(), tree);
        commit(place.path());
        let tag = ["-C", ".", "tag", "v1.4.0"];
        process::run(
            std::process::Command::new("git")
                .args(tag)
                .current_dir(place.path()),
        );
        let mut arguments = warpdrive.image_arguments("app");
        for variable in ["PLACE=simple", "SMALL=1", "NAME=small"] {
            arguments.extend(["--build-env", variable]);
        }
        let output = process::output(&mut warpdrive.command_in(place.path(), &env, &arguments));
        if !output.status.success() {
            let _ = writeln!(wrong, "{name}: {}", words(&output));
            continue;
        }
        let found = warpdrive.python("app", INSTALLED);
        if found.trim() != *expected {
            let _ = writeln!(wrong, "{name}: {} instead of {expected}", found.trim());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Its name and its bytes.
type SourceFile = (&'static str, &'static [u8]);

#[test]
fn what_cannot_be_done_is_refused_by_its_line() {
    let warpdrive = Warpdrive::new();
    let list = |text: &'static [u8]| vec![("requirements.txt", text)];
    let cases: Vec<(&str, Vec<SourceFile>)> = vec![
        ("Ubuntu's pip freeze", list(b"flask\npkg-resources==0.0.0\n")),
        ("conda's pip freeze", list(b"six @ file:///tmp/build/80754af9/six_1644875935023/work\nattrs @ file:///croot/attrs_1668696182826/work\n")),
        ("a Windows list", list(b"pywin32==306\n")),
        ("paths of a machine", list(b"-e /home/me/lib\nC:\\wheels\\x.whl\n")),
        ("outside of the source", list(b"../lib\n")),
        ("places of a machine", list(b"--find-links /srv/wheels\n--index-url file:///srv/simple\nflask\n")),
        ("a path that is not there", list(b"./lib\n-e src/thing\n")),
        ("conda's way of writing", list(b"flask=3.0\n")),
        ("two on a line", list(b"flask==3.0 requests==2.0\nflask requests\n")),
        ("options", list(b"--index https://x\nflask --upgrade\nx==1 --config-settings=\"a=b\"\n")),
        ("a variable without a value", list(b"--index-url https://${USER_NAME}:${TOKEN}@x/simple\nflask\n")),
        ("an unknown encoding", list(b"flask\n# M\xfcller\n")),
        ("a list that is not there", list(b"-r base.txt\n")),
        ("a misspelt name", vec![("requirement.txt", b"flask\n")]),
        ("an ignored list", vec![("requirements.txt", b"flask\n"), (".dockerignore", b"requirements.txt\n")]),
        ("lists of equal right", vec![("requirements/web.txt", b"x\n"), ("requirements/worker.txt", b"y\n")]),
        ("conda", vec![("environment.yml", b"dependencies:\n  - numpy=1.26\n  - pip:\n    - flask\n")]),
        ("Poetry", vec![("pyproject.toml", b"[tool.poetry.dependencies]\nx = '^1 || ^3'\n")]),
        ("a pyenv name", vec![(".python-version", b"shop-env-3.11\n")]),
        ("versions that exclude each other", vec![(".python-version", b"3.9\n"), ("pyproject.toml", b"[project]\nname = 'x'\nrequires-python = '>=3.10'\n")]),
    ];
    let mut all = String::new();
    for (name, tree) in cases {
        let place = tempfile::tempdir().unwrap();
        write(place.path(), &[("wsgi.py", WSGI.as_bytes())]);
        write(place.path(), &tree);
        let arguments = ["image", "x", "--dry-run", "--quiet"];
        let output = process::output(&mut warpdrive.command_in(place.path(), &[], &arguments));
        assert!(!output.status.success(), "{name}: {}", words(&output));
        let said = String::from_utf8(output.stderr).unwrap();
        let _ = writeln!(all, "# {name}\n{said}");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_version_of_git_without_a_repository_is_to_be_said() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let place = tempfile::tempdir().unwrap();
    let scm = format!(
        "{}[project]\nname = 'ledger'\ndynamic = ['version']\n",
        PYPROJECT.replace("[]", "['setuptools-scm']")
    );
    write(
        place.path(),
        &[
            ("wsgi.py", WSGI.as_bytes()),
            ("pyproject.toml", scm.as_bytes()),
            ("backend.py", BACKEND.as_bytes()),
        ],
    );
    let (code, said) = warpdrive.refuses(place.path(), &[]);
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("--build-env SETUPTOOLS_SCM_PRETEND_VERSION_FOR_LEDGER=VERSION"),
        "{said}"
    );
}

#[test]
fn no_registry_is_asked_for_a_python_that_there_is_not() {
    let warpdrive = Warpdrive::new();
    let place = tempfile::tempdir().unwrap();
    write(
        place.path(),
        &[("wsgi.py", WSGI.as_bytes()), (".python-version", b"3.7\n")],
    );
    let output = process::output(&mut warpdrive.command_in(place.path(), &[], &["image", "x"]));
    assert!(!output.status.success());
    let said = words(&output);
    assert!(said.contains("debian-13-python-3.13"), "{said}");
    assert!(!said.contains("Pulling"), "{said}");
}

/// The installer speaks of a list that nobody has seen, and of packages that nobody has asked for.
#[test]
fn an_installers_error_is_told_in_the_projects_own_words() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let index = PackageIndex::start();
    index.add(&Wheel::new("small", "1.0"));
    let url = format!("--index-url {}\n", index.url());
    let lacking = format!("{url}small\n");
    let marker = format!("# ours\n\n{url}small ; python_version\n");
    let project = "[project]\nname = 'x'\nversion = '1'\ndependencies = [\n  'small',\n  'small ; os_name',\n]\n";
    let cases: &[(&str, Tree<'_>)] = &[
        (
            "an index without a server",
            &[("requirements.txt", lacking.as_bytes())],
        ),
        (
            "a marker without an operator",
            &[("requirements.txt", marker.as_bytes())],
        ),
        (
            "the same in pyproject.toml",
            &[("pyproject.toml", project.as_bytes())],
        ),
    ];
    let mut all = String::new();
    for (name, tree) in cases {
        let place = tempfile::tempdir().unwrap();
        write(place.path(), &[("wsgi.py", WSGI.as_bytes())]);
        write(place.path(), tree);
        let mut arguments = warpdrive.image_arguments("refused");
        arguments.extend(["--quiet", "--network", "host"]);
        let mirror = format!("PIP_INDEX_URL={}", index.url());
        let output =
            process::output(&mut warpdrive.command_in(place.path(), &[&mirror], &arguments));
        assert_eq!(output.status.code(), Some(3), "{name}: {}", words(&output));
        let said = String::from_utf8(output.stderr).unwrap();
        let said = said.replace(&index.url(), "http://[INDEX]/simple");
        let _ = writeln!(all, "# {name}\n{said}");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_library_of_the_source_has_its_version_from_git() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let index = PackageIndex::start();
    for (name, version) in [("gunicorn", "27.0.1"), ("setuptools-scm", "8.0")] {
        index.add(&Wheel::new(name, version));
    }
    let mirror = format!("PIP_INDEX_URL={}", index.url());
    let scm = format!(
        "{}[project]\nname = 'ledger'\ndynamic = ['version']\n",
        PYPROJECT.replace("[]", "['setuptools-scm']")
    );
    let place = tempfile::tempdir().unwrap();
    write(
        place.path(),
        &[
            ("wsgi.py", WSGI.as_bytes()),
            ("requirements.txt", b"./libs/ledger\n"),
            ("libs/ledger/pyproject.toml", scm.as_bytes()),
            ("libs/ledger/backend.py", BACKEND.as_bytes()),
        ],
    );
    let build = || {
        let arguments = warpdrive.image_arguments("app");
        process::output(&mut warpdrive.command_in(place.path(), &[&mirror], &arguments))
    };
    let output = build();
    let said = words(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    for part in [
        "setuptools-scm takes the version of libs/ledger from git",
        "--build-env SETUPTOOLS_SCM_PRETEND_VERSION_FOR_LEDGER=VERSION",
    ] {
        assert!(said.contains(part), "{said}");
    }
    commit(place.path());
    let mut tag = std::process::Command::new("git");
    process::run(tag.args(["tag", "v1.4.0"]).current_dir(place.path()));
    let output = build();
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("Version 1.4.0 of libs/ledger, from git"),
        "{said}"
    );
    let found = warpdrive.python("app", INSTALLED);
    assert_eq!(found.trim(), "gunicorn=27.0.1 ledger=1.4.0");
}
