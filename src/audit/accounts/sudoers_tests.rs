use super::sudoers::*;
use proptest::prelude::*;

fn person<'a>(uid: u32, names: &'a [String], gids: &'a [u32], groups: &'a [String]) -> Person<'a> {
    Person {
        uid: Some(uid),
        names,
        gids,
        groups,
        netgroups: {
            static NONE: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
            &NONE
        },
    }
}

#[test]
fn whom_a_rule_fits_and_whether_it_asks() {
    let names = ["app".to_owned()];
    let groups = ["root".to_owned(), "app".to_owned()];
    for (text, fits, nopasswd) in [
        ("%app ALL=(ALL) NOPASSWD: ALL", true, true),
        ("%app ALL=(ALL) NOPASSWD:ALL", true, true),
        ("%app ALL=(ALL) NOPASSWD : ALL", true, true),
        ("%app\tALL = ALL", true, false),
        ("app ALL=(root) /bin/ls, NOPASSWD: /bin/cat", true, true),
        ("app ALL=(root) PASSWD: ALL", true, false),
        ("ALL ALL=(ALL) ALL", true, false),
        ("#1001 ALL=ALL", true, false),
        ("%#0 ALL=ALL", true, false),
        ("%root ALL=ALL", true, false),
        ("root, app ALL=ALL", true, false),
        ("root,app ALL=ALL", true, false),
        ("\"app\" ALL=ALL", true, false),
        ("ap\\p ALL=ALL", true, false),
        ("app \\\n ALL=ALL", true, false),
        ("app ALL=ALL # NOPASSWD:", true, false),
        (
            "WEB ALL=ALL\nUser_Alias OPS = root : WEB = ops, app",
            true,
            false,
        ),
        ("A ALL=ALL\nUser_Alias A=B\nUser_Alias B=app", true, false),
        ("ALL, !app ALL=ALL", false, false),
        ("ALL, !A ALL=ALL\nUser_Alias A=app", false, false),
        ("!app, ALL ALL=ALL", true, false),
        ("ALL, !root ALL=NOPASSWD: ALL", true, true),
        ("root ALL=(ALL:ALL) ALL", false, false),
        ("%sudo ALL=(ALL:ALL) ALL", false, false),
        ("#100 ALL=ALL", false, false),
        ("%#1001 ALL=ALL", false, false),
        ("application ALL=ALL", false, false),
        ("+app ALL=ALL", false, false),
        ("A ALL=ALL\nUser_Alias A=B\nUser_Alias B=root", false, false),
    ] {
        let sudoers = parse(text.as_bytes());
        let person = person(1001, &names, &[0], &groups);
        let rule = sudoers.rules.first().unwrap_or_else(|| panic!("{text}"));
        assert_eq!(sudoers.fits(&rule.users, &person), fits, "{text}");
        assert_eq!(rule.nopasswd, nopasswd, "{text}");
        assert!(sudoers.odd_lines.is_empty(), "{text}");
    }
}

#[test]
fn what_is_no_rule() {
    for text in [
        "",
        "# app ALL=(ALL) NOPASSWD: ALL",
        "#app ALL=ALL",
        "Defaults env_reset",
        "Defaults secure_path=\"/usr/bin:/bin\"",
        "Runas_Alias X = root",
        "Cmnd_Alias X = /bin/ls",
    ] {
        let sudoers = parse(text.as_bytes());
        assert!(sudoers.rules.is_empty(), "{text}: {sudoers:?}");
        assert!(sudoers.odd_lines.is_empty(), "{text}: {sudoers:?}");
    }
    for text in ["what is this", "= ALL", "app=ALL"] {
        assert_eq!(parse(text.as_bytes()).odd_lines, [1], "{text}");
    }
}

