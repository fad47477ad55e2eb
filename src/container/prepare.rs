//! From an image and what the user asked for to a container's [`Config`] and the sandbox's [`Spec`].

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::ContainerError;
use super::environment::{Variable, merge};
use super::files::network_files;
use super::names::valid_name;
use super::ports::{PortMapping, check_ports};
use super::record::{self, Config, Record, short};
use super::volumes::{Volume, VolumeSource, resolve_host_path};
use crate::progress::Progress;
use crate::rootfs::{self, User, find_user};
use crate::sandbox::{IdMode, Limits, Mount, Network, Root, Spec, Upper};
use crate::store::{Image, Store};

/// The default search path for programs.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Longest host name that the kernel takes.
const MAX_HOSTNAME: usize = 64;

/// What the user asked for.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct RunOptions {
    pub image: String,
    pub name: Option<String>,
    pub ports: Vec<PortMapping>,
    /// In order; later ones win.
    pub variables: Vec<Variable>,
    pub user: Option<String>,
    pub volumes: Vec<Volume>,
    pub read_only: bool,
    pub network: Network,
    pub detached: bool,
    /// Standard input goes to the command.
    pub interactive: bool,
    pub terminal: bool,
    pub remove: bool,
    /// Replaces the image's entry point (and its Cmd).
    pub entrypoint: Option<String>,
    /// Replaces the image's Cmd.
    pub command: Vec<String>,
    pub cwd: Option<PathBuf>,
    pub hostname: Option<String>,
    pub stop_signal: Option<i32>,
    pub limits: Limits,
}

