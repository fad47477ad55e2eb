//! What the current user can do on this machine: build images, run them, make builder images.

use crate::builder::{choose, debian, definition};
use crate::sandbox::{IdMode, Verdict};

use super::{Check, fails, programs};

/// The conclusions from all findings for this user.
pub(super) fn checks(found: &[Check], sandboxes: bool) -> Vec<Check> {
    if !sandboxes {
        return vec![
            Check::new(
                "you can build",
                Verdict::Ok,
                "any application on the base of this image, with `image --in-place`",
            ),
            Check::new(
                "you can run",
                Verdict::Warn,
                "no image: no sandbox starts here",
            )
            .remedy("push the image, and run it in a pod of its own"),
        ];
    }
    let mode = IdMode::current();
    let broken = fails(found);
    vec![
        build(mode, broken),
        run(mode, broken),
        make(mode, programs::missing_for_builders()),
    ]
}

fn nothing(name: &'static str) -> Check {
    Check::new(
        name,
        Verdict::Fail,
        "nothing until what failed is put right",
    )
}

fn build(mode: IdMode, broken: bool) -> Check {
    const NAME: &str = "you can build";
    if broken {
        return nothing(NAME);
    }
    let detail = match mode {
        IdMode::Root => "any image, as root",
        IdMode::Subuid => "any image",
        IdMode::SingleUid => {
            "any image on a Debian builder or an official Python image; not on S2I builders whose \
             scripts need other users"
        }
    };
    Check::new(NAME, Verdict::Ok, detail)
}

fn run(mode: IdMode, broken: bool) -> Check {
    const NAME: &str = "you can run";
    if broken {
        return nothing(NAME);
    }
    let detail = match mode {
        IdMode::Root | IdMode::Subuid => "any image, as any of its users",
        IdMode::SingleUid => {
            "images as the user 1001:0, which is that of all that warpdrive builds"
        }
    };
    Check::new(NAME, Verdict::Ok, detail)
}

/// `missing`: the missing programs for making builders, and how to get them.
fn make(mode: IdMode, missing: Option<(String, String)>) -> Check {
    const NAME: &str = "you can make";
    let Some((name, python)) = definition::by_rule().next() else {
        return Check::new(NAME, Verdict::Warn, "no builder images");
    };
    let official = choose::official(python);
    let instead = format!(
        "build on an image of a registry: `warpdrive image NAME --builder {official}`; or import a \
         builder that another machine exported: `warpdrive import oci-archive:{name}.tar:{name} {name}`"
    );
    if debian::privilege(mode).is_none() {
        return Check::new(
            NAME,
            Verdict::Warn,
            "no builder images: this user has no subordinate ids",
        )
        .remedy(instead);
    }
    match missing {
        Some((what, remedy)) => {
            Check::new(NAME, Verdict::Warn, format!("no builder images: {what}"))
                .remedy(format!("{remedy}\nor {instead}"))
        }
        None => Check::new(
            NAME,
            Verdict::Ok,
            format!("builder images: `warpdrive builder build {name}`"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_subordinate_ids_is_told_what_to_pull_and_what_to_import() {
        let check = make(IdMode::SingleUid, None);
        assert_eq!(check.verdict, Verdict::Warn);
        let remedy = check.remedy.unwrap();
        assert!(remedy.contains("--builder docker.io/library/python:3.13-slim"));
        assert!(remedy.contains("warpdrive import oci-archive:debian-13-python-3.13.tar"));
    }

    #[test]
    fn who_has_them_is_told_the_command_or_what_is_missing() {
        let check = make(IdMode::Subuid, None);
        assert_eq!(check.verdict, Verdict::Ok);
        assert!(check.detail.contains("builder build debian-13-python-3.13"));
        let check = make(IdMode::Root, Some(("x is missing".into(), "get x".into())));
        assert_eq!(check.verdict, Verdict::Warn);
        assert!(check.detail.contains("x is missing"));
        assert!(check.remedy.unwrap().starts_with("get x\n"));
    }

    #[test]
    fn what_fails_is_in_the_way_of_all() {
        for check in [build(IdMode::Root, true), run(IdMode::Root, true)] {
            assert_eq!(check.verdict, Verdict::Fail);
        }
    }
}
