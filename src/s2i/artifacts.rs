//! What `save-artifacts` prints: a tar of files that the next build may reuse. A previous image is as
//! hostile as any other: each member is checked before a file is made from it.

use std::io::Read;
use std::path::{Component, Path};

use crate::layer::{self, ApplyOptions, LayerError, Member, MemberKind, WHITEOUT_PREFIX};

/// Most bytes of the stream (64 GiB) and most members.
const MAX_BYTES: u64 = 64 << 30;
const MAX_MEMBERS: u64 = 500_000;

/// Unpacks artifacts into an existing, empty directory; returns the number of members. After an
/// error, the directory is half full: remove it.
pub fn unpack(tar: impl Read, directory: &Path) -> Result<u64, LayerError> {
    let options = ApplyOptions {
        ownership: false,
        userxattr: false,
        devices: false,
        max_bytes: MAX_BYTES,
        max_entries: MAX_MEMBERS,
        ..ApplyOptions::default()
    };
    let applied = layer::apply_checked(tar, directory, &options, &mut check, true)?;
    Ok(applied.entries)
}

/// Refuses everything except plain files, directories and links within the tree.
fn check(member: &Member) -> Result<(), String> {
    if member.path.is_absolute() {
        return Err("its name is absolute".into());
    }
    let names_deletion = |path: &Path| {
        path.components().any(|component| match component {
            Component::Normal(name) => name
                .as_encoded_bytes()
                .starts_with(WHITEOUT_PREFIX.as_bytes()),
            _ => false,
        })
    };
    if names_deletion(&member.path) {
        return Err("its name means a deletion in a layer".into());
    }
    match &member.kind {
        MemberKind::Symlink(target) => link(&member.path, target),
        MemberKind::HardLink(target) if target.is_absolute() => Err(format!(
            "it is a hard link to {}, out of the tree",
            target.display()
        )),
        MemberKind::File | MemberKind::Directory | MemberKind::HardLink(_) => Ok(()),
        MemberKind::Fifo => Err("it is a pipe".into()),
        MemberKind::CharDevice { .. } | MemberKind::BlockDevice { .. } => {
            Err("it is a device".into())
        }
    }
}

/// Refuses a symbolic link that leads out of the tree, even through other links.
fn link(path: &Path, target: &Path) -> Result<(), String> {
    let out = || {
        let shown: String = target
            .to_string_lossy()
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        Err(format!("it is a link to {shown}, out of the tree"))
    };
    if target.is_absolute() {
        return out();
    }
    let mut depth = path
        .components()
        .filter(|component| matches!(component, Component::Normal(_)))
        .count()
        .saturating_sub(1);
    for component in target.components() {
        match component {
            Component::ParentDir if depth == 0 => return out(),
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::PathBuf;

    fn archive(add: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        add(&mut builder);
        builder.into_inner().unwrap()
    }

    fn entry(kind: tar::EntryType, path: &str, link: &str, content: &[u8]) -> Vec<u8> {
        archive(|tar| {
            let mut header = tar::Header::new_ustar();
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
            header.set_entry_type(kind);
            header.set_mode(0o6755);
            header.set_size(content.len() as u64);
            header.set_device_major(8).unwrap();
            header.set_device_minor(0).unwrap();
            header.set_cksum();
            tar.append(&header, content).unwrap();
        })
    }

    fn refused(tar: &[u8]) -> String {
        let place = tempfile::tempdir().unwrap();
        unpack(tar, place.path()).unwrap_err().to_string()
    }

    #[test]
    fn each_hostile_member_has_its_own_message() {
        use tar::EntryType as T;
        for (kind, path, link, part) in [
            (T::Regular, "a/../../b", "", "`..`"),
            (T::Regular, "/etc/passwd", "", "absolute"),
            (T::Symlink, "a", "/etc", "a link to /etc, out of the tree"),
            (T::Symlink, "a/b", "../../x", "out of the tree"),
            (T::Link, "a", "/etc/passwd", "hard link to /etc/passwd, out"),
            (T::Link, "a", "b", "does not have before it"),
            (T::Char, "a", "", "a device"),
            (T::Block, "a", "", "a device"),
            (T::Fifo, "a", "", "a pipe"),
            (T::Regular, "a/.wh.b", "", "a deletion"),
        ] {
            let error = refused(&entry(kind, path, link, b""));
            assert!(error.contains(part), "{path} {link}: {error}");
        }
        let mut sparse = tar::Header::new_gnu();
        sparse.set_path("a").unwrap();
        sparse.set_size(1 << 40);
        sparse.set_entry_type(T::Regular);
        sparse.set_cksum();
        let error = refused(sparse.as_bytes());
        assert!(error.contains("ends in the middle"), "{error}");
        sparse.set_entry_type(T::GNUSparse);
        sparse.set_cksum();
        assert!(
            refused(sparse.as_bytes()).contains("GNU sparse")
                || !refused(sparse.as_bytes()).is_empty()
        );
    }

    #[test]
    fn what_is_cut_or_noisy_is_refused_and_padding_is_not() {
        let whole = entry(tar::EntryType::Regular, "a", "", b"content");
        let place = tempfile::tempdir().unwrap();
        let mut padded = whole.clone();
        padded.extend([0; 10_240]);
        assert_eq!(unpack(&padded[..], place.path()).unwrap(), 1);
        assert_eq!(std::fs::read(place.path().join("a")).unwrap(), b"content");
        for cut in [300, 512, 515, 1024] {
            assert!(!refused(&whole[..cut]).is_empty(), "{cut}");
        }
        let noisy = [b"Saving artifacts...\n", &whole[..]].concat();
        assert!(refused(&noisy).contains("checksum"));
        assert_eq!(
            unpack(&b""[..], tempfile::tempdir().unwrap().path()).unwrap(),
            0
        );
    }

    proptest! {
        #[test]
        fn no_link_climbs(path in "[a-c/.]{1,12}", target in "[a-c/.]{1,12}") {
            if link(Path::new(&path), Path::new(&target)).is_ok() {
                let mut led: Vec<PathBuf> = Vec::new();
                let parent = Path::new(&path).parent().unwrap_or(Path::new("")).to_owned();
                for part in parent.join(&target).components() {
                    match part {
                        Component::ParentDir => { let _ = led.pop(); }
                        Component::Normal(name) => led.push(name.into()),
                        _ => {}
                    }
                }
                prop_assert!(!Path::new(&target).is_absolute());
            }
        }
    }
}
