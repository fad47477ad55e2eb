//! Builds in pods: in place, as `OpenShift`'s restricted-v2 has them, and pushed by another step. The pod is
//! runc's, the registry Debian's.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::support::kept::Kept;
use crate::support::pod::{Pod, Step, empty_directory, profile_for_engines, readable};
use crate::support::podman::Podman;
use crate::support::process::{self, words};
use crate::support::registry::Registry;
use crate::support::warpdrive::{
    PYTHON_39, PYTHON_311, PYTHON_311_RUN, Warpdrive, binary, copy_of, example,
};

/// A builder, its pod's image in a registry, and that image unpacked.
pub(crate) struct Cluster {
    pub(crate) warpdrive: Warpdrive,
    pub(crate) registry: Registry,
    pub(crate) pod: Pod,
}

/// The pod's image of a builder, unpacked into `rootfs`, and a registry that has it, in `registry`; with the
/// image's runtime configuration. Made once for each executable, below the target directory.
fn kept_pod(builder: &'static str) -> (PathBuf, Value) {
    let kept = Kept::lock(&format!("pod-{builder}")).directory_or(|to| {
        let warpdrive = Warpdrive::with(builder);
        let registry = Registry::start();
        let target = registry.reference(BUILDER);
        push_builder(&warpdrive, builder, &target);
        let layout = warpdrive.place().join("pod");
        let place = format!("oci:{}:pod", layout.display());
        warpdrive.run(&["copy", &format!("docker://{target}"), &place]);
        let (enclosure, original) = crate::support::runc::unpack(&layout, "pod", "755");
        let rootfs = enclosure.directory().join("bundle/rootfs");
        process::run(
            enclosure
                .root("cp")
                .arg("--archive")
                .args([&rootfs, &to.join("rootfs")]),
        );
        registry.keep(&to.join("registry"));
        fs::write(to.join("config.json"), original.to_string()).unwrap();
    });
    let original = fs::read(kept.join("config.json")).unwrap();
    (kept, serde_json::from_slice(&original).unwrap())
}

/// The repository of the pod's image.
const BUILDER: &str = "builders/python:1";

/// The executable that pods get, without what debuggers read.
fn stripped(place: &Path) -> PathBuf {
    let program = place.join("warpdrive");
    let mut strip = Command::new("strip");
    process::run(strip.arg("-o").arg(&program).arg(binary()));
    program
}

impl Cluster {
    pub(crate) fn new(builder: &'static str) -> Self {
        let warpdrive = Warpdrive::with(builder);
        let (kept, original) = kept_pod(builder);
        let registry = Registry::start_on(&kept.join("registry"));
        let pod = Pod::of(kept.join("rootfs"), original);
        // The image says where it lies: this registry has a port of its own.
        let own = pod.directory().join("own/opt/warpdrive");
        fs::create_dir_all(&own).unwrap();
        let text = fs::read_to_string(kept.join("rootfs/opt/warpdrive/base.json")).unwrap();
        let mut base: Value = serde_json::from_str(&text).unwrap();
        let (repository, _) = BUILDER.split_once(':').unwrap();
        base["repository"] = registry.reference(repository).into();
        fs::write(own.join("base.json"), base.to_string()).unwrap();
        Self {
            warpdrive,
            registry,
            pod,
        }
    }

    fn build(name: &str, source: &Path) -> Step {
        readable(source);
        Step::new([
            "/opt/warpdrive/bin/warpdrive",
            "image",
            name,
            "--in-place",
            "--path",
            "/workspace/source",
            "--output",
            "oci:/out/image",
            "--json",
        ])
        .env("HOME=/tmp/home")
        .mount_read_only(source, "/workspace/source")
    }

    /// Volumes for a step: the application's root, a place for temporary files, one for what it gives.
    fn volumes(&self, step: Step, name: &str) -> Step {
        step.mount(
            &self.pod.empty_directory(&format!("{name}-app-root")),
            "/opt/app-root",
        )
        .mount(&self.pod.empty_directory(&format!("{name}-tmp")), "/tmp")
        .mount(&self.pod.empty_directory(&format!("{name}-out")), "/out")
    }

    fn out(&self, name: &str) -> PathBuf {
        self.pod.directory().join(format!("{name}-out"))
    }