/// What the caller knows of images of applications.
#[derive(Clone, Copy)]
pub struct Applications {
    /// The label with the build's plan for the application, as JSON.
    pub plan: &'static str,
    /// The port that an application with these variables listens on.
    pub port: fn(Lookup<'_>) -> u16,
}

/// Looks up a variable of the environment.
type Lookup<'v> = &'v dyn Fn(&str) -> Option<String>;

/// A container on disk, ready to be started.
pub struct Prepared {
    pub record: Record,
    pub spec: Spec,
    /// The port inside on which its application must answer.
    pub serves: Option<Serves>,
}

/// A port inside on which an application is to answer.
#[derive(Debug, Clone, Copy)]
pub struct Serves {
    pub port: u16,
    /// `false` for a program with a published port: it may still be a bot without a listener.
    pub certain: bool,
}

/// Unpacks the image's layers and makes the container's directory. Nothing runs yet.
///
/// To be called in a process that may mount and chown (`sandbox::enter`).
pub fn prepare(
    store: &Store,
    options: &RunOptions,
    applications: Applications,
    caller_env: impl Fn(&str) -> Option<String>,
    progress: &dyn Progress,
) -> Result<Prepared, ContainerError> {
    check(options)?;
    // Held until the container's config pins the image.
    let _lock = store.lock_shared()?;
    let image = store
        .image(&options.image)?
        .ok_or_else(|| ContainerError::NoImage {
            name: options.image.clone(),
        })?;
    let mode = IdMode::current();
    progress.doing("Unpacking what is not unpacked yet");
    let lowers = rootfs::lowers(store, &image, mode.into())?;
    let user = find_user(
        &lowers,
        &user_text(options.user.as_deref(), image.config.user()),
    )?;
    if mode == IdMode::SingleUid && (user.uid, user.gid) != (1001, 0) {
        return Err(ContainerError::OnlyOneUid {
            uid: user.uid,
            gid: user.gid,
        });
    }
    let command = command(options, &image)?;
    let id = record::new_id()?;
    let hostname = hostname(options, &id)?;
    let env = environment(options, &image, &user, &hostname, caller_env);
    let cwd = options
        .cwd
        .clone()
        .unwrap_or_else(|| image.config.working_dir().into());
    let volumes = resolve_volumes(options, progress)?;
    let config = Config {
        name: options
            .name
            .clone()
            .unwrap_or_else(|| default_name(&options.image, &id)),
        id,
        image: options.image.clone(),
        manifest: image.descriptor.clone(),
        created: record::now(),
        command,
        env,
        cwd: Path::new("/").join(cwd),
        uid: user.uid,
        gid: user.gid,
        hostname,
        stop_signal: options.stop_signal.unwrap_or_else(|| {
            image
                .config
                .get("StopSignal")
                .and_then(serde_json::Value::as_str)
                .and_then(super::signal::parse)
                .unwrap_or(super::signal::TERM)
        }),
        network: options.network,
        ports: options.ports.clone(),
        volumes,
        read_only: options.read_only,
        terminal: options.terminal,
        remove: options.remove,
        detached: options.detached,
        map: mode.map_name().to_owned(),
        adding: applications
            .plan(&image)
            .and_then(|plan| plan.get("adding").cloned())
            .unwrap_or_default(),
    };
    let mounts = mounts(store, &config, &image)?;
    let record = Record::create(store, config)?;
    let spec = spec(&record, lowers, mounts, options.limits.clone());
    record.keep_spec(&spec)?;
    let serves = options
        .command
        .is_empty()
        .then(|| applications.web_port(&image, &record.config))
        .flatten()
        .filter(|_| options.entrypoint.is_none());
    Ok(Prepared {
        record,
        spec,
        serves,
    })
}

/// Prepares an ended container for another start with its written files.
///
/// To be called in a process that may mount and chown (`sandbox::enter`).
pub fn prepare_restart(
    store: &Store,
    record: Record,
    applications: Applications,
) -> Result<Prepared, ContainerError> {
    let name = || record.config.name.clone();
    if matches!(
        record.status()?.0,
        record::Status::Running | record::Status::Created
    ) {
        return Err(ContainerError::Running { name: name() });
    }
    if record.config.map != IdMode::current().map_name() {
        return Err(ContainerError::OtherIds { name: name() });
    }
    let spec = record.spec()?;
    let image = store.image_at(&record.config.manifest)?;
    let own = [image.config.words("Entrypoint"), image.config.words("Cmd")].concat();
    let serves = (record.config.command == own)
        .then(|| applications.web_port(&image, &record.config))
        .flatten();
    Ok(Prepared {
        record,
        spec,
        serves,
    })
}

impl Applications {
    /// How the application of a warpdrive image is started.
    fn plan(self, image: &Image) -> Option<serde_json::Value> {
        serde_json::from_str(image.config.label(self.plan)?).ok()
    }

