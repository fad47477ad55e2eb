//! The inputs that decide the result of a phase: as the key of the build cache, and in words, so
//! that a build can say why a phase had to run again.
//!
//! Every input has a readable name and is kept only as a hash: the store holds no variable's value.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::layer::Budget;
use crate::oci::{sha256_hex, to_canonical_json};
use crate::source::Tree;
use crate::store::{Needs, Record};

use super::context::Context;
use super::error::BuildError;
use super::report::Explanation;
use super::request::Request;
use super::secrets::without_credentials;

/// Most changed inputs that are listed.
const NAMED: usize = 5;

/// The inputs of one phase.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inputs {
    /// Name → hash. The key is made of these.
    decide: BTreeMap<String, String>,
    /// Path → hash for each file behind the digests above: only for the explanation.
    files: BTreeMap<String, String>,
}

impl Inputs {
    /// Adds an input. A second input of the same name replaces the first.
    pub(super) fn add(
        &mut self,
        name: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), BuildError> {
        #[cfg(debug_assertions)]
        if forgotten(name) {
            return Ok(());
        }
        let hash = sha256_hex(&to_canonical_json(value)?);
        self.decide.insert(name.to_owned(), hash);
        Ok(())
    }

    /// Adds variables, each by its name.
    pub(super) fn add_variables(
        &mut self,
        what: &str,
        variables: &[(String, String)],
    ) -> Result<(), BuildError> {
        for (index, (name, value)) in variables.iter().enumerate() {
            self.add(&format!("{what} {name}"), &(index, value))?;
        }
        Ok(())
    }

    /// Adds the bounds on layers, if they are not the usual ones: a kept result may be larger.
    pub(super) fn add_bounds(&mut self, budget: &Budget) -> Result<(), BuildError> {
        if budget.bounds() == Budget::USUAL {
            return Ok(());
        }
        self.add("--max-layer and --max-written", &budget.bounds())
    }

    /// Adds the secrets by their names: a new token does not require a build. What code made with one
    /// application's secrets is not for another application, which may have others under these names.
    pub(super) fn add_secrets(&mut self, request: &Request) -> Result<(), BuildError> {
        let secrets: Vec<&String> = request.secrets.iter().map(|secret| &secret.id).collect();
        self.add("the list of secrets", &secrets)?;
        if !secrets.is_empty() {
            self.add(
                "the application that has the secrets",
                &request.application(),
            )?;
        }
        Ok(())
    }

    /// Adds where packages come from, which code in a sandbox sees: variables of the host, without logins.
    pub(super) fn add_indexes<'n>(
        &mut self,
        request: &Request,
        names: impl IntoIterator<Item = &'n &'n str>,
    ) -> Result<(), BuildError> {
        for name in names {
            if let Some(value) = request.host_env.get(*name) {
                let value = without_credentials(value);
                self.add(&format!("the variable {name}"), &value)?;
            }
        }
        Ok(())
    }

    /// Names the files behind the digest of a tree that is an input.
    pub(super) fn name_files(&mut self, tree: &Tree) {
        for (path, state) in tree.states() {
            let path = path.to_string_lossy().into_owned();
            self.files.insert(path, state);
        }
    }

    pub(super) fn key(&self) -> Result<String, BuildError> {
        Ok(sha256_hex(&to_canonical_json(&self.decide)?))
    }

    /// What has changed. Files are listed one by one if they are known.
    fn changes(&self, before: &Self) -> Vec<String> {
        let mut changes = differences(&before.files, &self.files);
        let others = differences(&before.decide, &self.decide);
        if changes.is_empty() {
            changes = others;
        } else {
            changes.extend(
                others
                    .into_iter()
                    .filter(|change| !change.starts_with(FILES)),
            );
        }
        let more = changes.len().saturating_sub(NAMED);
        if more > 0 {
            changes.truncate(NAMED);
            changes.push(format!("{more} more"));
        }
        changes
    }
}

/// Whether a test leaves this input out of the key (`tests/build_cache.rs`). A release has no
/// such switch.
#[cfg(debug_assertions)]
fn forgotten(name: &str) -> bool {
    std::env::var("TEST_FORGOTTEN_INPUT")
        .is_ok_and(|start| !start.is_empty() && name.starts_with(&start))
}

