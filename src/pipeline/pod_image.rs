//! `builder push`: the image whose containers build in place. It has the base, the builder layer, and
//! one layer with warpdrive, the installers and the facts about the base ([`BaseFile`]).

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use elf::ElfBytes;
use elf::abi::PT_INTERP;
use elf::endian::AnyEndian;
use serde_json::{Value, json};

use crate::app::contract::{DEFAULT_PORT, SCRIPTS};
use crate::audit::{self, AuditError, Date, Policy, Severity};
use crate::builder::layer::StoredLayer;
use crate::builder::{APP_ROOT, APP_UID, BuilderError, FIXED_TIME, FIXED_TIME_RFC3339, LABEL_KIND};
use crate::layer::{self, Compression, Entry, Kind, Mtime};
use crate::oci::{Descriptor, Reference, descriptor};
use crate::pod::{self, BaseFile, Findings};
use crate::progress::Progress;
use crate::rootfs;
use crate::store::Store;

use super::audit_gate;
use super::base::{self, Base};
use super::commit::run_as_ours;
use super::draft::{Draft, NewLayer, annotations};
use super::error::BuildError;
use super::place::Place;
use super::report::LayerKind;
use super::tools;

/// The path in the installers' `pip` at which the tools are mounted.
const PIP: &str = "#!/bin/sh\nexec /opt/app-root/bin/python /opt/warpdrive/tools/lib/pip \"$@\"\n";
/// The text before the version in the library.
const RELEASE: &[u8] = b"release version ";
/// It has two megabytes.
const MAX_LIBC: u64 = 32 * 1024 * 1024;
/// Writable in every pod.
const HOME: &str = "/tmp/home";

/// Makes the pod image of a builder for `target`, whose repository will have its layers. The image has
/// no name yet.
///
/// # Errors
/// If the builder is missing, or this executable does not run on it.
pub fn pod_image(
    store: &Store,
    builder: &str,
    target: &Reference,
    progress: &dyn Progress,
) -> Result<Descriptor, BuildError> {
    let _in_use = store.lock_shared()?;
    let base = base::prepare(store, builder.to_owned(), None, progress)?;
    let program = PathBuf::from("/proc/self/exe");
    let program = fs::read(&program).map_err(|source| BuildError::Read {
        path: program,
        source,
    })?;
    check_libc(store, &program, &base)?;
    let tools = tools::ensure(store, &Place::Sandbox, progress)?;
    progress.step(&format!("---> Making the pod's image of {builder}"));
    let base_file = BaseFile::new(
        builder,
        &format!("{}/{}", target.registry(), target.repository()),
        &base.image,
        &base.python,
        &base.builder_layer,
        findings(store, &base)?,
    )?;
    let layer = &base.builder_layer.descriptor;
    let builder_layer = store.read_blob(layer.digest(), layer.size())?;
    let mut entries = vec![
        file("bin/warpdrive", Kind::Bytes(program), true),
        file(pod::BASE_FILE, Kind::Bytes(base_file.to_bytes()?), false),
        file(pod::BUILDER_LAYER, Kind::Bytes(builder_layer), false),
    ];
    entries.extend(installers(&tools.directory)?);
    let entries = layer::with_parents(entries, |path| {
        Entry::directory(path, 0o755, Mtime::Fixed(FIXED_TIME))
    });
    let mut blob = store.blob_writer()?;
    let written = layer::write(&entries, Compression::default(), &mut blob)?;
    blob.commit(Some(&written.digest))?;
    let tool_layer = StoredLayer {
        descriptor: descriptor(written.media_type, written.digest, written.size),
        diff_id: written.diff_id.to_string(),
    };

    let mut draft = Draft::on(&base.image, &base.reference);
    for (layer, title) in [
        (&base.builder_layer, "warpdrive: builder layer"),
        (&tool_layer, "warpdrive: tools of a pod"),
    ] {
        draft.push(&NewLayer {
            layer,
            title,
            kind: LayerKind::Builder,
            cached: false,
            created: FIXED_TIME_RFC3339,
            created_by: title,
        });
    }
    configure(&mut draft, &base);
    let annotations = annotations(FIXED_TIME_RFC3339, None, base.named(), None, None);
    draft.write(store, annotations)
}

