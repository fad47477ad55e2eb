"""Between the start of Python and the server's program, in `warpdrive dev` alone.

The process that is to become the server stays here. It forks one that goes on and becomes the server, notes
what that imports of installed packages, and imports the same while nothing is to be done. At each HUP the server
is told to end, and another is forked, which has the packages already and loads the application's own modules
alone. No module of the source is ever imported here; where a module of a package has started a thread, this process
is not forked any more, and each server begins from the start.

WARPDRIVE_DEV_PRELOAD=0: nothing is imported ahead.
WARPDRIVE_DEV_GRACE: how many seconds a server may take to end.
"""

import importlib
import importlib.machinery
import os
import signal
import sys
import time

# How long a server may take to end when another takes its place, in seconds. gunicorn's first process looks
# once a second whether its workers have ended, which they do at once.
GRACE = 0.5
GRACE_OF_GUNICORN = 0.15
# And when all of it ends: a server may wait for a browser that never closes its connection.
GRACE_AT_THE_END = 3
# So often it is looked whether the server still imports.
LOOK = 0.4
# Those that change what others import have to be first in a process.
PATCHING = ("gevent", "eventlet")
SIGNALS = {
    signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT,
    signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD,
}


def grace_for(gunicorn):
    """In seconds; what the user says may be nonsense, and then counts for nothing."""
    try:
        said = float(os.environ["WARPDRIVE_DEV_GRACE"])
        if 0 <= said <= 3600:
            return said
    except (KeyError, ValueError):
        pass
    return GRACE_OF_GUNICORN if gunicorn else GRACE


