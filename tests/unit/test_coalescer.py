"""Coalescing: who waits together goes together, and nobody pays for a timer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from iris_service.jobs.coalescer import Coalescer


class Recorder:
    """A flush that can be held, doubles its items and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.started = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        self.started.set()
        await self.gate.wait()
        if 13 in items:
            raise ValueError("unlucky")
        return [item * 2 for item in items]


async def _hold_first(recorder: Recorder, coalescer: Coalescer[int, int]) -> asyncio.Task[int]:
    recorder.gate.clear()
    first = asyncio.create_task(coalescer.submit(1))
    await recorder.started.wait()
    return first


async def _while_a_flush_is_under_way() -> None:
    recorder = Recorder()
    coalescer = Coalescer(recorder)
    first = await _hold_first(recorder, coalescer)
    others = [asyncio.create_task(coalescer.submit(item)) for item in (2, 3, 4)]
    await asyncio.sleep(0)
    recorder.gate.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8]
    assert recorder.batches == [[1], [2, 3, 4]]


def test_what_arrives_while_a_flush_is_under_way_goes_out_in_the_next() -> None:
    asyncio.run(_while_a_flush_is_under_way())


async def _largest() -> None:
    recorder = Recorder()
    coalescer = Coalescer(recorder, largest=2)
    first = await _hold_first(recorder, coalescer)
    others = [asyncio.create_task(coalescer.submit(item)) for item in (2, 3, 4)]
    await asyncio.sleep(0)
    recorder.gate.set()
    await asyncio.gather(first, *others)
    assert recorder.batches == [[1], [2, 3], [4]]


def test_a_flush_never_exceeds_its_limit() -> None:
    asyncio.run(_largest())


async def _failing() -> None:
    recorder = Recorder()
    coalescer = Coalescer(recorder)
    with pytest.raises(ValueError, match="unlucky"):
        await coalescer.submit(13)
    assert await coalescer.submit(5) == 10


def test_a_failed_flush_fails_its_callers_and_not_the_next() -> None:
    asyncio.run(_failing())


async def _withdrawn() -> None:
    recorder = Recorder()
    coalescer = Coalescer(recorder)
    first = await _hold_first(recorder, coalescer)
    leaves, stays = asyncio.create_task(coalescer.submit(2)), asyncio.create_task(coalescer.submit(3))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.sleep(0)
    recorder.gate.set()
    assert await asyncio.gather(first, stays) == [2, 6]
    assert recorder.batches == [[1], [3]]


def test_a_caller_that_leaves_before_the_flush_withdraws_its_item() -> None:
    asyncio.run(_withdrawn())
