//! What to run from an image, and what is running: the same for every engine.

use std::io;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::http::{self, Response};
use super::process;

/// An arbitrary uid such as a strict Kubernetes gives a pod, with the root group.
pub const OPENSHIFT_USER: &str = "1000650000:0";

/// How long a server may take to answer its first request.
const FIRST_ANSWER: Duration = Duration::from_mins(1);

/// How to run an image. The network is always the host's.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// A name that the engine knows.
    pub image: String,
    /// `UID[:GID]`; the image's own user otherwise.
    pub user: Option<String>,
    /// A read-only root with a tmpfs on `/tmp` and nothing else to write to.
    pub read_only: bool,
    /// No capability at all.
    pub cap_drop_all: bool,
    pub no_new_privileges: bool,
    pub env: Vec<(String, String)>,
    /// The value of `PORT`; a free port where none is given.
    pub port: Option<u16>,
    /// Host path, path inside.
    pub volumes: Vec<(String, String)>,
    /// In place of the image's command.
    pub command: Vec<String>,
}

impl RunOptions {
    /// The image as it stands.
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            ..Self::default()
        }
    }

    /// The image as a strict cluster runs it: an arbitrary uid with gid 0, a read-only root, no
    /// capability and no way to get one.
    pub fn restricted(image: impl Into<String>) -> Self {
        Self {
            read_only: true,
            cap_drop_all: true,
            no_new_privileges: true,
            ..Self::new(image).user(OPENSHIFT_USER)
        }
    }

    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn command<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.command = command.into_iter().map(Into::into).collect();
        self
    }

    /// With a port for certain, and `PORT` set to it.
    pub(super) fn with_port(&self) -> (Self, u16) {
        let port = self.port.unwrap_or_else(http::free_port);
        (self.clone().env("PORT", port.to_string()), port)
    }

    /// The options of `docker run` and `podman run`, without image and command.
    pub(super) fn flags(&self) -> Vec<String> {
        let mut flags: Vec<String> = vec!["--network".into(), "host".into()];
        if let Some(user) = &self.user {
            flags.extend(["--user".into(), user.clone()]);
        }
        if self.read_only {
            flags.extend(["--read-only", "--tmpfs", "/tmp:rw,mode=1777"].map(String::from));
        }
        if self.cap_drop_all {
            flags.extend(["--cap-drop", "ALL"].map(String::from));
        }
        if self.no_new_privileges {
            flags.extend(["--security-opt", "no-new-privileges"].map(String::from));
        }
        for (name, value) in &self.env {
            flags.extend(["--env".into(), format!("{name}={value}")]);
        }
        for (host, inside) in &self.volumes {
            flags.extend(["--volume".into(), format!("{host}:{inside}")]);
        }
        flags
    }
}

/// A container that runs. It ends with the engine that runs it, or earlier by [`Running::stop`].
pub struct Running<'engine> {
    pub port: u16,
    pub id: String,
    pub(super) engine: &'engine dyn Engine,
}

/// What [`Running`] needs of an engine.
pub(super) trait Engine {
    fn exec(&self, id: &str) -> Command;
    fn logs(&self, id: &str) -> String;
    /// The exit code, once the container has ended.
    fn exit_code(&self, id: &str) -> Option<i32>;
    /// SIGTERM, and SIGKILL after `grace` seconds.
    fn stop(&self, id: &str, grace: u32);
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// 137 if it had to be killed.
    pub code: i32,
}

impl Running<'_> {
    /// Waits for the first answer to `GET /`.
    ///
    /// # Panics
    /// With the container's log, when there is none or the container ends.
    #[track_caller]
    pub fn wait(&self) -> Response {
        let begin = Instant::now();
        while begin.elapsed() < FIRST_ANSWER {
            if let Ok(response) = http::get(self.port, "/") {
                return response;
            }
            if let Some(code) = self.engine.exit_code(&self.id) {
                panic!(
                    "the container ended with {code} before it served anything:\n{}",
                    self.logs()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "no answer on port {} after {FIRST_ANSWER:?}:\n{}",
            self.port,
            self.logs()
        );
    }

    /// `GET path`, waiting for the server if it is not up yet.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.try_get(path).unwrap_or_else(|_| {
            self.wait();
            self.try_get(path)
                .unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.logs()))
        })
    }

    /// # Errors
    /// When the server does not answer.
    pub fn try_get(&self, path: &str) -> io::Result<Response> {
        http::get(self.port, path)
    }

    /// Runs a command in the container.
    #[track_caller]
    pub fn exec(&self, command: &[&str]) -> Output {
        process::output(self.engine.exec(&self.id).args(command))
    }

    /// Both streams, as far as they have come.
    pub fn logs(&self) -> String {
        self.engine.logs(&self.id)
    }

    /// Asks it to stop and kills it after ten seconds, as `docker stop` does.
    #[track_caller]
    pub fn stop(self) -> Stopped {
        self.engine.stop(&self.id, 10);
        let code = process::poll(Duration::from_secs(5), || self.engine.exit_code(&self.id))
            .unwrap_or_else(|| panic!("{} still runs after it was stopped", self.id));
        Stopped { code }
    }
}
