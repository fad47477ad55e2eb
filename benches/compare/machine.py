"""The machine: control groups that count processor time, timed commands, memory, the registry."""

import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path


class Failed(Exception):
    """What the person who measures is told."""


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            raise Failed(f"{program} is not installed; see scripts/install-test-dependencies")


class Group:
    """A control group. What its processes and those of the groups below took of the processor is
    known even after they have ended, whoever their parent was."""

    def __init__(self, name):
        top = Path("/sys/fs/cgroup")
        old = top / "cpuacct"
        self.path = (old if old.is_dir() else top) / name
        self.path.mkdir(parents=True, exist_ok=True)
        self.old = old.is_dir()

    def enter(self):
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def leave(self):
        parent = self.path
        while (parent.parent / "cgroup.procs").exists():
            parent = parent.parent
        (parent / "cgroup.procs").write_text(str(os.getpid()))

    def seconds(self):
        if self.old:
            return int((self.path / "cpuacct.usage").read_text()) / 1e9
        fields = dict(line.split() for line in (self.path / "cpu.stat").read_text().splitlines())
        return int(fields["usage_usec"]) / 1e6


@dataclass
class Cost:
    """Seconds by the clock and of the processors, and what the registry has more than before."""

    clock: float
    processor: float
    pushed: int = 0


def words(log: Path):
    return log.read_text(errors="replace")[-4000:]


def quiet(command, log: Path, env=None, cwd=None):
    """Runs a command that is not measured."""
    with log.open("wb") as out:
        code = subprocess.call(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env, cwd=cwd
        )
    if code != 0:
        raise Failed(f"{command[0]} failed with {code}: {' '.join(map(str, command))}\n{words(log)}")


def timed(group: Group, commands, log: Path, env=None, cwd=None) -> Cost:
    """Runs commands, one after another."""
    os.sync()
    group.enter()
    try:
        with log.open("wb") as out:
            processor, clock = group.seconds(), time.monotonic()
            for command in commands:
                code = subprocess.call(
                    [str(word) for word in command],
                    stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env, cwd=cwd,
                )
                if code != 0:
                    raise Failed(f"{' '.join(map(str, command))} failed with {code}\n{words(log)}")
            return Cost(time.monotonic() - clock, group.seconds() - processor)
    finally:
        group.leave()


class Memory:
    """Watches the memory of all processes of one executable: what they hold together at a time
    (proportional, so that shared pages count once), and the largest one alone."""

    EVERY = 0.01

    def __init__(self, program: Path):
        self.program = str(program)
        self.together = self.largest = 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    def watch(self):
        while not self.stop.wait(self.EVERY):
            together = 0
            for entry in os.listdir("/proc"):
                if not entry.isdigit():
                    continue
                try:
                    # The sandbox's processes run from a sealed copy in memory.
                    exe = os.readlink(f"/proc/{entry}/exe")
                    if exe != self.program and not exe.startswith("/memfd:warpdrive"):
                        continue
                    rollup = Path(f"/proc/{entry}/smaps_rollup").read_text()
                    status = Path(f"/proc/{entry}/status").read_text()
                except OSError:
                    continue
                for line in rollup.splitlines():
                    if line.startswith("Pss:"):
                        together += int(line.split()[1])
                high = re.search(r"^VmHWM:\s+(\d+)", status, re.M)
                self.largest = max(self.largest, int(high.group(1)) if high else 0)
            self.together = max(self.together, together)


class Registry:
    """docker-registry on the loopback, whose content can be put back to an earlier state."""

    def __init__(self, place: Path):
        self.data, self.base = place / "registry", place / "registry-base"
        self.log = place / "registry.log"
        self.data.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        configuration = place / "registry.yml"
        configuration.write_text(
            "version: 0.1\nlog: {level: info}\n"
            f"storage: {{filesystem: {{rootdirectory: {self.data}}}, delete: {{enabled: true}}}}\n"
            f"http: {{addr: '{self.address}', secret: none}}\n"
        )
        self.server = subprocess.Popen(
            ["docker-registry", "serve", configuration], stdin=subprocess.DEVNULL, stdout=self.log.open("wb"), stderr=subprocess.STDOUT
        )
        wait("docker-registry", self.log, lambda: socket.create_connection(tuple_of(self.address), 1).close() or True)

    def keep(self):
        """What is there now is what `reset` leaves."""
        shutil.rmtree(self.base, ignore_errors=True)
        subprocess.check_call(["cp", "--archive", self.data, self.base])

    def reset(self):
        # Blobs never change once they are there: links will do, and links of names are not shared.
        for entry in self.data.iterdir():
            shutil.rmtree(entry)
        subprocess.check_call(["cp", "--archive", "--link", f"{self.base}/.", self.data])

    def size(self):
        return sum(path.stat().st_size for path in self.data.glob("docker/registry/v2/blobs/**/data"))

    def close(self):
        self.server.terminate()
        self.server.wait()


# Names the directory of a bench, in the process that measures.
INSIDE = "BENCH_INSIDE"


def inside():
    """The directory of this bench, in namespaces of its own; `None` where `apart` has not started it yet."""
    if INSIDE not in os.environ:
        return None
    place = Path(os.environ[INSIDE])
    # What buildah and podman share with the machine's own storage is private here.
    for name, target in (("shm", "/dev/shm"), ("containers", "/var/lib/containers")):
        (place / name).mkdir()
        Path(target).mkdir(parents=True, exist_ok=True)
        subprocess.check_call(["mount", "--bind", place / name, target])
    return place


def apart(name, script, program, out):
    """Starts this script again in namespaces of its own: every process and mount is gone with them, and what it
    has written but for `out`."""
    # buildah takes no capital letters in the path of a layout.
    place = Path(os.environ.get("TMPDIR", "/var/tmp")) / f"{name}-{os.getpid()}"
    place.mkdir(mode=0o711, parents=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    child = None
    try:
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", sys.executable, script, program]
        child = subprocess.Popen(command, env={**os.environ, INSIDE: str(place), "BENCH_OUT": str(out)})
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return child.wait()
    finally:
        if child and child.poll() is None:
            child.kill()
            child.wait()
        if "BENCH_KEEP" not in os.environ:
            subprocess.call(["rm", "-rf", "--one-file-system", place])
        subprocess.call(["find", "/sys/fs/cgroup", "-depth", "-type", "d", "-path", f"*/{place.name}*", "-delete"], stderr=subprocess.DEVNULL)


def tuple_of(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


def wait(what, log: Path, ready):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise Failed(f"{what} does not start:\n{words(log)}")


def first_line(*command):
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "missing"
    return ((text.stdout or text.stderr).splitlines() or ["?"])[0]


def describe(warpdrive: Path):
    """The machine and the versions, as lines."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.M)
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text()).group(1))
    place = os.environ.get("TMPDIR", "/var/tmp")
    return [
        f"{model.group(1) if model else platform.machine()}, {os.cpu_count()} cores, {memory / 2**20:.0f} GiB, "
        f"Linux {platform.release()}, {first_line('stat', '-f', '-c', '%T', place)}",
        first_line(str(warpdrive), "--version"),
        first_line("/usr/bin/docker", "--version"),
        first_line("dockerd", "--version").replace("Docker version", "dockerd"),
        first_line("buildah", "--version"),
    ]


def note(text):
    print(text, file=sys.stderr, flush=True)
