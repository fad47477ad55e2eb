//! How much of an incoming layer is believed.

/// Longest path or link target, in bytes (Linux's `PATH_MAX` counts the final NUL).
pub(super) const MAX_PATH: usize = 4095;

/// Longest single name in a path, in bytes (`NAME_MAX`).
pub(super) const MAX_NAME: usize = 255;

/// Largest extension header (PAX records, GNU long names): they are held in memory.
pub(super) const MAX_EXTENSION: u64 = 1024 * 1024;

/// Largest value of one extended attribute (`XATTR_SIZE_MAX`).
pub(super) const MAX_XATTR: usize = 64 * 1024;

/// Most extended attributes of one entry.
pub(super) const MAX_XATTRS: usize = 256;

/// Limits upon a whole archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the uncompressed stream, headers and padding included.
    pub max_bytes: u64,
    /// Headers of any kind.
    pub max_entries: u64,
}

impl Default for Limits {
    /// 64 GiB and four million headers: more than any sane layer, less than a full disk of inodes.
    fn default() -> Self {
        Self {
            max_bytes: 64 << 30,
            max_entries: 4_000_000,
        }
    }
}
