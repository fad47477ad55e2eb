//! Reads any bytes as a policy: an error or a policy, no panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpdrive::audit::Policy;

fuzz_target!(|bytes: &[u8]| {
    let _ = Policy::parse(bytes);
    let _ = warpdrive::audit::capability::parse(bytes);
    let _ = warpdrive::audit::dpkg::parse(bytes);
});
