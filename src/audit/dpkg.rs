//! What dpkg's database says about the content of files (`/var/lib/dpkg/info/*.md5sums`, and
//! `status.d/*.md5sums` in distroless images).
//!
//! MD5 is what dpkg records. It is not proof against an attacker who made both the package and
//! the file, and a database can be forged like any file. So a match never makes an unknown setuid
//! program harmless; it only tells a *known* program from a replaced one.

use super::shipped_setuid;

/// The MD5 of a file's content.
pub type Md5 = [u8; 16];

/// Whether a path is one of the database's lists of digests.
pub(super) fn is_md5sums(path: &[u8]) -> bool {
    path.ends_with(b".md5sums")
        && [&b"var/lib/dpkg/info/"[..], b"var/lib/dpkg/status.d/"]
            .iter()
            .any(|directory| path.starts_with(directory))
}

/// Brings a path into the form it has whether or not `/bin` and `/lib` are links to those in `/usr`.
pub(super) fn without_usr(path: &[u8]) -> &[u8] {
    let Some(rest) = path.strip_prefix(b"usr/") else {
        return path;
    };
    let merged = [
        &b"bin/"[..],
        b"sbin/",
        b"lib/",
        b"lib32/",
        b"lib64/",
        b"libx32/",
    ];
    if merged.iter().any(|directory| rest.starts_with(directory)) {
        rest
    } else {
        path
    }
}

/// Whether the database's digest of the file matters.
pub(super) fn is_verified(path: &[u8]) -> bool {
    let name = without_usr(path);
    shipped_setuid::is_privileged(name)
        || shipped_setuid::is_helper(name)
        || shipped_setuid::is_library(path)
        || shipped_setuid::is_conversion_list(path)
}

/// The lines about known privileged programs and about libraries: path (see `without_usr`) and digest.
/// All others are dropped, so that a hundred thousand lines take no memory.
pub fn parse(bytes: &[u8]) -> Vec<(Vec<u8>, Md5)> {
    bytes
        .split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let (digest, rest) = line.split_at_checked(32)?;
            let path = rest
                .strip_prefix(b"  ")
                .or_else(|| rest.strip_prefix(b" *"))?;
            let path = path.strip_prefix(b"./").unwrap_or(path);
            is_verified(path).then_some(())?;
            let path = without_usr(path);
            Some((path.to_vec(), from_hex(digest)?))
        })
        .collect()
}

fn from_hex(text: &[u8]) -> Option<Md5> {
    let mut digest = [0; 16];
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_as_packages_have_them() {
        let list = b"d41d8cd98f00b204e9800998ecf8427e  usr/bin/passwd\n\
            d41d8cd98f00b204e9800998ecf8427e  bin/su\n\
            d41d8cd98f00b204e9800998ecf8427e  usr/share/doc/x\n\
            d41d8cd98f00b204e9800998ecf842  usr/bin/mount\n\
            x41d8cd98f00b204e9800998ecf8427e  usr/bin/umount\n\
            \nshort\n";
        let read = parse(list);
        let paths: Vec<&[u8]> = read.iter().map(|(path, _)| path.as_slice()).collect();
        assert_eq!(paths, [&b"bin/passwd"[..], b"bin/su"]);
        assert_eq!(read[0].1[..2], [0xd4, 0x1d]);
    }

    #[test]
    fn paths_with_and_without_usr_are_one() {
        for (path, expected) in [
            ("usr/bin/su", "bin/su"),
            ("bin/su", "bin/su"),
            ("usr/lib/openssh/ssh-keysign", "lib/openssh/ssh-keysign"),
            ("usr/local/bin/su", "usr/local/bin/su"),
            ("usr/binary/su", "usr/binary/su"),
        ] {
            assert_eq!(without_usr(path.as_bytes()), expected.as_bytes());
        }
        assert!(is_md5sums(b"var/lib/dpkg/info/libc6:amd64.md5sums"));
        assert!(!is_md5sums(b"opt/info/libc6.md5sums"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }
    }
}
