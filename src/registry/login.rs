//! `login` and `logout`: a password is shown to the registry, and kept where podman or Docker keep theirs:
//! in an auth file, or with the credential helper that the file names for the registry.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use serde_json::{Map, Value, json};

use super::auth::verify;
use super::credential::Secret;
use super::credentials::normalise;
use super::error::RegistryError;
use super::helper;
use super::progress::TransferListener;
use super::session::Client;
use super::token::Purpose;

/// Auth files are small; a larger one is something else.
const MAX_FILE: u64 = 8 * 1024 * 1024;

/// Where a login is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthStore {
    path: PathBuf,
}

impl Client {
    /// Shows a login to a registry. False: the registry asks for none, so that nothing is known of it.
    pub fn verify_login(
        &self,
        registry: &str,
        user: &str,
        password: &str,
        progress: &dyn TransferListener,
    ) -> Result<bool, RegistryError> {
        let place = self.configuration.registry(registry)?;
        let repository = self.repository_at(&place, progress)?;
        repository.verify(user, &Secret::new(password), progress)
    }
}

impl super::session::Repository<'_> {
    fn verify(
        &self,
        user: &str,
        password: &Secret,
        progress: &dyn TransferListener,
    ) -> Result<bool, RegistryError> {
        let (host, base, auth) = self.parts();
        let purpose = Purpose {
            agent: self.agent(),
            host,
            base,
            repository: "",
            scopes: &[],
            action: "the login",
            progress,
        };
        verify(auth, &purpose, user, password)
    }
}

