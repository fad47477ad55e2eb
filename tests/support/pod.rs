//! A container as `OpenShift`'s restricted-v2 makes it, by runc: any user, the group 0, no capability,
//! `no_new_privs`, the engine's default system calls but for those that make namespaces, volumes of a foreign
//! group, little memory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use super::enclosure::Enclosure;
use super::process;

/// The group of volumes (`fsGroup`), which the processes' own group is not.
const FOREIGN_GROUP: u32 = 1_000_650_000;
/// Debian's list, after which those of CRI-O and podman are made.
const SYSTEM_CALLS: &str = "/usr/share/containers/seccomp.json";
const CLONE_NEW: u64 = 0x7e02_0000 | 0x80;

/// An image, unpacked, whose containers share volumes.
pub struct Pod {
    enclosure: Enclosure,
    rootfs: PathBuf,
    original: Value,
    steps: std::cell::Cell<u32>,
}

/// One container of the pod.
#[derive(Debug, Clone)]
pub struct Step {
    pub args: Vec<String>,
    pub env: Vec<String>,
    /// Of the host, inside, read-only.
    pub mounts: Vec<(PathBuf, String, bool)>,
    pub user: u32,
    pub group: u32,
    pub read_only: bool,
    pub memory: u64,
    /// Capabilities; a pod of the restricted kind has none.
    pub capabilities: Vec<&'static str>,
    /// The system calls as administrators allow them who let pods make namespaces.
    pub unconfined: bool,
    /// Engines mask parts of /proc, unless `procMount` is `Unmasked`.
    pub masked: bool,
    /// Refuses these besides.
    pub refused: Vec<&'static str>,
}

impl Step {
    pub fn new<S: Into<String>>(args: impl IntoIterator<Item = S>) -> Self {
        Self {
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            mounts: Vec::new(),
            user: 1_000_650_000,
            group: 0,
            read_only: true,
            memory: 512 << 20,
            capabilities: Vec::new(),
            unconfined: false,
            masked: true,
            refused: Vec::new(),
        }
    }

    pub fn env(mut self, pair: impl Into<String>) -> Self {
        self.env.push(pair.into());
        self
    }

    pub fn mount(mut self, host: &Path, inside: &str) -> Self {
        self.mounts
            .push((host.to_owned(), inside.to_owned(), false));
        self
    }

    pub fn mount_read_only(mut self, host: &Path, inside: &str) -> Self {
        self.mounts.push((host.to_owned(), inside.to_owned(), true));
        self
    }
}

impl Pod {
    /// Of a root that another test may use at the same time, and the image's runtime configuration. What lies
    /// in `own` of the pod's directory is on top of the root.
    #[track_caller]
    pub fn of(rootfs: PathBuf, original: Value) -> Self {
        let enclosure = Enclosure::new();
        fs::create_dir(enclosure.directory().join("own")).expect("a directory");
        Self {
            enclosure,
            rootfs,
            original,
            steps: std::cell::Cell::new(0),
        }
    }

    /// A directory of the pod's, where the tests' user may write.
    pub fn directory(&self) -> &Path {
        self.enclosure.directory()
    }

    /// A volume as kubelet makes an emptyDir: of root, of a foreign group whose it makes what is in it.
    #[track_caller]
    pub fn empty_directory(&self, name: &str) -> PathBuf {
        empty_directory(&self.enclosure, name)
    }

    /// Runs a container to its end.
    #[track_caller]
    pub fn run(&self, step: &Step) -> Output {
        let number = self.steps.get();
        self.steps.set(number + 1);
        let name = self.enclosure.cgroup();
        let id = format!("{}-{number}", name.trim_start_matches('/'));
        let place = self.enclosure.directory().join(&id);
        let root = place.join("root");
        process::run(
            self.enclosure
                .root("mkdir")
                .args(["-p", "-m", "755"])
                .args([&root, &place.join("upper"), &place.join("work")]),
        );
        // As engines have it: what a container writes is its own.
        process::run(
            self.enclosure
                .root("mount")
                .args(["-t", "overlay", "overlay", "-o"])
                .arg(format!(
                    "lowerdir={}:{},upperdir={},workdir={}",
                    self.enclosure.directory().join("own").display(),
                    self.rootfs.display(),
                    place.join("upper").display(),
                    place.join("work").display()
                ))
                .arg(&root),
        );
        if step.read_only {
            for (_, inside, _) in &step.mounts {
                let at = root.join(inside.trim_start_matches('/'));
                process::run(self.enclosure.root("mkdir").arg("-p").arg(at));
            }
        }
        let config = self.config(step, &root, &id).to_string();
        let draft = self.enclosure.directory().join(format!("{id}.json"));
        fs::write(&draft, config).expect("the runtime configuration");
        process::run(
            self.enclosure
                .root("cp")
                .arg(&draft)
                .arg(place.join("config.json")),
        );
        let mut command: Command = self.enclosure.root("runc");
        command
            .arg("--root")
            .arg(self.enclosure.directory().join("runc"))
            .arg("run")
            .arg("--bundle")
            .arg(&place)
            .arg(&id);
        process::output_within(&mut command, Duration::from_mins(8))
    }

