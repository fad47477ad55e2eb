//! How a layer is unpacked.

use super::Limits;

/// How a layer is unpacked.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions {
    /// Entries get the owners that the layer names. Without it (one id only, no root) all belongs
    /// to the caller, who is not above the modes then: so that the trees stay usable and removable,
    /// directories get `u+rwx` and files `u+r` on top of their modes, and file capabilities are
    /// left out.
    pub ownership: bool,
    /// Opaque marks are `user.overlay.opaque`, for mounts with `userxattr` in a user namespace,
    /// instead of `trusted.overlay.opaque`, which only root may set.
    pub userxattr: bool,
    /// Device nodes are made; otherwise they are skipped and reported.
    pub devices: bool,
    /// Limits on the uncompressed stream: bytes, headers and padding included, and headers.
    pub max_bytes: u64,
    pub max_entries: u64,
    /// Bytes that stay free on the file system: unpacking ends before.
    pub reserve: u64,
    /// Whether the process was asked to end; asked at every block.
    pub interrupted: fn() -> bool,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            ownership: true,
            userxattr: false,
            devices: true,
            max_bytes: limits.max_bytes,
            max_entries: limits.max_entries,
            reserve: 0,
            interrupted: || false,
        }
    }
}
