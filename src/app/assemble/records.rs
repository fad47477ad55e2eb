//! Reads what is installed from the distributions' own `RECORD` files (PEP 376, PEP 627): which
//! distribution owns which path, and whether something wrote where nothing may write. Brings the
//! installation into a normal form that depends on the wheels alone.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::super::address::Address;
use super::super::requirement::normalize;
use super::super::roots::Roots;
use super::AssembleError;

/// An installed distribution.
#[derive(Debug, Clone)]
pub(super) struct Distribution {
    /// Normalized.
    pub name: String,
    pub version: String,
    pub dist_info: PathBuf,
    pub entries: Vec<Entry>,
}

/// A line of `RECORD`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// As written: relative to site-packages.
    pub path: String,
    pub hash: String,
    pub size: String,
}

/// All distributions in a directory of packages, sorted by name.
pub(super) fn read_all(site: &Path) -> Result<Vec<Distribution>, AssembleError> {
    let mut found = name_all(site)?;
    for distribution in &mut found {
        if let Ok(bytes) = fs::read(distribution.dist_info.join("RECORD")) {
            distribution.entries = parse(&String::from_utf8_lossy(&bytes));
        }
    }
    Ok(found)
}

/// The same without what their RECORDs say.
pub(super) fn name_all(site: &Path) -> Result<Vec<Distribution>, AssembleError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| AssembleError::Io {
            doing: "read",
            path,
            source,
        }
    };
    let mut found = Vec::new();
    if !site.is_dir() {
        return Ok(found);
    }
    for entry in fs::read_dir(site).map_err(failed(site))? {
        let path = entry.map_err(failed(site))?.path();
        let Some(stem) = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(".dist-info"))
        else {
            continue;
        };
        let (name, version) = stem.split_once('-').unwrap_or((stem, ""));
        found.push(Distribution {
            name: normalize(name),
            version: version.to_owned(),
            dist_info: path.clone(),
            entries: Vec::new(),
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Splits a RECORD into its lines: CSV with `"` quoting.
pub fn parse(text: &str) -> Vec<Entry> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (path, rest) = if let Some(quoted) = line.strip_prefix('"') {
                let mut path = String::new();
                let mut rest = quoted;
                while let Some((part, after)) = rest.split_once('"') {
                    path.push_str(part);
                    rest = after;
                    let Some(after) = rest.strip_prefix('"') else {
                        break;
                    };
                    path.push('"');
                    rest = after;
                }
                (path, rest.strip_prefix(',').unwrap_or(rest))
            } else {
                let (path, rest) = line.split_once(',').unwrap_or((line, ""));
                (path.to_owned(), rest)
            };
            let (hash, size) = rest.split_once(',').unwrap_or((rest, ""));
            Entry {
                path,
                hash: hash.trim().to_owned(),
                size: size.trim().to_owned(),
            }
        })
        .collect()
}

/// The text of a RECORD in its normal form.
pub fn write(entries: &[Entry]) -> String {
    let mut lines: Vec<String> = entries
        .iter()
        .map(|entry| {
            let path = if entry.path.contains([',', '"']) {
                format!("\"{}\"", entry.path.replace('"', "\"\""))
            } else {
                entry.path.clone()
            };
            format!("{path},{},{}\n", entry.hash, entry.size)
        })
        .collect();
    lines.sort();
    lines.concat()
}

/// A RECORD path relative to the application's root; `None` if it is outside.
fn place(site: &Path, app_root: &Path, path: &str) -> Option<PathBuf> {
    let mut place = PathBuf::new();
    for component in site.join(path).components() {
        match component {
            Component::ParentDir => {
                place.pop();
            }
            Component::CurDir => {}
            other => place.push(other),
        }
    }
    place.strip_prefix(app_root).ok().map(Path::to_owned)
}

