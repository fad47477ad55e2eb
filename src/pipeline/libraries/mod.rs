//! Whether the shared libraries of what was installed can be loaded in the image that will run it: the
//! needs of each `.so` of the dependencies are compared with the libraries in the packages themselves
//! and in the image.
//!
//! A missing library is reported with the Debian package that has it. It is only a warning: a plug-in that
//! is never loaded does no harm, and an application that loads it fails at the smoke gate, which decides.

mod links;
mod tree;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::builder::contents;
use crate::oci::sha256_hex;
use crate::progress::{Progress, shown};
use crate::rootfs::Merged;
use crate::sandbox::IdMode;
use crate::store::{Needs, Record, Store};

use super::base::Base;
use super::dependencies::{self, Phase1};
use super::error::BuildError;
use tree::{Need, Objects};

/// The dynamic linker's default directories.
const DIRECTORIES: [&str; 9] = [
    "/lib",
    "/usr/lib",
    "/lib64",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
];

/// Libraries of a device's driver, which a container gets at start.
const DRIVERS: [&str; 4] = ["libcuda.so", "libnvidia-", "libnvcuvid.so", "libnvoptix.so"];

/// Number of libraries that are listed one by one.
const TOLD: usize = 8;

/// The missing libraries, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Missing(Vec<Library>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Library {
    name: String,
    /// The Debian package that has it.
    package: Option<String>,
    /// The files that are loaded with it.
    files: Vec<String>,
}

impl Record for Missing {
    const KIND: &'static str = "missing-libraries";

    fn needs(&self) -> Needs {
        Needs::nothing()
    }
}

/// Finds the libraries that the dependencies need and that neither the dependencies nor the image have.
/// If neither changed, a build reads the kept answer.
pub(super) fn missing(
    store: &Store,
    phase1: &Phase1,
    runtime: &Base,
) -> Result<Missing, BuildError> {
    let of = format!("2 {} {}", phase1.result.digest()?, runtime.identity());
    let key = sha256_hex(of.as_bytes());
    if let Some(known) = store.cached::<Missing>(&key)? {
        return Ok(known);
    }
    let directories = dependencies::lowers(store, phase1)?;
    let trees = &phase1.result.trees;
    let map = IdMode::current().map_name();
    let keys: HashMap<PathBuf, &str> = trees
        .iter()
        .filter_map(|tree| Some((store.find_unpacked(map, tree)?, tree.as_str())))
        .collect();
    let objects: Vec<Objects> = directories
        .par_iter()
        .map(|directory| Objects::of(store, directory, keys.get(directory).copied()))
        .collect::<Result<_, _>>()?;
    let image = runtime.lowers(store)?;
    let found = of_objects(&objects, &image, &runtime.environment());
    store.remember(&key, &found)?;
    Ok(found)
}

/// The libraries that these need in an image with these layers and variables.
fn of_objects(objects: &[Objects], image: &[PathBuf], env: &[(String, String)]) -> Missing {
    let needs: Vec<&Need> = objects.iter().flat_map(|objects| &objects.needs).collect();
    if needs.is_empty() {
        return Missing::default();
    }
    let image = Merged(image);
    let mut there: HashSet<String> = objects
        .iter()
        .flat_map(|objects| objects.brought.iter().cloned())
        .collect();
    let from_env = env
        .iter()
        .filter(|(name, _)| name == "LD_LIBRARY_PATH")
        .flat_map(|(_, value)| value.split(':'));
    for directory in DIRECTORIES.into_iter().chain(from_env) {
        let names = image.names(Path::new(directory)).unwrap_or_default();
        there.extend(names.into_iter().filter_map(|name| name.into_string().ok()));
    }
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for need in needs {
        for name in &need.needed {
            let driver = DRIVERS.iter().any(|driver| name.starts_with(driver));
            if !driver && !there.contains(name) && !is_searched(&image, need, name) {
                missing.entry(name).or_default().insert(&need.file);
            }
        }
    }
    if missing.is_empty() {
        return Missing::default();
    }
    let suite = contents::suite(image.0);
    let package = |name: &str| contents::package(suite.as_deref()?, name);
    Missing(
        missing
            .into_iter()
            .map(|(name, files)| Library {
                name: name.to_owned(),
                package: package(name).map(str::to_owned),
                files: files.into_iter().map(str::to_owned).collect(),
            })
            .collect(),
    )
}

/// Whether the image has the library in a directory that the file itself names.
fn is_searched(image: &Merged<'_>, need: &Need, name: &str) -> bool {
    if name.starts_with('/') {
        return image.exists(Path::new(name));
    }
    let file = Path::new("/").join(&need.file);
    let origin = file.parent().and_then(Path::to_str).unwrap_or("/");
    need.search.iter().any(|directory| {
        let directory = directory
            .replace("${ORIGIN}", origin)
            .replace("$ORIGIN", origin);
        directory.starts_with('/') && image.exists(&Path::new(&directory).join(name))
    })
}

impl Missing {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The libraries that are missing here and not there.
    pub(super) fn beyond(&self, other: &Self) -> Self {
        let known: HashSet<&str> = other.0.iter().map(|it| it.name.as_str()).collect();
        let more = self.0.iter().filter(|it| !known.contains(it.name.as_str()));
        Self(more.cloned().collect())
    }

    /// `libapr-1.so.0 (Debian's libapr1), libx.so.1`
    pub(super) fn in_words(&self) -> String {
        let mut words: Vec<String> = self
            .0
            .iter()
            .take(TOLD)
            .map(|library| match &library.package {
                Some(package) => format!("{} (Debian's {package})", library.name),
                None => library.name.clone(),
            })
            .collect();
        if self.0.len() > TOLD {
            words.push(format!("{} more", self.0.len() - TOLD));
        }
        shown(&words.join(", ")).into_owned()
    }

