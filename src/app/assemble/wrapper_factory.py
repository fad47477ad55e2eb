# Written by warpdrive at build, for servers that cannot call a factory.
import importlib

application = getattr(importlib.import_module({module!r}), {object!r})()
