//! The source of a build, the files that are left out, and the labels that say where it came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::progress::Progress;
use crate::source::{CollectOptions, Origin, SourceRequest, Tree};
use crate::store::Store;

use super::super::collect::collect;
use super::super::error::BuildError;
use super::request::Source;

/// `--exclude`: the paths that are left out in addition to those of ignore files.
#[derive(Debug, Clone)]
pub struct Exclusion {
    text: String,
    /// `None`: nothing is left out, not even `.git`.
    regex: Option<Regex>,
}

impl Exclusion {
    /// What is left out by default. (`.git` is in the default list of every source.)
    pub const USUAL: &str = r"(^|/)\.git(/|$)";

    pub fn parse(text: &str) -> Result<Self, String> {
        let regex = match text {
            "" => None,
            text => Some(Regex::new(text).map_err(|error| error.to_string())?),
        };
        Ok(Self {
            text: text.to_owned(),
            regex,
        })
    }

    fn has(&self, path: &Path) -> bool {
        self.regex
            .as_ref()
            .is_some_and(|regex| regex.is_match(&path.to_string_lossy()))
    }
}

impl Default for Exclusion {
    fn default() -> Self {
        Self {
            text: Self::USUAL.to_owned(),
            regex: Regex::new(Self::USUAL).ok(),
        }
    }
}

impl Source {
    /// Fetches and collects a source.
    pub fn take(
        store: &Store,
        request: &SourceRequest,
        exclusion: &Exclusion,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        let mut options = CollectOptions::default();
        if exclusion.regex.is_none() {
            options.extra_excludes.push("!.git".into());
        }
        let tree = collect(store, request, &options, progress)?;
        let mut source = Self::of_request(tree.without(|path| exclusion.has(path)), request);
        source.exclude = (exclusion.text != Exclusion::USUAL).then(|| exclusion.text.clone());
        Ok(source)
    }

    /// A source that was collected as the request says.
    pub fn of_request(tree: Tree, request: &SourceRequest) -> Self {
        let context = request.context_dir.as_deref();
        let mut source = Self::of_tree(tree, context);
        source.modes_count = matches!(request.origin, Origin::Directory(_));
        if let Origin::Git(url) = &request.origin {
            // A tag; the commit's id has its own label.
            source.reference = url
                .reference()
                .filter(|reference| {
                    let commit = source.tree.commit.as_ref();
                    commit.is_some_and(|commit| {
                        commit.reference.is_none() && !commit.id.starts_with(reference)
                    })
                })
                .map(str::to_owned);
        }
        source
    }

    /// The unusual modes of files and directories, by path.
    pub(super) fn modes(&self) -> Result<BTreeMap<PathBuf, u32>, BuildError> {
        if self.modes_count {
            Ok(self.tree.chosen_modes()?)
        } else {
            Ok(BTreeMap::new())
        }
    }

    /// Sets the name that the user gave for the commit, which was fetched by its id.
    pub fn call(&mut self, reference: Option<String>) {
        self.reference = reference;
        if let Some(commit) = &mut self.tree.commit {
            commit.reference = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_are_left_out() {
        let usual = Exclusion::default();
        assert!(usual.has(Path::new("a/.git/config")) && !usual.has(Path::new("a/.gitignore")));
        assert!(Exclusion::parse("(").is_err());
        assert!(!Exclusion::parse("").unwrap().has(Path::new(".git")));
        assert!(Exclusion::parse(r"\.log$").unwrap().has(Path::new("a.log")));
    }
}
