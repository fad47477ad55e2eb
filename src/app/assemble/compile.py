# Writes hash-based byte code (PEP 552) for the files named on stdin, separated by NUL.
#
# The bytes of a .pyc depend on what else the interpreter has seen (marshal's reference flags follow
# reference counts of interned strings), so every file is compiled in a fork of one and the same
# state: whatever the order and the number of workers, a file gives the same bytes. Started with
# -S -s -B and PYTHONHASHSEED=0 (not -I, which would ignore the seed). Runs on Python 3.7 and later.
import sys
sys.path[:] = [entry for entry in sys.path if entry]
import _frozen_importlib_external as external
import _imp
import marshal
import os

MAGIC = external.MAGIC_NUMBER
RAW_MAGIC = int.from_bytes(MAGIC, 'little')


def compile_file(path, flags):
    with open(path, 'rb') as file:
        data = file.read()
    try:
        code = compile(data, path, 'exec', dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, OverflowError, MemoryError):
        # Templates and Python 2 code lie around in many packages.
        return
    content = MAGIC + flags.to_bytes(4, 'little') + _imp.source_hash(RAW_MAGIC, data) + marshal.dumps(code)
    target = external.cache_from_source(path, optimization='')
    os.makedirs(os.path.dirname(target), exist_ok=True)
    temporary = '%s.%d' % (target, os.getpid())
    with open(temporary, 'wb') as file:
        file.write(content)
    os.replace(temporary, target)


def work(paths, flags):
    failed = False
    for path in paths:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                compile_file(path, flags)
                status = 0
            except OSError as error:
                sys.stderr.write('%s: %s\n' % (path, error))
            finally:
                os._exit(status)
        failed |= os.waitpid(child, 0)[1] != 0
    return failed


def main():
    # The kind of check is all that differs: 1 unchecked, 3 checked against the source.
    flags = {'unchecked': 1, 'checked': 3}[sys.argv[1]]
    import warnings
    warnings.simplefilter('ignore')
    sys.setrecursionlimit(5000)
    paths = [os.fsdecode(path) for path in sys.stdin.buffer.read().split(b'\0') if path]
    workers = max(1, min(int(sys.argv[2]), len(paths)))
    children = []
    for number in range(workers):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = int(work(paths[number::workers], flags))
            finally:
                os._exit(status)
        children.append(child)
    sys.exit(any([os.waitpid(child, 0)[1] for child in children]))


main()
