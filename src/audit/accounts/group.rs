//! `/etc/group` (group(5)).

use super::{Id, lines, lossy};

/// One line of group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub line: usize,
    pub name: String,
    pub gid: Id,
    pub members: Vec<String>,
}

/// Groups whose members are root, or can become it (docker.sock, raw disks, the passwords' hashes,
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
            let gid = fields.nth(1)?;
            let members = fields.next().unwrap_or_default();
            Some(Group {
                line,
                name: lossy(name),
                gid: Id::parse(gid),
                members: members
                    .split(|&byte| byte == b',')
                    .map(|member| lossy(member.trim_ascii()))
                    .filter(|member| !member.is_empty())
                    .collect(),
            })
        })
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

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }
    }
}
