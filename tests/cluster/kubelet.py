"""Plays kubelet for one node: runs the real process behind every worker pod, as the pod's spec says, and reports on it.

Kept of a kubelet: args, environment (Secrets included), host name, the readiness probe, restarts with back-off, SIGTERM
and the grace period. Not kept: the image, volumes, limits and network of a container; ports are given out, not fixed.
"""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightkube import ApiError, Client, KubeConfig
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Node, Pod, Secret
from lightkube.types import PatchType

from cluster.kube import Kube
from cluster.processes import dying_with_us
from servers import free_port

NODE = "iris-kubelet"
LOOK_SECONDS = 0.1
PROBE_SECONDS = 0.3
IRIS = str(Path(sys.executable).with_name("iris"))


@dataclass
class Running:
    """The process of one pod."""

    process: subprocess.Popen[bytes]
    port: int
    ready: bool = False
    restarts: int = 0
    probe_at: float = 0.0
    start_at: float | None = None
    stopped_at: float | None = None
    grace_seconds: float = 30


@dataclass
class Kubelet:
    """One node. `commands` replaces the entry point (`iris`) by version, to run a version that misbehaves."""

    kube: Kube
    models: Path
    log: Path
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pods: dict[str, Running] = field(default_factory=dict)
    started: int = 0
    """Pods ever run."""
    trouble: list[str] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Join the cluster as its only node that takes pods."""
        self.client = Client(KubeConfig.from_file(self.kube.kubeconfig).get(), trust_env=False)
        self.others = [node.metadata.name for node in self.client.list(Node) if node.metadata and node.metadata.name]
        self.kube("cordon", *self.others)
        self.kube.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        self._heartbeat()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(10)
        for running in self.pods.values():
            running.process.kill()
            running.process.wait()
        self.kube("uncordon", *self.others)
        self.kube("delete", "node", NODE, "--wait=false")
        self.client.close()
        assert not self.trouble, self.trouble

    def pids(self) -> list[int]:
        """The processes that answer or might answer jobs."""
        return [running.process.pid for running in self.pods.values() if running.process.poll() is None]

    def _run(self) -> None:
        heartbeat_at = 0.0
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                if time.monotonic() >= heartbeat_at:
                    self._heartbeat()
                    heartbeat_at = time.monotonic() + 10
                self._look()
            except (ApiError, OSError) as exc:
                # 403: an API server that has just come back does not know its roles yet
                if not isinstance(exc, ApiError) or exc.status.code not in (403, 404, 409, 429, 500, 503):
                    self.trouble.append(f"{type(exc).__name__}: {exc}")
            except Exception as exc:  # the API server may be away: that is some tests' point
                if "Connect" not in type(exc).__name__ and "Protocol" not in type(exc).__name__:
                    self.trouble.append(f"{type(exc).__name__}: {exc}")

    def _heartbeat(self) -> None:
        spec = {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": _now(micros=True)}
        meta = {"name": NODE, "namespace": "kube-node-lease"}
        lease = Lease.from_dict({"metadata": meta, "spec": spec})  # type: ignore[no-untyped-call]
        self.client.apply(lease, field_manager=NODE, force=True)
        size = {"cpu": "100", "memory": "100Gi", "pods": "1000"}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready", **_stamps()}
        status = {"status": {"capacity": size, "allocatable": size, "conditions": [ready]}}
        self.client.patch(Node.Status, NODE, status, patch_type=PatchType.MERGE)

    def _look(self) -> None:
        for pod in self.client.list(Pod, namespace="*", fields={"spec.nodeName": NODE}):
            body = pod.to_dict()
            uid, meta = body["metadata"]["uid"], body["metadata"]
            running = self.pods.get(uid)
            if meta.get("deletionTimestamp"):
                self._end(uid, meta, running)
            elif running is None:
                self.pods[uid] = self._begin(body)
                self._report(body, self.pods[uid])
            else:
                self._care(body, running)

    def _begin(self, pod: Mapping[str, Any]) -> Running:
        self.started += 1
        port = free_port()
        return Running(self._process(pod, port), port)

    def _process(self, pod: Mapping[str, Any], port: int) -> subprocess.Popen[bytes]:
        (container,) = pod["spec"]["containers"]
        env = self._environment(pod["metadata"]["namespace"], container)
        entry = self.commands.get(env["IRIS_MODEL_VERSION"], [IRIS])
        env |= {"IRIS_METRICS_PORT": str(port), "IRIS_METRICS_HOST": "127.0.0.1", "IRIS_MODELS": str(self.models)}
        # a host name of its own, as in a pod: RQ's workers tell it, and the operator finds the busy pods by it
        named = ["unshare", "--uts", "sh", "-c", f'hostname {pod["metadata"]["name"]} && exec "$@"', "sh"]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                dying_with_us([*named, *entry, *container["args"]]),
                env={"PATH": os.environ["PATH"], **env},
                stdout=log,
                stderr=log,
            )

    def _environment(self, namespace: str, container: Mapping[str, Any]) -> dict[str, str]:
        env = {}
        for item in container["env"]:
            if "valueFrom" in item:
                wanted = item["valueFrom"]["secretKeyRef"]
                data = self.client.get(Secret, wanted["name"], namespace=namespace).data or {}
                env[item["name"]] = base64.b64decode(data[wanted["key"]]).decode()
            else:
                env[item["name"]] = item.get("value", "")
        return env

    def _care(self, pod: Mapping[str, Any], running: Running) -> None:
        if running.process.poll() is not None:
            self._restart(pod, running)
            return
        if time.monotonic() < running.probe_at:
            return
        running.probe_at = time.monotonic() + PROBE_SECONDS
        ready = _answers(running.port)
        if ready != running.ready:
            running.ready = ready
            self._report(pod, running)

    def _restart(self, pod: Mapping[str, Any], running: Running) -> None:
        if running.start_at is None:
            running.start_at = time.monotonic() + min(8.0, 0.5 * 2**running.restarts)
            running.ready = False
            self._report(pod, running)
        elif time.monotonic() >= running.start_at:
            running.process, running.start_at = self._process(pod, running.port), None
            running.restarts += 1
            self._report(pod, running)

    def _end(self, uid: str, meta: Mapping[str, Any], running: Running | None) -> None:
        if running is not None and running.process.poll() is None:
            if running.stopped_at is None:
                running.process.send_signal(signal.SIGTERM)
                running.stopped_at = time.monotonic()
            elif time.monotonic() - running.stopped_at > meta.get("deletionGracePeriodSeconds", 30):
                running.process.kill()
            return
        self.pods.pop(uid, None)
        self.kube("delete", "pod", meta["name"], "-n", meta["namespace"], "--grace-period=0", "--force", "--wait=false")

    def _report(self, pod: Mapping[str, Any], running: Running) -> None:
        (container,) = pod["spec"]["containers"]
        flag, name = "True" if running.ready else "False", pod["metadata"]["name"]
        is_up = running.process.poll() is None
        state = {"running": {"startedAt": _now()}} if is_up else {"waiting": {"reason": "CrashLoopBackOff"}}
        status = {
            "name": container["name"], "image": container["image"], "imageID": "", "ready": running.ready,
            "restartCount": running.restarts, "state": state,
        }  # fmt: skip
        conditions = [{"type": kind, "status": flag, **_stamps()} for kind in ("Ready", "ContainersReady")]
        report = {"phase": "Running", "conditions": conditions, "containerStatuses": [status], "startTime": _now()}
        namespace = pod["metadata"]["namespace"]
        self.client.patch(Pod.Status, name, {"status": report}, namespace=namespace, patch_type=PatchType.STRATEGIC)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _now(*, micros: bool = False) -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micros else "%Y-%m-%dT%H:%M:%SZ")


def _stamps() -> dict[str, str]:
    return {"lastTransitionTime": _now()}
