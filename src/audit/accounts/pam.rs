//! PAM's configuration (pam.conf(5), pam.d(5)) and how a service's stacks end for a person. The stacks are
//! walked as Linux-PAM does it (`libpam/pam_handlers.c`, `pam_dispatch.c`), with the answers that the modules
//! can give such a person.

use std::collections::BTreeSet;

use super::{is_space, joined};

/// How deep files may include files.
const MAX_DEPTH: usize = 16;

/// Lines of a stack that are walked at most.
const MAX_LINES: usize = 512;

/// Which stack a line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Auth,
    Account,
    Password,
    Session,
}

/// The action for each answer of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// By the answer's name; `default` stands for all others.
    Answers(Vec<(String, Action)>),
    Include,
    Substack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Ignore,
    Ok,
    Done,
    Bad,
    Die,
    Reset,
    Jump(usize),
}

/// A line of a service's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub number: usize,
    pub kind: Kind,
    pub control: Control,
    /// Or the service that is included.
    pub module: String,
    pub arguments: Vec<String>,
}

/// A file of `/etc/pam.d`: lines, and files that are included for all stacks (`@include`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    Line(Line),
    Include(String),
    /// Text that PAM does not understand. Some of it fails a stack, some is left out.
    Odd,
    /// Text that releases of PAM read differently, and its line.
    Unclear(usize),
}

/// What libpam's buffer holds of one line: it reads what is behind as a line of its own.
const MAX_LINE: usize = 1023;

/// The lines as libpam joins them, and those that are unclear.
fn joined_lines(bytes: &[u8]) -> (Vec<(usize, String)>, Option<usize>) {
    let is_unclear = |line: &&[u8]| {
        let blank_behind = line.trim_ascii_end();
        line.len() >= MAX_LINE
            || line.contains(&0)
            || (blank_behind.len() < line.len() && blank_behind.ends_with(b"\\"))
    };
    let unclear = bytes
        .split(|&byte| byte == b'\n')
        .position(|line| is_unclear(&line));
    let joined = joined(bytes, true);
    let too_long = joined.iter().find(|(_, text)| text.len() >= MAX_LINE);
    let unclear = unclear.map(|at| at + 1).or(too_long.map(|(line, _)| *line));
    (joined, unclear)
}

/// Reads one file of `/etc/pam.d`.
pub fn parse(bytes: &[u8]) -> Vec<Statement> {
    let (joined, unclear) = joined_lines(bytes);
    joined
        .iter()
        .map(|(number, text)| statement(*number, text))
        .chain(unclear.map(Statement::Unclear))
        .collect()
}

/// Reads `/etc/pam.conf`, where each line begins with its service; those of one service.
pub fn parse_common(bytes: &[u8], service: &str) -> Vec<Statement> {
    let (joined, unclear) = joined_lines(bytes);
    joined
        .iter()
        .filter_map(|(number, text)| {
            let (own, rest) = next_word(text)?;
            own.eq_ignore_ascii_case(service)
                .then(|| statement(*number, rest))
        })
        .chain(unclear.map(Statement::Unclear))
        .collect()
}

fn statement(number: usize, text: &str) -> Statement {
    let mut words = words(text).into_iter();
    if let Some((first, rest)) = next_word(text)
        && first.eq_ignore_ascii_case("@include")
    {
        return match next_word(rest) {
            Some((name, _)) => Statement::Include(name),
            None => Statement::Odd,
        };
    }
    let (Some(kind), Some(control), Some(module)) = (words.next(), words.next(), words.next())
    else {
        return Statement::Odd;
    };
    let kind = match kind.trim_start_matches('-').to_ascii_lowercase().as_str() {
        "auth" => Kind::Auth,
        "account" => Kind::Account,
        "password" => Kind::Password,
        "session" => Kind::Session,
        _ => return Statement::Odd,
    };
    Statement::Line(Line {
        number,
        kind,
        // An invalid control makes every answer a failure; the module is loaded and called all the
        // same.
        control: control_of(&control)
            .unwrap_or_else(|| Control::Answers(vec![("default".into(), Action::Bad)])),
        module,
        arguments: words.collect(),
    })
}

