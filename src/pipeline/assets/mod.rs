//! The front end, if the application serves files that a Node package makes. It is built in its own
//! phase, before the application's, in a sandbox with Node. The files that this build writes become
//! part of the source, except `node_modules` and caches. Nothing of Node reaches the image.
//!
//! The phase sees the complete source except Python's files, because tools such as Tailwind read
//! templates. Its key is made from all that it sees.

mod node;
mod package;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::app::Detected;
use crate::app::contract;
use crate::app::files::Files;
use crate::app::plan::Start;
use crate::builder::layer::{StoredLayer, parent_directory};
use crate::builder::{APP_GID, APP_ROOT, APP_UID, FIXED_TIME};
use crate::layer::{self, Entry, Kind, Mtime};
use crate::oci::Digest;
use crate::rootfs;
use crate::sandbox::{Exit, IdMode, Mount};
use crate::source::Tree;
use crate::store::{self, Needs};

use super::assemble::{self, Stage};
use super::base::Base;
use super::context::Context;
use super::environment;
use super::error::BuildError;
use super::inputs::{FILES, Inputs};
use super::network::Code;
use super::overlay::{overlay, overlay_owned};
use super::request::Request;
use super::sandbox_inputs::{NPM_REGISTRY, SandboxInputs};
use super::titled_layer::LayerWriter;
use super::tree::{make_app_root, normalize};

use node::Node;
use package::{Found, Manager, Package};

/// Raised whenever the same inputs give other bytes.
const FORMAT: u32 = 1;
/// The source's path, relative to the root.
const SOURCE: &str = contract::SOURCE_IN_TREE;

/// Directories that a build fills and the application does not serve.
const NOT_KEPT: &[&str] = &[
    "node_modules",
    ".cache",
    ".npm",
    ".parcel-cache",
    ".pnpm-store",
    ".turbo",
    ".vite",
    ".yarn",
];
/// Files that an installer writes.
const NOT_KEPT_FILES: &[&str] = &[
    ".pnp.cjs",
    ".pnp.loader.mjs",
    "package-lock.json",
    "pnpm-lock.yaml",
    "yarn.lock",
];

/// The source with the built front end.
pub(super) struct Built {
    pub(super) tree: Tree,
    pub(super) digest: Digest,
}

#[derive(Serialize, Deserialize)]
struct FrontEndRecord {
    layer: StoredLayer,
}

impl store::Record for FrontEndRecord {
    const KIND: &'static str = "assets";

    fn needs(&self) -> Needs {
        Needs::blobs([&self.layer.descriptor])
    }
}

/// What `--dry-run` prints about it.
pub(super) fn notes(files: &dyn Files, detected: &Detected) -> Vec<String> {
    let Found {
        packages,
        mut notes,
    } = found(files, detected);
    notes.extend(
        packages
            .iter()
            .map(|package| format!("the front end is built: {}", package.words())),
    );
    notes
}

fn found(files: &dyn Files, detected: &Detected) -> Found {
    let plan = &detected.plan;
    if !plan.web || matches!(plan.start, Start::Jupyter { .. }) {
        return Found::default();
    }
    package::find(files, &plan.home, &detected.project.settings)
}

