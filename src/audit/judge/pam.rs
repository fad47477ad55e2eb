//! PAM (rule `pam`): services of programs that run as root, and whether their `auth` stack lets anybody
//! pass.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::super::accounts::pam::{self, Answer, Line, Statement};
use super::super::finding::{Finding, Severity};
use super::super::flatten::{Flat, Lookup};
use super::super::paths::{join, shown};
use super::accounts::Runtime;
use super::loaded::Loaded;
use super::quoted;

/// Which services a program asks; what it is for decides whether passing makes root.
const SERVICES: [(&str, &[&str]); 13] = [
    ("su", &["su", "su-l"]),
    ("sudo", &["sudo", "sudo-i"]),
    ("sudoedit", &["sudo"]),
    ("doas", &["doas"]),
    ("login", &["login"]),
    ("passwd", &["passwd"]),
    ("chsh", &["chsh"]),
    ("chfn", &["chfn"]),
    ("chage", &["chage"]),
    ("ksu", &["ksu"]),
    ("screen", &["screen"]),
    ("polkit-agent-helper-1", &["polkit-1"]),
    ("busybox", &["su", "login"]),
];

/// Services whose passing makes root; the others only change an account's own entry.
const TO_ROOT: [&str; 7] = ["su", "su-l", "login", "doas", "ksu", "polkit-1", "screen"];

/// Where services are configured, the first that has one counts.
const DIRECTORIES: [&str; 3] = ["etc/pam.d", "usr/lib/pam.d", "usr/etc/pam.d"];

/// Modules that ask for a secret, or for what a person without one does not have; and what they say
/// where it is wrong.
const ASKING: [&str; 20] = [
    "pam_sss",
    "pam_ldap",
    "pam_krb5",
    "pam_winbind",
    "pam_google_authenticator",
    "pam_u2f",
    "pam_pkcs11",
    "pam_fprintd",
    "pam_oath",
    "pam_systemd_home",
    "pam_tcb",
    "pam_rhosts",
    "pam_ftp",
    "pam_unix2",
    "pam_unix_auth",
    "pam_extrausers",
    "pam_radius_auth",
    "pam_yubico",
    "pam_duo",
    "pam_sepermit",
];

/// Modules that have no word to say about who somebody is.
const SILENT: [&str; 26] = [
    "pam_env",
    "pam_faildelay",
    "pam_group",
    "pam_mail",
    "pam_motd",
    "pam_issue",
    "pam_keyinit",
    "pam_limits",
    "pam_loginuid",
    "pam_lastlog",
    "pam_umask",
    "pam_warn",
    "pam_echo",
    "pam_cap",
    "pam_systemd",
    "pam_selinux",
    "pam_namespace",
    "pam_xauth",
    "pam_tty_audit",
    "pam_mkhomedir",
    "pam_filter",
    "pam_setquota",
    "pam_ecryptfs",
    "pam_gnome_keyring",
    "pam_kwallet5",
    "pam_nologin",
];

/// What sudo's rules add to PAM's.
pub(super) struct Sudo<'a> {
    /// Services that `Defaults pam_service` names.
    pub(super) services: &'a [String],
    /// Some rule is for the image's user.
    pub(super) has_rule: bool,
}

pub(super) fn judge(
    loaded: &mut Loaded<'_>,
    runtime: &Runtime,
    sudo: &Sudo<'_>,
    findings: &mut Vec<Finding>,
) {
    let mut services: BTreeSet<String> = BTreeSet::new();
    for (program, names) in SERVICES {
        if loaded.has_program(program) {
            services.extend(names.iter().map(|name| (*name).to_owned()));
        }
    }
    if loaded.has_program("sudo") {
        services.extend(sudo.services.iter().cloned());
    }
    for service in &services {
        judge_service(loaded, runtime, service, sudo, findings);
    }
}

/// The file of a service, as PAM finds it.
fn place(flat: &Flat<'_>, service: &str) -> Option<(Vec<u8>, usize)> {
    DIRECTORIES.iter().find_map(|directory| {
        let path = format!("{directory}/{service}").into_bytes();
        let layer = flat.origin(&path)?;
        // A link that leads nowhere is as good as no file.
        flat.real(&path)?;
        Some((path, layer))
    })
}

