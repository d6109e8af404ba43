"""The operator's logs and metrics: how a line looks and which metrics exist."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

LOOK_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds; from a look that finds nothing to do to one that waits for an API server until it gives up."""
RESULTS = ("ok", "not_yet", "error")
VERBS = ("apply", "delete", "event", "status")
EVENTS = (
    "RolloutStarted",
    "StepPassed",
    "Promoted",
    "RolledBack",
    "RolloutAbandoned",
    "VersionReused",
    "RolloutFailed",
    "DeploymentRefused",
)
"""All of each are shown from the start: to Prometheus, an increase from nothing is none."""


def configure_logging(level: str) -> None:
    """Send every line, ours and kopf's, to stderr as one JSON object with the IrisModel's name where there is one."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
            # of what kopf attaches to a record only the object's reference: the rest holds its whole settings
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(allow={"k8s_ref"}), _name_object],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("aiohttp.access", "httpx2", "kopf.objects", "kopf.activities.probe"):
        logging.getLogger(chatty).setLevel("WARNING")
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _name_object(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Say of what object kopf speaks as our own lines do."""
    found = line.pop("k8s_ref", None) or {}
    line.update({field: found[field] for field in ("namespace", "name") if field in found})
    return line


def new_registry() -> CollectorRegistry:
    """Return a registry that says which process this is, and what it costs; without `_created` series."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    info = Info("iris_build", "The component this process is, and the release it is of.", registry=registry)
    info.info({"component": "operator", "release": _release()})
    return registry


def _release() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("iris-serving")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"


class States:
    """A gauge that is 1 for the state a thing is in, and has no series for its other states."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._shown: dict[tuple[str, ...], tuple[str, ...]] = {}

    def show(self, thing: tuple[str, ...], *state: str) -> None:
        """Show the state. The same one again leaves its series alone; no scrape finds the thing without a state."""
        before = self._shown.get(thing)
        if before == state:
            return
        self._gauge.labels(*thing, *state).set(1)
        if before is not None:
            self._gauge.remove(*thing, *before)
        self._shown[thing] = state

    def forget(self, *beginning: str) -> None:
        """Drop the things whose labels begin so."""
        for thing in [thing for thing in self._shown if thing[: len(beginning)] == beginning]:
            self._gauge.remove(*thing, *self._shown.pop(thing))


class OperatorMetrics:
    """What the operator counts; labels are names of IrisModels, bounded by what the API server holds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        one = ("namespace", "model")
        self.reconciles = Counter(
            "iris_operator_reconciles_total",
            "Looks at an IrisModel: ok, not_yet (to be tried again) or error (a fault of ours).",
            ("result",),
            registry=registry,
        )
        self.seconds = Histogram(
            "iris_operator_reconcile_seconds", "Seconds one look took.", buckets=LOOK_BUCKETS, registry=registry
        )
        self.writes = Counter(
            "iris_operator_api_writes_total",
            "Requests that changed the cluster, by verb.",
            ("verb",),
            registry=registry,
        )
        self.models = Gauge("iris_operator_models", "IrisModels there are.", registry=registry)
        self.due = Gauge("iris_operator_due", "IrisModels that were due at the last look.", registry=registry)
        self.failing = Gauge(
            "iris_operator_failing", "IrisModels whose last look failed and will be repeated.", registry=registry
        )
        self.redis_up = Gauge("iris_operator_redis_up", "1 while queues can be read.", registry=registry)
        self.last_success = Gauge(
            "iris_operator_last_success_timestamp_seconds", "Unix time of the last complete round.", registry=registry
        )
        self.last_listing = Gauge(
            "iris_operator_last_listing_timestamp_seconds",
            "Unix time the API server last listed everything; it is asked once a minute.",
            registry=registry,
        )
        self.behind = Gauge(
            "iris_operator_watch_behind_seconds",
            "Seconds since a listing brought what the watch has not told; 0 when nothing is missing.",
            ("kind",),
            registry=registry,
        )
        self.desired = Gauge("iris_operator_workers_desired", "Workers wanted, all versions.", one, registry=registry)
        self.ready = Gauge("iris_operator_workers_ready", "Workers ready, all versions.", one, registry=registry)
        self.most = Gauge(
            "iris_operator_workers_max", "Most workers a version gets: maxReplicas or replicas.", one, registry=registry
        )
        self.backlog = Gauge(
            "iris_operator_backlog_jobs",
            "Jobs that wait or run, of all versions, also of those that take no new ones.",
            one,
            registry=registry,
        )
        self.weight = Gauge(
            "iris_operator_target_weight", "Percent of new jobs the version under way takes.", one, registry=registry
        )
        self.step = Gauge(
            "iris_operator_rollout_step", "The rollout's step, from 1; 0 while there is none.", one, registry=registry
        )
        self.phase = Gauge(
            "iris_operator_rollout_phase", "1 for the phase the rollout is in.", (*one, "phase"), registry=registry
        )
        self.events = Counter(
            "iris_operator_rollout_events_total",
            "What happened in rollouts, by the reason of the Event.",
            (*one, "reason"),
            registry=registry,
        )
        self.versions = States(
            Gauge(
                "iris_operator_version_info",
                "1 for the versions that are stable, on trial (target) and given up (failed); empty is none.",
                (*one, "stable", "target", "failed"),
                registry=registry,
            )
        )
        self.conditions = States(
            Gauge(
                "iris_operator_condition",
                "1 for what each condition of an IrisModel says, and why.",
                (*one, "type", "status", "reason"),
                registry=registry,
            )
        )
        for result in RESULTS:
            self.reconciles.labels(result)
        for verb in VERBS:
            self.writes.labels(verb)

    def forget(self, namespace: str, model: str) -> None:
        """Drop the series of an IrisModel that is gone."""
        for gauge in (self.desired, self.ready, self.most, self.backlog, self.weight, self.step):
            gauge.remove(namespace, model)
        for metric in (self.phase, self.events):
            metric.remove_by_labels({"namespace": namespace, "model": model})
        self.versions.forget(namespace, model)
        self.conditions.forget(namespace, model)
