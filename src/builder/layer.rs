//! The *builder layer*: what turns any image with a Python into a builder.
//!
//! The in-image `warpdrive`, the S2I scripts, uid 1001 in `/etc/passwd`, and `/opt/app-root` as an
//! empty virtual environment without pip. Made once per base, the same bytes every time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::in_image_tool;
use crate::layer::{self, Compression, Entry, Kind, Mtime};
use crate::oci::{Descriptor, Digest, descriptor, parse_digest, sha256_hex};
use crate::rootfs;
use crate::sandbox::IdMode;
use crate::store::{self, Image, Needs, Store};

use super::python::Python;
use super::{APP_GID, APP_ROOT_IN_TREE, APP_UID, BuilderError, FIXED_TIME};

/// The S2I scripts. They only call the in-image `warpdrive`.
const SCRIPTS: [(&str, &str); 4] = [
    ("assemble", include_str!("../../s2i/bin/assemble")),
    ("run", include_str!("../../s2i/bin/run")),
    (
        "save-artifacts",
        include_str!("../../s2i/bin/save-artifacts"),
    ),
    ("usage", include_str!("../../s2i/bin/usage")),
];

/// A layer in the store, and its diff ID.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredLayer {
    pub descriptor: Descriptor,
    /// `sha256:HEX` of the uncompressed archive.
    pub diff_id: String,
}

impl StoredLayer {
    /// The parsed diff ID; for a damaged record, the layer's own digest, which then fails
    /// verification.
    pub fn diff_id(&self) -> Digest {
        parse_digest(&self.diff_id).unwrap_or_else(|_| self.descriptor.digest().clone())
    }
}

#[derive(Serialize, Deserialize)]
struct BuilderLayerRecord {
    layer: StoredLayer,
}

impl store::Record for BuilderLayerRecord {
    const KIND: &'static str = "builder-layer";

    fn needs(&self) -> Needs {
        Needs::blobs([&self.layer.descriptor])
    }
}

/// The builder layer of a base image: from the cache, or made and written to the store.
///
/// The second value says whether it existed already.
pub fn make(
    store: &Store,
    base: &Image,
    python: &Python,
    reference: &str,
) -> Result<(StoredLayer, bool), BuilderError> {
    let key = key(base, python);
    if let Some(record) = store.cached::<BuilderLayerRecord>(&key)? {
        return Ok((record.layer, true));
    }
    let passwd = accounts(store, base, reference)?;
    let layer = made_of(store, python, passwd.as_deref())?;
    let record = BuilderLayerRecord { layer };
    store.remember(&key, &record)?;
    Ok((record.layer, false))
}

/// The base's `/etc/passwd`, the only file of the base that the builder layer uses.
pub fn accounts(
    store: &Store,
    base: &Image,
    reference: &str,
) -> Result<Option<Vec<u8>>, BuilderError> {
    base_file(store, base, Path::new("etc/passwd"), reference)
}

/// The builder layer of a base without a known image; written to the store, but not remembered.
pub fn made_of(
    store: &Store,
    python: &Python,
    passwd: Option<&[u8]>,
) -> Result<StoredLayer, BuilderError> {
    let entries = entries(python, passwd);
    let mut blob = store.blob_writer()?;
    let written = layer::write(&entries, Compression::default(), &mut blob)?;
    blob.commit(Some(&written.digest))?;
    Ok(StoredLayer {
        descriptor: descriptor(written.media_type, written.digest, written.size),
        diff_id: written.diff_id.to_string(),
    })
}

/// The format of builder layers; a change of their content raises it.
const FORMAT: u32 = 1;

fn key(base: &Image, python: &Python) -> String {
    let scripts: Vec<&str> = SCRIPTS.iter().map(|(_, text)| *text).collect();
    sha256_hex(
        serde_json::json!({
            "format": FORMAT,
            "base": base.manifest.config().digest().to_string(),
            "python": python,
            "tool": *in_image_tool::SHA256,
            "scripts": scripts,
        })
        .to_string()
        .as_bytes(),
    )
}

/// A file of the base image, from its uppermost layer that has it.
fn base_file(
    store: &Store,
    base: &Image,
    path: &Path,
    reference: &str,
) -> Result<Option<Vec<u8>>, BuilderError> {
    for lower in rootfs::lowers(store, base, IdMode::current().into())? {
        match rootfs::read_beneath(&lower, path, 1 << 20) {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(source) => {
                return Err(BuilderError::ReadBase {
                    what: path.display().to_string(),
                    reference: reference.to_owned(),
                    source,
                });
            }
        }
    }
    Ok(None)
}

