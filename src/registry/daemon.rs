//! The Docker daemon on its Unix socket: loading and saving images (Docker Engine API,
//! `POST /images/load`, `GET /images/NAME/get`). What is in the archives is `transport`'s business.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde::Deserialize;

use super::detail::detail;
use super::error::{RegistryError, tame};
use super::http::{Failure, Url, Watch, reader_body};
use super::progress::Silent;
use super::session::Client;
use crate::oci::Reference;

/// The daemon may think for long: it unpacks what it has got, and packs what it shall give.
const IDLE: Duration = Duration::from_mins(15);
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// A Docker daemon (or podman's service, which speaks the same).
pub struct Daemon<'c> {
    client: &'c Client,
    socket: PathBuf,
    connection: reqwest::Client,
}

/// One line of what the daemon tells while it loads.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    error: Option<String>,
}

impl Client {
    /// The daemon that `DOCKER_HOST` names, else the one on the usual socket.
    pub fn daemon(&self) -> Result<Daemon<'_>, RegistryError> {
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        let socket = if host.is_empty() {
            PathBuf::from("/var/run/docker.sock")
        } else {
            let path = host.strip_prefix("unix://").ok_or_else(|| RegistryError::Daemon {
                socket: tame(&host, 200),
                problem: "is not on a Unix socket, which is all that is supported: write a docker-archive and load it there".into(),
            })?;
            PathBuf::from(path)
        };
        Ok(Daemon {
            client: self,
            connection: self.agent.http.unix_client(&socket)?,
            socket,
        })
    }
}

impl Daemon<'_> {
    fn trouble(&self, problem: impl Into<String>) -> RegistryError {
        RegistryError::Daemon {
            socket: self.socket.display().to_string(),
            problem: problem.into(),
        }
    }

    fn lost(&self, failure: &Failure) -> RegistryError {
        self.trouble(format!("cannot be spoken to: {}", failure.cause))
    }

    fn url(&self, path: &str) -> Result<Url, RegistryError> {
        Url::parse(&format!("http://docker/{path}"))
            .map_err(|error| self.trouble(error.to_string()))
    }

    /// Gives the daemon an archive, as it is read.
    pub fn load(&self, archive: impl Read + Send + 'static) -> Result<(), RegistryError> {
        let url = self.url("images/load?quiet=1")?;
        let counter = Arc::new(AtomicU64::new(0));
        let request = self
            .connection
            .post(url.clone())
            .header("content-type", "application/x-tar")
            .body(reader_body(archive, Arc::clone(&counter)));
        let mut response = self
            .client
            .agent
            .http
            .drive(&url, request, IDLE, &counter, &Watch::NONE)
            .map_err(|failure| self.lost(&failure))?;
        if response.status() != 200 {
            let status = response.status();
            return Err(self.trouble(format!(
                "answered {status} to a load{}",
                detail(&mut response)
            )));
        }
        let bytes = response
            .bytes(MAX_ANSWER, &Silent)
            .map_err(|failure| self.lost(&failure))?
            .ok_or_else(|| self.trouble("told more than 4 MiB about a load"))?;
        // A load that fails half-way has been answered with 200 already.
        for told in serde_json::Deserializer::from_slice(&bytes).into_iter::<Told>() {
            if let Ok(Told { error: Some(error) }) = told {
                return Err(
                    self.trouble(format!("could not load the image: {}", tame(&error, 300)))
                );
            }
        }
        Ok(())
    }

    /// Writes an image of the daemon as an archive.
    pub fn save(&self, name: &Reference, into: &mut dyn Write) -> Result<(), RegistryError> {
        let url = self.url(&format!("images/{}/get", name.as_given()))?;
        let counter = AtomicU64::new(0);
        let mut response = self
            .client
            .agent
            .http
            .drive(
                &url,
                self.connection.get(url.clone()),
                IDLE,
                &counter,
                &Watch::NONE,
            )
            .map_err(|failure| self.lost(&failure))?;
        match response.status() {
            200 => {}
            404 => return Err(self.trouble(format!("has no image `{name}`"))),
            status => {
                return Err(self.trouble(format!(
                    "answered {status} to a save{}",
                    detail(&mut response)
                )));
            }
        }
        while let Some(chunk) = response
            .chunk(&Silent)
            .map_err(|failure| self.lost(&failure))?
        {
            into.write_all(chunk.as_ref())
                .map_err(|source| RegistryError::Local {
                    doing: format!("writing {name} as the Docker daemon gives it"),
                    source,
                })?;
        }
        Ok(())
    }
}
