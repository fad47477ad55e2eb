"""Where the time of a cold build of the heavy app goes, and what the same work costs by itself.

    python3 benches/compare/profile.py [WARPDRIVE]

Processor time is that of each thread, looked at every 50 ms, by its name. To be run as root.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

import base
from apps import APPS
from base import BASE
from contenders import Warpdrive
from machine import Failed, Group, Registry, describe, note, quiet

EVERY = 0.05
TICK = os.sysconf("SC_CLK_TCK")
# Names of threads, and what they do.
KINDS = [
    ("python", "byte-code: the builder's Python"),
    ("uv", "uv: resolving, linking files"),
    ("tokio-rt-worker", "uv: resolving, linking files"),
    ("main2", "uv: resolving, linking files"),
    ("gzip", "compression and its SHA-256"),
    ("zstd", "compression and its SHA-256"),
    ("docker-registry", "the registry, while it is pushed to"),
    ("warpdrive-http", "the push"),
]
OWN = "warpdrive: files, tar, SHA-256 of what is not compressed, byte-code's one form"


class Threads:
    """Processor seconds of all threads by name, from one moment to another."""

    def __init__(self):
        self.seen, self.spent = {}, Counter()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def look(self, first=False):
        mine = str(os.getpid())
        for pid in os.listdir("/proc"):
            if not pid.isdigit() or pid == mine:
                continue
            try:
                tasks = os.listdir(f"/proc/{pid}/task")
            except OSError:
                continue
            for task in tasks:
                try:
                    text = Path(f"/proc/{pid}/task/{task}/stat").read_text()
                except OSError:
                    continue
                name, rest = text[text.index("(") + 1 :].rsplit(")", 1)
                fields = rest.split()
                now = int(fields[11]) + int(fields[12])
                key = (task, fields[19])
                before = self.seen.get(key, now if first else 0)
                self.seen[key] = now
                self.spent[name] += now - before

    def watch(self):
        while not self.stop.wait(EVERY):
            self.look()

    def __enter__(self):
        self.look(first=True)
        self.spent.clear()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.look()

    def kinds(self):
        found = Counter()
        names = dict(KINDS)
        for name, ticks in self.spent.items():
            known = next((what for start, what in names.items() if name.startswith(start)), None)
            if known is None:
                known = OWN if not name.startswith(("kworker", "ksoftirqd", "kdamond", "jbd2", "kswapd")) else "the kernel's own threads"
            found[known] += ticks / TICK
        return found


def floor(contender, source: Path, place: Path, log: Path):
    """The same work with the usual tools, each by itself."""
    uv = next(iter(contender.names("cache/tools-*/bin/uv")))
    cache = next(iter(contender.names("cache/wheels-*")))
    group = Group(f"{place.name}/floor")
    found = []

    def measure(what, command, before=lambda: None):
        before()
        os.sync()
        group.enter()
        processor, clock = group.seconds(), time.monotonic()
        quiet(["bash", "-o", "pipefail", "-c", command], log)
        found.append((what, time.monotonic() - clock, group.seconds() - processor))
        group.leave()

    venv, packages = place / "venv", place / "venv/lib/python3.11/site-packages"
    install = (
        f"VIRTUAL_ENV={venv} {uv} pip install --quiet --python-version 3.11 --cache-dir {cache} --link-mode=hardlink "
        f"-r {source}/requirements.txt --target {packages}"
    )

    def empty():
        shutil.rmtree(venv, ignore_errors=True)
        packages.mkdir(parents=True)

    measure("uv pip install", install, empty)
    python = shutil.which("python3.11") or "python3"
    measure("byte-code (python -m compileall, all processors)", f"{python} -m compileall -q -j 0 -x /tests/ {packages} || true")
    measure("tar | gzip -6", f"tar -cf - -C {packages} . | gzip -6 > {place}/x.gz")
    measure("tar | zstd -3 -T0", f"tar -cf - -C {packages} . | zstd -q -3 -T0 -f -o {place}/x.zst")
    measure("tar | sha256sum", f"tar -cf - -C {packages} . | sha256sum")
    return found


def profile(program: Path, place: Path):
    log = place / "log"
    registry = Registry(place)
    try:
        layout = base.export(program, BASE, place, log)
        app = APPS["heavy"]
        contender = Warpdrive("warpdrive", place, registry, BASE, program)
        contender.prepare(layout, [app])
        registry.keep()
        source = contender.place / "source"
        app.write(source)
        print("\n".join(describe(program)[:2]) + "\n")
        for compression in ("gzip", "zstd"):
            contender.freshen(app, source)
            contender.reset()
            registry.reset()
            os.sync()
            command = contender.image(contender.repository(app.name), source) + ["--push", "--json", "--compression", compression]
            with Threads() as threads:
                begin = time.monotonic()
                made = subprocess.run([str(word) for word in command], capture_output=True, env=contender.env, check=False)
                clock = time.monotonic() - begin
            if made.returncode != 0:
                raise Failed(made.stderr.decode(errors="replace"))
            steps = json.loads(made.stdout)["timings_ms"]
            kinds = threads.kinds()
            whole = sum(kinds.values())
            print(f"**{compression}**: {clock:.2f} s by the clock, {whole:.1f} s of processors\n")
            print("| step | s | |\n|---|---|---|")
            for name, ms in sorted(steps.items(), key=lambda step: -step[1]):
                if ms >= 10:
                    print(f"| {name} | {ms / 1000:.2f} | {ms / 10 / clock:.0f}% |")
            print("\n| whose processor time | s | |\n|---|---|---|")
            for kind, spent in kinds.most_common():
                if spent >= 0.05:
                    print(f"| {kind} | {spent:.2f} | {100 * spent / whole:.0f}% |")
            print()
        print("| the floor: the same packages | s | of processors |\n|---|---|---|")
        for what, clock, processor in floor(contender, source, place, log):
            print(f"| {what} | {clock:.2f} | {processor:.2f} |")
    finally:
        registry.close()


def main():
    here = Path(__file__).resolve().parent.parent.parent
    program = Path(sys.argv[1] if len(sys.argv) > 1 else here / "target/release/warpdrive")
    place = Path(tempfile.mkdtemp(prefix="warpdrive-profile-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    try:
        profile(program, place)
    except Failed as error:
        note(f"profile: {error}")
        return 1
    finally:
        subprocess.call(["rm", "-rf", str(place)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
