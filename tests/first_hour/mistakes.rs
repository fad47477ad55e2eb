//! Mistakes that everybody makes once: each is told with what is wrong, where, and what to do next.

use std::path::Path;
use std::process::{Command, Output};

use super::tree;
use crate::support::process;
use crate::support::users::User;
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive, binary};

/// Status and all words, without what differs from run to run.
fn told(output: &Output, places: &[(&Path, &str)]) -> String {
    let mut text = format!(
        "status: {}\n{}{}",
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    for (place, name) in places {
        text = text.replace(&place.display().to_string(), name);
    }
    assert!(!text.contains("panicked"), "{text}");
    text
}

macro_rules! snapshot {
    ($name:expr, $text:expr) => {
        insta::with_settings!({filters => vec![
            (r"sha256:[0-9a-f]{64}", "sha256:[DIGEST]"),
            (r"\d+ B; left out", "[N] B; left out"),
            (r"\d+(\.\d+)? (s|ms)\b", "[TIME]"),
        ]}, {
            insta::assert_snapshot!($name, $text);
        });
    };
}

/// A user with an empty store types something in the directory of an application.
fn typed(name: &str, files: &[(&str, &str)], env: &[&str], arguments: &[&str]) {
    let source = tree(files);
    let store = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(source.path());
    command.env("WARPDRIVE_STORE", store.path());
    for pair in env {
        let (name, value) = pair.split_once('=').unwrap();
        command.env(name, value);
    }
    let output = process::output(&mut command);
    let places = [(source.path(), "[SOURCE]"), (store.path(), "[STORE]")];
    snapshot!(name, told(&output, &places));
}

const APP: (&str, &str) = ("app.py", "from flask import Flask\napp = Flask(__name__)\n");
const FLASK: (&str, &str) = ("requirements.txt", "flask\n");

#[test]
fn on_the_command_line() {
    for (name, arguments) in [
        ("misspelt-option", &["image", "opal", "--buidler", "x"][..]),
        ("misspelt-help", &["help", "imgae"]),
        ("only-v", &["-v"]),
        ("name-with-a-blank", &["image", "My App"]),
        ("docker-build", &["build", "-t", "opal", "."]),
        ("docker-login", &["login"]),
        ("no-name", &["image"]),
    ] {
        typed(name, &[APP, FLASK], &[], arguments);
    }
}

#[test]
fn about_builders_and_pythons() {
    let unreachable = [
        "HTTPS_PROXY=http://127.0.0.1:9",
        "HTTP_PROXY=http://127.0.0.1:9",
    ];
    typed(
        "misspelt-builder",
        &[APP, FLASK],
        &unreachable,
        &["image", "opal", "--builder", "debian-13-pyton-3.13"],
    );
    typed(
        "builder-not-made",
        &[APP, FLASK],
        &unreachable,
        &["image", "opal", "--builder", "debian-13-python-3.13"],
    );
    typed(
        "misspelt-builder-to-make",
        &[],
        &unreachable,
        &["builder", "build", "debian-13-pyton-3.13"],
    );
    typed(
        "python-without-a-debian-builder",
        &[APP, FLASK, (".python-version", "3.10\n")],
        &unreachable,
        &["image", "opal"],
    );
    typed(
        "python-version-of-nonsense",
        &[APP, FLASK, (".python-version", "latest and greatest\n")],
        &unreachable,
        &["image", "opal"],
    );
}

#[test]
fn the_home_directory_is_not_taken_for_an_application() {
    let warpdrive = Warpdrive::new();
    let home = tree(&[(".bashrc", ""), ("letters/private.txt", "x")]);
    let variable = format!("HOME={}", home.path().display());
    let output = warpdrive
        .command_in(home.path(), &[&variable], &["image", "opal"])
        .output()
        .unwrap();
    snapshot!("home-directory", told(&output, &[(home.path(), "[HOME]")]));
    // One that is an application, as in a container, is built: it gets as far as the builder.
    let home = tree(&[APP, FLASK]);
    let variable = format!("HOME={}", home.path().display());
    let words = ["image", "opal", "--builder", "debian-13-python-3.13"];
    let output = warpdrive
        .command_in(home.path(), &[&variable], &words)
        .output()
        .unwrap();
    assert!(
        told(&output, &[]).contains("has not been made"),
        "{output:?}"
    );
}

#[test]
fn the_store_of_another_user() {
    let warpdrive = Warpdrive::of_user(User::single_id());
    let other = tempfile::tempdir().unwrap();
    std::fs::set_permissions(
        other.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let user = warpdrive.user().unwrap();
    let told_of = |store: &Path| {
        let variable = format!("WARPDRIVE_STORE={}", store.display());
        let mut command = user.command_in(user.home(), &[&variable], warpdrive.program());
        let output = process::output(command.arg("images"));
        told(&output, &[(other.path(), "[STORE]")])
    };
    snapshot!("store-of-another", told_of(other.path()));
    // A directory that this user may not enter, such as another user's home after `su`.
    snapshot!("store-below-another", told_of(&other.path().join("new")));
    std::fs::set_permissions(
        other.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    snapshot!("store-closed", told_of(other.path()));
}

#[test]
fn a_registry_that_is_not_there() {
    typed(
        "registry-down",
        &[APP, FLASK],
        &[],
        &["image", "opal", "--builder", "127.0.0.1:9/team/python:3"],
    );
    typed(
        "registry-down-pull",
        &[],
        &[],
        &["pull", "127.0.0.1:9/team/opal:1"],
    );
}

/// In the source, told by a build.
#[test]
fn in_the_source() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    for (name, files) in [
        (
            "missing-requirement",
            vec![
                FLASK,
                (
                    "app.py",
                    "import requests\nfrom flask import Flask\napp = Flask(__name__)\n",
                ),
            ],
        ),
        (
            "syntax-error",
            vec![
                FLASK,
                (
                    "app.py",
                    "from flask import Flask\napp = Flask(__name__)\n\n@app.get('/')\ndef home(:\n    return 'x'\n",
                ),
            ],
        ),
        (
            "app-sh-not-executable",
            vec![
                FLASK,
                ("app.sh", "#!/bin/sh\nexec python -m http.server 8080\n"),
            ],
        ),
        (
            "headers-missing",
            vec![APP, ("requirements.txt", "flask\npython-ldap==3.4.4\n")],
        ),
    ] {
        let source = tree(&files);
        let mut arguments = warpdrive.image_arguments("refused");
        arguments.push("-q");
        let output = warpdrive
            .command_in(source.path(), &[], &arguments)
            .output()
            .unwrap();
        let text = told(&output, &[(source.path(), "[SOURCE]")]);
        snapshot!(name, text);
    }
}

/// An address whose packets are dropped, as behind a firewall: nobody takes what it has in its queue.
struct SilentServer {
    index: String,
    _sockets: Vec<std::os::fd::OwnedFd>,
}

impl SilentServer {
    fn new() -> Self {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};
        let socket = || {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
            rustix::net::socket_with(family, kind, flags, Some(ipproto::TCP)).unwrap()
        };
        let listener = socket();
        let anywhere = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0);
        rustix::net::bind(&listener, &anywhere).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = rustix::net::getsockname(&listener).unwrap();
        let address = std::net::SocketAddrV4::try_from(address).unwrap();
        let mut sockets = vec![listener];
        for _ in 0..4 {
            let waiting = socket();
            let _ = rustix::net::connect(&waiting, &address);
            sockets.push(waiting);
        }
        Self {
            index: format!("http://{address}/simple"),
            _sockets: sockets,
        }
    }
}

