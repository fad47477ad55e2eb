//! What sudo and doas allow (rules `sudo-*`, `doas-rule`).

use super::super::accounts::doas::{self, Identity};
use super::super::accounts::sudo_defaults::Effect;
use super::super::accounts::sudoers::{self, Person, Setting, Sudoers, Who};
use super::super::finding::{Finding, Severity};
use super::super::flatten::{Flat, Lookup};
use super::super::interest::Interest;
use super::super::paths::{ancestors, is_beneath, join, shown, split};
use super::accounts::{People, Runtime, readable};
use super::quoted;
use super::sudo_steps::{self, Step, Steps};

/// Files that are followed through includes.
const MAX_FILES: usize = 128;

/// What sudo loads, runs and asks because of its rules.
#[derive(Default)]
pub(super) struct SudoFacts {
    /// Some rule is for the image's user.
    pub(super) has_rule: bool,
    pub(super) pam_services: Vec<String>,
    /// Libraries that decide group membership.
    pub(super) plugins: Vec<String>,
}

pub(super) fn judge(
    flat: &Flat<'_>,
    people: &People<'_>,
    findings: &mut Vec<Finding>,
) -> SudoFacts {
    let mut facts = SudoFacts::default();
    for (file, programs) in [
        (&b"etc/sudoers"[..], ["usr/bin/sudo", "bin/sudo"]),
        (
            b"usr/local/etc/sudoers",
            ["usr/local/bin/sudo", "usr/bin/sudo"],
        ),
    ] {
        let present = programs.iter().any(|path| flat.has(path.as_bytes()));
        sudo(flat, people, file, present, &mut facts, findings);
    }
    for (file, programs) in [
        (&b"etc/doas.conf"[..], ["usr/bin/doas", "bin/doas"]),
        (
            b"usr/local/etc/doas.conf",
            ["usr/local/bin/doas", "usr/bin/doas"],
        ),
    ] {
        let present = programs.iter().any(|path| flat.has(path.as_bytes()));
        let mut files = vec![file.to_vec()];
        if file == b"etc/doas.conf" {
            files.extend(flat.files_in(b"etc/doas.d"));
        }
        doas(flat, people, &files, present, findings);
    }
    facts
}

/// A file of rules and its origin.
struct Source {
    layer: usize,
    path: Vec<u8>,
    sudoers: Sudoers,
}

/// Reads a sudoers file and all that it includes.
fn collect(flat: &Flat<'_>, file: &[u8], findings: &mut Vec<Finding>) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    let mut waiting = vec![file.to_vec()];
    let mut seen = waiting.clone();
    while let Some(path) = waiting.pop() {
        if sources.len() >= MAX_FILES {
            let layer = flat.origin(&path).unwrap_or(0);
            let message = format!("{} includes more than {MAX_FILES} files", shown(file));
            findings.push(Finding::of_path(
                "account-unreadable",
                Severity::High,
                layer,
                file,
                message,
            ));
            break;
        }
        let found = match flat.read(&path) {
            // What an `@include` names may be there in a container alone.
            Lookup::Absent => flat.read_through_links(&path),
            found => found,
        };
        let (layer, bytes) = match found {
            Lookup::Absent => continue,
            Lookup::Bytes { layer, bytes } => (layer, bytes),
            Lookup::Unreadable { layer, problem } => {
                findings.push(Finding::of_unreadable(layer, &path, problem));
                continue;
            }
        };
        let sudoers = sudoers::parse(bytes);
        for include in &sudoers.includes {
            // `%h` is the host's name, `%h` in a path names a file that differs by container.
            let (directory, _) = split(&path);
            let Some(target) = join(directory, include.path.as_bytes()) else {
                continue;
            };
            let targets = if include.directory {
                // A link leads out of the read files, or in a circle.
                let real = flat.follow(&target).unwrap_or_default();
                let mut files = flat.files_in(&real);
                if !Interest::is_read(&real) {
                    let message = format!(
                        "{} includes {}, which is not among the directories that are read",
                        shown(&path),
                        shown(&target)
                    );
                    let layer = flat.origin(&target).unwrap_or(0);
                    let rule = "account-unreadable";
                    let severity = Severity::High;
                    findings.push(Finding::of_path(rule, severity, layer, &target, message));
                }
                files.retain(|file| sudoers::is_included(split(file).1));
                files
            } else {
                vec![target]
            };
            for target in targets {
                if !seen.contains(&target) {
                    seen.push(target.clone());
                    waiting.push(target);
                }
            }
        }
        sources.push(Source {
            layer,
            path,
            sudoers,
        });
    }
    sources
}

