//! Reads any text as a git URL: no panic; what is accepted begins with no `-`, names no remote helper
//! and shows no password.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpdrive::source::{GitUrl, redacted};

fuzz_target!(|text: &str| {
    let _ = redacted(text);
    if let Ok(url) = GitUrl::parse(text) {
        let address = url.url();
        assert!(!address.starts_with('-') && !address.contains(char::is_whitespace));
        // What git would run `git-remote-NAME` for (transport.c, `transport_get`).
        let helper = address.split_once("::").is_some_and(|(name, _)| {
            name.chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        });
        assert!(!helper, "{address}");
        assert!(
            ["https://", "http://", "ssh://", "file:///"]
                .iter()
                .any(|scheme| address.starts_with(scheme))
                || !address.contains("://")
        );
        if let Some(reference) = url.reference() {
            assert!(!reference.starts_with('-') && !reference.contains(".."));
        }
    }
});
