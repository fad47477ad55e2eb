//! Opal, a large and old Django project, all the way: one digest for everyone, and an image that
//! serves its pages from a read-only root with the database on a volume.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::difference::{Built, difference};
use crate::support::http;
use crate::support::kept::Kept;
use crate::support::process;
use crate::support::users::User;
use crate::support::warpdrive::{PYTHON_39, Warpdrive, binary, copy_of, example};
use serde_json::Value;

const MINUTES: Duration = Duration::from_mins(10);

#[track_caller]
fn same(way: &str, ours: (&Warpdrive, &Value), theirs: (&Warpdrive, &Value)) {
    let built = |(warpdrive, report)| Built { warpdrive, report };
    if let Some(words) = difference(built(ours), built(theirs)) {
        panic!("{way}: another digest\n{words}");
    }
}

/// A container that goes when the test ends.
struct Container<'a> {
    warpdrive: &'a Warpdrive,
    name: &'static str,
    port: u16,
}

impl<'a> Container<'a> {
    fn start(warpdrive: &'a Warpdrive, name: &'static str) -> Self {
        let mut this = Self {
            warpdrive,
            name,
            port: 0,
        };
        warpdrive.run(&[
            "run",
            "--detach",
            "--read-only",
            "--name",
            name,
            "--publish",
            "127.0.0.1:0:8080",
            "--volume",
            "data:/data",
            "--env",
            "DATABASE_URL=sqlite:////data/opal.sqlite",
            "--env",
            "DJANGO_SECRET_KEY=for-this-test-only",
            "opal",
        ]);
        let address = warpdrive.run(&["container", "port", name, "8080"]);
        let port = address.trim().strip_prefix("127.0.0.1:").unwrap();
        this.port = port.parse().unwrap();
        http::wait_until_serving(this.port, Duration::from_mins(1));
        this
    }

    /// `warpdrive setup` in the container; gives what it said.
    fn setup(&self) -> String {
        self.warpdrive.run(&[
            "container",
            "exec",
            "--env",
            "DJANGO_ADMIN_USERNAME=admin",
            "--env",
            "DJANGO_ADMIN_EMAIL=admin@example.com",
            "--env",
            "DJANGO_ADMIN_PASSWORD=warp-test-9",
            self.name,
            "warpdrive",
            "setup",
        ])
    }

    fn logs(&self) -> String {
        let output = self.warpdrive.output(&["container", "logs", self.name]);
        process::words(&output)
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self
            .warpdrive
            .output(&["container", "rm", "--force", self.name]);
    }
}

fn serves(warpdrive: &Warpdrive) {
    let first = Container::start(warpdrive, "first");
    assert!(first.setup().contains("admin was made"));
    let root = http::get(first.port, "/").unwrap();
    assert_eq!(root.status, 302, "{}", first.logs());
    let login = http::get_following(first.port, "/").unwrap();
    assert_eq!(login.status, 200, "{}", first.logs());
    let page = login.text();
    assert!(page.contains("type=\"password\""), "{page}");
    let start = page.find("\"/assets/").expect("a script or style sheet") + 1;
    let asset = page[start..].split('"').next().unwrap();
    let file = http::get(first.port, asset).unwrap();
    assert_eq!(file.status, 200, "{asset}\n{}", first.logs());
    assert!(!file.body.is_empty());

    let logs = first.logs();
    for word in ["Traceback", "Read-only", "Permission denied", "arning"] {
        assert!(!logs.contains(word), "{logs}");
    }
    warpdrive.run(&["container", "stop", "first"]);
    let listed = warpdrive.run(&["container", "ls", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["containers"][0]["exit"], 0, "{logs}");
    drop(first);

    let second = Container::start(warpdrive, "second");
    let said = second.setup();
    assert!(said.contains("admin is there already"), "{said}");
}

#[test]
fn opal_is_the_same_image_for_root_and_serves_its_pages() {
    let source = copy_of(&example("opal"), true);
    let root = Warpdrive::with(PYTHON_39);
    let report = root.image("opal", source.path(), &[]);
    serves(&root);

    let elsewhere = tempfile::tempdir().unwrap();
    let clone = elsewhere.path().join("another-place");
    process::run(
        Command::new("git")
            .args(["clone", "--quiet"])
            .arg(source.path())
            .arg(&clone),
    );
    let narrow = Warpdrive::with(PYTHON_39);
    let mut command = Command::new("sh");
    command
        .current_dir(&clone)
        .env("TZ", "Asia/Tokyo")
        .args(["-c", "umask 077; exec taskset 1 \"$@\"", "sh"])
        .arg(binary())
        .arg("--store")
        .arg(narrow.store())
        .args(["image", "opal", "--json"]);
    let output = process::output_within(&mut command, MINUTES);
    assert!(output.status.success(), "{}", process::words(&output));
    let other = serde_json::from_slice(&output.stdout).unwrap();
    same(
        "another clone, time zone, umask, one CPU",
        (&root, &report),
        (&narrow, &other),
    );

    let again = root.image("opal", source.path(), &["--no-cache"]);
    same("without the cache", (&root, &report), (&root, &again));
}

/// The digest of the image that root builds with this executable.
fn roots_digest(source: &Path) -> String {
    let kept = Kept::lock("opal");
    kept.text_or(|| {
        let report = Warpdrive::with(PYTHON_39).image("opal", source, &[]);
        report["digest"].as_str().unwrap().to_owned()
    })
}

/// The image that `user` builds is root's, and the user can run it.
fn same_for(user: User) {
    let source = copy_of(&example("opal"), true);
    let way = user.name().to_owned();
    let warpdrive = Warpdrive::as_user(user, PYTHON_39);
    let own = warpdrive.give(source.path(), "source");
    let report = warpdrive.image("opal", &own, &[]);
    if report["digest"] != roots_digest(source.path()) {
        let root = Warpdrive::with(PYTHON_39);
        let expected = root.image("opal", source.path(), &[]);
        same(&way, (&root, &expected), (&warpdrive, &report));
    }
    serves(&warpdrive);
}

#[test]
fn opal_is_the_same_image_with_subordinate_ids() {
    same_for(User::with_subids());
}

#[test]
fn opal_is_the_same_image_with_a_single_id() {
    same_for(User::single_id());
}
