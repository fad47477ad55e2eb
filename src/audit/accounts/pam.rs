//! PAM's configuration (pam.conf(5), pam.d(5)) and how a service's stacks end for a person. The stacks are
//! walked as Linux-PAM does it (`libpam/pam_handlers.c`, `pam_dispatch.c`), with the answers that the modules
//! can give such a person.

use std::collections::BTreeSet;

use super::{lines, lossy};

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
    /// Text that PAM does not understand: it fails the `auth` stack.
    Odd,
}

/// Reads one file of `/etc/pam.d`.
pub fn parse(bytes: &[u8]) -> Vec<Statement> {
    let joined = lossy(bytes).replace("\\\n", " ");
    lines(joined.as_bytes())
        .map(|(number, text)| {
            let text = lossy(text);
            let text = text.split('#').next().unwrap_or_default();
            statement(number, text)
        })
        .collect()
}

/// Reads `/etc/pam.conf`, where each line begins with its service; those of one service.
pub fn parse_common(bytes: &[u8], service: &str) -> Vec<Statement> {
    let joined = lossy(bytes).replace("\\\n", " ");
    lines(joined.as_bytes())
        .filter_map(|(number, text)| {
            let text = lossy(text);
            let text = text.split('#').next().unwrap_or_default().trim();
            let (own, rest) = text.split_once(char::is_whitespace)?;
            own.eq_ignore_ascii_case(service)
                .then(|| statement(number, rest))
        })
        .collect()
}

fn statement(number: usize, text: &str) -> Statement {
    let text = text.trim();
    if let Some(name) = text.strip_prefix("@include") {
        return Statement::Include(name.trim().to_owned());
    }
    let mut words = words(text).into_iter();
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

/// Words, of which `[…]` is one.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = match rest.strip_prefix('[') {
            Some(inner) => inner.find(']').map_or(rest.len(), |at| at + 2),
            None => rest.find(char::is_whitespace).unwrap_or(rest.len()),
        };
        words.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
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
        text => {
            let inner = text.strip_prefix('[')?.strip_suffix(']')?;
            let mut pairs = Vec::new();
            for pair in inner.split_whitespace() {
                let (answer, action) = pair.split_once('=')?;
                let action = match action {
                    "ignore" => Action::Ignore,
                    "ok" => Action::Ok,
                    "done" => Action::Done,
                    "bad" => Action::Bad,
                    "die" => Action::Die,
                    "reset" => Action::Reset,
                    number => Action::Jump(number.parse().ok()?),
                };
                pairs.push((answer.to_owned(), action));
            }
            Some(Control::Answers(pairs))
        }
    }
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
            Self::Wrong => &["auth_err"],
            Self::Failure => &[
                "auth_err",
                "user_unknown",
                "perm_denied",
                "authinfo_unavail",
            ],
            Self::Unknown => &["module_unknown"],
        }
    }
}

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

/// Walks a stack along every path that the modules' answers allow.
pub fn walk(stack: &[Node]) -> StackEnd {
    let mut outcome = StackEnd::default();
    // The position and the state so far: each pair is visited once.
    let mut seen = BTreeSet::new();
    let mut waiting = vec![(0, Mood::Undecided)];
    while let Some((at, mood)) = waiting.pop() {
        if !seen.insert((at, mood)) {
            continue;
        }
        let Some(node) = stack.get(at) else {
            outcome.passes |= mood == Mood::Good;
            continue;
        };
        match node {
            Node::Substack(inner) => {
                let inner = walk(inner);
                outcome.deeds.extend(inner.deeds);
                if inner.passes {
                    waiting.push((at + 1, after(mood, Answer::Success, Action::Ok)));
                }
                waiting.push((at + 1, Mood::Failed));
            }
            Node::Step(step) => {
                if let Some(what) = &step.does {
                    outcome.deeds.insert(Deed {
                        what: what.clone(),
                        label: step.label.clone(),
                    });
                }
                for answer in &step.answers {
                    for action in actions(step, *answer) {
                        let next = after(mood, *answer, action);
                        match action {
                            Action::Done if next == Mood::Good => outcome.passes = true,
                            Action::Die => {}
                            // Past the end is an error, which fails.
                            Action::Jump(count) if at + count >= stack.len() => {}
                            Action::Jump(count) => waiting.push((at + 1 + count, next)),
                            _ => waiting.push((at + 1, next)),
                        }
                    }
                }
            }
        }
    }
    outcome
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
/// the first stack runs.
pub fn modules(
    service: &str,
    read: &mut dyn FnMut(&str) -> Option<Vec<Statement>>,
) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    // Of a file that is included for one kind, the lines of this kind count.
    let mut waiting: Vec<(String, Option<Kind>)> = vec![(service.to_owned(), None)];
    let mut seen: BTreeSet<(String, Option<Kind>)> = waiting.iter().cloned().collect();
    while let Some((name, only)) = waiting.pop() {
        for statement in read(&name).into_iter().flatten() {
            let next = match statement {
                Statement::Odd => continue,
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
            if seen.len() < MAX_LINES && seen.insert(next.clone()) {
                waiting.push(next);
            }
        }
    }
    modules
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
    let fails = || {
        Node::Step(Step {
            answers: vec![Answer::Wrong],
            table: vec![("default".into(), Action::Bad)],
            does: None,
            label: String::new(),
        })
    };
    let Some(statements) = read(service) else {
        return Some(vec![fails()]);
    };
    for statement in statements {
        *budget = budget.checked_sub(1)?;
        match statement {
            Statement::Odd if kind == Kind::Auth => nodes.push(fails()),
            Statement::Odd => {}
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
