//! `--as-dockerfile`: a Dockerfile and the directory that it copies from, instead of an image.
//!
//! Nothing runs and no layer is unpacked. What cannot be checked without that (whether the image
//! has a script) is taken from the image's labels.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::progress::Progress;
use crate::s2i::dockerfile::{Dockerfile, MARK, SecretMount};
use crate::s2i::labels::{DEFAULT_DESTINATION, ImageLabels};
use crate::s2i::scripts::{ASSEMBLE, IN_SOURCE, MAX_SCRIPT, RUN, SAVE_ARTIFACTS};
use crate::s2i::{Injection, S2iError, ScriptsUrl, environment};
use crate::store::{Image, Store};

use super::super::BuildError;
use super::commit;
use super::download::{self, Word};
use super::error::S2iBuildError;
use super::{S2iRequest, Source, base_image};

/// What was written.
#[derive(Debug)]
pub struct Written {
    pub dockerfile: PathBuf,
    /// The directory for the build.
    pub directory: PathBuf,
    /// Ids of the secrets that the Dockerfile asks for, and their files on this machine.
    pub secrets: Vec<(String, PathBuf)>,
}

/// Writes a Dockerfile at `path` (or in it, where it is a directory), and `upload/` beside it.
/// Without a source, `upload/src` is left to the user.
pub fn as_dockerfile(
    store: &Store,
    request: &S2iRequest,
    source: Option<&Source>,
    path: &Path,
    progress: &dyn Progress,
) -> Result<Written, BuildError> {
    let builder = request
        .common
        .builder
        .as_deref()
        .ok_or(S2iBuildError::NoBuilder)?;
    let (dockerfile, directory) = place(path);
    let source = source.map(|source| without_ours(source, &dockerfile, &directory));
    let source = source.as_ref();
    progress.step(&format!("---> Using S2I builder {builder}"));
    let found = base_image::fetch(store, builder, request.pull.builder, progress)?;
    let config = &found.config;
    let labels = ImageLabels::read(config, builder).map_err(S2iBuildError::S2i)?;
    let user = config.user().to_owned();
    let assemble_user = request
        .assemble_user
        .clone()
        .or(labels.assemble_user.clone())
        .unwrap_or_else(|| user.clone());
    let allowed = request.allowed_uids.as_ref();
    base_image::check(allowed, &user, &format!("USER of `{builder}`"))?;
    base_image::check(allowed, &assemble_user, "the user of assemble")?;
    let destination = match &request.destination {
        Some(path) => crate::s2i::mappings::absolute(path).map_err(|problem| {
            S2iBuildError::S2i(S2iError::Option {
                option: "--destination",
                value: path.clone(),
                problem,
            })
        })?,
        None => labels
            .destination
            .clone()
            .unwrap_or_else(|| DEFAULT_DESTINATION.to_owned()),
    };

    let scripts = Found::look(request, source, builder, &labels)?;
    let mut env = Vec::new();
    if let Some(source) = source {
        for file in environment::IN_SOURCE {
            if let Some(bytes) = source.tree.read(Path::new(file), environment::MAX)? {
                env = environment::parse(file, &bytes).map_err(S2iBuildError::S2i)?;
                break;
            }
        }
    }
    env.extend(request.common.env.iter().cloned());
    let secrets = secrets(request, &found)?;
    let previous = request
        .previous
        .clone()
        .unwrap_or_else(|| request.common.name.as_given().to_owned());
    let cached = (request.incremental && request.tag)
        .then(|| (previous, scripts.path(SAVE_ARTIFACTS, &destination)));
    let text = Dockerfile {
        builder: builder.to_owned(),
        labels: match source {
            Some(source) => commit::labels(request, source, builder)
                .into_iter()
                .collect(),
            None => std::collections::BTreeMap::new(),
        },
        env: environment::settled(env),
        assemble: scripts.path(ASSEMBLE, &destination),
        run: scripts.path(RUN, &destination),
        scripts: !scripts.external.is_empty(),
        destination,
        user,
        assemble_user,
        secrets: secrets.iter().map(|(mount, _)| mount.clone()).collect(),
        cached,
    }
    .text()
    .map_err(|problem| S2iBuildError::Dockerfile { problem })?;
    write(&dockerfile, &directory, &text, source, &scripts)?;
    Ok(Written {
        dockerfile,
        directory,
        secrets: secrets
            .into_iter()
            .map(|(mount, file)| (mount.id, file))
            .collect(),
    })
}

