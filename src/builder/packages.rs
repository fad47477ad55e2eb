//! Additional Debian packages on a Debian builder: one layer with the differences.
//!
//! mmdebstrap makes the complete root file system again, with the packages; files that are the same as in the
//! builder are left out. So applications that name packages share the builder's layers with all others, and
//! those that name the same ones share this layer as well. Not here: which project names the packages
//! (`pipeline`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::layer::{self, Compression, Entry, Kind, Mtime};
use crate::oci::{Descriptor, HistoryEntry, descriptor};
use crate::progress::Progress;
use crate::rootfs;
use crate::sandbox::IdMode;
use crate::store::{Image, Store};

use super::debian::{self, Mirror, Target};
use super::definition::Definition;
use super::image;
use super::{BuilderError, FIXED_TIME, FIXED_TIME_RFC3339};

/// Paths that are mounted or belong to the machine while mmdebstrap runs.
const LEFT_OUT: [&str; 3] = ["dev", "proc", "sys"];

/// Makes the image `definition.name`: the builder `base` plus these packages. Needs root. `None` if the
/// builder is not one layer of Debian's packages, as `builder build` makes it.
///
/// # Errors
/// If mmdebstrap cannot make it.
pub fn add(
    store: &Store,
    definition: &Definition,
    base: &Image,
    packages: &BTreeSet<String>,
    mirror: Mirror<'_>,
    progress: &dyn Progress,
) -> Result<Option<Descriptor>, BuilderError> {
    let _in_use = store.lock_shared()?;
    let lowers = rootfs::lowers(store, base, IdMode::current().into())?;
    let [below] = lowers.as_slice() else {
        return Ok(None);
    };
    let mut whole = definition.clone();
    whole.packages.extend(packages.iter().cloned());
    let scratch = store.scratch("packages")?;
    let tree = scratch.path().join("tree");
    debian::unpack(store, &whole, &Target::Directory(&tree), mirror, progress)?;
    let entries = difference(below, &tree)?;
    let mut blob = store.blob_writer()?;
    let written = layer::write(&entries, Compression::default(), &mut blob)?;
    blob.commit(Some(&written.digest))?;

    let mut config = base.config.clone();
    image::describe(definition, &mut config);
    let list: Vec<&str> = packages.iter().map(String::as_str).collect();
    config.push_layer(
        &written.diff_id,
        &HistoryEntry {
            created: FIXED_TIME_RFC3339.into(),
            created_by: format!("mmdebstrap: {}", list.join(" ")),
            empty_layer: false,
        },
    );
    let mut layers = base.manifest.layers().clone();
    layers.push(descriptor(written.media_type, written.digest, written.size));
    image::commit(store, definition, layers, &config).map(Some)
}

/// The layer that turns the tree `below` into the tree `above`. No process may change them meanwhile.
fn difference(below: &Path, above: &Path) -> Result<Vec<Entry>, BuilderError> {
    let skip = LEFT_OUT.map(Path::new);
    let known: BTreeMap<PathBuf, Entry> = layer::scan(below, &skip)?
        .entries
        .into_iter()
        .map(|entry| (entry.path.clone(), entry))
        .collect();
    let entries = layer::scan(above, &skip)?.entries;
    let mut changed = BTreeSet::new();
    for entry in &entries {
        let is_known = match known.get(&entry.path) {
            Some(known) => is_same(known, entry)?,
            None => false,
        };
        if !is_known {
            changed.insert(entry.path.clone());
        }
    }
    // Hard links of a file stay together: a layer can only link to its own entries.
    let target = |entry: &Entry| match &entry.kind {
        Kind::HardLink(target) => Some(target.clone()),
        _ => None,
    };
    for entry in &entries {
        if let Some(target) = target(entry)
            && changed.contains(&entry.path)
        {
            changed.insert(target);
        }
    }
    for entry in &entries {
        if let Some(target) = target(entry)
            && changed.contains(&target)
        {
            changed.insert(entry.path.clone());
        }
    }
    let there: BTreeMap<&Path, &Entry> = entries
        .iter()
        .map(|entry| (entry.path.as_path(), entry))
        .collect();
    // The entries of a removed directory go with it, whatever replaces it.
    let is_directory = |path: &Path| {
        path.as_os_str().is_empty()
            || there
                .get(path)
                .is_some_and(|entry| entry.kind == Kind::Directory)
    };
    let gone = known
        .keys()
        .filter(|path| {
            !there.contains_key(path.as_path()) && path.parent().is_some_and(is_directory)
        })
        .map(|path| Entry {
            kind: Kind::Whiteout,
            ..Entry::directory(path.clone(), 0o755, Mtime::Fixed(FIXED_TIME))
        });
    let mut layer: Vec<Entry> = entries
        .iter()
        .filter(|entry| changed.contains(&entry.path))
        .cloned()
        .chain(gone)
        .collect();
    // Parent directories do not change.
    layer = layer::with_parents(layer, |path| match there.get(path) {
        Some(entry) => (*entry).clone(),
        None => Entry::directory(path, 0o755, Mtime::Fixed(FIXED_TIME)),
    });
    for entry in &mut layer {
        entry.mtime = Mtime::Fixed(FIXED_TIME);
    }
    Ok(layer)
}

