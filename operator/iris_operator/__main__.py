"""Starts the operator: settings, logs, connections, then kopf until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import sys

import kopf
from lightkube import AsyncClient
from lightkube.core.exceptions import ConfigError
from prometheus_client import start_http_server

from iris_operator.cluster import KubernetesCluster
from iris_operator.config import Settings
from iris_operator.errors import InvalidSpec
from iris_operator.handlers import Running, register
from iris_operator.loop import Loop
from iris_operator.queues import Queues
from iris_operator.reconcile import Reconciler
from iris_operator.resync import Resync
from iris_operator.store import Store
from iris_operator.telemetry import OperatorMetrics, configure_logging, new_registry


async def operate(settings: Settings) -> None:
    """Run until asked to stop; raises `InvalidSpec` when the metrics port is taken."""
    metrics = OperatorMetrics(new_registry())
    try:
        start_http_server(settings.metrics_port, registry=metrics.registry)
    except OSError as exc:
        raise InvalidSpec(f"IRIS_METRICS_PORT: cannot listen on {settings.metrics_port}: {exc.strerror}") from exc
    store, queues = Store(), Queues(settings.redis_url, settings.namespace, settings.redis_ca_file)
    client = AsyncClient(namespace=settings.namespace)
    cluster = KubernetesCluster(client)
    reconciler = Reconciler(cluster, queues, store, settings.pods, metrics)
    loop = Loop(reconciler, queues, store, Resync(cluster, store), metrics, settings.tick_seconds)

    async def close() -> None:
        await queues.aclose()
        await client.close()

    running = Running(store, loop, close)
    registry = kopf.OperatorRegistry()
    register(registry, running)
    await kopf.operator(
        registry=registry,
        standalone=True,
        namespaces=[settings.namespace],
        liveness_endpoint=f"http://0.0.0.0:{settings.health_port}/healthz",
    )


def main() -> int:
    """Return 0 after a clean stop, EX_CONFIG (78) when a setting cannot be used or no cluster is configured."""
    try:
        settings = Settings.from_env()
        configure_logging(settings.log_level)
        asyncio.run(operate(settings))
    except InvalidSpec as exc:
        print(f"iris-operator: {exc}", file=sys.stderr)
        return os.EX_CONFIG
    except ConfigError as exc:
        print(f"iris-operator: no cluster is configured: {exc}", file=sys.stderr)
        return os.EX_CONFIG
    return 0


if __name__ == "__main__":
    sys.exit(main())
