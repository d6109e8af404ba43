"""An ingress that serves the service below a path prefix."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


@contextmanager
def behind_a_prefix(url: str, prefix: str) -> Iterator[str]:
    """An ingress that serves the service below a prefix and takes the prefix off."""

    class Ingress(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            inside = self.path.startswith(prefix)
            answer = httpx.get(url + self.path.removeprefix(prefix), timeout=30) if inside else httpx.Response(404)
            self.send_response(answer.status_code)
            for name in ("content-type", "content-security-policy", "server-timing"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Ingress) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
        server.shutdown()