    fn push(&self, name: &str, target: &str) -> Step {
        let results = self.pod.directory().join(format!("{name}-results"));
        if !results.exists() {
            self.pod.empty_directory(&format!("{name}-results"));
        }
        let tmp = self.pod.empty_directory(&format!("{name}-tmp-push"));
        let file = |what: &str, file: &str| format!("{what}=/results/{file}");
        let mut args: Vec<String> = [
            "/opt/warpdrive/bin/warpdrive",
            "push",
            target,
            "--from",
            "oci:/out/image",
        ]
        .map(str::to_owned)
        .to_vec();
        for (what, to) in [
            ("digest", "IMAGE_DIGEST"),
            ("url", "IMAGE_URL"),
            ("size", "size"),
            ("commit", "commit"),
            ("source-url", "source-url"),
            ("error-reason", "reason"),
            ("error-message", "message"),
        ] {
            args.extend(["--result".to_owned(), file(what, to)]);
        }
        Step::new(args)
            .env("HOME=/tmp/home")
            .mount(&tmp, "/tmp")
            .mount(&results, "/results")
            .mount_read_only(&self.out(name), "/out")
    }

    fn result(&self, name: &str, file: &str) -> String {
        let results = self.pod.directory().join(format!("{name}-results"));
        fs::read_to_string(results.join(file)).unwrap()
    }
}

#[track_caller]
fn push_builder(warpdrive: &Warpdrive, builder: &str, target: &str) -> Value {
    let mut push = Command::new(stripped(&warpdrive.place()));
    push.arg("--store").arg(warpdrive.store());
    let text = process::run(push.args(["builder", "push", builder, target, "--json"]));
    serde_json::from_str(&text).unwrap()
}

#[track_caller]
fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", words(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refused(output: &Output, status: i32, parts: &[&str]) {
    let words = words(output);
    assert_eq!(output.status.code(), Some(status), "{words}");
    for part in parts {
        assert!(words.contains(part), "`{part}` is missing in:\n{words}");
    }
}

/// Builds an example as root in a sandbox and in a pod, in place.
#[track_caller]
fn same_as_roots(cluster: &Cluster, name: &str, step: impl Fn(Step) -> Step) -> Value {
    let source = copy_of(&example(name), true);
    let expected = cluster.warpdrive.image(name, source.path(), &[]);
    let built = cluster.pod.run(&step(
        cluster.volumes(Cluster::build(name, source.path()), name),
    ));
    let built = report(&built);
    assert_eq!(
        built["digest"], expected["digest"],
        "\n{}\n{}",
        built["layers"], expected["layers"]
    );
    built
}

#[test]
fn flask_is_built_in_place_and_pushed_by_another_step() {
    let cluster = Cluster::new(PYTHON_311);
    let built = same_as_roots(&cluster, "flask", |step| step);
    assert_eq!(built["audit"]["verdict"], "passed", "{built}");

    // Results replace files and links of another step.
    let results = cluster.pod.empty_directory("flask-results");
    fs::write(results.join("IMAGE_URL"), "evil.example/app").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", results.join("IMAGE_DIGEST")).unwrap();
    let target = cluster.registry.reference("team/flask:1");
    let pushed = cluster.pod.run(&cluster.push("flask", &target));
    assert!(pushed.status.success(), "{}", words(&pushed));
    assert_eq!(cluster.result("flask", "IMAGE_DIGEST"), built["digest"]);
    assert_eq!(cluster.result("flask", "IMAGE_URL"), target);
    assert_eq!(cluster.result("flask", "reason"), "");
    assert_eq!(cluster.result("flask", "commit").len(), 40);
    let size: u64 = cluster.result("flask", "size").parse().unwrap();
    assert!(size > 1_000_000, "{size}");
    // The base was never here: its layers are mounted.
    let base = built["layers"].as_array().unwrap().iter();
    let base = base.filter(|layer| layer["kind"] == "base");
    for layer in base {
        let file = layer["digest"]
            .as_str()
            .unwrap()
            .replace("sha256:", "blobs/sha256/");
        assert!(!cluster.out("flask").join("image").join(file).exists());
    }
    assert!(words(&pushed).contains("mounted"), "{}", words(&pushed));
    let served = cluster.warpdrive.output(&["pull", &target]);
    assert!(served.status.success(), "{}", words(&served));
}

