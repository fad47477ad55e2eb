"""Who is measured: warpdrive, BuildKit as a warm daemon, and buildah.

Each gives the same answers: `prepare` once, `reset` to an empty build cache (what packages were
fetched stays), `freshen` what the package index was asked, and `build` an app and push it.
The peers' Dockerfiles are written as well as we know: dependencies before the source, uv with a cache
mount, byte-code compiled, layers that need not be pushed twice.
"""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import peers
from machine import Cost, Failed, Group, Registry, need, quiet, timed, wait

# What keeps the answers of the package index fresh, for all alike: see `freshen`.
ASK = """\
FROM {base}
USER 0
COPY requirements.txt stamp /
RUN --mount=type=cache,target=/root/.cache/uv uv pip compile --quiet --python-version 3.11 /requirements.txt
"""
# The package index says that its answers are good for ten minutes.
FRESH = 240


class Contender:
    """Common to all: a directory, a control group, and the repository names."""

    def __init__(self, name, place: Path, registry: Registry, base):
        self.name, self.registry, self.base = name, registry, base
        self.place = place / name.replace(" ", "-")
        self.place.mkdir()
        self.log = self.place / "log"
        self.group = Group(f"{place.name}/{self.place.name}")
        self.asked = {}
        self.env = dict(os.environ, HOME=str(self.place), TMPDIR=str(self.place))

    def repository(self, app):
        return f"{self.registry.address}/{self.place.name}/{app}"

    def run(self, commands) -> Cost:
        return timed(self.group, commands, self.log, self.env, self.place)

    def quiet(self, *command):
        quiet(command, self.log, self.env, self.place)

    def freshen(self, app, directory: Path):
        """Asks the package index for what the app needs if the last time is long ago, so that no
        build has to while another need not."""
        if time.monotonic() - self.asked.get(app.name, -FRESH) < FRESH:
            return
        question = self.place / "question"
        shutil.rmtree(question, ignore_errors=True)
        question.mkdir()
        app.add_requirement(question)
        text = (directory / "requirements.txt").read_text()
        with (question / "requirements.txt").open("a") as file:
            file.write(text)
        self.ask(question)
        self.asked[app.name] = time.monotonic()

    def ran_everything(self):
        return True

    def close(self):
        pass


