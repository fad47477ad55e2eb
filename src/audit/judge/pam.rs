//! PAM (rule `pam`): services of programs that run as root, whether their `auth` stack lets a user pass
//! without a password, and what root runs on the way through all stacks.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::super::accounts::pam::{self, Answer, Deed, Judged, Kind, Line, StackEnd, Statement};
use super::super::finding::{Finding, Severity};
use super::super::flatten::{Flat, Lookup, Reach};
use super::super::paths::{join, split};
use super::accounts::{Accounts, Runtime};
use super::loaded::Loaded;
use super::pam_modules;
use super::quoted;

/// The services that a program asks; the program's purpose decides whether passing gives root.
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

/// Services that give root to a user who passes; the others only change an account's own entry.
const TO_ROOT: [&str; 7] = ["su", "su-l", "login", "doas", "ksu", "polkit-1", "screen"];

/// Where services are configured, the first that has one counts.
const DIRECTORIES: [&str; 3] = ["etc/pam.d", "usr/lib/pam.d", "usr/etc/pam.d"];

/// How distributions build libpam: with the vendor's directories and without.
const VARIANTS: [&[&str]; 3] = [
    &["etc/pam.d"],
    &["etc/pam.d", "usr/lib/pam.d"],
    &DIRECTORIES,
];

/// Modules that ask for a secret that neither their arguments nor a file of the image can hold: a service of
/// root's, a device or a file that is judged elsewhere has it. All others (`pam_oath`, `pam_ldap` …) may succeed.
const ASKING: [&str; 6] = [
    "pam_fprintd",
    "pam_sss",
    "pam_systemd_home",
    "pam_tcb",
    "pam_unix_auth",
    "pam_winbind",
];

/// Modules that do something else in `auth`, but can succeed there.
const SUCCEEDING: [&str; 6] = [
    "pam_echo",
    "pam_ecryptfs",
    "pam_gnome_keyring",
    "pam_kwallet5",
    "pam_lastlog",
    "pam_nologin",
];

/// Modules that do not authenticate. What some of them do besides: [`pam_modules`].
const SILENT: [&str; 25] = [
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
    "pam_setquota",
    "pam_ecryptfs",
    "pam_gnome_keyring",
    "pam_kwallet5",
    "pam_nologin",
];

/// Modules that run a program or a script that their arguments or a file name. Even without `seteuid`,
/// a program of `pam_exec` has root as its effective user.
const RUNNING: [&str; 8] = [
    "pam_exec",
    "pam_filter",
    "pam_lua",
    "pam_mount",
    "pam_perl",
    "pam_python",
    "pam_python3",
    "pam_script",
];

/// The service for programs without their own service.
const OTHER: &str = "other";

/// What sudo's rules add to PAM's.
pub(super) struct Sudo<'a> {
    /// Services that `Defaults pam_service` names.
    pub(super) services: &'a [String],
    /// Some rule is for the image's user.
    pub(super) has_rule: bool,
}

/// The user for whom the services are judged.
#[derive(Clone, Copy)]
pub(super) struct Person<'a> {
    pub(super) accounts: &'a Accounts,
    pub(super) runtime: &'a Runtime,
    /// An account other than root has an empty password, or one that the image's author knows.
    pub(super) knows: bool,
}

pub(super) fn judge(
    loaded: &mut Loaded<'_>,
    person: Person<'_>,
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
    let flat = loaded.flat();
    for directories in VARIANTS {
        // Without a file in the further directories, a libpam that knows them reads the same.
        let has_files = |directory: &&str| !flat.files_in(directory.as_bytes()).is_empty();
        if directories.len() > 1 && !directories.last().is_some_and(has_files) {
            continue;
        }
        let files = Files::new(flat, directories);
        let mut more = Vec::new();
        for service in &services {
            judge_service(loaded, &files, person, service, sudo, &mut more);
        }
        files.finish(&mut more);
        more.retain(|finding| {
            !findings.iter().any(|known| {
                (known.rule, &known.path, &known.message)
                    == (finding.rule, &finding.path, &finding.message)
            })
        });
        findings.extend(more);
    }
}

/// The file of a service, as PAM finds it.
fn place(flat: &Flat<'_>, directories: &[&str], service: &str) -> Option<(Vec<u8>, usize)> {
    directories.iter().find_map(|directory| {
        let path = format!("{directory}/{service}").into_bytes();
        // A dangling link within the system counts as a missing file.
        if flat.reach(&path) == Reach::Absent {
            return None;
        }
        let layer = flat.layer_of(&path);
        Some((path, layer))
    })
}