    /// The port inside on which the application of a warpdrive image answers, if it is a web application.
    fn web_port(self, image: &Image, config: &Config) -> Option<Serves> {
        let plan = self.plan(image)?;
        if plan.get("web").and_then(serde_json::Value::as_bool) == Some(false) {
            return None;
        }
        let certain = !matches!(plan["start"]["mode"].as_str(), Some("python" | "shell"));
        if !certain && config.ports.is_empty() {
            return None;
        }
        let port = (self.port)(&|name| {
            let (_, value) = config.env.iter().find(|(known, _)| known == name)?;
            Some(value.clone())
        });
        Some(Serves { port, certain })
    }
}

/// Refuses options that exclude each other.
fn check(options: &RunOptions) -> Result<(), ContainerError> {
    check_ports(&options.ports)?;
    if !options.ports.is_empty() && options.network != Network::Private {
        return Err(ContainerError::PortsWithoutNetwork {
            network: match options.network {
                Network::Host => "host",
                Network::None => "none",
                Network::Private | Network::Outward => "private",
            },
        });
    }
    Ok(())
}

/// The user of `-u`. An empty value means the image's user. (Docker takes root, so an unset variable
/// in `-u "$USER_ID"` would give root.)
pub(super) fn user_text(asked: Option<&str>, present: &str) -> String {
    match asked.map(|text| text.split_once(':').unwrap_or((text, ""))) {
        None | Some(("", "")) => present.to_owned(),
        Some(("", group)) => {
            let user = present.split(':').next().unwrap_or(present);
            format!("{user}:{group}")
        }
        Some(_) => asked.unwrap_or(present).to_owned(),
    }
}

fn command(options: &RunOptions, image: &Image) -> Result<Vec<String>, ContainerError> {
    let mut words = match &options.entrypoint {
        Some(entrypoint) if entrypoint.is_empty() => Vec::new(),
        Some(entrypoint) => vec![entrypoint.clone()],
        None => image.config.words("Entrypoint"),
    };
    if !options.command.is_empty() {
        words.extend_from_slice(&options.command);
    } else if options.entrypoint.is_none() {
        words.extend(image.config.words("Cmd"));
    }
    if words.is_empty() {
        return Err(ContainerError::NoCommand {
            image: options.image.clone(),
        });
    }
    Ok(words)
}

fn hostname(options: &RunOptions, id: &str) -> Result<String, ContainerError> {
    match (&options.hostname, options.network) {
        (Some(name), _) => {
            let fits = !name.is_empty()
                && name.len() <= MAX_HOSTNAME
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
            if fits {
                Ok(name.clone())
            } else {
                Err(ContainerError::Name { name: name.clone() })
            }
        }
        (None, Network::Host) => Ok(rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned()),
        (None, _) => Ok(short(id).to_owned()),
    }
}

fn environment(
    options: &RunOptions,
    image: &Image,
    user: &User,
    hostname: &str,
    caller_env: impl Fn(&str) -> Option<String>,
) -> Vec<(String, String)> {
    let mut env = image.config.env();
    let mut default = |name: &str, value: &str| {
        if !env.iter().any(|(known, _)| known == name) {
            env.push((name.to_owned(), value.to_owned()));
        }
    };
    default("PATH", DEFAULT_PATH);
    default("HOME", &user.home);
    default("HOSTNAME", hostname);
    if options.terminal {
        default("TERM", "xterm");
    }
    merge(&mut env, options.variables.iter().cloned(), caller_env);
    env
}

/// `opal-3fa9` for the image `registry.example.com/team/opal:1.2`.
fn default_name(image: &str, id: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let base: String = last
        .split([':', '@'])
        .next()
        .unwrap_or(last)
        .bytes()
        .filter(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte))
        .map(char::from)
        .take(40)
        .collect();
    let tail = id.get(..6).unwrap_or(id);
    if valid_name(&base) {
        format!("{base}-{tail}")
    } else {
        format!("container-{tail}")
    }
}

fn resolve_volumes(
    options: &RunOptions,
    progress: &dyn Progress,
) -> Result<Vec<Volume>, ContainerError> {
    let mut volumes = options.volumes.clone();
    for (index, volume) in volumes.iter_mut().enumerate() {
        if options.volumes[..index]
            .iter()
            .any(|other| other.target == volume.target)
        {
            return Err(ContainerError::Volume {
                value: volume.target.display().to_string(),
                problem: "this target is given twice".to_owned(),
            });
        }
        if let VolumeSource::Path(path) = &mut volume.source {
            *path = resolve_host_path(path, &mut |text| progress.warning(text))?;
        }
    }
    Ok(volumes)
}

