//! Puts a Python that uv knows (python-build-standalone) on a Debian builder, for versions that no
//! Debian release has.
//!
//! The pinned uv fetches it, from the mirror that `UV_PYTHON_INSTALL_MIRROR` names where there is one, and
//! compares it with the SHA-256 that uv contains; the unpacked files become a layer below `/usr/local`,
//! which comes first in the search path of Debian's images.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::app::python_version::PythonVersion;
use crate::layer::{self, Compression, Entry, Kind, Mtime};
use crate::oci::{Descriptor, HistoryEntry, descriptor};
use crate::progress::{Progress, printable};
use crate::store::{Image, Store};

use super::definition::Definition;
use super::image;
use super::layer::parent_directory;
use super::{BuilderError, FIXED_TIME, FIXED_TIME_RFC3339};

/// Its path in the image.
const PREFIX: &str = "/usr/local";
/// Lines that are repeated below an error.
const TAIL: usize = 20;
/// The caller's variables about the mirror and the network.
const PASSED_ON: [&str; 12] = [
    "UV_PYTHON_INSTALL_MIRROR",
    "UV_PYTHON_DOWNLOADS_JSON_URL",
    "UV_HTTP_TIMEOUT",
    "UV_INSECURE_HOST",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "NETRC",
];

/// Makes the image on one from the store, and gives it the definition's name. `uv` is the pinned
/// executable.
///
/// # Errors
/// If uv does not know this Python, or cannot fetch it.
pub fn build(
    store: &Store,
    definition: &Definition,
    base: &Image,
    uv: &Path,
    progress: &dyn Progress,
) -> Result<Descriptor, BuilderError> {
    let wrong = |problem: &str| BuilderError::Definition {
        path: definition.name.clone().into(),
        problem: problem.to_owned(),
    };
    // It becomes a word of a command.
    if definition.python.parse::<PythonVersion>().is_err()
        || !definition.python.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(wrong(&format!(
            "`{}` is not a Python version",
            definition.python.escape_default()
        )));
    }
    let _in_use = store.lock_shared()?;
    let scratch = store.scratch("python")?;
    progress.step(&format!(
        "---> Making {}: Python {} on {}",
        definition.name, definition.python, definition.from
    ));
    let place = scratch.path().join("python");
    install(uv, &definition.python, &place, scratch.path(), progress)?;
    let tree = installed(&place).ok_or_else(|| wrong("uv has installed no Python"))?;
    let entries = entries(&tree)?;
    let mut blob = store.blob_writer()?;
    let written = layer::write(&entries, Compression::default(), &mut blob)?;
    blob.commit(Some(&written.digest))?;
    let version = tree.file_name().unwrap_or_default().to_string_lossy();

    let mut config = base.config.clone();
    config.set_created(FIXED_TIME_RFC3339);
    image::describe(definition, &mut config);
    config.push_layer(
        &written.diff_id,
        &HistoryEntry {
            created: FIXED_TIME_RFC3339.into(),
            created_by: format!("uv python install {version}"),
            empty_layer: false,
        },
    );
    let mut layers = base.manifest.layers().clone();
    layers.push(descriptor(written.media_type, written.digest, written.size));
    image::commit(store, definition, layers, &config)
}

/// Lets uv fetch and unpack it. Nothing of it runs.
fn install(
    uv: &Path,
    python: &str,
    place: &Path,
    scratch: &Path,
    progress: &dyn Progress,
) -> Result<(), BuilderError> {
    let mut command = Command::new(uv);
    command
        .args([
            "python",
            "install",
            "--no-config",
            "--no-bin",
            "--no-progress",
        ])
        .arg("--install-dir")
        .arg(place)
        .arg(format!("cpython-{python}"))
        .env_clear()
        .env("HOME", scratch)
        .env("UV_CACHE_DIR", scratch.join("cache"))
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null());
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let output = command.output().map_err(|source| BuilderError::Start {
        program: uv.display().to_string(),
        source,
    })?;
    let lines: Vec<String> = String::from_utf8_lossy(&output.stderr)
        .lines()
        .map(printable)
        .collect();
    if output.status.success() {
        return Ok(());
    }
    for line in &lines {
        progress.output(line);
    }
    let from = lines.len().saturating_sub(TAIL);
    Err(BuilderError::UvPython {
        version: python.to_owned(),
        status: output.status.code().unwrap_or(-1),
        tail: lines.get(from..).unwrap_or_default().to_vec(),
    })
}

/// The directory that uv has made; the entry named after the minor version is a link to it.
fn installed(place: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(place).ok()?.filter_map(Result::ok);
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("cpython-"))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found.pop()
}

