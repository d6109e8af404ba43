"""The operator's logs and metrics: how a line looks and which metrics exist."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


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


class OperatorMetrics:
    """What the operator counts; labels are names of IrisModels, bounded by what the API server holds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        one = ("namespace", "name")
        self.reconciles = Counter(
            "iris_operator_reconciles_total",
            "Looks at an IrisModel, by what came of them.",
            ("result",),
            registry=registry,
        )
        self.seconds = Histogram("iris_operator_reconcile_seconds", "Seconds one look took.", registry=registry)
        self.writes = Counter(
            "iris_operator_api_writes_total",
            "Requests that changed the cluster, by verb.",
            ("verb",),
            registry=registry,
        )
        self.due = Gauge("iris_operator_due", "IrisModels waiting to be looked at.", registry=registry)
        self.redis_up = Gauge("iris_operator_redis_up", "1 while queues can be read.", registry=registry)
        self.last_success = Gauge(
            "iris_operator_last_success_timestamp_seconds", "Unix time of the last complete round.", registry=registry
        )
        self.desired = Gauge("iris_operator_workers_desired", "Workers wanted, all versions.", one, registry=registry)
        self.ready = Gauge("iris_operator_workers_ready", "Workers ready, all versions.", one, registry=registry)
        self.weight = Gauge(
            "iris_operator_target_weight", "Percent of new jobs the version under way takes.", one, registry=registry
        )
        self.phase = Gauge(
            "iris_operator_rollout_phase", "1 for the phase the rollout is in.", (*one, "phase"), registry=registry
        )

    def forget(self, namespace: str, name: str) -> None:
        """Drop the series of an IrisModel that is gone."""
        for gauge in (self.desired, self.ready, self.weight):
            gauge.remove(namespace, name)
        self.phase.remove_by_labels({"namespace": namespace, "name": name})
