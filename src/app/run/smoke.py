import collections
import gc
import importlib
import importlib.machinery
import os
import sys
import threading

kind, name, django, source = sys.argv[1:5]
del sys.argv[1:]
source = os.path.join(source, '')
answer = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
ran, opened, unclear = set(), collections.Counter(), []
files, modules, exist = set(), set(), []


def trace(frame, event, argument):
    code = frame.f_code
    if code.co_filename.startswith(source):
        ran.add(code)
        if code.co_name == '<module>':
            modules.add(code)
    elif code.co_name == '_unpack_opargs':
        unclear.append(code)


def defined():
    if exist:
        return True
    lines, frame = {}, sys._getframe()
    while frame:
        if frame.f_code in modules:
            lines[frame.f_code] = frame.f_lineno
        frame = frame.f_back
    for module in modules:
        line = lines.get(module) or sys.maxsize
        for part in module.co_consts:
            if isinstance(part, type(module)) and part.co_name[0] != '<' and part.co_firstlineno <= line:
                exist.append(part)
                return True
    return False


def turn(on):
    now = sys.gettrace()
    if now not in (trace, None):
        unclear.append(now)
    elif (now is trace) != on:
        sys.settrace(trace if on else None)


def alone(plain):
    def exec_module(self, module):
        mine = self.path.startswith(source)
        before = sys.gettrace() is trace
        if not mine and (not before or defined()):
            return plain(self, module)
        turn(mine)
        try:
            plain(self, module)
        finally:
            turn(before or defined())
    return exec_module


def hear(event, arguments):
    if event == 'open':
        path = arguments[0]
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if isinstance(path, str) and path.endswith('.py'):
            opened[os.path.abspath(path)] += 1
    elif event in ('subprocess.Popen', 'os.fork', 'os.forkpty', 'os.posix_spawn', 'os.system', 'os.exec'):
        unclear.append(event)


def watch():
    for loader in ('SourceFileLoader', 'SourcelessFileLoader', 'ExtensionFileLoader'):
        loader = getattr(importlib.machinery, loader)
        loader.exec_module = alone(loader.exec_module)
    sys.addaudithook(hear)
    threading.settrace(trace)
    sys.settrace(trace)


def seen():
    below = [path for path in opened if path.startswith(source)]
    executed = {code.co_filename for code in modules}
    for module in list(sys.modules.values()):
        path = getattr(module, '__file__', None)
        if isinstance(path, str) and path.endswith('.py') and path.startswith(source):
            files.add(path)
            if path not in executed:
                unclear.append(path)
    lines = {path[len(source):]: [] for path in files}
    for code in ran:
        if code.co_name != '<module>' and code.co_filename in files:
            lines[code.co_filename[len(source):]].append(code.co_firstlineno)
    read = [path[len(source):] for path in below if path not in files or opened[path] > 1]
    return {'ran': lines, 'read': read}


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
    files.add(os.path.abspath(path))
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
    watch()
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
turn(False)
if not status:
    report = seen()
    if not unclear:
        import json
        with os.fdopen(answer, 'w') as file:
            file.write(json.dumps(report) + '\n')
os._exit(status)
