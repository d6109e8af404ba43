"""kopf glue: what the watches see goes into the store and wakes the loop. No handler decides, patches or returns.

Only `on.event`: it keeps no state on the objects, adds no finalizer, and also tells what happened while we were away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import kopf

from iris_operator.loop import Loop
from iris_operator.manifests import MANAGER
from iris_operator.spec import GROUP, PLURAL, VERSION
from iris_operator.store import Store

STALE_SECONDS = 30.0
"""/healthz fails when no round has ended, or a watch task has died, for so long."""


@dataclass
class Running:
    """What handlers share: set up by `__main__`, started with kopf."""

    store: Store
    loop: Loop
    close: Callable[[], Coroutine[Any, Any, None]]
    task: asyncio.Task[None] | None = None


def register(registry: kopf.OperatorRegistry, running: Running) -> None:
    """Add every handler to `registry`."""

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> Any:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings)
        running.task = asyncio.create_task(running.loop.run())

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        if running.task is not None:
            running.task.cancel()
            await asyncio.gather(running.task, return_exceptions=True)
        await running.close()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def on_irismodel(event: Any, **_: Any) -> None:
        running.loop.wake(running.store.see_model(dict(event["object"]), deleted=event["type"] == "DELETED"))

    @kopf.on.event("apps", "v1", "deployments", labels={"app.kubernetes.io/managed-by": MANAGER}, registry=registry)
    async def on_deployment(event: Any, **_: Any) -> None:
        key = running.store.see_deployment(dict(event["object"]), deleted=event["type"] == "DELETED")
        if key is not None:
            running.loop.wake(key)

    @kopf.on.probe(id="rounds", registry=registry)
    async def rounds(**_: Any) -> float:
        age = time.monotonic() - running.loop.beaten_at
        if age > STALE_SECONDS or running.task is None or running.task.done():
            raise kopf.PermanentError(f"no round has ended for {age:.0f} s")  # kopf retries any other error, hanging
        return age


def configure(settings: kopf.OperatorSettings) -> None:
    """Set what kopf must know: one namespace, no peers, no marks on objects, watches that end and begin again."""
    settings.persistence.finalizer = f"{GROUP}/unused"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}", v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(
        prefix=f"kopf.{GROUP}", key="last-handled", v1=False
    )
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 60
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