def leave():
    """Takes this module out of the way of the program and of those that it starts; gives the way here."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if path != here]
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != here]
    if others:
        os.environ["PYTHONPATH"] = os.pathsep.join(others)
    else:
        os.environ.pop("PYTHONPATH", None)


def next_one():
    """Another `sitecustomize`, which Python would have imported by itself."""
    own = sys.modules.pop(__name__)
    try:
        importlib.import_module(__name__)
    except ImportError:
        pass
    sys.modules.setdefault(__name__, own)


class Recorder:
    """Notes the name of each module that is looked for."""

    def __init__(self, file):
        self.file = file
        self.noted = set()

    def find_spec(self, name, path=None, target=None):
        # Once: what is not there may be looked for with each request.
        if name not in self.noted:
            self.noted.add(name)
            try:
                os.write(self.file, name.encode(errors="replace") + b"\n")
            except OSError:
                pass
        return None


class Names:
    """What servers have imported, and what of it is here."""

    def __init__(self, source):
        self.file = os.memfd_create("imported")
        self.source = source
        # Of `python -m`: Python wants to import it itself.
        words = command_line()
        self.program = words[words.index("-m") + 1] if "-m" in words[1:-1] else None
        self.read = 0
        self.new = {}
        self.seen = set()

    def grew(self):
        """Reads what has been added; whether there was any."""
        size = os.fstat(self.file).st_size
        if size == self.read:
            return False
        text = os.pread(self.file, size - self.read, self.read)
        end = text.rfind(b"\n") + 1
        self.read += end
        for name in text[:end].decode(errors="replace").split("\n"):
            if name and name not in self.seen:
                self.seen.add(name)
                self.new[name] = None
        return end > 0

    def is_of_source(self, path):
        return path == self.source or path.startswith(self.source + os.sep)

    def preload(self):
        """Imports what is installed, until a signal comes. Whether this process may still be forked."""
        finder = importlib.machinery.PathFinder
        # Many look for them, and do without.
        if any(name in self.seen and finder.find_spec(name) for name in PATCHING):
            self.new.clear()
            return False
        path, finders = sys.path[:], sys.meta_path[:]
        sys.path[:] = [each for each in path if each and not self.is_of_source(os.path.abspath(each))]
        sys.meta_path[:] = [
            importlib.machinery.BuiltinImporter,
            importlib.machinery.FrozenImporter,
            importlib.machinery.PathFinder,
        ]
        narrow = sys.path[:], sys.meta_path[:]
        # By the descriptors: a module may keep the stream that it finds (loguru does).
        outputs = [(number, os.dup(number)) for number in (1, 2)]
        silent = os.open(os.devnull, os.O_WRONLY)
        for number, _ in outputs:
            os.dup2(silent, number)
        os.close(silent)
        try:
            while self.new and not signal.sigpending() & SIGNALS:
                name = next(iter(self.new))
                del self.new[name]
                if name.endswith("__main__") or name == self.program or name in sys.modules:
                    continue
                try:
                    importlib.import_module(name)
                except BaseException:
                    # Of the source, or not to be had without the application's settings.
                    pass
        finally:
            for stream in (sys.stdout, sys.stderr):
                if stream:
                    stream.flush()
            for number, output in outputs:
                os.dup2(output, number)
                os.close(output)
            sys.path[:] = with_added(path, narrow[0], sys.path)
            sys.meta_path[:] = with_added(finders, narrow[1], sys.meta_path)
        threading = sys.modules.get("threading")
        return threading is None or threading.active_count() == 1


def with_added(before, narrow, now):
    """What was there before, with what imports have put in front of it or behind it (six has a finder)."""
    own = [at for at, each in enumerate(now) if each in narrow]
    first = own[0] if own else 0
    return now[:first] + before + [each for each in now[first:] if each not in narrow]


class Gate:
    """Holds the server that comes back from taking its port while the one before still has it."""

    def __init__(self):
        self.inside, self.outside = os.pipe()

    def open(self):
        for end in (self.inside, self.outside):
            os.close(end)

    def stand(self):
        """In the new server."""
        os.close(self.outside)
        import socket

        plain = socket.socket.__init__
        inside = self.inside

        def waits(made, family=-1, type=-1, proto=-1, fileno=None):
            if fileno is None and family in (-1, socket.AF_INET, socket.AF_INET6):
                socket.socket.__init__ = plain
                os.read(inside, 1)
                os.close(inside)
            plain(made, family, type, proto, fileno)

        socket.socket.__init__ = waits


class Keeper:
    def __init__(self, names, preloads, hangs_up, ends_by):
        self.names = names
        self.preloads = preloads
        self.hangs_up = hangs_up
        self.ends_by = ends_by
        self.grace = grace_for(hangs_up)
        self.server = None
        self.started = 0
        self.is_warm = False
        self.warm = False
        self.may_fork = True
        self.gate = None
        # Servers that are to end, and when they are killed.
        self.ending = {}

    def start(self):
        """Another server. Comes back in it, too: true there."""
        gate = Gate() if self.ending else None
        server = os.fork()
        if server:
            # The server does the same: whoever is first.
            try:
                os.setpgid(server, server)
            except OSError:
                pass
            self.server, self.is_warm = server, self.warm
            self.started += 1
            if gate:
                self.open_gate()
                self.gate = gate
            return False
        os.setpgid(0, 0)
        if not self.may_fork:
            if gate:
                os.close(gate.outside)
                os.read(gate.inside, 1)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            os.execv(sys.executable, [sys.executable, *command_line()[1:]])
        if gate:
            gate.stand()
        if self.gate:
            self.gate.open()
        sys.meta_path.insert(0, Recorder(self.names.file))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return True

    def open_gate(self):
        if self.gate:
            self.gate.open()
            self.gate = None

    def stop(self):
        if self.server:
            if self.gate:
                # It stands before the gate and has served nothing; nor could it end before the gate opens.
                tell_group(self.server, signal.SIGKILL)
                tell(self.server, signal.SIGKILL)
            else:
                tell(self.server, self.ends_by)
            self.ending[self.server] = time.monotonic() + self.grace
            self.server = None

    def reap(self):
        """Takes note of what has ended; the status of the server, if it was that."""
        found = None
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not process:
                break
            if process == self.server or self.ending.pop(process, None) is not None:
                # Its workers, if it left any.
                tell_group(process, signal.SIGKILL)
            if process == self.server:
                self.server = None
                found = status
        if not self.ending:
            self.open_gate()
        return found

    def run(self):
        """Comes back in each server, and never otherwise."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        if self.start():
            return
        ended_by = None
        quiet = 0
        while True:
            limits = [end - time.monotonic() for end in self.ending.values()]
            if quiet < 2 and self.preloads:
                limits.append(LOOK)
            if limits:
                found = signal.sigtimedwait(SIGNALS, max(min(limits), 0.001))
            else:
                found = signal.sigwaitinfo(SIGNALS)
            number = found.si_signo if found else None
            if number is None and quiet < 2 and self.preloads and not self.ending:
                quiet = 0 if self.names.grew() else quiet + 1
                if quiet == 2 and self.names.new:
                    self.may_fork = self.names.preload() and self.may_fork
                    if self.names.new:
                        # A signal came: go on when it is quiet again.
                        quiet = 0
                    elif self.may_fork and not self.warm:
                        self.warm = True
                        words = "---> The packages are kept in memory; from the next change on only the application"
                        os.write(2, (words + " is loaded\n").encode())
            for process, end in list(self.ending.items()):
                if time.monotonic() >= end:
                    tell_group(process, signal.SIGKILL)
                    tell(process, signal.SIGKILL)
                    self.ending[process] = end + GRACE
            status = self.reap()
            if status is not None:
                # One that could not even start once is explained by the tool that has started it.
                if ended_by is not None or (self.started == 1 and number != signal.SIGHUP):
                    os._exit(shell_status(status))
                if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGHUP:
                    number = signal.SIGHUP
                elif number != signal.SIGHUP:
                    words = f"---> The application ended with the status {shell_status(status)}; "
                    os.write(2, (words + "the next change starts it again\n").encode())
            if number == signal.SIGHUP and ended_by is None:
                quiet = 0
                # By another process only where that has more than this one.
                if self.hangs_up and self.server and self.is_warm == self.warm:
                    tell(self.server, signal.SIGHUP)
                    continue
                self.stop()
                if self.start():
                    return
            elif number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                ended_by = number
                if self.server is None:
                    os._exit(128 + number)
                tell(self.server, number)
                self.ending.setdefault(self.server, time.monotonic() + max(self.grace, GRACE_AT_THE_END))
            elif number in (signal.SIGUSR1, signal.SIGUSR2) and self.server:
                tell(self.server, number)


def command_line():
    with open("/proc/self/cmdline", "rb") as file:
        return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]


def shell_status(status):
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)


def tell(process, number):
    try:
        os.kill(process, number)
    except ProcessLookupError:
        pass


def tell_group(process, number):
    try:
        os.killpg(process, number)
    except (ProcessLookupError, PermissionError):
        pass


def main():
    leave()
    server = os.environ.pop("WARPDRIVE_DEV_SERVER", "")
    source = os.environ.pop("WARPDRIVE_DEV_SOURCE", "")
    # What hooks and the image's own tool start is none of it: their parent is not the container's first process.
    if server and os.getppid() == 1:
        preloads = os.environ.get("WARPDRIVE_DEV_PRELOAD", "1") != "0"
        gunicorn = server == "gunicorn"
        # A HUP has gunicorn hold its socket. To end at once it wants a QUIT.
        keeper = Keeper(Names(source), preloads, gunicorn, signal.SIGQUIT if gunicorn else signal.SIGTERM)
        try:
            keeper.run()
        except BaseException:
            # Python would go on after it, and this process would be one more server.
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    next_one()


main()