fn configure(draft: &mut Draft, base: &Base) {
    let config = &mut draft.config;
    config.set("User", json!(APP_UID.to_string()));
    // If a volume hides the working directory, engines make it as root, and then nothing can be written
    // there.
    config.set("WorkingDir", json!("/"));
    config.set("Entrypoint", Value::Null);
    config.set("Cmd", json!([format!("{SCRIPTS}/usage")]));
    config.set_env("HOME", HOME);
    let (place, path) = (pod::PLACE, base.search_path());
    // The executable in images has the same name as this one, but fewer commands.
    let path = format!(
        "{place}/bin:{place}/{}/bin:{APP_ROOT}/bin:{path}",
        pod::TOOLS
    );
    config.set_env("PATH", &path);
    config.set_created(FIXED_TIME_RFC3339);
    config.remove_label(LABEL_KIND);
    for (key, value) in [
        ("io.openshift.s2i.scripts-url", format!("image://{SCRIPTS}")),
        (
            "io.openshift.expose-services",
            format!("{DEFAULT_PORT}:http"),
        ),
        ("io.openshift.tags", "builder,python".to_owned()),
        (
            "io.k8s.display-name",
            format!("Python {} (warpdrive)", base.python.minor),
        ),
        (
            "io.k8s.description",
            "Builds images of Python applications, in place".to_owned(),
        ),
        ("io.warpdrive.version", env!("CARGO_PKG_VERSION").to_owned()),
    ] {
        config.set_label(key, &value);
    }
}

fn file(path: &str, kind: Kind, executable: bool) -> Entry {
    let place = Path::new(pod::PLACE)
        .strip_prefix("/")
        .unwrap_or(Path::new(""));
    Entry {
        kind,
        ..Entry::directory(
            place.join(path),
            if executable { 0o755 } else { 0o644 },
            Mtime::Fixed(FIXED_TIME),
        )
    }
}

/// uv and pip, as they are mounted into sandboxes.
fn installers(directory: &Path) -> Result<Vec<Entry>, BuildError> {
    let failed = |path: &Path, source: io::Error| BuildError::Read {
        path: path.to_owned(),
        source,
    };
    let mut entries = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        let here = directory.join(&below);
        for entry in fs::read_dir(&here).map_err(|error| failed(&here, error))? {
            let entry = entry.map_err(|error| failed(&here, error))?;
            let (path, source) = (below.join(entry.file_name()), entry.path());
            let metadata = entry.metadata().map_err(|error| failed(&source, error))?;
            if metadata.is_dir() {
                open.push(path);
                continue;
            }
            let kind = if path == Path::new("bin/pip") {
                Kind::Bytes(PIP.into())
            } else {
                let size = metadata.len();
                Kind::File { source, size }
            };
            let inside = Path::new(pod::TOOLS).join(&path);
            let executable = metadata.permissions().mode() & 0o100 != 0;
            entries.push(file(&inside.to_string_lossy(), kind, executable));
        }
    }
    Ok(entries)
}

