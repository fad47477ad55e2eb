//! Certificates for one host: `HOST/` in `~/.config/containers/certs.d`, `/etc/containers/certs.d` and
//! `/etc/docker/certs.d` (containers-certs.d(5)): `*.crt` are CAs, `NAME.cert` with `NAME.key` is a
//! client's. `--ca` names CAs for all hosts.
//!
//! The system's CAs come from rustls-platform-verifier, which honours `SSL_CERT_FILE` and
//! `SSL_CERT_DIR`.

use std::path::{Path, PathBuf};

use super::error::RegistryError;

/// Where such directories lie, when the options name none; the user's own first.
pub(crate) fn default_dirs() -> Vec<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || set("HOME").map(PathBuf::from);
    let own = set("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| home().map(|home| home.join(".config")));
    own.map(|config| config.join("containers/certs.d"))
        .into_iter()
        .chain(home().map(|home| home.join(".docker/certs.d")))
        .chain([
            PathBuf::from("/etc/containers/certs.d"),
            PathBuf::from("/etc/docker/certs.d"),
        ])
        .collect()
}

/// Gives a client the CAs of a file.
pub(crate) fn add_authorities(
    builder: reqwest::ClientBuilder,
    path: &Path,
) -> Result<reqwest::ClientBuilder, RegistryError> {
    let certificates = reqwest::Certificate::from_pem_bundle(&read(path)?)
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(|| bad(path, "there is no certificate in PEM form in it"))?;
    Ok(builder.tls_certs_merge(certificates))
}

/// Gives a client the certificates that the user has laid down for `authority` (`host[:port]`).
pub(crate) fn add(
    mut builder: reqwest::ClientBuilder,
    dirs: &[PathBuf],
    authority: &str,
) -> Result<reqwest::ClientBuilder, RegistryError> {
    for dir in dirs {
        let dir = dir.join(authority);
        let Ok(entries) = std::fs::read_dir(&dir) else {
            continue;
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => {
                    let certificates = reqwest::Certificate::from_pem_bundle(&read(&path)?)
                        .map_err(|_| bad(&path, "it is not a certificate in PEM form"))?;
                    builder = builder.tls_certs_merge(certificates);
                }
                Some("cert") => {
                    let mut pem = read(&path.with_extension("key"))?;
                    pem.push(b'\n');
                    pem.extend(read(&path)?);
                    let identity = reqwest::Identity::from_pem(&pem).map_err(|_| {
                        bad(
                            &path,
                            "it and its .key are not a client certificate in PEM form",
                        )
                    })?;
                    builder = builder.identity(identity);
                }
                _ => {}
            }
        }
    }
    Ok(builder)
}

/// The file of the client certificate that [`add`] gives for `authority`.
pub(crate) fn own(dirs: &[PathBuf], authority: &str) -> Option<PathBuf> {
    let entries = dirs
        .iter()
        .filter_map(|dir| std::fs::read_dir(dir.join(authority)).ok());
    let paths = entries.flatten().flatten().map(|entry| entry.path());
    // The last one counts, as there.
    let mut found: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "cert"))
        .collect();
    found.sort();
    found.pop()
}

fn bad(path: &Path, problem: &str) -> RegistryError {
    RegistryError::File {
        path: path.to_owned(),
        problem: problem.to_owned(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RegistryError> {
    std::fs::read(path).map_err(|error| bad(path, &error.to_string()))
}