/// Builds the front end, or finds its earlier result. `None` if there is no front end.
pub(super) fn phase(
    context: Context<'_>,
    files: &dyn Files,
    tree: &Tree,
    detected: &Detected,
    base: &Base,
) -> Result<Option<Built>, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    let Found { packages, notes } = found(files, detected);
    for note in notes {
        progress.warning(&note);
    }
    let Some(first) = packages.first() else {
        return Ok(None);
    };
    let instead = "build it before, and keep the files that it makes in the source";
    let what = format!("the front end of {}", first.place());
    request.place.refuse(&what, instead)?;
    for package in &packages {
        if package.manager == Manager::Bun {
            return Err(BuildError::AssetsLock {
                package: package.place(),
                lock: package.lock.clone().unwrap_or_default(),
            });
        }
    }
    let settings = &detected.project.settings;
    let node = node::find(context, settings, base, &first.place())?;
    let seen = tree.clone().without(is_python);
    let inputs = inputs(&seen, &packages, &node, request)?;
    let key = inputs.key()?;
    let kept = if request.no_cache {
        None
    } else {
        store.cached::<FrontEndRecord>(&key)?
    };
    let layer = if let Some(record) = kept {
        progress.step(" -----> Front end unchanged");
        record.layer
    } else {
        let layer = build(context, &seen, &packages, &node)?;
        let record = FrontEndRecord { layer };
        store.remember(&key, &record)?;
        record.layer
    };
    let unpacked = rootfs::unpacked_layer(
        store,
        &layer.descriptor,
        &layer.diff_id(),
        IdMode::current().into(),
    )?;
    let tree = tree.with_made(&unpacked.join(SOURCE))?;
    let digest = tree.digest(None)?;
    Ok(Some(Built { tree, digest }))
}

/// Files that a front end does not use: an edit of them does not start a new build.
fn is_python(path: &Path) -> bool {
    path.extension()
        .is_some_and(|end| end == "py" || end == "pyi" || end == "ipynb")
        || path.starts_with(".warpdrive")
        || path == Path::new("requirements.txt")
}

fn inputs(
    seen: &Tree,
    packages: &[Package],
    node: &Node,
    request: &Request,
) -> Result<Inputs, BuildError> {
    let mut inputs = Inputs::default();
    inputs.add("the format of the cache", &FORMAT)?;
    inputs.add(FILES, &seen.digest(None)?.to_string())?;
    let scripts: Vec<(&str, String)> = packages
        .iter()
        .map(|package| (package.directory.as_str(), package.script()))
        .collect();
    inputs.add("the commands", &scripts)?;
    inputs.add("the image with Node", &node.identity)?;
    inputs.add("the compression", &request.compression.to_string())?;
    inputs.add_variables("the variable", &request.env)?;
    inputs.add_variables("the build variable", &request.build_env)?;
    inputs.add_secrets(request)?;
    inputs.add_indexes(request, NPM_REGISTRY)?;
    Ok(inputs)
}

/// Runs the commands of every package, and writes the resulting files.
fn build(
    context: Context<'_>,
    seen: &Tree,
    packages: &[Package],
    node: &Node,
) -> Result<StoredLayer, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    let told = SandboxInputs::of_front_end(request);
    if let Some(name) = told.registry_without_login {
        progress.warning(&format!(
            "the login in {name} is not given to the code of the front end: give it one by \
             --secret id=npmrc,src=FILE with --build-env NPM_CONFIG_USERCONFIG=/run/secrets/npmrc, or show it \
             this one with --expose-index-credentials"
        ));
    }
    let mode = IdMode::current();
    let scratch = store.scratch("assets")?;
    let chown = mode.chown_allowed().then_some((APP_UID, APP_GID));
    let staged = scratch.path().join("source");
    let source = make_app_root(&staged, chown.is_some())?;
    seen.stage(&source, chown)?;
    let upper = overlay(&scratch, "made")?;
    let cache = overlay_owned(&scratch, "npm", mode)?;
    for package in packages {
        progress.step(&format!(
            " -----> Building the front end ({})",
            package.words()
        ));
        let mut lowers = vec![staged.clone()];
        lowers.extend(node.lowers.iter().cloned());
        let stage = Stage {
            command: ["/bin/sh", "-e", "-c", &package.script()]
                .map(str::to_owned)
                .to_vec(),
            cwd: Path::new(APP_ROOT).join("src").join(&package.directory),
            lowers,
            upper: Some(upper.clone()),
            mounts: mounts(&told, cache.upper.clone())?,
            env: variables(&told, node),
            code: Code::Foreign,
        };
        let outcome = assemble::run(stage, &told, progress)?;
        if outcome.exit != Exit::Code(0) {
            return Err(BuildError::Assets {
                package: package.place(),
                exit: outcome.exit,
                tail: outcome.tail,
            });
        }
    }
    let modules: Vec<PathBuf> = packages
        .iter()
        .map(|package| {
            Path::new(SOURCE)
                .join(&package.directory)
                .join("node_modules")
        })
        .collect();
    let skip: Vec<&Path> = modules.iter().map(PathBuf::as_path).collect();
    let scan = layer::scan(&upper.upper, &skip)?;
    let written: Vec<Entry> = scan.entries.into_iter().filter_map(kept).collect();
    if !written.iter().any(|entry| entry.kind != Kind::Directory) {
        return Err(BuildError::NoAssets {
            package: packages.first().map(Package::place).unwrap_or_default(),
        });
    }
    let entries = layer::with_parents(
        normalize(written, Mtime::Fixed(FIXED_TIME)),
        parent_directory,
    );
    LayerWriter::new(store, request).write(&entries, layer::threads())
}

