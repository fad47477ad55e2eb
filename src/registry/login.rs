//! `login` and `logout`: a password is shown to the registry, and kept where podman or Docker keep theirs:
//! in an auth file, or with the credential helper that the file names for the registry.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use serde_json::{Value, json};

use super::auth::{Purpose, verify};
use super::credential::Secret;
use super::error::RegistryError;
use super::helper;
use super::progress::TransferListener;
use super::session::Client;

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

    /// Keeps a login. Gives the helper that keeps it, where it is not the file.
    pub fn keep(
        &self,
        registry: &str,
        user: &str,
        password: &str,
    ) -> Result<Option<String>, RegistryError> {
        let mut file = self.read()?;
        let server = server(registry);
        if let Some(name) = helper_of(&file, registry) {
            helper::store(&name, server, user, password).map_err(|problem| self.bad(problem))?;
            // Only a mark stays, as docker leaves it.
            self.entries(&mut file)?
                .insert(server.to_owned(), json!({}));
            self.write(&file)?;
            return Ok(Some(name));
        }
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.entries(&mut file)?
            .insert(server.to_owned(), json!({ "auth": auth }));
        self.write(&file)?;
        Ok(None)
    }

    /// Forgets the login of a registry. False when there was none.
    pub fn forget(&self, registry: &str) -> Result<bool, RegistryError> {
        let mut file = self.read()?;
        let server = server(registry);
        let helped = match helper_of(&file, registry) {
            Some(name) => helper::erase(&name, server).map_err(|problem| self.bad(problem))?,
            None => false,
        };
        let entries = self.entries(&mut file)?;
        let had = [server, registry]
            .iter()
            .filter(|name| entries.remove(**name).is_some())
            .count()
            > 0;
        if had {
            self.write(&file)?;
        }
        Ok(had || helped)
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
    ) -> Result<&'f mut serde_json::Map<String, Value>, RegistryError> {
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

    /// In place of the whole file at once, for its owner's eyes.
    fn write(&self, file: &Value) -> Result<(), RegistryError> {
        let failed = |error: std::io::Error| self.bad(error.to_string());
        // Through a link, the file that it means is replaced.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed)?;
        let mut new = tempfile::Builder::new()
            .prefix(".auth-")
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(directory)
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
