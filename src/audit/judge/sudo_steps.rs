//! Accounts that the image's user can act as by sudo, one after the other: a rule for `ops` counts where
//! another rule leads to `ops`.

use std::collections::BTreeSet;

use super::super::accounts::Id;
use super::super::accounts::sudoers::{Asks, Rule, Sudoers};
use super::super::flatten::Flat;
use super::accounts::{People, Runtime};

/// How many pairs of a rule and an account are compared.
const MAX_PAIRS: usize = 1_000_000;

/// Accounts that are followed.
const MAX_STEPS: usize = 256;

/// The rules of all files.
pub(super) struct Steps<'a> {
    pub(super) rules: &'a [&'a Rule],
    /// With the aliases, and whose password is asked for.
    pub(super) all: &'a Sudoers,
    pub(super) never_asks: bool,
}

/// An account that sudo leads to.
pub(super) struct Step {
    pub(super) name: String,
    pub(super) as_who: Runtime,
    /// sudo asks it for a password that is known.
    pub(super) answers: bool,
}

pub(super) struct Reached {
    pub(super) accounts: Vec<Step>,
    /// There were too many to follow.
    pub(super) is_cut: bool,
}

/// The password of `runas_default` is what sudo asks for, and it is empty or known to the image's author.
pub(super) fn knows_runas(people: &People<'_>, asks: &Asks) -> bool {
    let Some(name) = asks.runas_default.as_ref().filter(|_| asks.runas) else {
        return false;
    };
    people.entrants.iter().any(|entrant| {
        let uid = entrant.as_who.uid.map(|uid| format!("#{uid}"));
        entrant.name == *name || uid.as_ref() == Some(name)
    })
}

/// All of them, from the image's user and the accounts that it can become otherwise.
pub(super) fn reached(flat: &Flat<'_>, people: &People<'_>, steps: &Steps<'_>) -> Reached {
    let asks = &steps.all.asks;
    let runas_default = asks.runas_default.as_deref().unwrap_or("root");
    let known: BTreeSet<&str> = people
        .entrants
        .iter()
        .map(|entrant| entrant.name.as_str())
        .collect();
    let knows_runas = knows_runas(people, asks);
    let mut accounts: Vec<Step> = Vec::new();
    let mut seen: BTreeSet<&str> = people.runtime.names.iter().map(String::as_str).collect();
    let mut budget = MAX_PAIRS;
    let open = people.entrants.iter().filter(|entrant| entrant.is_open);
    let mut first: Vec<(&Runtime, bool)> = vec![(people.runtime, people.own_is_known())];
    first.extend(open.map(|entrant| (&entrant.as_who, true)));
    let mut at = 0;
    loop {
        let (who, own_is_known) = match first.get(at) {
            Some(first) => *first,
            None => match accounts.get(at - first.len()) {
                Some(step) => (&step.as_who, known.contains(step.name.as_str())),
                None => break,
            },
        };
        at += 1;
        let person = who.person();
        let mut next: Vec<Step> = Vec::new();
        for rule in steps.rules {
            if !steps.all.fits(&rule.users, &person) {
                continue;
            }
            let passes = rule.nopasswd || steps.never_asks || own_is_known || knows_runas;
            for account in &people.accounts.passwd.accounts {
                let Some(left) = budget.checked_sub(1) else {
                    return Reached {
                        accounts,
                        is_cut: true,
                    };
                };
                budget = left;
                let name = account.name.as_str();
                let uid = match &account.uid {
                    Id::Plain(uid) => Some(*uid),
                    Id::Odd(_) => None,
                };
                if uid == Some(0)
                    || seen.contains(name)
                    || !(passes || (asks.target && known.contains(name)))
                    || !rule.is_to(name, uid, runas_default)
                {
                    continue;
                }
                if accounts.len() + next.len() >= MAX_STEPS {
                    return Reached {
                        accounts,
                        is_cut: true,
                    };
                }
                seen.insert(name);
                next.push(Step {
                    name: account.name.clone(),
                    as_who: Runtime::of_account(people.accounts, account, flat),
                    answers: known.contains(name) || knows_runas,
                });
            }
        }
        accounts.extend(next);
    }
    Reached {
        accounts,
        is_cut: false,
    }
}
