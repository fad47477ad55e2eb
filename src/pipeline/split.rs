//! Sorts what the dependency phase installed into layers, by distribution.
//!
//! The [`LARGEST`] largest distributions of at least [`LARGE`] have a layer each; the rest go into
//! [`POOLS`] pools by the SHA-256 of the normalized name. So a distribution's layer is the same
//! blob in every application that has it, and a small new requirement touches one pool.
//! `*.dist-info/RECORD` says which distribution owns a file (Recording installed projects, PyPA);
//! byte-code belongs to its source's owner; files without an owner go to the last layer; `.pth`
//! files go to the application, because their order among all distributions matters.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use crate::app::requirement::normalize;
use crate::layer::{Entry, Kind};
use crate::oci::sha256;

/// Most distributions that get their own layer.
const LARGEST: usize = 15;
/// Smallest size for an own layer, in bytes.
const LARGE: u64 = 1024 * 1024;
/// Layers that share the small distributions.
const POOLS: u8 = 8;

/// An installed distribution and the files that its RECORD names.
#[derive(Debug, Clone)]
pub(super) struct Distribution {
    /// Normalized (PEP 503): lower case, runs of `-_.` as one `-`.
    pub(super) name: String,
    pub(super) version: String,
    /// Relative to the root of the image.
    pub(super) files: Vec<PathBuf>,
}

/// The entries for one dependency layer.
#[derive(Debug)]
pub(super) struct Share {
    /// For the history: `numpy 2.3.1`, or `click, flask, …`.
    pub(super) title: String,
    pub(super) entries: Vec<Entry>,
}

/// The result of [`split`].
#[derive(Debug)]
pub(super) struct Split {
    pub(super) shares: Vec<Share>,
    /// Files that belong to the application layer.
    pub(super) for_application: Vec<Entry>,
}

/// `Name-Version.dist-info` → (normalized name, version).
pub(super) fn parse_dist_info(directory: &str) -> Option<(String, String)> {
    let (name, version) = directory.strip_suffix(".dist-info")?.split_once('-')?;
    Some((normalize(name), version.to_owned()))
}

/// The paths of a RECORD, relative to the image's root. `site` is the directory that holds the
/// `dist-info`, for example `opt/app-root/lib/python3.11/site-packages`.
pub(super) fn parse_record(record: &str, site: &Path) -> Vec<PathBuf> {
    record
        .lines()
        .filter_map(first_field)
        .filter_map(|path| resolve(site, Path::new(&path)))
        .collect()
}

/// The first field of a line of CSV (RFC 4180).
fn first_field(line: &str) -> Option<String> {
    let Some(quoted) = line.strip_prefix('"') else {
        let field = line.split(',').next()?.trim_end();
        return (!field.is_empty()).then(|| field.to_owned());
    };
    let mut field = String::new();
    let mut characters = quoted.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '"' {
            field.push(character);
        } else if characters.peek() == Some(&'"') {
            characters.next();
            field.push('"');
        } else {
            return Some(field);
        }
    }
    None
}

/// Joins paths without reading the disk; `None` if the result is outside the image.
fn resolve(base: &Path, path: &Path) -> Option<PathBuf> {
    let mut resolved = if path.is_absolute() {
        PathBuf::new()
    } else {
        base.to_owned()
    };
    for component in path.components() {
        match component {
            Component::Normal(name) => resolved.push(name),
            Component::ParentDir => {
                if !resolved.pop() {
                    return None;
                }
            }
            Component::CurDir | Component::RootDir => {}
            Component::Prefix(_) => return None,
        }
    }
    Some(resolved)
}

/// The source file that a `__pycache__/NAME.TAG.pyc` was compiled from.
pub(super) fn source_of(path: &Path) -> Option<PathBuf> {
    let cache = path.parent()?;
    if cache.file_name()? != "__pycache__" {
        return None;
    }
    let stem = path.file_name()?.to_str()?.strip_suffix(".pyc")?;
    let stem = stem.strip_suffix(".opt-1").unwrap_or(stem);
    let stem = stem.strip_suffix(".opt-2").unwrap_or(stem);
    let (module, _tag) = stem.rsplit_once('.')?;
    Some(cache.parent()?.join(format!("{module}.py")))
}

/// Whether this file is executed by `site` at every start of the interpreter.
pub(super) fn is_path_configuration(path: &Path, site: &Path) -> bool {
    path.parent() == Some(site) && path.extension().is_some_and(|extension| extension == "pth")
}