fn mounts(store: &Store, config: &Config, image: &Image) -> Result<Vec<Mount>, ContainerError> {
    let mut mounts = network_files(config.network, &config.hostname);
    let taken = |target: &Path| config.volumes.iter().any(|volume| volume.target == target);
    if config.read_only {
        // Writable directories in a read-only root: /tmp, and the image's volumes.
        let declared = image
            .config
            .get("Volumes")
            .and_then(serde_json::Value::as_object)
            .into_iter()
            .flat_map(|volumes| volumes.keys().map(PathBuf::from));
        let targets = std::iter::once(PathBuf::from("/tmp")).chain(declared);
        for target in targets.filter(|target| target.is_absolute() && !taken(target)) {
            mounts.push(Mount::Tmpfs {
                target,
                size: None,
                mode: 0o1777,
            });
        }
    }
    for volume in &config.volumes {
        let target = volume.target.clone();
        mounts.push(match &volume.source {
            VolumeSource::Path(source) => Mount::Bind {
                source: source.clone(),
                target,
                read_only: volume.read_only,
            },
            VolumeSource::Name(name) => Mount::Bind {
                source: named_volume(store, name, config.uid, config.gid)?,
                target,
                read_only: volume.read_only,
            },
            VolumeSource::Tmpfs(size) => Mount::Tmpfs {
                target,
                size: *size,
                mode: 0o1777,
            },
        });
    }
    // A mount inside another one comes after it.
    mounts.sort_by_key(|mount| match mount {
        Mount::Bind { target, .. }
        | Mount::Tmpfs { target, .. }
        | Mount::Overlay { target, .. }
        | Mount::File { target, .. } => target.components().count(),
    });
    Ok(mounts)
}

/// The directory of a volume of the store. An empty one gets the container's user as its owner.
fn named_volume(store: &Store, name: &str, uid: u32, gid: u32) -> Result<PathBuf, ContainerError> {
    let parent = store.root().join("volumes");
    let path = parent.join(name);
    let io = |doing, source| ContainerError::Io {
        doing,
        path: path.clone(),
        source,
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&parent)
        .map_err(|error| io("make a place for the volume", error))?;
    match fs::create_dir(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io("make the volume", error)),
    }
    let metadata = fs::symlink_metadata(&path).map_err(|error| io("look at the volume", error))?;
    if !metadata.is_dir() {
        return Err(io(
            "use the volume",
            std::io::ErrorKind::NotADirectory.into(),
        ));
    }
    let own = (metadata.uid(), metadata.gid()) == (uid, gid);
    let empty = fs::read_dir(&path)
        .map_err(|error| io("look into the volume", error))?
        .next()
        .is_none();
    if empty && !(own && metadata.mode() & 0o7777 == 0o2775) {
        chown(&path, Some(uid), Some(gid))
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o2775)))
            .map_err(|error| io("give the container's user the volume", error))?;
    }
    Ok(path)
}

fn spec(record: &Record, lowers: Vec<PathBuf>, mounts: Vec<Mount>, limits: Limits) -> Spec {
    let config = &record.config;
    Spec {
        root: Root {
            lowers,
            upper: (!config.read_only).then(|| Upper {
                upper: record.upper(),
                work: record.work(),
            }),
            writable_only: None,
        },
        mounts,
        network: config.network,
        host_services: Vec::new(),
        hostname: config.hostname.clone(),
        command: config.command.clone(),
        env: config.env.clone(),
        cwd: config.cwd.clone(),
        uid: config.uid,
        gid: config.gid,
        groups: Vec::new(),
        capabilities: Vec::new(),
        umask: 0o022,
        init: false,
        volatile: false,
        limits,
        #[cfg(debug_assertions)]
        without: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_a_name_is_the_one_that_is_there() {
        for (asked, present, expected) in [
            (None, "1001", "1001"),
            (Some(""), "1001:0", "1001:0"),
            (Some(":"), "app", "app"),
            (Some(":5"), "1001:0", "1001:5"),
            (Some("0"), "1001", "0"),
            (Some("7:8"), "1001", "7:8"),
        ] {
            assert_eq!(user_text(asked, present), expected, "{asked:?}");
        }
    }

    #[test]
    fn a_container_is_named_after_its_image() {
        for (image, name) in [
            ("opal", "opal-012345"),
            ("registry.example.com:5000/team/opal:1.2", "opal-012345"),
            ("opal@sha256:00", "opal-012345"),
            ("", "container-012345"),
        ] {
            assert_eq!(default_name(image, "0123456789"), name);
            assert!(valid_name(name));
        }
    }
}