/// The Dockerfile to write, and its directory.
fn place(path: &Path) -> (PathBuf, PathBuf) {
    let dockerfile = if path.is_dir() {
        path.join("Dockerfile")
    } else {
        path.to_owned()
    };
    let directory = match dockerfile.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    (dockerfile, directory)
}

/// Where the scripts are, by name.
struct Found {
    external: Vec<(&'static str, Vec<u8>)>,
    /// The image's directory of scripts.
    image: String,
}

impl Found {
    fn look(
        request: &S2iRequest,
        source: Option<&Source>,
        builder: &str,
        labels: &ImageLabels,
    ) -> Result<Self, BuildError> {
        let given = request.scripts_url.as_ref();
        let in_image = [
            given,
            labels.scripts_url.as_ref(),
            request.image_scripts_url.as_ref(),
        ]
        .into_iter()
        .flatten()
        .find_map(|url| match url {
            ScriptsUrl::Image(path) => Some(path.clone()),
            _ => None,
        });
        let mut found = Self {
            external: Vec::new(),
            image: in_image.unwrap_or_else(|| "/usr/libexec/s2i".to_owned()),
        };
        // A script of the image comes before the source's if the user asked for it.
        if matches!(given, Some(ScriptsUrl::Image(_))) {
            return Ok(found);
        }
        let mut from_given = false;
        for name in [ASSEMBLE, RUN, SAVE_ARTIFACTS] {
            if let Some(url) = given
                && let Some(content) = download::script(request, url, Word::Caller, name)?
            {
                from_given = true;
                found.external.push((name, content));
                continue;
            }
            if let Some(source) = source {
                for directory in IN_SOURCE {
                    let path = Path::new(directory).join(name);
                    if let Some(content) = source.tree.read(&path, MAX_SCRIPT)? {
                        found.external.push((name, content));
                        break;
                    }
                }
            }
            // The label may name a place on the web.
            if found.external.iter().all(|(known, _)| *known != name)
                && let Some(url @ ScriptsUrl::Web(_)) = &labels.scripts_url
                && let Some(content) = download::script(request, url, Word::Image(builder), name)?
            {
                found.external.push((name, content));
            }
        }
        if let (Some(url), false) = (given, from_given) {
            return Err(S2iBuildError::NoScriptsAt {
                url: download::shown(url),
            }
            .into());
        }
        Ok(found)
    }

