//! Builds that go by the lock files of uv, Poetry, PDM and Pipenv.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use warpdrive::oci::sha256;

use crate::support::git_server::GitServer;
use crate::support::package_index::{PackageIndex, WSGI, Wheel};
use crate::support::process::{self, words};
use crate::support::warpdrive::{PYTHON_311, PYTHON_311_RUN, Warpdrive, binary, commit};

/// A private index with `corplib`, and a public one with a stranger's of the same name.
struct Indexes {
    private: PackageIndex,
    public: PackageIndex,
    corplib: Wheel,
    small: Wheel,
}

impl Indexes {
    fn start() -> Self {
        let corplib = Wheel::new("corplib", "1.5");
        let small = Wheel::new("small", "1.0");
        let indexes = Self {
            private: PackageIndex::start(),
            public: PackageIndex::start(),
            corplib,
            small,
        };
        indexes.private.add(&indexes.corplib);
        for wheel in [
            indexes.small.clone(),
            Wheel::new("corplib", "9.9"),
            // The server requires it too; the public index must not be asked for it.
            Wheel::new("gunicorn", "27.0.1").requires("corplib"),
        ] {
            indexes.public.add(&wheel);
        }
        indexes
    }

    fn corp(&self) -> String {
        self.private.url()
    }

    fn entry(wheel: &Wheel, index: &PackageIndex, known: bool) -> String {
        let url = if known {
            format!("url = \"{}\"", index.file_url(wheel))
        } else {
            format!("file = \"{}\"", wheel.file_name())
        };
        format!(
            "{{ {url}, hash = \"sha256:{}\" }}",
            PackageIndex::hash(wheel)
        )
    }