/// The layer's entries: a tree below `opt/app-root`, and `etc/passwd` with the user in it.
fn entries(python: &Python, passwd: Option<&[u8]>) -> Vec<Entry> {
    let site_packages = format!("lib/python{}/site-packages", python.minor);
    let home = Path::new(&python.executable)
        .parent()
        .unwrap_or(Path::new("/usr/bin"));
    let config = format!(
        "home = {}\ninclude-system-site-packages = false\nversion = {}\nprompt = app-root\n",
        home.display(),
        python.version
    );
    let mut entries = vec![
        app_file("pyvenv.cfg", config.into_bytes(), false),
        app_link("bin/python", &python.executable),
        app_link("bin/python3", "python"),
        app_link(&format!("bin/python{}", python.minor), "python"),
        app_file("bin/activate", ACTIVATE.as_bytes().to_vec(), false),
        app_file("bin/warpdrive", in_image_tool::BYTES.to_vec(), true),
        app_link("lib64", "lib"),
        app_directory(&site_packages),
        app_directory("src"),
        app_directory("etc/warpdrive"),
    ];
    for (name, text) in SCRIPTS {
        entries.push(app_file(
            &format!("s2i/bin/{name}"),
            text.as_bytes().to_vec(),
            true,
        ));
    }
    if let Some(passwd) = passwd_with_user(passwd) {
        let mut entry = entry("etc/passwd".into(), Kind::Bytes(passwd), 0o644);
        (entry.uid, entry.gid) = (0, 0);
        entries.push(entry);
    }
    layer::with_parents(entries, parent_directory)
}

const ACTIVATE: &str = "# Sourced by shells and hooks: puts the application's environment first.
VIRTUAL_ENV=/opt/app-root
export VIRTUAL_ENV
PATH=/opt/app-root/bin:$PATH
export PATH
";

fn entry(path: PathBuf, kind: Kind, mode: u32) -> Entry {
    Entry {
        path,
        kind,
        mode,
        uid: APP_UID,
        gid: APP_GID,
        mtime: Mtime::Fixed(FIXED_TIME),
        xattrs: BTreeMap::new(),
    }
}

fn below_app_root(path: &str) -> PathBuf {
    Path::new(APP_ROOT_IN_TREE).join(path)
}

fn app_file(path: &str, bytes: Vec<u8>, executable: bool) -> Entry {
    let mode = if executable { 0o775 } else { 0o664 };
    entry(below_app_root(path), Kind::Bytes(bytes), mode)
}

fn app_link(path: &str, target: &str) -> Entry {
    entry(below_app_root(path), Kind::Symlink(target.into()), 0o777)
}

fn app_directory(path: &str) -> Entry {
    entry(below_app_root(path), Kind::Directory, 0o775)
}

/// A parent directory, the same in every layer of warpdrive, so that no layer changes another's.
pub fn parent_directory(path: &Path) -> Entry {
    let mut parent = entry(path.to_owned(), Kind::Directory, 0o775);
    if !path.starts_with(APP_ROOT_IN_TREE) {
        (parent.uid, parent.gid, parent.mode) = (0, 0, 0o755);
    }
    parent
}

/// The base's accounts with warpdrive's added; `None` if uid 1001 exists already.
fn passwd_with_user(base: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut text = match base {
        Some(base) => base.to_vec(),
        None => b"root:x:0:0:root:/root:/bin/sh\n".to_vec(),
    };
    let has_user = text
        .split(|byte| *byte == b'\n')
        .any(|line| line.split(|byte| *byte == b':').nth(2) == Some(b"1001"));
    if has_user {
        return None;
    }
    if !text.ends_with(b"\n") && !text.is_empty() {
        text.push(b'\n');
    }
    text.extend_from_slice(
        b"default:x:1001:0:Default Application User:/opt/app-root:/sbin/nologin\n",
    );
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_added_once() {
        let added = passwd_with_user(Some(b"root:x:0:0::/root:/bin/sh")).unwrap();
        let text = String::from_utf8(added.clone()).unwrap();
        assert!(text.starts_with("root:x:0:0::/root:/bin/sh\ndefault:x:1001:0:"));
        assert!(passwd_with_user(Some(&added)).is_none());
    }

    #[test]
    fn every_entry_below_the_app_root_can_be_used_by_group_zero() {
        let python = Python {
            executable: "/usr/bin/python3.11".into(),
            version: "3.11.2".into(),
            minor: "3.11".into(),
            abi: String::new(),
            libc: String::new(),
        };
        for entry in entries(&python, Some(b"")) {
            if entry.path.starts_with("opt/app-root") {
                assert_eq!((entry.uid, entry.gid), (1001, 0), "{entry:?}");
                assert_eq!(entry.mode & 0o060, 0o060, "{entry:?}");
            }
            assert_eq!(entry.mode & 0o7000, 0);
        }
    }
}
