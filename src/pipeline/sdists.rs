//! Source distributions of indexes that ask for a login. They are fetched here, with everything that their
//! builds need, because the code of a package must build without access to the login.
//!
//! The metadata in an archive is used only for the installer's list; the index's hash decides which file it
//! is. If the metadata is not enough, the build asks the index itself, and the index refuses it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::app::contract::RUN;
use crate::app::requirement::{name_of, normalize};
use crate::lockfile::{FromIndex, Index, Target};
use crate::registry::RegistryError;
use crate::sandbox::Mount;

use super::archive_words::Words;
use super::base::Base;
use super::context::Context;
use super::error::BuildError;
use super::locked;
use super::package_indexes::Indexes;
use super::plain_lists::Lists;
use super::sandbox_inputs::PASSED_ON;
use super::tree::make_directory;

/// Most source distributions that are fetched for one build.
const MOST: usize = 50;

/// What was fetched.
pub(super) struct Sdists<'a> {
    context: Context<'a>,
    base: &'a Base,
    directory: PathBuf,
    pub(super) names: Vec<String>,
    /// Their dependencies.
    pub(super) needs: BTreeSet<String>,
    /// The build requirements of each.
    pub(super) builders: Vec<BTreeSet<String>>,
}

impl<'a> Sdists<'a> {
    pub(super) fn new(context: Context<'a>, base: &'a Base, scratch: &Path) -> Self {
        Self {
            context,
            base,
            directory: scratch.join("sdists"),
            names: Vec::new(),
            needs: BTreeSet::new(),
            builders: Vec::new(),
        }
    }

    /// Fetches the package of which the installer's error says that it has no wheel. False if the error names
    /// none, or one that was fetched before, or one that no index has.
    pub(super) fn add(&mut self, tail: &[String], lists: &Lists) -> Result<bool, BuildError> {
        let Some(name) = without_wheel(tail) else {
            return Ok(false);
        };
        if self.names.contains(&name) || self.names.len() == MOST {
            return Ok(false);
        }
        make_directory(&self.directory)?;
        let request = self.context.request;
        let variables = request.host_env.iter();
        let of_build = request.build_env.iter().map(|(name, value)| (name, value));
        let variables: Vec<(&str, &str)> = variables
            .chain(of_build)
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| PASSED_ON.contains(name))
            .collect();
        let indexes = Indexes::new(request)?;
        let python = &self.base.python;
        let target = Target::of(&python.version, &python.libc);
        for index in places(&variables, lists) {
            let mut wanted = FromIndex::new(&name, &[]);
            wanted.specifiers = specifiers(&name, lists);
            wanted.index = index;
            let fetched = locked::fetch_newest(
                self.context.store,
                &wanted,
                &target,
                &indexes,
                &self.directory,
                self.context.progress,
            );
            let path = match fetched {
                Ok(Some(path)) => path,
                Err(error) if does_not_have_it(&error) => continue,
                // If an index has a package but denies it, the next index is not asked: a stranger may have
                // published that name there.
                Ok(None) | Err(_) => return Ok(false),
            };
            let words = Words::of(&path);
            self.needs.extend(words.needs);
            self.builders.push(words.builders);
            self.names.push(name);
            return Ok(true);
        }
        Ok(false)
    }

    /// Their directory in the build.
    pub(super) fn into_mount(self) -> Option<Mount> {
        (!self.names.is_empty()).then(|| Mount::Bind {
            source: self.directory,
            target: inside().into(),
            read_only: true,
        })
    }
}

/// The directory in the sandbox.
pub(super) fn inside() -> String {
    format!("{RUN}/sdists")
}

/// The first package without a wheel in uv's error.
fn without_wheel(tail: &[String]) -> Option<String> {
    let text: Vec<&str> = tail.iter().map(|line| line.trim()).collect();
    let text = text.join(" ");
    let (_, rest) = text.split_once("Wheels are required for `")?;
    let (name, _) = name_of(rest.split_once('`')?.0)?;
    Some(normalize(name))
}

/// Whether an index says that it does not know a package, and not that another error occurred.
fn does_not_have_it(error: &BuildError) -> bool {
    matches!(
        error,
        BuildError::Registry(RegistryError::Status { status: 404, .. })
    )
}