/// The same kind of pod, of another engine.
#[test]
fn flask_has_roots_digest_in_a_container_of_podmans() {
    let warpdrive = Warpdrive::with(PYTHON_311);
    let registry = Registry::start();
    let target = registry.reference(BUILDER);
    push_builder(&warpdrive, PYTHON_311, &target);
    let source = copy_of(&example("flask"), true);
    readable(source.path());
    let expected = warpdrive.image("flask", source.path(), &[]);
    let podman = Podman::new();
    let image = podman.pull(&format!("docker://{target}"));
    let enclosure = podman.enclosure();
    let profile = enclosure.directory().join("seccomp.json");
    fs::write(&profile, profile_for_engines().to_string()).unwrap();
    let cgroup = enclosure.cgroup();
    let mut run = podman.command();
    run.args([
        "run",
        "--rm",
        "--pull=never",
        "--read-only",
        "--read-only-tmpfs=false",
    ])
    .args([
        "--user",
        "1000650000:0",
        "--group-add",
        "1000650000",
        "--workdir",
        "/",
    ])
    .args(["--cap-drop=ALL", "--security-opt", "no-new-privileges"])
    .args(["--security-opt", &format!("seccomp={}", profile.display())])
    .args([
        "--memory",
        "512m",
        "--pids-limit",
        "1024",
        "--cgroup-parent",
        &cgroup,
    ])
    .args(["--env", "HOME=/tmp/home"]);
    for (name, inside) in [("root", "/opt/app-root"), ("tmp", "/tmp"), ("out", "/out")] {
        let volume = empty_directory(enclosure, name);
        run.args(["--volume", &format!("{}:{inside}", volume.display())]);
    }
    let step = Cluster::build("flask", source.path());
    let certificates = Path::new("/etc/ssl/certs/ca-certificates.crt");
    let shown = [
        (source.path(), "/workspace/source"),
        (certificates, certificates.to_str().unwrap()),
    ];
    for (host, inside) in shown {
        run.args(["--volume", &format!("{}:{inside}:ro", host.display())]);
    }
    run.arg(image).args(&step.args);
    let built = report(&process::output_within(&mut run, Duration::from_mins(8)));
    assert_eq!(built["digest"], expected["digest"]);
}

#[test]
fn every_example_has_roots_digest_in_place() {
    let cluster = Cluster::new(PYTHON_311);
    for name in ["django", "fastapi", "sdist", "notebook"] {
        same_as_roots(&cluster, name, |step| step);
    }
    // As OpenShift Pipelines have it: the image's own user, and a root that can be written.
    let source = copy_of(&example("flask"), true);
    let expected = cluster.warpdrive.image("own-user", source.path(), &[]);
    let mut step = Cluster::build("own-user", source.path())
        .mount(&cluster.pod.empty_directory("own-user-out"), "/out");
    (step.user, step.read_only) = (1001, false);
    let built = report(&cluster.pod.run(&step));
    assert_eq!(built["digest"], expected["digest"]);
    // The pod's image is the same for everyone.
    let push = |name: &str| {
        let target = cluster.registry.reference(name);
        push_builder(&cluster.warpdrive, PYTHON_311, &target)["digest"].clone()
    };
    assert_eq!(push("builders/python:2"), push("builders/python:3"));
}

