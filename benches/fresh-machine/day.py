"""A day of a team: builds of many applications on machines with empty disks, and one cache in a registry.

    python3 benches/fresh-machine/day.py [WARPDRIVE]

BENCH_BUILDS builds (1000) of BENCH_DAY_APPS applications (40), in an order that is the same each time. Each
begins with an empty store and has nothing but the registry. Prints what the registry holds at the end, what
builds found there, and how much they asked for; after Ctrl-C or a TERM of those that were done. See benches/README.md.
"""

import base64
import json
import os
import random
import re
import shutil
import signal
import statistics
import sys
import urllib.request
from collections import Counter as Count
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "compare")]

import base
from apps import FLASK
from base import BASE
from contenders import Warpdrive
from counting import Counter
from machine import Failed, Registry, need, note

BUILDS = int(os.environ.get("BENCH_BUILDS", "1000"))
APPS = int(os.environ.get("BENCH_DAY_APPS", "40"))
# What applications are made of: most have these, a few have those.
COMMON = ["flask==3.1.3", "gunicorn==27.0.1", "requests==2.32.5", "click==8.3.1", "pydantic==2.12.5"]
SOME = [
    "humanize==4.17.0", "sqlalchemy==2.0.45", "redis==7.1.0", "jinja2==3.1.6", "pyyaml==6.0.3", "httpx==0.28.1",
    "python-dateutil==2.9.0.post0", "rich==14.2.0", "attrs==25.4.0", "boto3==1.42.4", "cryptography==46.0.3",
    "numpy==2.4.6", "pandas==3.1.1", "structlog==25.5.0", "tenacity==9.1.2", "orjson==3.11.5", "celery==5.6.0",
]
# What is done between two builds, and how often.
KINDS = {"nothing changed": 20, "one source line": 70, "one requirement more": 8, "one requirement less": 2}


class App:
    collectstatic = False

    def __init__(self, number, chance):
        self.name = f"app-{number:02}"
        self.requirements = chance.sample(COMMON, 3) + chance.sample(SOME, chance.randint(1, 4))
        self.lines = 0

    def change(self, kind, chance):
        if kind == "one source line":
            self.lines += 1
        if kind == "one requirement more":
            absent = [one for one in SOME + COMMON if one not in self.requirements]
            self.requirements += chance.sample(absent, 1)
        if kind == "one requirement less" and len(self.requirements) > 2:
            self.requirements.pop()

    def write(self, directory: Path):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        (directory / "app.py").write_text(FLASK + f"# {self.name}, {self.lines}\n")
        lines = sorted({"flask==3.1.3", *self.requirements})
        (directory / "requirements.txt").write_text("".join(f"{line}\n" for line in lines))


def requests_of(log: Path, start):
    """Requests that the registry has answered since, by method."""
    found = Count()
    with log.open(errors="replace") as lines:
        lines.seek(start)
        for line in lines:
            if "response completed" in line and (method := re.search(r"http\.request\.method=(\w+)", line)):
                found[method.group(1)] += 1
    return found


