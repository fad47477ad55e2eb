//! Passwords (rules `password-*`): in shadow, and in passwd itself.

use std::collections::BTreeSet;

use super::super::accounts::crypt::Guesser;
use super::super::accounts::shadow::{Password, judge as meaning};
use super::super::finding::{Finding, Severity};
use super::super::flatten::Flat;
use super::accounts::{Accounts, PASSWD, SHADOW};
use super::quoted;

/// Programs that let a user become another one by a password.
const WAYS_IN: [&str; 10] = [
    "bin/su",
    "usr/bin/su",
    "bin/login",
    "usr/bin/login",
    "usr/bin/sudo",
    "bin/busybox",
    "usr/bin/busybox",
    "usr/sbin/sshd",
    "sbin/sulogin",
    "usr/bin/doas",
];

pub(super) fn judge(flat: &Flat<'_>, accounts: &Accounts, findings: &mut Vec<Finding>) {
    // Without its setuid bit, such a program cannot change the user.
    let way_in = WAYS_IN.iter().find(|path| {
        flat.item(path.as_bytes())
            .is_some_and(|(_, item)| item.gives_root())
    });
    let roots: BTreeSet<&str> = accounts
        .passwd
        .of_uid(0)
        .map(|account| account.name.as_str())
        .chain(["root"])
        .collect();
    let is_root = |name: &str| roots.contains(name);
    let in_passwd = accounts.passwd.accounts.iter().map(|account| Field {
        place: (accounts.passwd_layer, PASSWD),
        name: &account.name,
        meaning: meaning(&account.password),
        text: &account.password,
    });
    let in_shadow = accounts.shadow.iter().map(|entry| Field {
        place: (accounts.shadow_layer, SHADOW),
        name: &entry.name,
        meaning: entry.password,
        text: &entry.field,
    });
    let mut fields: Vec<Field<'_>> = in_passwd.chain(in_shadow).collect();
    // Guesses are few: root's password is tried before those of others.
    fields.sort_by_key(|field| !is_root(field.name));
    let mut guesses = Guesser::default();
    for field in &fields {
        push(findings, field, is_root(field.name), way_in, &mut guesses);
    }
}

/// A password field of an account.
struct Field<'a> {
    place: (usize, &'static [u8]),
    name: &'a str,
    meaning: Password,
    text: &'a [u8],
}

fn push(
    findings: &mut Vec<Finding>,
    field: &Field<'_>,
    is_root: bool,
    way_in: Option<&&str>,
    guesses: &mut Guesser,
) {
    let Field {
        place: (layer, path),
        name,
        meaning: password,
        text,
    } = *field;
    let known =
        matches!(password, Password::Usable | Password::Weak(_)) && guesses.knows(text, name);
    let name = quoted(name);
    let (rule, gravest, what) = match password {
        Password::Locked | Password::InShadow => return,
        Password::Empty => (
            "password-empty",
            Severity::High,
            format!("{name} has an empty password"),
        ),
        Password::Usable | Password::Weak(_) if known => (
            "password-weak",
            Severity::High,
            format!("{name} has a password that is among the first that everybody tries"),
        ),
        Password::Weak(hash) => (
            "password-weak",
            Severity::High,
            format!("{name} has a password that is hashed with {hash}"),
        ),
        // The image's author knows it, and may have told others.
        Password::Usable => (
            "password-usable",
            if is_root {
                Severity::High
            } else {
                Severity::Medium
            },
            format!("{name} has a password"),
        ),
    };
    let (severity, how) = match (is_root, way_in) {
        (true, Some(program)) => (gravest, format!(", and there is /{program}")),
        (false, Some(program)) => (
            gravest.min(Severity::Medium),
            format!(", and there is /{program}"),
        ),
        (true, None) => (
            gravest.min(Severity::Medium),
            ", though no program that asks for it and runs as root".into(),
        ),
        (false, None) => (
            Severity::Low,
            ", though no program that asks for it and runs as root".into(),
        ),
    };
    findings.push(Finding::of_path(
        rule,
        severity,
        layer,
        path,
        format!("{what}{how}"),
    ));
}