class Warpdrive(Contender):
    """A fresh process each time, with a store of its own."""

    def __init__(self, name, place, registry, base, program: Path, options=()):
        super().__init__(name, place, registry, base)
        self.program, self.options = program, options
        self.store = self.place / "store"
        self.audited = set()

    def command(self, *arguments):
        return [self.program, "--quiet", "--store", self.store, *arguments]

    def prepare(self, layout: Path, apps):
        self.quiet(*self.command("import", f"oci:{layout}:base", self.base))
        # An app without packages: what its build finds out about the base is known from then on.
        plain = self.place / "plain"
        plain.mkdir()
        (plain / "app.sh").write_text("#!/bin/sh\nexec sleep 1\n")
        (plain / "app.sh").chmod(0o755)
        self.quiet(*self.image("plain", plain))
        self.audited = self.names("cache/audit-layers/*")
        if not self.audited:
            raise Failed("the audit of the base image is not remembered")
        for app in apps:
            directory = self.place / "app"
            app.write(directory)
            # Wheels, installers, and the base's layers laid out.
            app.add_requirement(directory)
            self.quiet(*self.image("prepared", directory))
            # The registry has the base already, in every repository, for everyone, with what each
            # contender lays on it whatever the app: warpdrive its own layer, the others `uv`.
            self.quiet(*self.command("push", "plain", self.repository(app.name) + ":base"))
        self.quiet(*self.command("rm", "prepared", "plain"))
        self.forget()

    def names(self, *patterns):
        return {path for pattern in patterns for path in self.store.glob(pattern)}

    def forget(self):
        """Everything that a build remembers but the wheels, the installers, and the base."""
        kept = {"builder-layer", "python", "audit-key", "audit-layers"}
        for path in self.names("cache/audit-layers/*") - self.audited:
            path.unlink()
        for path in self.names("cache/*"):
            if path.name not in kept and not path.name.startswith(("wheels-", "tools-")):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        base = self.base_digests()
        for path in self.names("blobs/sha256/*"):
            if path.name not in base:
                path.unlink()
        for path in self.names("unpacked/*/*"):
            # The base's layers bear their digests; their states lie beside them.
            if not re.match(r"\.?(sha256[-:])?[0-9a-f]{64}", path.name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def base_digests(self):
        index = json.loads((self.store / "index.json").read_text())
        found = set()

        def walk(value):
            if isinstance(value, dict):
                digest = value.get("digest")
                if isinstance(digest, str):
                    name = digest.removeprefix("sha256:")
                    found.add(name)
                    if value.get("mediaType", "").endswith(("manifest.v1+json", "index.v1+json")):
                        walk(json.loads((self.store / "blobs/sha256" / name).read_text()))
                for inner in value.values():
                    walk(inner)
            elif isinstance(value, list):
                for inner in value:
                    walk(inner)

        walk([
            entry
            for entry in index["manifests"]
            if entry.get("annotations", {}).get("org.opencontainers.image.ref.name", "").startswith(self.base)
        ])
        if not found:
            raise Failed(f"{self.base} is not in {self.store}")
        # The layer of warpdrive's own that lies on a base image, whatever the app.
        for record in self.names("cache/builder-layer/*.json"):
            found.update(re.findall(r"sha256:([0-9a-f]{64})", record.read_text()))
        return found

    def reset(self):
        for entry in json.loads((self.store / "index.json").read_text())["manifests"]:
            name = entry.get("annotations", {}).get("org.opencontainers.image.ref.name", "")
            if not name.startswith(self.base):
                self.quiet(*self.command("rm", name))
        self.forget()

    def ask(self, question):
        uv = next(iter(self.names("cache/tools-*/bin/uv")))
        for cache in self.names("cache/wheels-*"):
            self.quiet(
                uv, "pip", "compile", "--quiet", "--python-version", "3.11", "--cache-dir", cache, question / "requirements.txt"
            )

    def image(self, name, directory):
        return self.command("image", name, "--builder", self.base, "--path", directory, *self.options)

    def build(self, app, name, directory) -> Cost:
        return self.run([self.image(self.repository(name), directory) + ["--push"]])


class Peer(Contender):
    """One that takes Dockerfiles."""

    def dockerfile(self, app, directory):
        peers.dockerfile(app, directory, self.base)

    def prepare(self, layout, apps, uv):
        self.load(layout, uv)
        for app in apps:
            self.push_base(self.repository(app.name) + ":base")
            directory = self.place / "app"
            app.write(directory)
            app.add_requirement(directory)
            self.dockerfile(app, directory)
            for command in self.build_commands("prepared", directory):
                self.quiet(*command)
        self.reset()

    def ask(self, question):
        (question / "Dockerfile").write_text(ASK.format(base=self.base))
        (question / "stamp").write_text(str(time.time()))
        for command in self.build_commands("question", question):
            self.quiet(*command)

    def build(self, app, name, directory):
        self.dockerfile(app, directory)
        target = self.repository(name)
        return self.run([*self.build_commands(target, directory), self.push_command(target)])

    def ran_everything(self):
        """Of the last build."""
        words = self.log.read_text(errors="replace")
        cached = re.findall(r"^(#\d+) CACHED", words, re.M)
        # The base is there, and BuildKit says so.
        return "Using cache" not in words and all(
            re.search(rf"^{step} \[[^]]*\] FROM ", words, re.M) for step in cached
        )


class BuildKit(Peer):
    """`dockerd` with the BuildKit in it, running all the time."""

    def __init__(self, name, place, registry, base):
        need("dockerd", "containerd", "runc")
        super().__init__(name, place, registry, base)
        # Debian's: newer clients need a plugin for BuildKit that Debian does not have.
        client = Path("/usr/bin/docker")
        self.client = str(client) if client.exists() else "docker"
        need(self.client)
        socket = self.place / "socket"
        (self.place / "daemon.json").write_text("{}")
        self.env |= {"DOCKER_HOST": f"unix://{socket}", "DOCKER_BUILDKIT": "1"}
        self.group.enter()
        self.daemon = subprocess.Popen(
            [
                "dockerd", "--config-file", self.place / "daemon.json", "--log-level", "warn", "--host", f"unix://{socket}",
                "--data-root", self.place / "data", "--exec-root", self.place / "exec", "--pidfile", self.place / "pid",
                "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
                "--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{place.name}/{self.place.name}/containers",
            ],
            stdin=subprocess.DEVNULL, stdout=(self.place / "daemon.log").open("wb"), stderr=subprocess.STDOUT, env=self.env,
        )
        self.group.leave()
        ready = [self.client, "version"]
        wait("dockerd", self.place / "daemon.log", lambda: subprocess.run(ready, env=self.env, capture_output=True).returncode == 0)

    def load(self, layout, uv):
        archive = layout.parent / "base.tar"
        self.quiet(self.client, "load", "--input", archive)
        self.quiet(self.client, "build", "--tag", self.base, peers.base_context(self.place, uv, "bench-loaded"))

    def push_base(self, reference):
        self.quiet(self.client, "tag", self.base, reference)
        self.quiet(self.client, "push", "--quiet", reference)

    def build_commands(self, target, directory):
        return [[self.client, "build", "--progress=plain", "--network=host", "--tag", target, directory]]

    def push_command(self, target):
        return [self.client, "push", "--quiet", target]

    def reset(self):
        names = subprocess.check_output(
            [self.client, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"], env=self.env, text=True
        ).split()
        for name in names:
            if "<none>" in name:
                continue  # pruned below
            if not name.startswith((self.base, "bench-loaded")) and not name.endswith(":base"):
                self.quiet(self.client, "image", "rm", "--force", name)
        self.quiet(self.client, "image", "prune", "--force")
        # The cache mounts are what stays.
        self.quiet(self.client, "builder", "prune", "--all", "--force", "--filter", "type=regular")
        self.quiet(self.client, "builder", "prune", "--all", "--force", "--filter", "type=source.local")

    def close(self):
        self.daemon.terminate()
        self.daemon.wait()


class Buildah(Peer):
    """A process for each command; `--isolation chroot` is its fastest way to run one."""

    def __init__(self, name, place, registry, base, push_options=()):
        need("buildah")
        super().__init__(name, place, registry, base)
        self.push_options = push_options
        self.prefix = ["buildah", "--root", self.place / "storage", "--runroot", self.place / "run", "--storage-driver", "overlay"]

    def load(self, layout, uv):
        identity = subprocess.check_output(
            [str(w) for w in [*self.prefix, "pull", "--quiet", f"oci:{layout}:base"]], env=self.env, text=True
        ).split()[-1]
        self.quiet(*self.prefix, "tag", identity, "localhost/bench-loaded")
        context = peers.base_context(self.place, uv, "localhost/bench-loaded")
        self.quiet(*self.prefix, "bud", "--layers", "--tag", self.base, context)

    def push_base(self, reference):
        self.quiet(*self.prefix, "tag", self.base, reference)
        self.quiet(*self.push_command(reference))

    def build_commands(self, target, directory):
        return [[*self.prefix, "bud", "--layers", "--isolation", "chroot", "--network", "host", "--tag", target, directory]]

    def push_command(self, target):
        return [*self.prefix, "push", "--quiet", "--tls-verify=false", *self.push_options, target]

    def reset(self):
        text = subprocess.check_output(
            [str(w) for w in [*self.prefix, "images", "--json", "--all"]], env=self.env, text=True
        )
        images = json.loads(text or "[]") or []
        kept = [i for i in images if any("bench-" in n or n.endswith(":base") for n in i.get("names") or [])]
        for image in images:
            names = [n for n in image.get("names") or [] if "bench-" not in n and not n.endswith(":base")]
            for name in names:
                self.quiet(*self.prefix, "rmi", "--force", name)
        # What has no name any more are the intermediate layers.
        self.quiet(*self.prefix, "rmi", "--prune", "--force")
        if not kept:
            raise Failed("buildah lost its base image")
