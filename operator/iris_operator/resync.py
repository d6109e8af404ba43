"""Lists everything now and then, so that no event is ever missed for good, and tells when a watch has gone silent."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from iris_operator.cluster import Cluster
from iris_operator.errors import NotYet
from iris_operator.store import Key, Kind, Store, model_of

EVERY_SECONDS = 60.0
AGAIN_SECONDS = 2.0
"""Pause after a listing that failed."""
SILENT_SECONDS = 30.0
"""A watch that is silent for so long after a listing brought news is dead."""

_log = structlog.get_logger(__name__)


class Resync:
    """Fills the store before the first round, and holds it against the API server from then on."""

    def __init__(self, cluster: Cluster, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._store = store
        self._clock = clock
        self._due_at = 0.0
        self.on_listed: Callable[[], None] = lambda: None
        """Called after each listing that succeeded."""
        self.done = False
        """Whether everything has been listed once: until then what seems to be missing may be there."""

    async def when_due(self) -> set[Key]:
        """List if it is time to; returns the IrisModels to look at because of it."""
        if self._clock() < self._due_at:
            return set()
        try:
            news = await self._list()
        except NotYet as exc:
            _log.warning("cannot list", reason=str(exc))
            self._due_at = self._clock() + AGAIN_SECONDS
            return set()
        self.on_listed()
        self._due_at = self._clock() + EVERY_SECONDS
        return news

    async def _list(self) -> set[Key]:
        models, deployments = self._store.models, self._store.deployments
        models_before, deployments_before = dict(models.bodies), dict(deployments.bodies)
        listed_models, listed_deployments = await self._cluster.list_models(), await self._cluster.list_deployments()
        news = models.see_all(listed_models, models_before, self._clock())
        changed = deployments.see_all(listed_deployments, deployments_before, self._clock())
        if not self.done:
            models.behind_since = deployments.behind_since = None  # nobody has been told anything yet
            self.done = True
        bodies = {**deployments_before, **deployments.bodies}
        return news | {model for key in changed if (model := model_of(bodies[key]))}

    def behind_seconds(self) -> dict[str, float]:
        """Return for how long each watch has owed what a listing brought, by its kind's plural; 0: it owes nothing."""
        kinds = {"irismodels": self._store.models, "deployments": self._store.deployments}
        return {name: _behind_seconds(kind, self._clock()) for name, kind in kinds.items()}

    def dead_watch(self) -> str:
        """Return the plural of a kind whose watch has gone silent; empty when all is well."""
        return next((name for name, seconds in self.behind_seconds().items() if seconds > SILENT_SECONDS), "")


def _behind_seconds(kind: Kind, now: float) -> float:
    return 0.0 if kind.behind_since is None else now - kind.behind_since
