//! What an application runs on: the slim twin of its builder where that is there and fits, else the builder,
//! else what the caller or the project names.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::native::needs_library;
use crate::support::package_index::{WSGI, Wheel};
use crate::support::process::{self, words};
use crate::support::warpdrive::{PYTHON_311, PYTHON_311_RUN, Warpdrive};

/// A source with one module, and one wheel that it installs.
fn source(module: &str, wheel: &Wheel) -> tempfile::TempDir {
    let source = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(source.path().join(name), bytes).unwrap();
    write("wsgi.py", format!("{module}{WSGI}").as_bytes());
    write(&wheel.file_name(), &wheel.bytes());
    write(
        "requirements.txt",
        format!("./{}\n", wheel.file_name()).as_bytes(),
    );
    source
}

/// Builds, and gives the report and all that was said.
fn build(warpdrive: &Warpdrive, source: &Path, more: &[&str]) -> (Value, String) {
    let mut arguments = warpdrive.image_arguments("app");
    arguments.extend(["--json", "--explain"]);
    arguments.extend_from_slice(more);
    let mut command = warpdrive.command_in(source, &[], &arguments);
    let output = process::output_within(&mut command, Duration::from_mins(9));
    assert!(output.status.success(), "{}", words(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (serde_json::from_slice(&output.stdout).unwrap(), said)
}

fn base(report: &Value) -> &str {
    report["base"]["reference"].as_str().unwrap()
}

#[test]
fn an_application_runs_on_the_slim_twin_that_fits() {
    let warpdrive = Warpdrive::with(PYTHON_311);
    let source = source(
        "import plain\n",
        &Wheel::new("plain", "1").file("plain.py", b""),
    );
    let source = source.path();

    // Without the twin all is as it was, and how to have one is said by --explain alone.
    let (alone, said) = build(&warpdrive, source, &[]);
    assert_eq!(base(&alone), PYTHON_311);
    assert!(!said.contains("Running on"), "{said}");
    assert!(
        said.contains("`warpdrive builder build debian-12-python-3.11` makes it"),
        "{said}"
    );

    // Both come together, unless one alone is asked for.
    let made = |more: &[&str]| -> Value {
        let arguments = [&["builder", "build", "--json", PYTHON_311], more].concat();
        serde_json::from_str(&warpdrive.run(&arguments)).unwrap()
    };
    let without = made(&["--without-run"]);
    assert_eq!(
        (&without["cached"], &without["run"]),
        (&true.into(), &Value::Null)
    );
    warpdrive.import_builder(PYTHON_311_RUN);
    let both = made(&[]);
    assert_eq!(both["run"]["name"], PYTHON_311_RUN);
    assert_eq!(both["run"]["cached"], true);
    let (on_twin, said) = build(&warpdrive, source, &[]);
    assert_eq!(base(&on_twin), PYTHON_311_RUN);
    assert_eq!(on_twin["builder"]["reference"], PYTHON_311);
    assert_eq!(on_twin["cache"]["dependencies"], "hit");
    assert_eq!(on_twin["runtime"]["reference"], PYTHON_311_RUN);
    let line = "---> Running on debian-12-python-3.11-run: it has what the dependencies need";
    assert_eq!(said.matches(line).count(), 1, "{said}");
    assert!(
        said.contains("runs on debian-12-python-3.11-run, because"),
        "{said}"
    );
    let size = |report: &Value| -> u64 {
        let layers = report["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["size"].as_u64().unwrap()).sum()
    };
    assert!(size(&on_twin) * 2 < size(&alone), "{on_twin}");
    // The layers above the base are the same, whatever is below.
    let own = |report: &Value| {
        let layers = report["layers"].as_array().unwrap().iter();
        let own = layers.filter(|layer| layer["kind"] != "base" && layer["kind"] != "builder");
        own.map(|layer| layer["digest"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(own(&on_twin), own(&alone));
    let printed = warpdrive.python("app", "import wsgi, shutil; print(shutil.which('gcc'))");
    assert_eq!(printed.trim(), "None");

    // Nothing is run for what did not change, and the image is the same.
    let (again, _) = build(&warpdrive, source, &[]);
    assert_eq!(again["digest"], on_twin["digest"]);
    assert_eq!(again["cache"]["application"], "hit");
    let path = source.to_str().unwrap();
    let verified = warpdrive.run(&["verify-build", "app", "--json", "--source", path]);
    assert!(
        verified.contains("\"verified\": true") || verified.contains("\"verified\":true"),
        "{verified}"
    );

    // The caller, and the project, choose otherwise.
    let (builder, said) = build(&warpdrive, source, &["--runtime-image", "builder"]);
    assert_eq!(builder["digest"], alone["digest"]);
    assert!(!said.contains("Running on"), "{said}");
    fs::create_dir(source.join(".warpdrive")).unwrap();
    let wish = source.join(".warpdrive/runtime");
    fs::write(&wish, "builder\n").unwrap();
    let (builder, _) = build(&warpdrive, source, &[]);
    assert_eq!(base(&builder), PYTHON_311);
    fs::write(&wish, PYTHON_311_RUN).unwrap();
    let (named, said) = build(&warpdrive, source, &[]);
    assert_eq!(base(&named), PYTHON_311_RUN);
    assert!(
        said.contains("Using runtime image debian-12-python-3.11-run"),
        "{said}"
    );
    let dry = |more: &[&str]| {
        let mut arguments = warpdrive.image_arguments("app");
        arguments.push("--dry-run");
        arguments.extend_from_slice(more);
        process::run(&mut warpdrive.command_in(source, &[], &arguments))
    };
    assert!(dry(&[]).contains("runs on      debian-12-python-3.11-run\n"));
    fs::remove_file(&wish).unwrap();
    let expected = "runs on      debian-12-python-3.11-run, if it has what the dependencies need, else debian-12-python-3.11\n";
    assert!(dry(&[]).contains(expected), "{}", dry(&[]));
    assert!(dry(&["--runtime-image", "builder"]).contains("runs on      debian-12-python-3.11\n"));

    // What an image of the caller's is, the source does not decide.
    fs::write(&wish, "registry.invalid/team/private:1").unwrap();
    let (status, said) = warpdrive.refuses(source, &[]);
    assert_eq!(status, 4, "{said}");
    assert!(said.contains("registry.invalid/team/private:1"), "{said}");
}

#[test]
fn an_application_stays_on_its_builder_where_the_twin_lacks_something() {
    let warpdrive = Warpdrive::with(PYTHON_311);
    warpdrive.import_builder(PYTHON_311_RUN);

    // A library that the builder has and the twin has not.
    let native = needs_library("libapr-1.so.0");
    let wheel = Wheel::new("portable", "1").file("portable_native.so", &native);
    let library = source("", &wheel);
    let (report, said) = build(&warpdrive, library.path(), &[]);
    assert_eq!(base(&report), PYTHON_311);
    let line = "---> Running on debian-12-python-3.11: debian-12-python-3.11-run lacks libapr-1.so.0 (Debian's libapr1)";
    assert!(said.contains(line), "{said}");

    // One that neither has makes no difference, and is warned about.
    let native = needs_library("libxcb.so.1");
    let wheel = Wheel::new("drawing", "1").file("drawing_native.so", &native);
    let neither = source("", &wheel);
    let (report, said) = build(&warpdrive, neither.path(), &[]);
    assert_eq!(base(&report), PYTHON_311_RUN);
    assert!(
        said.contains("drawing_native.so needs libxcb.so.1"),
        "{said}"
    );

    // A package that is known to run a program.
    let wheel = Wheel::new("GitPython", "3").file("git.py", b"");
    let program = source("import git\n", &wheel);
    let (report, said) = build(&warpdrive, program.path(), &[]);
    assert_eq!(base(&report), PYTHON_311);
    assert!(
        said.contains("gitpython needs git, which debian-12-python-3.11-run lacks"),
        "{said}"
    );

    // What only the loading of the application finds out: found once, and kept in mind.
    let module = "import subprocess\nsubprocess.run(['gcc', '--version'], check=True)\n";
    let wheel = Wheel::new("plain", "1").file("plain.py", b"");
    let loads = source(module, &wheel);
    let (first, said) = build(&warpdrive, loads.path(), &[]);
    assert_eq!(base(&first), PYTHON_311);
    assert!(said.contains("the image is built again, to"), "{said}");
    let (again, said) = build(&warpdrive, loads.path(), &[]);
    assert_eq!(again["digest"], first["digest"]);
    assert_eq!(again["cache"]["application"], "hit");
    assert!(!said.contains("built again"), "{said}");
    assert!(
        said.contains("the application cannot be loaded on debian-12-python-3.11-run"),
        "{said}"
    );

    // What can be loaded nowhere is the application's own fault, told once.
    let broken = source("import nothing_of_that_name\n", &wheel);
    let (status, said) = warpdrive.refuses(broken.path(), &[]);
    assert_eq!(status, 3, "{said}");
    assert!(!said.contains("built again"), "{said}");
}

/// With packages for the build alone, what the application runs on instead of the twin is the builder without
/// them.
#[test]
fn an_application_with_build_packages_falls_back_to_its_builder() {
    let warpdrive = Warpdrive::with(PYTHON_311);
    warpdrive.import_builder(PYTHON_311_RUN);
    let wheel = Wheel::new("plain", "1").file("plain.py", b"");
    let with_packages = |module: &str| {
        let source = source(module, &wheel);
        fs::create_dir(source.path().join(".warpdrive")).unwrap();
        fs::write(source.path().join(".warpdrive/build_packages"), "ed\n").unwrap();
        source
    };
    let compiles = "import subprocess\nsubprocess.run(['gcc', '--version'], check=True)\n";
    let (report, said) = build(&warpdrive, with_packages(compiles).path(), &[]);
    assert_eq!(base(&report), PYTHON_311, "{said}");
    assert!(said.contains("the image is built again, to"), "{said}");
    // What only a package of the build has is not there when it runs.
    let edits = "import subprocess\nsubprocess.run(['ed', '--version'], check=True)\n";
    let source = with_packages(edits);
    let (status, said) = warpdrive.refuses(source.path(), &[]);
    assert_eq!(status, 3, "{said}");
    assert!(!said.contains("built again"), "{said}");
    // The twin is used for an application that works on it.
    let (report, said) = build(&warpdrive, with_packages("").path(), &[]);
    assert_eq!(base(&report), PYTHON_311_RUN, "{said}");
}
