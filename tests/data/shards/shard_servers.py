"""A web server on this machine that can be told to misbehave, for the tests of remote shards."""

import gzip
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any


@dataclass
class WebServer:
    """A web server with some files. Counts requests, and misbehaves as told."""

    url: str = ""
    """Where it is, without a / at the end."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Name -> content."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, name and Range header of each."""
    fail: int = 0
    """Requests that are answered with `status` from now on."""
    status: int = 503
    drop: int = 0
    """Answers that break off in the middle from now on; HEADs do not count."""
    ignore_ranges: bool = False
    compress: bool = False
    """Whether whole files are compressed for those who say they understand it."""
    name_sizes: bool = True
    """Whether answers say how long they are."""
    stall: int = 0
    """GETs that are answered only once `released` is set, from now on."""
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, method: str) -> int:
        """Requests so far."""
        return sum(request[0] == method for request in self.requests)

    def take(self, name: str) -> bool:
        """Count `fail`, `drop` or `stall` down; False where it is at zero."""
        with self.lock:
            left = getattr(self, name)
            setattr(self, name, max(left - 1, 0))
            return left > 0


def handler_of(server: WebServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_HEAD(self) -> None:
            self.answer("HEAD")

        def do_GET(self) -> None:
            self.answer("GET")

        def answer(self, method: str) -> None:
            asked = self.headers.get("Range", "")
            with server.lock:
                server.requests.append((method, self.path, asked))
            if method == "GET" and server.take("stall"):
                server.released.wait()
            if server.take("fail"):
                return self.say(server.status, {}, b"no", method)
            data = server.files.get(self.path.removeprefix("/"))
            if data is None:
                return self.say(404, {}, b"none", method)
            headers = {"ETag": f'"{hash(data):x}"', "Content-Type": "application/x-tar"}
            if server.compress and "gzip" in self.headers.get("Accept-Encoding", ""):
                return self.say(200, {**headers, "Content-Encoding": "gzip"}, gzip.compress(data), method)
            if not asked or server.ignore_ranges:
                return self.say(200, headers, data, method)
            start, _, last = asked.removeprefix("bytes=").partition("-")
            first, stop = int(start), min(int(last or len(data)) + 1, len(data))
            if first >= len(data):
                return self.say(416, {"Content-Range": f"bytes */{len(data)}"}, b"", method)
            headers["Content-Range"] = f"bytes {first}-{stop - 1}/{len(data)}"
            return self.say(206, headers, data[first:stop], method)

        def say(self, status: int, headers: dict[str, str], data: bytes, method: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if server.name_sizes:
                self.send_header("Content-Length", str(len(data)))
            else:
                self.send_header("Connection", "close")
            self.end_headers()
            if method == "HEAD":
                return
            if status < 300 and server.take("drop"):
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
                return
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Not on the terminal."""

    return Handler