    /// The project's files for each manager.
    fn projects(&self) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
        let corp = self.corp();
        let dependencies = "dependencies = [\"corplib\", \"small\"]\n";
        let project = format!(
            "[project]\nname = \"app\"\nversion = \"0.1\"\nrequires-python = \">=3.9\"\n{dependencies}"
        );
        let wheel = |wheel: &Wheel, index: &PackageIndex| Self::entry(wheel, index, true);
        let file = |wheel: &Wheel| Self::entry(wheel, &self.public, false);
        let uv = (
            format!(
                "{project}\n[tool.uv.sources]\ncorplib = {{ index = \"corp\" }}\n\n[[tool.uv.index]]\nname = \"corp\"\nurl = \"{corp}\"\nexplicit = true\n"
            ),
            format!(
                "version = 1\nrequires-python = \">=3.9\"\n\n\
                 [[package]]\nname = \"app\"\nversion = \"0.1\"\nsource = {{ virtual = \".\" }}\ndependencies = [{{ name = \"corplib\" }}, {{ name = \"small\" }}]\n\n\
                 [package.metadata]\nrequires-dist = [{{ name = \"corplib\", index = \"{corp}\" }}, {{ name = \"small\" }}]\n\n\
                 [[package]]\nname = \"corplib\"\nversion = \"1.5\"\nsource = {{ registry = \"{corp}\" }}\nwheels = [{}]\n\n\
                 [[package]]\nname = \"small\"\nversion = \"1.0\"\nsource = {{ registry = \"https://pypi.org/simple\" }}\nwheels = [{}]\n",
                wheel(&self.corplib, &self.private),
                wheel(&self.small, &self.public),
            ),
        );
        let source = json!([{"name": "corp", "priority": "explicit", "url": corp}]);
        let poetry_hash = hash(
            &json!({
                "project": {"dependencies": ["small"], "requires-python": ">=3.9"},
                "tool": {"poetry": {
                    "dependencies": {"corplib": {"source": "corp", "version": "*"}},
                    "source": source,
                }},
            }),
            ", ",
            ": ",
        );
        let poetry = (
            format!(
                "[project]\nname = \"app\"\nversion = \"0.1\"\nrequires-python = \">=3.9\"\ndependencies = [\"small\"]\n\n\
                 [tool.poetry]\npackage-mode = false\n\n[tool.poetry.dependencies]\ncorplib = {{ version = \"*\", source = \"corp\" }}\n\n\
                 [[tool.poetry.source]]\nname = \"corp\"\nurl = \"{corp}\"\npriority = \"explicit\"\n"
            ),
            format!(
                "[[package]]\nname = \"corplib\"\nversion = \"1.5\"\noptional = false\npython-versions = \"*\"\ngroups = [\"main\"]\nfiles = [{}]\n\n\
                 [package.source]\ntype = \"legacy\"\nurl = \"{corp}\"\nreference = \"corp\"\n\n\
                 [[package]]\nname = \"small\"\nversion = \"1.0\"\noptional = false\npython-versions = \"*\"\ngroups = [\"main\"]\nfiles = [{}]\n\n\
                 [metadata]\nlock-version = \"2.1\"\npython-versions = \">=3.9\"\ncontent-hash = \"{poetry_hash}\"\n",
                file(&self.corplib),
                file(&self.small),
            ),
        );
        let pdm_hash = hash(
            &json!({
                "sources": [{"include_packages": ["corp*"], "name": "corp", "url": corp}],
                "dependencies": ["corplib", "small"],
                "dev-dependencies": {},
                "optional-dependencies": {},
                "requires-python": ">=3.9",
                "resolution": {},
            }),
            ", ",
            ": ",
        );
        let pdm = (
            format!(
                "{project}\n[tool.pdm]\ndistribution = false\n\n[[tool.pdm.source]]\nname = \"corp\"\nurl = \"{corp}\"\ninclude_packages = [\"corp*\"]\n"
            ),
            format!(
                "[metadata]\ngroups = [\"default\"]\nstrategy = [\"inherit_metadata\"]\nlock_version = \"4.5.0\"\ncontent_hash = \"sha256:{pdm_hash}\"\n\n\
                 [[package]]\nname = \"corplib\"\nversion = \"1.5\"\ngroups = [\"default\"]\nfiles = [{}]\n\n\
                 [[package]]\nname = \"small\"\nversion = \"1.0\"\ngroups = [\"default\"]\nfiles = [{}]\n",
                file(&self.corplib),
                file(&self.small),
            ),
        );
        let sources = json!([
            {"name": "pypi", "url": "https://pypi.org/simple", "verify_ssl": true},
            {"name": "corp", "url": corp, "verify_ssl": false},
        ]);
        let pipfile_hash = hash(
            &json!({
                "_meta": {"requires": {}, "sources": sources},
                "default": {"corplib": {"index": "corp", "version": "*"}, "small": "*"},
                "develop": {},
            }),
            ",",
            ":",
        );
        let pipenv = (
            format!(
                "[[source]]\nname = \"pypi\"\nurl = \"https://pypi.org/simple\"\nverify_ssl = true\n\n\
                 [[source]]\nname = \"corp\"\nurl = \"{corp}\"\nverify_ssl = false\n\n\
                 [packages]\ncorplib = {{ version = \"*\", index = \"corp\" }}\nsmall = \"*\"\n"
            ),
            json!({
                "_meta": {"hash": {"sha256": pipfile_hash}, "requires": {}, "sources": sources},
                "default": {
                    "corplib": {"version": "==1.5", "index": "corp", "hashes": [format!("sha256:{}", PackageIndex::hash(&self.corplib))]},
                    "small": {"version": "==1.0", "index": "pypi", "hashes": [format!("sha256:{}", PackageIndex::hash(&self.small))]},
                },
                "develop": {},
            })
            .to_string(),
        );
        vec![
            ("uv", vec![("pyproject.toml", uv.0), ("uv.lock", uv.1)]),
            (
                "poetry",
                vec![("pyproject.toml", poetry.0), ("poetry.lock", poetry.1)],
            ),
            ("pdm", vec![("pyproject.toml", pdm.0), ("pdm.lock", pdm.1)]),
            (
                "pipenv",
                vec![("Pipfile", pipenv.0), ("Pipfile.lock", pipenv.1)],
            ),
        ]
    }

    /// All that either index was asked for.
    fn all_asked(&self) -> Vec<String> {
        [self.private.asked(), self.public.asked()].concat()
    }

    fn asked_for_corplib(&self) -> Vec<String> {
        let lines = self.public.asked();
        lines
            .into_iter()
            .filter(|line| line.contains("corplib"))
            .collect()
    }
}

