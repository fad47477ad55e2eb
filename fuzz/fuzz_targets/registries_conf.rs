//! Reads any text as `registries.conf` and asks it where names lead: an error, or places that are a
//! registry and a repository without `..`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpdrive::registry::foreign::registries_conf;

fuzz_target!(|text: &str| {
    let names = ["opal:1", "docker.io/library/python", "r.example:5000/a/b@sha256:00"];
    for name in names {
        for place in registries_conf(text, name).unwrap_or_default() {
            let (registry, repository) = place.split_once('/').expect("a registry");
            assert!(!registry.is_empty());
            assert!(!repository.split('/').any(|part| part.is_empty() || part == ".."));
        }
    }
});
