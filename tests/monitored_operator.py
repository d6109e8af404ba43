"""The operator's real loop as a process, on a cluster in memory whose pods are real worker processes.

What a person applies comes on stdin, one IrisModel a line as JSON; STOP and KILL are signals for the first worker of
the newest version. It ends with its stdin.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client import start_http_server

from iris_operator.loop import Loop
from iris_operator.manifests import Pods
from iris_operator.queues import Queues
from iris_operator.reconcile import Reconciler
from iris_operator.resync import Resync
from iris_operator.store import Key, model_of
from iris_operator.telemetry import OperatorMetrics, configure_logging, new_registry
from memory_cluster import Faults, MemoryCluster
from servers import free_port

HOST = "127.0.0.1"
SMALL_WINDOW = {"IRIS_DRIFT_MIN_ROWS": "100", "IRIS_DRIFT_WINDOW_ROWS": "2000"}
"""So that drift is measured within seconds."""


class Pod:
    """One worker process, with what its Deployment says."""

    def __init__(self, manifest: Mapping[str, Any], redis_url: str) -> None:
        self.port = free_port()
        container = manifest["spec"]["template"]["spec"]["containers"][0]
        said = {item["name"]: item["value"] for item in container["env"] if "value" in item}
        own = {"IRIS_REDIS_URL": redis_url, "IRIS_METRICS_HOST": HOST, "IRIS_METRICS_PORT": str(self.port)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "iris_service.worker"],
            env={**os.environ, **said, **own, **SMALL_WINDOW},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    @property
    def is_ready(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.1)  # one that is frozen accepts nothing, once its backlog is full
            return self.process.poll() is None and probe.connect_ex((HOST, self.port)) == 0


class ProcessCluster(MemoryCluster):
    """Plays kubelet too: starts as many workers as a Deployment asks for, and anew those that end."""

    def __init__(self, redis_url: str, found: Path) -> None:
        super().__init__(Faults())
        self._redis_url = redis_url
        self._found = found
        self.pods: dict[str, list[Pod]] = {}
        self._let_go: list[Pod] = []

    def settle(self, name: str) -> None:
        body = self.deployments[name]
        replicas = body["spec"]["replicas"]
        pods = self.pods.setdefault(name, [])
        self._let_go_of(pods[replicas:])
        alive = [pod for pod in pods[:replicas] if pod.process.poll() is None]
        self.pods[name] = [*alive, *(Pod(body, self._redis_url) for _ in range(replicas - len(alive)))]
        if self.pods[name] != pods:
            self._announce()
        ready = sum(pod.is_ready for pod in self.pods[name])
        status = {"replicas": replicas, "updatedReplicas": replicas, "readyReplicas": ready}
        if body.get("status") != status:
            body["status"] = status
            self.store.deployments.see(json.loads(json.dumps(self._changed(body))))

    async def delete(self, namespace: str, name: str) -> None:
        self._let_go_of(self.pods.pop(name, []))
        self._announce()
        await super().delete(namespace, name)

    def stop(self) -> None:
        for pod in (*self._let_go, *(pod for pods in self.pods.values() for pod in pods)):
            pod.process.kill()
            pod.process.wait()

    def _let_go_of(self, pods: list[Pod]) -> None:
        for pod in pods:
            pod.process.terminate()
        self._let_go += pods

    def _announce(self) -> None:
        """Tell Prometheus where to look."""
        addresses = [f"{HOST}:{pod.port}" for pods in self.pods.values() for pod in pods]
        draft = self._found.with_suffix(".new")
        draft.write_text(json.dumps([{"targets": addresses, "labels": {"namespace": "ns"}}]))
        draft.replace(self._found)


async def kubelet(cluster: ProcessCluster, loop: Loop) -> None:
    while True:
        await asyncio.sleep(0.2)
        for name, body in list(cluster.deployments.items()):
            cluster.settle(name)
            if model := model_of(body):
                loop.wake(model)


def obey(line: str, cluster: ProcessCluster, loop: Loop) -> None:
    if line.strip() in ("STOP", "KILL"):
        list(cluster.pods.values())[-1][0].process.send_signal(signal.Signals[f"SIG{line.strip()}"])
    else:
        body = json.loads(line)
        cluster.put(body)
        loop.wake(Key("ns", body["metadata"]["name"]))


async def operate(redis_url: str, port: int, found: Path) -> None:
    metrics = OperatorMetrics(new_registry())
    start_http_server(port, addr=HOST, registry=metrics.registry)
    cluster, queues = ProcessCluster(redis_url, found), Queues(redis_url, "ns")
    pods = Pods(image="iris-worker:1", redis_secret="iris-redis")
    reconciler = Reconciler(cluster, queues, cluster.store, pods, metrics)
    loop = Loop(reconciler, queues, cluster.store, Resync(cluster, cluster.store), metrics, 1.0)
    tasks = [asyncio.create_task(loop.run()), asyncio.create_task(kubelet(cluster, loop))]
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            obey(line, cluster, loop)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        cluster.stop()
        await queues.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("redis_url")
    parser.add_argument("port", type=int)
    parser.add_argument("found", type=Path)
    configure_logging("WARNING")
    asyncio.run(operate(**vars(parser.parse_args())))
