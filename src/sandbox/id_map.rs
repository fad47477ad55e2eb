//! Which users and groups exist here: the three id modes, and the subordinate ids of `/etc/subuid`.
//!
//! Names are looked up in `/etc/passwd` by hand: a static glibc must not call `getpwnam`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};

/// The user that our own builder's images run as.
pub(super) const APP_UID: u32 = 1001;
/// And its group.
pub(super) const APP_GID: u32 = 0;
/// With the own id and this many subordinate ids, all ids of an image fit.
const WANTED: u32 = 65_536;

/// This process never enters a user namespace, see [`stay`].
static HERE: AtomicBool = AtomicBool::new(false);

/// From now on files belong only to this process's user, even if it could have other ids.
pub(super) fn stay() {
    HERE.store(true, Ordering::Relaxed);
}

/// How ids are mapped in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IdMode {
    /// Real root: every id is itself.
    Root,
    /// A user namespace in which the user is 0, with the subordinate ids above it.
    Subuid,
    /// A user namespace with one user (1001) and one group (0); both are the caller's own.
    SingleUid,
}

impl IdMode {
    /// The mode of this process, or, before [`super::enter`], the mode that it will have.
    pub fn current() -> Self {
        if HERE.load(Ordering::Relaxed) {
            return Self::SingleUid;
        }
        match State::current() {
            State::Ready(mode) => mode,
            State::Outside => plan().mode(),
        }
    }

    /// The name for directories in which the owners of files depend on the mode.
    pub fn map_name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Subuid => "subuid",
            Self::SingleUid => "single",
        }
    }

    /// Files can be given to other users.
    pub fn chown_allowed(self) -> bool {
        self != Self::SingleUid
    }

    /// Overlays need `userxattr`, because this is a user namespace.
    pub fn userxattr(self) -> bool {
        self != Self::Root
    }

    /// The command may run as this user and group.
    pub fn has(self, uid: u32, gid: u32) -> bool {
        self != Self::SingleUid || (uid == APP_UID && gid == APP_GID)
    }
}

/// Whether this process may mount and chown already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ready(IdMode),
    Outside,
}

impl State {
    pub(super) fn current() -> Self {
        let admin = rustix::thread::capabilities(None)
            .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        Self::of(admin, rustix::process::geteuid().is_root(), &map)
    }

    fn of(admin: bool, root: bool, uid_map: &str) -> Self {
        if !admin {
            return Self::Outside;
        }
        let ranges = parse_map(uid_map);
        let has = |id: u32| {
            ranges
                .iter()
                .any(|(first, count)| id >= *first && u64::from(id - first) < u64::from(*count))
        };
        if is_initial(uid_map) {
            // Capabilities without uid 0 would not survive the way to the sandbox.
            return if root {
                Self::Ready(IdMode::Root)
            } else {
                Self::Outside
            };
        }
        match (has(0) && root, has(APP_UID)) {
            (true, true) => Self::Ready(IdMode::Subuid),
            (false, true) if !has(0) => Self::Ready(IdMode::SingleUid),
            _ => Self::Outside,
        }
    }
}

fn is_initial(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// First id inside and number of ids of each line.
fn parse_map(text: &str) -> Vec<(u32, u32)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().map(str::parse::<u32>);
            let first = fields.next()?.ok()?;
            let _outside = fields.next()?.ok()?;
            let count = fields.next()?.ok()?;
            Some((first, count))
        })
        .collect()
}

/// What [`super::enter`] will set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    Subuid {
        newuidmap: PathBuf,
        newgidmap: PathBuf,
        uids: Vec<Range>,
        gids: Vec<Range>,
    },
    /// With the reason why the other mode is not possible.
    Single(String),
}

impl Plan {
    fn mode(&self) -> IdMode {
        match self {
            Self::Subuid { .. } => IdMode::Subuid,
            Self::Single(_) => IdMode::SingleUid,
        }
    }
}

/// Decides between subordinate ids and one's own id only.
pub(super) fn plan() -> Plan {
    if std::env::var_os("WARPDRIVE_ID_MODE").is_some_and(|mode| mode == "single") {
        return Plan::Single("WARPDRIVE_ID_MODE=single".to_owned());
    }
    let (Some(map_users), Some(map_groups)) =
        (find_program("newuidmap"), find_program("newgidmap"))
    else {
        return Plan::Single(
            "newuidmap and newgidmap are not installed (package uidmap or shadow-utils)".to_owned(),
        );
    };
    let uid = rustix::process::getuid().as_raw();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let name = user_name(&read("/etc/passwd"), uid);
    let users = subordinate(&read("/etc/subuid"), name.as_deref(), uid);
    let groups = subordinate(&read("/etc/subgid"), name.as_deref(), uid);
    let missing = match (enough(&users), enough(&groups)) {
        (true, true) => {
            return Plan::Subuid {
                newuidmap: map_users,
                newgidmap: map_groups,
                uids: users,
                gids: groups,
            };
        }
        (false, _) => "/etc/subuid",
        _ => "/etc/subgid",
    };
    let who = name.unwrap_or_else(|| uid.to_string());
    Plan::Single(format!(
        "{missing} gives {who} no range of subordinate ids (an administrator can: {})",
        give_ids(&who)
    ))
}

/// The command with which an administrator gives a user a range of subordinate ids.
pub fn give_ids(user: &str) -> String {
    format!("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}")
}

/// Subordinate ids: the first one and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u32,
    pub(super) count: u32,
}

/// 1001 has to be among them.
fn enough(ranges: &[Range]) -> bool {
    ranges
        .iter()
        .map(|range| u64::from(range.count))
        .sum::<u64>()
        >= u64::from(APP_UID)
}

