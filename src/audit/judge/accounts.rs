//! The account files as read from the image, the user that the image runs as, and the rules
//! `account-*` and `runtime-group`.

use std::collections::BTreeSet;

use crate::oci::ImageConfig;

use super::super::accounts::group::{self, Group, PRIVILEGED, Secret};
use super::super::accounts::name_service;
use super::super::accounts::passwd::{self, Passwd};
use super::super::accounts::shadow::{self, Password};
use super::super::accounts::sudoers::Person;
use super::super::accounts::{Id, strict_decimal};
use super::super::facts::ItemKind;
use super::super::finding::{Finding, Severity};
use super::super::flatten::{Flat, Lookup};
use super::super::paths::text;
use super::quoted;

pub(super) const PASSWD: &[u8] = b"etc/passwd";
pub(super) const SHADOW: &[u8] = b"etc/shadow";
const GROUP: &[u8] = b"etc/group";
const GROUP_SHADOW: &[u8] = b"etc/gshadow";

/// Most accounts with a password that are examined one by one.
const MAX_ENTRANTS: usize = 256;

/// The account files; empty if the image has none, which is fine.
#[derive(Default)]
pub(super) struct Accounts {
    pub(super) passwd: Passwd,
    pub(super) passwd_layer: usize,
    pub(super) shadow: Vec<shadow::Entry>,
    pub(super) shadow_layer: usize,
    pub(super) groups: Vec<Group>,
    secrets: Vec<Secret>,
}

impl Accounts {
    pub(super) fn read(flat: &Flat<'_>, findings: &mut Vec<Finding>) -> Self {
        let mut accounts = Self::default();
        if let Some((layer, bytes)) = readable(flat, PASSWD, findings) {
            accounts.passwd = passwd::parse(bytes);
            accounts.passwd_layer = layer;
        }
        if let Some((layer, bytes)) = readable(flat, SHADOW, findings) {
            accounts.shadow = shadow::parse(bytes);
            accounts.shadow_layer = layer;
        }
        if let Some((_, bytes)) = readable(flat, GROUP, findings) {
            accounts.groups = group::parse(bytes);
        }
        if let Some((_, bytes)) = readable(flat, GROUP_SHADOW, findings) {
            accounts.secrets = group::parse_shadow(bytes);
        }
        let netgroup = b"etc/netgroup";
        if let Lookup::Unreadable { layer, problem } = flat.read_through_links(netgroup) {
            findings.push(Finding::of_unreadable(layer, netgroup, problem));
        }
        copies(flat, findings);
        accounts
    }

    /// Accounts other than root that an attacker can become by a password: an empty one, or one that
    /// the image's author knows.
    fn with_password(&self) -> Vec<&passwd::Account> {
        let opens = |password: &Password| {
            matches!(
                password,
                Password::Empty | Password::Usable | Password::Weak(_)
            )
        };
        let in_shadow: BTreeSet<&str> = self
            .shadow
            .iter()
            .filter(|entry| opens(&entry.password))
            .map(|entry| entry.name.as_str())
            .collect();
        self.passwd
            .accounts
            .iter()
            .filter(|account| account.uid != Id::Plain(0))
            .filter(|account| {
                opens(&shadow::judge(&account.password))
                    || in_shadow.contains(account.name.as_str())
            })
            .collect()
    }

    /// Accounts that a person can be: the image's user, those with a password that is empty or known, and those
    /// whose shell lets them in.
    pub(super) fn entering(&self, runtime: &Runtime) -> Vec<&passwd::Account> {
        let known: BTreeSet<&str> = self
            .with_password()
            .iter()
            .map(|account| account.name.as_str())
            .collect();
        let closed = |shell: &str| shell.ends_with("/nologin") || shell.ends_with("/false");
        self.passwd
            .accounts
            .iter()
            .filter(|account| account.uid != Id::Plain(0))
            .filter(|account| {
                !closed(&account.shell)
                    || known.contains(account.name.as_str())
                    || runtime.names.contains(&account.name)
            })
            .collect()
    }

    /// Whether one of these names is in the group, or can get into it.
    fn admits(&self, group: &Group, names: &[String], doors: Doors) -> bool {
        let ours = |list: &[String]| list.iter().any(|name| names.contains(name));
        if ours(&group.members) {
            return true;
        }
        // An empty password lets only members in.
        let opens = |password: &Password| matches!(password, Password::Usable | Password::Weak(_));
        let secrets = || {
            self.secrets
                .iter()
                .filter(|secret| secret.name == group.name)
        };
        let by_newgrp = opens(&group.password)
            || secrets().any(|secret| opens(&secret.password) || ours(&secret.members));
        (doors.newgrp && by_newgrp)
            || (doors.gpasswd && secrets().any(|secret| ours(&secret.administrators)))
    }