/// The person for whom a service's stacks are walked.
#[derive(Clone, Copy)]
struct Caller<'a> {
    accounts: &'a Accounts,
    runtime: &'a Runtime,
    /// sudo asks, whose real user is root too: a shell does not take the caller's ids again.
    by_sudo: bool,
    /// The person asks for root; otherwise for an account with a known password, or for the own account.
    root: bool,
    /// The person knows the password of that account.
    knows: bool,
    /// The account that the stacks are about, where it is known.
    target: Option<u32>,
}

fn judge_service(
    loaded: &mut Loaded<'_>,
    files: &Files<'_>,
    person: Person<'_>,
    name: &str,
    sudo: &Sudo<'_>,
    findings: &mut Vec<Finding>,
) {
    let service = Service::find(files, name, sudo);
    let mut told = BTreeSet::new();
    let mut is_sound = true;
    for root in [true, false] {
        let walk = Walk {
            loaded,
            files,
            service: &service,
            caller: service.caller(person, root),
        };
        // `passwd` asks with the stack `password`.
        if name != "passwd" {
            match walk.judge_auth(&mut told, findings) {
                None => {
                    is_sound = false;
                    break;
                }
                Some(false) => continue,
                Some(true) => {}
            }
        }
        is_sound &= walk.judge_further(&mut told, findings).is_some();
    }
    // `other` is read with every service.
    let mut modules = BTreeSet::new();
    for service in [service.first, OTHER] {
        match pam::modules(service, &mut |name: &str| files.read(name)) {
            Some(more) => modules.extend(more),
            None => is_sound = false,
        }
    }
    if !is_sound {
        let what = "includes files in a circle, or too many";
        findings.push(service.finding(Severity::High, what));
    }
    for module in modules {
        load(loaded, &module);
    }
}

/// A service and its place.
struct Service<'a> {
    name: &'a str,
    /// It has lines of its own; [`OTHER`] decides what it leaves out.
    has_own: bool,
    /// Its name, or [`OTHER`].
    first: &'a str,
    path: Vec<u8>,
    layer: usize,
    asked_by_sudo: bool,
    /// Some rule of sudo's is for the image's user.
    has_rule: bool,
}

impl<'a> Service<'a> {
    fn find(files: &Files<'_>, name: &'a str, sudo: &Sudo<'_>) -> Self {
        let flat = files.flat;
        let own = place(flat, files.directories, name);
        let in_one_file =
            !files.has_directory && files.read(name).is_some_and(|lines| !lines.is_empty());
        let has_own = own.is_some() || in_one_file;
        let (path, layer) = own
            .or_else(|| place(flat, files.directories, OTHER))
            .unwrap_or_else(|| {
                (
                    b"etc/pam.conf".to_vec(),
                    flat.origin(b"etc/pam.conf").unwrap_or(0),
                )
            });
        Self {
            name,
            has_own,
            first: if has_own { name } else { OTHER },
            path,
            layer,
            asked_by_sudo: name.starts_with("sudo") || sudo.services.iter().any(|own| own == name),
            has_rule: sudo.has_rule,
        }
    }

    fn to_root(&self) -> bool {
        TO_ROOT.contains(&self.name)
    }

    fn caller<'p>(&self, person: Person<'p>, root: bool) -> Caller<'p> {
        let runtime = person.runtime;
        Caller {
            accounts: person.accounts,
            runtime,
            by_sudo: self.asked_by_sudo,
            root,
            knows: person.knows && !root,
            target: match (self.to_root(), root) {
                (true, true) => Some(0),
                (true, false) => None,
                (false, _) => Some(runtime.uid.unwrap_or(0)),
            },
        }
    }

    fn finding(&self, severity: Severity, what: &str) -> Finding {
        let message = format!("the service {} {what}", quoted(self.name));
        Finding::of_path("pam", severity, self.layer, &self.path, message)
    }
}

/// A walk through a service's stacks.
struct Walk<'a, 'l> {
    loaded: &'a Loaded<'l>,
    files: &'a Files<'a>,
    service: &'a Service<'a>,
    caller: Caller<'a>,
}

