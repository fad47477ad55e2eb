//! Whether a dependency list says all there is: names, versions and indexes, with nothing of the
//! application running before or during the installation.

use crate::app::Detected;
use crate::app::environment;
use crate::app::project::Source;
use crate::sandbox::Network;
use crate::source::Tree;

use super::super::fetch;
use super::super::files::TreeFiles;
use super::super::locked::Locked;
use super::super::plain_lists;
use super::super::request::Request;
use super::super::sandbox_inputs::{PASSED_ON, is_index_login};

/// A list that the resolver can be given as it stands, or what a lock has instead of one.
pub(super) struct Asked<'a> {
    pub(super) requirements: String,
    pub(super) constraints: String,
    /// The files that it stands in, for people.
    pub(super) names: String,
    /// A lock that has been read: nothing has to be resolved.
    pub(super) locked: Option<&'a Locked>,
}

impl Asked<'_> {
    /// Where packages are looked up.
    pub(super) fn indexes(&self) -> impl Iterator<Item = &str> {
        self.requirements
            .lines()
            .filter(|line| line.starts_with('-'))
    }

    /// The index that everything is from, where the list names that one alone.
    pub(super) fn only_index(&self) -> Option<&str> {
        let mut indexes = self.indexes().filter(|line| *line != "--pre");
        let only = indexes.next()?.strip_prefix("--index-url")?;
        let none = indexes.next().is_none();
        none.then(|| only.trim_start_matches('=').trim())
    }

    /// The hashes that the list allows for a name, if it has any hashes at all.
    pub(super) fn hashes(&self, name: &str) -> Option<Vec<&str>> {
        if !self.requirements.contains("--hash") {
            return None;
        }
        let lines = self.requirements.lines().filter(|line| {
            crate::app::requirement::name_of(line)
                .is_some_and(|(named, _)| crate::app::requirement::normalize(named) == name)
        });
        let hashes = lines.flat_map(|line| {
            line.split_whitespace()
                .filter_map(|word| word.strip_prefix("--hash=sha256:"))
        });
        Some(hashes.collect())
    }
}

/// The list, or why the application has a say in its installation.
pub(super) fn list<'a>(
    source: &Tree,
    detected: &Detected,
    locked: Option<&'a Locked>,
    request: &Request,
) -> Result<Asked<'a>, String> {
    if let Some(reason) = &detected.needs_all_source {
        return Err(reason.clone());
    }
    if detected.project.uses_pip() {
        return Err("the installer is pip".into());
    }
    if request.network == Network::None {
        return Err("there is no network".into());
    }
    for path in &detected.dependency_files {
        if path.starts_with(".warpdrive/action_hooks/")
            || path.starts_with(".warpdrive/wheelhouse/")
            || path == "uv.toml"
        {
            return Err(format!("{path} has a say in it"));
        }
    }
    if request.build_env.iter().any(|(name, _)| steers(name)) {
        return Err("a variable of the build has a say in it".into());
    }
    let files = TreeFiles::new(source);
    // The lock was made with them.
    if locked.is_none() && fetch::has_uv_settings(&files) {
        return Err("pyproject.toml has settings for uv".into());
    }
    match environment::plain_names(&files) {
        Some(names) if !names.iter().any(|name| steers_shell(name)) => {}
        _ => return Err(".warpdrive/environment has a say in it".into()),
    }
    let names = match &detected.project.source {
        Source::Requirements(files) => files.join(", "),
        Source::Static { file, .. } | Source::Lock { file, .. } => file.clone(),
        Source::None | Source::Dynamic { .. } => {
            return Err("there is no list of requirements".into());
        }
    };
    if locked.is_some() {
        return Ok(Asked {
            requirements: String::new(),
            constraints: String::new(),
            names,
            locked,
        });
    }
    let lists = plain_lists::of_project(source, detected, &[], request);
    if let Some(line) = lists.left_out {
        return Err(format!("`{line}` is more than a name and a version"));
    }
    if lists.requirements.is_empty() {
        return Err("there is no list of requirements".into());
    }
    Ok(Asked {
        requirements: lists.requirements,
        constraints: lists.constraints,
        names,
        locked: None,
    })
}

/// Whether an installer uses a variable of this name, besides those that say where packages are.
fn steers(name: &str) -> bool {
    (name.starts_with("UV_") || name.starts_with("PIP_"))
        && !PASSED_ON.contains(&name)
        && !is_index_login(name)
}

/// The same for variables that the application sets for itself, which say nothing before.
fn steers_shell(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    upper.ends_with("_PROXY")
        || ["UV_", "PIP_", "PYTHON", "LD_", "SSL_", "XDG_", "WARPDRIVE_"]
            .iter()
            .any(|start| upper.starts_with(start))
        || ["PATH", "HOME", "TMPDIR", "NETRC", "VIRTUAL_ENV", "IFS"].contains(&upper.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_installers_heed() {
        for (name, build, shell) in [
            ("UV_NO_BINARY", true, true),
            ("UV_INDEX_URL", false, true),
            ("PIP_CONSTRAINT", true, true),
            ("https_proxy", false, true),
            ("DJANGO_SETTINGS_MODULE", false, false),
            ("PATH", false, true),
        ] {
            assert_eq!(steers(name), build, "{name}");
            assert_eq!(steers_shell(name), shell, "{name}");
        }
    }

    #[test]
    fn hashes_of_a_name() {
        let asked = Asked {
            requirements: "--pre\nFlask_X==1 --hash=sha256:aa --hash=sha256:bb\nsix\n".into(),
            constraints: String::new(),
            names: String::new(),
            locked: None,
        };
        assert_eq!(asked.hashes("flask-x"), Some(vec!["aa", "bb"]));
        assert_eq!(asked.hashes("six"), Some(vec![]));
        assert_eq!(asked.indexes().collect::<Vec<_>>(), ["--pre"]);
        assert_eq!(asked.only_index(), None);
    }

    #[test]
    fn the_index_of_all() {
        for (list, expected) in [
            ("--index-url https://a/\nx\n", Some("https://a/")),
            ("--pre\n--index-url=https://a/\nx\n", Some("https://a/")),
            (
                "--index-url https://a/\n--extra-index-url https://b/\nx\n",
                None,
            ),
            ("--extra-index-url https://b/\n", None),
        ] {
            let asked = Asked {
                requirements: list.into(),
                constraints: String::new(),
                names: String::new(),
                locked: None,
            };
            assert_eq!(asked.only_index(), expected, "{list}");
        }
    }
}