    fn path(&self, name: &str, destination: &str) -> String {
        if self.external.iter().any(|(known, _)| *known == name) {
            format!("{destination}/scripts/{name}")
        } else {
            format!("{}/{name}", self.image.trim_end_matches('/'))
        }
    }
}

/// Injections and `--secret` as mounts of `RUN`: one for each file.
fn secrets(
    request: &S2iRequest,
    builder: &Image,
) -> Result<Vec<(SecretMount, PathBuf)>, S2iBuildError> {
    let working_dir = Path::new("/").join(builder.config.working_dir());
    let mut all: Vec<(SecretMount, PathBuf)> = Vec::new();
    for Injection {
        source,
        destination,
    } in &request.injections
    {
        let failed = |problem: String| S2iBuildError::Inject {
            path: source.clone(),
            problem,
        };
        let absolute = fs::canonicalize(source).map_err(|error| failed(error.to_string()))?;
        let target = working_dir.join(destination);
        let mut files = Vec::new();
        if absolute.is_dir() {
            for entry in walkdir::WalkDir::new(&absolute).sort_by_file_name() {
                let entry = entry.map_err(|error| failed(error.to_string()))?;
                // Secret volumes of Kubernetes are links to what is in a hidden directory.
                let hidden = entry.path().strip_prefix(&absolute).is_ok_and(|relative| {
                    relative
                        .components()
                        .any(|part| part.as_os_str().to_string_lossy().starts_with(".."))
                });
                if !hidden && entry.path().is_file() {
                    files.push(entry.into_path());
                }
            }
        } else {
            files.push(absolute.clone());
        }
        for file in files {
            let relative = match file.strip_prefix(&absolute) {
                Ok(relative) if !relative.as_os_str().is_empty() => relative.to_owned(),
                _ => file.file_name().map(PathBuf::from).unwrap_or_default(),
            };
            let target = target.join(relative);
            let target = target
                .to_str()
                .filter(|text| !text.contains(char::is_control))
                .ok_or_else(|| failed("its name cannot stand in a Dockerfile".into()))?;
            let number = all.len();
            all.push((
                SecretMount {
                    id: format!("s2i-inject-{number}"),
                    target: target.to_owned(),
                },
                file,
            ));
        }
    }
    for secret in &request.common.secrets {
        all.push((
            SecretMount {
                id: secret.id.clone(),
                target: format!("/run/secrets/{}", secret.id),
            },
            PathBuf::from("FILE"),
        ));
    }
    Ok(all)
}

/// The source without the files that the last run wrote into it.
fn without_ours(source: &Source, dockerfile: &Path, directory: &Path) -> Source {
    let mut source = source.clone();
    let root = fs::canonicalize(source.tree.root());
    let (Ok(root), Ok(directory)) = (root, fs::canonicalize(directory)) else {
        return source;
    };
    let Ok(below) = directory.strip_prefix(&root) else {
        return source;
    };
    if !is_ours(dockerfile) {
        return source;
    }
    let upload = below.join("upload");
    let written = dockerfile.file_name().map(|name| below.join(name));
    source.tree = source
        .tree
        .without(|path| path.starts_with(&upload) || Some(path) == written.as_deref());
    source
}

/// Whether a Dockerfile is one that this module wrote.
fn is_ours(dockerfile: &Path) -> bool {
    fs::read_to_string(dockerfile).is_ok_and(|text| text.starts_with(MARK))
}

/// Puts the files in place. Existing files that warpdrive did not write are not changed.
fn write(
    dockerfile: &Path,
    directory: &Path,
    text: &str,
    source: Option<&Source>,
    scripts: &Found,
) -> Result<(), BuildError> {
    let failed = |doing: &'static str, path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| S2iBuildError::io(doing, path, error)
    };
    let ours = is_ours(dockerfile);
    let upload = directory.join("upload");
    let mut parts = vec![upload.join("scripts")];
    if source.is_some() {
        parts.push(upload.join("src"));
    }
    if dockerfile.symlink_metadata().is_ok() && !ours {
        return Err(S2iBuildError::InTheWay {
            path: dockerfile.to_owned(),
        }
        .into());
    }
    for part in &parts {
        if part.symlink_metadata().is_ok() {
            if !ours {
                return Err(S2iBuildError::InTheWay { path: part.clone() }.into());
            }
            crate::layer::remove_tree(part)?;
        }
    }
    fs::create_dir_all(&upload).map_err(failed("make the directory", &upload))?;
    if let Some(source) = source {
        let src = upload.join("src");
        fs::create_dir(&src).map_err(failed("make the directory", &src))?;
        source.tree.stage_with(&src, None, &source.modes()?)?;
        // The scripts in use are beside the source, not in it.
        for (name, _) in &scripts.external {
            for directory in IN_SOURCE {
                let path = src.join(directory).join(name);
                if path.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
                    fs::remove_file(&path).map_err(failed("move", &path))?;
                }
            }
        }
    }
    if !scripts.external.is_empty() {
        let place = upload.join("scripts");
        fs::create_dir(&place).map_err(failed("make the directory", &place))?;
        for (name, content) in &scripts.external {
            let path = place.join(name);
            fs::write(&path, content).map_err(failed("write", &path))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                .map_err(failed("write", &path))?;
        }
    }
    fs::write(dockerfile, text).map_err(failed("write", dockerfile))?;
    Ok(())
}
