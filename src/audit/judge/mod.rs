//! The rules themselves: each file looks at the flattened image under one aspect.

mod accounts;
mod app_files;
mod asked;
mod created;
mod development;
mod devices;
mod loaded;
mod name_service;
mod pam;
mod pam_modules;
mod passwords;
mod privileges;
mod secrets;
mod setuid;
mod subordinate;
mod sudo_files;
mod sudo_steps;
mod trust;
mod user;
mod writable;

use std::fmt::Write as _;

use crate::oci::ImageConfig;

use super::finding::{Finding, Severity};
use super::flatten::{Flat, Seen};
use super::interest::Interest;
use super::paths;
use accounts::{Accounts, People, Runtime};
use asked::Asker;
use loaded::Loaded;
use privileges::SudoFacts;
use trust::Trust;
use writable::Powers;

/// What the rules look at.
pub(super) struct Subject<'a> {
    pub(super) config: &'a ImageConfig,
    pub(super) flat: &'a Flat<'a>,
    pub(super) interest: &'a Interest,
    /// How many layers, from the lowest, the caller trusts.
    pub(super) trusted: Option<usize>,
}

/// Judges the image by all rules.
pub(super) fn judge(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let all = subject.flat.all();
    let accounts = Accounts::read(subject.flat, &mut findings);
    let runtime = Runtime::new(subject.config, &accounts, subject.flat);
    let trust = Trust::new(subject.flat, subject.trusted);
    let mut loaded = Loaded::new(subject.flat, &trust, &all);
    user::judge(subject.config, &mut findings);
    created::judge(subject.config, subject.flat, &mut findings);
    development::judge(subject.config, &mut findings);
    accounts::judge(&accounts, &runtime, &mut findings);
    passwords::judge(subject.flat, &accounts, &mut findings);
    let has_su = ["su", "login", "busybox"]
        .iter()
        .any(|program| loaded.has_program(program));
    let entrants = accounts::entrants(&accounts, &runtime, subject.flat, has_su, &mut findings);
    let people = People {
        accounts: &accounts,
        runtime: &runtime,
        entrants: &entrants,
    };
    let sudo = privileges::judge(subject.flat, &people, &mut findings);
    subordinate::judge(subject.flat, &mut findings);
    setuid::judge(&all, &accounts, &trust, &mut findings);
    // A base with a replaced program and a replaced list looks the same from here.
    if trust.is_guessed() && findings.iter().any(|it| it.rule == "setuid-known") {
        findings.push(Finding::of_config(
            "base-unproven",
            Severity::Info,
            "only the image itself says what its lowest layer should hold: \
             the package database there vouches for what runs as root, and for itself"
                .to_owned(),
        ));
    }
    let knows = entrants.iter().any(|entrant| entrant.is_open);
    let person = pam::Person {
        accounts: &accounts,
        runtime: &runtime,
        knows,
    };
    let powers = Powers::new(&all, &trust, &entrants);
    load(&mut loaded, person, &powers, &sudo, &mut findings);
    loaded.finish(&mut findings);
    writable::judge(subject, &all, (&runtime, &powers), &mut findings);
    devices::judge(&all, &mut findings);
    secrets::judge(subject, &mut findings);
    app_files::judge(subject, &all, &mut findings);
    for (layer, facts) in subject.flat.layers().iter().enumerate() {
        for name in &facts.odd_names {
            findings.push(Finding {
                path: Some(name.clone()),
                layer: Some(layer),
                ..Finding::of_config(
                    "layer-path",
                    Severity::High,
                    format!("the layer has an entry named `{name}`"),
                )
            });
        }
        for (path, what) in &facts.odd_entries {
            let rule = "layer-path";
            findings.push(Finding::of_path(
                rule,
                Severity::High,
                layer,
                path,
                what.clone(),
            ));
        }
    }
    findings
}

/// What programs load and run when they run as root.
fn load(
    loaded: &mut Loaded<'_>,
    person: pam::Person<'_>,
    powers: &Powers,
    sudo: &SudoFacts,
    findings: &mut Vec<Finding>,
) {
    let runtime = person.runtime;
    let asker = Asker { runtime, powers };
    loaded.preload(findings);
    loaded.programs();
    name_service::judge(loaded, asker, findings);
    let services = &sudo.pam_services;
    let has_rule = sudo.has_rule;
    let of_sudo = pam::Sudo { services, has_rule };
    pam::judge(loaded, person, &of_sudo, findings);
    asked::judge_bus(loaded, asker, findings);
    if loaded.has_program("sudo") {
        sudo_files::judge(loaded, sudo, findings);
    }
}

/// The entries of the flattened image.
fn visible<'a, 's>(all: &'s [Seen<'a>]) -> impl Iterator<Item = &'s Seen<'a>> {
    all.iter().filter(|seen| seen.hidden_by.is_none())
}

/// Number of paths that a combined finding names.
const SHOWN: usize = 10;

/// Combines many paths with one fault in one layer to one finding.
struct Bundle {
    finding: Finding,
}

impl Bundle {
    fn add(bundles: &mut Vec<Self>, finding: Finding) {
        let same = bundles.iter_mut().find(|bundle| {
            let own = &bundle.finding;
            (own.rule, own.severity, own.layer) == (finding.rule, finding.severity, finding.layer)
        });
        match same {
            Some(bundle) => {
                bundle.finding.count += 1;
                if bundle.finding.more.len() < SHOWN {
                    bundle.finding.more.extend(finding.path);
                }
            }
            None => bundles.push(Self { finding }),
        }
    }

    fn finish(bundles: Vec<Self>, findings: &mut Vec<Finding>) {
        findings.extend(bundles.into_iter().map(|bundle| bundle.finding));
    }
}

/// `owner 0:0, mode 4711`.
fn ownership(uid: u32, gid: u32, mode: u32) -> String {
    let mut text = String::new();
    let _ = write!(text, "owner {uid}:{gid}, mode {mode:04o}");
    text
}

fn quoted(text: &str) -> String {
    format!("`{}`", paths::text(text.as_bytes()))
}