impl Walk<'_, '_> {
    /// Whether the stack `auth` passes; `None` if its files cannot be followed.
    fn judge_auth(
        &self,
        told: &mut BTreeSet<(Kind, Deed)>,
        findings: &mut Vec<Finding>,
    ) -> Option<bool> {
        let Self {
            service, caller, ..
        } = *self;
        let auth = self.end(Kind::Auth)?;
        if auth.passes && caller.root {
            let (severity, what) =
                what_passing_gives(service.to_root(), service.asked_by_sudo, service.has_rule);
            findings.push(service.finding(severity, what));
        }
        let when = if caller.root {
            "before it asks for a password"
        } else {
            "for a user who knows an account's password"
        };
        self.tell(Kind::Auth, auth.deeds, when, told, findings);
        Some(auth.passes)
    }

    /// The stacks after `auth`; `None` if the files of one cannot be followed.
    fn judge_further(
        &self,
        told: &mut BTreeSet<(Kind, Deed)>,
        findings: &mut Vec<Finding>,
    ) -> Option<()> {
        let when = if self.caller.knows {
            "for a user who knows an account's password"
        } else {
            "for everybody"
        };
        let stages: &[Kind] = match self.service.name {
            "passwd" => &[Kind::Password],
            // Without a rule, sudo begins no session.
            _ if self.service.asked_by_sudo && !self.service.has_rule => &[Kind::Account],
            _ => &[Kind::Account, Kind::Session, Kind::Password],
        };
        for kind in stages {
            let outcome = self.end(*kind)?;
            // In `password`, a successful first round is followed by the round that changes the password.
            if *kind != Kind::Password || outcome.passes {
                self.tell(*kind, outcome.deeds, when, told, findings);
            }
            if *kind == Kind::Account && !outcome.passes {
                break;
            }
        }
        Some(())
    }

    fn end(&self, kind: Kind) -> Option<StackEnd> {
        let step = |line: &Line| answers(self.loaded, self.caller, line);
        let stack = |name| pam::stack(name, kind, &mut |name: &str| self.files.read(name), &step);
        let mut nodes = stack(self.service.first)?;
        if self.service.has_own && nodes.is_empty() {
            nodes = stack(OTHER)?;
        }
        Some(pam::walk(&nodes))
    }

    /// A finding for each of the deeds that was not told yet.
    fn tell(
        &self,
        kind: Kind,
        deeds: BTreeSet<Deed>,
        when: &str,
        told: &mut BTreeSet<(Kind, Deed)>,
        findings: &mut Vec<Finding>,
    ) {
        for deed in deeds {
            if told.insert((kind, deed.clone())) {
                let Deed { what, label } = deed;
                let what = format!("{what} {when}: {label}");
                findings.push(self.service.finding(Severity::High, &what));
            }
        }
    }
}

/// The finding if a service's `auth` stack lets every user pass.
fn what_passing_gives(
    to_root: bool,
    asked_by_sudo: bool,
    has_rule: bool,
) -> (Severity, &'static str) {
    match (to_root, asked_by_sudo, has_rule) {
        (true, ..) => (
            Severity::High,
            "lets anybody become root without a password",
        ),
        (false, true, true) => (
            Severity::High,
            "asks no password, and a rule of sudo's is for the image's user",
        ),
        (false, true, false) => (
            Severity::Low,
            "asks no password, though no rule of sudo's is for the image's user",
        ),
        (false, false, _) => (
            Severity::Low,
            "lets anybody change the own account's entry without a password",
        ),
    }
}

/// The files of services, each read once.
struct Files<'a> {
    flat: &'a Flat<'a>,
    /// Those that libpam knows: distributions build it with one, two or three.
    directories: &'static [&'static str],
    /// Without such a file, `/etc/pam.conf` counts.
    has_directory: bool,
    known: RefCell<BTreeMap<String, Option<Vec<Statement>>>>,
    unreadable: RefCell<BTreeSet<(Vec<u8>, usize, &'static str)>>,
}

