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
from iris_operator.manifests import MANAGED
from iris_operator.spec import GROUP, PLURAL, VERSION
from iris_operator.store import Kind, Store, key_of, model_of

STALE_SECONDS = 30.0
"""/healthz fails when no round has ended for so long."""


@dataclass
class Running:
    """What handlers share: set up by `__main__`, started with kopf."""

    store: Store
    loop: Loop
    close: Callable[[], Coroutine[Any, Any, None]]
    task: asyncio.Task[None] | None = None

    def trouble(self) -> str:
        """Return why this process had better be started anew; empty when all is well."""
        if self.task is None or self.task.done():
            return "the loop has ended"
        if (age := time.monotonic() - self.loop.beaten_at) > STALE_SECONDS:
            return f"no round has ended for {age:.0f} s"
        if dead := self.loop.resync.dead_watch():
            return f"the watch on {dead} has gone silent"
        return ""


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
        _heard(running.store.models, event)
        running.loop.wake(key_of(event["object"]))

    @kopf.on.event("apps", "v1", "deployments", registry=registry)
    async def on_deployment(event: Any, **_: Any) -> None:
        _heard(running.store.deployments, event)
        if model := model_of(event["object"]):
            running.loop.wake(model)

    @kopf.on.probe(id="trouble", registry=registry)
    async def trouble(**_: Any) -> str:
        if reason := running.trouble():
            raise kopf.PermanentError(reason)  # kopf tries any other error again, and the probe hangs
        return "none"


def _heard(kind: Kind, event: Any) -> None:
    kind.behind_since = None
    kind.see(dict(event["object"]), deleted=event["type"] == "DELETED")


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
    settings.networking.error_backoffs = (0.5, 1, 2, 3, 3, 3, 3)  # a watch begins anew after them: for ever
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.label_selectors["apps", "v1", "deployments"] = MANAGED