    /// The group's name, if it is privileged.
    pub(super) fn privileged_group(&self, gid: u32) -> Option<&str> {
        self.groups
            .iter()
            .find(|group| {
                group.gid.number() == Some(gid) && PRIVILEGED.contains(&group.name.as_str())
            })
            .map(|group| group.name.as_str())
    }
}

/// New files of `pam_unix`.
const NEW: [&str; 3] = ["etc/npasswd", "etc/nshadow", "etc/security/nopasswd"];

/// Programs that change accounts write a new file and a copy of the old one beside it, as root, through links.
fn copies(flat: &Flat<'_>, findings: &mut Vec<Finding>) {
    let files = ["passwd", "shadow", "group", "gshadow", "subuid", "subgid"];
    for path in files
        .iter()
        .flat_map(|file| ["+", "-"].map(|sign| format!("etc/{file}{sign}")))
        .chain(NEW.map(str::to_owned))
    {
        let path = path.as_bytes();
        let Some((layer, item)) = flat
            .item(path)
            .filter(|(_, item)| item.kind != ItemKind::File)
        else {
            continue;
        };
        let target = match &item.kind {
            ItemKind::Symlink(target) | ItemKind::HardLink(target) => text(target),
            _ => "something that is not a file".to_owned(),
        };
        let message = format!(
            "is a link to {target}: programs that change accounts as root would write there"
        );
        let (rule, severity) = ("account-unreadable", Severity::High);
        findings.push(Finding::of_path(rule, severity, layer, path, message));
    }
}

/// A file's layer and bytes; a finding if the file cannot be read.
pub(super) fn readable<'a>(
    flat: &Flat<'a>,
    path: &[u8],
    findings: &mut Vec<Finding>,
) -> Option<(usize, &'a [u8])> {
    match flat.read(path) {
        Lookup::Absent => None,
        Lookup::Bytes { layer, bytes } => Some((layer, bytes)),
        Lookup::Unreadable { layer, problem } => {
            findings.push(Finding::of_unreadable(layer, path, problem));
            None
        }
    }
}

/// Programs that let a person join groups, if they run as root.
#[derive(Debug, Clone, Copy)]
struct Doors {
    newgrp: bool,
    gpasswd: bool,
}

impl Doors {
    fn of(flat: &Flat<'_>) -> Self {
        let opens = |name: &str| {
            ["bin", "usr/bin"].iter().any(|directory| {
                flat.item(format!("{directory}/{name}").as_bytes())
                    .is_some_and(|(_, item)| item.gives_root())
            })
        };
        Self {
            newgrp: opens("newgrp") || opens("sg"),
            gpasswd: opens("gpasswd"),
        }
    }
}

/// An account whose password is empty or known to the image's author.
pub(super) struct Entrant {
    pub(super) name: String,
    /// It is the account of the image's user.
    pub(super) is_own: bool,
    /// The image's user can act as it.
    pub(super) is_open: bool,
    pub(super) as_who: Runtime,
}

/// All of them. The image's user can act as its own account, and as others if a program such as `su`
/// asks.
pub(super) fn entrants(
    accounts: &Accounts,
    runtime: &Runtime,
    flat: &Flat<'_>,
    has_su: bool,
    findings: &mut Vec<Finding>,
) -> Vec<Entrant> {
    let mut entrants: Vec<Entrant> = Vec::new();
    for account in accounts.with_password() {
        let is_own = runtime.names.contains(&account.name);
        if entrants.len() >= MAX_ENTRANTS {
            findings.push(Finding::of_path(
                "account-unreadable",
                Severity::High,
                accounts.passwd_layer,
                PASSWD,
                format!("more than {MAX_ENTRANTS} accounts have a password"),
            ));
            break;
        }
        entrants.push(Entrant {
            name: account.name.clone(),
            is_own,
            is_open: is_own || has_su,
            as_who: Runtime::of_account(accounts, account, flat),
        });
    }
    entrants
}

/// The user that the image runs as, or an account that it can become.
#[derive(Debug, Default)]
pub(super) struct Runtime {
    pub(super) uid: Option<u32>,
    pub(super) names: Vec<String>,
    /// With 0, which platforms give to arbitrary uids.
    pub(super) gids: Vec<u32>,
    groups: Vec<String>,
    /// The gids that the image itself gives: declared, or those of the account.
    own_gids: Vec<u32>,
    /// Of `/etc/netgroup`.
    netgroups: BTreeSet<String>,
    /// All groups that the image knows.
    known_groups: Vec<String>,
}