/// The files of an upper directory that become part of the source: none that were removed, or that
/// only the build needs.
fn kept(mut entry: Entry) -> Option<Entry> {
    let inner = entry.path.strip_prefix(SOURCE).ok()?;
    let name = inner.file_name()?.to_str()?;
    let in_directory = inner
        .components()
        .any(|part| NOT_KEPT.iter().any(|name| part.as_os_str() == *name));
    if in_directory || NOT_KEPT_FILES.contains(&name) {
        return None;
    }
    match entry.kind {
        Kind::Whiteout => return None,
        Kind::Opaque => entry.kind = Kind::Directory,
        _ => {}
    }
    Some(entry)
}

fn mounts(told: &SandboxInputs, npm: PathBuf) -> Result<Vec<Mount>, BuildError> {
    let mut mounts: Vec<Mount> = ["/tmp", "/var/tmp", "/run"]
        .into_iter()
        .map(|target| Mount::Tmpfs {
            target: target.into(),
            size: None,
            mode: 0o1777,
        })
        .collect();
    mounts.push(Mount::Bind {
        source: npm,
        target: NPM.into(),
        read_only: false,
    });
    mounts.extend(environment::mounts_of_the_host(told, "")?);
    Ok(mounts)
}

/// Downloads of this build. They are not shared: the files of a package's script affect only this build.
const NPM: &str = "/run/warpdrive/npm";

fn variables(told: &SandboxInputs, node: &Node) -> Vec<(String, String)> {
    let mut env = std::collections::BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        env.insert(name.to_owned(), value.to_owned());
    };
    for (name, value) in &node.environment {
        set(name, value);
    }
    set("PATH", &node.path);
    for (name, value) in [
        ("HOME", "/tmp"),
        ("TMPDIR", "/tmp"),
        (contract::LIFE_PHASE, "build"),
        (contract::BUILD_PHASE, "assets"),
        ("npm_config_cache", NPM),
        ("npm_config_audit", "false"),
        ("npm_config_fund", "false"),
        ("npm_config_progress", "false"),
        ("npm_config_update_notifier", "false"),
        ("NO_UPDATE_NOTIFIER", "1"),
        ("YARN_CACHE_FOLDER", "/run/warpdrive/npm/yarn"),
        ("YARN_ENABLE_TELEMETRY", "0"),
        ("NEXT_TELEMETRY_DISABLED", "1"),
    ] {
        set(name, value);
    }
    set("SOURCE_DATE_EPOCH", &FIXED_TIME.to_string());
    for (name, value) in environment::of_the_host(told) {
        set(name, &value);
    }
    for name in NPM_REGISTRY {
        if let Some(value) = told.host_env.get(*name) {
            set(name, value);
        }
    }
    for (name, value) in told.env.iter().chain(&told.build_env) {
        set(name, value);
    }
    env.into_iter().collect()
}
