# Written by warpdrive at build. Hypercorn with the same arguments, but every worker finishes the
# responses under way when it is told to stop, and one that was killed is replaced.
import signal
import sys
import time

import hypercorn.asyncio.run as asynchronous
import hypercorn.run as supervisor
from hypercorn.__main__ import main

asyncio_worker = asynchronous.asyncio_worker
uvloop_worker = asynchronous.uvloop_worker
join_exited = getattr(supervisor, '_join_exited', None)
killed = []


def ignore(shutdown_event):
    # The event tells a worker to finish. Hypercorn then terminates those that are not the first.
    if shutdown_event is not None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def worker(config, sockets=None, shutdown_event=None):
    ignore(shutdown_event)
    asyncio_worker(config, sockets=sockets, shutdown_event=shutdown_event)


def uvloop(config, sockets=None, shutdown_event=None):
    ignore(shutdown_event)
    uvloop_worker(config, sockets=sockets, shutdown_event=shutdown_event)


def join(processes):
    status = join_exited(processes)
    if status >= 0:
        return status
    killed.append(time.monotonic())
    # Five in ten seconds, and it is not an accident.
    if len(killed) >= 5 and killed[-1] - killed[-5] < 10:
        return status
    print(f'a worker was ended by signal {-status}; it is replaced', file=sys.stderr, flush=True)
    return 0


asynchronous.asyncio_worker = worker
asynchronous.uvloop_worker = uvloop
if join_exited is not None:
    supervisor._join_exited = join

if __name__ == '__main__':
    sys.argv[0] = 'hypercorn'
    sys.exit(main())
