//! Finds the difference between two images that should be equal: which file, and how it differs.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::layer::{Limits, Member, MemberKind, TarReader, decompressor};
use crate::oci::{Digest, Sha256Writer, from_json};
use crate::store::{Image, Store};

use super::error::BuildError;

/// Number of differences that are listed; the others are counted.
const MOST: usize = 200;

/// Number of files whose content is compared byte by byte.
const LOOKED_INTO: usize = 20;
const MAX_CONTENT: u64 = 4 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `configuration`, `manifest`, or the layer, by its number from 1.
    pub place: String,
    /// The file in a layer, or the field of a document.
    pub path: String,
    /// What the image has, and what the rebuilt one has instead.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.path, self.what)
    }
}

/// The entry of one file.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    member: Member,
    content: Option<Digest>,
}

/// Compares an image with the rebuilt one.
pub(super) fn between(
    store: &Store,
    image: &Image,
    rebuilt: &Image,
) -> Result<Vec<Difference>, BuildError> {
    let mut found = Vec::new();
    let layers = |image: &Image| -> Vec<Digest> {
        let layers = image.manifest.layers().iter();
        layers.map(|layer| layer.digest().clone()).collect()
    };
    let (ours, theirs) = (layers(image), layers(rebuilt));
    if ours.len() != theirs.len() {
        found.push(Difference {
            place: "manifest".into(),
            path: "layers".into(),
            what: format!("{} layers, rebuilt: {}", ours.len(), theirs.len()),
        });
    }
    for (number, (a, b)) in ours.iter().zip(&theirs).enumerate() {
        if a != b {
            of_layers(store, number + 1, a, b, &mut found)?;
        }
    }
    let document = |bytes: &[u8]| from_json::<Value>(bytes, "a document of the image");
    for (place, a, b) in [
        ("configuration", &image.config_bytes, &rebuilt.config_bytes),
        ("manifest", &image.manifest_bytes, &rebuilt.manifest_bytes),
    ] {
        of_values(place, "", &document(a)?, &document(b)?, &mut found);
    }
    if found.len() > MOST {
        let more = found.len() - MOST;
        found.truncate(MOST);
        found.push(Difference {
            place: "and".into(),
            path: format!("{more} more"),
            what: "not shown".into(),
        });
    }
    Ok(found)
}

fn open(store: &Store, layer: &Digest) -> Result<TarReader<Box<dyn Read + Send>>, BuildError> {
    let blob = std::io::BufReader::with_capacity(256 * 1024, store.open_blob(layer)?);
    Ok(TarReader::new(decompressor(blob), Limits::default()))
}

fn facts(store: &Store, layer: &Digest) -> Result<BTreeMap<PathBuf, Facts>, BuildError> {
    let mut tar = open(store, layer)?;
    let mut all = BTreeMap::new();
    while let Some(member) = tar.next_member()? {
        let content = if member.kind == MemberKind::File {
            let mut hash = Sha256Writer::new(std::io::sink());
            std::io::copy(&mut tar, &mut hash).map_err(|source| BuildError::Read {
                path: member.path.clone(),
                source,
            })?;
            Some(hash.finish().1)
        } else {
            None
        };
        all.insert(member.path.clone(), Facts { member, content });
    }
    Ok(all)
}

fn of_layers(
    store: &Store,
    number: usize,
    a: &Digest,
    b: &Digest,
    found: &mut Vec<Difference>,
) -> Result<(), BuildError> {
    let (ours, theirs) = (facts(store, a)?, facts(store, b)?);
    let place = format!("layer {number}");
    let before = found.len();
    let mut push = |path: &Path, what: String| {
        found.push(Difference {
            place: place.clone(),
            path: format!("/{}", path.display()).escape_debug().to_string(),
            what,
        });
    };
    let mut contents = Vec::new();
    for (path, ours) in &ours {
        match theirs.get(path) {
            None => push(path, "is not in the rebuilt image".into()),
            Some(theirs) => {
                for what in of_members(&ours.member, &theirs.member) {
                    push(path, what);
                }
                if ours.content != theirs.content {
                    contents.push((path, ours.member.size, theirs.member.size));
                }
            }
        }
    }
    for path in theirs.keys().filter(|path| !ours.contains_key(*path)) {
        push(path, "is in the rebuilt image alone".into());
    }
    let wanted: Vec<&Path> = contents
        .iter()
        .filter(|(_, a, b)| *a.max(b) <= MAX_CONTENT)
        .take(LOOKED_INTO)
        .map(|(path, ..)| path.as_path())
        .collect();
    let (first, second) = (read(store, a, &wanted)?, read(store, b, &wanted)?);
    for (path, size_a, size_b) in contents {
        let sizes = if size_a == size_b {
            format!("{size_a} bytes")
        } else {
            format!("{size_a} bytes, rebuilt: {size_b}")
        };
        let position = match (first.get(path), second.get(path)) {
            (Some(a), Some(b)) => format!(", {}", first_difference(a, b)),
            _ => String::new(),
        };
        push(path, format!("other content ({sizes}{position})"));
    }
    if found.len() == before {
        found.push(Difference {
            place: format!("layer {number}"),
            path: a.to_string(),
            what: format!("the same files in another order or another compression, rebuilt: {b}"),
        });
    }
    Ok(())
}

