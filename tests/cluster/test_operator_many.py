"""Many IrisModels at once on a real API server: how fast, how many writes, how much memory, and then silence.

With IRIS_LONG_TESTS=1 two hundred: ready after 10 to 13 s, 5 writes each, 96 to 104 MB, 0.14 to 0.18 of a core.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cluster.kube import Kube
from cluster.operated import LONG, Operated, wait_until
from memory_cluster import DIGESTS
from servers import Valkey

MODELS = 200 if LONG else 30
WITHOUT_PROOF = {"gate": {"goldenSet": False}}  # kwok's pods answer no jobs


@pytest.fixture
def operated(kube_programs: Path, kube: Kube, namespace: str, own_valkey: Valkey, tmp_path: Path) -> Iterator[Operated]:
    started = Operated(kube_programs / "helm", kube, namespace, own_valkey, tmp_path)
    try:
        started.start()
        yield started
    finally:
        started.close()


def model(number: int) -> dict[str, object]:
    name = f"m{number}"
    spec = {"model": {"version": "1", "uri": f"models://{name}/1", "digest": DIGESTS["1"]}, "rollout": WITHOUT_PROOF}
    return {"apiVersion": "serving.iris.dev/v1alpha1", "kind": "IrisModel", "metadata": {"name": name}, "spec": spec}


@pytest.mark.timeout(300)
def test_many_models_at_once(operated: Operated, record_property: Callable[[str, object], None]) -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": [model(number) for number in range(MODELS)]}
    began = time.monotonic()
    operated.kube("create", "-n", operated.namespace, "-f", "-", stdin=json.dumps(items))
    created = time.monotonic() - began

    def all_ready() -> bool:
        ready = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
        return operated("get", "im", "-o", ready).split().count("True") == MODELS

    wait_until(all_ready, 90, "every model ready", operated.last_words)
    ready = time.monotonic() - began
    writes = operated.metric("iris_operator_api_writes_total")
    assert operated.process is not None
    process = psutil.Process(operated.process.pid)
    resident = process.memory_info().rss / 1e6
    mean = operated.metric("iris_operator_reconcile_seconds_sum") / operated.metric(
        "iris_operator_reconcile_seconds_count"
    )
    time.sleep(2)
    quiet_writes, cpu = operated.metric("iris_operator_api_writes_total"), sum(process.cpu_times()[:2])
    time.sleep(5)
    assert operated.metric("iris_operator_api_writes_total") == quiet_writes, "a steady state writes nothing"
    busy = (sum(process.cpu_times()[:2]) - cpu) / 5
    figures = {
        "created": created, "ready": ready, "writes": writes / MODELS, "rss MB": resident,
        "reconcile ms": mean * 1000, "idle cpu": busy,
    }  # fmt: skip
    for name, value in figures.items():
        record_property(name, round(value, 3))
    assert resident < 128, figures  # half of what the chart allows
    assert writes / MODELS < 10, figures
    operated("delete", "im", "--all", "--wait=false")
    wait_until(lambda: not operated.valkey.client().keys("iris:route:*"), 30, "no route is left", operated.last_words)
    assert operated.metric("iris_operator_rollout_phase") == 0
