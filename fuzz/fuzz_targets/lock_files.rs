//! Reads the lock files of a tree of any few files, and chooses from them for one Python: packages or an
//! error, no panic, and no package that is more than one word of a list. The bytes are cut at lines
//! `=== NAME`; a page of an index is read in both its forms.

#![no_main]

#[path = "../memory.rs"]
mod memory;

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use warpdrive::app::project::Project;
use warpdrive::app::settings::Settings;
use warpdrive::lockfile::{Found, Target, find, links};

fuzz_target!(|text: &str| {
    let files = memory::tree(text);
    links("text/html", text);
    links("application/json", text);
    let Ok(settings) = Settings::load(&files, &BTreeMap::new(), &BTreeMap::new()) else {
        return;
    };
    let project = Project::read(&files, settings.clone(), &BTreeMap::new());
    let Ok(project) = project else { return };
    let Ok(Some(Found::Lock(lock))) = find(&files, &settings, &BTreeMap::new(), || Ok(&project)) else {
        return;
    };
    let _ = lock.preview();
    if let Ok(locked) = lock.select(&Target::of("3.11.2", "glibc 2.36")) {
        for package in locked.packages {
            assert!(!package.name.contains(char::is_whitespace));
            assert!(!package.version.contains(char::is_whitespace));
        }
    }
});
