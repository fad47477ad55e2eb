//! No package gets into another's files, and so into another application's image: what a wheel brings
//! beside what its RECORD lists, code that would run while wheels are installed, files of another
//! distribution.
//!
//! The control is uv itself, installing the same wheels as an installer does: there each attack succeeds.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::package_index::{PackageIndex, Wheel};
use crate::support::process;
use crate::support::users::User;
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive};

/// Appends to every `six.py` beside the place where the wheel's files lie.
const ASSEMBLE: &[u8] = b"#!/bin/sh\nhere=$(cd \"$(dirname \"$0\")/../..\" && pwd)\n\
    for file in \"$here\"/lib/python3*/site-packages/six.py; do echo 'POISON = 1' >> \"$file\"; done\n";
/// The same in Python, for what an interpreter that is started imports by itself.
const STARTED: &[u8] = b"import os\n\
    place = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'six.py')\n\
    try:\n    open(place, 'a').write('POISON = 1\\n')\nexcept OSError:\n    pass\n";

fn six() -> Wheel {
    Wheel::new("six", "1.13.0")
}

/// Wheels that try to change six, and with which words a build with them is refused; none: it is not.
fn evil(byte_code: &[u8]) -> Vec<(Wheel, &'static str)> {
    let evil = |name: &str| Wheel::new(name, "1.0");
    vec![
        (
            evil("evila1").file("evila1-1.0.data/data/.s2i/bin/assemble", ASSEMBLE),
            "belongs to the image",
        ),
        (
            evil("evila2").file(
                "evila2-1.0.data/data/src/.warpdrive/action_hooks/pre-build",
                ASSEMBLE,
            ),
            "belongs to the image",
        ),
        (
            evil("evila3").file("evila3-1.0.data/data/bin/python3", ASSEMBLE),
            "belongs to the image",
        ),
        (
            evil("evilb1").unlisted("__pycache__/six.cpython-311.opt-1.pyc", byte_code),
            "",
        ),
        (
            evil("evilb2").file("__pycache__/six.cpython-311.opt-1.pyc", byte_code),
            "",
        ),
        (
            evil("evilc1")
                .file("sitecustomize.py", STARTED)
                .file("evilc1.pth", b"import sitecustomize\n"),
            "",
        ),
        (
            evil("evild1")
                .unlisted("six-1.13.0.dist-info/RECORD", b"six.py,,\n")
                .unlisted("six.py", b"POISON = 1\n"),
            // uv itself says so.
            "evild1",
        ),
        (
            evil("evild2").file("evild2-1.0.data/purelib/six.py", b"POISON = 1\n"),
            "",
        ),
    ]
}

/// Byte-code that says that it is of a module with `POISON`, and is believed whatever the source.
fn byte_code(warpdrive: &Warpdrive) -> Vec<u8> {
    let script = "import _imp, base64, importlib.util as u, marshal; \
        code = compile('POISON = 1', 'six.py', 'exec'); \
        print(base64.urlsafe_b64encode(u.MAGIC_NUMBER + (1).to_bytes(4, 'little') + bytes(8) \
        + marshal.dumps(code)).decode().rstrip('='))";
    let text = warpdrive.python("clean", script);
    URL_SAFE_NO_PAD.decode(text.trim()).unwrap()
}

/// Whether six is poisoned in a container of an image.
fn is_poisoned(warpdrive: &Warpdrive, image: &str) -> bool {
    let script = "import six; print(hasattr(six, 'POISON'), six.__file__)";
    let run = |variable: &str| {
        let words = [
            "run", "--rm", "-e", variable, image, "--", "python", "-c", script,
        ];
        warpdrive.run(&words)
    };
    ["PYTHONOPTIMIZE=", "PYTHONOPTIMIZE=1"]
        .iter()
        .any(|variable| run(variable).starts_with("True"))
}

