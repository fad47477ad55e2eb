//! The submodules of a commit, and theirs: fetched, counted, and only then checked out.

use std::path::Path;

use rustix::fs::OFlags;

use super::super::SourceError;
use super::Git;
use super::count::{Link, Totals};
use crate::beneath::Directory;

/// Most submodules of one source, all levels together.
const MAX: usize = 1000;
/// Most levels.
const DEPTH: usize = 20;

impl Git<'_> {
    /// Those of the repository in `root`, whose commit is checked out.
    pub(super) fn submodules(
        &mut self,
        root: &Path,
        links: Vec<Link>,
        totals: &mut Totals,
    ) -> Result<(), SourceError> {
        self.options.progress.step("---> Fetching submodules");
        let mut pending = vec![(root.to_owned(), links, 0)];
        let mut number = 0;
        while let Some((root, links, depth)) = pending.pop() {
            number += links.len();
            if number > MAX {
                return Err(self.too_much(MAX as u64, "submodules"));
            }
            if depth > DEPTH {
                return Err(self.too_much(DEPTH as u64, "levels of submodules"));
            }
            self.leave_unchecked_out(&root)?;
            self.update(&root)?;
            for link in links {
                let place = root.join(&link.path);
                // One that `.gitmodules` does not name stays an empty directory.
                let there = |name: &str| place.join(name).symlink_metadata().is_ok();
                if !there(".git") {
                    continue;
                }
                through_no_link(&root, &link.path)?;
                let links = self.count(&place, &link.id, totals)?;
                self.run_in(
                    &place,
                    &["checkout", "--quiet", "--force", "--detach", &link.id],
                )?;
                if there(".gitmodules") {
                    pending.push((place, links, depth + 1));
                }
            }
        }
        Ok(())
    }

    /// Tells git to fetch the submodules that `.gitmodules` names, and to leave it at that.
    fn leave_unchecked_out(&mut self, root: &Path) -> Result<(), SourceError> {
        let names = [
            "config",
            "--file",
            ".gitmodules",
            "--null",
            "--name-only",
            "--get-regexp",
            r"^submodule\..*\.path$",
        ];
        // A file that names none is a failure in git's eyes.
        let keys = self.run_in(root, &names).unwrap_or_default();
        let mut keys = keys
            .split(|byte| *byte == 0)
            .filter_map(|key| std::str::from_utf8(key).ok()?.strip_suffix(".path"))
            .collect::<Vec<_>>();
        keys.sort_unstable();
        keys.dedup();
        if keys.len() > MAX {
            return Err(self.too_much(MAX as u64, "submodules"));
        }
        for key in keys {
            // A command that git runs instead of the check-out: the word is ours.
            self.settings
                .push((format!("{key}.update").into(), "!true".into()));
        }
        Ok(())
    }

    fn update(&self, root: &Path) -> Result<(), SourceError> {
        let update = ["submodule", "--quiet", "update", "--init"];
        let shallow: Vec<&str> = update.iter().copied().chain(["--depth=1"]).collect();
        match self.run_in(root, &shallow) {
            Ok(_) => Ok(()),
            Err(error @ (SourceError::TimedOut { .. } | SourceError::Interrupted)) => Err(error),
            Err(error) if error.to_string().contains("not allowed") => Err(error),
            Err(_) => self.run_in(root, &update).map(drop),
        }
    }
}

/// Refuses a submodule whose place a link of the repository leads to.
fn through_no_link(root: &Path, path: &Path) -> Result<(), SourceError> {
    Directory::open(root)
        .and_then(|root| Ok(root.open_at(path, OFlags::PATH | OFlags::DIRECTORY)?))
        .map(drop)
        .map_err(|error| SourceError::io("enter", &root.join(path), error))
}
