//! Stacks as distributions ship them, and as they are when somebody has opened them.

use proptest::prelude::*;

use super::pam::{Answer, Line, Statement, parse, parse_common, stack, walk};

const COMMON: &str = "auth [success=1 default=ignore] pam_unix.so nullok\n\
    auth requisite pam_deny.so\nauth required pam_permit.so\n";

fn answers(line: &Line) -> (Vec<Answer>, bool) {
    match line.module.as_str() {
        "pam_permit.so" | "pam_faillock.so" => (vec![Answer::Success], false),
        "pam_exec.so" => (vec![Answer::Success, Answer::Failure], true),
        "pam_env.so" => (vec![Answer::Ignore], false),
        "pam_gone.so" => (vec![Answer::Unknown], false),
        _ => (vec![Answer::Wrong], false),
    }
}

/// Whether anybody passes, and whether something is run on the way.
fn come_of(text: &str) -> (bool, bool) {
    let mut read = |name: &str| -> Option<Vec<Statement>> {
        match name {
            "su" => Some(parse(text.as_bytes())),
            "common-auth" => Some(parse(COMMON.as_bytes())),
            "open" => Some(parse(b"auth sufficient pam_permit.so\n")),
            "loop" => Some(parse(b"auth include loop\n")),
            _ => None,
        }
    };
    let outcome = walk(&stack("su", &mut read, &answers).expect("no loop"));
    (outcome.passes, !outcome.runs.is_empty())
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
    assert!(stack("loop", &mut read, &answers).is_none());
}

#[test]
fn lines_of_one_file_for_all_services() {
    let text = b"su auth sufficient pam_permit.so\nlogin auth required pam_unix.so\n";
    assert_eq!(parse_common(text, "su").len(), 1);
    assert_eq!(parse_common(text, "sudo").len(), 0);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_common(&bytes, "su");
        let mut read = |_: &str| Some(parse(&bytes));
        if let Some(stack) = stack("su", &mut read, &answers) {
            let _ = walk(&stack);
        }
    }
}