/// The audit's findings about the base: the audit of an image that is built on it in place does not read
/// the base again.
fn findings(store: &Store, base: &Base) -> Result<Findings, BuildError> {
    let mut config = base.image.config.clone();
    run_as_ours(&mut config, &base.search_path());
    let layers = base.image.manifest.layers();
    let own = base.own_layers();
    let image = audit_gate::with_layers(store, &base.reference, &base.image, config, &own)?;
    // The same base gives the same bytes on every day.
    let day = Date::of(std::time::UNIX_EPOCH).ok_or(AuditError::Clock)?;
    let report = audit::audit_remembering(store, &image, &Policy::default(), day)?;
    let least = report.fail_on.unwrap_or(Severity::High);
    let mut found = Findings::default();
    let of_base = |layer: Option<usize>| layer.is_some_and(|layer| layer < layers.len());
    for finding in report.findings.iter().filter(|it| of_base(it.layer)) {
        found.refused |= finding.severity >= least;
        match finding.severity {
            Severity::High => found.high += 1,
            Severity::Medium => found.medium += 1,
            Severity::Low => found.low += 1,
            Severity::Info => found.info += 1,
        }
    }
    Ok(found)
}

/// Refuses an executable that does not start on the base.
fn check_libc(store: &Store, program: &[u8], base: &Base) -> Result<(), BuildError> {
    let Some(needed) = needed_glibc(program) else {
        return Ok(());
    };
    let found = glibc_of(store, base)?;
    if found.is_some_and(|found| found >= needed) {
        return Ok(());
    }
    Err(BuilderError::OtherLibc {
        reference: base.reference.clone(),
        needed: format!("glibc {}.{}", needed.0, needed.1),
        found: found.map_or_else(
            || "another C library".to_owned(),
            |(major, minor)| format!("glibc {major}.{minor}"),
        ),
    }
    .into())
}

/// The version of the base's GNU C library, read from the library.
fn glibc_of(store: &Store, base: &Base) -> Result<Option<(u32, u32)>, BuildError> {
    let of_this_machine = format!("lib/{}-linux-gnu/libc.so.6", std::env::consts::ARCH);
    let places = [
        format!("usr/{of_this_machine}"),
        of_this_machine,
        "usr/lib64/libc.so.6".to_owned(),
        "lib64/libc.so.6".to_owned(),
    ];
    for lower in base.lowers(store)? {
        for place in &places {
            // Before 2.34 it was a link to a name with the version in it.
            let link = fs::read_link(lower.join(place)).ok();
            let link = link.as_deref().and_then(Path::to_str);
            let named = link.and_then(|name| name.strip_prefix("libc-")?.strip_suffix(".so"));
            if let Some(found) = named.and_then(version) {
                return Ok(Some(found));
            }
            let Ok(Some(bytes)) = rootfs::read_beneath(&lower, Path::new(place), MAX_LIBC) else {
                continue;
            };
            let found = bytes
                .windows(RELEASE.len())
                .position(|window| window == RELEASE)
                .and_then(|at| bytes.get(at + RELEASE.len()..)?.get(..8))
                .and_then(|text| version(&String::from_utf8_lossy(text)));
            if found.is_some() {
                return Ok(found);
            }
        }
    }
    Ok(None)
}

fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    let minor: String = minor.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The newest version of the GNU C library that an executable needs; `None` if it needs none.
fn needed_glibc(program: &[u8]) -> Option<(u32, u32)> {
    const PREFIX: &[u8] = b"GLIBC_";
    let file = ElfBytes::<AnyEndian>::minimal_parse(program).ok()?;
    file.segments()?
        .iter()
        .find(|header| header.p_type == PT_INTERP)?;
    let header = file.section_header_by_name(".dynstr").ok()??;
    let (names, _) = file.section_data(&header).ok()?;
    names
        .split(|byte| *byte == 0)
        .filter_map(|name| version(std::str::from_utf8(name.strip_prefix(PREFIX)?).ok()?))
        .max()
        // Dynamically linked all the same.
        .or(Some((2, 17)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_says_which_libc_it_needs() {
        let own = fs::read("/proc/self/exe").unwrap();
        let needed = needed_glibc(&own).unwrap();
        assert!(needed >= (2, 17), "{needed:?}");
        assert_eq!(needed_glibc(b"#!/bin/sh\n"), None);
        assert_eq!(version("2.36"), Some((2, 36)));
        assert_eq!(version("2.3.4"), Some((2, 3)));
    }
}