/// Whether this path, relative to the application's root, belongs to the image and not to a package:
/// files that decide how the environment's Python starts, programs that run as a build or a start, the
/// application's source, and everything hidden, because the root is also a home directory, whose hidden
/// files configure programs.
pub fn is_protected(place: &Path) -> bool {
    let mut parts = place.iter().map(OsStr::as_bytes);
    match (parts.next(), parts.next(), parts.next()) {
        // uv and pip read settings of theirs here, too.
        (Some(b"src" | b"s2i"), ..)
        | (Some(b"pyvenv.cfg" | b"uv.toml" | b"pip.conf"), None, _)
        | (Some(b"etc"), Some(b"warpdrive"), _) => true,
        (Some(b"bin"), Some(name), None) => {
            name == b"warpdrive" || name == b"activate" || name.starts_with(b"python")
        }
        (Some(first), ..) => first.starts_with(b"."),
        (None, ..) => false,
    }
}

/// Fails if a distribution owns a path that belongs to the image.
pub(super) fn refuse_intruders(
    distributions: &[Distribution],
    site: &Path,
    roots: &Roots,
) -> Result<(), AssembleError> {
    for distribution in distributions {
        for entry in &distribution.entries {
            let refused = match place(site, &roots.app, &entry.path) {
                None => true,
                Some(place) => roots.image && is_protected(&place),
            };
            if refused {
                return Err(AssembleError::Intruder {
                    distribution: format!("{} {}", distribution.name, distribution.version),
                    path: entry.path.clone(),
                });
            }
        }
    }
    Ok(())
}

/// The digests of the files that no package may change, whether or not a RECORD names them. (Builds of
/// sdists leave other hidden directories in their home.)
pub(super) fn protected_files(app_root: &Path) -> BTreeMap<PathBuf, String> {
    let mut files: Vec<_> = ["pyvenv.cfg", "uv.toml", "pip.conf"]
        .map(|name| app_root.join(name))
        .into();
    let mut directories: Vec<PathBuf> = ["bin", "s2i", ".s2i", ".warpdrive"]
        .map(|name| app_root.join(name))
        .into();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if !path.strip_prefix(app_root).is_ok_and(is_protected) {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                directories.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
        .into_iter()
        .filter_map(|path| {
            let state = match fs::read_link(&path) {
                Ok(target) => format!("link {}", target.display()),
                Err(_) => sha256(&fs::read(&path).ok()?),
            };
            Some((path, state))
        })
        .collect()
}

/// One path with several owners that do not agree on its content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Collision {
    pub path: String,
    /// The first by name: its file stays.
    pub winner: usize,
    pub others: Vec<usize>,
    /// The installed file is not the winner's.
    pub wrong: bool,
}

/// Finds them; indices are into `distributions`, which are sorted by name.
pub(super) fn collisions(distributions: &[Distribution], site: &Path) -> Vec<Collision> {
    let mut owners: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
    for (index, distribution) in distributions.iter().enumerate() {
        for entry in &distribution.entries {
            if !entry.hash.is_empty() {
                owners
                    .entry(&entry.path)
                    .or_default()
                    .push((index, &entry.hash));
            }
        }
    }
    owners
        .into_iter()
        .filter_map(|(path, owners)| {
            let (winner, hash) = *owners.first()?;
            if owners.iter().all(|(_, other)| *other == hash) {
                return None;
            }
            let actual = fs::read(site.join(path))
                .ok()
                .map(|bytes| record_hash(&bytes));
            Some(Collision {
                path: path.to_owned(),
                winner,
                others: owners
                    .iter()
                    .skip(1)
                    .filter(|(_, other)| *other != hash)
                    .map(|(index, _)| *index)
                    .collect(),
                wrong: actual.as_deref() != Some(hash),
            })
        })
        .collect()
}

/// What the file `INSTALLER` says, whatever installed the distribution.
pub const INSTALLER: &str = "warpdrive\n";