#[test]
fn what_an_installer_would_do_with_them() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let index = PackageIndex::start();
    index.add(&six());
    index.add(&Wheel::new("gunicorn", "27.0.1"));
    let clean = index.app(&["gunicorn"]);
    warpdrive.image("clean", clean.path(), &[]);
    let code = byte_code(&warpdrive);
    for (wheel, _) in evil(&code) {
        index.add(&wheel);
    }
    let uv = fs::read_dir(warpdrive.store().join("cache"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("bin/uv"))
        .find(|path| path.is_file())
        .unwrap();
    let place = tempfile::tempdir().unwrap();
    let install = |name: &str, wheels: &[&str]| {
        let prefix = place.path().join(name);
        process::run(
            Command::new(&uv)
                .env("UV_CACHE_DIR", place.path().join("cache"))
                .args(["pip", "install", "--no-config", "--link-mode=hardlink"])
                .args(["--python", "/usr/bin/python3", "--index-url", &index.url()])
                .arg("--prefix")
                .arg(&prefix)
                .args(wheels),
        );
        prefix
    };
    let library = |prefix: &Path| {
        let found = fs::read_dir(prefix.join("lib")).unwrap().next().unwrap();
        found.unwrap().path().join("site-packages")
    };
    let before = install("before", &["six"]);
    assert!(
        !fs::read_to_string(library(&before).join("six.py"))
            .unwrap()
            .contains("POISON")
    );
    // The script lies where an S2I `assemble` hands over to, and six in the cache is changed by it.
    let first = install("first", &["evila1", "six"]);
    process::run(&mut Command::new(first.join(".s2i/bin/assemble")));
    let second = install("second", &["six"]);
    let text = fs::read_to_string(library(&second).join("six.py")).unwrap();
    assert!(text.contains("POISON"), "control: {text}");
    // The byte-code lies where Python looks for that of six, and Python believes it.
    for name in ["evilb1", "evilb2"] {
        let third = install(name, &[name]);
        let cached = library(&third).join("__pycache__/six.cpython-311.opt-1.pyc");
        assert!(cached.is_file(), "control: {name}");
    }
    let script = format!(
        "import base64, os, sys; os.makedirs('/tmp/x/__pycache__'); open('/tmp/x/six.py', 'w').close(); \
         open('/tmp/x/__pycache__/six.cpython-311.opt-1.pyc', 'wb').write(base64.urlsafe_b64decode('{}==')); \
         sys.path.insert(0, '/tmp/x'); import six; print(six.POISON)",
        URL_SAFE_NO_PAD.encode(&code)
    );
    let line = [
        "run",
        "--rm",
        "-e",
        "PYTHONOPTIMIZE=1",
        "clean",
        "--",
        "python",
        "-c",
        &script,
    ];
    assert_eq!(warpdrive.run(&line).trim(), "1", "control");
}

#[test]
fn six_stays_what_it_is_for_root() {
    six_stays_what_it_is("root", &Warpdrive::with(PYTHON_311_RUN));
}

#[test]
fn six_stays_what_it_is_for_a_user_with_subids() {
    let warpdrive = Warpdrive::as_user(User::with_subids(), PYTHON_311_RUN);
    six_stays_what_it_is("subuid", &warpdrive);
}

#[test]
fn six_stays_what_it_is_for_a_user_with_one_id() {
    let warpdrive = Warpdrive::as_user(User::single_id(), PYTHON_311_RUN);
    six_stays_what_it_is("single", &warpdrive);
}

