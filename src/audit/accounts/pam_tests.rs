//! Stacks as distributions ship them, and stacks that an administrator has opened.

use proptest::prelude::*;

use super::pam::{
    Answer, Judged, Kind, Line, Statement, modules, parse, parse_common, stack, walk,
};

const COMMON: &str = "auth [success=1 default=ignore] pam_unix.so nullok\n\
    auth requisite pam_deny.so\nauth required pam_permit.so\n";

fn answers(line: &Line) -> Judged {
    match line.module.as_str() {
        "pam_permit.so" | "pam_faillock.so" => (vec![Answer::Success], None),
        "pam_exec.so" => (vec![Answer::Success, Answer::Failure], Some("runs".into())),
        "pam_env.so" => (vec![Answer::Ignore], None),
        "pam_gone.so" => (vec![Answer::Unknown], None),
        _ => (vec![Answer::Wrong], None),
    }
}

/// Whether a person without a secret passes, and whether a program runs on the way.
fn come_of(text: &str) -> (bool, bool) {
    let mut read = |name: &str| -> Option<Vec<Statement>> {
        match name {
            "su" => Some(parse(text.as_bytes())),
            "common-auth" => Some(parse(COMMON.as_bytes())),
            "open" => Some(parse(b"auth sufficient pam_permit.so\n")),
            "loop" => Some(parse(b"auth include loop\n")),
            "none" => Some(parse(b"account required pam_permit.so\n")),
            "deny" => Some(parse(b"auth requisite pam_deny.so\n")),
            _ => None,
        }
    };
    let outcome = walk(&stack("su", Kind::Auth, &mut read, &answers).expect("no loop"));
    (outcome.passes, !outcome.deeds.is_empty())
}

#[test]
fn stacks_that_let_nobody_in_and_their_open_twins() {
    for (text, passes) in [
        (
            "auth sufficient pam_rootok.so\n@include common-auth\n",
            false,
        ),
        (
            "auth sufficient pam_permit.so\n@include common-auth\n",
            true,
        ),
        (
            "AUTH Sufficient pam_permit.so\n@include common-auth\n",
            true,
        ),
        (
            "session sufficient pam_permit.so\n@include common-auth\n",
            false,
        ),
        (
            "# auth sufficient pam_permit.so\n@include common-auth\n",
            false,
        ),
        ("auth optional pam_permit.so\n@include common-auth\n", false),
        ("auth optional pam_permit.so\n", true),
        (
            "auth required pam_permit.so\nauth required pam_unix.so\n",
            false,
        ),
        (
            "auth required pam_unix.so\nauth sufficient pam_permit.so\n",
            false,
        ),
        (
            "auth optional pam_unix.so\nauth required pam_permit.so\n",
            true,
        ),
        (
            "auth [default=1] pam_env.so\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
            true,
        ),
        (
            "auth [success=1 default=ignore] pam_unix.so\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
            false,
        ),
        (
            "auth [default=1] pam_unix.so\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
            true,
        ),
        (
            "auth [auth_err=1 default=bad] pam_unix.so\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
            true,
        ),
        ("auth include open\nauth required pam_unix.so\n", true),
        ("auth substack open\nauth required pam_unix.so\n", false),
        ("auth substack open\n", true),
        (
            "auth include missing\nauth sufficient pam_permit.so\n",
            false,
        ),
        ("auth sufficient pam_gone.so\n@include common-auth\n", false),
        (
            "auth required pam_permit.so\nauth nonsense pam_permit.so\n",
            false,
        ),
        ("auth \\\n sufficient pam_permit.so\n", true),
        ("# note \\\nauth sufficient pam_permit.so\n", true),
        ("# note \\\n#auth sufficient pam_permit.so\n", false),
        ("@include open x\n@include common-auth\n", true),
        ("@INCLUDE open\n@include common-auth\n", true),
        (
            "auth sufficient [pam_permit.so]\n@include common-auth\n",
            true,
        ),
        (
            "auth [sufficient] pam_permit.so\n@include common-auth\n",
            true,
        ),
        (
            "auth [optional] pam_permit.so\n@include common-auth\n",
            false,
        ),
        (
            "[auth] sufficient pam_permit.so\n@include common-auth\n",
            true,
        ),
        (
            "auth [success = done default = ignore] pam_permit.so\n@include common-auth\n",
            true,
        ),
        (
            "auth [success=donedefault=ignore] pam_permit.so\n@include common-auth\n",
            true,
        ),
        (
            "auth [success = ignore default = ignore] pam_permit.so\n@include common-auth\n",
            false,
        ),
        (
            "auth substack none\nauth sufficient pam_permit.so\n@include common-auth\n",
            true,
        ),
        ("auth substack deny\nauth sufficient pam_permit.so\n", false),
        (
            "auth [success=ok auth_err=die user_unknown=die default=ignore] pam_unix.so\n\
             auth required pam_permit.so\n",
            true,
        ),
        (
            "auth [success=ok default=die] pam_unix.so\nauth required pam_permit.so\n",
            false,
        ),
        (
            "bogus optional x\nauth sufficient pam_permit.so\n@include common-auth\n",
            true,
        ),
        (
            "auth required pam_faillock.so preauth\nauth [success=1 default=bad] pam_unix.so\n\
             auth [default=die] pam_deny.so\nauth sufficient pam_permit.so\n",
            false,
        ),
        ("", false),
    ] {
        assert_eq!(come_of(text).0, passes, "{text}");
    }
    assert!(come_of("auth optional pam_exec.so seteuid /x\n@include common-auth\n").1);
    assert!(!come_of("@include common-auth\nauth optional pam_exec.so seteuid /x\n").1);
    let mut read = |_: &str| Some(parse(b"auth include loop\n"));
    assert!(stack("loop", Kind::Auth, &mut read, &answers).is_none());
}

