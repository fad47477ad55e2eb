//! A Docker daemon of the test's own: real, private, and gone when dropped.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::enclosure::{Enclosure, Inside};
use super::process;
use super::run::{Engine, RunOptions, Running};

/// `dockerd` with its own containerd, storage and socket.
pub struct Docker {
    enclosure: Enclosure, // first: its end is the daemon's and the containers'
    _daemon: Inside,
    client: PathBuf,
}

impl Docker {
    #[track_caller]
    pub fn start() -> Self {
        for name in ["containerd", "runc"] {
            process::tool(name);
        }
        let enclosure = Enclosure::new();
        let directory = enclosure.directory();
        // An empty one of our own: the machine's /etc/docker/daemon.json is none of our business.
        std::fs::write(directory.join("daemon.json"), "{}").expect("daemon.json");
        let path = |name: &str| directory.join(name).display().to_string();
        let mut daemon = enclosure.root("dockerd");
        daemon
            .args(["--config-file", &path("daemon.json"), "--log-level", "warn"])
            .args(["--host", &format!("unix://{}", path("docker.sock"))])
            .args([
                "--data-root",
                &path("data"),
                "--exec-root",
                &path("exec"),
                "--pidfile",
                &path("docker.pid"),
            ])
            // The tests' own user, root or not, may speak to it.
            .args([
                "--group",
                process::run(Command::new("id").arg("-gn")).trim(),
            ])
            // The containers use the host's network, so nothing of it needs a change.
            .args([
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
                "--ip-masq=false",
            ])
            // Without systemd, and in control groups that go with the enclosure.
            .args([
                "--exec-opt",
                "native.cgroupdriver=cgroupfs",
                "--cgroup-parent",
                &enclosure.cgroup(),
            ]);
        let daemon = Inside::spawn(&mut daemon, &directory.join("dockerd.log"));
        let this = Self {
            enclosure,
            _daemon: daemon,
            client: process::tool("docker"),
        };
        process::poll(Duration::from_mins(1), || {
            let ready = this.socket().exists()
                && process::output(this.command().arg("version"))
                    .status
                    .success();
            ready.then_some(())
        })
        .unwrap_or_else(|| panic!("dockerd does not start:\n{}", this.log()));
        this
    }

    pub fn socket(&self) -> PathBuf {
        self.enclosure.directory().join("docker.sock")
    }

    /// The value of `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.enclosure.directory().join("dockerd.log")).unwrap_or_default()
    }

    /// The client, talking to this daemon.
    pub fn command(&self) -> Command {
        // As root, to whom the socket belongs; with no configuration of the user's.
        let mut command = self.enclosure.root("env");
        command.arg(&self.client).arg("--host").arg(self.host());
        command
    }

    /// `docker load`, giving what it printed.
    #[track_caller]
    pub fn load(&self, archive: &Path) -> String {
        process::run(self.command().arg("load").arg("--input").arg(archive))
    }

    /// `docker pull`; a registry on the loopback needs no TLS.
    #[track_caller]
    pub fn pull(&self, reference: &str) {
        process::run(self.command().args(["pull", reference]));
    }

    /// `docker image inspect`.
    #[track_caller]
    pub fn inspect(&self, image: &str) -> serde_json::Value {
        let text = process::run(self.command().args(["image", "inspect", image]));
        let mut list: Vec<serde_json::Value> =
            serde_json::from_str(&text).expect("docker speaks JSON");
        list.remove(0)
    }

    /// Starts a container in the background.
    #[track_caller]
    pub fn run(&self, options: &RunOptions) -> Running<'_> {
        let (options, port) = options.with_port();
        let id = process::run(self.prepare(&options, &["--detach"]).args(&options.command));
        Running {
            port,
            id: id.trim().to_owned(),
            engine: self,
        }
    }

    /// Runs a container to its end.
    #[track_caller]
    pub fn output(&self, options: &RunOptions) -> Output {
        process::output(self.prepare(options, &["--rm"]).args(&options.command))
    }

    fn prepare(&self, options: &RunOptions, flags: &[&str]) -> Command {
        let mut command = self.command();
        command
            .arg("run")
            .args(flags)
            .args(options.flags())
            .arg(&options.image);
        command
    }
}

impl Engine for Docker {
    fn exec(&self, id: &str) -> Command {
        let mut command = self.command();
        command.args(["exec", id]);
        command
    }

    fn logs(&self, id: &str) -> String {
        process::words(&process::output(self.command().args(["logs", id])))
    }

    fn exit_code(&self, id: &str) -> Option<i32> {
        let format = "{{.State.Running}} {{.State.ExitCode}}";
        let text =
            process::run(
                self.command()
                    .args(["container", "inspect", "--format", format, id]),
            );
        text.trim().strip_prefix("false ")?.parse().ok()
    }

    fn stop(&self, id: &str, grace: u32) {
        process::run(
            self.command()
                .args(["stop", "--time", &grace.to_string(), id]),
        );
    }
}
