//! Installs wheels that no application on this base image has used before, all in one go, and
//! divides the tree by `RECORD` into one tree for each.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Gid, Mode, Uid};

use crate::builder::{APP_GID, APP_ROOT, APP_UID, FIXED_TIME};
use crate::layer::{self, Entry, Kind, Mtime};
use crate::progress::Progress;
use crate::sandbox::{Exit, IdMode, Upper};
use crate::store::{Scratch, Store};

use super::super::assemble::{self, Stage};
use super::super::base::Base;
use super::super::carried::Carried;
use super::super::dependencies::{distributions, site_packages, wheel_cache};
use super::super::environment::RUN;
use super::super::error::BuildError;
use super::super::network::Code;
use super::super::split::{Distribution, Owners, is_path_configuration, size};
use super::super::tree::{
    exists_below, make_app_root, make_directory, normalize, without_implied_directories,
};
use super::super::trusted::{self, Job};
use super::super::two_at_a_time::two_at_a_time;
use super::{Fragment, Given, Pin, Reach, key};

/// Why there are no fragments of some wheels.
pub(super) enum Refusal {
    /// They could not be installed by themselves.
    Failed,
    /// They were, and cannot be told apart: it is no use to try it again.
    Inseparable(String),
}

/// An installation of wheels, and what it depends on.
pub(super) struct Installation<'a> {
    pub(super) given: Given<'a>,
    pub(super) reach: Reach,
    /// Whether anybody has a use for it still: it is given up before its next step otherwise.
    pub(super) wanted: &'a dyn Fn() -> bool,
    pub(super) progress: &'a dyn Progress,
}

impl Installation<'_> {
    /// The fragments of these wheels, in their order.
    pub(super) fn of(&self, pins: &[&Pin]) -> Result<Result<Vec<Fragment>, Refusal>, BuildError> {
        let inseparable = |reason: String| Ok(Err(Refusal::Inseparable(reason)));
        let Given {
            store,
            base,
            request,
            ..
        } = self.given;
        let scratch = store.scratch("fragments")?;
        let Some(tree) = self.run(pins, &scratch)? else {
            return Ok(Err(Refusal::Failed));
        };
        let upper = tree.upper.upper.as_path();
        let site = site_packages(base);
        let distributions = distributions(upper, &site)?;
        let asked_for = pins
            .iter()
            .map(|pin| (pin.name.as_str(), pin.version.as_str()));
        let installed = distributions
            .iter()
            .map(|found| (found.name.as_str(), found.version.as_str()));
        if !asked_for.eq(installed) {
            return inseparable("a wheel brings another distribution than its name says".into());
        }
        let order: Vec<&Distribution> = distributions.iter().collect();
        let owners = Owners::of(&order);
        if let Some(path) = owners.contested {
            return inseparable(format!("two wheels have {}", path.display()));
        }
        let mut belongings: Vec<Vec<Entry>> = order.iter().map(|_| Vec::new()).collect();
        let scan = layer::scan(upper, &[])?;
        let entries = normalize(scan.entries, Mtime::Fixed(FIXED_TIME));
        for entry in without_implied_directories(entries) {
            let known = matches!(
                entry.kind,
                Kind::File { .. } | Kind::Bytes(_) | Kind::Symlink(_)
            );
            match owners.owner(&entry.path) {
                Some(index) if known => belongings[index].push(entry),
                _ => return inseparable(format!("{} is in no RECORD", entry.path.display())),
            }
        }
        let divide = Division {
            store,
            scratch: &scratch,
            upper,
            site: &site,
            fresh: request.no_cache,
        };
        let shares: Vec<(&&Pin, Vec<Entry>)> = pins.iter().zip(belongings).collect();
        let fragments = two_at_a_time(&shares, |(pin, entries), _| {
            divide.one(pin, entries, &key(pin, base))
        })?;
        Ok(Ok(fragments))
    }

    /// Installs exact wheels and gives them their normal form: the tree of what was installed, or
    /// nothing where that failed (whoever runs next says why).
    ///
    /// The tree lies in the wheel cache, so that uv can link files instead of copying them (a link does
    /// not cross a mount).
    fn run(&self, pins: &[&Pin], scratch: &Scratch) -> Result<Option<Linked>, BuildError> {
        let Given {
            store,
            asked,
            base,
            request,
            tools,
            ..
        } = self.given;
        if !(self.wanted)() {
            return Ok(None);
        }
        let tree = Linked::new(store, base, scratch)?;
        let mut list = String::new();
        for line in asked.indexes() {
            list.push_str(line);
            list.push('\n');
        }
        for pin in pins {
            let Pin {
                name,
                version,
                wheel,
            } = pin;
            let _ = writeln!(list, "{name}=={version} --hash=sha256:{wheel}");
        }
        let list_file = format!("{RUN}/requirements.txt");
        let command = [
            &format!("{RUN}/tools/bin/uv"),
            "pip",
            "install",
            "--no-config",
            "--no-deps",
            "--no-build",
            "--no-python-downloads",
            "--link-mode=hardlink",
            "--python",
            &format!("{APP_ROOT}/bin/python"),
            "--prefix",
            &format!("{RUN}/cache/{}/upper{APP_ROOT}", tree.name),
            "-r",
            &list_file,
        ];
        let job = Job {
            command: command
                .into_iter()
                .chain(self.reach.option())
                .map(str::to_owned)
                .collect(),
            files: vec![(list_file.clone(), list)],
            output: None,
        };
        let shown = WithoutSteps(self.progress);
        let outcome = trusted::run(store, base, request, tools, job, &shown)?;
        if outcome.exit != Exit::Code(0) || !(self.wanted)() {
            return Ok(None);
        }
        // Python is run on it next, and must be the image's.
        let below = base.lowers(store)?;
        let scan = layer::scan(&tree.upper.upper, &[])?;
        if hides_something(&scan.entries, &below) {
            return Ok(None);
        }
        let staged = scratch.path().join("source");
        make_app_root(&staged, IdMode::current().chown_allowed())?;
        let mut lowers = vec![staged];
        lowers.extend(below);
        let request = trusted::without_the_application(request);
        let mut env = trusted::variables(base, &request);
        env.push(("WARPDRIVE_INSTALLED".into(), "1".into()));
        let mounts = trusted::mounts(store, base, &request, tools)?;
        let mut stage = Stage::assemble(lowers, tree.upper.clone(), mounts, env);
        stage.code = Code::Ours;
        let outcome = assemble::run(stage, &request, &shown)?;
        Ok((outcome.exit == Exit::Code(0)).then_some(tree))
    }
}

