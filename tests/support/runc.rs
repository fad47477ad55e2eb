//! An image unpacked by umoci and run by runc: no engine in between that could mend anything.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::enclosure::{Enclosure, Inside};
use super::process;
use super::run::{Engine, RunOptions, Running};

/// What Docker leaves to a container.
const DEFAULT_CAPABILITIES: &[&str] = &[
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// A bundle of `tag` of a layout in an enclosure of its own, with this mode, and its configuration.
#[track_caller]
pub fn unpack(layout: &Path, tag: &str, mode: &str) -> (Enclosure, Value) {
    process::tool("runc");
    let enclosure = Enclosure::new();
    let bundle = enclosure.directory().join("bundle");
    let image = format!("{}:{tag}", layout.display());
    let mut unpack = enclosure.root("umoci");
    process::run(unpack.args(["unpack", "--image", &image]).arg(&bundle));
    process::run(enclosure.root("chmod").arg(mode).arg(&bundle));
    let text = process::run(enclosure.root("cat").arg(bundle.join("config.json")));
    let original = serde_json::from_str(&text).expect("umoci writes JSON");
    (enclosure, original)
}

/// A bundle made of an image in an OCI layout. It is unpacked once and can be run many times, with
/// one root for all runs.
pub struct Runc {
    enclosure: Enclosure, // first: its end is the containers'
    original: Value,
    children: Mutex<Vec<(String, Inside)>>,
}

impl Runc {
    /// Unpacks `tag` of the layout `layout`.
    #[track_caller]
    pub fn unpack(layout: &Path, tag: &str) -> Self {
        // For tests that look inside.
        let (enclosure, original) = unpack(layout, tag, "711");
        Self {
            enclosure,
            original,
            children: Mutex::default(),
        }
    }

    /// The unpacked root file system.
    pub fn rootfs(&self) -> PathBuf {
        self.enclosure.directory().join("bundle/rootfs")
    }

    /// The runtime configuration as umoci made it of the image's.
    pub fn config(&self) -> &Value {
        &self.original
    }

    /// Starts the image's command in the background; `options.image` is not looked at.
    #[track_caller]
    pub fn run(&self, options: &RunOptions) -> Running<'_> {
        let (options, port) = options.with_port();
        let mut children = self.children.lock().expect("no run panicked");
        let id = format!(
            "{}-{}",
            self.enclosure.cgroup().trim_start_matches('/'),
            children.len()
        );
        let mut command = self.prepare(&options, &id);
        let child = Inside::spawn(&mut command, &self.log_file(&id));
        children.push((id.clone(), child));
        Running {
            port,
            id,
            engine: self,
        }
    }

    /// Runs a container to its end.
    #[track_caller]
    pub fn output(&self, options: &RunOptions) -> Output {
        let id = format!("{}-once", self.enclosure.cgroup().trim_start_matches('/'));
        process::output(&mut self.prepare(options, &id))
    }

    fn command(&self) -> Command {
        let mut command = self.enclosure.root("runc");
        command
            .arg("--root")
            .arg(self.enclosure.directory().join("runc"));
        command
    }

    /// Writes a bundle for the options beside the root and gives the command that runs it.
    fn prepare(&self, options: &RunOptions, id: &str) -> Command {
        let bundle = self.enclosure.directory().join(id);
        process::run(
            self.enclosure
                .root("install")
                .args(["-d", "-m", "711"])
                .arg(&bundle),
        );
        let mut config = self.original.clone();
        self.apply(&mut config, options, id);
        // Written by the tests' own user, moved by the bundle's owner.
        let draft = self.enclosure.directory().join(format!("{id}.json"));
        std::fs::write(&draft, config.to_string()).expect("the runtime configuration");
        process::run(
            self.enclosure
                .root("cp")
                .arg(&draft)
                .arg(bundle.join("config.json")),
        );
        let mut command = self.command();
        command.arg("run").arg("--bundle").arg(&bundle).arg(id);
        command
    }

    fn apply(&self, config: &mut Value, options: &RunOptions, id: &str) {
        config["root"] = json!({"path": self.rootfs(), "readonly": options.read_only});
        let process = &mut config["process"];
        process["terminal"] = json!(false);
        process["noNewPrivileges"] = json!(options.no_new_privileges);
        process["rlimits"] = json!([]); // raising one takes CAP_SYS_RESOURCE
        let uid = match &options.user {
            Some(user) => {
                let (uid, gid) = user.split_once(':').unwrap_or((user, "0"));
                let number =
                    |text: &str| text.parse::<u32>().expect("runc takes numbers for a user");
                process["user"] = json!({"uid": number(uid), "gid": number(gid)});
                u64::from(number(uid))
            }
            None => process["user"]["uid"].as_u64().unwrap_or(0),
        };
        // As engines have it: a user other than root starts without effective capabilities.
        let bounding: &[&str] = if options.cap_drop_all {
            &[]
        } else {
            DEFAULT_CAPABILITIES
        };
        let effective = if uid == 0 { bounding } else { &[] };
        process["capabilities"] =
            json!({"bounding": bounding, "effective": effective, "permitted": effective});
        if !options.command.is_empty() {
            process["args"] = json!(options.command);
        }
        if let Some(env) = process["env"].as_array_mut() {
            env.extend(
                options
                    .env
                    .iter()
                    .map(|(name, value)| json!(format!("{name}={value}"))),
            );
        }
        if let Some(mounts) = config["mounts"].as_array_mut() {
            if options.read_only {
                mounts.push(json!({
                    "destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
                    "options": ["nosuid", "nodev", "mode=1777"],
                }));
            }
            for (host, inside) in &options.volumes {
                mounts.push(json!({
                    "destination": inside, "type": "bind", "source": host, "options": ["rbind", "rw"],
                }));
            }
        }
        config["linux"]["cgroupsPath"] = json!(format!("{}/{id}", self.enclosure.cgroup()));
        if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
            namespaces.retain(|namespace| namespace["type"] != "network");
        }
    }

    fn log_file(&self, id: &str) -> PathBuf {
        self.enclosure.directory().join(format!("{id}.log"))
    }
}

impl Engine for Runc {
    fn exec(&self, id: &str) -> Command {
        let mut command = self.command();
        command.args(["exec", id]);
        command
    }

    fn logs(&self, id: &str) -> String {
        std::fs::read_to_string(self.log_file(id)).unwrap_or_default()
    }

    fn exit_code(&self, id: &str) -> Option<i32> {
        let mut children = self.children.lock().expect("no run panicked");
        let (_, child) = children.iter_mut().find(|(known, _)| known == id)?;
        child.exit_code()
    }

    fn stop(&self, id: &str, grace: u32) {
        let signal = |name: &str| process::output(self.command().args(["kill", id, name]));
        signal("TERM");
        if process::poll(Duration::from_secs(grace.into()), || self.exit_code(id)).is_none() {
            signal("KILL");
        }
    }
}
