"""A wait ends with its answer, its caller or its process, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from starlette.types import Receive

from iris_service.api.waiting import Waiting
from iris_service.errors import JobNotFound
from iris_service.schemas import Envelope, Failed

ENVELOPE = Failed("iris", "1", 1, "TIMEOUT", "too long", 1.0)


def receiving(*, hangs_up: bool) -> Receive:
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        if not hangs_up:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    return receive


async def fetch_at_once() -> Envelope | None:
    return ENVELOPE


async def fetch_for_ever() -> Envelope | None:
    await asyncio.Event().wait()
    return ENVELOPE


async def fetch_nothing() -> Envelope | None:
    raise JobNotFound


def run(
    fetch: Callable[[], Coroutine[Any, Any, Envelope | None]], *, hangs_up: bool = False, stops: bool = False
) -> Envelope | None:
    async def scenario() -> Envelope | None:
        waiting = Waiting()
        if stops:
            asyncio.get_running_loop().call_later(0.01, waiting.stop)
        async with asyncio.timeout(5):
            found = await waiting.wait(fetch(), receiving(hangs_up=hangs_up))
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return found

    return asyncio.run(scenario())


def test_an_answer_ends_the_wait() -> None:
    assert run(fetch_at_once) is ENVELOPE


def test_a_caller_who_hangs_up_ends_the_wait() -> None:
    assert run(fetch_for_ever, hangs_up=True) is None


def test_a_stopping_process_ends_the_wait() -> None:
    assert run(fetch_for_ever, stops=True) is None


def test_an_error_while_waiting_reaches_the_caller() -> None:
    with pytest.raises(JobNotFound):
        run(fetch_nothing)