fn sudo(
    flat: &Flat<'_>,
    people: &People<'_>,
    file: &[u8],
    present: bool,
    facts: &mut SudoFacts,
    findings: &mut Vec<Finding>,
) {
    let sources = collect(flat, file, findings);
    // An alias of one file counts in all files.
    let mut aliases = Sudoers::default();
    for source in &sources {
        aliases.add_aliases(source.sudoers.user_aliases.clone());
        let own = &source.sudoers;
        aliases.group_plugins.extend(own.group_plugins.clone());
        aliases.asks.merge(own.asks.clone());
        facts.plugins.extend(own.group_plugins.clone());
        facts.pam_services.extend(own.pam_services.clone());
    }
    let never_asks = sources.iter().any(|source| {
        let exempt = &source.sudoers.exempt_groups;
        !source.sudoers.no_authenticate.is_empty()
            || exempt.iter().any(|group| people.runtime.is_in(group))
    });
    let rules: Vec<&sudoers::Rule> = sources
        .iter()
        .flat_map(|source| &source.sudoers.rules)
        .collect();
    let steps = sudo_steps::reached(
        flat,
        people,
        &Steps {
            rules: &rules,
            all: &aliases,
            never_asks,
        },
    );
    if present && steps.is_cut {
        let layer = flat.origin(file).unwrap_or(0);
        let message = "has too many rules and accounts to follow them all".to_owned();
        let rule = "account-unreadable";
        findings.push(Finding::of_path(rule, Severity::High, layer, file, message));
    }
    let judgement = Judgement {
        people,
        person: people.runtime.person(),
        present,
        never_asks,
        answerable: people.own_is_known() || sudo_steps::knows_runas(people, &aliases.asks),
        aliases: &aliases,
        steps: &steps.accounts,
    };
    for source in &sources {
        for rule in &source.sudoers.rules {
            facts.has_rule |= judgement.is_ours(rule);
            findings.extend(judgement.rule(source, rule));
        }
        for setting in &source.sudoers.settings {
            findings.push(judged_setting(flat, source, setting, present));
        }
        for line in source.sudoers.odd_lines.iter().take(5) {
            let severity = if present {
                Severity::Medium
            } else {
                Severity::Low
            };
            let message = format!("line {line} cannot be understood");
            findings.push(Finding::of_path(
                "account-unreadable",
                severity,
                source.layer,
                &source.path,
                message,
            ));
        }
    }
}

/// What decides about a rule besides the rule.
struct Judgement<'a> {
    people: &'a People<'a>,
    person: Person<'a>,
    /// The program is there.
    present: bool,
    /// sudo never asks for a password.
    never_asks: bool,
    /// The password that it asks for is empty, or known to the image's author.
    answerable: bool,
    aliases: &'a Sudoers,
    /// Accounts that sudo itself leads to.
    steps: &'a [Step],
}

