"""Waits until a child can be used, while looking after all of them."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence

import structlog

from iris_service.errors import CannotStart
from iris_service.supervisor.child import Child
from iris_service.supervisor.supervisor import Supervisor
from iris_service.supervisor.valkey import EmbeddedValkey

LOOK_AGAIN_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.5
COMPLAIN_AFTER_SECONDS = 10.0
"""Time for a slow machine to load everything."""
COMPLAIN_OF_REDIS_AFTER_SECONDS = 2.0
"""Of a server that we did not start, and that may well not be there."""

_log = structlog.get_logger(__name__)


def wait_for_valkey(supervisor: Supervisor, child: Child, valkey: EmbeddedValkey) -> None:
    """Return once it has loaded its data and answers; raises `CannotStart` when it ends before."""
    while not valkey.answers():
        if child.due_at is not None:
            why = "; ".join(valkey.complaints) or "it did not say why"
            raise CannotStart(f"the embedded Valkey does not start with {valkey.folder}: {why}")
        supervisor.tend(LOOK_AGAIN_SECONDS)


def wait_until_ready(supervisor: Supervisor, children: Sequence[Child], host: str, port: int, patience: float) -> None:
    """Return once all children are ready and /readyz says yes; says why not when that takes longer than `patience`,
    in seconds, and again whenever the reason is another."""
    complain_at, said, pause = time.monotonic() + patience, "", LOOK_AGAIN_SECONDS
    while (reason := why_not_all(children, host, port)) is not None:
        if time.monotonic() > complain_at and reason != said:
            _log.warning("not ready yet: trying on", reason=reason)
            said = reason
        supervisor.tend(pause)
        pause = min(LONGEST_PAUSE_SECONDS, 1.2 * pause)


def why_not_all(children: Sequence[Child], host: str, port: int) -> str | None:
    """None when everything can be used, else a sentence.

    The API comes first: only when it is ours that listens on the port is it ours that answers.
    """
    late = [child.spec.name for child in children if not child.is_ready()]
    if "api" in late:
        return "the API does not listen yet"
    if (reason := why_not_ready(host, port)) is not None:
        return reason
    return f"{', '.join(late)} cannot answer jobs yet" if late else None


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