#[test]
fn what_the_set_up_of_a_cluster_leaves_behind_is_refused_by_its_name() {
    let cluster = Cluster::new(PYTHON_311_RUN);
    let source = copy_of(&example("flask"), false);
    let build = |name: &str| cluster.volumes(Cluster::build("app", source.path()), name);
    // Tekton's creds-init, with a HOME in the application's root.
    let step = build("creds");
    let login = cluster.pod.directory().join("creds-app-root/.docker");
    fs::create_dir(&login).unwrap();
    fs::write(login.join("config.json"), r#"{"auths": {}}"#).unwrap();
    readable(&login);
    let parts = [
        "/opt/app-root/.docker/config.json",
        "creds-init",
        "HOME=/tmp/home",
    ];
    refused(&cluster.pod.run(&step), 1, &parts);
    assert!(!cluster.out("creds").join("image").exists());

    let home = build("home").env("HOME=/opt/app-root/src");
    refused(
        &cluster.pod.run(&home),
        1,
        &["HOME is /opt/app-root/src", "HOME=/tmp/home"],
    );

    // Engines make the working directory in a volume, as root.
    let step = build("workdir");
    let made = cluster.pod.directory().join("workdir-app-root/src");
    fs::create_dir(&made).unwrap();
    process::run(Command::new("chmod").arg("755").arg(&made));
    report(&cluster.pod.run(&step));

    // A read-only root without a volume.
    let step = Cluster::build("app", source.path())
        .mount(&cluster.pod.empty_directory("ro-tmp"), "/tmp")
        .mount(&cluster.pod.empty_directory("ro-out"), "/out");
    refused(
        &cluster.pod.run(&step),
        1,
        &["/opt/app-root cannot be written to", "emptyDir"],
    );

    let mut root = build("root");
    root.user = 0;
    refused(
        &cluster.pod.run(&root),
        1,
        &["this process is root", "runAsNonRoot"],
    );

    // This very executable is found first, and knows what it is in.
    let doctor = Step::new(["warpdrive", "doctor"])
        .env("HOME=/tmp/home")
        .env("KUBERNETES_SERVICE_HOST=10.0.0.1")
        .mount(&cluster.pod.empty_directory("doctor-tmp"), "/tmp");
    let said = cluster.pod.run(&doctor);
    assert!(said.status.success(), "{}", words(&said));
    for part in [
        "builds on debian-12-python-3.11",
        "can be built here, in place",
    ] {
        assert!(words(&said).contains(part), "{part}: {}", words(&said));
    }
    for wrong in ["as root", "apt-get", "systemd-run", "usermod"] {
        assert!(!words(&said).contains(wrong), "{wrong}: {}", words(&said));
    }
    // In a pod from another image, the advice is for pods too.
    let plain = Step::new(["warpdrive", "image", "app", "--path", "/workspace/source"])
        .env("HOME=/tmp/home")
        .env("KUBERNETES_SERVICE_HOST=10.0.0.1")
        .mount(&cluster.pod.empty_directory("plain-tmp"), "/tmp")
        .mount_read_only(source.path(), "/workspace/source");
    refused(
        &cluster.pod.run(&plain),
        1,
        &["creating a user namespace", "this is a pod"],
    );
}

#[test]
fn what_another_step_wrote_is_pushed_only_as_it_should_be() {
    let cluster = Cluster::new(PYTHON_311_RUN);
    let source = copy_of(&example("flask"), false);
    let step = cluster.volumes(Cluster::build("app", source.path()), "good");
    let built = report(&cluster.pod.run(&step));
    let good = cluster.out("good").join("image");
    let copy = |name: &str| {
        let out = cluster.pod.empty_directory(&format!("{name}-out"));
        process::run(Command::new("cp").arg("-a").arg(&good).arg(&out));
        out.join("image")
    };
    let target = cluster.registry.reference("team/app:1");
    let pushes = |name: &str, target: &str, status: i32, parts: &[&str]| {
        let output = cluster.pod.run(&cluster.push(name, target));
        refused(&output, status, parts);
        assert_eq!(cluster.result(name, "IMAGE_DIGEST"), "");
        cluster.result(name, "reason")
    };
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let blob = |layout: &Path, digest: &Value| {
        layout.join(digest.as_str().unwrap().replace("sha256:", "blobs/sha256/"))
    };

    // Other bytes under the digest of a layer.
    let layout = copy("bytes");
    let layers = built["layers"].as_array().unwrap();
    let layer = blob(&layout, &layers.last().unwrap()["digest"]);
    let mut bytes = fs::read(&layer).unwrap();
    bytes[20] ^= 1;
    fs::write(&layer, bytes).unwrap();
    pushes("bytes", &target, 1, &["digest"]);

    // A manifest of its own making: another base, or content that the configuration does not name.
    let forge = |name: &str, change: &dyn Fn(&mut Value, &mut Value)| {
        let layout = copy(name);
        let index = read(&layout.join("index.json"));
        let mut manifest = read(&blob(&layout, &index["manifests"][0]["digest"]));
        let mut config = read(&blob(&layout, &manifest["config"]["digest"]));
        change(&mut manifest, &mut config);
        let put = |value: &Value| {
            let bytes = value.to_string().into_bytes();
            let digest = warpdrive::oci::sha256(&bytes).to_string();
            fs::write(
                layout.join(digest.replace("sha256:", "blobs/sha256/")),
                &bytes,
            )
            .unwrap();
            (digest, bytes.len())
        };
        let (digest, size) = put(&config);
        manifest["config"]["digest"] = digest.into();
        manifest["config"]["size"] = size.into();
        let (digest, size) = put(&manifest);
        let mut index = index;
        index["manifests"][0]["digest"] = digest.into();
        index["manifests"][0]["size"] = size.into();
        fs::write(layout.join("index.json"), index.to_string()).unwrap();
    };
    let remove_first = |value: &mut Value| {
        value.as_array_mut().unwrap().remove(0);
    };
    forge("no-base", &|manifest, config| {
        remove_first(&mut manifest["layers"]);
        remove_first(&mut config["rootfs"]["diff_ids"]);
    });
    let reason = pushes("no-base", &target, 4, &["is not that of the base"]);
    assert_eq!(reason, "BaseOther");
    forge("exchanged", &|_, config| {
        let ids = config["rootfs"]["diff_ids"].as_array_mut().unwrap();
        let last = ids.len() - 1;
        ids[last] = ids[0].clone();
    });
    let reason = pushes("exchanged", &target, 4, &["differs from its configuration"]);
    assert_eq!(reason, "LayerOther");
    forge("lost", &|manifest, _| {
        let layers = manifest["layers"].as_array_mut().unwrap();
        let last = layers.len() - 1;
        layers[last]["digest"] = format!("sha256:{}", "0".repeat(64)).into();
    });
    pushes("lost", &target, 1, &["is missing"]);

    // A link in the layout leads to nothing of this step's.
    let layout = copy("link");
    let index = layout.join("index.json");
    fs::remove_file(&index).unwrap();
    std::os::unix::fs::symlink("/opt/warpdrive/base.json", &index).unwrap();
    pushes("link", &target, 1, &["index.json"]);

    // A registry that does not have the base.
    let other = Registry::start();
    copy("elsewhere");
    let target = other.reference("team/app:1");
    let reason = pushes(
        "elsewhere",
        &target,
        5,
        &["does not have the base layer", "builder push"],
    );
    assert_eq!(reason, "BaseElsewhere");
    assert!(other.tags("team/app").is_empty());
}

/// Tries to reach what is not the application's, and says of each thing whether it could. Python and the
/// standard library alone.
const ATTACKS: &str = r#"
import ctypes, os, resource, signal, socket, sys

def others():
    own = {str(os.getpid()), str(os.getppid())}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if pid not in own and os.stat("/proc/" + pid).st_uid in (os.getuid(), 0):
                # Its own, which the build has started: whatever becomes of that.
                if "4242" in open("/proc/%s/cmdline" % pid).read():
                    continue
                if open("/proc/%s/comm" % pid).read().strip() in ("sleep", "warpdrive", "exe", "memfd:warpdrive"):
                    yield pid
        except OSError:
            pass

def environ():
    return any(b"MARKER" in open("/proc/%s/environ" % pid, "rb").read() for pid in others())

def each(what):
    for pid in others():
        try:
            if what(int(pid)):
                return True
        except OSError:
            pass
    return False

def memory(pid):
    with open("/proc/%d/maps" % pid) as maps:
        start = int(maps.readline().split("-")[0], 16)
    with open("/proc/%d/mem" % pid, "rb") as mem:
        mem.seek(start)
        return bool(mem.read(4))

libc = ctypes.CDLL(None, use_errno=True)
def trace(pid):
    if libc.ptrace(16, pid, 0, 0) != 0:
        return False
    os.waitpid(pid, 0x40000000)
    libc.ptrace(17, pid, 0, 0)
    return True

def read(path):
    return lambda: bool(open(path, "rb").read(1))

def write(path):
    def attempt():
        open(path, "w").write("evil")
        return True
    return attempt

def registry():
    host, port = open("/opt/app-root/registry" if os.path.exists("/opt/app-root/registry") else "registry").read().strip().split(":")
    return host, int(port)

def connect():
    socket.create_connection(registry(), 5).close()
    return True

def multipath():
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).connect(registry())
    return True

