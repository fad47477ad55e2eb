"""Results as a table for benches/README.md.

    python3 benches/compare/table.py target/bench.json
"""

import json
import statistics
import sys

# Most that warpdrive may take of what the fastest peer takes: (gzip, zstd).
TARGETS = {
    "cold": (0.6, 0.45),
    "another app": {"heavy": 0.1},
    "nothing changed": 0.4,
    "one source line": {"django": 0.8, None: 0.6},
    "one requirement more": {"heavy": 0.1, "flask": 0.6},
}
ORDER = ["cold", "another app", "nothing changed", "one source line", "one requirement more"]


def median(costs, which):
    return statistics.median(cost[which] for cost in costs)


def target(scenario, app, zstd):
    value = TARGETS[scenario]
    if isinstance(value, tuple):
        return value[zstd]
    if isinstance(value, dict):
        return value.get(app, value.get(None))
    return value


def markdown(document):
    lines = [*document["machine"], f"{document['runs']} runs, medians: seconds by the clock (of processor time) megabytes pushed", ""]
    for app, contenders in document["results"].items():
        names = list(contenders)
        peers = [name for name in names if not name.startswith("warpdrive")]
        ours = [name for name in names if name.startswith("warpdrive")]
        lines += [
            f"| {app} | {' | '.join(names)} | {' | '.join(f'{name}: ratio (target)' for name in ours)} |",
            f"|---{'|---' * (len(names) + len(ours))}|",
        ]
        for scenario in ORDER:
            if scenario not in contenders[names[0]]:
                continue
            clock = {name: median(contenders[name][scenario], 0) for name in names}
            cells = [
                f"{clock[name]:.2f} ({median(contenders[name][scenario], 1):.2f}) {median(contenders[name][scenario], 2) / 1e6:.2f}"
                for name in names
            ]
            # Without peers: to the earlier release, which is to stay as fast.
            before = clock.get("warpdrive before")
            fastest = min((clock[name] for name in peers), default=before or clock[names[0]])
            for name in ours:
                if not peers:
                    cells.append(f"{clock[name] / fastest:.2f} (1.05)")
                    continue
                ratio = clock[name] / fastest
                aim = target(scenario, app, name.endswith("zstd"))
                missed = "" if aim is None or ratio <= aim else " **missed**"
                cells.append(f"{ratio:.2f} ({'–' if aim is None else aim}){missed}")
            lines.append(f"| {scenario} | {' | '.join(cells)} |")
        lines.append("")
        if app == "files":
            used = [median(contenders[name]["nothing changed"], 1) * 1000 for name in ours]
            missed = "" if max(used) < 50 else " **missed**"
            words = ", ".join(f"{name} {took:.0f} ms" for name, took in zip(ours, used))
            lines += [f"Processor time when nothing of 500 files has changed (target 50 ms): {words}{missed}", ""]
    lines += ["Peak memory of warpdrive's own processes, cold, in MiB: all together, the largest one (target 128)", ""]
    lines += [f"- {app}: {together}, {largest}" for app, (together, largest) in document["memory"].items()]
    lines += ["", "; ".join(f"`{name}` {took} ms" for name, took in document["versions"].items()) + " (target 3)"]
    return "\n".join(lines)


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        print(markdown(json.load(file)))