    fn config(&self, step: &Step, root: &Path, id: &str) -> Value {
        let mut config = self.original.clone();
        config["root"] = json!({"path": root, "readonly": step.read_only});
        let process = &mut config["process"];
        process["terminal"] = json!(false);
        process["noNewPrivileges"] = json!(true);
        process["rlimits"] = json!([]);
        process["user"] =
            json!({"uid": step.user, "gid": step.group, "additionalGids": [FOREIGN_GROUP]});
        let capabilities = &step.capabilities;
        process["capabilities"] = json!({"bounding": capabilities, "effective": capabilities,
            "permitted": capabilities});
        process["args"] = json!(step.args);
        process["cwd"] = json!("/");
        if let Some(env) = process["env"].as_array_mut() {
            env.extend(step.env.iter().map(|pair| json!(pair)));
        }
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        for (host, inside, read_only) in &step.mounts {
            let access = if *read_only { "ro" } else { "rw" };
            mounts.push(
                json!({"destination": inside, "type": "bind", "source": host,
                "options": ["rbind", access]}),
            );
        }
        for name in [
            "/etc/resolv.conf",
            "/etc/hosts",
            "/etc/ssl/certs/ca-certificates.crt",
        ] {
            mounts.push(json!({"destination": name, "type": "bind", "source": name,
                "options": ["rbind", "ro"]}));
        }
        let linux = &mut config["linux"];
        linux["cgroupsPath"] = json!(format!("{}/{id}", self.enclosure.cgroup()));
        linux["resources"] = json!({"memory": {"limit": step.memory}, "pids": {"limit": 1024}});
        linux["seccomp"] = if step.unconfined {
            Value::Null
        } else {
            system_calls(step)
        };
        if !step.masked {
            linux["maskedPaths"] = json!([]);
            linux["readonlyPaths"] = json!([]);
        }
        if let Some(namespaces) = linux["namespaces"].as_array_mut() {
            namespaces.retain(|namespace| namespace["type"] != "network");
        }
        config
    }
}

/// A volume in an enclosure, as kubelet makes an emptyDir.
#[track_caller]
pub fn empty_directory(enclosure: &Enclosure, name: &str) -> PathBuf {
    let path = enclosure.directory().join(name);
    fs::create_dir(&path).expect("a volume");
    let group = format!("0:{FOREIGN_GROUP}");
    process::run(enclosure.root("chown").arg(group).arg(&path));
    process::run(enclosure.root("chmod").arg("2777").arg(&path));
    path
}

/// The same system calls in the form that engines read, without those that make namespaces.
pub fn profile_for_engines() -> Value {
    let text = fs::read_to_string(SYSTEM_CALLS)
        .unwrap_or_else(|error| panic!("{SYSTEM_CALLS} (make test-deps): {error}"));
    let mut profile: Value = serde_json::from_str(&text).expect("a profile");
    let rules = profile["syscalls"].as_array_mut().expect("rules");
    for rule in rules.iter_mut() {
        let names = rule["names"].as_array_mut().expect("names");
        names.retain(|name| {
            !["unshare", "clone", "clone3"].contains(&name.as_str().unwrap_or_default())
        });
    }
    rules.retain(|rule| {
        rule["names"]
            .as_array()
            .is_some_and(|names| !names.is_empty())
    });
    rules.push(
        json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [
        {"index": 0, "value": CLONE_NEW, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
        "comment": "", "includes": {}, "excludes": {}}),
    );
    rules.push(
        json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "args": [],
        "comment": "", "includes": {}, "excludes": {}}),
    );
    profile
}

/// The engine's profile in the runtime's form, without what a pod may not do: with CRI-O, what is not allowed
/// is not implemented.
fn system_calls(step: &Step) -> Value {
    let text = fs::read_to_string(SYSTEM_CALLS)
        .unwrap_or_else(|error| panic!("{SYSTEM_CALLS} (make test-deps): {error}"));
    let profile: Value = serde_json::from_str(&text).expect("a profile");
    let admin = step.capabilities.contains(&"CAP_SYS_ADMIN");
    let empty = Vec::new();
    let list = |value: &Value| value.as_array().unwrap_or(&empty).clone();
    let mut rules = Vec::new();
    for rule in list(&profile["syscalls"]) {
        let has = |key: &str| {
            let wanted = list(&rule[key]["caps"]);
            let given = |name: &Value| step.capabilities.iter().any(|it| name == it);
            (!wanted.is_empty()).then(|| wanted.iter().all(given))
        };
        let of_another_machine = list(&rule["includes"]["arches"]);
        let is_of_this =
            of_another_machine.is_empty() || of_another_machine.contains(&json!("amd64"));
        if has("includes") == Some(false) || has("excludes") == Some(true) || !is_of_this {
            continue;
        }
        let kept: Vec<Value> = list(&rule["names"])
            .into_iter()
            .filter(|name| {
                let name = name.as_str().unwrap_or_default();
                let makes_namespaces = matches!(name, "unshare" | "clone" | "clone3");
                (admin || !makes_namespaces) && !step.refused.contains(&name)
            })
            .collect();
        if kept.is_empty() {
            continue;
        }
        let mut one = json!({"names": kept, "action": rule["action"]});
        for key in ["args", "errnoRet"] {
            if !rule[key].is_null() {
                one[key] = rule[key].clone();
            }
        }
        rules.push(one);
    }
    if !admin {
        rules.push(
            json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [
            {"index": 0, "value": CLONE_NEW, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}),
        );
        rules.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}));
    }
    for name in &step.refused {
        rules.push(json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}));
    }
    json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": rules})
}

/// Lets every user read a tree.
pub fn readable(path: &Path) {
    process::run(Command::new("chmod").args(["-R", "a+rX"]).arg(path));
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o755));
}
