//! Reads any text as the headers `Content-Range`, `Range` and `Location`: no panic; what is reached by https
//! never leads away from it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpdrive::registry::foreign::{location, ranges};

fuzz_target!(|text: &str| {
    let _ = ranges(text);
    if let Some(url) = location("https://r.example/v2/", text) {
        assert!(url.starts_with("https://"), "{url}");
    }
    let _ = location("http://127.0.0.1:5000/v2/", text);
});