    /// The packages that have them.
    pub(super) fn packages(&self) -> BTreeSet<String> {
        let packages = self.0.iter().filter_map(|library| library.package.clone());
        packages.collect()
    }

    /// Reports them.
    pub(super) fn tell(&self, reference: &str, progress: &dyn Progress) {
        for line in self.lines(reference) {
            progress.warning(&line);
        }
    }

    fn lines(&self, reference: &str) -> Vec<String> {
        let mut lines: Vec<String> = self
            .0
            .iter()
            .take(TOLD)
            .map(|library| {
                let file = library.files.first().map_or("a package", String::as_str);
                let file = file
                    .split_once("site-packages/")
                    .map_or(file, |(_, file)| file);
                let others = match library.files.len() {
                    0 | 1 => String::new(),
                    2 => " (and one other file)".to_owned(),
                    count => format!(" (and {} other files)", count - 1),
                };
                let remedy = match &library.package {
                    Some(package) => format!(
                        "--auto-apt adds Debian's {package}, or a line `{package}` in Aptfile does"
                    ),
                    None => {
                        "a builder or a runtime image that has it is needed where that is loaded"
                            .into()
                    }
                };
                let name = &library.name;
                let line = format!(
                    "{file}{others} needs {name}, which {reference} does not have; {remedy}"
                );
                shown(&line).into_owned()
            })
            .collect();
        if self.0.len() > TOLD {
            let rest: Vec<&str> = self
                .0
                .iter()
                .skip(TOLD)
                .map(|it| it.name.as_str())
                .collect();
            let (count, names) = (rest.len(), rest.join(", "));
            let line = format!("{count} more libraries are missing: {names}");
            lines.push(shown(&line).into_owned());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn need(file: &str, needed: &[&str], search: &[&str]) -> Need {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Need {
            file: format!("opt/app-root/lib/python3.11/site-packages/{file}"),
            needed: owned(needed),
            search: owned(search),
        }
    }

    #[test]
    fn what_nothing_has_is_told_with_its_package() {
        let image = tempfile::tempdir().unwrap();
        for file in [
            "usr/lib/x86_64-linux-gnu/libc.so.6",
            "opt/own/libown.so.1",
            "opt/more/libmore.so",
            "opt/app-root/lib/python3.11/site-packages/beside/libbeside.so",
        ] {
            let path = image.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::create_dir(image.path().join("etc")).unwrap();
        fs::write(
            image.path().join("etc/os-release"),
            "VERSION_CODENAME=bookworm\n",
        )
        .unwrap();
        let objects = [
            Objects {
                brought: vec!["libbrought.so.3".into()],
                needs: vec![
                    need(
                        "a.so",
                        &["libc.so.6", "libbrought.so.3", "libxcb.so.1"],
                        &[],
                    ),
                    need("b.so", &["libxcb.so.1", "libcuda.so.1"], &[]),
                ],
            },
            Objects {
                brought: Vec::new(),
                needs: vec![
                    need("c.so", &["libown.so.1", "libelse.so.1"], &["/opt/own"]),
                    need("d/d.so", &["libbeside.so"], &["$ORIGIN/../beside"]),
                    need("e.so", &["libmore.so"], &[]),
                ],
            },
        ];
        let env = [("LD_LIBRARY_PATH".to_owned(), "/opt/more:/no".to_owned())];
        let missing = of_objects(&objects, &[image.path().to_owned()], &env);
        assert_eq!(missing.packages(), BTreeSet::from(["libxcb1".to_owned()]));
        insta::assert_snapshot!(missing.lines("debian-12-python-3.11").join("\n"), @r"
        c.so needs libelse.so.1, which debian-12-python-3.11 does not have; a builder or a runtime image that has it is needed where that is loaded
        a.so (and one other file) needs libxcb.so.1, which debian-12-python-3.11 does not have; --auto-apt adds Debian's libxcb1, or a line `libxcb1` in Aptfile does
        ");
        assert_eq!(of_objects(&[], &[], &[]), Missing::default());
        let known = Missing(missing.0[..1].to_vec());
        assert_eq!(
            missing.beyond(&known).in_words(),
            "libxcb.so.1 (Debian's libxcb1)"
        );
        assert_eq!(known.in_words(), "libelse.so.1");
        let objects = [Objects {
            brought: Vec::new(),
            needs: vec![need("n\n.so", &["libx\ny.so.1"], &[])],
        }];
        let odd = of_objects(&objects, &[image.path().to_owned()], &[]);
        assert_eq!(odd.in_words(), "libx\\ny.so.1");
        assert!(odd.lines("r")[0].starts_with("n\\n.so needs libx\\ny.so.1, "));
        assert!(known.beyond(&missing).is_empty());
    }

    #[test]
    fn links_in_a_tree_are_names_and_no_way_out() {
        let place = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/proc/self/exe", place.path().join("libx.so.1")).unwrap();
        std::os::unix::fs::symlink("/", place.path().join("root")).unwrap();
        fs::copy("/proc/self/exe", place.path().join("own.so")).unwrap();
        let objects = Objects::read(place.path()).unwrap();
        assert_eq!(objects.brought, ["libx.so.1", "own.so"]);
        assert_eq!(objects.needs.len(), 1);
        assert_eq!(objects.needs[0].file, "own.so");
    }
}
