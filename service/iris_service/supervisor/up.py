"""`iris up`: everything on one machine, in order, and when it is ready to be used."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from iris_service.config import ApiSettings, Settings, without_password
from iris_service.errors import CannotStart
from iris_service.model.store import ModelRepository
from iris_service.supervisor.children import our_children
from iris_service.supervisor.readiness import (
    COMPLAIN_AFTER_SECONDS,
    COMPLAIN_OF_REDIS_AFTER_SECONDS,
    local_url,
    wait_for_valkey,
    wait_until_ready,
)
from iris_service.supervisor.supervisor import Stopping, Supervisor
from iris_service.supervisor.valkey import embedded_valkey
from iris_service.supervisor.wakeup import Wakeup


@dataclass(frozen=True)
class Ready:
    """What a person needs to know once everything runs."""

    api_url: str
    model: str
    version: str
    workers: int
    data: Path | None
    """None when the queue is on a server of the user's own."""
    redis_url: str
    """Without its password."""


def up(settings: Settings, env: Mapping[str, str], workers: int, data: Path, on_ready: Callable[[Ready], None]) -> int:
    """Run everything until SIGTERM, SIGINT or SIGHUP; returns the exit code, 0 after a stop that was asked for.

    `env` is what `settings` were read from. Without IRIS_REDIS_URL in it, a Valkey with its files in `data` runs too.
    Raises `CannotStart` or `ModelRejected` when something is in the way; whatever had started is stopped by then.
    """
    # what cannot work is said before anything runs
    card = ModelRepository(settings.model.repository).card(settings.model.name, settings.model.version)
    port = usable_port(settings.api)
    with ExitStack() as stack:
        wakeup = stack.enter_context(Wakeup())
        own = not env.get("IRIS_REDIS_URL", "").strip()
        valkey = stack.enter_context(embedded_valkey(data / "valkey")) if own else None
        supervisor = Supervisor(wakeup)
        stack.callback(supervisor.stop)
        try:
            if valkey:
                wait_for_valkey(supervisor, supervisor.start(valkey.spec(env)), valkey)
            redis_url = valkey.url if valkey else settings.redis.url
            ours = {**env, "IRIS_PORT": str(port), "IRIS_REDIS_URL": redis_url}
            children = [supervisor.start(spec) for spec in our_children(settings, ours, workers)]
            patience = COMPLAIN_AFTER_SECONDS if valkey else COMPLAIN_OF_REDIS_AFTER_SECONDS
            wait_until_ready(supervisor, children, settings.api.host, port, patience)
            on_ready(
                Ready(
                    api_url=local_url(settings.api.host, port),
                    model=card.model,
                    version=card.version,
                    workers=workers,
                    data=data.absolute() if valkey else None,
                    redis_url=without_password(redis_url),
                )
            )
            while True:
                supervisor.tend(60)
        except Stopping as exc:
            return exc.exit_code


def usable_port(api: ApiSettings) -> int:
    """The port to listen on, a free one instead of 0; raises `CannotStart` when it is taken."""
    try:
        family = socket.getaddrinfo(api.host, api.port, type=socket.SOCK_STREAM)[0][0]
        with socket.create_server((api.host, api.port), family=family) as probe:
            return int(probe.getsockname()[1])
    except OSError as exc:
        # Python adds the address to strerror, which says it twice; an unknown host has no such number
        reason = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror
        raise CannotStart(
            f"cannot listen on {api.host}, port {api.port}: {reason}; --port takes another (make run: PORT=)"
        ) from exc
