"""Builds the same apps with warpdrive, BuildKit and buildah, in turns, and prints the medians.

    python3 benches/compare [WARPDRIVE]

See benches/README.md for what is measured, and how. To be run as root.
"""

import json
import os
import statistics
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

import base
from apps import APPS
from base import BASE
from contenders import BuildKit, Buildah, Warpdrive
from machine import Failed, Memory, Registry, apart, describe, inside, need, note, quiet, words
from table import markdown

RUNS = int(os.environ.get("BENCH_RUNS", "5"))
CHOSEN = os.environ.get("BENCH_APPS", "flask django heavy files").replace(",", " ").split()
# An earlier release of warpdrive, to be measured in the same run; and whether peers are.
BEFORE = os.environ.get("BENCH_BEFORE")
PEERS = os.environ.get("BENCH_PEERS", "yes") != "no"


def scenarios(contender, app, place, registry, record):
    """From an empty build cache on; each step has what the ones before left."""
    source, other = place / "source", place / "other"
    app.write(source)
    app.another(other)
    contender.freshen(app, source)
    # Not measured: what a build reads is in memory from then on, for everyone.
    contender.reset()
    registry.reset()
    contender.build(app, app.name, source)
    contender.reset()
    registry.reset()

    def build(scenario, name, directory):
        before = registry.size()
        cost = contender.build(app, name, directory)
        cost.pushed = registry.size() - before
        record(scenario, cost)

    build("cold", app.name, source)
    if not contender.ran_everything():
        raise Failed(f"{contender.name} used a cache in a cold build:\n{words(contender.log)}")
    build("nothing changed", app.name, source)
    if app.name == "files":
        return
    app.edit_line(source, "one line more")
    build("one source line", app.name, source)
    app.add_requirement(source)
    build("one requirement more", app.name, source)
    build("another app", f"another-{app.name}", other)


def measure(program: Path, place: Path, out: Path):
    log = place / "log"
    apps = [APPS[name] for name in CHOSEN]
    registry = Registry(place)
    contenders = []
    try:
        layout = base.export(program, BASE, place, log, place / "base.tar")
        ours = [Warpdrive("warpdrive", place, registry, BASE, program)]
        contenders += ours
        contenders.append(Warpdrive("warpdrive zstd", place, registry, BASE, program, ["--compression", "zstd"]))
        if BEFORE:
            contenders.append(Warpdrive("warpdrive before", place, registry, BASE, Path(BEFORE).resolve()))
        for contender in contenders:
            note(f"preparing {contender.name} …")
            contender.prepare(layout, apps)
        uv = next(iter(ours[0].names("cache/tools-*/bin/uv")))
        peers = [
            lambda: BuildKit("buildkit", place, registry, "bench-base"),
            lambda: Buildah("buildah", place, registry, "localhost/bench-base"),
            lambda: Buildah("buildah zstd", place, registry, "localhost/bench-base", ["--compression-format", "zstd"]),
        ]
        for make in peers if PEERS else []:
            peer = make()
            contenders.append(peer)
            note(f"preparing {peer.name} …")
            peer.prepare(layout, apps, uv)
        registry.keep()
        results = {app.name: {} for app in apps}
        for run in range(RUNS):
            # Ours, peer, peer, and the next time the other way around.
            for app in apps:
                for contender in contenders if run % 2 == 0 else reversed(contenders):
                    said = []

                    def record(scenario, cost):
                        results[app.name].setdefault(contender.name, {}).setdefault(scenario, []).append(
                            [round(cost.clock, 3), round(cost.processor, 3), cost.pushed]
                        )
                        said.append(f"{scenario} {cost.clock:.2f} ({cost.processor:.2f})")

                    scenarios(contender, app, contender.place, registry, record)
                    note(f"run {run + 1} of {RUNS}, {app.name}, {contender.name}: {', '.join(said)}")
        document = {"machine": describe(program), "runs": RUNS, "results": results, "memory": memory(ours[0], apps, program, registry)}
        document["versions"] = start(program)
        out.write_text(json.dumps(document, indent=1))
    finally:
        for contender in contenders:
            contender.close()
        registry.close()
    print(markdown(document))


def memory(contender, apps, program, registry):
    """Peak memory of warpdrive's own processes in a cold build, in MiB, not while time is taken."""
    found = {}
    for app in apps:
        source = contender.place / "source"
        app.write(source)
        contender.reset()
        registry.reset()
        with Memory(program) as watched:
            contender.build(app, app.name, source)
        found[app.name] = [round(watched.together / 1024, 1), round(watched.largest / 1024, 1)]
    return found


def start(program, rounds=200):
    """Milliseconds of `--version`, and of `true` beside it."""
    import time

    taken = {"warpdrive --version": [str(program), "--version"], "true": ["/bin/true"]}
    found = {name: [] for name in taken}
    null = os.open(os.devnull, os.O_RDWR)
    for _ in range(rounds):
        for name, command in taken.items():
            begin = time.perf_counter()
            actions = [(os.POSIX_SPAWN_DUP2, null, 1)]
            os.waitpid(os.posix_spawn(command[0], command, os.environ, file_actions=actions), 0)
            found[name].append((time.perf_counter() - begin) * 1000)
    return {name: round(statistics.median(times), 2) for name, times in found.items()}


def main():
    here = Path(__file__).resolve().parent.parent.parent
    program = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("BENCH_WARPDRIVE") or here / "target/release/warpdrive")
    out = Path(os.environ.get("BENCH_OUT", here / "target/bench.json")).resolve()
    try:
        if os.geteuid() != 0:
            raise Failed("the peers need root")
        if not program.is_file():
            raise Failed(f"there is no {program}: build it, or name one in BENCH_WARPDRIVE")
        unknown = [name for name in CHOSEN if name not in APPS]
        if unknown:
            raise Failed(f"there is no app {unknown[0]}; there are {' '.join(APPS)}")
        need("dockerd", "containerd", "runc", "buildah", "docker-registry", "unshare", "mount")
        if place := inside():
            measure(program.resolve(), place, out)
            return 0
        return apart("warpdrive-bench", __file__, program, out)
    except Failed as failed:
        print(f"benches/compare: {failed}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
