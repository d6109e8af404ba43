"""What is written to a connection in one turn of the event loop leaves together, and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from iris_service.api.together import Together


class Wire:
    """A transport that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.get_extra_info = self.is_closing = self.pause_reading = self.resume_reading = lambda *_: None

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def get_write_buffer_size(self) -> int:
        return 100

    def close(self) -> None:
        self.told.append("close")

    def abort(self) -> None:
        self.told.append("abort")


def told(story: Callable[[Together], object]) -> list[object]:
    """What the wire is told during a story, and in the turn after it."""

    async def run() -> list[object]:
        wire = Wire()
        story(Together(wire, asyncio.get_running_loop()))  # type: ignore[arg-type]
        wire.told.append("turn")
        await asyncio.sleep(0)
        return wire.told

    return asyncio.run(run())


def head_and_body(transport: Together) -> None:
    transport.write(b"head ")
    transport.write(b"body")


def test_an_answer_leaves_in_one_piece_when_it_ends() -> None:
    assert told(lambda it: (head_and_body(it), it.flush())) == [b"head body", "turn"]


def test_what_does_not_end_leaves_in_the_next_turn() -> None:
    assert told(head_and_body) == ["turn", b"head body"]


def test_nothing_is_written_twice() -> None:
    assert told(lambda it: (head_and_body(it), it.flush(), it.flush(), it.write(b"next"))) == [
        b"head body", "turn", b"next"
    ]  # fmt: skip


def test_what_is_held_leaves_before_the_end_and_not_where_all_is_given_up() -> None:
    assert told(lambda it: (head_and_body(it), it.close())) == [b"head body", "close", "turn"]
    assert told(lambda it: (head_and_body(it), it.abort())) == ["abort", "turn"]


def test_what_is_held_counts_as_not_sent_yet() -> None:
    sizes: list[int] = []
    told(lambda it: (head_and_body(it), sizes.append(it.get_write_buffer_size()), it.flush()))
    told(lambda it: (head_and_body(it), it.flush(), sizes.append(it.get_write_buffer_size())))
    assert sizes == [109, 100]