/// Sorts entries into layers (files and links; directories are derived from them).
pub(super) fn split(entries: Vec<Entry>, distributions: &[Distribution], site: &Path) -> Split {
    let mut order: Vec<&Distribution> = distributions.iter().collect();
    order.sort_by(|a, b| a.name.cmp(&b.name));
    let owners = Owners::of(&order);
    let mut belongings: Vec<Vec<Entry>> = order.iter().map(|_| Vec::new()).collect();
    let mut orphans = Vec::new();
    let mut for_application = Vec::new();
    for entry in entries {
        if matches!(entry.kind, Kind::Whiteout | Kind::Opaque)
            || is_path_configuration(&entry.path, site)
        {
            for_application.push(entry);
            continue;
        }
        match owners.owner(&entry.path) {
            Some(index) => belongings[index].push(entry),
            None => orphans.push(entry),
        }
    }

    let present: Vec<usize> = (0..order.len())
        .filter(|index| !belongings[*index].is_empty())
        .collect();
    let sizes: Vec<(&str, u64)> = present
        .iter()
        .map(|index| {
            let bytes = belongings[*index].iter().map(size).sum();
            (order[*index].name.as_str(), bytes)
        })
        .collect();
    let mut shares = Vec::new();
    for group in groups(&sizes) {
        let members: Vec<usize> = group.members().iter().map(|at| present[*at]).collect();
        let named: Vec<&Distribution> = members.iter().map(|index| order[*index]).collect();
        let entries = members
            .iter()
            .flat_map(|index| std::mem::take(&mut belongings[*index]))
            .collect();
        shares.push(Share {
            title: group.title(&named),
            entries,
        });
    }
    // An empty directory is kept only if no other entry implies it.
    let has_content = orphans
        .iter()
        .any(|entry| !matches!(entry.kind, Kind::Directory));
    match shares.last_mut() {
        Some(last) => last.entries.extend(orphans),
        None if has_content => shares.push(Share {
            title: "files of the dependency phase".into(),
            entries: orphans,
        }),
        None => {}
    }
    Split {
        shares,
        for_application,
    }
}

/// Which distribution owns which file: the files in RECORDs, and their byte-code.
struct Owners<'d> {
    files: HashMap<&'d Path, usize>,
}

impl<'d> Owners<'d> {
    /// If two name the file, the first owns it.
    fn of(order: &[&'d Distribution]) -> Self {
        let mut files: HashMap<&Path, usize> = HashMap::new();
        for (index, distribution) in order.iter().enumerate() {
            for file in &distribution.files {
                files.entry(file).or_insert(index);
            }
        }
        Self { files }
    }

    fn owner(&self, path: &Path) -> Option<usize> {
        self.files
            .get(path)
            .or_else(|| self.files.get(source_of(path)?.as_path()))
            .copied()
    }
}

/// The distributions of one layer, as indexes into the argument of [`groups`].
pub(super) enum Group {
    Large(usize),
    Pool(Vec<usize>),
}

impl Group {
    pub(super) fn members(&self) -> &[usize] {
        match self {
            Self::Large(index) => std::slice::from_ref(index),
            Self::Pool(members) => members,
        }
    }

