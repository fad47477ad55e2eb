"""The builder image that everybody builds on, as an OCI layout.

It is taken from the store that BENCH_STORE names, and made there first when it is missing.
"""

import os
from pathlib import Path

from machine import Failed, note, quiet

BASE = os.environ.get("BENCH_BASE", "debian-12-python-3.11")


def export(program, name, place: Path, log: Path, archive: Path | None = None):
    """The layout, in which it is called `base`; for Docker it is written as an archive, too."""
    env = dict(os.environ, WARPDRIVE_STORE=os.environ.get("BENCH_STORE") or str(place / "base-store"))
    try:
        quiet([program, "--quiet", "inspect", name], log, env)
    except Failed:
        note(f"making {name} …")
        quiet([program, "--quiet", "builder", "build", name], log, env)
    layout = place / "layout"
    quiet([program, "--quiet", "export", name, f"oci:{layout}:base"], log, env)
    if archive:
        quiet([program, "--quiet", "export", name, f"docker-archive:{archive}:bench-loaded:latest"], log, env)
    return layout