/// The differences in the headers.
fn of_members(a: &Member, b: &Member) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, a: String, b: String| {
        if a != b {
            found.push(format!("{what} {a}, rebuilt: {b}"));
        }
    };
    compare("kind", kind(&a.kind), kind(&b.kind));
    compare("mode", format!("{:04o}", a.mode), format!("{:04o}", b.mode));
    compare(
        "owner",
        format!("{}:{}", a.uid, a.gid),
        format!("{}:{}", b.uid, b.gid),
    );
    compare("time", a.mtime.to_string(), b.mtime.to_string());
    compare(
        "attributes",
        format!("{:?}", a.xattrs.keys()),
        format!("{:?}", b.xattrs.keys()),
    );
    if a.xattrs != b.xattrs && found.is_empty() {
        found.push("an extended attribute has another value".into());
    }
    found
}

fn kind(kind: &MemberKind) -> String {
    match kind {
        MemberKind::File => "file".into(),
        MemberKind::Directory => "directory".into(),
        MemberKind::Symlink(target) => format!("link to {}", target.display()),
        MemberKind::HardLink(target) => format!("hard link to {}", target.display()),
        MemberKind::Fifo => "fifo".into(),
        MemberKind::CharDevice { major, minor } => format!("device c {major}:{minor}"),
        MemberKind::BlockDevice { major, minor } => format!("device b {major}:{minor}"),
    }
    .escape_debug()
    .to_string()
}

fn read(
    store: &Store,
    layer: &Digest,
    wanted: &[&Path],
) -> Result<BTreeMap<PathBuf, Vec<u8>>, BuildError> {
    let mut found = BTreeMap::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    let mut tar = open(store, layer)?;
    while let Some(member) = tar.next_member()? {
        if wanted.contains(&member.path.as_path()) {
            let mut bytes = Vec::new();
            tar.read_to_end(&mut bytes)
                .map_err(|source| BuildError::Read {
                    path: member.path.clone(),
                    source,
                })?;
            found.insert(member.path, bytes);
        }
    }
    Ok(found)
}

/// `from byte 120, line 7`; the bytes themselves are not shown.
fn first_difference(a: &[u8], b: &[u8]) -> String {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let text = std::str::from_utf8(a).is_ok() && !a.contains(&0);
    if text {
        let line = a[..same].split(|byte| *byte == b'\n').count();
        format!("from line {line} on")
    } else {
        format!("from byte {same} on")
    }
}

/// Compares JSON, field by field.
fn of_values(place: &str, path: &str, a: &Value, b: &Value, found: &mut Vec<Difference>) {
    match (a, b) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let mut keys: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                let get = |map: &serde_json::Map<String, Value>| {
                    map.get(key).cloned().unwrap_or(Value::Null)
                };
                of_values(place, &path, &get(ours), &get(theirs), found);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (number, (a, b)) in ours.iter().zip(theirs).enumerate() {
                of_values(place, &format!("{path}[{number}]"), a, b, found);
            }
        }
        _ if a == b => {}
        _ => found.push(Difference {
            place: place.to_owned(),
            path: path.to_owned(),
            what: format!("{}, rebuilt: {}", short(a), short(b)),
        }),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 200 {
        return text;
    }
    let start: String = text.chars().take(200).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_differ_in_fields() {
        let mut found = Vec::new();
        let a = json!({"config": {"User": "1001", "Env": ["A=1", "B=2"]}, "same": 1, "gone": 2});
        let b = json!({"config": {"User": "0", "Env": ["A=1", "B=3"]}, "same": 1});
        of_values("configuration", "", &a, &b, &mut found);
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "configuration: config.Env[1]: \"B=2\", rebuilt: \"B=3\"",
                "configuration: config.User: \"1001\", rebuilt: \"0\"",
                "configuration: gone: 2, rebuilt: null",
            ]
        );
    }

    #[test]
    fn the_first_difference_is_a_line_or_a_byte() {
        assert_eq!(first_difference(b"a\nb\nc", b"a\nb\nd"), "from line 3 on");
        assert_eq!(first_difference(b"a\0b", b"a\0c"), "from byte 2 on");
        assert_eq!(first_difference(b"ab", b"abc"), "from line 1 on");
    }
}
