//! Builder images by users who are not root.

use std::time::Duration;

use serde_json::Value;

use crate::support::process::{self, words};
use crate::support::users::User;
use crate::support::warpdrive::{PYTHON_313_RUN, Warpdrive, copy_of, example};

/// From nothing to an image and back to nothing, by a user whose home is closed to all others.
#[test]
fn a_user_with_subordinate_ids_makes_a_builder_and_takes_the_store_away() {
    let warpdrive = Warpdrive::of_user(User::with_subids());
    let doctor = warpdrive.output(&["doctor"]);
    let said = words(&doctor);
    assert!(
        said.contains("builder images: `warpdrive builder build debian-13-python-3.13`"),
        "{said}"
    );
    let build = &mut warpdrive.command(&["builder", "build", PYTHON_313_RUN]);
    let output = process::output_within(build, Duration::from_mins(9));
    assert!(output.status.success(), "{}", words(&output));
    // How far it is, in lines that are few.
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("installing packages: "), "{told}");
    assert!(told.lines().count() < 60, "{told}");

    // One with more packages is made unasked, by what is root in the user's own namespace.
    let example = copy_of(&example("flask"), false);
    std::fs::write(example.path().join("Aptfile"), "hostname\n").unwrap();
    let source = warpdrive.give(example.path(), "flask");
    let image = [
        "image",
        "flask",
        "--builder",
        PYTHON_313_RUN,
        "--path",
        source.to_str().unwrap(),
    ];
    let output = process::output_within(&mut warpdrive.command(&image), Duration::from_mins(9));
    assert!(output.status.success(), "{}", words(&output));
    let closing = words(&output);
    assert!(
        closing.contains("Debian packages (Aptfile): hostname"),
        "{closing}"
    );
    assert!(
        closing
            .lines()
            .any(|line| line.starts_with("built flask in ") && line.contains(" layers, ")),
        "{closing}"
    );

    // Its files are those of ids that this user is not: without the right command they stay.
    let store = warpdrive.store();
    let refused = warpdrive.output(&["store", "rm"]);
    assert_eq!(refused.status.code(), Some(2), "{}", words(&refused));
    assert!(words(&refused).contains("store rm --yes"));
    warpdrive.run(&["store", "rm", "--yes"]);
    let left = process::output(process::as_root("ls").arg("-a").arg(&store));
    assert!(!left.status.success(), "{}", words(&left));
}

#[test]
fn a_user_without_subordinate_ids_is_told_what_to_pull_and_import() {
    let warpdrive = Warpdrive::of_user(User::single_id());
    let output = warpdrive.output(&["builder", "build", "debian-13-python-3.13"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(
        "builder-build-without-subids",
        String::from_utf8_lossy(&output.stderr)
    );

    let doctor = warpdrive.output(&["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let check = |name: &str| {
        let checks = report["checks"].as_array().unwrap();
        checks.iter().find(|it| it["name"] == name).unwrap().clone()
    };
    assert_eq!(check("you can build")["verdict"], "ok", "{report:#}");
    assert_eq!(check("you can run")["verdict"], "ok", "{report:#}");
    let make = check("you can make");
    assert_eq!(make["verdict"], "warn");
    let remedy = make["remedy"].as_str().unwrap();
    assert!(
        remedy.contains("--builder docker.io/library/python:3.13-slim"),
        "{remedy}"
    );
    assert!(remedy.contains("warpdrive import oci-archive:"), "{remedy}");
}