impl<'a> Files<'a> {
    fn new(flat: &'a Flat<'a>, directories: &'static [&'static str]) -> Self {
        Self {
            flat,
            directories,
            has_directory: directories
                .iter()
                .any(|directory| !flat.files_in(directory.as_bytes()).is_empty()),
            known: RefCell::default(),
            unreadable: RefCell::new(links(flat)),
        }
    }

    /// The lines of a service, or of a file that is included.
    fn read(&self, name: &str) -> Option<Vec<Statement>> {
        if let Some(statements) = self.known.borrow().get(name) {
            return statements.clone();
        }
        let statements = self.read_anew(name);
        let mut known = self.known.borrow_mut();
        known.insert(name.to_owned(), statements.clone());
        statements
    }

    fn read_anew(&self, name: &str) -> Option<Vec<Statement>> {
        if !self.has_directory {
            return match self.flat.read_through_links(b"etc/pam.conf") {
                Lookup::Bytes { layer, bytes } => {
                    let statements = pam::parse_common(bytes, name);
                    self.tell_unclear(b"etc/pam.conf", layer, &statements);
                    Some(statements)
                }
                Lookup::Absent => None,
                Lookup::Unreadable { layer, problem } => {
                    let path = b"etc/pam.conf".to_vec();
                    self.unreadable.borrow_mut().insert((path, layer, problem));
                    None
                }
            };
        }
        let path = match name.strip_prefix('/') {
            Some(path) => path.as_bytes().to_vec(),
            None => place(self.flat, self.directories, name)?.0,
        };
        match self.flat.read_through_links(&path) {
            Lookup::Absent => None,
            Lookup::Bytes { layer, bytes } => {
                let statements = pam::parse(bytes);
                self.tell_unclear(&path, layer, &statements);
                Some(statements)
            }
            Lookup::Unreadable { layer, problem } => {
                self.unreadable.borrow_mut().insert((path, layer, problem));
                None
            }
        }
    }

    fn tell_unclear(&self, path: &[u8], layer: usize, statements: &[Statement]) {
        let is_unclear = |statement: &Statement| matches!(statement, Statement::Unclear(_));
        if statements.iter().any(is_unclear) {
            let problem = "releases of PAM read a line of it differently";
            let entry = (path.to_vec(), layer, problem);
            self.unreadable.borrow_mut().insert(entry);
        }
    }

    fn finish(self, findings: &mut Vec<Finding>) {
        for (path, layer, problem) in self.unreadable.into_inner() {
            findings.push(Finding::of_unreadable(layer, &path, problem));
        }
    }
}

/// Directories of services that are links to unread places.
fn links(flat: &Flat<'_>) -> BTreeSet<(Vec<u8>, usize, &'static str)> {
    let is_read = |real: &[u8]| DIRECTORIES.iter().any(|known| known.as_bytes() == real);
    let mut found = BTreeSet::new();
    for directory in DIRECTORIES.map(str::as_bytes) {
        let real = flat.follow(directory).unwrap_or_default();
        if let Some(layer) = flat.origin(directory)
            && !is_read(&real)
        {
            let problem = "it is a link to where nothing is read";
            found.insert((directory.to_vec(), layer, problem));
        }
    }
    found
}

/// Compares a module's file with the package database.
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

/// The possible answers of a module; and what root then does for the image's author. A link in the module's
/// place may lead to another one.
fn answers(loaded: &Loaded<'_>, caller: Caller<'_>, line: &Line) -> Judged {
    let flat = loaded.flat();
    let paths = if line.module.contains('/') {
        vec![line.module.as_bytes().to_vec()]
    } else {
        loaded.modules(line.module.as_bytes()).into_iter().collect()
    };
    let mut names = vec![line.module.clone()];
    for path in paths {
        if let Reach::There(real) | Reach::Outside(real) = flat.reach(&path) {
            names.push(String::from_utf8_lossy(split(&real).1).into_owned());
        }
    }
    names = names
        .iter()
        .map(|name| {
            let name = name.rsplit('/').next().unwrap_or_default();
            name.strip_suffix(".so").unwrap_or(name).to_owned()
        })
        .collect();
    names.sort();
    names.dedup();
    let (mut all, mut deed) = (Vec::new(), None);
    for name in names {
        let (answers, does) = answers_of(loaded, caller, line, &name);
        all.extend(
            answers
                .into_iter()
                .filter(|answer| !all.contains(answer))
                .collect::<Vec<_>>(),
        );
        deed = deed.or(does);
    }
    (all, deed)
}