/// The next word and what is behind it. `[…]` is one word, wherever it stands, without its brackets.
fn next_word(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start_matches([' ', '\t', '\n']);
    if text.is_empty() {
        return None;
    }
    let Some(inner) = text.strip_prefix('[') else {
        let end = text.find([' ', '\t', '\n']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut word = String::new();
    let mut letters = inner.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            ']' => return Some((word, &inner[at + 1..])),
            '\\' if letters.next_if(|(_, next)| *next == ']').is_some() => word.push(']'),
            letter => word.push(letter),
        }
    }
    Some((word, ""))
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some((word, behind)) = next_word(rest) {
        words.push(word);
        rest = behind;
    }
    words
}

fn control_of(text: &str) -> Option<Control> {
    let table = |pairs: &[(&str, Action)]| {
        let pairs = pairs
            .iter()
            .map(|(name, action)| ((*name).to_owned(), *action));
        Some(Control::Answers(pairs.collect()))
    };
    let with = |default| {
        table(&[
            ("success", Action::Ok),
            ("new_authtok_reqd", Action::Ok),
            ("ignore", Action::Ignore),
            ("default", default),
        ])
    };
    match text.to_ascii_lowercase().as_str() {
        "required" => with(Action::Bad),
        "requisite" => with(Action::Die),
        "optional" => with(Action::Ignore),
        "sufficient" => table(&[
            ("success", Action::Done),
            ("new_authtok_reqd", Action::Done),
            ("default", Action::Ignore),
        ]),
        "include" => Some(Control::Include),
        "substack" => Some(Control::Substack),
        _ => Some(Control::Answers(pairs_of(text)?)),
    }
}

/// `success=ok default=ignore`, with or without blanks between (`_pam_parse_control`). As there, the first
/// `default` counts.
fn pairs_of(text: &str) -> Option<Vec<(String, Action)>> {
    const ACTIONS: [(&str, Action); 6] = [
        ("ignore", Action::Ignore),
        ("ok", Action::Ok),
        ("done", Action::Done),
        ("bad", Action::Bad),
        ("die", Action::Die),
        ("reset", Action::Reset),
    ];
    let mut pairs: Vec<(String, Action)> = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let is_of_name = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
        let end = rest.find(|letter| !is_of_name(letter))?;
        let (name, behind) = rest.split_at(end);
        let value = behind.trim_start_matches(is_space).strip_prefix('=')?;
        let value = value.trim_start_matches(is_space);
        let known = ACTIONS
            .iter()
            .find_map(|(word, action)| Some((*action, value.strip_prefix(word)?)));
        let (action, behind) = if let Some(known) = known {
            known
        } else {
            let end = value.find(|letter: char| !letter.is_ascii_digit());
            let (number, behind) = value.split_at(end.unwrap_or(value.len()));
            match number.parse().ok()? {
                0 => (Action::Ignore, behind),
                count => (Action::Jump(count), behind),
            }
        };
        let is_again = name == "default" && pairs.iter().any(|(known, _)| known == name);
        if !is_again {
            pairs.push((name.to_owned(), action));
        }
        rest = behind.trim_start_matches(is_space);
    }
    (!pairs.is_empty()).then_some(pairs)
}

/// A module's answer to a person who knows no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Success,
    Ignore,
    /// A wrong secret.
    Wrong,
    /// A wrong secret, no such user, no permission, no server: it is not known which.
    Failure,
    /// The module is missing.
    Unknown,
}

impl Answer {
    /// The names that a control's table may have for it.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Success => &["success"],
            Self::Ignore => &["ignore"],
            // Without a terminal, say, there is no secret at all, and the error has another name.
            Self::Wrong | Self::Failure => &FAILURES,
            Self::Unknown => &["module_unknown", "symbol_err", "open_err"],
        }
    }
}

/// The names of errors (`_pam_token_returns`).
const FAILURES: [&str; 26] = [
    "auth_err",
    "user_unknown",
    "perm_denied",
    "authinfo_unavail",
    "conv_err",
    "conv_again",
    "incomplete",
    "authtok_err",
    "authtok_recover_err",
    "authtok_recovery_err",
    "authtok_lock_busy",
    "authtok_disable_aging",
    "authtok_expired",
    "cred_insufficient",
    "cred_unavail",
    "cred_expired",
    "cred_err",
    "acct_expired",
    "session_err",
    "service_err",
    "system_err",
    "buf_err",
    "maxtries",
    "try_again",
    "no_module_data",
    "abort",
];

