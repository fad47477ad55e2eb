# Compiles what stdin names: for each file four bytes for the length of its path, four for that of its
# content, both. Writes on stdout: a byte for the release (the 3.x of CPython, or 0), the tag of its .pyc
# files with a byte for its length; then for each file in order the length of its .pyc file in four bytes
# (0: it is not Python 3) and its content. It opens no file itself: there need be none where it runs.
#
# The bytes depend on what else the interpreter has seen (marshal's reference flags follow reference
# counts); the reader takes that out, see marshal.rs. Where that is not known to be all of it, every file
# is compiled in a fork of one and the same state. Started with -S -s -B, without a variable but
# PYTHONHASHSEED=0 and those of the C library: that is -I but for the seed, which -I ignores. Runs on
# Python 3.7 and later.
import sys
sys.path[:] = [entry for entry in sys.path if entry]
import _frozen_importlib_external as external
import _imp
import gc
import marshal
import os

MAGIC = external.MAGIC_NUMBER
RAW_MAGIC = int.from_bytes(MAGIC, 'little')


def given():
    stdin = sys.stdin.buffer
    while True:
        start = stdin.read(8)
        if not start:
            return
        path = stdin.read(int.from_bytes(start[:4], 'little'))
        yield os.fsdecode(path), stdin.read(int.from_bytes(start[4:], 'little'))


def compiled(path, data, flags):
    try:
        code = compile(data, path, 'exec', dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, OverflowError, MemoryError):
        # Templates and Python 2 code lie around in many packages.
        return b''
    return MAGIC + flags.to_bytes(4, 'little') + _imp.source_hash(RAW_MAGIC, data) + marshal.dumps(code)


def show(path, data, flags, out):
    content = compiled(path, data, flags)
    out.write(len(content).to_bytes(4, 'little') + content)


def apart(path, data, flags, out):
    out.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            show(path, data, flags, out)
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
    for path, data in given():
        (show if known else apart)(path, data, flags, out)
        out.flush()


main()
