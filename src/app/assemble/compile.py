# Compiles the files named on stdin, each followed by NUL, as they are named, and writes on stdout: a
# byte for the release (the 3.x of CPython, or 0), the tag of its .pyc files with a byte for its length;
# then for each file in order the length of its .pyc file in four bytes (0: it is not Python 3) and its
# content.
#
# The bytes depend on what else the interpreter has seen (marshal's reference flags follow reference
# counts); whoever reads them takes that out, see marshal.rs. Where that is not known to be all of it,
# every file is compiled in a fork of one and the same state. Started with -S -s -B and
# PYTHONHASHSEED=0 (not -I, which would ignore the seed). Runs on Python 3.7 and later.
import sys
sys.path[:] = [entry for entry in sys.path if entry]
import _frozen_importlib_external as external
import _imp
import gc
import marshal
import os

MAGIC = external.MAGIC_NUMBER
RAW_MAGIC = int.from_bytes(MAGIC, 'little')


def named():
    rest = b''
    while True:
        more = os.read(0, 65536)
        if not more:
            return
        *whole, rest = (rest + more).split(b'\0')
        yield from map(os.fsdecode, whole)


def compiled(path, flags):
    with open(path, 'rb') as file:
        data = file.read()
    try:
        code = compile(data, path, 'exec', dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, OverflowError, MemoryError):
        # Templates and Python 2 code lie around in many packages.
        return b''
    return MAGIC + flags.to_bytes(4, 'little') + _imp.source_hash(RAW_MAGIC, data) + marshal.dumps(code)


def show(path, flags, out):
    try:
        content = compiled(path, flags)
    except OSError as error:
        sys.exit('%s: %s' % (path, error))
    out.write(len(content).to_bytes(4, 'little') + content)


def apart(path, flags, out):
    out.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            show(path, flags, out)
            out.flush()
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(1)


def main():
    # The kind of check is all that differs: 1 unchecked, 3 checked against the source.
    flags = {'unchecked': 1, 'checked': 3}[sys.argv[1]]
    import warnings
    warnings.simplefilter('ignore')
    sys.setrecursionlimit(5000)
    # What a compilation leaves behind is freed by reference counts.
    gc.disable()
    # 3.12 merges equal sets or not by what it has seen; what comes after 3.13 has not been looked at.
    known = sys.implementation.name == 'cpython' and sys.version_info[1] in (7, 8, 9, 10, 11, 13)
    tag = os.fsencode(sys.implementation.cache_tag)
    out = sys.stdout.buffer
    out.write(bytes([sys.version_info[1] if known else 0, len(tag)]) + tag)
    out.flush()
    for path in named():
        (show if known else apart)(path, flags, out)
        out.flush()


main()
