# Written by warpdrive at build. Waitress as `waitress-serve` starts it, with the same arguments, but
# with an access log on stdout, and when it is told to stop it finishes the responses under way.
import logging
import os
import signal
import sys
import time

from waitress import runner, wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server
from waitress.task import WSGITask

GRACE = float(os.environ.get('WARPDRIVE_GRACEFUL_TIMEOUT') or 30)


class Task(WSGITask):
    def service(self):
        try:
            super().service()
        finally:
            request = self.request
            address = self.channel.addr
            host = address[0] if isinstance(address, tuple) else '-'
            uri = request.path + ('?' + request.query if request.query else '')
            size = self.content_length or self.content_bytes_written or '-'
            now = time.strftime('%d/%b/%Y:%H:%M:%S %z')
            print(f'{host} - - [{now}] "{request.command} {uri} HTTP/{request.version}"'
                  f' {self.status.split(" ")[0]} {size}', flush=True)


class Channel(HTTPChannel):
    task_class = Task


BaseWSGIServer.channel_class = Channel


def serve(application, **settings):
    logging.basicConfig()
    sockets = {}
    server = create_server(application, map=sockets, **settings)
    server.print_listen('Serving on http://{}:{}')
    asked = []

    def ask(number, frame):
        asked.append(number)
        for listener in list(sockets.values()):
            if isinstance(listener, BaseWSGIServer):
                listener.pull_trigger()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    poll = server.adj.asyncore_use_poll

    while not asked:
        wasyncore.loop(timeout=1, use_poll=poll, map=sockets, count=1)
    # The connections that the kernel has taken by now, and no more.
    wasyncore.loop(timeout=0, use_poll=poll, map=sockets, count=1)
    for listener in list(sockets.values()):
        if isinstance(listener, BaseWSGIServer):
            listener.accepting = False
            listener.del_channel()
            listener.socket.close()
    end = time.monotonic() + GRACE
    while time.monotonic() < end and len(asked) < 2:
        channels = [one for one in sockets.values() if isinstance(one, HTTPChannel)]
        if not any(one.requests or one.request or one.total_outbufs_len for one in channels):
            break
        wasyncore.loop(timeout=0.1, use_poll=poll, map=sockets, count=1)


if __name__ == '__main__':
    status = runner.run(['waitress-serve', *sys.argv[1:]], serve)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not through the interpreter's end: that would wait for a thread that has run out of grace.
    os._exit(status or 0)