    /// For the history: `numpy 2.3.1`, or `click, flask, …`.
    pub(super) fn title(&self, members: &[&Distribution]) -> String {
        if let (Self::Large(_), [only]) = (self, members) {
            return format!("{} {}", only.name, only.version);
        }
        let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        names.join(", ")
    }
}

/// Sorts distributions, by name and with their size in bytes, into layers.
pub(super) fn groups(distributions: &[(&str, u64)]) -> Vec<Group> {
    let mut sizes: Vec<(u64, usize)> = distributions
        .iter()
        .enumerate()
        .map(|(index, (_, size))| (*size, index))
        .filter(|(size, _)| *size >= LARGE)
        .collect();
    // The largest first; of equal size, the first by name.
    sizes.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    sizes.truncate(LARGEST);
    let mut large: Vec<usize> = sizes.into_iter().map(|(_, index)| index).collect();
    large.sort_unstable();
    let mut pools: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
    for (index, (name, _)) in distributions.iter().enumerate() {
        if large.binary_search(&index).is_err() {
            pools.entry(pool_of(name)).or_default().push(index);
        }
    }
    let large = large.into_iter().map(Group::Large);
    large.chain(pools.into_values().map(Group::Pool)).collect()
}

fn pool_of(name: &str) -> u8 {
    let digest = sha256(name.as_bytes());
    u8::from_str_radix(&digest.digest()[..2], 16).unwrap_or(0) % POOLS
}

/// The size of an entry, in bytes.
pub(super) fn size(entry: &Entry) -> u64 {
    match &entry.kind {
        Kind::File { size, .. } => *size,
        Kind::Bytes(bytes) => bytes.len() as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Mtime;
    use proptest::prelude::*;

    const SITE: &str = "opt/app-root/lib/python3.11/site-packages";

    fn file(path: &str, size: usize) -> Entry {
        Entry {
            path: path.into(),
            kind: Kind::Bytes(vec![0; size]),
            mode: 0o664,
            uid: 1001,
            gid: 0,
            mtime: Mtime::Fixed(0),
            xattrs: BTreeMap::new(),
        }
    }

    fn distribution(name: &str, files: &[&str]) -> Distribution {
        Distribution {
            name: name.into(),
            version: "1".into(),
            files: files.iter().map(|f| Path::new(SITE).join(f)).collect(),
        }
    }

    fn in_site(path: &str) -> String {
        format!("{SITE}/{path}")
    }

    #[test]
    fn names_of_directories_are_normalized() {
        assert_eq!(
            parse_dist_info("psycopg2_binary-2.9.9.dist-info"),
            Some(("psycopg2-binary".into(), "2.9.9".into()))
        );
        assert_eq!(parse_dist_info("x.egg-info"), None);
    }

    #[test]
    fn records_name_files_wherever_they_lie() {
        let record = "a/b.py,sha256=x,1\r\n../../../bin/tool,,\n\"with,comma.py\",,\n../../../../../../../etc/passwd,,\n";
        let files = parse_record(record, Path::new(SITE));
        assert_eq!(
            files,
            [
                PathBuf::from(in_site("a/b.py")),
                "opt/app-root/bin/tool".into(),
                in_site("with,comma.py").into(),
            ]
        );
    }

    #[test]
    fn large_ones_alone_small_ones_in_pools_and_orphans_last() {
        let distributions = [
            distribution("big", &["big/x.so"]),
            distribution("small", &["small.py"]),
        ];
        let split = split(
            vec![
                file(&in_site("big/x.so"), 2 << 20),
                file(&in_site("small.py"), 10),
                file(&in_site("__pycache__/small.cpython-311.pyc"), 10),
                file(&in_site("hook.pth"), 10),
                file("opt/app-root/share/unknown", 10),
            ],
            &distributions,
            Path::new(SITE),
        );
        assert_eq!(split.shares.len(), 2);
        assert_eq!(split.shares[0].title, "big 1");
        assert_eq!(split.shares[1].title, "small");
        assert_eq!(split.shares[1].entries.len(), 3);
        assert_eq!(split.for_application.len(), 1);
    }

    #[test]
    fn of_two_owners_the_first_by_name_has_the_file() {
        let distributions = [
            distribution("zeta", &["tests/__init__.py", "zeta.py"]),
            distribution("alpha", &["tests/__init__.py"]),
        ];
        let split = split(
            vec![
                file(&in_site("tests/__init__.py"), 2 << 20),
                file(&in_site("zeta.py"), 2 << 20),
            ],
            &distributions,
            Path::new(SITE),
        );
        assert_eq!(split.shares[0].title, "alpha 1");
        assert_eq!(split.shares[0].entries.len(), 1);
    }

    #[test]
    fn at_most_fifteen_large_layers_and_eight_pools() {
        let names: Vec<String> = (0..60).map(|n| format!("dist{n:02}")).collect();
        let distributions: Vec<Distribution> = names
            .iter()
            .map(|name| distribution(name, &[&format!("{name}.py")]))
            .collect();
        let entries = names
            .iter()
            .map(|name| file(&in_site(&format!("{name}.py")), 1 << 20))
            .collect();
        let split = split(entries, &distributions, Path::new(SITE));
        assert!(split.shares.len() <= LARGEST + usize::from(POOLS));
        let count: usize = split.shares.iter().map(|share| share.entries.len()).sum();
        assert_eq!(count, 60);
    }

    proptest! {
        #[test]
        fn no_record_leads_out_of_the_image(record in "(\\PC{0,40}\n){0,5}") {
            for path in parse_record(&record, Path::new(SITE)) {
                prop_assert!(path.is_relative());
                prop_assert!(!path.components().any(|c| c == Component::ParentDir));
            }
        }
    }
}