impl Runtime {
    pub(super) fn new(config: &ImageConfig, accounts: &Accounts, flat: &Flat<'_>) -> Self {
        let declared = config.user();
        let (user, group) = match declared.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (declared, None),
        };
        let mut runtime = Self::default();
        let number = strict_decimal(user.as_bytes());
        let account = match number {
            Some(uid) => accounts.passwd.of_uid(uid).next(),
            None => accounts.passwd.named(user),
        };
        runtime.uid = number.or_else(|| match &account?.uid {
            Id::Plain(uid) => Some(*uid),
            Id::Odd(_) => Some(0),
        });
        if user.is_empty() {
            runtime.uid = Some(0);
        }
        runtime.names = match runtime.uid {
            Some(uid) => accounts
                .passwd
                .of_uid(uid)
                .map(|account| account.name.clone())
                .collect(),
            None => Vec::new(),
        };
        if !user.is_empty() && number.is_none() {
            runtime.names.push(user.to_owned());
        }
        match group {
            Some(group) => {
                let named = accounts.groups.iter().find(|known| known.name == group);
                let named = named.map(|known| known.gid.clone());
                match strict_decimal(group.as_bytes()).map(Id::Plain).or(named) {
                    Some(Id::Plain(gid)) => runtime.own_gids.push(gid),
                    _ => runtime.own_gids.push(0),
                }
            }
            None => {
                if let Some(gid) = account.and_then(|account| account.gid.number()) {
                    runtime.own_gids.push(gid);
                }
            }
        }
        runtime.gids.push(0);
        runtime.groups.push("root".into());
        runtime.join(accounts, flat);
        runtime
    }

    /// One of the other accounts.
    pub(super) fn of_account(
        accounts: &Accounts,
        account: &passwd::Account,
        flat: &Flat<'_>,
    ) -> Self {
        let mut runtime = Self {
            names: vec![account.name.clone()],
            ..Self::default()
        };
        if let Id::Plain(uid) = account.uid {
            runtime.uid = Some(uid);
        }
        if let Some(gid) = account.gid.number() {
            runtime.own_gids.push(gid);
        }
        runtime.join(accounts, flat);
        runtime
    }

    /// Adds the groups of the names.
    fn join(&mut self, accounts: &Accounts, flat: &Flat<'_>) {
        let doors = Doors::of(flat);
        for group in &accounts.groups {
            let member = accounts.admits(group, &self.names, doors);
            if let (true, Some(gid)) = (member, group.gid.number()) {
                self.own_gids.push(gid);
            }
        }
        self.gids.extend(&self.own_gids);
        let own = accounts
            .groups
            .iter()
            .filter(|group| self.gids.iter().any(|gid| group.gid.may_be(*gid)))
            .map(|group| group.name.clone());
        self.groups.extend(own);
        self.known_groups = accounts
            .groups
            .iter()
            .map(|group| group.name.clone())
            .collect();
        if let Lookup::Bytes { bytes, .. } = flat.read_through_links(b"etc/netgroup") {
            self.netgroups = name_service::netgroups_of(bytes, &self.names);
        }
    }

    /// Whether the image's user is in the group.
    pub(super) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// Whether there is such a group.
    pub(super) fn is_known(&self, group: &str) -> bool {
        self.known_groups.iter().any(|own| own == group)
    }

    pub(super) fn person(&self) -> Person<'_> {
        Person {
            uid: self.uid,
            names: &self.names,
            gids: &self.gids,
            groups: &self.groups,
            netgroups: &self.netgroups,
        }
    }
}

/// The image's user, and accounts with a password.
pub(super) struct People<'a> {
    pub(super) accounts: &'a Accounts,
    pub(super) runtime: &'a Runtime,
    pub(super) entrants: &'a [Entrant],
}

impl People<'_> {
    /// The password of the image's user is empty, or known to the image's author.
    pub(super) fn own_is_known(&self) -> bool {
        self.entrants.iter().any(|entrant| entrant.is_own)
    }
}