fn judge_service(
    loaded: &mut Loaded<'_>,
    runtime: &Runtime,
    service: &str,
    sudo: &Sudo<'_>,
    findings: &mut Vec<Finding>,
) {
    let flat = loaded.flat();
    let unreadable: RefCell<Vec<(Vec<u8>, usize, &'static str)>> = RefCell::default();
    let modules: RefCell<BTreeSet<String>> = RefCell::default();
    let mut read = |name: &str| -> Option<Vec<Statement>> {
        let directory = DIRECTORIES
            .iter()
            .any(|directory| !flat.files_in(directory.as_bytes()).is_empty());
        if !directory {
            return match flat.read_through_links(b"etc/pam.conf") {
                Lookup::Bytes { bytes, .. } => Some(pam::parse_common(bytes, name)),
                _ => None,
            };
        }
        let path = match name.strip_prefix('/') {
            Some(path) => path.as_bytes().to_vec(),
            None => place(flat, name)?.0,
        };
        match flat.read_through_links(&path) {
            Lookup::Absent => None,
            Lookup::Bytes { bytes, .. } => Some(pam::parse(bytes)),
            Lookup::Unreadable { layer, problem } => {
                unreadable.borrow_mut().push((path, layer, problem));
                None
            }
        }
    };
    let step = |line: &Line| {
        modules.borrow_mut().insert(line.module.clone());
        answers(loaded, runtime, line)
    };
    let own = place(flat, service);
    let mut stack = pam::stack(
        if own.is_some() { service } else { "other" },
        &mut read,
        &step,
    );
    if own.is_some() && stack.as_ref().is_some_and(Vec::is_empty) {
        // What a service leaves out, the service `other` decides.
        stack = pam::stack("other", &mut read, &step);
    }
    let (path, layer) = own.or_else(|| place(flat, "other")).unwrap_or_else(|| {
        (
            b"etc/pam.conf".to_vec(),
            flat.origin(b"etc/pam.conf").unwrap_or(0),
        )
    });
    // Modules of all stacks are loaded when the service begins.
    for statements in [read(service)].into_iter().flatten() {
        for statement in statements {
            if let Statement::Line(line) = statement {
                modules.borrow_mut().insert(line.module);
            }
        }
    }
    let mut push = |severity, message: String| {
        findings.push(Finding::of_path("pam", severity, layer, &path, message));
    };
    match &stack {
        None => push(
            Severity::High,
            format!(
                "the service {} includes files in a circle, or too many",
                quoted(service)
            ),
        ),
        Some(stack) => {
            let outcome = pam::walk(stack);
            if outcome.passes {
                let asked_by_sudo =
                    service.starts_with("sudo") || sudo.services.iter().any(|own| own == service);
                let (severity, what) = if TO_ROOT.contains(&service) {
                    (
                        Severity::High,
                        "lets anybody become root without a password",
                    )
                } else if asked_by_sudo && sudo.has_rule {
                    (
                        Severity::High,
                        "asks no password, and a rule of sudo's is for the image's user",
                    )
                } else if asked_by_sudo {
                    (
                        Severity::Low,
                        "asks no password, though no rule of sudo's is for the image's user",
                    )
                } else {
                    (
                        Severity::Low,
                        "lets anybody change the own account's entry without a password",
                    )
                };
                push(severity, format!("the service {} {what}", quoted(service)));
            }
            for label in &outcome.runs {
                push(
                    Severity::High,
                    format!(
                        "the service {} runs a program as root before it asks for a password: {label}",
                        quoted(service)
                    ),
                );
            }
        }
    }
    for (path, layer, problem) in unreadable.into_inner() {
        findings.push(Finding::of_path(
            "account-unreadable",
            Severity::High,
            layer,
            &path,
            format!("{} cannot be judged: {problem}", shown(&path)),
        ));
    }
    for module in modules.into_inner() {
        load(loaded, &module);
    }
}

/// Holds a module's file against the package database.
fn load(loaded: &mut Loaded<'_>, module: &str) {
    if module.starts_with('/') {
        loaded.by_path(module.as_bytes(), "PAM");
        return;
    }
    for path in loaded.modules(module.as_bytes()) {
        loaded.by_path(&path, "PAM");
    }
    // `../../x.so` is taken beneath the modules' directory.
    if module.contains('/') {
        for directory in ["usr/lib/security", "usr/lib/x86_64-linux-gnu/security"] {
            if let Some(path) = join(directory.as_bytes(), module.as_bytes()) {
                loaded.by_path(&path, "PAM");
            }
        }
    }
}

/// What a module may answer a person that knows no secret and wants to be root; and whether root runs
/// something of the image's author on the way.
fn answers(loaded: &Loaded<'_>, runtime: &Runtime, line: &Line) -> (Vec<Answer>, bool) {
    let has = |word: &str| line.arguments.iter().any(|argument| argument == word);
    let is_there = match line.module.strip_prefix('/') {
        Some(path) => loaded.flat().real(path.as_bytes()).is_some(),
        // Some other file in the modules' directory, `../../x.so`.
        None if line.module.contains('/') => true,
        None => !loaded.modules(line.module.as_bytes()).is_empty(),
    };
    if !is_there {
        return (vec![Answer::Unknown], false);
    }
    let name = line.module.rsplit('/').next().unwrap_or_default();
    let answers = match name.strip_suffix(".so").unwrap_or(name) {
        "pam_faillock" if has("authfail") => vec![Answer::Wrong],
        "pam_usertype" if has("issystem") => vec![Answer::Success],
        "pam_unix" | "pam_deny" | "pam_rootok" | "pam_usertype" => vec![Answer::Wrong],
        "pam_permit" | "pam_debug" | "pam_stress" | "pam_localuser" | "pam_shells"
        | "pam_securetty" | "pam_access" | "pam_time" | "pam_faillock" | "pam_tally"
        | "pam_tally2" => vec![Answer::Success],
        "pam_wheel" if has("trust") && trusts(runtime, line) => vec![Answer::Success],
        "pam_wheel" if has("trust") => vec![Answer::Failure],
        "pam_wheel" => vec![Answer::Ignore, Answer::Failure],
        "pam_succeed_if" => vec![condition(runtime, line)],
        name if SILENT.contains(&name) => vec![Answer::Ignore],
        name if ASKING.contains(&name) => vec![Answer::Failure],
        // A file, a database or a program of the image decides, and it is not known what it says.
        _ => vec![Answer::Success, Answer::Failure],
    };
    let runs = name == "pam_exec.so" && has("seteuid");
    (answers, runs)
}

/// `pam_wheel`: members of `wheel`, of the group that is given, or of gid 0 where there is no `wheel`.
fn trusts(runtime: &Runtime, line: &Line) -> bool {
    let given = line
        .arguments
        .iter()
        .find_map(|argument| argument.strip_prefix("group="));
    let group = given.unwrap_or("wheel");
    let inside = runtime.is_in(group)
        || (given.is_none() && !runtime.is_known(group) && runtime.gids.contains(&0));
    inside != line.arguments.iter().any(|argument| argument == "deny")
}

/// `pam_succeed_if`: conditions on the account that is asked for, which is root; with `use_uid` on the
/// image's user.
fn condition(runtime: &Runtime, line: &Line) -> Answer {
    let words: Vec<&str> = line
        .arguments
        .iter()
        .map(String::as_str)
        .filter(|word| {
            ![
                "quiet",
                "quiet_fail",
                "quiet_success",
                "debug",
                "audit",
                "use_uid",
            ]
            .contains(word)
        })
        .collect();
    let uid = if line.arguments.iter().any(|word| word == "use_uid") {
        runtime.uid.unwrap_or(0)
    } else {
        0
    };
    let holds = words.chunks(3).all(|words| match words {
        ["uid", operator, number] => number.parse::<u32>().is_ok_and(|number| match *operator {
            "=" | "eq" => uid == number,
            "ne" => uid != number,
            "<" | "lt" => uid < number,
            "<=" | "le" => uid <= number,
            ">" | "gt" => uid > number,
            ">=" | "ge" => uid >= number,
            _ => true,
        }),
        // What is not compared here may hold.
        _ => true,
    });
    if holds {
        Answer::Success
    } else {
        Answer::Wrong
    }
}
