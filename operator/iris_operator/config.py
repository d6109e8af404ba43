"""The operator's settings, read once from the environment. The only module that reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from iris_operator.errors import InvalidSpec
from iris_operator.manifests import PLACEMENT, Pods

_PASSED_ON = ("IRIS_DRIFT_", "IRIS_JOB_ATTEMPTS", "IRIS_JOB_DEADLINE_SECONDS", "IRIS_RESULT_TTL_SECONDS", "OTEL_")
"""Beginnings of names. The life of a job is the same for all who take part in one; its time limit is an IrisModel's."""
_REDIS_SCHEMES = ("redis", "rediss", "unix", "sentinel", "sentinels")
_HELD_BACK = "_HEADERS"
"""OTEL_EXPORTER_OTLP_HEADERS and its like hold credentials, and a Deployment shows what it holds."""


@dataclass(frozen=True)
class Settings:
    """What the chart tells the operator."""

    namespace: str = "default"
    """IRIS_NAMESPACE: the one namespace that is watched."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    """IRIS_REDIS_URL: redis://, rediss:// (TLS), sentinel:// or sentinels://; user and password inside."""
    redis_ca_file: str = ""
    """IRIS_REDIS_CA_FILE: PEM file of who signed Redis' certificate; empty trusts whom the system trusts."""
    pods: Pods = field(default_factory=lambda: Pods(image="iris-worker:dev", redis_secret="iris-redis"))  # noqa: S106
    """IRIS_WORKER_IMAGE, IRIS_REDIS_SECRET, IRIS_WORKER_SERVICE_ACCOUNT, IRIS_WORKER_PRIORITY_CLASS, IRIS_MODELS_CLAIM,
    IRIS_IMAGE_PULL_SECRETS (comma separated), IRIS_IMAGE_PULL_POLICY, IRIS_REDIS_CA_SECRET; in JSON, as a pod's spec
    has them, IRIS_WORKER_RESOURCES and IRIS_WORKER_PLACEMENT (nodeSelector, tolerations, affinity). As they are
    IRIS_JOB_ATTEMPTS, IRIS_JOB_DEADLINE_SECONDS, IRIS_RESULT_TTL_SECONDS, IRIS_DRIFT_* and OTEL_* (but for
    OTEL_*_HEADERS)."""
    health_port: int = 8080
    """IRIS_HEALTH_PORT: /healthz."""
    metrics_port: int = 9000
    """IRIS_METRICS_PORT: /metrics."""
    log_level: str = "INFO"
    """IRIS_LOG_LEVEL."""
    tick_seconds: float = 1.0
    """IRIS_TICK_SECONDS: pause between two looks at the queues."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the environment; raises `InvalidSpec` naming the variable that cannot be used."""
        values = os.environ if env is None else env

        def text(name: str, default: str) -> str:
            return values.get(name, "").strip() or default

        def number(name: str, default: float, low: float, high: float) -> float:
            try:
                found = float(text(name, str(default)))
            except ValueError as exc:
                raise InvalidSpec(f"{name} must be a number") from exc
            if not low <= found <= high:
                raise InvalidSpec(f"{name} must be from {low:g} to {high:g}")
            return found

        def json_object(name: str, *known: str) -> dict[str, Any]:
            try:
                found = json.loads(text(name, "{}"))
            except ValueError as exc:
                raise InvalidSpec(f"{name} must be JSON") from exc
            if not isinstance(found, dict) or found.keys() - set(known):
                raise InvalidSpec(f"{name} must be a JSON object that has nothing but {', '.join(known)}")
            return found

        if (log_level := text("IRIS_LOG_LEVEL", cls.log_level)) not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise InvalidSpec(f"IRIS_LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR, not {log_level!r}")
        pods = cls().pods
        return cls(
            namespace=text("IRIS_NAMESPACE", cls.namespace),
            redis_url=_redis_url(text("IRIS_REDIS_URL", cls.redis_url)),
            redis_ca_file=text("IRIS_REDIS_CA_FILE", ""),
            pods=Pods(
                image=text("IRIS_WORKER_IMAGE", pods.image),
                redis_secret=text("IRIS_REDIS_SECRET", pods.redis_secret),
                service_account=text("IRIS_WORKER_SERVICE_ACCOUNT", pods.service_account),
                priority_class=text("IRIS_WORKER_PRIORITY_CLASS", ""),
                models_claim=text("IRIS_MODELS_CLAIM", ""),
                image_pull_secrets=tuple(name for name in text("IRIS_IMAGE_PULL_SECRETS", "").split(",") if name),
                pull_policy=text("IRIS_IMAGE_PULL_POLICY", pods.pull_policy),
                redis_ca_secret=text("IRIS_REDIS_CA_SECRET", ""),
                resources=json_object("IRIS_WORKER_RESOURCES", "requests", "limits"),
                placement=json_object("IRIS_WORKER_PLACEMENT", *PLACEMENT),
                passed_on=tuple(
                    (name, value)
                    for name, value in sorted(values.items())
                    if name.startswith(_PASSED_ON) and not name.endswith(_HELD_BACK)
                ),
            ),
            health_port=int(number("IRIS_HEALTH_PORT", cls.health_port, 0, 65_535)),
            metrics_port=int(number("IRIS_METRICS_PORT", cls.metrics_port, 0, 65_535)),
            log_level=log_level,
            tick_seconds=number("IRIS_TICK_SECONDS", cls.tick_seconds, 0.05, 60),
        )


def _redis_url(url: str) -> str:
    """Refuse what is no URL of Redis; it may hold a password and is not repeated."""
    if not url.startswith(tuple(f"{scheme}://" for scheme in _REDIS_SCHEMES)):
        schemes = ", ".join(f"{scheme}://" for scheme in _REDIS_SCHEMES)
        raise InvalidSpec(f"IRIS_REDIS_URL must start with one of {schemes}")
    try:
        _ = None if url.startswith("sentinel") else urlsplit(url).port  # several hosts: address reads them
    except ValueError:
        raise InvalidSpec("IRIS_REDIS_URL is not host:port after the user") from None
    return url
