"""A link to a registry as devices have it: slow, cut at will, and every byte of it counted.

Stands before a real registry and hands requests on. `rate` is in bytes a second, 0 for no limit; `cut_after`: the
connection ends after so many bytes of a blob, as long as `cuts` are left; `served` counts bytes of bodies by path.
"""
import http.client
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = 16 * 1024


class SlowRegistry:
    def __init__(self, port, upstream):
        self.rate = 0
        self.cut_after = self.cuts = 0
        self.served = {}
        self.ranges = []  # the Range header of each request for a blob, "" where there was none
        self.dead = False
        self.upstream = upstream
        self.address = f"127.0.0.1:{port}"
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                # What the sender's kernel holds was not on the link yet.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE)

            def do_GET(self):
                try:
                    registry.hand_on(self)
                except (OSError, http.client.HTTPException):
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def hand_on(self, handler):
        if self.dead:
            handler.close_connection = True
            return
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        headers = {name: handler.headers[name] for name in ("Accept", "Range") if name in handler.headers}
        connection.request("GET", handler.path, headers=headers)
        answer = connection.getresponse()
        handler.send_response(answer.status)
        for name in ("Content-Type", "Content-Length", "Content-Range", "Docker-Content-Digest"):
            if answer.getheader(name):
                handler.send_header(name, answer.getheader(name))
        handler.end_headers()
        blob = "/blobs/" in handler.path
        if blob:
            self.ranges.append(headers.get("Range", ""))
        sent = 0
        while piece := answer.read(PIECE):
            if blob and self.cuts > 0 and sent + len(piece) > self.cut_after:
                self.cuts -= 1
                handler.close_connection = True
                handler.connection.shutdown(socket.SHUT_RDWR)
                return
            handler.wfile.write(piece)
            sent += len(piece)
            self.served[handler.path] = self.served.get(handler.path, 0) + len(piece)
            if self.rate:
                time.sleep(len(piece) / self.rate)
        connection.close()

    def blob_bytes(self):
        return sum(count for path, count in self.served.items() if "/blobs/" in path)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