impl Judgement<'_> {
    /// The rule is for the image's user.
    fn is_ours(&self, rule: &sudoers::Rule) -> bool {
        self.aliases.fits(&rule.users, &self.person)
    }

    fn rule(&self, source: &Source, rule: &sudoers::Rule) -> Option<Finding> {
        let root_only = rule.users.iter().all(|(negated, who)| {
            *negated || *who == Who::User("root".into()) || *who == Who::Uid(0)
        });
        if root_only {
            return None;
        }
        let Allowed {
            id,
            severity,
            whom,
            asks,
        } = self.allowed(rule)?;
        let (severity, without) = if self.present {
            (severity, "")
        } else {
            (severity.min(Severity::Low), ", though there is no sudo")
        };
        let message = format!(
            "line {} lets {whom} run {}{asks}{without}",
            rule.line,
            quoted(&shorten(&rule.commands)),
        );
        Some(Finding::of_path(
            id,
            severity,
            source.layer,
            &source.path,
            message,
        ))
    }

    /// The account that the rule lets run commands; `None` if this needs a password that is not known.
    fn allowed(&self, rule: &sudoers::Rule) -> Option<Allowed> {
        let fits = |as_who: &Runtime| self.aliases.fits(&rule.users, &as_who.person());
        let nopasswd = rule.nopasswd || self.never_asks;
        let to_root = rule.is_to_root();
        let of_root = if to_root {
            Severity::High
        } else {
            Severity::Medium
        };
        let known = " with a password that is empty or known to the image's author";
        let of = |id, severity, whom, asks| Allowed {
            id,
            severity,
            whom,
            asks,
        };
        if self.is_ours(rule) {
            let whom = "the image's user".to_owned();
            return Some(if nopasswd {
                of("sudo-nopasswd", Severity::High, whom, " without a password")
            } else if self.answerable {
                of("sudo-rule", of_root, whom, known)
            } else {
                of("sudo-rule", Severity::Medium, whom, " with its password")
            });
        }
        let mut steps = self
            .steps
            .iter()
            .filter(|step| to_root && (nopasswd || step.answers));
        if let Some(step) = steps.find(|step| fits(&step.as_who)) {
            let asks = ", and sudo lets the image's user act as that account";
            return Some(of("sudo-rule", Severity::High, quoted(&step.name), asks));
        }
        let mut entrants = self
            .people
            .entrants
            .iter()
            .filter(|entrant| entrant.is_open);
        if let Some(entrant) = entrants.find(|entrant| fits(&entrant.as_who)) {
            return Some(of("sudo-rule", of_root, quoted(&entrant.name), known));
        }
        let others = || {
            of(
                "sudo-rule",
                Severity::Medium,
                "others".into(),
                " without a password",
            )
        };
        nopasswd.then(others)
    }
}

/// What a rule allows.
struct Allowed {
    /// The finding's rule.
    id: &'static str,
    severity: Severity,
    whom: String,
    /// For which password.
    asks: &'static str,
}

/// An option of `Defaults` that is not known to be harmless.
fn judged_setting(flat: &Flat<'_>, source: &Source, setting: &Setting, present: bool) -> Finding {
    let name = quoted(&shorten(&match &setting.value {
        Some(value) => format!("{}={value}", setting.name),
        None => setting.name.clone(),
    }));
    let line = setting.line;
    let (rule, severity, message) = match setting.effect {
        Effect::Unknown => (
            "account-unreadable",
            Severity::Medium,
            format!("line {line} has an option of sudo that is not judged: {name}"),
        ),
        Effect::Acts(how) if is_plain_log(flat, setting) => (
            "sudo-setting",
            Severity::Medium,
            format!("line {line} sets {name}: {how}"),
        ),
        Effect::Acts(how) => (
            "sudo-setting",
            Severity::High,
            format!("line {line} sets {name}: {how}"),
        ),
    };
    let severity = if present { severity } else { Severity::Low };
    Finding::of_path(rule, severity, source.layer, &source.path, message)
}

