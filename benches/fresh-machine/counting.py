"""Proxies on the loopback that count what goes through them, each way."""

import socket
import threading


class Counter:
    """Passes connections on to `target`; without one it is a proxy for HTTPS (`CONNECT`)."""

    def __init__(self, target=None):
        self.target = target
        self.up = self.down = self.connections = 0
        self.lock = threading.Lock()
        self.server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = "127.0.0.1:%d" % self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def reset(self):
        with self.lock:
            self.up = self.down = self.connections = 0

    def accept(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            target = self.target or self.asked_for(client)
            server = socket.create_connection(target, 30)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.target is None:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with self.lock:
            self.connections += 1
        back = threading.Thread(target=self.pump, args=(server, client, "down"), daemon=True)
        back.start()
        self.pump(client, server, "up")
        back.join()
        client.close()
        server.close()

    @staticmethod
    def asked_for(client):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = client.recv(1)
            if not byte or len(head) > 8192:
                raise OSError("no request")
            head += byte
        method, where, _ = head.split(None, 2)
        if method != b"CONNECT":
            raise OSError("not CONNECT")
        host, _, port = where.decode().rpartition(":")
        return host.strip("[]"), int(port)

    def pump(self, source, sink, way):
        try:
            while data := source.recv(1 << 18):
                with self.lock:
                    setattr(self, way, getattr(self, way) + len(data))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for one in (source, sink):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self.server.close()