pub(super) fn judge(accounts: &Accounts, runtime: &Runtime, findings: &mut Vec<Finding>) {
    let layer = accounts.passwd_layer;
    let mut push = |rule, severity, message| {
        findings.push(Finding::of_path(rule, severity, layer, PASSWD, message));
    };
    for account in &accounts.passwd.accounts {
        let name = quoted(&account.name);
        if account.uid == Id::Plain(0) && account.name != "root" {
            let message = format!("account {name} has uid 0 (line {})", account.line);
            push("account-root-alias", Severity::High, message);
        }
        if account.name == "root" && account.uid != Id::Plain(0) {
            let message = format!("root's uid is not 0 (line {})", account.line);
            push("account-mapping", Severity::Medium, message);
        }
        for (what, id) in [("uid", &account.uid), ("gid", &account.gid)] {
            if let Id::Odd(text) = id {
                let severity = if what == "uid" {
                    Severity::High
                } else {
                    Severity::Medium
                };
                let message = format!(
                    "account {name} has the {what} {}, which is not a plain number (line {})",
                    quoted(text),
                    account.line
                );
                push("account-malformed", severity, message);
            }
        }
    }
    for line in accounts.passwd.odd_lines.iter().take(5) {
        let message = format!("line {line} of /etc/passwd is malformed");
        push("account-malformed", Severity::Medium, message);
    }
    if let Some(uid) = runtime.uid.filter(|uid| *uid != 0) {
        let number = uid.to_string();
        if let Some(account) = accounts.passwd.named(&number)
            && account.uid != Id::Plain(uid)
        {
            let message = format!(
                "an account is *named* {number} and has another uid: engines that look for names first run the image as that"
            );
            push("account-mapping", Severity::High, message);
        }
        let same: Vec<_> = accounts
            .passwd
            .accounts
            .iter()
            .filter(|a| a.uid == Id::Plain(uid))
            .collect();
        if same.len() > 1 {
            let names: Vec<String> = same.iter().map(|account| quoted(&account.name)).collect();
            let message = format!(
                "uid {uid} has {} accounts: {}",
                same.len(),
                names.join(", ")
            );
            push("account-mapping", Severity::Medium, message);
        }
    }
    let mut privileged: Vec<&str> = runtime
        .own_gids
        .iter()
        .filter_map(|gid| accounts.privileged_group(*gid))
        .collect();
    privileged.sort_unstable();
    privileged.dedup();
    for group in privileged {
        // sudoers and doas.conf decide what sudo and wheel allow; they have their own rules.
        let severity = match group {
            "sudo" | "wheel" | "adm" => Severity::Low,
            _ => Severity::High,
        };
        let message = format!("the image's user is in the group {}", quoted(group));
        push("runtime-group", severity, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_into_a_group() {
        const HASH: &str = "$6$salt$hash";
        for (group, secret, newgrp, gpasswd, inside) in [
            ("sudo:x:27:app", "", false, false, true),
            ("sudo:x:27:", "sudo:*::app", true, false, true),
            ("sudo:x:27:", "sudo:*::app", false, true, false),
            ("sudo:x:27:", "sudo:*::ops", true, true, false),
            ("sudo:x:27:", "sudo:*:app:", false, true, true),
            ("sudo:x:27:", "sudo:*:app:", true, false, false),
            ("sudo:x:27:", "sudo:HASH::", true, false, true),
            ("sudo:x:27:", "sudo:!HASH::", true, true, false),
            ("sudo:x:27:", "sudo:::", true, true, false),
            ("sudo:HASH:27:", "", true, false, true),
            ("sudo:HASH:27:", "", false, true, false),
            ("sudo:x:27:", "other:HASH:app:app", true, true, false),
        ] {
            let accounts = Accounts {
                groups: group::parse(group.replace("HASH", HASH).as_bytes()),
                secrets: group::parse_shadow(secret.replace("HASH", HASH).as_bytes()),
                ..Accounts::default()
            };
            let doors = Doors { newgrp, gpasswd };
            let names = ["app".to_owned()];
            let admitted = accounts.admits(&accounts.groups[0], &names, doors);
            assert_eq!(admitted, inside, "{group} {secret} {doors:?}");
        }
    }

    #[test]
    fn accounts_that_a_password_opens() {
        let accounts = Accounts {
            passwd: passwd::parse(
                b"root::0:0::/:/s\nempty::1:1::/:/s\nx:x:2:2::/:/s\nno:x:3:3::/:/s\n",
            ),
            shadow: shadow::parse(b"root:$6$a$b:1\nx:$6$salt$hash:1\nno:!$6$salt$hash:1\n"),
            ..Accounts::default()
        };
        let names: Vec<&str> = accounts
            .with_password()
            .iter()
            .map(|account| account.name.as_str())
            .collect();
        assert_eq!(names, ["empty", "x"]);
    }
}
