//! `/etc/sudoers` (sudoers(5)): user specifications, aliases, includes, `Defaults`.
//!
//! It reads which user may do something, and whether sudo asks for a password. It does not
//! compare hosts (in a container, any name may be the host's).

use std::collections::{BTreeMap, BTreeSet};

use super::sudo_defaults::{self, Effect};
use super::{loose_decimal, lossy};

/// How deep aliases may name aliases.
const MAX_DEPTH: usize = 16;

/// Definitions of one alias that are tried; more count as a match.
const MAX_DEFINITIONS: usize = 8;

/// One of the ways in which sudo may read the rules.
#[derive(Clone, Copy)]
struct Reading {
    /// `Defaults !case_insensitive_user`, `!case_insensitive_group`.
    is_exact: bool,
    definition: usize,
}

/// The users that an item of a user list stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    All,
    User(String),
    Uid(u32),
    Group(String),
    Gid(u32),
    Alias(String),
    Netgroup(String),
    /// A group of a plugin: its members are not known.
    Plugin(String),
    /// Text that sudo does not understand.
    Other(String),
}

/// One user specification: these users may run these commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub line: usize,
    /// With `true` where `!` excludes.
    pub users: Vec<(bool, Who)>,
    /// Some command needs no password.
    pub nopasswd: bool,
    /// The text after the first `=`.
    pub commands: String,
}

/// `@include` or `@includedir`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    pub line: usize,
    pub path: String,
    pub directory: bool,
}

/// An option of `Defaults` that is not known to be harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub line: usize,
    pub name: String,
    pub value: Option<String>,
    pub effect: Effect,
}

/// Whose password sudo asks for, other than the user's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asks {
    /// `Defaults runaspw`: that of `runas_default`.
    pub runas: bool,
    /// `Defaults targetpw`: that of the account for which the command is run.
    pub target: bool,
    pub runas_default: Option<String>,
}

/// The content of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sudoers {
    pub rules: Vec<Rule>,
    pub includes: Vec<Include>,
    /// Of several definitions of one name, releases of sudo take different ones: all are kept.
    pub user_aliases: BTreeMap<String, Vec<Vec<(bool, Who)>>>,
    /// Lines with `Defaults !authenticate`: sudo asks no user for a password.
    pub no_authenticate: Vec<usize>,
    /// `Defaults exempt_group`: sudo does not ask its members for a password.
    pub exempt_groups: Vec<String>,
    /// `Defaults group_plugin`: a library that knows the members of `%:GROUP`.
    pub group_plugins: Vec<String>,
    /// `Defaults pam_service` and similar settings.
    pub pam_services: Vec<String>,
    pub asks: Asks,
    pub settings: Vec<Setting>,
    pub odd_lines: Vec<usize>,
}

/// The person for whom the rules are searched.
pub struct Person<'a> {
    pub uid: Option<u32>,
    pub names: &'a [String],
    pub gids: &'a [u32],
    pub groups: &'a [String],
    /// Of `/etc/netgroup`.
    pub netgroups: &'a BTreeSet<String>,
}

impl Rule {
    /// Whether it lets commands run as root; if this is not clear, it counts as yes.
    pub fn is_to_root(&self) -> bool {
        let root = |list: &str| {
            let users = list.split(':').next().unwrap_or_default();
            users.split(',').map(str::trim).any(|user| {
                let is_alias = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
                user == "root"
                    || user.starts_with(['#', '%', '+', '!', '"', '\\'])
                    || user.chars().all(is_alias)
            })
        };
        // Without a list it is root.
        let mut found = !self.commands.starts_with('(');
        let mut rest = self.commands.as_str();
        while let Some((_, after)) = rest.split_once('(') {
            let Some((list, next)) = after.split_once(')') else {
                return true;
            };
            found |= root(list);
            rest = next;
        }
        found
    }
}

impl Rule {
    /// Whether it lets commands run as this account, which is not root; an alias or a group counts as yes.
    pub fn is_to(&self, name: &str, uid: Option<u32>, runas_default: &str) -> bool {
        let fits = |list: &str| {
            let users = list.split(':').next().unwrap_or_default();
            users.split(',').map(str::trim).any(|user| {
                let is_alias = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
                user == name
                    || uid.is_some_and(|uid| user == format!("#{uid}"))
                    || user.starts_with(['%', '+', '"', '\\'])
                    || (!user.is_empty() && user.chars().all(is_alias))
            })
        };
        let mut found = !self.commands.starts_with('(') && runas_default == name;
        let mut rest = self.commands.as_str();
        while let Some((_, after)) = rest.split_once('(') {
            let Some((list, next)) = after.split_once(')') else {
                return true;
            };
            found |= fits(list);
            rest = next;
        }
        found
    }
}