/// The indexes in the order in which uv asks them.
fn places(variables: &[(&str, &str)], lists: &Lists) -> Vec<Index> {
    let value = |wanted: &str| {
        let found = variables.iter().rev().find(|(name, _)| *name == wanted);
        found.map_or("", |(_, value)| *value)
    };
    let listed = |options: &[&str]| -> Vec<String> {
        let lines = lists.requirements.lines();
        let values = lines.filter_map(|line| {
            let option = options
                .iter()
                .find_map(|option| line.strip_prefix(option))?;
            let url = option.trim_start_matches('=').trim();
            url.contains("://").then(|| url.to_owned())
        });
        values.collect()
    };
    let index = |url: String| Index {
        name: None,
        url: Some(url),
    };
    let mut found: Vec<Index> = listed(&["--extra-index-url"])
        .into_iter()
        .map(index)
        .collect();
    for name in ["UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL"] {
        let words = value(name).split_whitespace().map(|word| {
            // uv names an index as in `name=https://…`.
            let named = word.split_once('=').filter(|(name, _)| !name.contains(':'));
            named.map_or(word, |(_, url)| url).to_owned()
        });
        found.extend(words.map(index));
    }
    match listed(&["--index-url", "-i"]).pop() {
        Some(url) => found.push(index(url)),
        None => found.push(Index::default()),
    }
    found
}

/// The version conditions in the lists.
fn specifiers(name: &str, lists: &Lists) -> BTreeSet<String> {
    let lines = lists.requirements.lines().chain(lists.constraints.lines());
    let rests = lines.filter_map(|line| {
        let (named, rest) = name_of(line)?;
        (normalize(named) == name).then_some(rest)
    });
    rests
        .flat_map(|rest| {
            let rest = rest.split_once(']').map_or(rest, |(_, rest)| rest);
            let rest = rest.split(';').next().unwrap_or(rest);
            let rest = rest.split(" --").next().unwrap_or(rest);
            rest.trim().trim_matches(['(', ')']).split(',')
        })
        .map(|one| one.trim().to_owned())
        .filter(|one| !one.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_next_index_is_asked_for_what_the_first_does_not_know_alone() {
        let status = |status| {
            BuildError::Registry(RegistryError::Status {
                host: "h".into(),
                repository: String::new(),
                action: String::new(),
                status,
                detail: crate::registry::Detail::default(),
            })
        };
        assert!(does_not_have_it(&status(404)));
        for other in [401, 403, 429, 500, 503] {
            assert!(!does_not_have_it(&status(other)), "{other}");
        }
        assert!(!does_not_have_it(&BuildError::Interrupted));
    }

    #[test]
    fn what_uv_says_has_no_wheel() {
        let said = |text: &str| without_wheel(&text.lines().map(str::to_owned).collect::<Vec<_>>());
        let text = "error: No solution found when resolving dependencies\n  cause: Because odd==1.0 has no usable wheels\n\nhint: Wheels are required for\n      `Odd_One` because building from source is disabled";
        assert_eq!(said(text).as_deref(), Some("odd-one"));
        assert_eq!(said("error: Failed to fetch"), None);
    }

    #[test]
    fn indexes_in_uvs_order_and_conditions_of_a_name() {
        let lists = Lists {
            requirements: "--extra-index-url https://a/\nOdd.One[x]>=1,<3 ; python_version > '3'\nodd-one!=2 --hash=sha256:0\nother==1\n".into(),
            constraints: "odd_one<2.5\n".into(),
            left_out: None,
        };
        assert_eq!(
            specifiers("odd-one", &lists),
            set(&[">=1", "<3", "!=2", "<2.5"])
        );
        let variables = [
            ("UV_INDEX", "corp=https://u:p@b/ https://c/"),
            ("UV_INDEX_URL", "https://d/"),
        ];
        let found: Vec<Option<String>> = places(&variables, &lists)
            .into_iter()
            .map(|index| index.url)
            .collect();
        let url = |text: &str| Some(text.to_owned());
        // The default index comes last, wherever it is.
        assert_eq!(
            found,
            [
                url("https://a/"),
                url("https://u:p@b/"),
                url("https://c/"),
                None
            ]
        );
    }
}