impl AuthStore {
    /// The file that was named, else `$REGISTRY_AUTH_FILE`, else podman's: in `$XDG_RUNTIME_DIR`, and
    /// where there is none, in the user's configuration. `docker`: Docker's instead.
    pub fn find(
        given: Option<&Path>,
        docker: bool,
        variable: &dyn Fn(&str) -> Option<PathBuf>,
    ) -> Option<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.as_os_str().is_empty());
        let path = if let Some(given) = given {
            given.to_owned()
        } else if docker {
            set("DOCKER_CONFIG")
                .or_else(|| Some(set("HOME")?.join(".docker")))?
                .join("config.json")
        } else if let Some(only) = set("REGISTRY_AUTH_FILE") {
            only
        } else if let Some(runtime) = set("XDG_RUNTIME_DIR") {
            runtime.join("containers/auth.json")
        } else {
            set("XDG_CONFIG_HOME")
                .or_else(|| Some(set("HOME")?.join(".config")))?
                .join("containers/auth.json")
        };
        Some(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a login for a registry, or a part of one (`host/namespace`). Gives the helper that keeps it, where it
    /// is not the file.
    pub fn keep(
        &self,
        key: &str,
        user: &str,
        password: &str,
    ) -> Result<Option<String>, RegistryError> {
        let server = server(key);
        // A helper may ask its user something: it runs before the lock is taken.
        let helper = helper_of(&self.read()?, key);
        let entry = match &helper {
            Some(name) if key.contains('/') => return Err(self.bad(format!(
                "docker-credential-{name} keeps its logins, which are for whole registries and not for `{key}`; --authfile FILE names another file"
            ))),
            Some(name) => {
                helper::store(name, server, user, password).map_err(|problem| self.bad(problem))?;
                // Only a mark stays, as docker leaves it.
                json!({})
            }
            None => {
                let pair = format!("{user}:{password}");
                json!({ "auth": base64::engine::general_purpose::STANDARD.encode(pair) })
            }
        };
        self.change(|entries| {
            entries.insert(server.to_owned(), entry);
            true
        })?;
        Ok(helper)
    }

    /// Forgets the login of a registry, or of a part of one. False when there was none.
    pub fn forget(&self, key: &str) -> Result<bool, RegistryError> {
        if !self.path.exists() {
            return Ok(false);
        }
        let server = server(key);
        let helped = match helper_of(&self.read()?, key).filter(|_| !key.contains('/')) {
            Some(name) => helper::erase(&name, server).map_err(|problem| self.bad(problem))?,
            None => false,
        };
        let had = self.change(|entries| {
            let names = [server, key].into_iter();
            names.filter(|name| entries.remove(*name).is_some()).count() > 0
        })?;
        Ok(had || helped)
    }

    /// Forgets all logins; gives what they were for. Which helper keeps what stays written.
    pub fn forget_all(&self) -> Result<Vec<String>, RegistryError> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        let file = self.read()?;
        let names = |part: &str| file[part].as_object().into_iter().flat_map(Map::keys);
        let mut known: BTreeSet<String> = BTreeSet::new();
        let mut failed = None;
        for name in names("auths").chain(names("credHelpers")) {
            let key = normalise(name);
            let Some(helper) = helper_of(&file, &key).filter(|_| !key.contains('/')) else {
                continue;
            };
            match helper::erase(&helper, server(&key)) {
                Ok(true) => {
                    known.insert(key);
                }
                Ok(false) => {}
                Err(problem) => failed = failed.or(Some(problem)),
            }
        }
        self.change(|entries| {
            known.extend(entries.keys().map(|name| normalise(name)));
            let had = !entries.is_empty();
            entries.clear();
            had
        })?;
        match failed {
            Some(problem) => Err(self.bad(problem)),
            None => Ok(known.into_iter().collect()),
        }
    }

    /// Changes the logins of the file, if the change says so, while no other process of ours does. What another
    /// program writes at the same moment may still be lost: there is no lock that all of them know.
    fn change(
        &self,
        change: impl FnOnce(&mut Map<String, Value>) -> bool,
    ) -> Result<bool, RegistryError> {
        let failed = |error: std::io::Error| self.bad(error.to_string());
        let (_, directory) = self.target();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(failed)?;
        // The directory stays when the file is replaced, and nothing else is left behind. Where the file system has
        // no locks, it goes without.
        let lock = fs::File::open(&directory).map_err(failed)?;
        let _ = lock.lock();
        let mut file = self.read()?;
        let changed = change(self.entries(&mut file)?);
        if changed {
            self.write(&file)?;
        }
        Ok(changed)
    }

    fn bad(&self, problem: impl Into<String>) -> RegistryError {
        RegistryError::File {
            path: self.path.clone(),
            problem: problem.into(),
        }
    }

    fn entries<'f>(
        &self,
        file: &'f mut Value,
    ) -> Result<&'f mut Map<String, Value>, RegistryError> {
        if file.get("auths").is_none_or(Value::is_null) {
            file["auths"] = json!({});
        }
        file["auths"]
            .as_object_mut()
            .ok_or_else(|| self.bad("its `auths` is not an object"))
    }

    /// The whole document: what else stands in it stays.
    fn read(&self) -> Result<Value, RegistryError> {
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(json!({})),
            Err(error) => return Err(self.bad(error.to_string())),
        };
        if metadata.len() > MAX_FILE {
            return Err(self.bad(format!("it is larger than {MAX_FILE} bytes")));
        }
        let bytes = fs::read(&self.path).map_err(|error| self.bad(error.to_string()))?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(json!({}));
        }
        // The parser's message could repeat a password.
        let file: Value = serde_json::from_slice(&bytes)
            .map_err(|error| self.bad(format!("it is not JSON (line {})", error.line())))?;
        if file.is_object() {
            Ok(file)
        } else {
            Err(self.bad("it is not an auth file: it holds no object"))
        }
    }

    /// The file itself, and where it lies: through a link, the file that it means is replaced.
    fn target(&self) -> (PathBuf, PathBuf) {
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        (path, directory)
    }

    /// In place of the whole file at once, for its owner's eyes.
    fn write(&self, file: &Value) -> Result<(), RegistryError> {
        let failed = |error: std::io::Error| self.bad(error.to_string());
        let (path, directory) = self.target();
        let mut new = tempfile::Builder::new()
            .prefix(".auth-")
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(&directory)
            .map_err(failed)?;
        let text =
            serde_json::to_string_pretty(file).map_err(|error| self.bad(error.to_string()))?;
        new.write_all(text.as_bytes()).map_err(failed)?;
        new.write_all(b"\n").map_err(failed)?;
        new.as_file().sync_all().map_err(failed)?;
        new.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// Under which a registry's login is kept: Docker Hub has an old name there.
fn server(registry: &str) -> &str {
    if registry == "docker.io" {
        "https://index.docker.io/v1/"
    } else {
        registry
    }
}

/// The helper for a registry, by name.
fn helper_of(file: &Value, registry: &str) -> Option<String> {
    let own = file["credHelpers"][registry].as_str();
    let name = own.or_else(|| file["credsStore"].as_str())?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_kept_beside_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/auth.json");
        let store = AuthStore::find(Some(&path), false, &|_| None).unwrap();
        assert!(!store.forget("r.example").unwrap());
        store.keep("r.example", "captain", "engage").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(file["auths"]["r.example"]["auth"], "Y2FwdGFpbjplbmdhZ2U=");
        file["HttpHeaders"] = json!({"x": "y"});
        fs::write(&path, file.to_string()).unwrap();
        store.keep("docker.io", "a", "b").unwrap();
        let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(file["HttpHeaders"]["x"], "y");
        assert!(file["auths"]["https://index.docker.io/v1/"].is_object());
        assert!(store.forget("docker.io").unwrap());
        assert!(store.forget("r.example").unwrap());
        let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(file["auths"], json!({}));
    }

    #[test]
    fn logins_that_are_kept_at_the_same_time_are_all_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/auth.json");
        let names: Vec<String> = (0..24).map(|n| format!("r{n}.example")).collect();
        let store = || AuthStore::find(Some(&path), false, &|_| None).unwrap();
        let together = std::sync::Barrier::new(names.len());
        std::thread::scope(|scope| {
            for name in &names {
                scope.spawn(|| {
                    together.wait();
                    store().keep(name, "captain", "engage").unwrap();
                });
            }
        });
        let kept = store().read().unwrap();
        let kept: BTreeSet<&String> = kept["auths"].as_object().unwrap().keys().collect();
        assert_eq!(kept, names.iter().collect());
        std::thread::scope(|scope| {
            for name in &names[1..] {
                scope.spawn(|| assert!(store().forget(name).unwrap()));
            }
        });
        assert_eq!(store().forget_all().unwrap(), ["r0.example"]);
        let left = fs::read_dir(path.parent().unwrap()).unwrap();
        assert_eq!(left.count(), 1, "nothing lies beside it");
    }

    #[test]
    fn a_part_of_a_registry_has_a_login_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        let store = AuthStore::find(Some(&path), false, &|_| None).unwrap();
        for key in ["r.example", "r.example/crew", "docker.io/crew", "docker.io"] {
            store.keep(key, "captain", "engage").unwrap();
        }
        assert!(store.forget("r.example").unwrap());
        assert!(!store.forget("r.example/other").unwrap());
        let all = store.forget_all().unwrap();
        assert_eq!(all, ["docker.io", "docker.io/crew", "r.example/crew"]);
        assert!(store.forget_all().unwrap().is_empty());
        // A helper's logins are for whole registries.
        let text = r#"{"credHelpers": {"r.example": "none"}, "credsStore": "nothing"}"#;
        fs::write(&path, text).unwrap();
        let error = store
            .keep("r.example/crew", "a", "b")
            .unwrap_err()
            .to_string();
        assert!(error.contains("docker-credential-nothing"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        for text in ["[]", "hunter2", r#"{"auths": 3}"#] {
            fs::write(&path, text).unwrap();
            let store = AuthStore::find(Some(&path), false, &|_| None).unwrap();
            let error = store.keep("r.example", "a", "b").unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn places_of_logins() {
        let variable = |name: &str| {
            let value = match name {
                "HOME" => "/h",
                "XDG_RUNTIME_DIR" => "/run/u",
                _ => return None,
            };
            Some(PathBuf::from(value))
        };
        let place = |docker| AuthStore::find(None, docker, &variable).unwrap().path;
        assert_eq!(place(false), Path::new("/run/u/containers/auth.json"));
        assert_eq!(place(true), Path::new("/h/.docker/config.json"));
        let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/h"));
        let found = AuthStore::find(None, false, &home).unwrap().path;
        assert_eq!(found, Path::new("/h/.config/containers/auth.json"));
        assert_eq!(AuthStore::find(None, false, &|_| None), None);
    }
}