/// The SHA-256 of what Python's `json.dumps` makes of it, with sorted keys.
fn hash(value: &Value, comma: &str, colon: &str) -> String {
    fn write(value: &Value, comma: &str, colon: &str, out: &mut String) {
        let items: Vec<(Option<&String>, &Value)> = match value {
            Value::Object(map) => {
                let sorted: BTreeMap<&String, &Value> = map.iter().collect();
                sorted
                    .into_iter()
                    .map(|(key, value)| (Some(key), value))
                    .collect()
            }
            Value::Array(list) => list.iter().map(|value| (None, value)).collect(),
            other => {
                let _ = write!(out, "{other}");
                return;
            }
        };
        out.push(if value.is_object() { '{' } else { '[' });
        for (at, (key, value)) in items.into_iter().enumerate() {
            if at > 0 {
                out.push_str(comma);
            }
            if let Some(key) = key {
                let _ = write!(out, "\"{key}\"{colon}");
            }
            write(value, comma, colon, out);
        }
        out.push(if value.is_object() { '}' } else { ']' });
    }
    let mut text = String::new();
    write(value, comma, colon, &mut text);
    sha256(text.as_bytes()).digest().to_owned()
}

fn lay_out(files: &[(&str, String)]) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("wsgi.py"), WSGI).unwrap();
    for (path, text) in files {
        fs::write(place.path().join(path), text).unwrap();
    }
    place
}

fn build(warpdrive: &Warpdrive, source: &Path, public: &str, more: &[&str]) -> Value {
    let mirror = format!("UV_DEFAULT_INDEX={public}");
    warpdrive.image_with("app", source, &[&mirror], more)
}

#[test]
fn a_bound_name_is_asked_of_its_index_alone() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let indexes = Indexes::start();
    let public = indexes.public.url();
    let question = "import corplib, small; print(corplib.VERSION, small.VERSION)";
    let mut is_empty = true;
    for (manager, files) in indexes.projects() {
        let place = lay_out(&files);
        // Without a network no address of the lock is asked, while the store has nothing.
        if std::mem::take(&mut is_empty) {
            let asked = || indexes.all_asked();
            let before = asked();
            let (status, said) = warpdrive.refuses(place.path(), &["--network", "none"]);
            assert!(
                status == 3 && said.contains("this build has no network"),
                "{said}"
            );
            assert_eq!(asked(), before);
        }
        // In one go and in fragments.
        for more in [
            &["--no-cache"][..],
            &["--no-cache", "--build-env", "UV_NO_PROGRESS=1"],
        ] {
            build(&warpdrive, place.path(), &public, more);
            assert_eq!(
                warpdrive.python("app", question).trim(),
                "1.5 1.0",
                "{manager}"
            );
            assert_eq!(
                indexes.asked_for_corplib(),
                Vec::<String>::new(),
                "{manager} {more:?}"
            );
        }
        // Without the lock it is from there, too; a pattern says not of which names.
        let lock = place.path().join(files[1].0);
        fs::remove_file(lock).unwrap();
        let refused = match manager {
            "pdm" => Some((2, "`pdm lock`")),
            // Beside `[project] dependencies` Poetry's table asks for nothing, and the server here wants it.
            "poetry" => Some((3, "does not ask for itself")),
            _ => None,
        };
        if let Some((code, said)) = refused {
            let mirror = format!("UV_DEFAULT_INDEX={public}");
            let arguments = warpdrive.image_arguments("refused");
            let mut command = warpdrive.command_in(place.path(), &[&mirror], &arguments);
            let output = process::output(&mut command);
            assert_eq!(output.status.code(), Some(code), "{}", words(&output));
            assert!(words(&output).contains(said), "{}", words(&output));
        } else {
            build(&warpdrive, place.path(), &public, &["--no-cache"]);
            assert_eq!(
                warpdrive.python("app", question).trim(),
                "1.5 1.0",
                "{manager}"
            );
        }
        assert_eq!(
            indexes.asked_for_corplib(),
            Vec::<String>::new(),
            "{manager}"
        );
    }
    // The control: where nothing binds the name, the stranger's is what is installed.
    let place = lay_out(&[("requirements.txt", "corplib\nsmall\n".into())]);
    build(&warpdrive, place.path(), &public, &[]);
    assert_eq!(warpdrive.python("app", question).trim(), "9.9 1.0");
    assert!(!indexes.asked_for_corplib().is_empty());
}

