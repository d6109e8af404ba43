"""Waits until a child can be used, while looking after all of them."""

from __future__ import annotations

import http.client
import json
import time

import structlog

from iris_service.errors import CannotStart
from iris_service.supervisor.child import Child
from iris_service.supervisor.supervisor import Supervisor
from iris_service.supervisor.valkey import EmbeddedValkey

LOOK_AGAIN_SECONDS = 0.05
COMPLAIN_AFTER_SECONDS = 10.0

_log = structlog.get_logger(__name__)


def wait_for_valkey(supervisor: Supervisor, child: Child, valkey: EmbeddedValkey) -> None:
    """Return once it has loaded its data and answers; raises `CannotStart` when it ends before."""
    while not valkey.answers():
        if child.due_at is not None:
            why = "; ".join(valkey.complaints) or "it did not say why"
            raise CannotStart(f"the embedded Valkey does not start with {valkey.folder}: {why}")
        supervisor.tend(LOOK_AGAIN_SECONDS)


def wait_for_api(supervisor: Supervisor, host: str, port: int) -> None:
    """Return once /readyz says yes; says why not when that takes long."""
    complain_at = time.monotonic() + COMPLAIN_AFTER_SECONDS
    while (reason := why_not_ready(host, port)) is not None:
        if time.monotonic() > complain_at:
            _log.warning("not ready yet", reason=reason)
            complain_at = float("inf")
        supervisor.tend(LOOK_AGAIN_SECONDS)


def why_not_ready(host: str, port: int) -> str | None:
    """None when the API is ready, else a sentence."""
    connection = http.client.HTTPConnection(_reachable(host), port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        body = response.read()
        return None if response.status == http.client.OK else "; ".join(json.loads(body)["reasons"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as exc:
        return f"the API does not answer: {exc}"
    finally:
        connection.close()


def local_url(host: str, port: int) -> str:
    """A URL that works on this machine."""
    reachable = _reachable(host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _reachable(host: str) -> str:
    """Where to reach a server on this machine that listens on `host`, which may stand for all addresses."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  not bound, read
