//! Podman as root with a storage of the test's own.

use std::path::Path;
use std::process::{Command, Output};

use super::enclosure::{Enclosure, Identity};
use super::run::{Engine, RunOptions, Running};
use super::{process, skopeo};

/// A podman that shares nothing with the machine's: not storage, locks, configuration or policy.
pub struct Podman {
    enclosure: Enclosure,
    env: Vec<String>,
}

impl Podman {
    #[track_caller]
    pub fn new() -> Self {
        process::tool("podman");
        process::tool("runc");
        let enclosure = Enclosure::new();
        let directory = enclosure.directory();
        let path = |name: &str| directory.join(name).display().to_string();
        let write = |name: &str, text: String| {
            std::fs::write(directory.join(name), text).expect("podman's settings");
        };
        // runc, because crun refuses hybrid control groups; limits of our own, because the default
        // ones raise hard limits, which takes CAP_SYS_RESOURCE; no systemd, no journal. No other
        // directories: the clean-up that runs when a container ends does not see this file, fails on
        // any difference, and `podman run` then waits for twenty seconds.
        write(
            "containers.conf",
            format!(
                r#"
                [containers]
                cgroupns = "host"
                default_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]
                log_driver = "k8s-file"
                netns = "host"
                [engine]
                cgroup_manager = "cgroupfs"
                events_logger = "file"
                runtime = "runc"
                tmp_dir = "{}/run/libpod"
                "#,
                directory.display()
            ),
        );
        write(
            "storage.conf",
            format!(
                "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
                path("storage"),
                path("run")
            ),
        );
        write(
            "registries.conf",
            "unqualified-search-registries = []\n".into(),
        );
        write("auth.json", "{}".into()); // podman insists that it exists
        let env = vec![
            format!("HOME={}", directory.display()),
            format!("CONTAINERS_CONF={}", path("containers.conf")),
            format!("CONTAINERS_STORAGE_CONF={}", path("storage.conf")),
            format!("CONTAINERS_REGISTRIES_CONF={}", path("registries.conf")),
            format!("REGISTRY_AUTH_FILE={}", path("auth.json")),
            format!("TMPDIR={}", directory.display()),
        ];
        Self { enclosure, env }
    }

    pub fn enclosure(&self) -> &Enclosure {
        &self.enclosure
    }

    pub fn command(&self) -> Command {
        self.other(process::tool("podman"))
    }

    /// Another program that shall find this podman's storage when it runs podman.
    pub fn other(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.enclosure.command(
            Identity::Root,
            self.enclosure.directory(),
            &self.env,
            program,
        )
    }

    /// `podman load` of a docker-archive or an oci-archive, giving what it printed.
    #[track_caller]
    pub fn load(&self, archive: &Path) -> String {
        process::run(self.command().arg("load").arg("--input").arg(archive))
    }

    /// `podman pull` of a transport's reference (`oci:DIR:TAG`, `docker://127.0.0.1:PORT/NAME`),
    /// giving the image's id.
    #[track_caller]
    pub fn pull(&self, reference: &str) -> String {
        // Podman makes a name of a layout's path and refuses a capital letter in it.
        let archive = format!(
            "oci-archive:{}:pulled",
            self.enclosure.directory().join("pulled.tar").display()
        );
        let reference = if reference.starts_with("oci:") {
            let _ = std::fs::remove_file(self.enclosure.directory().join("pulled.tar"));
            skopeo::copy(reference, &archive);
            &archive
        } else {
            reference
        };
        process::run(
            self.command()
                .args(["pull", "--quiet", "--tls-verify=false", reference]),
        )
        .trim()
        .to_owned()
    }

    /// `podman image inspect`.
    #[track_caller]
    pub fn inspect(&self, image: &str) -> serde_json::Value {
        let text = process::run(self.command().args(["image", "inspect", image]));
        let mut list: Vec<serde_json::Value> =
            serde_json::from_str(&text).expect("podman speaks JSON");
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
        command.arg("run").args(flags).args(options.flags());
        // Otherwise podman puts writable tmpfs on /run and /var/tmp as well.
        command.args([
            "--read-only-tmpfs=false",
            "--pull=never",
            "--cgroup-parent",
            &self.enclosure.cgroup(),
        ]);
        command.arg(&options.image);
        command
    }
}

impl Default for Podman {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for Podman {
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