impl Asks {
    pub fn merge(&mut self, other: Self) {
        self.runas |= other.runas;
        self.target |= other.target;
        self.runas_default = other.runas_default.or(self.runas_default.take());
    }
}

impl Sudoers {
    /// Whether a rule's user list fits: the last item that fits decides (sudoers(5), "!"). It fits if it does
    /// in one of the readings: names with and without regard to case, each definition of an alias.
    pub fn fits(&self, users: &[(bool, Who)], person: &Person<'_>) -> bool {
        let definitions = self.user_aliases.values().map(Vec::len).max();
        let definitions = definitions.unwrap_or(1).clamp(1, MAX_DEFINITIONS);
        [true, false].iter().any(|is_exact| {
            (0..definitions).any(|definition| {
                let reading = Reading {
                    is_exact: *is_exact,
                    definition,
                };
                self.decides(users, person, &mut BTreeMap::new(), (reading, 0)) == Some(true)
            })
        })
    }

    /// `known` has the results of aliases, so that each is followed only once.
    fn decides<'s>(
        &'s self,
        users: &'s [(bool, Who)],
        person: &Person<'_>,
        known: &mut BTreeMap<&'s str, Option<bool>>,
        (reading, depth): (Reading, usize),
    ) -> Option<bool> {
        let has = |names: &[String], name: &str| {
            names
                .iter()
                .any(|own| own == name || (!reading.is_exact && own.eq_ignore_ascii_case(name)))
        };
        users.iter().rev().find_map(|(negated, who)| {
            let fits = match who {
                Who::All => true,
                Who::User(name) => has(person.names, name),
                Who::Uid(uid) => person.uid == Some(*uid),
                Who::Group(name) => has(person.groups, name),
                Who::Gid(gid) => person.gids.contains(gid),
                Who::Alias(name) => match self.user_aliases.get(name) {
                    Some(definitions) if definitions.len() > MAX_DEFINITIONS => true,
                    Some(definitions) => {
                        let last = definitions.len().saturating_sub(1);
                        let users = definitions.get(reading.definition.min(last))?;
                        let fits = if let Some(fits) = known.get(name.as_str()) {
                            *fits
                        } else {
                            // An alias that leads back to itself, or too deep, counts as a match.
                            known.insert(name, Some(true));
                            let fits = if depth < MAX_DEPTH {
                                self.decides(users, person, known, (reading, depth + 1))
                            } else {
                                Some(true)
                            };
                            known.insert(name, fits);
                            fits
                        };
                        return fits.map(|fits| fits != *negated);
                    }
                    // The name of a user may be in capitals.
                    None => has(person.names, name),
                },
                Who::Netgroup(name) => person.netgroups.contains(name),
                // Only the plugin knows.
                Who::Plugin(_) => !self.group_plugins.is_empty(),
                Who::Other(_) => false,
            };
            fits.then_some(!negated)
        })
    }

    /// Adds the aliases of another file.
    pub fn add_aliases(&mut self, other: BTreeMap<String, Vec<Vec<(bool, Who)>>>) {
        for (name, definitions) in other {
            self.user_aliases
                .entry(name)
                .or_default()
                .extend(definitions);
        }
    }

    /// Adds the content of an included file.
    pub fn merge(&mut self, other: Self) {
        self.rules.extend(other.rules);
        self.includes.extend(other.includes);
        self.add_aliases(other.user_aliases);
        self.no_authenticate.extend(other.no_authenticate);
        self.odd_lines.extend(other.odd_lines);
        self.exempt_groups.extend(other.exempt_groups);
        self.group_plugins.extend(other.group_plugins);
        self.pam_services.extend(other.pam_services);
        self.asks.merge(other.asks);
        self.settings.extend(other.settings);
    }
}

/// Whether sudo reads a file of this name in an `@includedir`.
pub fn is_included(name: &[u8]) -> bool {
    !name.ends_with(b"~") && !name.contains(&b'.')
}

/// Reads one file.
pub fn parse(bytes: &[u8]) -> Sudoers {
    let mut sudoers = Sudoers::default();
    for (number, line) in joined_lines(bytes) {
        statement(&mut sudoers, number, line.trim_ascii());
    }
    sudoers
}

