"""What takes too long for the tests: builds of very large things, and eight at once.

    python3 benches/compare/bounds.py [WARPDRIVE]

Memory is that of warpdrive's own processes. To be run as root.
"""

import base64
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

import base
from apps import APPS, App
from machine import Failed, Group, Memory, note, timed, words

BASE = os.environ.get("BENCH_BASE", "debian-12-python-3.11-run")
# GiB of the source file, and of the tree of packages.
SOURCE, PACKAGES = (float(size) for size in os.environ.get("BENCH_LARGE", "10 5").split())
MOST = 128


def wheel(directory: Path, name, size):
    """A wheel with files of zeros: small to keep, large to install."""
    path = directory / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    block, files = bytes(1 << 24), 8
    each = int(size / files) // len(block) * len(block)
    digest = hashlib.sha256()
    for _ in range(each // len(block)):
        digest.update(block)
    zeros = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
    texts = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name}/{n}.bin,sha256={zeros},{each}\n" for n in range(files))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for n in range(files):
            with archive.open(f"{name}/{n}.bin", "w", force_zip64=True) as out:
                for _ in range(each // len(block)):
                    out.write(block)
        for inner, text in texts.items():
            archive.writestr(inner, text)
            found = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{inner},sha256={found},{len(text)}\n"
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


def index(directory: Path):
    """A package index of the wheels in a directory; gives its URL."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(directory))

        def log_message(self, *_):
            pass

        def do_GET(self):
            parts = self.path.strip("/").split("/")
            if parts[0] != "simple":
                return super().do_GET()
            found = [p.name for p in directory.iterdir() if p.name.startswith(parts[1].replace("-", "_") + "-")]
            page = "".join(f'<a href="/{name}">{name}</a>\n' for name in found).encode()
            self.send_response(200 if found else 404)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/simple"


def command(program, store, name, source, *more):
    return [program, "--quiet", "--store", store, "image", name, "--builder", BASE, "--path", source, *more]


def large(program, place, store, group):
    shelf, source = place / "shelf", place / "large"
    shelf.mkdir()
    note(f"making {PACKAGES} GiB of packages …")
    wheel(shelf, "vast", PACKAGES * 2**30)
    flask = APPS["flask"]
    cases = {
        f"a source file of {SOURCE:g} GiB": (lambda: os.truncate(source / "large.bin", int(SOURCE * 2**30)), []),
        f"packages of {PACKAGES:g} GiB": (lambda: None, ["--extra-index-url", index(shelf)]),
    }
    for what, (enlarge, option) in cases.items():
        flask.write(source, [*([" ".join(option), "vast"] if option else []), *flask.requirements])
        if not option:
            (source / "large.bin").touch()
        enlarge()
        with Memory(program) as memory:
            cost = timed(group, [command(program, store, "large", source)], place / "log")
        together = memory.together / 1024
        yield f"{what}: {together:.0f} MiB at most, {cost.clock:.0f} s ({cost.processor:.0f} s of processor)", together <= MOST
        subprocess.check_call([program, "--quiet", "--store", store, "rm", "large"])
        subprocess.check_call([program, "--quiet", "--store", store, "prune"], stdout=subprocess.DEVNULL)


def eight(program, place, fresh, group):
    """Eight builds one after the other, each in an empty store, then at once in one."""
    more = ["humanize", "requests", "pyyaml", "attrs", "packaging", "rich", "sqlalchemy", "pillow"]
    sources = []
    for n, name in enumerate(more):
        app = App(f"app{n}", [*APPS["flask"].requirements, name, more[(n + 1) % 8]], {**APPS["flask"].files, "n.txt": str(n)}, "app.py")
        sources.append(place / app.name)
        app.write(sources[-1])
    store = fresh()
    for n, source in enumerate(sources):  # wheels, the base laid out
        timed(group, [command(program, store, f"warm{n}", source)], place / "log")
    wheels = store / "cache"
    alone, digests = 0.0, []
    log = place / "log"
    for n, source in enumerate(sources):
        one = fresh(wheels)
        alone += timed(group, [command(program, one, f"app{n}", source)], log).processor
        digests.append(words(log).strip().splitlines()[-1].split("@")[-1])
        shutil.rmtree(one)
    one = fresh(wheels)
    os.sync()
    begin, before = time.monotonic(), group.seconds()
    group.enter()
    running = [
        subprocess.Popen([str(w) for w in command(program, one, f"app{n}", source)], stdout=subprocess.PIPE, text=True)
        for n, source in enumerate(sources)
    ]
    group.leave()
    said = [process.communicate()[0].strip().splitlines()[-1].split("@")[-1] for process in running]
    took, together = time.monotonic() - begin, group.seconds() - before
    right = said == digests and all(process.returncode == 0 for process in running)
    ratio = together / alone
    yield (
        f"eight builds at once: {took:.1f} s, {together:.1f} s of processor, {ratio:.2f} of {alone:.1f} s one by one (1.2); "
        f"digests {'right' if right else 'WRONG'}",
        right and ratio <= 1.2,
    )


def main():
    here = Path(__file__).resolve().parent.parent.parent
    program = Path(sys.argv[1] if len(sys.argv) > 1 else here / "target/release/warpdrive").resolve()
    if not program.is_file():
        raise Failed(f"there is no {program}")
    place = Path(os.environ.get("TMPDIR", "/var/tmp")) / f"warpdrive-bounds-{os.getpid()}"
    place.mkdir(parents=True)
    group = Group(place.name)
    layout = base.export(program, BASE, place, place / "log")
    quiet = {"stdout": subprocess.DEVNULL}
    count = 0

    def fresh(cache=None):
        """A store with the base alone; with wheels and tools of another one's cache, and the base laid out."""
        nonlocal count
        count += 1
        store = place / f"store{count}"
        subprocess.check_call([program, "--quiet", "--store", store, "import", f"oci:{layout}:base", BASE], **quiet)
        if cache:
            (store / "cache").mkdir(exist_ok=True)
            kept = [p for p in cache.iterdir() if p.name.startswith(("wheels-", "tools-")) or p.name in ("python", "builder-layer")]
            subprocess.check_call(["cp", "--archive", *kept, store / "cache"])
            # What the records of the builder's layer name.
            subprocess.check_call(["cp", "--archive", "--update", cache.parent / "blobs", store])
            laid = [p for p in (cache.parent / "unpacked").glob("*/*") if len(p.name.split(".")[0]) == 64]
            for path in laid:
                target = store / path.relative_to(cache.parent).parent
                target.mkdir(parents=True, exist_ok=True)
                subprocess.check_call(["cp", "--archive", "--link", path, target])
        return store

    parts = os.environ.get("BENCH_BOUNDS", "eight large").split()
    good = True
    try:
        if "eight" in parts:
            for line, met in eight(program, place, fresh, group):
                good &= met
                print(line if met else f"{line} **missed**", flush=True)
        if "large" in parts:
            for line, met in large(program, place, fresh(), group):
                good &= met
                print(line if met else f"{line} **missed**", flush=True)
    finally:
        if "BENCH_KEEP" not in os.environ:
            subprocess.call(["rm", "-rf", "--one-file-system", place])
        subprocess.call(["find", "/sys/fs/cgroup", "-depth", "-type", "d", "-path", f"*/{place.name}*", "-delete"], stderr=subprocess.DEVNULL)
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failed:
        sys.exit(f"benches/compare/bounds.py: {failed}")
