//! What PAM's modules do as root besides authentication, because of their arguments and of the files in
//! `/etc/security`: groups and capabilities that they give, directories that they make, scripts that they run.

use super::super::accounts::pam::{Kind, Line};
use super::super::accounts::pam_files::{self, Given};
use super::super::flatten::{Flat, Lookup};
use super::super::paths::{is_beneath, join, text};
use super::accounts::{Accounts, Runtime};

/// Scripts that `pam_motd` of Debian runs as root.
const MOTD: &[u8] = b"etc/update-motd.d";

/// The only one that Debian ships (package `base-files`): dpkg has no digest of it.
const OF_DEBIAN: &[&[u8]] = &[b"#!/bin/sh\nuname -snrvm\n"];

/// Where a directory of another user opens a way to root.
const SYSTEM: [&[u8]; 14] = [
    b"bin",
    b"sbin",
    b"lib",
    b"lib32",
    b"lib64",
    b"libx32",
    b"usr",
    b"etc",
    b"boot",
    b"root",
    b"run/sudo",
    b"var/db",
    b"var/lib/misc",
    b"var/lib/extrausers",
];

/// Where accounts have their homes.
const USUAL_HOMES: [&[u8]; 9] = [
    b"app",
    b"data",
    b"export",
    b"home",
    b"mnt",
    b"nonexistent",
    b"opt",
    b"srv",
    b"var/lib",
];

/// As part of the sentence "the service … does so before it asks for a password".
pub(super) fn deed(
    flat: &Flat<'_>,
    accounts: &Accounts,
    runtime: &Runtime,
    name: &str,
    line: &Line,
) -> Option<String> {
    let has = |word: &str| line.arguments.iter().any(|argument| argument == word);
    match name {
        "pam_group" => file(flat, line, b"etc/security/group.conf", pam_files::groups)
            .or_else(|| renamed_group(flat, accounts))
            .map(|what| format!("gives groups that may be as good as root ({what})")),
        "pam_faillock" => faillock(flat, line),
        "pam_cap" => file(
            flat,
            line,
            b"etc/security/capability.conf",
            pam_files::capabilities,
        )
        .map(|what| format!("gives capabilities that are as good as root ({what})")),
        "pam_limits" => files(
            flat,
            line,
            b"etc/security/limits.conf",
            b"etc/security/limits.d",
            pam_files::roots,
        )
        .map(|what| format!("changes the root directory ({what})")),
        "pam_namespace" => files(
            flat,
            line,
            b"etc/security/namespace.conf",
            b"etc/security/namespace.d",
            pam_files::namespaces,
        )
        .map(|what| format!("exchanges directories and runs namespace.init as root ({what})")),
        "pam_mkhomedir" if line.kind == Kind::Session => home(flat, accounts, runtime),
        "pam_motd" if line.kind == Kind::Session && !has("noupdate") => motd(flat),
        "pam_xauth" => line
            .arguments
            .iter()
            .find(|argument| argument.starts_with("xauthpath="))
            .map(|_| "runs a program that the line names".to_owned()),
        _ => None,
    }
}

/// A group that every user of a desktop has, but with the gid of a privileged one.
fn renamed_group(flat: &Flat<'_>, accounts: &Accounts) -> Option<String> {
    if !flat.has(b"etc/security/group.conf") {
        return None;
    }
    accounts
        .groups
        .iter()
        .filter(|group| pam_files::HARMLESS_GROUPS.contains(&group.name.as_str()))
        .find(|group| {
            let is_usual = |gid: u32| {
                PRIVILEGED_GIDS.contains(&gid) || accounts.privileged_group(gid).is_some()
            };
            group.gid.number().is_none_or(is_usual)
        })
        .map(|group| {
            format!(
                "/etc/group, line {}: {}",
                group.line,
                text(group.name.as_bytes())
            )
        })
}

/// root, adm, disk, wheel, kmem, sudo, shadow, as Debian or Red Hat number them.
const PRIVILEGED_GIDS: [u32; 8] = [0, 4, 6, 9, 10, 15, 27, 42];

