//! Reads any bytes as sudoers and as doas.conf: no panic, and an answer in a bounded time.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use warpdrive::audit::accounts::sudoers::Person;
use warpdrive::audit::accounts::{doas, sudoers};

fuzz_target!(|bytes: &[u8]| {
    let parsed = sudoers::parse(bytes);
    let (names, groups) = (["app".to_owned()], ["root".to_owned()]);
    let person = Person {
        uid: Some(1001),
        names: &names,
        gids: &[0],
        groups: &groups,
        netgroups: &BTreeSet::new(),
    };
    for rule in &parsed.rules {
        let _ = parsed.fits(&rule.users, &person);
    }
    for rule in doas::parse(bytes).rules {
        let _ = rule.gives_root();
    }
});