/// The first by name has a path that two have; the installer has an order of its own, so it is called again for
/// the others, by a list that is complete.
#[test]
fn paths_that_two_distributions_of_a_lock_have_are_the_firsts() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let indexes = Indexes::start();
    let corp = indexes.corp();
    // One of these pairs is installed in the other order, whatever the order is.
    let pairs: Vec<[Wheel; 2]> = (0..8)
        .map(|number| {
            let path = format!("both{number}.py");
            let [first, second] = if number % 2 == 0 {
                ["a", "z"]
            } else {
                ["a-long-one", "z-long-one"]
            };
            [first, second].map(|name| {
                let content = format!("WORD = '{}'\n", &name[..1]);
                Wheel::new(&format!("{name}{number}"), "1.0").file(&path, content.as_bytes())
            })
        })
        .collect();
    let wheels: Vec<&Wheel> = pairs.iter().flatten().collect();
    let mut project = String::from(
        "[project]\nname = \"app\"\nversion = \"0.1\"\nrequires-python = \">=3.9\"\ndependencies = [",
    );
    let (mut wanted, mut known) = (Vec::new(), Vec::new());
    let (mut sources, mut packages) = (String::new(), String::new());
    for wheel in wheels {
        indexes.private.add(wheel);
        let name = wheel.name();
        wanted.push(format!("{{ name = \"{name}\" }}"));
        known.push(format!("{{ name = \"{name}\", index = \"{corp}\" }}"));
        let _ = write!(project, "\"{name}\", ");
        let _ = writeln!(sources, "{name} = {{ index = \"corp\" }}");
        let _ = write!(
            packages,
            "[[package]]\nname = \"{name}\"\nversion = \"1.0\"\nsource = {{ registry = \"{corp}\" }}\nwheels = [{}]\n\n",
            Indexes::entry(wheel, &indexes.private, true)
        );
    }
    let _ = write!(
        project,
        "]\n\n[tool.uv.sources]\n{sources}\n[[tool.uv.index]]\nname = \"corp\"\nurl = \"{corp}\"\nexplicit = true\n"
    );
    let lock = format!(
        "version = 1\nrequires-python = \">=3.9\"\n\n\
         [[package]]\nname = \"app\"\nversion = \"0.1\"\nsource = {{ virtual = \".\" }}\ndependencies = [{}]\n\n\
         [package.metadata]\nrequires-dist = [{}]\n\n{packages}",
        wanted.join(", "),
        known.join(", ")
    );
    let place = lay_out(&[("pyproject.toml", project), ("uv.lock", lock)]);
    build(&warpdrive, place.path(), &indexes.public.url(), &[]);
    let words =
        "import importlib; print(*{importlib.import_module(f'both{n}').WORD for n in range(8)})";
    assert_eq!(warpdrive.python("app", words).trim(), "a");
}

/// The lock lies with the application, and the top of the tree says nothing of packages.
#[test]
fn a_lock_below_the_top_is_what_counts() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let indexes = Indexes::start();
    let public = indexes.public.url();
    let question = "import corplib, small; print(corplib.VERSION, small.VERSION)";
    for (manager, files) in indexes.projects() {
        // Found by itself, and named.
        let more: &[&str] = match manager {
            "uv" | "pipenv" => &[],
            _ => &["--set", "home=backend"],
        };
        let place = tempfile::tempdir().unwrap();
        let below = lay_out(&files);
        fs::rename(below.path(), place.path().join("backend")).unwrap();
        fs::write(place.path().join("README.md"), "no list of packages\n").unwrap();
        let report = build(&warpdrive, place.path(), &public, more);
        assert_eq!(report["plan"]["home"], "backend", "{manager}");
        let versions = warpdrive.python("app", question);
        assert_eq!(versions.trim(), "1.5 1.0", "{manager}");
        let asked = indexes.asked_for_corplib();
        assert_eq!(asked, Vec::<String>::new(), "{manager}");
        // Nothing changed.
        let again = build(&warpdrive, place.path(), &public, more);
        assert_eq!(again["cache"]["dependencies"], "hit", "{manager}");
    }
}