#[test]
fn modules_of_all_stacks_are_loaded() {
    let mut read = |name: &str| -> Option<Vec<Statement>> {
        let text: &[u8] = match name {
            "su" => b"@include all\nsession include own\nauth substack own\nauth nonsense /odd.so\nwhat ever /no.so\n",
            "all" => b"password optional /all.so\n-session optional pam_systemd.so\nauth include all\n",
            "own" => b"session optional /own.so\naccount optional /not.so\nauth include own\n",
            _ => return None,
        };
        Some(parse(text))
    };
    let found: Vec<String> = modules("su", &mut read).unwrap().into_iter().collect();
    assert_eq!(found, ["/all.so", "/odd.so", "/own.so", "pam_systemd.so"]);
}

#[test]
fn each_kind_has_a_stack_of_its_own() {
    let text = b"auth required pam_unix.so\naccount sufficient pam_permit.so\nodd line\npassword required pam_unix.so\n";
    let mut read = |_: &str| Some(parse(text));
    for (kind, passes, length) in [
        (Kind::Auth, false, 2),
        (Kind::Account, true, 1),
        (Kind::Password, false, 1),
        (Kind::Session, false, 0),
    ] {
        let stack = stack("su", kind, &mut read, &answers).unwrap();
        assert_eq!(
            (walk(&stack).passes, stack.len()),
            (passes, length),
            "{kind:?}"
        );
    }
}

#[test]
fn lines_of_one_file_for_all_services() {
    let text = b"su auth sufficient pam_permit.so\nlogin auth required pam_unix.so\n";
    assert_eq!(parse_common(text, "su").len(), 1);
    assert_eq!(parse_common(text, "sudo").len(), 0);
}

#[test]
fn what_is_unclear_and_what_is_too_much_is_told() {
    let is_unclear = |text: &str| {
        let read = parse(text.as_bytes());
        read.iter().any(|it| matches!(it, Statement::Unclear(_)))
    };
    assert!(is_unclear(&format!("#{}\n", "A".repeat(1022))));
    assert!(is_unclear("auth \\ \nsufficient pam_permit.so\n"));
    assert!(!is_unclear(&format!("#{}\n", "A".repeat(1000))));
    let many: String = (0..600).fold(String::new(), |text, number| {
        text + &format!("session include n{number}\n")
    });
    let mut read = |name: &str| match name {
        "su" => Some(parse(many.as_bytes())),
        _ => Some(Vec::new()),
    };
    assert!(modules("su", &mut read).is_none());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_common(&bytes, "su");
        let mut read = |_: &str| Some(parse(&bytes));
        for kind in [Kind::Auth, Kind::Password] {
            if let Some(stack) = stack("su", kind, &mut read, &answers) {
                let _ = walk(&stack);
            }
        }
        let _ = modules("su", &mut read);
    }
}
