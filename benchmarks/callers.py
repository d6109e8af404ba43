"""Load generators for loopback: a lean asyncio client, a blocking one for latencies, and wrk where it is installed."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import uvloop

HOST = "127.0.0.1"
_PATIENCE_SECONDS = 60.0


class Reply(NamedTuple):
    status: int
    body: bytes
    seconds: float


class Endpoint(NamedTuple):
    """What one burst of load saw; latencies in milliseconds."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


def post(path: str, body: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body.encode())}\r\n\r\n{body}".encode()


def asked(request: str) -> bytes:
    """A path to get, or a path and below it the JSON to post there."""
    path, _, body = request.partition("\n")
    return post(path, body) if body else get(path)


def split(received: bytes) -> tuple[int, bytes, bool] | None:
    """Status, body and whether the connection stays open, of one whole response; None while some is missing."""
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return None
    lines = head.lower().split(b"\r\n")
    fields = dict(line.split(b":", 1) for line in lines[1:])
    if len(body) < int(fields.get(b"content-length", 0)):
        return None
    return int(lines[0].split(b" ")[1]), body, fields.get(b"connection", b"").strip() != b"close"


class _Connection(asyncio.Protocol):
    """One request at a time."""

    transport: asyncio.WriteTransport

    def __init__(self) -> None:
        self._received = b""
        self._reply: asyncio.Future[tuple[int, bytes, bool]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)  # uvloop's own is not derived from it

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes, bool]]:
        self._received = b""
        self._reply = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._reply

    def data_received(self, data: bytes) -> None:
        self._received += data
        reply = split(self._received)
        if reply and self._reply and not self._reply.done():
            self._reply.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._reply and not self._reply.done():
            self._reply.set_exception(exc or ConnectionResetError("closed without an answer"))


async def _drive(port: int, requests: Iterator[tuple[int, bytes]], connections: int, replies: dict[int, Reply]) -> None:
    loop = asyncio.get_running_loop()

    async def one() -> None:
        connection: _Connection | None = None
        for number, request in requests:
            began = time.perf_counter()
            if connection is None:
                _, connection = await loop.create_connection(_Connection, HOST, port)
            status, body, stays = await connection.ask(request)
            replies[number] = Reply(status, body, time.perf_counter() - began)
            if not stays:
                connection.transport.close()
                connection = None
        if connection:
            connection.transport.close()

    async with asyncio.timeout(_PATIENCE_SECONDS):
        await asyncio.gather(*(one() for _ in range(connections)))


def drive(port: int, requests: Iterable[bytes], connections: int) -> list[Reply]:
    """Send every request once, `connections` at a time, and return the replies in order of the requests."""
    replies: dict[int, Reply] = {}
    uvloop.run(_drive(port, enumerate(requests), connections, replies))
    return [replies[number] for number in sorted(replies)]


class Caller:
    """One patient client with one connection, for latencies."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def get(self, path: str) -> tuple[int, bytes]:
        if self._socket is None:
            self._socket = socket.create_connection((HOST, self._port), timeout=_PATIENCE_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(get(path))
        received = b""
        while (reply := split(received)) is None:
            received += (data := self._socket.recv(65_536))
            if not data:
                raise ConnectionResetError("closed without an answer")
        status, body, stays = reply
        if not stays:
            self.close()
        return status, body

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def endpoint_tool() -> str:
    return "wrk" if shutil.which("wrk") else "the asyncio client (wrk is not installed)"


def hammer(port: int, requests: Sequence[str], connections: int, seconds: float) -> Endpoint:
    """Send the requests, each as `asked` has it, again and again over some connections for some seconds."""
    if shutil.which("wrk"):
        return _wrk(port, requests, connections, seconds)
    ends = time.perf_counter() + seconds
    replies = drive(port, _until(ends, [asked(request) for request in requests]), connections)
    latencies = sorted(reply.seconds * 1000 for reply in replies)
    return Endpoint(
        requests_per_second=len(replies) / seconds,
        p50_ms=latencies[len(latencies) // 2],
        p99_ms=latencies[int(len(latencies) * 0.99)],
        errors=sum(reply.status >= 400 for reply in replies),
    )


def _until(ends: float, requests: Sequence[bytes]) -> Iterator[bytes]:
    while True:
        for request in requests:
            if time.perf_counter() > ends:
                return
            yield request


def _wrk(port: int, requests: Sequence[str], connections: int, seconds: float) -> Endpoint:
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds:.0f}s"]
    command += ["--timeout", "20s", "--script", str(Path(__file__).with_name("wrk.lua")), f"http://{HOST}:{port}", "--"]
    ended = subprocess.run([*command, *requests], capture_output=True, text=True, timeout=seconds + 60, check=True)
    seen = json.loads(ended.stdout.splitlines()[-1])
    return Endpoint(
        seen["requests"] / seen["microseconds"] * 1e6, seen["p50_us"] / 1000, seen["p99_us"] / 1000, seen["errors"]
    )
