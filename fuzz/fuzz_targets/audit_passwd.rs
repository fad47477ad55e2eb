//! Reads any bytes as passwd and as group: no panic, and no account that is not in the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpdrive::audit::accounts::{group, passwd};

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.split(|&byte| byte == b'\n').count();
    let parsed = passwd::parse(bytes);
    assert!(parsed.accounts.len() <= lines && parsed.odd_lines.len() <= lines);
    for account in &parsed.accounts {
        assert!(account.line >= 1 && account.line <= lines);
    }
    assert!(group::parse(bytes).len() <= lines);
});