#[test]
fn a_file_with_other_bytes_is_not_installed() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let indexes = Indexes::start();
    let (_, files) = indexes.projects().remove(0);
    let place = lay_out(&files);
    indexes.private.spoil(&indexes.corplib);
    let (code, words) = warpdrive.refuses(place.path(), &[]);
    assert_ne!(code, 0);
    assert!(words.contains("corplib"), "{words}");
}

/// A build backend that needs nothing, for a project `rates` that needs `small`.
const RATES: &str = "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n\
    [project]\nname = 'rates'\nversion = '2.0'\ndependencies = ['small']\n";
const RATES_BACKEND: &str = r#"
import os, zipfile

def build_wheel(directory, settings=None, metadata=None):
    with zipfile.ZipFile(os.path.join(directory, "rates-2.0-py3-none-any.whl"), "w") as z:
        z.writestr("rates.py", "VERSION = '2.0'\n")
        z.writestr("rates-2.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: rates\nVersion: 2.0\nRequires-Dist: small\n")
        z.writestr("rates-2.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr("rates-2.0.dist-info/RECORD", "")
    return "rates-2.0-py3-none-any.whl"

build_editable = build_wheel

def get_requires_for_build_wheel(settings=None):
    return []

get_requires_for_build_editable = get_requires_for_build_wheel
"#;

/// A project that binds `rates` to a path and `corplib` to an index, without a lock; a stranger's of both
/// names are in the public index, and `needy` there wants `rates`.
fn unlocked(indexes: &Indexes) -> tempfile::TempDir {
    for wheel in [
        Wheel::new("rates", "9.9"),
        Wheel::new("needy", "1.0").requires("rates"),
    ] {
        indexes.public.add(&wheel);
    }
    let project = format!(
        "[project]\nname = 'app'\nversion = '1'\ndependencies = ['rates', 'corplib', 'needy']\n\
         [tool.uv.sources]\nrates = {{ path = 'libs/rates' }}\ncorplib = {{ index = 'corp' }}\n\
         [[tool.uv.index]]\nname = 'corp'\nurl = '{}'\nexplicit = true\n",
        indexes.corp()
    );
    let place = lay_out(&[("pyproject.toml", project)]);
    let rates = place.path().join("libs/rates");
    fs::create_dir_all(&rates).unwrap();
    fs::write(rates.join("pyproject.toml"), RATES).unwrap();
    fs::write(rates.join("backend.py"), RATES_BACKEND).unwrap();
    place
}

fn asked_for_a_bound_name(indexes: &Indexes) -> Vec<String> {
    let lines = indexes.public.asked().into_iter();
    lines
        .filter(|line| line.contains("corplib") || line.contains("rates"))
        .collect()
}

#[test]
fn paths_and_indexes_without_a_lock() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let indexes = Indexes::start();
    let place = unlocked(&indexes);
    build(&warpdrive, place.path(), &indexes.public.url(), &[]);
    let question = "import rates, corplib, small, needy; print(rates.VERSION, corplib.VERSION)";
    assert_eq!(warpdrive.python("app", question).trim(), "2.0 1.5");
    assert_eq!(asked_for_a_bound_name(&indexes), Vec::<String>::new());
    // A package that needs a name that is bound and not asked for does not get a stranger's.
    let pyproject = place.path().join("pyproject.toml");
    let text = fs::read_to_string(&pyproject).unwrap();
    fs::write(&pyproject, text.replace("'rates', 'corplib', ", "")).unwrap();
    let mirror = format!("UV_DEFAULT_INDEX={}", indexes.public.url());
    let arguments = warpdrive.image_arguments("app");
    let output = process::output(&mut warpdrive.command_in(place.path(), &[&mirror], &arguments));
    assert!(!output.status.success(), "{}", words(&output));
    assert!(
        words(&output).contains("binds to a place and does not ask for itself"),
        "{}",
        words(&output)
    );
    assert_eq!(asked_for_a_bound_name(&indexes), Vec::<String>::new());
}

