//! Makes fragments of wheels that no application on this base image has used before: fetched, judged,
//! unpacked into a tree each, compiled, put away.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::layer::Budget;
use crate::parallel::largest_first;
use crate::progress::{Progress, Unit};
use crate::sandbox::{IdMode, interrupted};

use super::super::context::Context;
use super::super::error::BuildError;
use super::super::installed::site_packages;
use super::super::locked_wheel::LockedWheel;
use super::super::parallel::two_workers;
use super::super::tally::Tally;
use super::super::tree::{APP_ROOT, exists_below};
use super::contents::Contents;
use super::download::Wheels;
use super::stop::Stop;
use super::tree::{NotWritten, Tree};
use super::unfit::Unfit;
use super::wheel::{Site, Wheel, contested};
use super::{Fragment, InstallInputs, Lookup, bytecode, key};

/// How many wheels are fetched and unpacked at once.
const AT_ONCE: usize = 8;

/// An installation of wheels, and what it depends on.
pub(super) struct Installation<'a> {
    pub(super) inputs: InstallInputs<'a>,
    pub(super) lookup: Lookup,
    /// Whether there is still a use for it: it is given up before its next step otherwise.
    pub(super) wanted: &'a (dyn Fn() -> bool + Sync),
    pub(super) progress: &'a dyn Progress,
}

impl Installation<'_> {
    /// The fragments of these wheels, in their order.
    pub(super) fn of(&self, wheels: &[&LockedWheel]) -> Result<Vec<Fragment>, Stop> {
        let InstallInputs { context, base, .. } = self.inputs;
        let store = context.store;
        let scratch = store.scratch("fragments")?;
        let bytes: u64 = wheels.iter().filter_map(|it| it.artifact.size).sum();
        let fetched = Tally::new(self.progress, "fetching", bytes, Unit::Bytes);
        let installed = Tally::new(self.progress, "installing", wheels.len(), Unit::Things);
        let source = Wheels::new(
            self.inputs,
            self.lookup,
            scratch.path(),
            (self.progress, &fetched),
        )?;
        let below = self.inputs.below()?;
        // What is unpacked is not a layer yet, and may be as large as one.
        let budget = context.request.budget.anew();
        let weight = |wheel: &&LockedWheel| wheel.artifact.size.unwrap_or(0);
        let trees = largest_first(wheels, AT_ONCE, weight, |wheel| {
            self.go_on()?;
            let tree = scratch.path().join(key(&wheel.pin, base)?);
            let tree = self.unpack(wheel, &source, tree, &below, &budget)?;
            installed.add(1);
            Ok::<_, Stop>(tree)
        })?;
        drop((fetched, installed));
        let all = trees.iter().enumerate();
        let all =
            all.flat_map(|(at, tree)| tree.files().map(move |(path, _)| (at, path.as_path())));
        if let Some(path) = contested(all) {
            let reason = format!("two wheels have {}", path.display());
            return Err(Stop::NotPlain(reason));
        }
        self.go_on()?;
        let site = site_packages(base);
        if !bytecode::compile(self.inputs, &trees, &site, self.progress)? {
            return Err(Stop::Failed);
        }
        self.go_on()?;
        let shares: Vec<(&&LockedWheel, Tree)> = wheels.iter().zip(trees).collect();
        let fragments = two_workers(&shares, |(wheel, tree), _| {
            self.put_away(wheel, tree, &site)
        })?;
        self.tell(wheels);
        Ok(fragments)
    }

    /// Stops where the work is of no use any more.
    fn go_on(&self) -> Result<(), Stop> {
        if interrupted() {
            return Err(Stop::Error(BuildError::Interrupted));
        }
        if (self.wanted)() {
            Ok(())
        } else {
            Err(Stop::Failed)
        }
    }

    /// The tree of one wheel, all of which has been judged before anything is written.
    fn unpack(
        &self,
        wheel: &LockedWheel,
        source: &Wheels<'_>,
        tree: PathBuf,
        below: &[PathBuf],
        budget: &Budget,
    ) -> Result<Tree, Stop> {
        let pin = &wheel.pin;
        let named = format!("{} {}", pin.name, pin.version);
        let unfit = |unfit: Unfit| match unfit {
            Unfit::Odd(reason) => Stop::NotPlain(format!("{named}: {reason}")),
            Unfit::Hostile(problem) => Stop::Error(BuildError::Wheel {
                wheel: named.clone(),
                problem,
            }),
        };
        let Some(file) = source.open(wheel)? else {
            return Err(Stop::Failed);
        };
        let site = Site::of(&self.inputs.base.python.minor);
        let mut wheel = Wheel::read(file, pin, &site).map_err(unfit)?;
        let places = wheel.files.iter();
        if let Some(place) = hidden(places.map(|file| file.place.as_path()), below) {
            let reason = format!("{} lies over a file of the image's", place.display());
            return Err(unfit(Unfit::Odd(reason)));
        }
        Tree::write(tree, &mut wheel, &mut budget.begin()).map_err(|error| match error {
            NotWritten::Unfit(reason) => unfit(reason),
            NotWritten::Error(error) => Stop::Error(error),
        })
    }

    /// Says what was installed, as uv does.
    fn tell(&self, wheels: &[&LockedWheel]) {
        let s = if wheels.len() == 1 { "" } else { "s" };
        let mut text = format!("Installed {} package{s}", wheels.len());
        for wheel in wheels {
            let _ = write!(text, "\n + {}=={}", wheel.pin.name, wheel.pin.version);
        }
        for line in text.lines() {
            self.progress.output(line);
        }
    }

    /// Keeps the tree of one distribution, and remembers it.
    fn put_away(
        &self,
        wheel: &LockedWheel,
        tree: &Tree,
        site: &Path,
    ) -> Result<Fragment, BuildError> {
        let InstallInputs { context, base, .. } = self.inputs;
        let Context { store, request, .. } = context;
        let key = key(&wheel.pin, base)?;
        let contents = Contents::of(tree.place(), site)?;
        let mut name = format!("fragment-{key}");
        // A Python of another version may compile to other bytes: what it made is this build's alone.
        let is_own = self
            .inputs
            .here
            .is_some_and(|here| !here.interpreter.is_same);
        if request.no_cache || is_own {
            // Trees of earlier builds are not to be used, though they be called the same.
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.map_or(0, |since| since.as_nanos());
            let _ = write!(name, "-{now}-{}", std::process::id());
        }
        store.keep_unpacked(IdMode::current().map_name(), &name, tree.place())?;
        let fragment = contents.fragment(&wheel.pin, name);
        if !is_own {
            store.remember(&key, &fragment)?;
        }
        Ok(fragment)
    }
}