/// Whether a file or directory lies over something else of the image's; directories over directories
/// are no harm.
fn hides_something(entries: &[Entry], below: &[PathBuf]) -> bool {
    let mut directories: HashMap<&Path, bool> = HashMap::new();
    entries.iter().any(|entry| {
        let parent = entry.path.parent().unwrap_or(Path::new(""));
        let parent_below = *directories
            .entry(parent)
            .or_insert_with(|| parent.as_os_str().is_empty() || exists_below(below, parent));
        let directory = |lower: &PathBuf| {
            fs::symlink_metadata(lower.join(&entry.path)).is_ok_and(|meta| meta.is_dir())
        };
        parent_below
            && exists_below(below, &entry.path)
            && !(matches!(entry.kind, Kind::Directory) && below.iter().any(directory))
    })
}

/// A tree in the wheel cache, whose files have other names there. It goes with this value, or, where
/// the process was killed, when somebody else needs one.
struct Linked {
    name: String,
    place: PathBuf,
    upper: Upper,
}

impl Linked {
    const PREFIX: &str = "tree-";

    fn new(store: &Store, base: &Base, scratch: &Scratch) -> Result<Self, BuildError> {
        let cache = wheel_cache(store, base, IdMode::current())?;
        // Of processes that are no more: their scratch directory is gone.
        let beside = scratch.path().parent().unwrap_or(Path::new(""));
        for entry in fs::read_dir(&cache).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let owner = name
                .to_str()
                .and_then(|name| name.strip_prefix(Self::PREFIX));
            if owner.is_some_and(|owner| !beside.join(owner).exists()) {
                let _ = layer::remove_tree(&entry.path());
            }
        }
        let owner = scratch.path().file_name().unwrap_or_default();
        let name = format!("{}{}", Self::PREFIX, owner.to_string_lossy());
        let place = cache.join(&name);
        let tree = Self {
            upper: Upper {
                upper: place.join("upper"),
                work: place.join("work"),
            },
            name,
            place,
        };
        make_directory(&tree.upper.work)?;
        // The user inside goes through it, whatever our umask.
        rustix::fs::chmod(&tree.place, Mode::from_raw_mode(0o755)).map_err(|error| {
            BuildError::Write {
                path: tree.place.clone(),
                source: error.into(),
            }
        })?;
        let mut directories = Directories {
            tree: &tree.upper.upper,
            chown: IdMode::current().chown_allowed(),
            made: HashSet::new(),
        };
        directories.make(Path::new(APP_ROOT.trim_start_matches('/')))?;
        Ok(tree)
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        let _ = layer::remove_tree(&self.place);
    }
}