#[test]
fn a_laptop_goes_by_the_lock_and_by_what_is_bound() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let indexes = Indexes::start();
    let home = tempfile::tempdir().unwrap();
    let question = "import corplib, small; print(corplib.VERSION, small.VERSION)";
    let run = |place: &Path, name: &str, question: &str| {
        let session = format!(
            "set -e; eval \"$('{0}' rcfile bash)\"; warpdrive project --create {name} >&2\n\
             '{0}' build >&2\npython -c \"{question}\"",
            binary().display()
        );
        let mut command = std::process::Command::new("/bin/bash");
        command
            .args(["-c", &session])
            .current_dir(place)
            .env("HOME", home.path())
            .env("WARPDRIVE_STORE", warpdrive.store())
            .env("UV_DEFAULT_INDEX", indexes.public.url())
            .env("PIP_INDEX_URL", indexes.public.url());
        let output = process::output(&mut command);
        assert!(output.status.success(), "{name}: {}", words(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    for (manager, files) in indexes.projects() {
        let place = lay_out(&files);
        assert_eq!(run(place.path(), manager, question), "1.5 1.0");
        assert_eq!(
            asked_for_a_bound_name(&indexes),
            Vec::<String>::new(),
            "{manager}"
        );
    }
    let place = unlocked(&indexes);
    let question = "import rates, corplib, small, needy; print(rates.VERSION, corplib.VERSION)";
    assert_eq!(run(place.path(), "unlocked", question), "2.0 1.5");
    assert_eq!(asked_for_a_bound_name(&indexes), Vec::<String>::new());
    // The application may be below the top, with its lock or with what it binds.
    for (name, text) in [("below", ""), ("below-unlocked", "unlocked")] {
        let place = tempfile::tempdir().unwrap();
        let (_, files) = indexes.projects().remove(0);
        let below = if text.is_empty() {
            lay_out(&files)
        } else {
            unlocked(&indexes)
        };
        fs::rename(below.path(), place.path().join("backend")).unwrap();
        let question = "import corplib, small; print(corplib.VERSION, small.VERSION)";
        assert_eq!(run(place.path(), name, question), "1.5 1.0", "{name}");
        assert_eq!(
            asked_for_a_bound_name(&indexes),
            Vec::<String>::new(),
            "{name}"
        );
    }
    // Nothing of where the files were for a moment is left.
    let environment = home.path().join(".warpdrive/warpdrive+unlocked");
    let library = fs::read_dir(environment.join("lib")).unwrap().next();
    let site = library.unwrap().unwrap().path().join("site-packages");
    let information = site.join("corplib-1.5.dist-info");
    assert!(!information.join("direct_url.json").exists());
    let record = fs::read_to_string(information.join("RECORD")).unwrap();
    assert!(
        record.contains("corplib.py,") && !record.contains("direct_url"),
        "{record}"
    );
    // The executable in images cannot do that, and asks nobody.
    let mut command = std::process::Command::new(env!("WARPDRIVE_APP_TOOL_PATH"));
    command
        .arg("build")
        .current_dir(place.path())
        .env("WARPDRIVE_APP_ROOT", environment)
        .env("WARPDRIVE_SRC_ROOT", place.path())
        .env("UV_DEFAULT_INDEX", indexes.public.url());
    let output = process::output(&mut command);
    assert!(!output.status.success(), "{}", words(&output));
    assert!(
        words(&output).contains("[tool.uv.sources]"),
        "{}",
        words(&output)
    );
    assert_eq!(asked_for_a_bound_name(&indexes), Vec::<String>::new());
}

/// A Pipfile, whose first source is this index.
fn pipfile(index: &str) -> String {
    format!(
        "[[source]]\nname = \"corp\"\nurl = \"{index}\"\nverify_ssl = false\n\n\
         [[source]]\nname = \"pypi\"\nurl = \"https://pypi.org/simple\"\nverify_ssl = true\n\n\
         [packages]\ncorplib = \"*\"\n"
    )
}

#[test]
fn the_first_source_of_a_pipfile_without_a_lock_is_asked_for_all() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let indexes = Indexes::start();
    // It has all that the application needs, with a dependency that only the public index has in a newer release.
    for wheel in [
        Wheel::new("corplib", "1.5").requires("small"),
        Wheel::new("small", "0.5"),
        Wheel::new("gunicorn", "27.0.1"),
    ] {
        indexes.private.add(&wheel);
    }
    let question = "import corplib, small; print(corplib.VERSION, small.VERSION)";
    let bound = "other = {version = \"*\", index = \"pypi\"}\n";
    indexes.public.add(&Wheel::new("other", "1.0"));
    let text = pipfile(&indexes.corp());
    let public = indexes.public.url();
    for (text, variable, more) in [
        (text.clone(), "UV_DEFAULT_INDEX", &["--no-cache"][..]),
        (
            text.clone(),
            "PIP_INDEX_URL",
            &["--no-cache", "--build-env", "UV_NO_PROGRESS=1"],
        ),
        (
            text.clone(),
            "PIP_INDEX_URL",
            &["--no-cache", "--set", "installer=pip"],
        ),
        (
            format!("{text}{bound}"),
            "UV_DEFAULT_INDEX",
            &["--no-cache"],
        ),
    ] {
        let place = lay_out(&[("Pipfile", text.clone())]);
        let mirror = format!("{variable}={public}");
        // The source names an index of this machine.
        let more = [more, &["--network", "host"]].concat();
        warpdrive.image_with("app", place.path(), &[&mirror], &more);
        assert_eq!(warpdrive.python("app", question).trim(), "1.5 0.5");
        let mut asked = indexes.public.asked();
        // That name is the public index's.
        asked.retain(|line| !(text.contains("other") && line.contains("other")));
        assert_eq!(asked, Vec::<String>::new(), "{variable} {more:?}");
    }
}

#[test]
fn a_repositorys_build_does_not_get_a_bound_name_from_elsewhere() {
    // The run images have no git.
    let warpdrive = Warpdrive::with(PYTHON_311);
    let indexes = Indexes::start();
    let repository = tempfile::tempdir().unwrap();
    let fork = RATES.replace("requires = []", "requires = ['corplib']");
    fs::write(repository.path().join("pyproject.toml"), &fork).unwrap();
    fs::write(repository.path().join("backend.py"), RATES_BACKEND).unwrap();
    commit(repository.path());
    let server = GitServer::new(repository.path());
    let project = format!(
        "[project]\nname = 'app'\nversion = '1'\ndependencies = ['rates', 'corplib']\n\
         [tool.uv.sources]\nrates = {{ git = '{}' }}\ncorplib = {{ index = 'corp' }}\n\
         [[tool.uv.index]]\nname = 'corp'\nurl = '{}'\nexplicit = true\n",
        server.url(),
        indexes.corp()
    );
    let place = lay_out(&[("pyproject.toml", project)]);
    let mirror = format!("UV_DEFAULT_INDEX={}", indexes.public.url());
    let build = || {
        let mut arguments = warpdrive.image_arguments("app");
        arguments.extend(["--network", "host", "--no-cache"]);
        process::output(&mut warpdrive.command_in(place.path(), &[&mirror], &arguments))
    };
    let output = build();
    let said = words(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("is built with corplib, which the project binds to another place"),
        "{said}"
    );
    assert_eq!(asked_for_a_bound_name(&indexes), Vec::<String>::new());
    // The control: without that requirement it is built.
    fs::write(repository.path().join("pyproject.toml"), RATES).unwrap();
    commit(repository.path());
    let output = build();
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(asked_for_a_bound_name(&indexes), Vec::<String>::new());
}