fn statement(sudoers: &mut Sudoers, number: usize, line: &[u8]) {
    for (word, directory) in [("includedir", true), ("include", false)] {
        for sign in [b'@', b'#'] {
            let rest = line
                .strip_prefix(&[sign])
                .and_then(|rest| rest.strip_prefix(word.as_bytes()));
            if let Some(rest) =
                rest.filter(|rest| rest.first().is_some_and(u8::is_ascii_whitespace))
            {
                let path = without_comment(rest).trim_ascii();
                let path = path.strip_prefix(b"\"").unwrap_or(path);
                let path = path.strip_suffix(b"\"").unwrap_or(path);
                sudoers.includes.push(Include {
                    line: number,
                    path: lossy(path).replace("\\ ", " "),
                    directory,
                });
                return;
            }
        }
    }
    let line = without_comment(line).trim_ascii();
    if line.is_empty() {
        return;
    }
    // `Defaultsuser ALL=…` is a rule for a user of that name.
    let rest = line.strip_prefix(b"Defaults").filter(|rest| {
        let next = rest.first();
        next.is_none_or(|next| next.is_ascii_whitespace() || b":@>!".contains(next))
    });
    if let Some(rest) = rest {
        defaults(sudoers, number, rest);
        return;
    }
    for word in [
        "User_Alias",
        "Runas_Alias",
        "Host_Alias",
        "Cmnd_Alias",
        "Cmd_Alias",
    ] {
        let rest = line.strip_prefix(word.as_bytes());
        if let Some(rest) = rest.filter(|rest| rest.first().is_some_and(u8::is_ascii_whitespace)) {
            if word == "User_Alias" {
                user_aliases(sudoers, number, rest);
            }
            return;
        }
    }
    let Some(equals) = outside_quotes(line, b'=') else {
        sudoers.odd_lines.push(number);
        return;
    };
    let (users, rest) = user_list(line);
    // The hosts are between the users and the equals sign.
    if users.is_empty() || line.len() - rest.len() >= equals {
        sudoers.odd_lines.push(number);
        if users.is_empty() {
            return;
        }
    }
    let commands = &line[equals + 1..];
    sudoers.rules.push(Rule {
        line: number,
        users,
        nopasswd: has_tag(commands, b"NOPASSWD"),
        commands: lossy(commands.trim_ascii()),
    });
}

/// `Defaults[@:!>]… option, !option, option=value`
fn defaults(sudoers: &mut Sudoers, number: usize, rest: &[u8]) {
    let mut rest = rest;
    // A scope has no blank before it: `Defaults:app`, `Defaults!/bin/ls`.
    if !rest.first().is_none_or(u8::is_ascii_whitespace) {
        let end = rest.iter().position(u8::is_ascii_whitespace);
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    let (options, odd) = sudo_defaults::options(&lossy(rest));
    if odd {
        sudoers.odd_lines.push(number);
    }
    for option in options {
        if let Some(effect) = sudo_defaults::effect(&option) {
            sudoers.settings.push(Setting {
                line: number,
                name: option.name,
                value: option.value,
                effect,
            });
            continue;
        }
        let is_on = !option.negated;
        let value = option.value;
        match (option.name.as_str(), value) {
            ("authenticate", _) if !is_on => sudoers.no_authenticate.push(number),
            ("runaspw", _) => sudoers.asks.runas |= is_on,
            ("targetpw", _) => sudoers.asks.target |= is_on,
            ("exempt_group", Some(value)) => sudoers.exempt_groups.push(value),
            ("runas_default", Some(value)) => sudoers.asks.runas_default = Some(value),
            // The library's own arguments follow its path.
            ("group_plugin", Some(value)) => {
                let first = value.split_whitespace().next().unwrap_or_default();
                sudoers.group_plugins.push(first.to_owned());
            }
            ("pam_service" | "pam_login_service" | "pam_askpass_service", Some(value)) => {
                // libpam takes the last name of a path, in small letters.
                let name = value.rsplit('/').next().unwrap_or_default();
                sudoers.pam_services.push(name.to_ascii_lowercase());
            }
            _ => {}
        }
    }
}

/// `NAME = list : NAME = list`
fn user_aliases(sudoers: &mut Sudoers, number: usize, rest: &[u8]) {
    let mut rest = rest;
    loop {
        let Some(equals) = outside_quotes(rest, b'=') else {
            sudoers.odd_lines.push(number);
            return;
        };
        let name = lossy(rest[..equals].trim_ascii());
        let (users, after) = user_list(&rest[equals + 1..]);
        sudoers.user_aliases.entry(name).or_default().push(users);
        match after.trim_ascii_start().strip_prefix(b":") {
            Some(next) => rest = next,
            None => return,
        }
    }
}

/// Reads `item, item, …` and returns the rest.
fn user_list(text: &[u8]) -> (Vec<(bool, Who)>, &[u8]) {
    let mut users = Vec::new();
    let mut rest = text.trim_ascii_start();
    loop {
        let mut negated = false;
        while let Some(after) = rest.strip_prefix(b"!") {
            negated = !negated;
            rest = after.trim_ascii_start();
        }
        let (word, after) = word(rest);
        if word.is_empty() {
            return (users, after);
        }
        users.push((negated, who(&word)));
        let next = after.trim_ascii_start();
        match next.strip_prefix(b",") {
            Some(next) => rest = next.trim_ascii_start(),
            None => return (users, after),
        }
    }
}

/// One word: up to a blank, a comma, `=` or `:`; without quotes and backslashes.
fn word(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut word = Vec::new();
    let mut quoted = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' => {
                if let Some(byte) = hexadecimal(&text[at + 1..]) {
                    at += 3;
                    word.push(byte);
                } else {
                    at += 1;
                    word.extend(text.get(at));
                }
            }
            b'"' => quoted = !quoted,
            b' ' | b'\t' | b',' | b'=' if !quoted => break,
            // `%:group` names a group of a plugin; a colon elsewhere ends an alias's list.
            b':' if !quoted && !matches!(word.as_slice(), b"%") => break,
            _ => word.push(byte),
        }
        at += 1;
    }
    (word, &text[at.min(text.len())..])
}