/// Where the trees are made.
struct Division<'a> {
    store: &'a Store,
    scratch: &'a Scratch,
    upper: &'a Path,
    site: &'a Path,
    /// Trees of earlier builds are not to be used, though they be called the same.
    fresh: bool,
}

impl Division<'_> {
    /// Moves one distribution's files into a tree of their own, and remembers it.
    fn one(&self, pin: &Pin, entries: &[Entry], key: &str) -> Result<Fragment, BuildError> {
        let (carried, entries): (Vec<&Entry>, Vec<&Entry>) = entries
            .iter()
            .partition(|entry| is_path_configuration(&entry.path, self.site));
        let tree = self.scratch.path().join(key);
        let mut directories = Directories {
            tree: &tree,
            chown: IdMode::current().chown_allowed(),
            made: HashSet::new(),
        };
        directories.make(Path::new(""))?;
        for entry in entries.iter().chain(&carried) {
            if let Some(parent) = entry.path.parent() {
                directories.make(parent)?;
            }
            let to = tree.join(&entry.path);
            fs::rename(self.upper.join(&entry.path), &to)
                .map_err(|source| BuildError::Write { path: to, source })?;
        }
        let size = entries.iter().map(|entry| size(entry)).sum();
        let files = entries.iter().map(|entry| entry.path.clone()).collect();
        let mut kept = Vec::new();
        for entry in carried {
            kept.extend(Carried::take(entry.clone(), &tree)?);
        }
        let mut name = format!("fragment-{key}");
        if self.fresh {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.map_or(0, |since| since.as_nanos());
            let _ = write!(name, "-{now}-{}", std::process::id());
        }
        self.store
            .keep_unpacked(IdMode::current().map_name(), &name, &tree)?;
        let fragment = Fragment {
            pin: pin.clone(),
            files,
            size,
            carried: kept,
            unpacked: vec![name],
        };
        self.store.remember("fragment", key, &fragment)?;
        Ok(fragment)
    }
}

/// The directories of a tree, each made once.
struct Directories<'a> {
    tree: &'a Path,
    chown: bool,
    made: HashSet<PathBuf>,
}

impl Directories<'_> {
    fn make(&mut self, path: &Path) -> Result<(), BuildError> {
        if self.made.contains(path) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.make(parent)?;
        }
        // As the builder layer has them: the app's from its root down.
        let owned = path.components().count() > 1;
        let bits = if owned { 0o775 } else { 0o755 };
        let to = self.tree.join(path);
        let done = DirBuilder::new().mode(bits).create(&to).and_then(|()| {
            rustix::fs::chmod(&to, Mode::from_raw_mode(bits))?;
            if owned && self.chown {
                let (uid, gid) = (Uid::from_raw(APP_UID), Gid::from_raw(APP_GID));
                rustix::fs::chown(&to, Some(uid), Some(gid))?;
            }
            Ok(())
        });
        done.map_err(|source| BuildError::Write { path: to, source })?;
        self.made.insert(path.to_owned());
        Ok(())
    }
}

/// The steps are said by the pipeline, which knows the application's files.
struct WithoutSteps<'a>(&'a dyn Progress);

impl Progress for WithoutSteps<'_> {
    fn step(&self, line: &str) {
        self.0.step(line);
    }

    fn warning(&self, text: &str) {
        self.0.warning(text);
    }

    fn output(&self, line: &str) {
        if !line.trim_start().starts_with("---") {
            self.0.output(line);
        }
    }

    fn moved(&self, what: &str, done: u64, total: Option<u64>) {
        self.0.moved(what, done, total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_stand_in_for_the_images_own_is_seen() {
        let place = tempfile::tempdir().unwrap();
        let below = place.path().join("below");
        fs::create_dir_all(below.join("bin")).unwrap();
        fs::write(below.join("bin/python"), "").unwrap();
        let lowers = [place.path().join("other"), below];
        for (paths, hides) in [
            (&["bin/", "bin/flask", "lib/", "lib/x.py"][..], false),
            (&["bin/", "bin/python"], true),
            (&["bin/", "bin/python/", "bin/python/x"], true),
            (&["bin"], true),
        ] {
            let upper = place.path().join("upper");
            for path in paths {
                if path.ends_with('/') {
                    fs::create_dir_all(upper.join(path)).unwrap();
                } else {
                    fs::create_dir_all(&upper).unwrap();
                    fs::write(upper.join(path), "").unwrap();
                }
            }
            let entries = layer::scan(&upper, &[]).unwrap().entries;
            assert_eq!(hides_something(&entries, &lowers), hides, "{paths:?}");
            fs::remove_dir_all(&upper).unwrap();
        }
    }
}
