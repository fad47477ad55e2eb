//! Writes the header blocks of a member: ustar, with PAX records only where ustar has no room.
//!
//! No user or group names, no times but the modification time, no sparse files, no GNU extensions:
//! one member gives the same bytes everywhere.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use tar::{EntryType, Header};

use super::member::{Member, MemberKind};
use super::pax;
use super::reader::BLOCK;

/// Largest values of ustar's octal fields.
const MAX_OCTAL_7: u64 = 0o7_777_777;
const MAX_OCTAL_11: u64 = 0o77_777_777_777;

/// Writes what stands before a member's content.
pub(super) fn write_header(out: &mut impl Write, member: &Member) -> io::Result<()> {
    let mut records = Vec::new();
    let mut path = member.path.as_os_str().as_bytes().to_vec();
    if member.kind == MemberKind::Directory && !path.ends_with(b"/") {
        path.push(b'/');
    }
    let (flag, link) = match &member.kind {
        MemberKind::File => (EntryType::Regular, None),
        MemberKind::Directory => (EntryType::Directory, None),
        MemberKind::Symlink(target) => (EntryType::Symlink, Some(target)),
        MemberKind::HardLink(target) => (EntryType::Link, Some(target)),
        MemberKind::Fifo => (EntryType::Fifo, None),
        MemberKind::CharDevice { .. } => (EntryType::Char, None),
        MemberKind::BlockDevice { .. } => (EntryType::Block, None),
    };
    let mut header = Header::new_ustar();
    header.set_entry_type(flag);
    header.set_mode(member.mode & 0o7777);

    if u64::from(member.gid) <= MAX_OCTAL_7 {
        header.set_gid(member.gid.into());
    } else {
        pax::push(&mut records, b"gid", member.gid.to_string().as_bytes());
        header.set_gid(0);
    }
    if let Some(target) = link {
        let target = target.as_os_str().as_bytes();
        let field = &mut header.as_old_mut().linkname;
        if target.len() <= field.len() {
            field[..target.len()].copy_from_slice(target);
        } else {
            let room = field.len();
            field.copy_from_slice(&target[..room]);
            pax::push(&mut records, b"linkpath", target);
        }
    }
    match u64::try_from(member.mtime) {
        Ok(mtime) if mtime <= MAX_OCTAL_11 => header.set_mtime(mtime),
        _ => {
            pax::push(&mut records, b"mtime", member.mtime.to_string().as_bytes());
            header.set_mtime(0);
        }
    }
    if !set_path(&mut header, &path) {
        pax::push(&mut records, b"path", &path);
    }
    for (name, value) in &member.xattrs {
        let key = [b"SCHILY.xattr.", name.as_bytes()].concat();
        pax::push(&mut records, &key, value);
    }
    if member.size <= MAX_OCTAL_11 {
        header.set_size(member.size);
    } else {
        pax::push(&mut records, b"size", member.size.to_string().as_bytes());
        header.set_size(0);
    }
    if u64::from(member.uid) <= MAX_OCTAL_7 {
        header.set_uid(member.uid.into());
    } else {
        pax::push(&mut records, b"uid", member.uid.to_string().as_bytes());
        header.set_uid(0);
    }
    if let MemberKind::CharDevice { major, minor } | MemberKind::BlockDevice { major, minor } =
        member.kind
    {
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
    }
    header.set_cksum();

    if !records.is_empty() {
        write_records(out, &path, &records)?;
    }
    out.write_all(header.as_bytes())
}

/// Zeros up to the next block.
pub(super) fn write_padding(out: &mut impl Write, size: u64) -> io::Result<()> {
    let used = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if used > 0 {
        out.write_all(&[0; BLOCK][used..])?;
    }
    Ok(())
}

/// The two zero blocks that end an archive.
pub(super) fn write_end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