/// Whether two entries are equal except for their time.
fn is_same(known: &Entry, entry: &Entry) -> Result<bool, BuilderError> {
    let attributes = |entry: &Entry| (entry.mode, entry.uid, entry.gid, entry.xattrs.clone());
    if attributes(known) != attributes(entry) {
        return Ok(false);
    }
    match (&known.kind, &entry.kind) {
        (
            Kind::File { source, size },
            Kind::File {
                source: other,
                size: other_size,
            },
        ) => Ok(size == other_size
            && same_content(source, other).map_err(|error| BuilderError::ReadDefinition {
                path: other.clone(),
                source: error,
            })?),
        (known, other) => Ok(known == other),
    }
}

fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    let open = |path| Ok::<_, io::Error>(BufReader::with_capacity(128 * 1024, File::open(path)?));
    let (mut a, mut b) = (open(a)?, open(b)?);
    let (mut left, mut right) = ([0; 8192], [0; 8192]);
    loop {
        let count = a.read(&mut left)?;
        if count == 0 {
            return Ok(b.read(&mut right)? == 0);
        }
        if b.read_exact(&mut right[..count]).is_err() || left[..count] != right[..count] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = tree.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        tree
    }

    fn words(entries: &[Entry]) -> Vec<String> {
        let word = |entry: &Entry| {
            let path = entry.path.display();
            match &entry.kind {
                Kind::Directory => format!("{path}/"),
                Kind::Whiteout => format!("-{path}"),
                Kind::HardLink(target) => format!("{path} = {}", target.display()),
                Kind::Symlink(target) => format!("{path} -> {}", target.display()),
                _ => path.to_string(),
            }
        };
        entries.iter().map(word).collect()
    }

    #[test]
    fn a_layer_has_what_differs_and_nothing_else() {
        let files = [
            ("etc/same", "1"),
            ("etc/changed", "1"),
            ("etc/longer", "1"),
            ("etc/mode", "1"),
            ("lib/one", "x"),
            ("lib/two", "y"),
            ("gone/all/of/it", "1"),
            ("half/gone", "1"),
            ("half/stays", "1"),
            ("dev/null", "1"),
        ];
        let (below, above) = (tree(&files), tree(&files));
        let put = |path: &str, text: &str| fs::write(above.path().join(path), text).unwrap();
        put("etc/changed", "2");
        put("etc/longer", "12");
        put("new", "1");
        fs::remove_dir_all(above.path().join("gone")).unwrap();
        fs::remove_file(above.path().join("half/gone")).unwrap();
        fs::set_permissions(
            above.path().join("etc/mode"),
            fs::Permissions::from_mode(0o755),
        )
        .unwrap();
        // One file gets an additional name; the other has two names on both sides, and changes.
        fs::hard_link(above.path().join("lib/one"), above.path().join("lib/three")).unwrap();
        for side in [&below, &above] {
            fs::hard_link(side.path().join("lib/two"), side.path().join("lib/zwei")).unwrap();
            symlink("one", side.path().join("lib/link")).unwrap();
        }
        // A directory became a link: its entries are not read through the link.
        fs::create_dir(below.path().join("turned")).unwrap();
        fs::write(below.path().join("turned/file"), "1").unwrap();
        symlink("half", above.path().join("turned")).unwrap();
        put("lib/two", "z");
        let entries = difference(below.path(), above.path()).unwrap();
        assert_eq!(
            words(&entries),
            [
                "etc/",
                "etc/changed",
                "etc/longer",
                "etc/mode",
                "-gone",
                "half/",
                "-half/gone",
                "lib/",
                "lib/one",
                "lib/three = lib/one",
                "lib/two",
                "lib/zwei = lib/two",
                "new",
                "turned -> half",
            ]
        );
        assert!(
            entries
                .iter()
                .all(|entry| entry.mtime == Mtime::Fixed(FIXED_TIME))
        );
        assert!(difference(below.path(), below.path()).unwrap().is_empty());
    }
}
