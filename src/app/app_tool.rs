//! The executable that lies at `/opt/app-root/bin/warpdrive` in every image, as `build.rs` has made
//! it and the host tool carries it.

use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

/// The executable.
pub fn bytes() -> &'static [u8] {
    include_bytes!(env!("WARPDRIVE_APP_TOOL_PATH"))
}

/// Its SHA-256 in lower-case hexadecimal.
pub fn sha256_hex() -> &'static str {
    static DIGEST: OnceLock<String> = OnceLock::new();
    DIGEST.get_or_init(|| {
        Sha256::digest(bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    })
}
