//! Reads any bytes as shadow: no panic, and a locked field stays locked.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpdrive::audit::accounts::shadow::{Password, judge, parse};

fuzz_target!(|bytes: &[u8]| {
    let _ = parse(bytes);
    for mark in [b'!', b'*'] {
        let mut locked = vec![mark];
        locked.extend_from_slice(bytes);
        assert_eq!(judge(&locked), Password::Locked);
    }
});