FAST_OPEN = 0x20000000
def fast_open():
    return socket.socket().sendto(b"x", FAST_OPEN, registry()) == 1

def fast_open_of_a_message():
    return socket.socket().sendmsg([b"x"], [], FAST_OPEN, registry()) == 1

def fast_open_by_option():
    opened = socket.socket()
    opened.setsockopt(socket.IPPROTO_TCP, 30, 1)
    opened.connect(registry())
    return opened.send(b"x") == 1

def datagram():
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"x", "/agent/datagrams") == 1

def agent():
    opened = socket.socket(socket.AF_UNIX)
    opened.connect("/agent/socket")
    return True

for name, attempt in [
    ("environ", lambda: each(lambda pid: b"MARKER" in open("/proc/%d/environ" % pid, "rb").read())),
    ("memory", lambda: each(memory)),
    ("ptrace", lambda: each(trace)),
    ("signal", lambda: each(lambda pid: os.kill(pid, 0) is None)),
    ("docker", read("/creds/config.json")),
    ("token", read("/var/run/secrets/kubernetes.io/serviceaccount/token")),
    ("shared", write("/shared/evil")),
    ("truncate", lambda: os.truncate("/shared/kept", 0) is None),
    ("result", write("/results/IMAGE_URL")),
    ("source", read("/workspace/source/wsgi.py")),
    ("store", lambda: bool(os.listdir("/tmp/home/.local/share/warpdrive/blobs/sha256"))),
    ("temporary", write("/tmp/evil")),
    ("registry", connect),
    ("multipath", multipath),
    ("fast-open", fast_open),
    ("fast-open-message", fast_open_of_a_message),
    ("fast-open-option", fast_open_by_option),
    ("agent", agent),
    ("datagram", datagram),
    ("volume-lib", read("/lib/app/key")),
    ("volume-etc", read("/etc/app/key")),
    ("volume-opt", read("/opt/app/key")),
    ("volume-usr", read("/usr/local/share/app/key")),
    ("limits", lambda: each(lambda pid: resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0)) is not None)),
    ("priority", lambda: each(lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 19) is None)),
    ("priority-user", lambda: os.setpriority(os.PRIO_USER, 0, 19) is None),
    ("scheduler", lambda: each(lambda pid: os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0)) is None)),
]:
    try:
        done = attempt()
    except OSError:
        done = False
    print("attack %s %s" % (name, "succeeds" if done else "fails"), flush=True)

