//! The in-image executable and the S2I scripts, as the host tool carries them.

use std::fmt::Write as _;
use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

/// The static executable that lies at `/opt/app-root/bin/warpdrive` in every image. `build.rs`
/// compiles it, or takes the file that `WARPDRIVE_APP_TOOL` names.
pub static BYTES: &[u8] = include_bytes!(env!("WARPDRIVE_APP_TOOL_PATH"));

/// Its SHA-256 in hexadecimal.
pub static SHA256: LazyLock<String> = LazyLock::new(|| {
    Sha256::digest(BYTES)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
});

/// `/opt/app-root/s2i/bin`: names and contents, all executable.
pub static S2I_SCRIPTS: &[(&str, &str)] = &[
    ("assemble", include_str!("../../s2i/bin/assemble")),
    ("run", include_str!("../../s2i/bin/run")),
    (
        "save-artifacts",
        include_str!("../../s2i/bin/save-artifacts"),
    ),
    ("usage", include_str!("../../s2i/bin/usage")),
];
