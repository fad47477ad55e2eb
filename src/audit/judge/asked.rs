//! What root's programs ask, and the records that they read, while a container runs: sockets and files below
//! `/run` and the like (rules `name-service`, `account-mapping`). Who can put them there decides who is root.

use super::super::facts::Item;
use super::super::finding::{Finding, Severity};
use super::super::flatten::Flat;
use super::super::paths::{ancestors, shown};
use super::accounts::Runtime;
use super::loaded::Loaded;
use super::writable::{Powers, writer};

/// Where a program that is asked for accounts before all sources has its socket.
const CACHE: [&[u8]; 2] = [b"run/nscd", b"var/run/nscd"];

/// Where `libnss_systemd` looks for records of users and groups, and for sockets to ask for them (nss-systemd(8)).
pub(super) const RECORDS: [&[u8]; 6] = [
    b"etc/userdb",
    b"run/userdb",
    b"run/host/userdb",
    b"run/systemd/userdb",
    b"usr/local/lib/userdb",
    b"usr/lib/userdb",
];

/// Where the socket of the message bus is, over which `PolicyKit` is asked (D-Bus specification, "Well-known
/// Message Bus Instances").
const BUS: [&[u8]; 2] = [b"run/dbus", b"var/run/dbus"];

/// Programs of root's that do what an answer over the message bus allows.
const ASKERS: [&str; 2] = ["pkexec", "polkit-agent-helper-1"];

/// The message bus, as the accounts of distributions name it.
const BUS_USERS: [&str; 2] = ["messagebus", "dbus"];

/// The image's user, and the ids as which it can act besides.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) powers: &'a Powers,
}

impl Asker<'_> {
    fn may_write(&self, item: &Item) -> bool {
        writer(item, self.runtime).is_some_and(|(severity, _)| severity == Severity::High)
            || self.powers.writer(item).is_some()
    }

    fn may_run(&self, item: &Item) -> bool {
        let is_in = |gid: &u32| self.runtime.gids.contains(gid) || self.powers.acts_in(*gid);
        item.mode & 0o001 != 0 || (item.mode & 0o010 != 0 && is_in(&item.gid))
    }
}

/// The sockets of programs that answer for accounts. `of_systemd`: the records of `libnss_systemd` count.
pub(super) fn judge_accounts(
    flat: &Flat<'_>,
    asker: Asker<'_>,
    of_systemd: bool,
    findings: &mut Vec<Finding>,
) {
    let what = "root's programs ask what answers in /run/nscd for accounts";
    judge_places(flat, asker, &CACHE, what, findings);
    if of_systemd {
        let what = "root's programs take accounts from there (libnss_systemd)";
        judge_places(flat, asker, &RECORDS, what, findings);
    }
}

/// The message bus: who answers over it, and who runs what it starts.
pub(super) fn judge_bus(loaded: &Loaded<'_>, asker: Asker<'_>, findings: &mut Vec<Finding>) {
    let flat = loaded.flat();
    if ASKERS.iter().any(|program| loaded.has_program(program)) {
        let what = "pkexec asks over the socket in /run/dbus who may act as root";
        judge_places(flat, asker, &BUS, what, findings);
    }
    let is_bus = |name: &String| BUS_USERS.contains(&name.as_str());
    let is_the_bus = asker.runtime.names.iter().any(is_bus);
    for path in loaded.programs_named("dbus-daemon-launch-helper") {
        let Some((layer, item)) = flat.item(path) else {
            continue;
        };
        if is_the_bus || asker.may_run(item) {
            let message = "can be run by the image's user: it runs programs as root for the message bus alone";
            let (rule, severity) = ("account-mapping", Severity::High);
            let finding = Finding::of_path(rule, severity, layer, path, message.to_owned());
            findings.push(finding);
        }
    }
}

/// Whether the image's user may put something at one of these places, or decides by a link what lies there.
fn judge_places(
    flat: &Flat<'_>,
    asker: Asker<'_>,
    places: &[&[u8]],
    what: &str,
    findings: &mut Vec<Finding>,
) {
    let mut told: Vec<Vec<u8>> = Vec::new();
    for place in places {
        let mut push = |path: &[u8], how: &str| {
            if !told.iter().any(|known| known == path) {
                told.push(path.to_vec());
                let message = format!("{how}, and {what}");
                let (rule, layer) = ("name-service", flat.layer_of(path));
                findings.push(Finding::of_path(rule, Severity::High, layer, path, message));
            }
        };
        // A circle of links leads nowhere.
        let Some(real) = flat.follow(place) else {
            continue;
        };
        // As in all distributions, `/var/run` is `/run`.
        let usual = place.strip_prefix(b"var/").unwrap_or(place);
        if real != *place && real != usual {
            push(place, &format!("leads to {}", shown(&real)));
            continue;
        }
        for path in ancestors(&real).chain([&real[..]]) {
            let Some((_, item)) = flat.item(path) else {
                if flat.is_other(path) {
                    push(path, "is not a directory");
                }
                continue;
            };
            if !item.is_directory() {
                push(path, "is not a directory");
            } else if asker.may_write(item) {
                push(path, "is not root's alone");
            }
        }
    }
}
