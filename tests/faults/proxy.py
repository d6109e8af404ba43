"""A TCP proxy in front of Redis that can lose replies, cut, stall, delay and slice. Knows bytes, not commands."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field


@dataclass(eq=False)
class Link:
    """One client's connection and its twin to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    losing: bool = False
    """A marked command is on its way: its reply must not arrive."""
    tail: bytes = field(default=b"", repr=False)


class FaultProxy:
    """Set its attributes from any thread; they act on the next bytes. `start` and `stop` belong to one event loop."""

    def __init__(self, upstream_port: int) -> None:
        self.port = 0
        self.latency_seconds = 0.0
        self.slice_bytes = 0
        self.holed = False
        """While true nothing passes and nothing is refused, as behind a dead router."""
        self.lost_replies = 0
        self._upstream_port = upstream_port
        self._marks: dict[bytes, int] = {}
        self._links: set[Link] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """End every connection now."""
        for link in list(self._links):
            self._end(link)

    def lose_reply_to(self, mark: bytes, times: int = 1) -> None:
        """Let the next `times` commands that contain `mark` through, then cut instead of replying."""
        self._marks[mark] = times

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            replies, server = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            client.close()
            return
        link = Link(client, server)
        self._links.add(link)
        await asyncio.gather(self._pump_commands(reader, link), self._pump_replies(replies, link))

    async def _pump_commands(self, reader: asyncio.StreamReader, link: Link) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                seen = link.tail + data
                for mark, times in self._marks.items():
                    if times > 0 and mark in seen:
                        self._marks[mark] -= 1
                        link.losing = True
                link.tail = seen[-64:] if not link.losing else b""
                await self._forward(data, link.server)
        self._end(link)

    async def _pump_replies(self, reader: asyncio.StreamReader, link: Link) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if link.losing:
                    self.lost_replies += 1
                    break
                await self._forward(data, link.client)
        self._end(link)

    async def _forward(self, data: bytes, to: asyncio.StreamWriter) -> None:
        while self.holed:  # noqa: ASYNC110  set from other threads
            await asyncio.sleep(0.05)
        if self.latency_seconds:
            await asyncio.sleep(self.latency_seconds)
        size = self.slice_bytes or len(data)
        for at in range(0, len(data), size):
            to.write(data[at : at + size])
            await to.drain()

    def _end(self, link: Link) -> None:
        self._links.discard(link)
        for writer in (link.client, link.server):
            writer.transport.abort()