/// `x70`, behind a backslash.
fn hexadecimal(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"x")?.get(..2)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn who(word: &[u8]) -> Who {
    match word {
        b"ALL" => Who::All,
        [b'%', b'#', gid @ ..] => match loose_decimal(gid) {
            Some(gid) => Who::Gid(gid),
            None => Who::Other(lossy(word)),
        },
        [b'%', b':', ..] => Who::Plugin(lossy(word)),
        [b'+', name @ ..] => Who::Netgroup(lossy(name)),
        [b'%', name @ ..] => Who::Group(lossy(name)),
        [b'#', uid @ ..] => match loose_decimal(uid) {
            Some(uid) => Who::Uid(uid),
            None => Who::Other(lossy(word)),
        },
        [first, ..]
            if first.is_ascii_uppercase()
                && word
                    .iter()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_') =>
        {
            Who::Alias(lossy(word))
        }
        _ => Who::User(lossy(word)),
    }
}

/// Whether a command list has a tag such as `NOPASSWD:`.
fn has_tag(commands: &[u8], tag: &[u8]) -> bool {
    commands.windows(tag.len()).enumerate().any(|(at, window)| {
        let before = at.checked_sub(1).and_then(|at| commands.get(at));
        let after = commands[at + tag.len()..].trim_ascii_start().first();
        window == tag
            && !before.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'/')
            && after == Some(&b':')
    })
}

fn outside_quotes(text: &[u8], wanted: u8) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.iter().position(|&byte| {
        let found = byte == wanted && !quoted && !escaped;
        quoted ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        found
    })
}

/// Removes a comment. `#` followed by digits is an id (a user's, or a group's after `%`).
fn without_comment(line: &[u8]) -> &[u8] {
    let (mut quoted, mut escaped) = (false, false);
    for (at, &byte) in line.iter().enumerate() {
        if byte == b'#' && !quoted && !escaped {
            let is_id = line.get(at + 1).is_some_and(u8::is_ascii_digit)
                || line[at + 1..].starts_with(b"-1");
            if !is_id {
                return &line[..at];
            }
        }
        quoted ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
    }
    line
}

/// Lines with their numbers from 1, those that end with a backslash joined with the next; but not a comment,
/// which ends with its own line.
fn joined_lines(bytes: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let mut lines: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut open = false;
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (text, continues) = match line.strip_suffix(b"\\") {
            Some(text) => (text, true),
            None => (line, false),
        };
        match lines.last_mut() {
            Some((_, last)) if open => last.extend_from_slice(text),
            _ => lines.push((index + 1, text.to_vec())),
        }
        let whole = lines.last().map_or(&b""[..], |(_, last)| last);
        let is_include = whole.trim_ascii_start().starts_with(b"#include");
        open = continues && (is_include || without_comment(whole).len() == whole.len());
    }
    lines
}
