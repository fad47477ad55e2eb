"""The CRC-32C of the path that was asked for, computed by a compiled extension."""
from crcmod import _crcfunext  # noqa: F401  (crcmod itself falls back to Python code)
from crcmod.predefined import mkCrcFun

crc32c = mkCrcFun("crc-32c")


def application(environ, start_response):
    path = environ["PATH_INFO"].encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [b"%08x\n" % crc32c(path)]
