"""Opens Redis connections, for the API (asyncio, impatient) and for the workers (blocking, patient)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import ConstantBackoff, ExponentialWithJitterBackoff, NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from iris_service.config import RedisSettings
from iris_service.errors import SettingsError
from iris_service.jobs.address import SentinelAddress, sentinel_address

BLOCK_SECONDS = 1
"""Longest wait of a worker for the next job before it looks whether it should stop."""


def connect(settings: RedisSettings) -> redis.Redis:
    """Return a client for worker and recovery: a reply may take 5 s, a lost connection is tried three times more.

    Raises `SettingsError` when there is no making sense of the URL.
    """
    options = {
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        **_wire(settings),
        "retry": Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 3),
        "health_check_interval": 15,
    }
    if at := sentinel_address(settings.url):
        client: redis.Redis = _through(Sentinel, at, options, Retry(NoBackoff(), 0))
        return client
    with _url_blamed():
        client = redis.Redis.from_url(settings.url, **options)
        _try_options(client.connection_pool)
    return client


def connect_async(settings: RedisSettings) -> redis.asyncio.Redis:
    """Return a client for the API: one retry, so that a caller has a 503 within two seconds.

    Raises `SettingsError` when there is no making sense of the URL.
    """
    options = {
        "socket_timeout": settings.timeout_seconds,
        "socket_connect_timeout": settings.timeout_seconds,
        **_wire(settings),
        "retry": AsyncRetry(ConstantBackoff(0.05), 1),
        "health_check_interval": 15,
    }
    if at := sentinel_address(settings.url):
        client: redis.asyncio.Redis = _through(AsyncSentinel, at, options, AsyncRetry(NoBackoff(), 0))
        return client
    with _url_blamed():
        client = redis.asyncio.Redis.from_url(settings.url, **options)
        _try_options(client.connection_pool)
    return client


def _through(kind: Any, at: SentinelAddress, options: Mapping[str, Any], no_retry: Any) -> Any:
    """Return a client of whichever server the Sentinels call master; one that is silent is passed over at once."""
    options = {**options, "ssl": True} if at.tls else options
    asking = {**options, "username": at.sentinel_username, "password": at.sentinel_password, "retry": no_retry}
    sentinels = kind(at.hosts, sentinel_kwargs=asking)
    return sentinels.master_for(at.service, **options, db=at.db, username=at.username, password=at.password)


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


def _wire(settings: RedisSettings) -> dict[str, Any]:
    scheme = settings.url.partition(":")[0]
    # redis-py refuses the option on a Unix socket, which has no far end to lose
    options: dict[str, Any] = {} if scheme == "unix" else {"socket_keepalive": True}
    if settings.ca_file:
        if scheme not in ("rediss", "sentinels"):
            raise SettingsError("IRIS_REDIS_CA_FILE is for rediss:// and sentinels://", field="IRIS_REDIS_CA_FILE")
        options["ssl_ca_certs"] = settings.ca_file
    return options