/// Builds with each of the evil wheels, then with six alone.
fn six_stays_what_it_is(who: &str, warpdrive: &Warpdrive) {
    let index = PackageIndex::start();
    index.add(&six());
    index.add(&Wheel::new("gunicorn", "27.0.1"));
    let give = |requirements: &[&str], name: &str| {
        let app = index.app(requirements);
        fs::set_permissions(app.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = warpdrive.give(app.path(), name);
        (app, place)
    };
    let (_clean, place) = give(&["gunicorn"], "clean");
    warpdrive.image("clean", &place, &[]);
    let pinned = format!("six==1.13.0 --hash=sha256:{}", PackageIndex::hash(&six()));
    let server = format!(
        "gunicorn==27.0.1 --hash=sha256:{}",
        PackageIndex::hash(&Wheel::new("gunicorn", "27.0.1"))
    );
    for (number, (wheel, refused)) in evil(&byte_code(warpdrive)).into_iter().enumerate() {
        let name = wheel.name();
        // One of each kind where only the ids differ.
        if who != "root" && !name.ends_with('1') {
            continue;
        }
        index.add(&wheel);
        // Six comes along, so that it is made in the same stage as the evil one.
        let (_app, place) = give(&["six", "gunicorn", &name], &name);
        // What goes to the installer after all asks the index of this machine that the list names.
        let mut options = vec!["--network", "host"];
        if number > 0 {
            options.push("--no-cache");
        }
        if refused.is_empty() {
            warpdrive.image("evil", &place, &options);
        } else {
            let (code, words) = warpdrive.refuses(&place, &options);
            assert_eq!(code, 3, "{who} {words}");
            assert!(words.contains(refused), "{who} {words}");
        }
        assert_fragments(warpdrive, &format!("{who} {name}"));
    }
    let (_app, place) = give(&[&pinned, &server], "victim");
    warpdrive.image("victim", &place, &["--no-cache", "--upgrade"]);
    assert!(!is_poisoned(warpdrive, "victim"), "{who}");
    warpdrive.image("victim", &place, &[]);
    assert!(!is_poisoned(warpdrive, "victim"), "{who}");
}

/// Every fragment of the store holds the files that its RECORD lists with the bytes that this names,
/// and unoptimized byte-code of them.
fn assert_fragments(warpdrive: &Warpdrive, what: &str) {
    for map in fs::read_dir(warpdrive.store().join("unpacked")).unwrap() {
        for tree in fs::read_dir(map.unwrap().path()).unwrap() {
            let tree = tree.unwrap().path();
            let name = tree.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("fragment-") && tree.is_dir() {
                assert_fragment(&tree, what);
            }
        }
    }
}

fn assert_fragment(tree: &Path, what: &str) {
    let site = tree.join("opt/app-root/lib/python3.11/site-packages");
    let info = fs::read_dir(&site)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "dist-info"))
        .unwrap();
    let record = fs::read_to_string(info.join("RECORD")).unwrap();
    // A set: a store may hold the fragments of Django, of some thousand files.
    let mut left: BTreeSet<PathBuf> = walkdir::WalkDir::new(tree.canonicalize().unwrap())
        .into_iter()
        .map(|entry| entry.unwrap())
        .filter(|entry| !entry.file_type().is_dir())
        .inspect(|entry| assert!(entry.file_type().is_file(), "{what}: {entry:?}"))
        .map(walkdir::DirEntry::into_path)
        .collect();
    let mut sources = Vec::new();
    for line in record.lines() {
        let mut parts = line.split(',');
        let (path, hash) = (parts.next().unwrap(), parts.next().unwrap());
        let path = site.join(path).canonicalize().unwrap();
        let content = fs::read(&path).unwrap();
        if !path.ends_with("RECORD") {
            assert_eq!(hash, record_hash(&content), "{what}: {}", path.display());
        }
        left.remove(&path);
        sources.push(path);
    }
    for code in left {
        let name = code.file_name().unwrap().to_str().unwrap();
        let module = name.strip_suffix(".cpython-311.pyc");
        let module = module.unwrap_or_else(|| panic!("{what}: {} is in no RECORD", code.display()));
        let source = code
            .parent()
            .unwrap()
            .with_file_name(format!("{module}.py"));
        let source = source.canonicalize().unwrap();
        assert!(sources.contains(&source), "{what}: {}", code.display());
        assert!(code.parent().unwrap().ends_with("__pycache__"), "{what}");
    }
}

fn record_hash(content: &[u8]) -> String {
    warpdrive::app::assemble::records::record_hash(content)
}