#[test]
fn a_package_index_that_does_not_answer_is_told_soon() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tree(&[APP, ("requirements.txt", "flask\nsix==1.16.0\n")]);
    let arguments = warpdrive.image_arguments("refused");
    let silent = SilentServer::new();
    for (name, index) in [
        ("index-refused", "http://127.0.0.1:9/simple"),
        ("index-unknown", "https://index.invalid/simple"),
        ("index-silent", silent.index.as_str()),
    ] {
        let output = warpdrive
            .command_in(
                source.path(),
                &[&format!("PIP_INDEX_URL={index}")],
                &arguments,
            )
            .output()
            .unwrap();
        let text = told(&output, &[(source.path(), "[SOURCE]")]);
        assert!(!output.status.success(), "{text}");
        // As long as uv itself says that its attempts and the waits between them took. What the machine did
        // besides is not in it.
        let seconds = text
            .split_once("Request failed after 1 retry in ")
            .and_then(|(_, rest)| rest.split_once('s'))
            .and_then(|(seconds, _)| seconds.parse::<f64>().ok());
        assert!(seconds.is_some_and(|it| it < 10.0), "{text}");
        assert_eq!(text.matches("Request failed after").count(), 1, "{text}");
        assert_eq!(output.status.code(), Some(5), "{text}");
        assert_eq!(
            text.matches("error: the package index").count(),
            1,
            "{text}"
        );
        let host = index.split('/').nth(2).unwrap();
        assert!(text.contains(host), "{name}: {text}");
    }
}
