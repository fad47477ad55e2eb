//! File capabilities: the value of the `security.capability` attribute (`linux/capability.h`,
//! `struct vfs_ns_cap_data`; capabilities(7), "File capability extended attribute versioning").

/// The capabilities that a file gives to the user who runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Capability {
    /// Permitted or inheritable, one bit per capability.
    pub bits: u64,
    /// A value that the kernel refuses.
    pub malformed: bool,
}

/// Capabilities that are as good as root, or a step away from it.
const DANGEROUS: u64 = !(bit(10) | bit(11) | bit(13) | bit(25) | bit(34) | bit(35));

/// By number, from `linux/capability.h`.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

const fn bit(number: u32) -> u64 {
    1 << number
}

impl Capability {
    /// Whether a user with these capabilities is root or can become root.
    pub fn is_dangerous(self) -> bool {
        self.malformed || self.bits & DANGEROUS != 0
    }

    /// `cap_net_raw, cap_setuid`.
    pub fn words(self) -> String {
        if self.malformed {
            return "a malformed value".into();
        }
        let mut words = Vec::new();
        for number in 0..64_u32 {
            if self.bits & bit(number) != 0 {
                words.push(match NAMES.get(number as usize) {
                    Some(name) => format!("cap_{name}"),
                    None => format!("capability {number}"),
                });
            }
        }
        words.join(", ")
    }
}

/// Reads the attribute's value. `None` if it gives no capability.
pub fn parse(value: &[u8]) -> Option<Capability> {
    let malformed = Some(Capability {
        bits: 0,
        malformed: true,
    });
    let word = |index: usize| -> Option<u64> {
        let bytes = value.get(index * 4..index * 4 + 4)?;
        Some(u64::from(u32::from_le_bytes(bytes.try_into().ok()?)))
    };
    let Some(magic) = word(0) else {
        return malformed;
    };
    // The revision says how many 32-bit words of permitted and inheritable bits follow.
    let (pairs, length) = match magic & 0xff00_0000 {
        0x0100_0000 => (1, 12),
        0x0200_0000 => (2, 20),
        0x0300_0000 => (2, 24),
        _ => return malformed,
    };
    if value.len() != length {
        return malformed;
    }
    let mut bits = 0;
    for pair in 0..pairs {
        let permitted = word(1 + pair * 2).unwrap_or(0);
        let inheritable = word(2 + pair * 2).unwrap_or(0);
        bits |= (permitted | inheritable) << (32 * pair);
    }
    (bits != 0).then_some(Capability {
        bits,
        malformed: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As `setcap` writes it.
    fn v2(permitted: u64, inheritable: u64) -> Vec<u8> {
        let mut value = 0x0200_0001_u32.to_le_bytes().to_vec();
        for shift in [0, 32] {
            for bits in [permitted, inheritable] {
                #[expect(clippy::cast_possible_truncation)]
                value.extend(((bits >> shift) as u32).to_le_bytes());
            }
        }
        value
    }

    #[test]
    fn values_as_setcap_writes_them() {
        let raw = parse(&v2(bit(13), 0)).unwrap();
        assert_eq!(raw.words(), "cap_net_raw");
        assert!(!raw.is_dangerous());
        let setuid = parse(&v2(bit(7), 0)).unwrap();
        assert_eq!(setuid.words(), "cap_setuid");
        assert!(setuid.is_dangerous());
        let high = parse(&v2(bit(40), bit(63))).unwrap();
        assert_eq!(high.words(), "cap_checkpoint_restore, capability 63");
        assert!(high.is_dangerous());
        assert_eq!(parse(&v2(0, 0)), None);
        let mut v3 = v2(bit(21), 0);
        v3[3] = 3;
        v3.extend([0; 4]);
        assert_eq!(parse(&v3).unwrap().words(), "cap_sys_admin");
    }

    #[test]
    fn what_is_no_such_value_is_taken_for_the_worst() {
        for value in [
            &b""[..],
            b"abc",
            b"\0\0\0\x09aaaaaaaaaaaaaaaa",
            &v2(1, 1)[..19],
        ] {
            assert!(parse(value).unwrap().is_dangerous(), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(value in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(capability) = parse(&value) {
                prop_assert!(!capability.words().is_empty());
            }
        }
    }
}