#[test]
fn defaults_that_ask_nobody() {
    for (text, expected) in [
        ("Defaults !authenticate", 1),
        ("Defaults:app env_reset, ! authenticate", 1),
        ("Defaults authenticate", 0),
        ("Defaults !lecture", 0),
        ("Defaults badpass_message=\"!authenticate now\"", 0),
    ] {
        assert_eq!(
            parse(text.as_bytes()).no_authenticate.len(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn whom_commands_run_as_and_whose_password_is_asked_for() {
    for (commands, to_root) in [
        ("ALL", true),
        ("/bin/ls", true),
        ("(ALL) ALL", true),
        ("(ALL:ALL) NOPASSWD: ALL", true),
        ("( root ) /bin/ls", true),
        ("(#0) /bin/ls", true),
        ("(OPS) /bin/ls", true),
        ("(:shadow) /bin/ls", true),
        ("(ops) /bin/ls, (root) /bin/cat", true),
        ("(ALL, !root) ALL", true),
        ("(ops /bin/ls", true),
        ("(ops) ALL", false),
        ("(ops, web : ALL) NOPASSWD: ALL", false),
    ] {
        let sudoers = parse(format!("app ALL={commands}\n").as_bytes());
        assert_eq!(sudoers.rules[0].is_to_root(), to_root, "{commands}");
    }
    let sudoers = parse(b"Defaults runaspw, runas_default = \"ops\"\n");
    assert!(sudoers.asks.runas);
    assert_eq!(sudoers.asks.runas_default.as_deref(), Some("ops"));
    let sudoers = parse(b"Defaults !runaspw\n");
    assert!(!sudoers.asks.runas && sudoers.asks.runas_default.is_none());
}

#[test]
fn settings_and_scopes() {
    for (text, names) in [
        ("Defaults env_reset", &[][..]),
        ("Defaults logfile=/etc/passwd,!syslog", &["logfile"]),
        ("Defaults:app, ops logfile=/etc/passwd", &["logfile"]),
        ("Defaults: app logfile=/etc/passwd", &["logfile"]),
        ("Defaults>root env_reset,\\\n iolog_dir=/x", &["iolog_dir"]),
        ("Defaults env_keep += \"A B\"", &["env_keep"]),
        ("# Defaults logfile=/etc/passwd", &[]),
    ] {
        let sudoers = parse(text.as_bytes());
        let found: Vec<&str> = sudoers.settings.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(found, names, "{text}");
    }
    let sudoers = parse(b"Defaultsuser ALL=(ALL) NOPASSWD: ALL\n");
    assert_eq!(sudoers.rules.len(), 1);
    assert!(parse(b"Defaults targetpw\n").asks.target);
    assert!(!parse(b"Defaults !targetpw\n").asks.target);
}

#[test]
fn accounts_that_commands_run_as() {
    for (commands, is_to_ops) in [
        ("(ops) ALL", true),
        ("(web, ops : ALL) ALL", true),
        ("(#1500) ALL", true),
        ("(OPS) ALL", true),
        ("(%ops) ALL", true),
        ("(ALL) ALL", true),
        ("(web) /bin/ls, (ops) /bin/cat", true),
        ("(web) ALL", false),
        ("(:ops) ALL", false),
        ("ALL", false),
    ] {
        let sudoers = parse(format!("app ALL={commands}\n").as_bytes());
        let is_to = sudoers.rules[0].is_to("ops", Some(1500), "root");
        assert_eq!(is_to, is_to_ops, "{commands}");
    }
    let sudoers = parse(b"app ALL=ALL\n");
    assert!(sudoers.rules[0].is_to("ops", Some(1500), "ops"));
}

#[test]
fn includes() {
    let sudoers = parse(
        b"@includedir /etc/sudoers.d\n#includedir /etc/old.d # x\n@include sudoers.local\n\
          #include \"/etc/a b\"\n#included is a comment\n",
    );
    let read: Vec<(&str, bool)> = sudoers
        .includes
        .iter()
        .map(|include| (include.path.as_str(), include.directory))
        .collect();
    assert_eq!(
        read,
        [
            ("/etc/sudoers.d", true),
            ("/etc/old.d", true),
            ("sudoers.local", false),
            ("/etc/a b", false)
        ]
    );
    assert!(is_included(b"app"));
    assert!(!is_included(b"app.bak"));
    assert!(!is_included(b"app~"));
}

#[test]
fn a_loop_of_aliases_ends() {
    let sudoers = parse(b"User_Alias A=B\nUser_Alias B=A\nA ALL=ALL\n");
    assert!(sudoers.fits(&sudoers.rules[0].users, &person(1, &[], &[], &[])));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let sudoers = parse(&bytes);
        for rule in &sudoers.rules {
            let _ = sudoers.fits(&rule.users, &person(1, &[], &[], &[]));
        }
    }

    #[test]
    fn no_words_panic(text in "(ALL|NOPASSWD:|app|%|#|=|,|!|:|\"|\\\\|\n|User_Alias|Defaults|@include| ){0,40}") {
        let _ = parse(text.as_bytes());
    }

    #[test]
    fn a_named_user_is_found(name in "[a-z][a-z0-9_-]{0,20}", blanks in "[ \t]{1,4}") {
        let sudoers = parse(format!("{name}{blanks}ALL{blanks}={blanks}(ALL){blanks}NOPASSWD:{blanks}ALL").as_bytes());
        let names = [name];
        prop_assert!(sudoers.fits(&sudoers.rules[0].users, &person(7, &names, &[], &[])));
        prop_assert!(sudoers.rules[0].nopasswd);
    }
}
