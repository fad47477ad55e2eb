"""Who builds on a machine whose disk is empty: only the registry has what earlier builds made."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import peers
from machine import need, quiet, wait


class Contender:
    """`registry` is the address by which everything goes there, `index` a proxy for the package index."""

    def __init__(self, name, place: Path, registry, index):
        self.name, self.registry, self.index = name, registry, index
        self.place = place / name
        self.place.mkdir()
        self.log = self.place / "log"
        self.env = dict(os.environ, HOME=str(self.place), TMPDIR=str(self.place))

    def reference(self, name):
        return f"{self.registry}/{self.name}/{name}"

    def quiet(self, *command):
        quiet(command, self.log, self.env, self.place)

    def build(self, app, directory):
        """Builds and pushes, and gives the seconds that it took."""
        self.describe(app, directory)
        os.sync()
        begun = time.monotonic()
        for command in self.commands(app, directory):
            self.quiet(*command)
        return time.monotonic() - begun

    def describe(self, app, directory):
        pass

    def close(self):
        pass


class Warpdrive(Contender):
    def __init__(self, name, place, registry, index, program: Path, options=()):
        super().__init__(name, place, registry, index)
        self.program, self.options = program, options
        self.env |= {"HTTPS_PROXY": f"http://{index}"}
        self.store = self.place / "store"

    def prepare(self, layout: Path):
        store = self.place / "first"
        self.quiet(self.program, "--quiet", "--store", store, "import", f"oci:{layout}:base", "base")
        self.quiet(self.program, "--quiet", "--store", store, "push", "base", self.reference("base:1"))
        shutil.rmtree(store)

    def empty_disk(self):
        shutil.rmtree(self.store, ignore_errors=True)

    def commands(self, app, directory):
        cache = self.reference("cache")
        yield [
            self.program, "--store", self.store, "image", self.reference(f"{app.name}:1"), "--push", "--path", directory,
            "--builder", self.reference("base:1"), "--cache-from", cache, "--cache-to", cache, "--explain", *self.options,
        ]


class Peer(Contender):
    """One that takes Dockerfiles. Its base has `uv`, and the certificates that this machine trusts."""

    def describe(self, app, directory):
        peers.dockerfile(app, directory, self.reference("base:1"))


class Buildah(Peer):
    """A process for each command; `--isolation chroot` is its fastest way to run one."""

    def __init__(self, place, registry, index):
        need("buildah")
        super().__init__("buildah", place, registry, index)
        self.root = self.place / "storage"

    def prefix(self):
        return ["buildah", "--root", self.root, "--runroot", self.place / "run", "--storage-driver", "overlay"]

    def prepare(self, layout, uv):
        self.empty_disk()
        name = subprocess.check_output(
            [str(w) for w in [*self.prefix(), "pull", "--quiet", f"oci:{layout}:base"]], env=self.env, text=True
        ).split()[-1]
        self.quiet(*self.prefix(), "tag", name, "localhost/loaded")
        target = self.reference("base:1")
        self.quiet(*self.prefix(), "bud", "--tag", target, peers.base_context(self.place, uv, "localhost/loaded"))
        self.quiet(*self.prefix(), "push", "--quiet", "--tls-verify=false", target)

    def empty_disk(self):
        if self.root.exists():
            subprocess.call([str(w) for w in [*self.prefix(), "rm", "--all"]], env=self.env, stdout=subprocess.DEVNULL)
            subprocess.call(["umount", self.root / "overlay"], stderr=subprocess.DEVNULL)
            shutil.rmtree(self.root)
        shutil.rmtree(self.place / "run", ignore_errors=True)
        # Where `--mount=type=cache` lies.
        for cache in self.place.glob("buildah-cache*"):
            shutil.rmtree(cache)

    def commands(self, app, directory):
        target, cache = self.reference(f"{app.name}:1"), self.reference(f"cache-{app.name}")
        yield [
            *self.prefix(), "bud", "--layers", "--isolation", "chroot", "--network", "host", "--tls-verify=false",
            "--cache-from", cache, "--cache-to", cache, "--build-arg", f"HTTPS_PROXY=http://{self.index}",
            "--tag", target, directory,
        ]
        yield [*self.prefix(), "push", "--quiet", "--tls-verify=false", target]


class BuildKit(Peer):
    """The BuildKit in Debian's `dockerd`, which keeps its cache in the image (`inline`): of a Dockerfile with
    one stage that is all of it. The daemon is started before time is taken."""

    def __init__(self, place, registry, index):
        need("dockerd", "containerd", "runc")
        super().__init__("buildkit", place, registry, index)
        client = Path("/usr/bin/docker")
        self.client = str(client) if client.exists() else "docker"
        need(self.client)
        self.number, self.daemon = 0, None
        self.group = f"/{place.name}/containers"

    def start(self):
        self.number += 1
        self.disk = self.place / f"disk-{self.number}"
        self.disk.mkdir()
        self.env |= {"DOCKER_HOST": f"unix://{self.disk}/socket", "DOCKER_BUILDKIT": "1"}
        (self.disk / "daemon.json").write_text("{}")
        self.daemon = subprocess.Popen(
            [
                "dockerd", "--config-file", self.disk / "daemon.json", "--log-level", "warn",
                "--host", f"unix://{self.disk}/socket", "--data-root", self.disk / "data", "--exec-root", self.disk / "exec",
                "--pidfile", self.disk / "pid", "--bridge=none", "--iptables=false", "--ip6tables=false",
                "--ip-forward=false", "--ip-masq=false", "--exec-opt", "native.cgroupdriver=cgroupfs",
                "--cgroup-parent", self.group,
            ],
            stdin=subprocess.DEVNULL, stdout=(self.disk / "daemon.log").open("wb"), stderr=subprocess.STDOUT, env=self.env,
        )
        ready = [self.client, "version"]
        wait("dockerd", self.disk / "daemon.log", lambda: subprocess.run(ready, env=self.env, capture_output=True).returncode == 0)

    def stop(self):
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait()
            self.daemon = None
            subprocess.call(["rm", "-rf", "--one-file-system", self.disk])

    def prepare(self, layout, uv):
        self.empty_disk()
        self.quiet(self.client, "load", "--input", layout.parent / "base.tar")
        target = self.reference("base:1")
        self.quiet(self.client, "build", "--tag", target, peers.base_context(self.place, uv, "bench-loaded"))
        self.quiet(self.client, "push", "--quiet", target)

    def empty_disk(self):
        self.stop()
        self.start()

    def commands(self, app, directory):
        target = self.reference(f"{app.name}:1")
        yield [
            self.client, "build", "--progress=plain", "--network=host", "--cache-from", target,
            "--build-arg", "BUILDKIT_INLINE_CACHE=1", "--build-arg", f"HTTPS_PROXY=http://{self.index}", "--tag", target, directory,
        ]
        yield [self.client, "push", "--quiet", target]

    def close(self):
        self.stop()

