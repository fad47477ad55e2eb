//! What a tar header says.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// One member of an archive, its content apart. Paths are as the archive has them: not yet safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub path: PathBuf,
    pub kind: MemberKind,
    /// Permission bits, `07777` at most.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970, rounded down, and the rest in nanoseconds.
    pub mtime: i64,
    pub nanos: u32,
    /// Bytes of content; 0 for all but files.
    pub size: u64,
    /// From `SCHILY.xattr.*` records, all of them: also those that [`super::apply`] drops.
    pub xattrs: BTreeMap<OsString, Vec<u8>>,
}

/// The types of members that occur in layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    File,
    Directory,
    Symlink(PathBuf),
    HardLink(PathBuf),
    Fifo,
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
}