/// A requirement that installs exactly this distribution again: its release, or where it came from (PEP 610).
pub(super) fn requirement(distribution: &Distribution) -> String {
    let name = &distribution.name;
    let origin = fs::read(distribution.dist_info.join("direct_url.json"))
        .ok()
        .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    let Some(origin) = origin else {
        return format!("{name}=={}", distribution.version);
    };
    let text =
        |value: &serde_json::Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let url = text(&origin, "url");
    match origin.get("vcs_info") {
        Some(info) => format!(
            "{name} @ {}+{url}@{}",
            text(info, "vcs"),
            text(info, "commit_id")
        ),
        None => format!("{name} @ {url}"),
    }
}

/// Whether a distribution has its normal form already.
pub(super) fn is_normal(distribution: &Distribution) -> bool {
    fs::read_to_string(distribution.dist_info.join("INSTALLER")).is_ok_and(|text| text == INSTALLER)
}

/// The Python files of a distribution.
pub(super) fn python_files(distribution: &Distribution, site: &Path) -> Vec<PathBuf> {
    distribution
        .entries
        .iter()
        .map(|entry| site.join(&entry.path))
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "py")
                && !path.components().any(|part| part == Component::ParentDir)
                && path.is_file()
        })
        .collect()
}

/// Brings a distribution into its normal form, which does not depend on the installer or on why
/// it was installed.
pub(super) fn normalise(distribution: &Distribution) -> Result<(), AssembleError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| AssembleError::Io {
            doing: "write",
            path,
            source,
        }
    };
    let record = distribution.dist_info.join("RECORD");
    if !record.is_file() {
        return Ok(());
    }
    let info = distribution
        .dist_info
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let mut entries = distribution.entries.clone();
    for name in ["REQUESTED", "uv_cache.json", "uv_build.json"] {
        let path = distribution.dist_info.join(name);
        if path.exists() {
            fs::remove_file(&path).map_err(failed(&path))?;
        }
        entries.retain(|entry| entry.path != format!("{info}/{name}"));
    }
    let mut files = vec![("INSTALLER", Some(INSTALLER.to_owned()))];
    let origin = distribution.dist_info.join("direct_url.json");
    if let Ok(text) = fs::read_to_string(&origin) {
        files.push(("direct_url.json", public_origin(&text)));
    }
    for (name, content) in files {
        let path = distribution.dist_info.join(name);
        let line = format!("{info}/{name}");
        entries.retain(|entry| entry.path != line);
        match content {
            Some(content) => {
                fs::write(&path, &content).map_err(failed(&path))?;
                entries.push(Entry {
                    path: line,
                    hash: record_hash(content.as_bytes()),
                    size: content.len().to_string(),
                });
            }
            None => fs::remove_file(&path).map_err(failed(&path))?,
        }
    }
    // Byte-code belongs to warpdrive: it has no hash (PEP 376), and here no line either.
    entries.retain(|entry| {
        let code = Path::new(&entry.path)
            .extension()
            .is_some_and(|extension| extension == "pyc");
        !(code && entry.path.contains("__pycache__/"))
    });
    entries.dedup();
    fs::write(&record, write(&entries)).map_err(failed(&record))
}

/// What may be published about a distribution's origin (PEP 610): nothing about this machine's
/// files, no credentials.
fn public_origin(text: &str) -> Option<String> {
    let mut value: serde_json::Value = serde_json::from_str(text).ok()?;
    let url = value.get("url")?.as_str()?.to_owned();
    let address = Address::of(&url)?;
    // Behind a host that another character ends, a part of a login may stand.
    let has_path = address.rest.is_empty() || address.rest.starts_with('/');
    if address.scheme.eq_ignore_ascii_case("file") || !has_path {
        return None;
    }
    // `git@` of ssh is a name, not a secret.
    if address.login != Some("git") {
        value["url"] = address.without_login().into();
    }
    Some(value.to_string())
}

/// `sha256=…` as RECORD has it, of a file with this content.
pub fn record_hash(bytes: &[u8]) -> String {
    format!("sha256={}", base64(&Sha256::digest(bytes)))
}

