"""Fixtures shared by all suites: a real Valkey, empty for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
import structlog
from hypothesis import HealthCheck, settings

from servers import Valkey

# A busy machine takes its time over an example, and that is no failure. In CI hypothesis draws the same ones each time.
settings.register_profile("patient", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _plain_tracebacks() -> None:
    """structlog's default renders a traceback with every local in colour: seconds, in the middle of an event loop."""
    console = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, console]
    )


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One server for all tests of this process that do not hurt it."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture
def valkey(valkey_server: Valkey) -> Iterator[redis.Redis]:
    """A client of the shared server, emptied before the test."""
    with valkey_server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A server of this test alone, which it may kill."""
    server = Valkey(tmp_path_factory.mktemp("own-valkey"))
    yield server
    server.stop()
