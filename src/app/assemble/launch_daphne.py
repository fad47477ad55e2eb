# Written by warpdrive at build. Daphne with the same arguments, but when it is told to stop it
# finishes the responses under way.
import os
import signal
import sys
import time

from daphne.cli import CommandLineInterface
from daphne.server import Server, reactor, twisted_loop
from daphne.ws_protocol import WebSocketProtocol

GRACE = float(os.environ.get('WARPDRIVE_GRACEFUL_TIMEOUT') or 30)


class Graceful(Server):
    asked = 0

    def run(self):
        self.ports = []
        self.signal_handlers = False
        reactor.callWhenRunning(self.handle_signals)
        super().run()

    def handle_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            twisted_loop.add_signal_handler(number, self.finish)

    def listen_success(self, port):
        self.ports.append(port)
        super().listen_success(port)

    def finish(self):
        self.asked += 1
        if self.asked > 1:
            reactor.stop()
            return
        for port in self.ports:
            port.stopListening()
        for protocol in list(self.connections):
            if isinstance(protocol, WebSocketProtocol):
                protocol.serverClose(1001)
        self.wait(time.monotonic() + GRACE)

    def wait(self, end):
        busy = [one for one in self.connections.values() if not one.get('disconnected')]
        if (busy or reactor.getWriters()) and time.monotonic() < end:
            reactor.callLater(0.1, self.wait, end)
        elif self.asked == 1:
            reactor.stop()


class Program(CommandLineInterface):
    server_class = Graceful


if __name__ == '__main__':
    sys.exit(Program().run(sys.argv[1:]))
