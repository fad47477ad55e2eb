//! POSIX access control lists: the value of the `system.posix_acl_access` attribute
//! (`linux/posix_acl_xattr.h`; acl(5)). Container engines set it exactly as the layer has it.

use serde::{Deserialize, Serialize};

/// The attribute's name.
pub(super) const ATTRIBUTE: &str = "system.posix_acl_access";

/// The same for new files in a directory.
pub(super) const OF_NEW_FILES: &str = "system.posix_acl_default";

/// The users who may write by the list, after applying the mask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Acl {
    /// Named users.
    pub(super) users: Vec<u32>,
    /// Named groups.
    pub(super) groups: Vec<u32>,
    /// The file's own group.
    pub(super) own_group: bool,
    pub(super) everybody: bool,
}

impl Acl {
    /// All users that may write by one of two lists.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.users.extend(other.users);
        self.groups.extend(other.groups);
        self.own_group |= other.own_group;
        self.everybody |= other.everybody;
        self
    }
}

const WRITE: u16 = 2;

/// Reads the attribute's value. `None` if only the owner may write, or if the kernel refuses the
/// value.
pub(super) fn parse(value: &[u8]) -> Option<Acl> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != 2 || !entries.len().is_multiple_of(8) {
        return None;
    }
    let entries: Vec<(u16, u16, u32)> = entries
        .as_chunks::<8>()
        .0
        .iter()
        .map(|[a, b, c, d, id @ ..]| {
            (
                u16::from_le_bytes([*a, *b]),
                u16::from_le_bytes([*c, *d]),
                u32::from_le_bytes(*id),
            )
        })
        .collect();
    let mask = entries
        .iter()
        .find(|(tag, ..)| *tag == 0x10)
        .is_none_or(|(_, permissions, _)| permissions & WRITE != 0);
    let mut acl = Acl::default();
    for (tag, permissions, id) in entries {
        let writes = permissions & WRITE != 0;
        match tag {
            0x02 if writes && mask => acl.users.push(id),
            0x04 if writes && mask => acl.own_group = true,
            0x08 if writes && mask => acl.groups.push(id),
            0x20 if writes => acl.everybody = true,
            _ => {}
        }
    }
    (acl != Acl::default()).then_some(acl)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut value = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        value
    }

    #[test]
    fn lists_as_setfacl_writes_them() {
        let entries = |user: u16, mask: u16, other: u16| {
            list(&[
                (0x01, 6, u32::MAX),
                (0x02, user, 1001),
                (0x04, 4, u32::MAX),
                (0x10, mask, u32::MAX),
                (0x20, other, u32::MAX),
            ])
        };
        let acl = parse(&entries(6, 6, 4)).unwrap();
        assert_eq!((acl.users, acl.everybody), (vec![1001], false));
        assert_eq!(parse(&entries(6, 4, 4)), None, "the mask takes it away");
        assert_eq!(parse(&entries(4, 6, 4)), None);
        assert!(parse(&entries(4, 4, 6)).unwrap().everybody);
        assert_eq!(parse(b""), None);
        assert_eq!(parse(&entries(6, 6, 6)[..30]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(value in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&value);
        }
    }
}
