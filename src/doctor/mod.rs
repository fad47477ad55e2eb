//! What this machine allows, what is missing and how to get it: the findings of `warpdrive doctor`.
//!
//! [`examine`] joins the sandbox's findings about the kernel ([`sandbox::probe`]) with the place of
//! the store (`place`), the useful programs (`programs`), and what this user can do with these
//! (`abilities`). It changes and installs nothing; `cli::doctor` prints the result.

mod abilities;
mod place;
mod programs;

use std::path::Path;

use crate::builder::choose;
use crate::pod::BaseFile;
use crate::sandbox::{self, Verdict};
use crate::store::Store;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub name: String,
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Check {
    fn new(name: &str, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            verdict,
            detail: detail.into(),
            remedy: None,
        }
    }

    fn remedy(mut self, words: impl Into<String>) -> Self {
        self.remedy = Some(words.into());
        self
    }
}

/// Looks at everything. To be called before [`sandbox::enter`]; `store` is `--store`.
pub fn examine(store: Option<&Path>) -> Vec<Check> {
    let mut checks: Vec<Check> = sandbox::probe()
        .into_iter()
        .map(|finding| Check {
            name: finding.name.to_owned(),
            verdict: finding.verdict,
            detail: finding.detail,
            remedy: finding.remedy,
        })
        .collect();
    in_place(&mut checks);
    match Store::open(store) {
        Ok(store) => {
            checks.extend(place::checks(store.root()));
            checks.push(builders(&store));
            checks.push(installer(&store));
        }
        Err(error) => checks.push(
            Check::new("store", Verdict::Fail, error.to_string())
                .remedy("give another directory with --store or WARPDRIVE_STORE"),
        ),
    }
    let sandboxes = !is_in_place_only(&checks);
    let lacking = checks
        .iter()
        .any(|check| check.name == "user namespaces" && check.verdict != Verdict::Ok);
    // Packages are not installed in a pod.
    if lacking && (!sandboxes || sandbox::in_pod()) {
        checks.retain(|check| !OF_MACHINES.contains(&check.name.as_str()));
    } else {
        checks.extend(programs::checks());
    }
    let abilities = abilities::checks(&checks, sandboxes);
    checks.extend(
        abilities
            .into_iter()
            .filter(|check| sandboxes || !OF_MACHINES.contains(&check.name.as_str())),
    );
    checks
}

/// The check that says whether a build can be done without a sandbox.
const IN_PLACE: &str = "in place";

/// Checks that only matter where sandboxes can start; a pod does not need them.
const OF_MACHINES: &[&str] = &[
    "subordinate ids",
    "private network",
    "limits",
    "builder images",
    "installer",
    "you can make",
];

/// In an image of `builder push`, a build needs no namespace, so a missing one is not a failure.
fn in_place(checks: &mut Vec<Check>) {
    let base = match BaseFile::of_this_image() {
        Ok(Some(base)) => base,
        Ok(None) => return,
        Err(error) => {
            checks.push(
                Check::new(IN_PLACE, Verdict::Warn, error.to_string())
                    .remedy("make the pod's image again: `warpdrive builder push`"),
            );
            return;
        }
    };
    for check in checks
        .iter_mut()
        .filter(|check| check.verdict == Verdict::Fail)
    {
        check.verdict = Verdict::Warn;
        check.remedy = Some("build with `--in-place`, which does not need it".to_owned());
    }
    let fence = match sandbox::landlock_version() {
        Some(version) => format!("behind Landlock {version}"),
        None => "without a fence: this kernel has no Landlock for it".to_owned(),
    };
    let detail = format!("`image --in-place` builds on {}, {fence}", base.reference);
    checks.push(Check::new(IN_PLACE, Verdict::Ok, detail));
}

/// Whether images can be built here only in place, without a sandbox.
#[must_use]
pub fn is_in_place_only(checks: &[Check]) -> bool {
    let has = |name: &str, verdict| {
        let mut checks = checks.iter();
        checks.any(|check| check.name == name && check.verdict == verdict)
    };
    has(IN_PLACE, Verdict::Ok) && has("user namespaces", Verdict::Warn)
}

/// Whether something essential is missing.
pub fn fails(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.verdict == Verdict::Fail)
}

fn builders(store: &Store) -> Check {
    const NAME: &str = "builder images";
    match choose::local(store) {
        Ok(found) if !found.is_empty() => {
            let names: Vec<_> = found
                .iter()
                .map(|builder| builder.reference.as_str())
                .collect();
            Check::new(NAME, Verdict::Ok, names.join(", "))
        }
        Ok(_) => Check::new(NAME, Verdict::Warn, "none in the store").remedy(
            "the last line here says what you can do about it; `warpdrive builder list` shows all",
        ),
        Err(error) => Check::new(NAME, Verdict::Warn, error.to_string())
            .remedy("`warpdrive builder build --force NAME` makes one again"),
    }
}

/// uv and pip come from the package index at the first build, and stay in the store.
fn installer(store: &Store) -> Check {
    let there = std::fs::read_dir(store.root().join("cache"))
        .into_iter()
        .flatten()
        .flatten()
        .find_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix("tools-").map(str::to_owned)
        });
    let detail = match there {
        Some(versions) => format!("{versions}, in the store"),
        None => "uv and pip are fetched from PyPI at the first build".to_owned(),
    };
    Check::new("installer", Verdict::Ok, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_store_has_no_builder_and_says_how_to_make_one() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(Some(place.path())).unwrap();
        let check = builders(&store);
        assert_eq!(check.verdict, Verdict::Warn);
        assert!(check.remedy.unwrap().contains("builder list"));
    }

    #[test]
    fn warnings_are_no_failure() {
        let check = |verdict| Check::new("x", verdict, "");
        assert!(!fails(&[check(Verdict::Ok), check(Verdict::Warn)]));
        assert!(fails(&[check(Verdict::Warn), check(Verdict::Fail)]));
    }
}
