# Written by warpdrive at build, for servers that take nothing but the name of an object.
import importlib
import operator

application = operator.attrgetter({object!r})(importlib.import_module({module!r})){call}
