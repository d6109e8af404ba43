"""Serves the page at `/` and its few files, read once, at start. All else that the page shows it asks of the API.

The files name each other and the API by relative addresses, so that the page also works below a path prefix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import PurePath
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

INDEX = "index.html"
MEDIA_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""What `page/` may hold."""

BROWSER_RULES = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""The page asks its own server and nobody else, is shown in nobody's frame, and runs no script but its own."""


class File(NamedTuple):
    content: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, content: bytes, media_type: str) -> File:
        return cls(content, media_type, f'"{sha256(content).hexdigest()[:32]}"')


class Playground:
    """The files of `page/`, by name."""

    def __init__(self) -> None:
        self.files = _read()

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return (Route("/", self.index), Route("/page/{name}", self.file))

    async def index(self, request: Request) -> Response:
        return send(request, self.files[INDEX])

    async def file(self, request: Request) -> Response:
        file = self.files.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        return send(request, file)


def _read() -> Mapping[str, File]:
    read = {}
    for path in (files("iris_service.api") / "page").iterdir():
        read[path.name] = File.of(path.read_bytes(), MEDIA_TYPES[PurePath(path.name).suffix])
    return read


def send(request: Request, file: File) -> Response:
    """Send the file, or 304 to who has it; browsers ask each time, so that a new release is seen at once and whole."""
    headers = {**BROWSER_RULES, "ETag": file.etag, "Cache-Control": "no-cache"}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if file.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)
