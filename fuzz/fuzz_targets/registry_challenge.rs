//! Reads any text as a `WWW-Authenticate` header: no panic; schemes are in small letters and not empty.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpdrive::registry::foreign::challenges;

fuzz_target!(|text: &str| {
    for scheme in challenges(text) {
        assert!(!scheme.is_empty());
        assert_eq!(scheme, scheme.to_ascii_lowercase());
    }
});
