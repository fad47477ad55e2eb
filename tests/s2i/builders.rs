//! Which builder a source may name.

use crate::support::process::{self, says, words};
use crate::support::s2i::with_a_box;
use crate::support::s2i_builders::source;
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive};

#[test]
fn a_source_names_its_builder_only_among_those_that_the_caller_allows() {
    let warpdrive = with_a_box();
    let by_file = source(&[(".warpdrive/builder_image", "box\n"), ("a.txt", "")]);
    let by_table = source(&[
        (
            "pyproject.toml",
            "[tool.warpdrive]\nbuilder_image = \"registry.invalid/team/private:1\"\n",
        ),
        ("a.txt", ""),
    ]);
    let by_variable = source(&[
        (".s2i/environment", "WARPDRIVE_BUILDER_IMAGE=box\n"),
        ("a.txt", ""),
    ]);
    let build = |source: &tempfile::TempDir, env: &[&str], more: &[&str]| {
        let path = source.path().to_str().unwrap();
        let all = [&["image", "app", "--path", path], more].concat();
        process::output(&mut warpdrive.command_in(&warpdrive.place(), env, &all))
    };
    for (source, place) in [
        (&by_file, ".warpdrive/builder_image"),
        (&by_table, "pyproject.toml"),
        (&by_variable, ".s2i/environment"),
    ] {
        let output = build(source, &[], &[]);
        assert_eq!(output.status.code(), Some(4), "{}", words(&output));
        says(&output, place);
        says(&output, "--allow-builder");
    }
    // Nor what the application runs on, or a front end is built with.
    let runtime = source(&[
        (".s2i/environment", "WARPDRIVE_RUNTIME=box\n"),
        ("a.txt", ""),
    ]);
    let by_key = source(&[(".warpdrive/runtime", "box\n"), ("a.txt", "")]);
    for source in [&runtime, &by_key] {
        let output = build(source, &[], &["--builder", "box"]);
        assert_eq!(output.status.code(), Some(4), "{}", words(&output));
        says(&output, "names the runtime image `box`");
        says(&output, "`--runtime-image box` takes it for this build");
    }
    for (env, more) in [
        (&[][..], &["--builder", "box"][..]),
        (&[], &["--allow-builder", "box"]),
        (&["WARPDRIVE_ALLOWED_BUILDERS=other,box"], &[]),
        // What the caller says is not the source's.
        (&[], &["--set", "builder_image=box"]),
        (&["WARPDRIVE_BUILDER_IMAGE=box"], &["--builder", "box"]),
    ] {
        let output = build(&by_file, env, more);
        assert!(output.status.success(), "{more:?}: {}", words(&output));
    }
    let output = build(&by_variable, &[], &["--allow-builder", "box"]);
    assert!(output.status.success(), "{}", words(&output));
    // Allowed, it is looked for: there is no such registry.
    let output = build(
        &by_table,
        &[],
        &["--allow-builder", "registry.invalid/team/*"],
    );
    assert_eq!(output.status.code(), Some(5), "{}", words(&output));
}

#[test]
fn a_builder_of_our_own_heeds_the_variables_of_the_source() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let application = "import os\nprint('greeting:', os.environ.get('GREETING'))\n";
    for (text, expected) in [
        (
            "APP_FILE=go.py\nGREETING=of the source\n",
            "greeting: of the source",
        ),
        ("APP_FILE=go.py\n", "greeting: None"),
    ] {
        let source = source(&[
            (".s2i/environment", text),
            ("go.py", application),
            ("other.py", "raise SystemExit(1)\n"),
        ]);
        let path = source.path().to_str().unwrap();
        let output = warpdrive.output(&["s2i", "build", path, PYTHON_311_RUN, "app"]);
        assert!(output.status.success(), "{}", words(&output));
        let said = warpdrive.run(&["run", "--rm", "app"]);
        assert!(said.contains(expected), "{said}");
    }
    // What the command line says is stronger.
    let source = source(&[
        (
            ".s2i/environment",
            "APP_FILE=go.py\nGREETING=of the source\n",
        ),
        ("go.py", application),
    ]);
    let path = source.path().to_str().unwrap();
    let all = [
        "s2i",
        "build",
        path,
        PYTHON_311_RUN,
        "app",
        "-e",
        "GREETING=mine",
    ];
    let output = warpdrive.output(&all);
    assert!(output.status.success(), "{}", words(&output));
    let said = warpdrive.run(&["run", "--rm", "app"]);
    assert!(said.contains("greeting: mine"), "{said}");
}
