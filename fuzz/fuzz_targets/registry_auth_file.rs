//! Reads any bytes as an auth file of Docker or podman: an error or logins, no panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpdrive::registry::foreign::auth_file;

fuzz_target!(|bytes: &[u8]| {
    let _ = auth_file(bytes, false);
    let _ = auth_file(bytes, true);
});