/// What a module may answer; and what root then does for the image's author.
pub type Judged = (Vec<Answer>, Option<String>);

/// A module of a stack, its control's table and what it may answer.
#[derive(Debug, Clone)]
pub struct Step {
    pub answers: Vec<Answer>,
    pub table: Vec<(String, Action)>,
    /// What root does for the image's author as soon as this module is reached: `runs a program as root`.
    pub does: Option<String>,
    /// For the finding.
    pub label: String,
}

/// A stack, with substacks as stacks of their own.
#[derive(Debug, Clone)]
pub enum Node {
    Step(Step),
    Substack(Vec<Node>),
}

/// The state during the walk of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mood {
    Undecided,
    Good,
    Failed,
}

/// What a module does for the image's author, and its line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deed {
    pub what: String,
    pub label: String,
}

/// The result of a stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StackEnd {
    /// It can end well.
    pub passes: bool,
    /// What modules do that are reached, and their lines.
    pub deeds: BTreeSet<Deed>,
}

/// How many modules are reached at most on all ways through a stack.
const MAX_REACHED: usize = 100_000;

/// Walks a stack along every path that the modules' answers allow.
pub fn walk(stack: &[Node]) -> StackEnd {
    let mut outcome = StackEnd::default();
    let mut budget = MAX_REACHED;
    let ends = walk_from(stack, Mood::Undecided, &mut outcome.deeds, &mut budget);
    // What is too long to be walked counts as open.
    outcome.passes = ends.contains(&Mood::Good) || budget == 0;
    outcome
}

/// The states in which a stack can end. A substack goes on with the state before it, and `reset` in it
/// brings that state back; its end by `die` or `done` ends only itself.
fn walk_from(
    stack: &[Node],
    start: Mood,
    deeds: &mut BTreeSet<Deed>,
    budget: &mut usize,
) -> BTreeSet<Mood> {
    let mut ends = BTreeSet::new();
    // The position and the state so far: each pair is visited once.
    let mut seen = BTreeSet::new();
    let mut waiting = vec![(0, start)];
    while let Some((at, mood)) = waiting.pop() {
        if *budget == 0 {
            break;
        }
        if !seen.insert((at, mood)) {
            continue;
        }
        *budget -= 1;
        let Some(node) = stack.get(at) else {
            ends.insert(mood);
            continue;
        };
        match node {
            Node::Substack(inner) => {
                let moods = walk_from(inner, mood, deeds, budget);
                waiting.extend(moods.into_iter().map(|mood| (at + 1, mood)));
            }
            Node::Step(step) => {
                if let Some(what) = &step.does {
                    deeds.insert(Deed {
                        what: what.clone(),
                        label: step.label.clone(),
                    });
                }
                for answer in &step.answers {
                    for action in actions(step, *answer) {
                        let next = match action {
                            Action::Reset => start,
                            action => after(mood, *answer, action),
                        };
                        match action {
                            Action::Done if next == Mood::Good => {
                                ends.insert(next);
                            }
                            // Past the end is an error, which fails.
                            Action::Jump(count) if count >= stack.len() - at => {
                                ends.insert(Mood::Failed);
                            }
                            Action::Die => {
                                ends.insert(next);
                            }
                            Action::Jump(count) => waiting.push((at + 1 + count, next)),
                            _ => waiting.push((at + 1, next)),
                        }
                    }
                }
            }
        }
    }
    ends
}

/// A failure can have several names; the action of each is followed.
fn actions(step: &Step, answer: Answer) -> Vec<Action> {
    let named = |name: &str| {
        let found = step.table.iter().rev().find(|(own, _)| own == name);
        found.map(|(_, action)| *action)
    };
    let default = named("default").unwrap_or(Action::Bad);
    let mut actions: Vec<Action> = Vec::new();
    for name in answer.names() {
        let action = named(name).unwrap_or(default);
        if !actions.contains(&action) {
            actions.push(action);
        }
    }
    actions
}

