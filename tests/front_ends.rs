//! Front ends that Node builds before the application's phase: their files are served, `node_modules` is
//! not in the image, and an edit of Python builds none of it again.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::http;
use crate::support::process::{self, poll, words};
use crate::support::run::OPENSHIFT_USER;
use crate::support::warpdrive::{NODE, PYTHON_311, Warpdrive};

/// Flask serves what the build has made.
const APP: &str = "from flask import Flask\napp = Flask(__name__, static_folder='ui/dist', static_url_path='/static')\n";
/// Uses its one dependency, and tells which manager runs it.
const BUILD: &str = "const ms = require('ms'), fs = require('fs');\n\
    fs.mkdirSync('dist', {recursive: true});\n\
    const agent = (process.env.npm_config_user_agent || '').split('/')[0];\n\
    fs.writeFileSync('dist/bundle.js', `${agent} says ${ms('2 days')}`);\n";
const PACKAGE: &str = r#"{"name": "ui", "version": "1.0.0", "private": true, "scripts": {"build": "node build.js"}, "devDependencies": {"ms": "2.1.3"}}"#;
const NPM_LOCK: &str = r#"{"name": "ui", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": {
"": {"name": "ui", "version": "1.0.0", "devDependencies": {"ms": "2.1.3"}},
"node_modules/ms": {"version": "2.1.3", "dev": true, "integrity": "sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA=="}}}"#;
const PNPM_LOCK: &str = "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .:\n    devDependencies:\n      ms:\n        specifier: 2.1.3\n        version: 2.1.3\n\npackages:\n\n  ms@2.1.3:\n    resolution: {integrity: sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==}\n\nsnapshots:\n\n  ms@2.1.3: {}\n";
const YARN_LOCK: &str = "# yarn lockfile v1\n\n\nms@2.1.3:\n  version \"2.1.3\"\n  resolved \"https://registry.yarnpkg.com/ms/-/ms-2.1.3.tgz#574c8138ce1d2b5861f0b44579dbadd60c6615b2\"\n  integrity sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==\n";

fn write(place: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = place.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn project(lock: (&str, &str)) -> tempfile::TempDir {
    let source = tempfile::tempdir().unwrap();
    write(
        source.path(),
        &[
            ("app.py", APP),
            ("requirements.txt", "flask\n"),
            ("ui/package.json", PACKAGE),
            ("ui/build.js", BUILD),
            ("ui/.gitignore", "dist\nnode_modules\n"),
            // Of the developer's machine.
            ("ui/node_modules/left/behind.js", "x"),
            lock,
        ],
    );
    source
}

/// The words of a build that must be done.
fn build(warpdrive: &Warpdrive, source: &Path, image: &str) -> String {
    let arguments = warpdrive.image_arguments(image);
    let mut command = warpdrive.command_in(source, &[], &arguments);
    let output = process::output_within(&mut command, Duration::from_mins(9));
    assert!(output.status.success(), "{}", words(&output));
    words(&output)
}

/// A page of the image's application, and all files below its source.
fn page_and_files(warpdrive: &Warpdrive, image: &str) -> (String, String) {
    let port = http::free_port();
    let publish = format!("{port}:8080");
    let name = image;
    warpdrive.run(&[
        "run",
        "--detach",
        "--read-only",
        "--user",
        OPENSHIFT_USER,
        "--name",
        name,
        "--publish",
        &publish,
        image,
    ]);
    let page = poll(Duration::from_mins(1), || {
        let answer = http::get(port, "/static/bundle.js").ok()?;
        (answer.status == 200).then(|| answer.text())
    });
    let files =
        words(&warpdrive.output(&["container", "exec", name, "--", "find", "/opt/app-root"]));
    let log = words(&warpdrive.output(&["container", "logs", name]));
    warpdrive.output(&["container", "rm", "--force", name]);
    (page.unwrap_or(log), files)
}

#[test]
fn a_front_end_is_built_from_its_lock_and_kept() {
    let warpdrive = Warpdrive::with(PYTHON_311);
    warpdrive.import_builder(NODE);
    let source = project(("ui/package-lock.json", NPM_LOCK));
    let first = build(&warpdrive, source.path(), "front");
    assert!(
        first
            .contains("Building the front end (ui/package.json with npm and ui/package-lock.json)"),
        "{first}"
    );
    let (page, files) = page_and_files(&warpdrive, "front");
    assert_eq!(page, "npm says 172800000");
    assert!(files.contains("/ui/dist/bundle.js"), "{files}");
    assert!(!files.contains("node_modules"), "{files}");

    write(source.path(), &[("app.py", &format!("{APP}x = 1\n"))]);
    let again = build(&warpdrive, source.path(), "front");
    assert!(again.contains("Front end unchanged"), "{again}");
    let other = BUILD.replace("says", "sang");
    write(source.path(), &[("ui/build.js", &other)]);
    let changed = build(&warpdrive, source.path(), "front");
    assert!(changed.contains("Building the front end"), "{changed}");
    assert_eq!(page_and_files(&warpdrive, "front").0, "npm sang 172800000");

    for (lock, page) in [
        (("ui/pnpm-lock.yaml", PNPM_LOCK), "pnpm says 172800000"),
        (("ui/yarn.lock", YARN_LOCK), "yarn says 172800000"),
    ] {
        let source = project(lock);
        build(&warpdrive, source.path(), "front");
        assert_eq!(page_and_files(&warpdrive, "front").0, page);
    }

    let source = project(("ui/package-lock.json", NPM_LOCK));
    write(
        source.path(),
        &[("ui/build.js", "throw new Error('no way')\n")],
    );
    let arguments = [&warpdrive.image_arguments("front")[..], &["--json"]].concat();
    let failed = process::output(&mut warpdrive.command_in(source.path(), &[], &arguments));
    assert_eq!(failed.status.code(), Some(3));
    let report: serde_json::Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!(report["error"]["code"], "assets-failed");
    let message = report["error"]["message"].as_str().unwrap();
    assert!(message.contains("no way"), "{message}");
}

#[test]
fn without_node_the_build_says_where_to_get_it() {
    let warpdrive = Warpdrive::with(PYTHON_311);
    let source = project(("ui/package-lock.json", NPM_LOCK));
    let arguments = warpdrive.image_arguments("front");
    // Without mmdebstrap no builder is made.
    let failed =
        process::output(&mut warpdrive.command_in(source.path(), &["PATH=/var/empty"], &arguments));
    let said = words(&failed);
    assert_eq!(failed.status.code(), Some(3), "{said}");
    for part in [
        "ui/package.json has a build script, and there is no Node",
        "warpdrive builder build debian-13-python-3.13-node",
        "assets = \"off\"",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let off = [&arguments[..], &["--set", "assets=off"]].concat();
    let built = process::output(&mut warpdrive.command_in(source.path(), &[], &off));
    assert!(built.status.success(), "{}", words(&built));
}