/// URL-safe base 64 without padding.
pub fn base64(digest: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in digest.chunks(3) {
        let group = chunk
            .iter()
            .chain(&[0, 0])
            .take(3)
            .fold(0u32, |group, byte| (group << 8) | u32::from(*byte));
        for position in 0..=chunk.len() {
            let index = (group >> (18 - 6 * position)) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}

fn sha256(bytes: &[u8]) -> String {
    record_hash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(name: &str, entries: &[(&str, &str)]) -> Distribution {
        Distribution {
            name: name.to_owned(),
            version: "1".to_owned(),
            dist_info: PathBuf::new(),
            entries: entries
                .iter()
                .map(|(path, hash)| Entry {
                    path: (*path).to_owned(),
                    hash: (*hash).to_owned(),
                    size: String::new(),
                })
                .collect(),
        }
    }

    #[test]
    fn hashes_as_in_wheels() {
        // echo -n | openssl dgst -sha256 -binary | base64
        assert_eq!(
            record_hash(b""),
            "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
        );
    }

    #[test]
    fn records_with_quotes() {
        let text = "a.py,sha256=x,1\n\"b,\"\"c\"\".py\",sha256=y,2\r\nx.dist-info/RECORD,,\n";
        let entries = parse(text);
        assert_eq!(entries[1].path, "b,\"c\".py");
        assert_eq!(entries[1].size, "2");
        assert_eq!(parse(&write(&entries)).len(), 3);
    }

    #[test]
    fn intruders() {
        let roots = Roots {
            app: "/opt/app-root".into(),
            source: "/opt/app-root/src".into(),
            image: true,
        };
        let site = Path::new("/opt/app-root/lib/python3.11/site-packages");
        for (path, refused) in [
            ("flask/__init__.py", false),
            ("../../../bin/flask", false),
            ("../../../share/man/x", false),
            ("../../../bin/warpdrive", true),
            ("../../../bin/python3", true),
            ("../../../bin/activate", true),
            ("../../../bin/python-tool/x", false),
            ("../../../.s2i/bin/assemble", true),
            ("../../../.warpdrive/environment", true),
            ("../../../.profile", true),
            ("../../../src/app.py", true),
            ("../../../s2i/bin/run", true),
            ("../../../pyvenv.cfg", true),
            ("../../../../../etc/passwd", true),
            ("/etc/passwd", true),
        ] {
            let result = refuse_intruders(&[distribution("x", &[(path, "h")])], site, &roots);
            assert_eq!(result.is_err(), refused, "{path}");
        }
    }

    #[test]
    fn collisions_only_where_content_differs() {
        let site = tempfile::tempdir().unwrap();
        fs::create_dir(site.path().join("tests")).unwrap();
        fs::write(site.path().join("tests/__init__.py"), "b").unwrap();
        let a = record_hash(b"a");
        let b = record_hash(b"b");
        let all = [
            distribution("alpha", &[("tests/__init__.py", &a), ("same.py", &a)]),
            distribution("beta", &[("tests/__init__.py", &b), ("same.py", &a)]),
        ];
        assert_eq!(
            collisions(&all, site.path()),
            [Collision {
                path: "tests/__init__.py".into(),
                winner: 0,
                others: vec![1],
                wrong: true
            }]
        );
    }

    #[test]
    fn origins_lose_credentials_and_local_paths() {
        assert_eq!(
            public_origin(r#"{"url":"file:///home/x","dir_info":{}}"#),
            None
        );
        assert_eq!(public_origin(r#"{"url":"https://u:p?w@a/x"}"#), None);
        assert_eq!(
            public_origin(r#"{"url":"https://u:p@example.com/x.git","vcs_info":{"vcs":"git","commit_id":"1"}}"#).unwrap(),
            r#"{"url":"https://example.com/x.git","vcs_info":{"commit_id":"1","vcs":"git"}}"#
        );
    }

    proptest::proptest! {
        #[test]
        fn any_record_is_read(text in ".{0,200}") {
            parse(&text);
        }
    }
}