/// The same for the module of one name.
fn answers_of(loaded: &Loaded<'_>, caller: Caller<'_>, line: &Line, name: &str) -> Judged {
    let has = |word: &str| line.arguments.iter().any(|argument| argument == word);
    let is_there = match line.module.strip_prefix('/') {
        Some(path) => loaded.flat().reach(path.as_bytes()) != Reach::Absent,
        // Some other file in the modules' directory, `../../x.so`.
        None if line.module.contains('/') => true,
        None => !loaded.modules(line.module.as_bytes()).is_empty(),
    };
    if !is_there {
        return (vec![Answer::Unknown], None);
    }
    let asks = matches!(line.kind, Kind::Auth | Kind::Password);
    let answers = match name {
        "pam_deny" | "pam_rootok" => vec![Answer::Wrong],
        "pam_succeed_if" => conditions(caller, line),
        "pam_unix" if asks && caller.knows => vec![Answer::Success, Answer::Wrong],
        "pam_unix" if asks => vec![Answer::Wrong],
        // In `account` and `session`, hardly any module refuses.
        "pam_unix" => vec![Answer::Success],
        // It lets users pass to whom it gives capabilities.
        "pam_cap" if has("autoauth") => vec![Answer::Success, Answer::Ignore],
        "pam_nologin" if asks && !has("successok") => vec![Answer::Ignore, Answer::Failure],
        name if SUCCEEDING.contains(&name) && asks => {
            vec![Answer::Success, Answer::Ignore, Answer::Failure]
        }
        name if SILENT.contains(&name) && asks => vec![Answer::Ignore],
        name if SILENT.contains(&name) => vec![Answer::Success, Answer::Ignore],
        name if line.kind == Kind::Auth => of_auth(name, &has, caller, line),
        name if line.kind == Kind::Password && ASKING.contains(&name) => vec![Answer::Failure],
        "pam_permit" => vec![Answer::Success],
        // A file, a database or a program of the image decides, and its answer is not known.
        _ => vec![Answer::Success, Answer::Failure],
    };
    let does = if RUNNING.contains(&name) && is_there {
        Some("runs a program as root".to_owned())
    } else if name == "pam_motd" && !caller.by_sudo {
        None
    } else {
        pam_modules::deed(loaded.flat(), caller.accounts, caller.runtime, name, line)
    };
    (answers, does)
}

/// The possible answers of a module in the stack `auth`.
fn of_auth(name: &str, has: &dyn Fn(&str) -> bool, caller: Caller<'_>, line: &Line) -> Vec<Answer> {
    match name {
        "pam_faillock" if has("authfail") => vec![Answer::Wrong],
        "pam_usertype" if has("use_uid") => vec![Answer::Success, Answer::Wrong],
        "pam_usertype" if has("issystem") && caller.root => vec![Answer::Success],
        "pam_usertype" if caller.root => vec![Answer::Wrong],
        "pam_permit" => vec![Answer::Success],
        "pam_wheel" if has("trust") && trusts(caller.runtime, line) => vec![Answer::Success],
        "pam_wheel" if has("trust") => vec![Answer::Failure],
        "pam_wheel" => vec![Answer::Ignore, Answer::Failure],
        name if ASKING.contains(&name) => vec![Answer::Failure],
        _ => vec![Answer::Success, Answer::Failure],
    }
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

/// `pam_succeed_if`: conditions on the requested account, or, with `use_uid`, on the image's user.
fn conditions(caller: Caller<'_>, line: &Line) -> Vec<Answer> {
    let target = if line.arguments.iter().any(|word| word == "use_uid") {
        Some(caller.runtime.uid.unwrap_or(0))
    } else {
        caller.target
    };
    match target {
        Some(uid) => condition(uid, line),
        None => vec![Answer::Success, Answer::Wrong],
    }
}

fn condition(uid: u32, line: &Line) -> Vec<Answer> {
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
    // A condition that is not compared here may hold or not.
    let mut is_known = !words.is_empty();
    let mut holds = true;
    for words in words.chunks(3) {
        let compared = match words {
            ["uid", operator, number] => compare(uid, operator, number),
            _ => None,
        };
        match compared {
            Some(fits) => holds &= fits,
            None => is_known = false,
        }
    }
    match (is_known, holds) {
        (true, true) => vec![Answer::Success],
        (_, false) => vec![Answer::Wrong],
        (false, true) => vec![Answer::Success, Answer::Wrong],
    }
}

/// Plain decimal numbers only: the module takes others, too (`0x0`, `010`).
fn compare(uid: u32, operator: &str, number: &str) -> Option<bool> {
    let digits = number.strip_prefix('-').unwrap_or(number);
    if digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    let number: i64 = number.parse().ok()?;
    let uid = i64::from(uid);
    Some(match operator {
        "=" | "eq" => uid == number,
        "ne" => uid != number,
        "<" | "lt" => uid < number,
        "<=" | "le" => uid <= number,
        ">" | "gt" => uid > number,
        ">=" | "ge" => uid >= number,
        _ => return None,
    })
}
