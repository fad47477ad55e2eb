//! Images of the articles on backdoors, and their near twins: what the audit says of them agrees with
//! what comes of it when they are run.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::made::{Layer, on_top};
use crate::support::podman::Podman;
use crate::support::process::{self, words};
use crate::support::run::RunOptions;
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive};
use serde_json::json;
use warpdrive::store::Store;

const ACCOUNTS: &str = "root:x:0:0:root:/root:/bin/bash\napp:x:1001:1001::/home/app:/bin/bash\n";
const GROUPS: &str = "root:x:0:\nshadow:x:42:\nsudo:x:27:\napp:x:1001:\n";

/// sudo as Debian ships it, unpacked.
fn sudo(place: &Path) -> Vec<(String, u32, Vec<u8>)> {
    let run = |program: &str, arguments: &[&str]| {
        process::run(Command::new(program).current_dir(place).args(arguments))
    };
    run("apt-get", &["download", "sudo"]);
    let package = fs::read_dir(place)
        .unwrap()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .expect("apt-get has fetched sudo");
    run("dpkg-deb", &["-x", package.to_str().unwrap(), "sudo"]);
    let mut files = vec![("usr/bin/sudo".to_owned(), 0o4755)];
    let list = run("find", &["sudo/usr/libexec/sudo", "-name", "*.so*"]);
    files.extend(
        list.lines()
            .map(|line| (line["sudo/".len()..].to_owned(), 0o644)),
    );
    files
        .into_iter()
        .map(|(path, mode)| {
            let bytes = fs::read(place.join("sudo").join(&path)).unwrap();
            (path, mode, bytes)
        })
        .collect()
}

/// A way to become root: what is run, and the rule that finds it.
const WAYS: [(&str, &str, &[&str]); 4] = [
    (
        "a copy of id with mode 4711",
        "setuid",
        &["/usr/local/bin/id", "-u"],
    ),
    (
        "a copy of bash with mode 4711",
        "setuid",
        &["/usr/local/bin/bash", "-p", "-c", "id -u"],
    ),
    (
        "sudo for the group",
        "sudo-nopasswd",
        &["/usr/bin/sudo", "-n", "/usr/bin/id", "-u"],
    ),
    (
        "root without a password",
        "password-empty",
        &["/usr/bin/su", "-c", "id -u"],
    ),
];

#[test]
fn the_articles_backdoors_and_their_twins() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let podman = Podman::new();
    let place = tempfile::tempdir().unwrap();
    let sudo = sudo(place.path());
    let store = Store::open(Some(&warpdrive.store())).unwrap();
    let from_base = |path: &str| {
        process::run(&mut warpdrive.command(&[
            "run",
            "--rm",
            PYTHON_311_RUN,
            "--",
            "sh",
            "-c",
            &format!("base64 -w 0 {path}"),
        ]))
    };
    let decode = |text: String| {
        let output = place.path().join("decoded");
        fs::write(place.path().join("text"), text).unwrap();
        process::run(
            Command::new("sh")
                .current_dir(place.path())
                .args(["-c", "base64 -d text > decoded"]),
        );
        fs::read(output).unwrap()
    };
    let (id, bash) = (
        decode(from_base("/usr/bin/id")),
        decode(from_base("/bin/bash")),
    );
    let su = decode(from_base("/usr/bin/su"));
    let layer = |open: bool| {
        let mode = if open { 0o4711 } else { 0o711 };
        let group = if open { "app" } else { "ops" };
        let password = if open { "" } else { "*" };
        let mut layer = Layer::new()
            .file("etc/passwd", 0o644, ACCOUNTS)
            .file("etc/group", 0o644, GROUPS)
            .owned(
                "etc/shadow",
                0o640,
                (0, 42),
                format!("root:{password}:19000::::::\napp:!:19000::::::\n"),
            )
            .file(
                "etc/sudoers",
                0o440,
                format!("root ALL=(ALL:ALL) ALL\n%{group} ALL=(ALL) NOPASSWD: ALL\n"),
            )
            .file("usr/bin/su", 0o4755, &su)
            .file("usr/local/bin/id", mode, &id)
            .file("usr/local/bin/bash", mode, &bash);
        for (path, mode, bytes) in &sudo {
            layer = layer.file(path, *mode, bytes);
        }
        layer
    };
    for (name, open) in [("open", true), ("shut", false)] {
        on_top(&store, PYTHON_311_RUN, name, vec![layer(open)], |config| {
            config.set("User", json!("1001"));
        });
        let image = podman.pull(&format!("oci:{}:{name}", warpdrive.layout(name).display()));
        let audit = warpdrive.output(&["audit", name, "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&audit.stdout).unwrap();
        let grave: Vec<&str> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| finding["severity"] == "high")
            .map(|finding| finding["rule"].as_str().unwrap())
            // sudo is this machine's and no package of the image has it: a finding in both.
            .filter(|rule| !matches!(*rule, "setuid-unowned" | "library"))
            .collect();
        assert_eq!(!grave.is_empty(), open, "{}", words(&audit));
        for (what, rule, command) in WAYS {
            let output =
                podman.output(&RunOptions::new(image.as_str()).command(command.iter().copied()));
            let becomes_root = String::from_utf8_lossy(&output.stdout).trim() == "0";
            assert_eq!(
                becomes_root,
                open,
                "podman, {name}: {what}: {}",
                words(&output)
            );
            assert_eq!(
                grave.contains(&rule),
                becomes_root,
                "{name}: {what}: {grave:?}"
            );
            // The sandbox gives nobody what the image promises.
            let command = [&["run", "--rm", name, "--"][..], command].concat();
            let output = warpdrive.output(&command);
            let out = String::from_utf8_lossy(&output.stdout);
            assert_ne!(out.trim(), "0", "run, {name}: {what}: {}", words(&output));
        }
    }

    // `USER app`, and a layer that makes another of it.
    for (name, user, uid, is_root) in [
        ("by-name", "app", "0", true),
        ("by-name-still", "app", "1001", false),
        ("by-number", "1001", "0", false),
    ] {
        let passwd = ACCOUNTS.replace("1001:1001", &format!("{uid}:1001"));
        let layer = Layer::new().file("etc/passwd", 0o644, passwd);
        on_top(&store, PYTHON_311_RUN, name, vec![layer], |config| {
            config.set("User", json!(user));
        });
        let image = podman.pull(&format!("oci:{}:{name}", warpdrive.layout(name).display()));
        for output in [
            podman.output(&RunOptions::new(image.as_str()).command(["id", "-u"])),
            warpdrive.output(&["run", "--rm", name, "--", "id", "-u"]),
        ] {
            let out = String::from_utf8_lossy(&output.stdout);
            assert_eq!(out.trim() == "0", is_root, "{name}: {}", words(&output));
        }
        let report: serde_json::Value =
            serde_json::from_slice(&warpdrive.output(&["audit", name, "--json"]).stdout).unwrap();
        let rules: Vec<&str> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| finding["rule"].as_str().unwrap())
            .collect();
        // A name is refused also where it means a harmless number today: the next layer can change it.
        assert_eq!(
            rules.contains(&"user-name"),
            user == "app",
            "{name}: {rules:?}"
        );
        assert_eq!(
            rules.contains(&"account-root-alias"),
            uid == "0",
            "{name}: {rules:?}"
        );
    }
}