/// The layer: owned by root, without programs that install packages for all users, and without a
/// path of this machine.
fn entries(tree: &Path) -> Result<Vec<Entry>, BuilderError> {
    let scan = layer::scan(tree, &[])?;
    let mut found = Vec::new();
    for mut entry in scan.entries {
        if is_left_out(&entry.path) {
            continue;
        }
        entry.kind = match entry.kind {
            Kind::File { source, size } => match without_place(&source, size, tree) {
                Ok(Some(bytes)) => Kind::Bytes(bytes),
                Ok(None) => Kind::File { source, size },
                Err(error) => {
                    return Err(BuilderError::ReadDefinition {
                        path: source,
                        source: error,
                    });
                }
            },
            Kind::Symlink(target) => match target.strip_prefix(tree) {
                Ok(below) => Kind::Symlink(Path::new(PREFIX).join(below)),
                Err(_) => Kind::Symlink(target),
            },
            Kind::HardLink(target) => Kind::HardLink(below_prefix(&target)),
            other => other,
        };
        let executable = entry.mode & 0o100 != 0 || matches!(entry.kind, Kind::Directory);
        entry.mode = match entry.kind {
            Kind::Symlink(_) => 0o777,
            _ if executable => 0o755,
            _ => 0o644,
        };
        (entry.uid, entry.gid) = (0, 0);
        entry.mtime = Mtime::Fixed(FIXED_TIME);
        entry.xattrs = BTreeMap::new();
        entry.path = below_prefix(&entry.path);
        found.push(entry);
    }
    Ok(layer::with_parents(found, parent_directory))
}

fn below_prefix(path: &Path) -> PathBuf {
    Path::new(PREFIX.trim_start_matches('/')).join(path)
}

/// pip and similar packages, which an environment does not need; uv's own marker files; and byte-code,
/// whose times differ from those of the layer.
fn is_left_out(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let in_bin = path.starts_with("bin");
    path.components().any(|part| {
        let part = part.as_os_str();
        part == "site-packages" || part == "ensurepip" || part == "__pycache__"
    }) || in_bin && (name.starts_with("pip") || name.starts_with("idle"))
        || name == "EXTERNALLY-MANAGED"
        || path == Path::new("BUILD")
}

/// The content of a text file, with uv's temporary path replaced by the final one.
fn without_place(source: &Path, size: u64, tree: &Path) -> std::io::Result<Option<Vec<u8>>> {
    const MAX: u64 = 4 << 20;
    if size > MAX {
        return Ok(None);
    }
    let bytes = fs::read(source)?;
    let place = tree.as_os_str().as_bytes();
    let names = bytes.windows(place.len()).any(|part| part == place);
    if !names || bytes.contains(&0) {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.as_slice();
    while let Some(at) = rest.windows(place.len()).position(|part| part == place) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(PREFIX.as_bytes());
        rest = &rest[at + place.len()..];
    }
    out.extend_from_slice(rest);
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_layer_without_a_path_of_this_machine() {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("cpython-3.12.1-linux-x86_64-gnu");
        let write = |path: &str, text: &str| {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let program = write("bin/python3.12", "\u{7f}ELF");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4711)).unwrap();
        write("bin/pip3", "");
        write("lib/python3.12/ensurepip/__init__.py", "");
        write("lib/python3.12/__pycache__/os.cpython-312.pyc", "");
        write("lib/python3.12/site-packages/pip/x.py", "");
        write("lib/python3.12/EXTERNALLY-MANAGED", "");
        let data = format!("prefix = '{}'\n", tree.display());
        write("lib/python3.12/_sysconfigdata.py", &data);
        std::os::unix::fs::symlink(&program, tree.join("bin/python3")).unwrap();
        let entries = entries(&tree).unwrap();
        let paths: Vec<String> = entries
            .iter()
            .filter(|entry| entry.kind != Kind::Directory)
            .map(|entry| entry.path.display().to_string())
            .collect();
        assert_eq!(
            paths,
            [
                "usr/local/bin/python3",
                "usr/local/bin/python3.12",
                "usr/local/lib/python3.12/_sysconfigdata.py"
            ]
        );
        for entry in &entries {
            assert_eq!(
                (entry.uid, entry.gid, entry.mode & 0o7022),
                (
                    0,
                    0,
                    if matches!(entry.kind, Kind::Symlink(_)) {
                        0o022
                    } else {
                        0
                    }
                ),
                "{entry:?}"
            );
            match &entry.kind {
                Kind::Bytes(bytes) => assert_eq!(bytes, b"prefix = '/usr/local'\n"),
                Kind::Symlink(target) => {
                    assert_eq!(target, Path::new("/usr/local/bin/python3.12"));
                }
                _ => {}
            }
        }
    }
}
