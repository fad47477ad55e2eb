//! `/etc/group` (group(5)) and `/etc/gshadow` (gshadow(5)).

use super::shadow::{Password, judge};
use super::{Id, lines, lossy};

/// One line of group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub line: usize,
    pub name: String,
    pub gid: Id,
    pub members: Vec<String>,
    /// With this password, `newgrp` accepts users who are not members; if gshadow has the group, its
    /// password counts.
    pub password: Password,
}

/// One line of gshadow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    pub name: String,
    pub password: Password,
    /// The users who may add members (`gpasswd -a`).
    pub administrators: Vec<String>,
    pub members: Vec<String>,
}

/// Groups whose members are root or can become root (docker.sock, raw disks, the passwords' hashes,
/// sudo's and doas's usual rules).
pub const PRIVILEGED: [&str; 9] = [
    "adm", "disk", "docker", "kmem", "lxd", "podman", "shadow", "sudo", "wheel",
];

/// Reads the file; lines without a gid are left out.
pub fn parse(bytes: &[u8]) -> Vec<Group> {
    lines(bytes)
        .filter_map(|(line, text)| {
            let mut fields = text.split(|&byte| byte == b':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            let password = fields.next()?;
            let gid = fields.next()?;
            let members = fields.next().unwrap_or_default();
            Some(Group {
                line,
                name: lossy(name),
                gid: Id::parse(gid),
                members: names(members),
                password: judge(password),
            })
        })
        .collect()
}

/// Reads `/etc/gshadow`.
pub fn parse_shadow(bytes: &[u8]) -> Vec<Secret> {
    lines(bytes)
        .filter_map(|(_, text)| {
            let mut fields = text.split(|&byte| byte == b':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            let password = fields.next()?;
            Some(Secret {
                name: lossy(name),
                password: judge(password),
                administrators: names(fields.next().unwrap_or_default()),
                members: names(fields.next().unwrap_or_default()),
            })
        })
        .collect()
}

fn names(list: &[u8]) -> Vec<String> {
    list.split(|&byte| byte == b',')
        .map(|name| lossy(name.trim_ascii()))
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_all_kinds() {
        let groups = parse(b"root:x:0:\nsudo:x:27:app, ops,\nno gid\n:x:1:\nodd:x:x:a\n");
        let read: Vec<(&str, usize)> = groups
            .iter()
            .map(|group| (group.name.as_str(), group.members.len()))
            .collect();
        assert_eq!(read, [("root", 0), ("sudo", 2), ("odd", 1)]);
        assert_eq!(groups[1].members, ["app", "ops"]);
        assert!(groups[2].gid.may_be(0));
    }

    #[test]
    fn lines_of_gshadow() {
        let read = parse_shadow(b"root:*::\nsudo:$6$salt$hash:app,ops:x, y\nbare:!\nno password\n");
        assert_eq!(read.len(), 3);
        assert_eq!(read[1].password, Password::Usable);
        assert_eq!(read[1].administrators, ["app", "ops"]);
        assert_eq!(read[1].members, ["x", "y"]);
        assert_eq!(read[2].password, Password::Locked);
        assert!(read[2].members.is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
            let _ = parse_shadow(&bytes);
        }
    }
}
