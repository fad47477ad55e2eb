//! One Django project, built and started on a laptop and in an image: the same commands do the same.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::process;
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive, binary, copy_of, example};

/// The tool with nothing of the tester's environment but what finds the package index.
fn laptop(directory: &Path, home: &Path) -> Command {
    let mut command = Command::new("/bin/bash");
    command.current_dir(directory).env_clear();
    for name in [
        "PIP_INDEX_URL",
        "PIP_TRUSTED_HOST",
        "SSL_CERT_FILE",
        "HTTPS_PROXY",
        "https_proxy",
    ] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("HOME", home)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("DJANGO_SECRET_KEY", "for-this-test-only");
    command
}

#[test]
fn the_same_on_a_laptop_and_in_the_image() {
    let source = copy_of(&example("django"), false);
    let settings = source.path().join("mysite/settings.py");
    let mut text = fs::read_to_string(&settings).unwrap();
    // In the warpdrive before this one: this failed the build.
    text.push_str("\nSTATIC_ROOT = None\n");
    fs::write(&settings, text).unwrap();
    fs::write(
        source.path().join(".warpdrive/server_args"),
        "--workers ${W:-3} --name 'my app'\n",
    )
    .unwrap();
    fs::write(
        source.path().join(".warpdrive/environment"),
        "GREETING=\"from the file\"\n",
    )
    .unwrap();

    // The command line comes first, here as there.
    fs::write(source.path().join(".warpdrive/server_type"), "waitress\n").unwrap();

    let home = tempfile::tempdir().unwrap();
    let session = format!(
        "set -e; eval \"$('{}' rcfile bash)\"; warpdrive project --create shop; warpdrive build --set server_type=gunicorn >&2\n\
         echo \"$VIRTUAL_ENV\"; warpdrive start --dry-run; warpdrive exec printenv GREETING",
        binary().display()
    );
    let said = process::output(laptop(source.path(), home.path()).args(["-c", &session]));
    assert!(said.status.success(), "{}", process::words(&said));
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    for line in [
        "Initializing warpdrive project 'shop'.",
        " -----> Installing dependencies with ",
        " -----> Collecting static files for Django",
    ] {
        assert!(words.contains(line), "{line}: {words}");
    }
    let said = String::from_utf8(said.stdout).unwrap();
    let mut lines = said.lines();
    let environment = lines.next().unwrap();
    let here = lines.next().unwrap().replace(environment, "A");
    let greeting_here = lines.next().unwrap();

    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    warpdrive.image(
        "shop",
        source.path(),
        &[
            "--build-env",
            "DJANGO_SECRET_KEY=build",
            "--set",
            "server_type=gunicorn",
        ],
    );
    let run = |command: &[&str]| {
        let mut arguments = vec![
            "run",
            "--rm",
            "--read-only",
            "--network",
            "none",
            "shop",
            "--",
        ];
        arguments.extend_from_slice(command);
        warpdrive.run(&arguments)
    };
    let there = run(&["warpdrive", "start", "--dry-run"]);
    assert_eq!(here, there.trim().replace("/opt/app-root", "A"));
    assert!(
        here.contains("--workers 3 --name 'my app' whitenoise_wrapper:application"),
        "{here}"
    );
    assert_eq!(
        greeting_here,
        run(&["warpdrive", "exec", "printenv", "GREETING"]).trim()
    );

    // `-e` comes before the file, and it is the command line's in `--explain`, too.
    let explained = warpdrive.run(&[
        "run",
        "--rm",
        "--env",
        "GREETING=said",
        "shop",
        "--",
        "warpdrive",
        "env",
        "--explain",
        "--json",
    ]);
    let explained: serde_json::Value = serde_json::from_str(&explained).unwrap();
    let settings = &explained["settings"];
    assert_eq!(
        settings["server_args"]["origin"],
        "file: .warpdrive/server_args"
    );
    let greeting = warpdrive.run(&[
        "run",
        "--rm",
        "--env",
        "GREETING=said",
        "shop",
        "--",
        "warpdrive",
        "exec",
        "printenv",
        "GREETING",
    ]);
    assert_eq!(greeting.trim(), "said");
    let plan: serde_json::Value =
        serde_json::from_str(&warpdrive.run(&["inspect", "shop", "--plan", "--json"])).unwrap();
    assert_eq!(plan["start"]["server"], "gunicorn");
    assert_eq!(plan["environment"]["GREETING"], "from the file");
    assert_eq!(plan["static_files"][0]["url"], "/static/");
    assert_eq!(plan["image_environment"]["HOME"], "/opt/app-root");
}