fn write_records(out: &mut impl Write, path: &[u8], records: &[u8]) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(records.len() as u64);
    // Readers that know no PAX make a file of this name.
    let name = std::path::Path::new(OsStr::from_bytes(path))
        .file_name()
        .unwrap_or_default();
    let name = [b"PaxHeaders.0/", name.as_bytes()].concat();
    let field = &mut header.as_old_mut().name;
    let length = name.len().min(field.len());
    field[..length].copy_from_slice(&name[..length]);
    header.set_cksum();
    out.write_all(header.as_bytes())?;
    out.write_all(records)?;
    write_padding(out, records.len() as u64)
}

/// Puts a path into the name field, or splits it at a slash into prefix and name. False if neither
/// has room; then the name field has the path's beginning.
fn set_path(header: &mut Header, path: &[u8]) -> bool {
    let Some(ustar) = header.as_ustar_mut() else {
        return false;
    };
    let room = ustar.name.len();
    if path.len() <= room {
        ustar.name[..path.len()].copy_from_slice(path);
        return true;
    }
    let split = path
        .iter()
        .enumerate()
        .filter(|&(_, &byte)| byte == b'/')
        .map(|(index, _)| index)
        .find(|&index| path.len() - index - 1 <= room);
    match split {
        // The name must not be empty: a directory's final slash is not a place to split.
        Some(index) if index > 0 && index <= ustar.prefix.len() && index + 1 < path.len() => {
            ustar.prefix[..index].copy_from_slice(&path[..index]);
            let name = &path[index + 1..];
            ustar.name[..name.len()].copy_from_slice(name);
            true
        }
        _ => {
            ustar.name.copy_from_slice(&path[..room]);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::layer::{Limits, TarReader};

    fn member(path: &str, kind: MemberKind) -> Member {
        Member {
            path: path.into(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 0,
            nanos: 0,
            size: 0,
            xattrs: BTreeMap::new(),
        }
    }

    #[test]
    fn what_is_written_is_read_and_pax_is_the_exception() {
        let file = |path: &str| member(path, MemberKind::File);
        let mut big = file("big");
        big.size = 1 << 40;
        let mut ids = file("ids");
        (ids.uid, ids.gid) = (3_000_000, 4_000_000_000);
        let mut old = file("old");
        old.mtime = -5;
        let mut attributes = file("x");
        attributes
            .xattrs
            .insert("user.a".into(), b"\0\xff\n=".to_vec());
        for (member, blocks) in [
            (file("a"), 1),
            (file("ä/ö"), 1),
            (file(&"n".repeat(100)), 1),
            (file(&"n".repeat(101)), 3),
            (file(&format!("{}/{}", "d".repeat(155), "n".repeat(100))), 1),
            (file(&format!("{}/{}", "d".repeat(156), "n".repeat(100))), 3),
            (file(&format!("{}/{}", "d".repeat(10), "n".repeat(101))), 3),
            (member("dir", MemberKind::Directory), 1),
            (member(&"d".repeat(100), MemberKind::Directory), 3),
            (member("l", MemberKind::Symlink("t".repeat(100).into())), 1),
            (member("l", MemberKind::Symlink("t".repeat(101).into())), 3),
            (member("h", MemberKind::HardLink("a".into())), 1),
            (member("p", MemberKind::Fifo), 1),
            (
                member("c", MemberKind::CharDevice { major: 1, minor: 3 }),
                1,
            ),
            (big, 3),
            (ids, 3),
            (old, 3),
            (attributes, 3),
        ] {
            let mut bytes = Vec::new();
            write_header(&mut bytes, &member).unwrap();
            assert_eq!(bytes.len(), blocks * BLOCK, "{member:?}");
            let mut read = TarReader::new(&bytes[..], Limits::default())
                .next_member()
                .unwrap()
                .unwrap();
            if read.kind == MemberKind::Directory {
                let text = read.path.to_str().unwrap().trim_end_matches('/').to_owned();
                read.path = PathBuf::from(text);
            }
            assert_eq!(read, member);
        }
    }
}