/// The ranges of a user in `/etc/subuid` (subuid(5)), by name or by number, 65,536 ids at most.
fn subordinate(text: &str, name: Option<&str>, uid: u32) -> Vec<Range> {
    let mut left = WANTED;
    let mut ranges = Vec::new();
    for line in text.lines() {
        let mut fields = line.trim().split(':');
        let (Some(owner), Some(first), Some(count)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if Some(owner) != name && owner.parse() != Ok(uid) {
            continue;
        }
        let (Ok(first), Ok(count)) = (first.parse::<u32>(), count.parse::<u64>()) else {
            continue;
        };
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(left);
        if first == 0 || count == 0 || first.checked_add(count).is_none() {
            continue;
        }
        left -= count;
        ranges.push(Range { first, count });
    }
    ranges
}

/// The arguments of newuidmap(1) after the process id: 0 is oneself, then the ranges.
pub(super) fn map_arguments(own: u32, ranges: &[Range]) -> Vec<String> {
    let mut arguments = vec!["0".to_owned(), own.to_string(), "1".to_owned()];
    let mut inside = 1;
    for range in ranges {
        arguments.extend([inside, range.first, range.count].map(|number| number.to_string()));
        inside += range.count;
    }
    arguments
}

/// The login name of a user id in passwd(5).
fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id = fields.nth(1)?;
        (id.parse() == Ok(uid) && !name.is_empty()).then(|| name.to_owned())
    })
}

/// Looks a program up in `PATH` and in the administrators' directories.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ranges_by_name_and_number() {
        let text = "# comment\nother:100000:65536\nme:200000:1000\n1000:300000:90000\n";
        for (name, uid, expected) in [
            (Some("other"), 5, vec![(100_000, 65_536)]),
            (Some("me"), 5, vec![(200_000, 1000)]),
            (Some("me"), 1000, vec![(200_000, 1000), (300_000, 64_536)]),
            (None, 1000, vec![(300_000, 65_536)]),
            (Some("nobody"), 7, vec![]),
        ] {
            let found: Vec<_> = subordinate(text, name, uid)
                .iter()
                .map(|range| (range.first, range.count))
                .collect();
            assert_eq!(found, expected, "{name:?} {uid}");
        }
    }

    #[test]
    fn damaged_lines_are_skipped() {
        for line in [
            "",
            ":",
            "me",
            "me:1",
            "me:x:1",
            "me:1:x",
            "me:0:65536",
            "me:5:0",
            "me:4294967295:65536",
            "me:-1:5",
            "me:99999999999:1",
        ] {
            assert_eq!(subordinate(line, Some("me"), 5), vec![], "{line:?}");
        }
        assert_eq!(
            subordinate("me:1:4294967296000", Some("me"), 5),
            vec![Range {
                first: 1,
                count: 65_536
            }]
        );
    }

    #[test]
    fn a_thousand_ids_are_not_enough_for_1001() {
        assert!(!enough(&[Range {
            first: 1,
            count: 1000
        }]));
        assert!(enough(&[
            Range {
                first: 1,
                count: 500
            },
            Range {
                first: 9000,
                count: 501
            }
        ]));
    }

    #[test]
    fn ranges_are_mapped_one_after_another() {
        let ranges = [
            Range {
                first: 100_000,
                count: 1000,
            },
            Range {
                first: 300_000,
                count: 50,
            },
        ];
        assert_eq!(
            map_arguments(7, &ranges).join(" "),
            "0 7 1 1 100000 1000 1001 300000 50"
        );
    }

    #[test]
    fn names_come_from_passwd() {
        let passwd = "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000).as_deref(), Some("me"));
        assert_eq!(user_name(passwd, 1), None);
        assert_eq!(user_name("broken\n:x:5", 5), None);
    }

    #[test]
    fn the_state_follows_from_capabilities_and_map() {
        const INITIAL: &str = "         0          0 4294967295\n";
        for (admin, root, map, expected) in [
            (true, true, INITIAL, State::Ready(IdMode::Root)),
            (false, true, INITIAL, State::Outside),
            (true, false, INITIAL, State::Outside),
            (false, false, INITIAL, State::Outside),
            (
                true,
                true,
                "0 1000 1\n1 100000 65536\n",
                State::Ready(IdMode::Subuid),
            ),
            (false, true, "0 1000 1\n1 100000 65536\n", State::Outside),
            (
                true,
                false,
                "1001 1000 1\n",
                State::Ready(IdMode::SingleUid),
            ),
            (true, true, "0 1000 1\n", State::Outside),
            (true, true, "", State::Outside),
        ] {
            assert_eq!(
                State::of(admin, root, map),
                expected,
                "{admin} {root} {map:?}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn files_of_any_content_are_read(text in "[\\PC\n:]{0,200}", uid: u32) {
            let ranges = subordinate(&text, Some("me"), uid);
            proptest::prop_assert!(ranges.iter().map(|range| range.count).sum::<u32>() <= WANTED);
            let _ = (map_arguments(uid, &ranges), user_name(&text, uid), State::of(true, true, &text));
        }

        #[test]
        fn ranges_of_any_size_are_read(first: u64, count: u64, again: u32) {
            let text = format!("me:{first}:{count}\nme:{again}:{count}\n");
            let ranges = subordinate(&text, Some("me"), 5);
            proptest::prop_assert!(ranges.iter().map(|range| range.count).sum::<u32>() <= WANTED);
            let _ = State::of(true, true, &format!("{first} 0 {count}"));
        }
    }
}
