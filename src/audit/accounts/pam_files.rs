//! What PAM's modules read in `/etc/security`: groups and capabilities that they give (group.conf(5),
//! `pam_cap`'s capability.conf), directories that they exchange (namespace.conf(5), limits.conf(5)).

use super::{joined, lines, lossy};

/// Groups of which distributions make every user of a desktop a member: they do not lead to root.
pub const HARMLESS_GROUPS: [&str; 12] = [
    "audio", "cdrom", "dialout", "dip", "floppy", "games", "netdev", "plugdev", "scanner", "tape",
    "users", "video",
];

/// Capabilities that do not lead to root; see `capability.rs`.
const HARMLESS_CAPABILITIES: [&str; 6] = [
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_raw",
    "cap_sys_time",
    "cap_syslog",
    "cap_wake_alarm",
];

/// A line that gives something, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    pub line: usize,
    pub what: String,
}

/// Modules differ about a backslash at the end of a line: lines are read by themselves and joined.
fn statements(bytes: &[u8]) -> Vec<(usize, String)> {
    let alone = lines(bytes).map(|(line, text)| {
        let text = lossy(text);
        let text = text.split('#').next().unwrap_or_default();
        (line, text.trim_end().trim_end_matches('\\').to_owned())
    });
    let mut statements: Vec<(usize, String)> = joined(bytes, true)
        .into_iter()
        .chain(alone)
        .map(|(line, text)| (line, text.trim().to_owned()))
        .filter(|(_, text)| !text.is_empty())
        .collect();
    statements.sort();
    statements.dedup();
    statements
}

/// Where `pam_faillock` keeps its files, if faillock.conf says so.
pub fn faillock_directories(bytes: &[u8]) -> Vec<Given> {
    statements(bytes)
        .into_iter()
        .filter_map(|(line, text)| {
            let (name, value) = text.split_once('=')?;
            (name.trim() == "dir").then(|| Given {
                line,
                what: value.trim().to_owned(),
            })
        })
        .collect()
}

/// Lines of group.conf with groups that may be as good as root. For whom and when they count is not read.
pub fn groups(bytes: &[u8]) -> Vec<Given> {
    statements(bytes)
        .into_iter()
        .filter_map(|(line, text)| {
            let groups = match text.split(';').nth(4) {
                Some(groups) => groups.to_owned(),
                // Not a line that the module understands.
                None => return None,
            };
            let is_harmless = groups
                .split([',', ' ', '\t'])
                .filter(|group| !group.is_empty())
                .all(|group| HARMLESS_GROUPS.contains(&group));
            (!is_harmless).then(|| Given {
                line,
                what: groups.trim().to_owned(),
            })
        })
        .collect()
}

/// Lines of capability.conf with capabilities that are as good as root.
pub fn capabilities(bytes: &[u8]) -> Vec<Given> {
    statements(bytes)
        .into_iter()
        .filter_map(|(line, text)| {
            let list = text.split_whitespace().next()?.to_ascii_lowercase();
            let is_harmless = list.split(',').all(|word| {
                // `!cap_x` takes it from the bounding set.
                let name = word.trim_start_matches('^');
                word.is_empty()
                    || word.starts_with('!')
                    || name == "none"
                    || HARMLESS_CAPABILITIES.contains(&name)
            });
            (!is_harmless).then_some(Given { line, what: list })
        })
        .collect()
}

/// Lines of namespace.conf: each puts another directory in a directory's place.
pub fn namespaces(bytes: &[u8]) -> Vec<Given> {
    statements(bytes)
        .into_iter()
        .map(|(line, what)| Given { line, what })
        .collect()
}

/// Lines of limits.conf that change the root directory (an addition of Debian's).
pub fn roots(bytes: &[u8]) -> Vec<Given> {
    statements(bytes)
        .into_iter()
        .filter(|(_, text)| text.split_whitespace().nth(2) == Some("chroot"))
        .map(|(line, what)| Given { line, what })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn groups_that_may_be_root() {
        for (text, expected) in [
            ("su;*;app;Al0000-2400;sudo\n", &["sudo"][..]),
            (
                "su; *; app; Al0000-2400; \\\n sudo, audio\n",
                &["sudo, audio"],
            ),
            ("xsh; tty* ;%admin;Al0000-2400;plugdev\n", &[]),
            ("login;*;*;Al0900-1800;floppy, audio\n", &[]),
            ("#su;*;app;Al0000-2400;sudo\n", &[]),
            ("", &[]),
        ] {
            let found: Vec<String> = groups(text.as_bytes())
                .into_iter()
                .map(|it| it.what)
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn capabilities_that_are_root() {
        for (text, found) in [
            ("^cap_setuid app\n", true),
            ("cap_setuid,cap_net_raw\tapp\n", true),
            ("^all *\n", true),
            ("CAP_SETUID app\n", true),
            ("none  *\n", false),
            ("!cap_setuid,^cap_net_raw app\n", false),
            ("#^cap_setuid app\n", false),
        ] {
            assert_eq!(!capabilities(text.as_bytes()).is_empty(), found, "{text}");
        }
    }

    #[test]
    fn directories_in_the_place_of_others() {
        assert_eq!(namespaces(b"#/tmp /tmp-inst/ level root\n"), []);
        assert_eq!(namespaces(b"/etc /opt/ user root\n").len(), 1);
        assert_eq!(roots(b"#app - chroot /opt\n* soft core 0\n"), []);
        assert_eq!(roots(b"app - chroot /opt\n").len(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (groups(&bytes), capabilities(&bytes), namespaces(&bytes), roots(&bytes));
        }
    }
}
