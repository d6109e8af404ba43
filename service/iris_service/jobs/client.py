"""Opens Redis connections, for the API (asyncio, impatient) and for the workers (blocking, patient)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ConstantBackoff, ExponentialWithJitterBackoff
from redis.retry import Retry

from iris_service.config import RedisSettings
from iris_service.errors import SettingsError

BLOCK_SECONDS = 1
"""Longest wait of a worker for the next job before it looks whether it should stop."""


def connect(settings: RedisSettings) -> redis.Redis:
    """Return a client for worker and recovery: a reply may take 5 s, a lost connection is tried three times more.

    Raises `SettingsError` when there is no making sense of the URL.
    """
    with _url_blamed():
        client = redis.Redis.from_url(
            settings.url,
            socket_timeout=5,
            socket_connect_timeout=2,
            **_keepalive(settings),
            retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 3),
            health_check_interval=15,
        )
        _try_options(client.connection_pool)
        return client


def connect_async(settings: RedisSettings) -> redis.asyncio.Redis:
    """Return a client for the API: one retry, so that a caller has a 503 within two seconds.

    Raises `SettingsError` when there is no making sense of the URL.
    """
    with _url_blamed():
        async_client = redis.asyncio.Redis.from_url(
            settings.url,
            socket_timeout=settings.timeout_seconds,
            socket_connect_timeout=settings.timeout_seconds,
            **_keepalive(settings),
            retry=AsyncRetry(ConstantBackoff(0.05), 1),
            health_check_interval=15,
        )
        _try_options(async_client.connection_pool)
        return async_client


def stop_if_cancelled() -> None:
    """Raise the `CancelledError` this task was sent and may not have seen; every endless loop over Redis asks here.

    redis-py sends through `asyncio.wait_for`, which in Python 3.11 now and then swallows a cancellation.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@contextmanager
def _url_blamed() -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError):
        # what was found wrong may be a piece of the password, so it is neither repeated nor chained
        name = "IRIS_REDIS_URL"
        hint = "a password in it must be percent-encoded, and an option one that redis-py knows"
        raise SettingsError(f"{name} cannot be read: {hint}", field=name) from None


def _try_options(pool: Any) -> None:
    """Make a connection object, which connects to nothing, for that is where the URL's options are looked at."""
    pool.connection_class(**pool.connection_kwargs)


def _keepalive(settings: RedisSettings) -> dict[str, bool]:
    # redis-py refuses the option on a Unix socket, which has no far end to lose
    return {} if settings.url.startswith("unix:") else {"socket_keepalive": True}