/// The name of the input with the content of all files.
pub(super) const FILES: &str = "the content of the source";

fn differences(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| match (before.get(name), now.get(name)) {
            (Some(then), Some(now)) if then == now => None,
            (Some(_), Some(_)) => Some(format!("{name} changed")),
            (None, _) => Some(format!("{name} is new")),
            (_, None) => Some(format!("{name} is gone")),
        })
        .collect()
}

#[derive(Serialize, Deserialize)]
struct Last {
    key: String,
}

impl Record for Last {
    const KIND: &'static str = "last";

    fn needs(&self) -> Needs {
        Needs::nothing()
    }
}

impl Record for Inputs {
    const KIND: &'static str = "inputs";

    fn needs(&self) -> Needs {
        Needs::nothing()
    }
}

/// Compares with the last build of this name, and remembers this one.
pub(super) fn explain(
    context: Context<'_>,
    phase: &'static str,
    inputs: &Inputs,
    hit: bool,
) -> Result<Explanation, BuildError> {
    let Context { store, request, .. } = context;
    let key = inputs.key()?;
    let name = sha256_hex(format!("{phase} {}", request.name.canonical()).as_bytes());
    let last = store.cached::<Last>(&name)?.map(|last| last.key);
    let because = if hit {
        Vec::new()
    } else if request.no_cache {
        vec!["--no-cache was given".to_owned()]
    } else {
        let before = match &last {
            Some(key) => store.cached::<Inputs>(key)?,
            None => None,
        };
        match before {
            Some(before) if before.decide == inputs.decide && request.upgrade => {
                vec!["--upgrade was given".to_owned()]
            }
            Some(before) if before.decide == inputs.decide => {
                vec!["the result is not in the store any more".to_owned()]
            }
            Some(before) => inputs.changes(&before),
            None => vec!["nothing is known of a build of this name".to_owned()],
        }
    };
    if !hit {
        store.remember(&key, inputs)?;
    }
    if last.as_deref() != Some(&key) {
        store.remember(&name, &Last { key })?;
    }
    Ok(Explanation {
        phase,
        hit,
        because,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(values: &[(&str, &str)], files: &[(&str, &str)]) -> Inputs {
        let mut inputs = Inputs::default();
        for (name, value) in values {
            inputs.add(name, value).unwrap();
        }
        for (path, state) in files {
            inputs.files.insert((*path).into(), (*state).into());
        }
        inputs
    }

    #[test]
    fn every_input_is_in_the_key_and_no_value() {
        let one = inputs(&[("the base", "x"), ("variable A", "hunter22")], &[]);
        for other in [
            inputs(&[("the base", "y"), ("variable A", "hunter22")], &[]),
            inputs(&[("the base", "x"), ("variable A", "hunter23")], &[]),
            inputs(&[("the base", "x")], &[]),
        ] {
            assert_ne!(one.key().unwrap(), other.key().unwrap());
        }
        assert!(!serde_json::to_string(&one).unwrap().contains("hunter22"));
    }

    #[test]
    fn the_order_of_variables_counts() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let key = |variables: &[(String, String)]| {
            let mut inputs = Inputs::default();
            inputs.add_variables("variable", variables).unwrap();
            inputs.key().unwrap()
        };
        let (a, b) = (pair("A", "1"), pair("A", "2"));
        assert_ne!(key(&[a.clone(), b.clone()]), key(&[b, a]));
    }

    #[test]
    fn changes_are_named() {
        let before = inputs(
            &[(FILES, "1"), ("the builder", "a"), ("variable A", "1")],
            &[("app.py", "1"), ("old.py", "1")],
        );
        let now = inputs(
            &[(FILES, "2"), ("the builder", "b")],
            &[("app.py", "2"), ("new.py", "1")],
        );
        assert_eq!(
            now.changes(&before),
            [
                "app.py changed",
                "new.py is new",
                "old.py is gone",
                "the builder changed",
                "variable A is gone"
            ]
        );
        let many: Vec<String> = (0..9).map(|n| format!("{n}.py")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
        let changes = inputs(&[], &many).changes(&inputs(&[], &[]));
        assert_eq!(changes.last().map(String::as_str), Some("4 more"));
    }
}