def get(address, path):
    request = urllib.request.Request(
        f"http://{address}/v2/{path}", headers={"Accept": "application/vnd.oci.image.manifest.v1+json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def held(registry, repository):
    """What is in the cache: items by kind, and the layers of fragments."""
    kinds, layers, records = Count(), {}, []
    for tag in get(registry.address, f"{repository}/tags/list").get("tags") or []:
        manifest = get(registry.address, f"{repository}/manifests/{tag}")
        kinds[tag.split("-")[0]] += 1
        records.append(len(base64.b64decode(manifest["config"]["data"])))
        if tag.startswith("f1-"):
            layers |= {layer["digest"]: layer["size"] for layer in manifest["layers"]}
    return kinds, layers, records


def quantiles(values):
    values = sorted(values)
    at = lambda part: values[min(len(values) - 1, int(part * len(values)))]
    return f"median {at(0.5):,}, 90% {at(0.9):,}, most {values[-1]:,}"


def measure(program: Path, place: Path):
    chance = random.Random(17)
    registry = Registry(place)
    host, port = registry.address.split(":")
    counter, index = Counter((host, int(port))), Counter()
    try:
        layout = base.export(program, BASE, place, place / "log")
        ours = Warpdrive("warpdrive", place, counter.address, index.address, program)
        ours.prepare(layout)
        empty = registry.size()
        apps = [App(number, chance) for number in range(APPS)]
        source, built, rows = place / "source", set(), []
        try:
            for number in range(BUILDS):
                app = chance.choice(apps)
                kind = "first build"
                if app.name in built:
                    kind = chance.choices(list(KINDS), KINDS.values())[0]
                    app.change(kind, chance)
                built.add(app.name)
                app.write(source)
                ours.empty_disk()
                counter.reset()
                index.reset()
                start = registry.log.stat().st_size
                clock = ours.build(app, source)
                words = ours.log.read_text(errors="replace")
                hits = sum(int(n) for n in re.findall(r"(\d+) distributions from the cache", words))
                hits += sum(int(n) for n in re.findall(r"(\d+) of them as in the last build", words))
                made = sum(int(n) for n in re.findall(r"Installed (\d+) package", words))
                sandbox = "sandbox: not used" not in words
                asked = sum(requests_of(registry.log, start).values())
                rows.append((kind, clock, counter.down, counter.up, index.down, asked, hits, made, sandbox))
                if (number + 1) % 20 == 0:
                    note(f"{number + 1} of {BUILDS} builds")
        except KeyboardInterrupt:
            note("ended early")
        kinds, layers, records = held(registry, f"{ours.name}/cache")
        print(f"{len(rows)} builds of {len(built)} applications\n")
        print("| build | of all | s | requests | MB down, of them from the index | MB up | distributions found / made | sandbox |")
        print("|---|---|---|---|---|---|---|---|")
        for kind in ["first build", *KINDS]:
            some = [row for row in rows if row[0] == kind]
            if not some:
                continue
            mean = lambda place: statistics.mean(row[place] for row in some)
            print(
                f"| {kind} | {len(some)} | {statistics.median(row[1] for row in some):.2f} | {mean(5):.0f} | "
                f"{(mean(2) + mean(4)) / 1e6:.2f} ({mean(4) / 1e6:.2f}) | {mean(3) / 1e6:.2f} | "
                f"{mean(6):.1f} / {mean(7):.1f} | {sum(row[8] for row in some)} |"
            )
        found, made = sum(row[6] for row in rows), sum(row[7] for row in rows)
        print(f"\n- distributions: {found} found, {made} made ({100 * found / max(1, found + made):.1f}% hits)")
        print(f"- requests in all: {sum(row[5] for row in rows):,}; in a build: {quantiles([row[5] for row in rows])}")
        print(f"- the cache holds {kinds['f1']} fragments and {kinds['a1']} last builds")
        print(f"- layers of fragments, bytes: {quantiles(layers.values())}; together {sum(layers.values()) / 1e6:.1f} MB")
        print(f"- records, bytes: {quantiles(records)}")
        print(f"- the registry has {(registry.size() - empty) / 1e6:.1f} MB more than with the base alone, images included")
    finally:
        registry.close()


def main():
    top = HERE.parent.parent
    program = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("BENCH_WARPDRIVE") or top / "target/release/warpdrive")
    place = Path(os.environ.get("TMPDIR", "/var/tmp")) / f"warpdrive-day-{os.getpid()}"
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, signal.default_int_handler)
    try:
        need("docker-registry")
        if not program.is_file():
            raise Failed(f"there is no {program}: build it, or name one in BENCH_WARPDRIVE")
        place.mkdir(mode=0o711, parents=True)
        measure(program.resolve(), place)
    except Failed as failed:
        print(f"benches/fresh-machine/day.py: {failed}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
