"""Builds on machines whose disks are empty, with nothing but a cache in a registry: warpdrive, buildah, BuildKit.

    python3 benches/fresh-machine [WARPDRIVE]

See benches/README.md for what is measured, and how. To be run as root.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
# Both directories have a contenders.py: ours is meant here.
sys.path[:0] = [str(HERE), str(HERE.parent / "compare")]

import base
from apps import APPS
from base import BASE
from contenders import BuildKit, Buildah, Warpdrive
from counting import Counter
from machine import Failed, Registry, apart, describe, inside, need, note

RUNS = int(os.environ.get("BENCH_RUNS", "3"))
CHOSEN = os.environ.get("BENCH_APPS", "flask django heavy").replace(",", " ").split()
PEERS = os.environ.get("BENCH_PEERS", "yes") != "no"
SCENARIOS = ["nothing changed", "one source line", "one requirement more"]
# Most that warpdrive may take of what the best peer takes.
AIM = 0.3


class Kept(Registry):
    """Tags are read here, and docker-registry writes them in place: what is kept shares blobs alone."""

    def reset(self):
        for entry in self.data.iterdir():
            shutil.rmtree(entry)
        inside = Path("docker/registry/v2")
        (self.data / inside).mkdir(parents=True)
        for name, link in (("blobs", ["--link"]), ("repositories", [])):
            if (self.base / inside / name).exists():
                subprocess.check_call(["cp", "--archive", *link, self.base / inside / name, self.data / inside])


def edited(app, scenario, directory: Path):
    app.write(directory)
    if scenario == "one source line":
        app.edit_line(directory, "one line more")
    if scenario == "one requirement more":
        app.add_requirement(directory)


def measure(program: Path, place: Path, out: Path):
    log = place / "log"
    apps = [APPS[name] for name in CHOSEN]
    registry = Kept(place)
    host, port = registry.address.split(":")
    counter, index = Counter((host, int(port))), Counter()
    contenders = []
    results = {app.name: {} for app in apps}
    try:
        layout = base.export(program, BASE, place, log, place / "base.tar")
        ours = Warpdrive("warpdrive", place, counter.address, index.address, program)
        before = os.environ.get("BENCH_BEFORE")
        contenders = [ours]
        ours.prepare(layout)
        if before:
            contenders.append(Warpdrive("warpdrive-before", place, counter.address, index.address, Path(before).resolve()))
            contenders[-1].prepare(layout)
        if PEERS:
            # The peers' `uv` is warpdrive's.
            app, directory = APPS["flask"], place / "app"
            edited(app, "", directory)
            ours.build(app, directory)
            uv = place / "uv"
            shutil.copy2(next(ours.store.glob("cache/tools-*/bin/uv")), uv)
            for make in (Buildah, BuildKit):
                peer = make(place, counter.address, index.address)
                contenders.append(peer)
                note(f"preparing {peer.name} …")
                peer.prepare(layout, uv)
        registry.keep()
        plain = registry.base
        for app in apps:
            for contender in contenders:
                source = contender.place / "source"
                # Another machine has built it, and written the cache.
                registry.base = plain
                registry.reset()
                contender.empty_disk()
                edited(app, "", source)
                contender.build(app, source)
                registry.base = place / "registry-built"
                registry.keep()
                for run in range(RUNS):
                    for scenario in SCENARIOS:
                        registry.reset()
                        contender.empty_disk()
                        edited(app, scenario, source)
                        counter.reset()
                        index.reset()
                        clock = contender.build(app, source)
                        cost = [round(clock, 3), counter.down, counter.up, index.down]
                        results[app.name].setdefault(contender.name, {}).setdefault(scenario, []).append(cost)
                        if "BENCH_LOGS" in os.environ:
                            kept = Path(os.environ["BENCH_LOGS"]) / f"{app.name}-{contender.name}-{scenario.replace(' ', '-')}-{run}.log"
                            shutil.copy(contender.log, kept)
                        note(f"run {run + 1} of {RUNS}, {app.name}, {contender.name}, {scenario}: {cell(cost)}")
                shutil.rmtree(registry.base)
        document = {"machine": describe(program), "runs": RUNS, "results": results}
        out.write_text(json.dumps(document, indent=1))
    finally:
        for contender in contenders:
            contender.close()
        registry.close()
    print(markdown(document))


def cell(cost):
    clock, down, up, from_index = cost
    return f"{clock:.2f} {down / 1e6:.2f}+{from_index / 1e6:.2f} {up / 1e6:.2f}"


def markdown(document):
    lines = [
        *document["machine"],
        f"{document['runs']} runs, medians: seconds by the clock, megabytes down (from the registry + from the package index), up",
        "",
    ]
    for app, found in document["results"].items():
        names = list(found)
        peers = [name for name in names if not name.startswith("warpdrive")]
        ratio = ["ratio of time, down, up"] if peers else []
        lines += [f"| {app} | {' | '.join(names + ratio)} |", f"|---{'|---' * len(names + ratio)}|"]
        for scenario in SCENARIOS:
            medians = {name: [statistics.median(values) for values in zip(*found[name][scenario])] for name in names}
            cells = [cell(medians[name]) for name in names]
            if peers:
                sums = {name: (m[0], m[1] + m[3], m[2]) for name, m in medians.items()}
                best = [min(sums[name][part] for name in peers) for part in range(3)]
                ratios = [own / other if other else 0 for own, other in zip(sums["warpdrive"], best)]
                missed = "" if max(ratios) <= AIM else " **missed**"
                cells.append(", ".join(f"{ratio:.2f}" for ratio in ratios) + missed)
            lines.append(f"| {scenario} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def main():
    top = HERE.parent.parent
    program = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("BENCH_WARPDRIVE") or top / "target/release/warpdrive")
    out = Path(os.environ.get("BENCH_OUT", top / "target/fresh-machine.json")).resolve()
    try:
        if os.geteuid() != 0:
            raise Failed("the peers need root")
        if not program.is_file():
            raise Failed(f"there is no {program}: build it, or name one in BENCH_WARPDRIVE")
        need("docker-registry", "unshare", "mount")
        if place := inside():
            measure(program.resolve(), place, out)
            return 0
        return apart("warpdrive-fresh", HERE, program, out)
    except Failed as failed:
        print(f"benches/fresh-machine: {failed}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
