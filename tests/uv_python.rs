//! A builder with a Python of uv's, from a mirror on the loopback: an archive in the form of
//! python-build-standalone, made of this machine's own Python.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use warpdrive::oci::sha256;

use crate::support::fake_registry::{FakeRegistry, Reply};
use crate::support::process::{self, words};
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive};

const RELEASES: &str = "https://github.com/astral-sh/python-build-standalone/releases/download";

/// The Python that Debian has on this machine: `3.11.2`.
fn version() -> String {
    let code = "import sys; print('%d.%d.%d' % sys.version_info[:3])";
    let said = process::run(Command::new("/usr/bin/python3").args(["-I", "-c", code]));
    said.trim().to_owned()
}

/// An archive with `python/bin` and `python/lib`.
fn archive(version: &str, place: &Path) -> Vec<u8> {
    let minor = version.rsplit_once('.').unwrap().0;
    let script = format!(
        "set -e; mkdir -p python/bin python/lib; cp /usr/bin/python{minor} python/bin/; ln -s python{minor} python/bin/python3\n\
         cp -r /usr/lib/python{minor} python/lib/; find python -name __pycache__ -prune -exec rm -rf {{}} +\n\
         rm -rf python/lib/python{minor}/test; find python -type l -lname '/*' -delete\n\
         tar -czf archive.tar.gz python"
    );
    process::run(Command::new("sh").args(["-c", &script]).current_dir(place));
    fs::read(place.join("archive.tar.gz")).unwrap()
}

#[test]
fn a_python_from_a_mirror_is_put_on_a_debian_builder() {
    let version = version();
    let minor = version.rsplit_once('.').unwrap().0.to_owned();
    let place = tempfile::tempdir().unwrap();
    let bytes = archive(&version, place.path());
    let name = format!(
        "cpython-{version}+20260101-{}-unknown-linux-gnu-install_only_stripped.tar.gz",
        std::env::consts::ARCH
    );
    let list = |hash: &str| {
        let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap());
        let (major, minor, patch) = (numbers.next(), numbers.next(), numbers.next());
        let key = format!("cpython-{version}-linux-{}-gnu", std::env::consts::ARCH);
        let entry = json!({
            "name": "cpython", "arch": {"family": std::env::consts::ARCH, "variant": null},
            "os": "linux", "libc": "gnu", "major": major, "minor": minor, "patch": patch,
            "prerelease": "", "url": format!("{RELEASES}/20260101/{}", name.replace('+', "%2B")),
            "sha256": hash, "variant": null, "build": "20260101",
        });
        json!({ key: entry }).to_string()
    };
    let releases = place.path().join("releases.json");
    let served = bytes.clone();
    let mirror = FakeRegistry::start(move |asked| {
        if asked.target.starts_with("/mirror/20260101/cpython-") {
            Reply::new(200).body(served.clone())
        } else {
            Reply::new(404)
        }
    });
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let definition = place.path().join("own");
    fs::create_dir(&definition).unwrap();
    fs::write(
        definition.join("builder.toml"),
        format!(
            "name = 'own-python'\nfrom = '{PYTHON_311_RUN}'\npython = '{minor}'\nkind = 'build'\n[labels]\nteam = 'web'\n"
        ),
    )
    .unwrap();
    let env = [
        format!(
            "UV_PYTHON_INSTALL_MIRROR=http://{}/mirror",
            mirror.address()
        ),
        format!("UV_PYTHON_DOWNLOADS_JSON_URL={}", releases.display()),
    ];
    let env: Vec<&str> = env.iter().map(String::as_str).collect();
    let make = |more: &[&str]| {
        let path = definition.display().to_string();
        let mut arguments = vec!["builder", "build", path.as_str()];
        arguments.extend(more);
        process::output(&mut warpdrive.command_in(place.path(), &env, &arguments))
    };
    // Other bytes than uv's list has the hash of are not used.
    fs::write(&releases, list(&"0".repeat(64))).unwrap();
    let output = make(&[]);
    assert!(!output.status.success(), "{}", words(&output));
    assert!(
        words(&output).contains("uv could not get Python"),
        "{}",
        words(&output)
    );
    fs::write(&releases, list(sha256(&bytes).digest())).unwrap();
    let output = make(&[]);
    assert!(output.status.success(), "{}", words(&output));
    let first = String::from_utf8(output.stdout).unwrap();
    // The same again, to the byte.
    let output = make(&["--force"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), first);

    let app = tempfile::tempdir().unwrap();
    fs::write(
        app.path().join("app.py"),
        "import sys\nprint(sys.base_prefix, sys.version_info[:3])\n",
    )
    .unwrap();
    fs::write(app.path().join("app.sh"), "exec python app.py\n").unwrap();
    let output = process::output(&mut warpdrive.command_in(
        app.path(),
        &[],
        &["image", "app", "--builder", "own-python"],
    ));
    assert!(output.status.success(), "{}", words(&output));
    let code =
        "import sys, ssl, sysconfig; print(sys.base_prefix, '%d.%d.%d' % sys.version_info[:3])";
    assert_eq!(
        warpdrive.python("app", code).trim(),
        format!("/usr/local {version}")
    );
}
