import gc
import importlib
import os
import sys

kind, name, django = sys.argv[1:4]
del sys.argv[1:]


def attribute(reference):
    module, _, names = reference.partition(':')
    found = importlib.import_module(module)
    for part in names.split('.'):
        if part:
            found = getattr(found, part)


def program(path):
    import ast
    import importlib.util
    with open(path, 'rb') as file:
        tree = ast.parse(file.read(), path)
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    for statement in tree.body:
        names = []
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            names = [statement.module]
        for module in names:
            top = module.split('.')[0]
            if top not in sys.modules and importlib.util.find_spec(top) is None:
                raise ModuleNotFoundError("No module named '%s'" % top, name=top)


def script(name):
    import importlib.metadata
    import importlib.util
    found = importlib.metadata.entry_points()
    if hasattr(found, 'select'):
        found = found.select(group='console_scripts')
    else:
        found = found.get('console_scripts', ())
    for entry in found:
        if entry.name == name:
            module, _, object = entry.value.partition(':')
            spec = importlib.util.find_spec(module)
            if spec is None:
                raise ModuleNotFoundError("No module named '%s'" % module, name=module)
            return


gc.disable()
status = 0
sys.path.insert(0, os.getcwd())
try:
    {'object': attribute, 'program': program, 'script': script}[kind](name)
    if django == 'yes':
        import django
        django.setup()
        from django.urls import get_resolver
        get_resolver().url_patterns
except BaseException:
    import traceback
    traceback.print_exc(file=sys.__stderr__)
    sys.__stderr__.flush()
    status = 1
os._exit(status)
