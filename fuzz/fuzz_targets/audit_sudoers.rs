//! Reads any bytes as sudoers, doas.conf, sudo.conf, nsswitch.conf, netgroup and as PAM's: no panic, and an
//! answer in a bounded time.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use warpdrive::audit::accounts::sudoers::Person;
use warpdrive::audit::accounts::{
    doas, name_service, pam, pam_files, subordinate, sudo_conf, sudoers,
};

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
        let _ = rule.is_to("ops", Some(1500), "root");
    }
    let _ = sudo_conf::plugins(bytes);
    let _ = sudo_conf::acting(bytes);
    let _ = subordinate::parse(bytes);
    let _ = pam_files::groups(bytes);
    let _ = pam_files::capabilities(bytes);
    let _ = name_service::parse(bytes);
    let _ = name_service::netgroups_of(bytes, &names);
    let _ = pam::parse_common(bytes, "su");
    let mut read = |_: &str| Some(pam::parse(bytes));
    let answers = |_: &pam::Line| (vec![pam::Answer::Success, pam::Answer::Failure], None);
    for kind in [
        pam::Kind::Auth,
        pam::Kind::Account,
        pam::Kind::Password,
        pam::Kind::Session,
    ] {
        if let Some(stack) = pam::stack("su", kind, &mut read, &answers) {
            let _ = pam::walk(&stack);
        }
    }
    for rule in doas::parse(bytes).rules {
        let _ = rule.gives_root();
    }
});