# What every build does works all the same.
import asyncio, multiprocessing, ssl, subprocess, tempfile
ssl.create_default_context()
asyncio.run(asyncio.sleep(0))
socket.getaddrinfo("localhost", 80)
os.nice(1)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(abs, [-1]) == [1]
assert subprocess.run(["true"]).returncode == 0
with tempfile.TemporaryFile() as file:
    file.write(b"x")
print("work is done", flush=True)
"#;

#[test]
fn the_fence_holds_where_each_attack_succeeds_without_it() {
    let cluster = Cluster::new(PYTHON_311_RUN);
    let source = tempfile::tempdir().unwrap();
    let file = |path: &str, text: &str| {
        let path = source.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    file("wsgi.py", crate::support::package_index::WSGI);
    file("attacks.py", ATTACKS);
    file("registry", cluster.registry.address());
    file(
        ".warpdrive/action_hooks/build",
        "#!/bin/sh\nsetsid sleep 4242 >/dev/null 2>&1 &\nexec python attacks.py\n",
    );
    let hook = source.path().join(".warpdrive/action_hooks/build");
    process::run(Command::new("chmod").arg("755").arg(hook));
    let secret = cluster.pod.empty_directory("creds");
    fs::write(secret.join("config.json"), r#"{"auths": {}}"#).unwrap();
    let token = cluster.pod.empty_directory("token");
    fs::write(token.join("token"), "t").unwrap();
    readable(&secret);
    readable(&token);
    let shared = cluster.pod.empty_directory("shared");
    let volume = cluster.pod.empty_directory("volume");
    fs::write(volume.join("key"), "k").unwrap();
    readable(&volume);
    // Its path has to be short.
    let agent = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(agent.path().join("socket")).unwrap();
    let datagrams = UnixDatagram::bind(agent.path().join("datagrams")).unwrap();
    process::run(Command::new("chmod").args(["-R", "777"]).arg(agent.path()));
    let step = |name: &str, args: &[&str]| {
        fs::write(shared.join("kept"), "kept").unwrap();
        process::run(Command::new("chmod").arg("666").arg(shared.join("kept")));
        let results = cluster.pod.empty_directory(&format!("{name}-results"));
        let build = Cluster::build("app", source.path());
        let line = [build.args.join(" "), args.join(" ")].join(" ");
        let mut step = cluster
            .volumes(build, name)
            .env("MARKER=secret")
            .env("DOCKER_CONFIG=/creds")
            .mount(&shared, "/shared")
            .mount(&results, "/results")
            .mount_read_only(&secret, "/creds")
            .mount_read_only(&token, "/var/run/secrets/kubernetes.io/serviceaccount")
            .mount_read_only(agent.path(), "/agent")
            .mount_read_only(&volume, "/etc/app")
            .mount_read_only(&volume, "/opt/app")
            .mount_read_only(&volume, "/usr/local/share/app")
            .mount_read_only(&volume, "/usr/lib/app");
        // Beside warpdrive, another process of this step.
        step.args = [
            "sh",
            "-c",
            &format!(
                "sleep 600 & {line}; status=$?; kill $!; \
                 for c in /proc/[0-9]*/cmdline; do \
                 case \"$(tr '\\0' ' ' < $c)\" in 'sleep 4242 ') echo left behind >&2;; esac; \
                 done; exit $status"
            ),
        ]
        .map(str::to_owned)
        .to_vec();
        step
    };
    let outcome = |output: &Output| -> Vec<(String, bool)> {
        let text = words(output);
        text.lines()
            .filter_map(|line| line.trim().split_once("attack ")?.1.split_once(' '))
            .map(|(name, how)| (name.to_owned(), how == "succeeds"))
            .collect()
    };

    // Without anything around it, all succeed.
    let mut bare = step("bare", &[]);
    bare.args = [
        "sh",
        "-c",
        "mkdir -p /tmp/home/.local/share/warpdrive/blobs/sha256/x; sleep 600 & \
         cd /workspace/source && python3 attacks.py; status=$?; kill $!; exit $status",
    ]
    .map(str::to_owned)
    .to_vec();
    let output = cluster.pod.run(&bare);
    let found = outcome(&output);
    assert_eq!(found.len(), 27, "{}", words(&output));
    for (name, succeeds) in &found {
        assert!(succeeds, "{name} without the fence: {}", words(&output));
    }

    // Behind the fence none does. With a credential in reach, it is required.
    let output = cluster.pod.run(&step("fenced", &[]));
    report(&output);
    assert!(
        words(&output).contains("work is done"),
        "{}",
        words(&output)
    );
    let found = outcome(&output);
    assert_eq!(found.len(), 27, "{}", words(&output));
    for (name, succeeds) in &found {
        assert!(!succeeds, "{name} behind the fence: {}", words(&output));
    }
    assert_eq!(fs::read_to_string(shared.join("kept")).unwrap(), "kept");
    // The list of system calls alone stops the attacks that it is for.
    let output = cluster.pod.run(&step("off", &["--fence", "off"]));
    report(&output);
    for (name, succeeds) in outcome(&output) {
        assert_eq!(
            succeeds,
            name != "ptrace",
            "{name} with --fence off: {}",
            words(&output)
        );
    }

    // Without Landlock there is no build with a credential in reach, and none with `require`.
    let mut without = step("without", &[]);
    without.refused = vec!["landlock_create_ruleset"];
    let output = cluster.pod.run(&without);
    refused(
        &output,
        1,
        &["no Landlock", "/creds/config.json", "no-fence"],
    );
    let source = copy_of(&example("flask"), false);
    let mut alone = cluster.volumes(Cluster::build("app", source.path()), "alone");
    alone.refused = vec!["landlock_create_ruleset"];
    let output = cluster.pod.run(&alone);
    report(&output);
    assert!(
        words(&output).contains("no Landlock that could fence"),
        "{}",
        words(&output)
    );
    let mut require = cluster.volumes(Cluster::build("app", source.path()), "require");
    require.refused = vec!["landlock_create_ruleset"];
    require
        .args
        .extend(["--fence".to_owned(), "require".to_owned()]);
    refused(&cluster.pod.run(&require), 1, &["no-fence"]);
    drop((listener, datagrams));
}

#[test]
fn nested_builds_where_administrators_allow_them() {
    let cluster = Cluster::new(PYTHON_311_RUN);
    let source = copy_of(&example("flask"), false);
    readable(source.path());
    let expected = cluster.warpdrive.image("app", source.path(), &[]);
    let archive = cluster.warpdrive.place().join("builder.tar");
    let place = format!("oci-archive:{}:{PYTHON_311_RUN}", archive.display());
    cluster.warpdrive.run(&["export", PYTHON_311_RUN, &place]);
    let script = format!(
        "warpdrive --store /data/store import oci-archive:/builder/builder.tar:{PYTHON_311_RUN} {PYTHON_311_RUN} >&2 && \
         exec warpdrive --store /data/store image app --builder {PYTHON_311_RUN} --path /workspace/source --json"
    );
    let builder = cluster.pod.empty_directory("builder");
    fs::rename(&archive, builder.join("builder.tar")).unwrap();
    readable(&builder);
    let step = |name: &str| {
        let mut step = Step::new(["sh", "-c", &script])
            .env("HOME=/tmp/home")
            .env("KUBERNETES_SERVICE_HOST=10.0.0.1")
            .mount(&cluster.pod.empty_directory(&format!("{name}-tmp")), "/tmp")
            .mount(
                &cluster.pod.empty_directory(&format!("{name}-data")),
                "/data",
            )
            .mount_read_only(&builder, "/builder")
            .mount_read_only(source.path(), "/workspace/source");
        step.memory = 2 << 30;
        step
    };
    // Unconfined, with a whole /proc: the store lies on a volume of a foreign group.
    let mut unmasked = step("unmasked");
    (unmasked.unconfined, unmasked.masked) = (true, false);
    let built = report(&cluster.pod.run(&unmasked));
    assert_eq!(built["digest"], expected["digest"]);
    // With a masked /proc no sandbox starts, and doctor knows.
    let mut masked = step("masked");
    masked.unconfined = true;
    masked.args = ["sh", "-c", "rm -rf /nowhere; exec warpdrive doctor"]
        .map(str::to_owned)
        .to_vec();
    let said = cluster.pod.run(&masked);
    assert!(
        words(&said).contains("mounting /proc in it"),
        "{}",
        words(&said)
    );
    // Root without NET_ADMIN, with the list of system calls of containerd, which has no pivot_root.
    let mut root = step("root");
    root.user = 0;
    root.capabilities = vec![
        "CAP_SYS_ADMIN",
        "CAP_SYS_CHROOT",
        "CAP_SETUID",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_FSETID",
        "CAP_KILL",
    ];
    root.refused = vec!["pivot_root"];
    let built = report(&cluster.pod.run(&root));
    assert_eq!(built["digest"], expected["digest"]);
}

#[test]
fn a_step_for_each_phase_gives_the_same_image() {
    let cluster = Cluster::new(PYTHON_311);
    let source = copy_of(&example("sdist"), true);
    readable(source.path());
    let expected = cluster.warpdrive.image("app", source.path(), &[]);
    let handed = cluster.pod.empty_directory("handed");
    let phase = |name: &str, phase: &str, read_only: bool| {
        let mut step = cluster.volumes(Cluster::build("app", source.path()), name);
        step.mounts
            .push((handed.clone(), "/handed".into(), read_only));
        let place = step
            .args
            .iter()
            .position(|word| word == "--in-place")
            .unwrap();
        step.args[place] = format!("--in-place={phase}");
        step.args
            .extend(["--dependencies".to_owned(), "/handed".to_owned()]);
        // The nodes that this is for.
        step.refused = vec!["landlock_create_ruleset"];
        step
    };
    let first = cluster.pod.run(&phase("first", "dependencies", false));
    assert!(first.status.success(), "{}", words(&first));
    assert!(!cluster.out("first").join("image").exists());
    let built = report(&cluster.pod.run(&phase("second", "application", true)));
    assert_eq!(built["digest"], expected["digest"]);
    let target = cluster.registry.reference("team/phases:1");
    let push = |target: &str| {
        let mut push = cluster
            .push("second", target)
            .mount_read_only(&handed, "/handed");
        push.args
            .extend(["--dependencies".to_owned(), "/handed".to_owned()]);
        push
    };
    let pushed = cluster.pod.run(&push(&target));
    assert!(pushed.status.success(), "{}", words(&pushed));
    assert_eq!(cluster.result("second", "IMAGE_DIGEST"), expected["digest"]);

    // The application step has exchanged a layer of the dependencies.
    let path = handed.join("dependencies.json");
    let mut document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    document["dependencies"]["layers"]
        .as_array_mut()
        .unwrap()
        .remove(0);
    fs::write(&path, document.to_string()).unwrap();
    fs::remove_dir_all(cluster.pod.directory().join("second-tmp-push")).unwrap();
    let other = cluster.pod.run(&push(&target));
    refused(&other, 4, &["are not those of this build"]);
    // And a list of another source is not taken.
    fs::write(source.path().join("requirements.txt"), "six\n").unwrap();
    let stale = cluster.pod.run(&phase("third", "application", true));
    refused(&stale, 4, &["are not those of this build"]);
}

#[test]
fn an_executable_that_would_not_start_is_not_pushed() {
    let warpdrive = Warpdrive::with(PYTHON_39);
    let registry = Registry::start();
    let target = registry.reference("builders/python:1");
    // The tests' own executable is linked to a C library that is newer than Debian 11's.
    let output = warpdrive.output(&["builder", "push", PYTHON_39, &target]);
    refused(
        &output,
        1,
        &[
            "this warpdrive needs glibc 2.",
            "has glibc 2.31",
            "make dist",
        ],
    );
}
