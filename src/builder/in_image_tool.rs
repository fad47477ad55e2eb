//! The in-image tool, as the host tool carries it.

use std::fmt::Write as _;
use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

/// The static executable for `/opt/app-root/bin/warpdrive` in every image. `build.rs` compiles
/// it, or takes the file that `WARPDRIVE_APP_TOOL` names.
pub(super) static BYTES: &[u8] = include_bytes!(env!("WARPDRIVE_APP_TOOL_PATH"));

/// Its SHA-256 in hexadecimal.
pub(super) static SHA256: LazyLock<String> = LazyLock::new(|| {
    Sha256::digest(BYTES)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
});