fn after(mood: Mood, answer: Answer, action: Action) -> Mood {
    match (action, mood, answer) {
        (Action::Reset, ..) => Mood::Undecided,
        // An answer other than success with the action `ok` becomes the stack's result.
        (Action::Bad | Action::Die, ..)
        | (
            Action::Ok | Action::Done,
            Mood::Good,
            Answer::Wrong | Answer::Failure | Answer::Unknown,
        ) => Mood::Failed,
        (Action::Ok | Action::Done, Mood::Undecided, Answer::Success) => Mood::Good,
        (_, mood, _) => mood,
    }
}

/// The modules of all stacks of a service, through all that it includes: libpam loads each of them when
/// the first stack runs. `None` if there are too many files.
pub fn modules(
    service: &str,
    read: &mut dyn FnMut(&str) -> Option<Vec<Statement>>,
) -> Option<BTreeSet<String>> {
    let mut modules = BTreeSet::new();
    // Of a file that is included for one kind, the lines of this kind count.
    let mut waiting: Vec<(String, Option<Kind>)> = vec![(service.to_owned(), None)];
    let mut seen: BTreeSet<(String, Option<Kind>)> = waiting.iter().cloned().collect();
    while let Some((name, only)) = waiting.pop() {
        for statement in read(&name).into_iter().flatten() {
            let next = match statement {
                Statement::Odd | Statement::Unclear(_) => continue,
                Statement::Include(name) => (name, only),
                Statement::Line(line) if only.is_some_and(|only| only != line.kind) => continue,
                Statement::Line(line) => match line.control {
                    Control::Include | Control::Substack => (line.module, Some(line.kind)),
                    Control::Answers(_) => {
                        modules.insert(line.module);
                        continue;
                    }
                },
            };
            if seen.insert(next.clone()) {
                if seen.len() > MAX_LINES {
                    return None;
                }
                waiting.push(next);
            }
        }
    }
    Some(modules)
}

/// Reads one stack of a service with its included files. `None` if it is too deep or too long.
pub fn stack(
    service: &str,
    kind: Kind,
    read: &mut dyn FnMut(&str) -> Option<Vec<Statement>>,
    step: &dyn Fn(&Line) -> Judged,
) -> Option<Vec<Node>> {
    let mut budget = MAX_LINES;
    collect(service, kind, read, step, 0, &mut budget)
}

fn collect(
    service: &str,
    kind: Kind,
    read: &mut dyn FnMut(&str) -> Option<Vec<Statement>>,
    step: &dyn Fn(&Line) -> Judged,
    depth: usize,
    budget: &mut usize,
) -> Option<Vec<Node>> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut nodes = Vec::new();
    let fails = |answers: &[Answer]| {
        Node::Step(Step {
            answers: answers.to_vec(),
            table: vec![
                ("ignore".into(), Action::Ignore),
                ("default".into(), Action::Bad),
            ],
            does: None,
            label: String::new(),
        })
    };
    let Some(statements) = read(service) else {
        return Some(vec![fails(&[Answer::Wrong])]);
    };
    for statement in statements {
        *budget = budget.checked_sub(1)?;
        match statement {
            // It fails the stack, or counts by its own control, which may leave it out.
            Statement::Odd if kind == Kind::Auth => {
                nodes.push(fails(&[Answer::Wrong, Answer::Ignore]));
            }
            Statement::Odd | Statement::Unclear(_) => {}
            Statement::Include(name) => {
                nodes.extend(collect(&name, kind, read, step, depth + 1, budget)?);
            }
            Statement::Line(line) if line.kind != kind => {}
            Statement::Line(line) => match &line.control {
                Control::Include => {
                    nodes.extend(collect(&line.module, kind, read, step, depth + 1, budget)?);
                }
                Control::Substack => {
                    let inner = collect(&line.module, kind, read, step, depth + 1, budget)?;
                    nodes.push(Node::Substack(inner));
                }
                Control::Answers(table) => {
                    let (answers, does) = step(&line);
                    nodes.push(Node::Step(Step {
                        answers,
                        table: table.clone(),
                        does,
                        label: format!("line {} ({})", line.number, line.module),
                    }));
                }
            },
        }
    }
    Some(nodes)
}