/// `logfile` or `iolog_dir` in `/var/log`, where no link leads elsewhere and no user but root can put one.
fn is_plain_log(flat: &Flat<'_>, setting: &Setting) -> bool {
    let path = setting
        .value
        .as_deref()
        .filter(|_| ["logfile", "iolog_dir"].contains(&setting.name.as_str()));
    // sudo puts names for what is behind a percent sign, that of the caller among them.
    let path = path.filter(|path| path.starts_with('/') && !path.contains('%'));
    let Some(path) = path.and_then(|path| join(b"", path.as_bytes())) else {
        return false;
    };
    // What is not kept there is a plain file, or a directory of root's alone.
    is_beneath(&path, b"var/log")
        && flat.follow(&path).as_ref() == Some(&path)
        && ancestors(&path)
            .chain([path.as_slice()])
            .filter(|path| is_beneath(path, b"var"))
            .all(|path| flat.item(path).is_none())
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn doas(
    flat: &Flat<'_>,
    people: &People<'_>,
    files: &[Vec<u8>],
    present: bool,
    findings: &mut Vec<Finding>,
) {
    let mut rules: Vec<(usize, &Vec<u8>, doas::Rule)> = Vec::new();
    for file in files {
        let Some((layer, bytes)) = readable(flat, file, findings) else {
            continue;
        };
        let parsed = doas::parse(bytes);
        for line in parsed.odd_lines.iter().take(5) {
            let message = format!("line {line} cannot be understood");
            let severity = if present {
                Severity::Medium
            } else {
                Severity::Low
            };
            findings.push(Finding::of_path(
                "account-unreadable",
                severity,
                layer,
                file,
                message,
            ));
        }
        rules.extend(parsed.rules.into_iter().map(|rule| (layer, file, rule)));
    }
    let own = people.own_is_known();
    let ours = in_force(&rules, &people.runtime.person());
    let theirs = people
        .entrants
        .iter()
        .filter(|entrant| entrant.is_open && !entrant.is_own)
        .flat_map(|entrant| {
            let in_force = in_force(&rules, &entrant.as_who.person());
            in_force
                .into_iter()
                .map(move |index| (index, Some(entrant)))
        });
    let mut told: Vec<usize> = Vec::new();
    for (index, entrant) in ours.into_iter().map(|index| (index, None)).chain(theirs) {
        let (layer, file, rule) = &rules[index];
        if !rule.gives_root() || told.contains(&index) {
            continue;
        }
        told.push(index);
        let severity = match (present, rule.nopass || own || entrant.is_some()) {
            (true, true) => Severity::High,
            (true, false) => Severity::Medium,
            (false, _) => Severity::Low,
        };
        let command = rule.command.as_deref().unwrap_or("anything");
        let asks = if rule.nopass {
            "without a password"
        } else if own || entrant.is_some() {
            "with a password that is empty or known to the image's author"
        } else {
            "with its password"
        };
        let without = if present {
            ""
        } else {
            ", though there is no doas"
        };
        let whom = entrant.map_or_else(
            || "the image's user".to_owned(),
            |entrant| quoted(&entrant.name),
        );
        let message = format!(
            "line {} lets {whom} run {} as root {asks}{without}",
            rule.line,
            quoted(&shorten(command)),
        );
        findings.push(Finding::of_path(
            "doas-rule",
            severity,
            *layer,
            file,
            message,
        ));
    }
}

/// The rules that are in force for a person, by their places: the last that fits, and those behind it that
/// are about one command or target.
fn in_force(rules: &[(usize, &Vec<u8>, doas::Rule)], person: &Person<'_>) -> Vec<usize> {
    let mut last = None;
    let mut partial = Vec::new();
    for (index, (_, _, rule)) in rules.iter().enumerate() {
        let fits = match &rule.identity {
            Identity::User(name) => person.names.contains(name),
            Identity::Uid(uid) => person.uid == Some(*uid),
            Identity::Group(name) => person.groups.contains(name),
            Identity::Gid(gid) => person.gids.contains(gid),
        };
        if !fits {
            continue;
        }
        // A rule about one command or target leaves those before it in force for the others.
        if rule.command.is_none() && rule.target.is_none() {
            partial.clear();
            last = Some(index);
        } else {
            partial.push(index);
        }
    }
    last.into_iter().chain(partial).collect()
}
