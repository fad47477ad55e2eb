//! An application is not loaded again when nothing changed that runs when it is loaded; and it is in all
//! other cases.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;

use crate::support::package_index::{PackageIndex, Wheel};
use crate::support::process;
use crate::support::warpdrive::{PYTHON_311_RUN, PYTHON_313_RUN, Warpdrive};

const AS_BEFORE: &str = "Application loads as before";
const LOADED: &str = "Loading the application";

const FILES: &[(&str, &str)] = &[
    (
        "wsgi.py",
        r#"import shop
from shop import cart

with open("version.py") as file:
    VERSION = file.read()

ITEMS = cart.prepare()


def application(environ, start_response):
    start_response("200 OK", [])
    return [b"1"]
"#,
    ),
    ("shop/__init__.py", ""),
    (
        "shop/cart.py",
        r"def prepare():
    return [helper(item) for item in (1, 2)]


def helper(item):
    return item


def total(items):
    return sum(items)


class Cart:
    def add(self, item):
        self.item = item
",
    ),
    ("unused.py", "VALUE = 1\n"),
    ("version.py", "VERSION = 1\n"),
    ("data.txt", "1\n"),
];

/// What becomes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    AsBefore,
    IsLoaded,
    Fails,
}
use Then::{AsBefore, Fails, IsLoaded};

/// A change of a file (nothing: it is new), and what becomes of it. A change that fails is taken back.
const CHANGES: &[(&str, &str, &str, Then)] = &[
    ("wsgi.py", "ITEMS =", "# All.\nITEMS =", AsBefore),
    ("wsgi.py", "[b\"1\"]", "[absent]", AsBefore),
    (
        "shop/cart.py",
        "sum(items)",
        "sum(items) + missing",
        AsBefore,
    ),
    (
        "shop/cart.py",
        "self.item = item",
        "raise ValueError",
        AsBefore,
    ),
    ("unused.py", "VALUE = 1", "import absent", AsBefore),
    (
        "shop/cart.py",
        "    return item",
        "    return item + 1",
        IsLoaded,
    ),
    (
        "shop/cart.py",
        "    return item + 1",
        "    return absent",
        Fails,
    ),
    (
        "shop/cart.py",
        "add(self, item)",
        "add(self, item=1)",
        IsLoaded,
    ),
    ("shop/cart.py", "class Cart:", "class Cart(absent):", Fails),
    // The parser of detection takes it, Python does not.
    (
        "shop/cart.py",
        "return sum(items)",
        "class A:\n        return 1\n    return sum(items)",
        Fails,
    ),
    (
        "version.py",
        "VERSION = 1",
        "VERSION = 1  # of all",
        IsLoaded,
    ),
    ("data.txt", "1", "2", IsLoaded),
    ("shop/new.py", "", "VALUE = 1\n", IsLoaded),
    (
        "wsgi.py",
        "import shop\n",
        "import inspect\nimport shop\n",
        IsLoaded,
    ),
    (
        "wsgi.py",
        "ITEMS =",
        "SOURCE = inspect.getsource(cart.total)\nITEMS =",
        IsLoaded,
    ),
    // The whole file was read.
    (
        "shop/cart.py",
        "sum(items) + missing",
        "sum(items)",
        IsLoaded,
    ),
    (
        "wsgi.py",
        "SOURCE = inspect.getsource(cart.total)\n",
        "",
        IsLoaded,
    ),
    (
        "shop/cart.py",
        "    return sum(items)",
        "    return 0",
        AsBefore,
    ),
    // A library calls functions of the application while it is imported.
    ("shop/late.py", "", "def value():\n    return 1\n", IsLoaded),
    (
        "wsgi.py",
        "import shop\n",
        "import caller\nimport shop\n",
        IsLoaded,
    ),
    ("shop/late.py", "return 1", "return absent", Fails),
    ("shop/late.py", "return 1", "return 2", IsLoaded),
    // From here on it is not known what a load depends on.
    (
        "wsgi.py",
        "ITEMS =",
        "import os\nos.system(\"true\")\nITEMS =",
        IsLoaded,
    ),
    ("shop/cart.py", "    return 0", "    return 1", IsLoaded),
];

#[test]
fn what_runs_at_no_load_is_not_loaded_again() {
    let index = PackageIndex::start();
    index.add(&Wheel::new("gunicorn", "27.0.1"));
    let text = b"from importlib import import_module\nVALUE = import_module('shop.late').value()\n";
    index.add(&Wheel::new("caller", "1.0").file("caller.py", text));
    for builder in [PYTHON_311_RUN, PYTHON_313_RUN] {
        let warpdrive = Warpdrive::with(builder);
        let app = index.app(&["gunicorn==27.0.1", "caller==1.0"]);
        for (path, text) in FILES {
            write(app.path(), path, text);
        }
        assert_eq!(build(&warpdrive, app.path(), &[]).0, IsLoaded);
        for (path, old, new, then) in CHANGES {
            let before = fs::read_to_string(app.path().join(path)).unwrap_or_default();
            let after = if old.is_empty() {
                (*new).to_owned()
            } else {
                before.replacen(old, new, 1)
            };
            assert_ne!(before, after, "{path}: {new}");
            write(app.path(), path, &after);
            let (seen, words) = build(&warpdrive, app.path(), &[]);
            assert_eq!(seen, *then, "{builder}, {path}: {new}\n{words}");
            if *then == Fails {
                assert!(words.contains("cannot be loaded"), "{words}");
                write(app.path(), path, &before);
            }
        }
        write(app.path(), "shop/cart.py", "def prepare():\n    return 1\n");
        assert_eq!(build(&warpdrive, app.path(), &["--no-smoke"]).0, AsBefore);
        assert_eq!(build(&warpdrive, app.path(), &["--no-cache"]).0, IsLoaded);
    }
}

fn write(source: &Path, path: &str, text: &str) {
    let path = source.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn build(warpdrive: &Warpdrive, source: &Path, more: &[&str]) -> (Then, String) {
    let mut arguments = warpdrive.image_arguments("app");
    arguments.extend(["--network", "host"]);
    arguments.extend(more);
    let output = process::output(&mut warpdrive.command_in(source, &[], &arguments));
    let words = process::words(&output);
    let (loaded, as_before) = (words.contains(LOADED), words.contains(AS_BEFORE));
    let then = match (output.status.success(), loaded) {
        (true, true) => IsLoaded,
        (true, false) => AsBefore,
        (false, _) => Fails,
    };
    assert!(!(loaded && as_before), "{words}");
    (then, words)
}