/// `pam_faillock` makes a file for each account and gives it to that account's user.
fn faillock(flat: &Flat<'_>, line: &Line) -> Option<String> {
    const USUAL: [&[u8]; 3] = [b"run/faillock", b"var/run/faillock", b"var/lib/faillock"];
    let is_unusual = |named: &str| {
        !join(b"", named.as_bytes()).is_some_and(|path| USUAL.contains(&path.as_slice()))
    };
    let gives = |what: &str| format!("makes files of the caller's in {}", text(what.as_bytes()));
    let argument = |name: &str| {
        line.arguments
            .iter()
            .find_map(|argument| argument.strip_prefix(name))
    };
    if let Some(named) = argument("dir=").filter(|named| is_unusual(named)) {
        return Some(gives(named));
    }
    if let Some(named) = argument("conf=") {
        return Some(format!(
            "what {} says is not judged",
            text(named.as_bytes())
        ));
    }
    if let Some(linked) = USUAL.iter().find(|path| flat.is_other(path)) {
        return Some(gives(&text(linked)));
    }
    let path = b"etc/security/faillock.conf";
    match flat.read_through_links(path) {
        Lookup::Absent => None,
        Lookup::Bytes { bytes, .. } => pam_files::faillock_directories(bytes)
            .iter()
            .find(|given| is_unusual(&given.what))
            .map(|given| gives(&given.what)),
        Lookup::Unreadable { problem, .. } => {
            Some(format!("/{} cannot be judged: {problem}", text(path)))
        }
    }
}

/// What a module's file gives, or why that is not known.
fn file(
    flat: &Flat<'_>,
    line: &Line,
    path: &[u8],
    parse: fn(&[u8]) -> Vec<Given>,
) -> Option<String> {
    let own = line.arguments.iter().find_map(|argument| {
        let named = argument
            .strip_prefix("conf=")
            .or_else(|| argument.strip_prefix("config="))?;
        (join(b"", named.as_bytes()).as_deref() != Some(path)).then_some(named)
    });
    if let Some(own) = own {
        return Some(format!("what {} says is not judged", text(own.as_bytes())));
    }
    read(flat, path, parse)
}

fn read(flat: &Flat<'_>, path: &[u8], parse: fn(&[u8]) -> Vec<Given>) -> Option<String> {
    match flat.read_through_links(path) {
        Lookup::Absent => None,
        Lookup::Bytes { bytes, .. } => parse(bytes).first().map(|given| {
            format!(
                "/{}, line {}: {}",
                text(path),
                given.line,
                text(given.what.as_bytes())
            )
        }),
        Lookup::Unreadable { problem, .. } => {
            Some(format!("/{} cannot be judged: {problem}", text(path)))
        }
    }
}

/// The same for a file with a directory of further ones.
fn files(
    flat: &Flat<'_>,
    line: &Line,
    path: &[u8],
    directory: &[u8],
    parse: fn(&[u8]) -> Vec<Given>,
) -> Option<String> {
    file(flat, line, path, parse).or_else(|| {
        if is_link(flat, directory) {
            return Some(format!("/{} is not a directory", text(directory)));
        }
        beneath(flat, directory)
            .iter()
            .find_map(|path| read(flat, path, parse))
    })
}

/// Whether a directory is something else: what lies behind it is not known.
fn is_link(flat: &Flat<'_>, directory: &[u8]) -> bool {
    let any = [directory, b"/x"].concat();
    flat.has(directory) && matches!(flat.read(&any), Lookup::Unreadable { .. })
}

/// The files of a directory; if it is a link, the link.
fn beneath(flat: &Flat<'_>, directory: &[u8]) -> Vec<Vec<u8>> {
    if is_link(flat, directory) {
        vec![directory.to_vec()]
    } else {
        flat.files_in(directory)
    }
}

/// `pam_mkhomedir` gives the directory to the user: in a system tree, root's programs load what lies there.
fn home(flat: &Flat<'_>, accounts: &Accounts, runtime: &Runtime) -> Option<String> {
    let account = accounts.entering(runtime).into_iter().find(|account| {
        let Some(home) = join(b"", account.home.as_bytes()) else {
            return true;
        };
        // A link in the way, whose target is not known.
        let leads_elsewhere = matches!(flat.read(&home), Lookup::Unreadable { .. });
        let is_system = SYSTEM.iter().any(|tree| is_beneath(&home, tree))
            || !USUAL_HOMES.iter().any(|tree| is_beneath(&home, tree));
        // The module leaves a directory alone that is there.
        (is_system || leads_elsewhere) && !flat.has(&home)
    })?;
    Some(format!(
        "makes a directory for `{}` in a place of the system ({})",
        text(account.name.as_bytes()),
        text(account.home.as_bytes())
    ))
}

/// Scripts in `/etc/update-motd.d` besides Debian's.
fn motd(flat: &Flat<'_>) -> Option<String> {
    let own = beneath(flat, MOTD).into_iter().find(|path| {
        let runs = flat
            .item(path)
            .is_none_or(|(_, item)| item.mode & 0o111 != 0);
        let is_known = match flat.read(path) {
            Lookup::Bytes { bytes, .. } => OF_DEBIAN.contains(&bytes),
            _ => false,
        };
        runs && !is_known
    })?;
    Some(format!("runs /{} as root", text(&own)))
}