/// The first of these places, relative to the application's root, that lies over something else of the
/// image's than a directory over a directory.
pub(super) fn hidden<'p>(
    places: impl Iterator<Item = &'p Path>,
    below: &[PathBuf],
) -> Option<&'p Path> {
    /// What the image has in a place.
    #[derive(Clone, Copy, PartialEq)]
    enum There {
        Nothing,
        Directory,
        Other,
    }
    fn there(place: &Path, below: &[PathBuf], known: &mut HashMap<PathBuf, There>) -> There {
        if let Some(there) = known.get(place) {
            return *there;
        }
        let above = place
            .parent()
            .map_or(There::Directory, |above| there(above, below, known));
        let path = Path::new(APP_ROOT).join(place);
        let is_directory = |lower: &PathBuf| {
            fs::symlink_metadata(lower.join(&path)).is_ok_and(|metadata| metadata.is_dir())
        };
        let found = match above {
            There::Directory if !exists_below(below, &path) => There::Nothing,
            There::Directory if below.iter().any(is_directory) => There::Directory,
            There::Directory => There::Other,
            other => other,
        };
        known.insert(place.to_owned(), found);
        found
    }
    let mut known = HashMap::new();
    places.into_iter().find(|place| {
        let above = place.parent().unwrap_or(Path::new(""));
        match there(above, below, &mut known) {
            There::Nothing => false,
            There::Directory => exists_below(below, &Path::new(APP_ROOT).join(place)),
            There::Other => true,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_stand_in_for_the_images_own_is_seen() {
        let place = tempfile::tempdir().unwrap();
        let below = place.path().join("below");
        let root = below.join(APP_ROOT);
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir_all(root.join("lib")).unwrap();
        fs::write(root.join("bin/python"), "").unwrap();
        std::os::unix::fs::symlink("lib", root.join("lib64")).unwrap();
        let lowers = [place.path().join("other"), below];
        for (path, hides) in [
            ("bin/flask", false),
            ("lib/x/y.py", false),
            ("share/x", false),
            ("bin/python", true),
            ("bin/python/x", true),
            ("bin", true),
            ("lib64/x", true),
        ] {
            let found = hidden(std::iter::once(Path::new(path)), &lowers);
            assert_eq!(found.is_some(), hides, "{path}");
        }
    }
}
