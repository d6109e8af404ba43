"""Plays kubelet for one node: runs a real process behind every pod, as the pod's spec says, and reports on it.

Kept of a kubelet: the readiness probe, restarts with back-off, the end of pods that are not restarted, preStop's sleep,
SIGTERM and the grace period. What a process is made of is `containers`' to say.
"""

from __future__ import annotations

import signal
import subprocess
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
from lightkube.resources.core_v1 import Node, Pod
from lightkube.types import PatchType

from cluster.containers import Containers
from cluster.kube import Kube
from debian import program

NODE = "iris-kubelet"
LOOK_SECONDS = 0.1
PROBE_SECONDS = 0.3


@dataclass
class Running:
    """The process of one pod."""

    part: str
    """api, worker ..."""
    process: subprocess.Popen[bytes]
    ports: Mapping[str, int]
    ready: bool = False
    restarts: int = 0
    probe_at: float = 0.0
    start_at: float | None = None
    stop_at: float | None = None
    """When the process is asked to stop: after preStop's sleep."""
    stopped_at: float | None = None
    done: bool = False
    """It ended, and is not to be started again."""


@dataclass
class Kubelet:
    """One node; its files and its pods' logs are in `folder`. For `commands` see `containers`."""

    kube: Kube
    models: Path
    folder: Path
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pods: dict[str, Running] = field(default_factory=dict)
    started: int = 0
    """Pods ever run."""
    trouble: list[str] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Join the cluster as its only node that takes pods."""
        self.client = Client(KubeConfig.from_file(self.kube.kubeconfig).get(), trust_env=False)
        self.containers = Containers(self.kube, self.client, self.models, self.folder, self.commands)
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

    def pids(self, part: str = "worker") -> list[int]:
        """The processes of one part, by default those that answer or might answer jobs."""
        return [
            running.process.pid
            for running in self.pods.values()
            if running.part == part and running.process.poll() is None
        ]

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
                self._end(uid, body, running)
            elif running is None:
                self.pods[uid] = self._begin(body)
                self._report(body, self.pods[uid])
            else:
                self._care(body, running)

    def _begin(self, pod: Mapping[str, Any]) -> Running:
        self.started += 1
        ports = self.containers.ports(pod, {port for other in self.pods.values() for port in other.ports.values()})
        part = pod["metadata"].get("labels", {}).get("app.kubernetes.io/component", "")
        return Running(part, self.containers.start(pod, ports), ports)

    def _care(self, pod: Mapping[str, Any], running: Running) -> None:
        if running.done:
            return
        if running.process.poll() is not None:
            self._restart(pod, running)
            return
        if time.monotonic() < running.probe_at:
            return
        running.probe_at = time.monotonic() + PROBE_SECONDS
        ready = _is_ready(pod, running)
        if ready != running.ready:
            running.ready = ready
            self._report(pod, running)

    def _restart(self, pod: Mapping[str, Any], running: Running) -> None:
        if pod["spec"]["restartPolicy"] == "Never":
            running.ready, running.done = False, True
            self._report(pod, running)
        elif running.start_at is None:
            running.start_at = time.monotonic() + min(8.0, 0.5 * 2**running.restarts)
            running.ready = False
            self._report(pod, running)
        elif time.monotonic() >= running.start_at:
            running.process, running.start_at = self.containers.start(pod, running.ports), None
            running.restarts += 1
            self._report(pod, running)

    def _end(self, uid: str, pod: Mapping[str, Any], running: Running | None) -> None:
        meta, now = pod["metadata"], time.monotonic()
        if running is not None and running.process.poll() is None:
            if running.stop_at is None:
                hook = pod["spec"]["containers"][0].get("lifecycle", {}).get("preStop", {})
                running.stop_at = now + hook.get("sleep", {}).get("seconds", 0)
                running.stopped_at = now
            if now >= running.stop_at:
                running.process.send_signal(signal.SIGTERM)
                running.stop_at = float("inf")
            if now - (running.stopped_at or now) > meta.get("deletionGracePeriodSeconds", 30):
                running.process.kill()
            return
        self.pods.pop(uid, None)
        self.kube(
            "delete",
            "pod",
            meta["name"],
            "-n",
            meta["namespace"],
            "--grace-period=0",
            "--force",
            "--wait=false",
            "--ignore-not-found",
        )

    def _report(self, pod: Mapping[str, Any], running: Running) -> None:
        (container,) = pod["spec"]["containers"]
        flag, name = "True" if running.ready else "False", pod["metadata"]["name"]
        status = {
            "name": container["name"], "image": container["image"], "imageID": "", "ready": running.ready,
            "restartCount": running.restarts, "state": _state(running),
        }  # fmt: skip
        phase = "Running" if not running.done else "Failed" if running.process.returncode else "Succeeded"
        conditions = [{"type": kind, "status": flag, **_stamps()} for kind in ("Ready", "ContainersReady")]
        report = {"phase": phase, "conditions": conditions, "containerStatuses": [status], "startTime": _now()}
        namespace = pod["metadata"]["namespace"]
        self.client.patch(Pod.Status, name, {"status": report}, namespace=namespace, patch_type=PatchType.STRATEGIC)


def _state(running: Running) -> dict[str, Any]:
    if running.done:
        return {"terminated": {"exitCode": running.process.returncode, "finishedAt": _now()}}
    if running.process.poll() is None:
        return {"running": {"startedAt": _now()}}
    return {"waiting": {"reason": "CrashLoopBackOff"}}


def _is_ready(pod: Mapping[str, Any], running: Running) -> bool:
    probe = pod["spec"]["containers"][0].get("readinessProbe", {})
    if "httpGet" in probe:
        return _answers(running.ports[probe["httpGet"]["port"]], probe["httpGet"]["path"])
    if "exec" in probe:
        return _succeeds(probe["exec"]["command"], running.ports["redis"])
    return True


def _answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _succeeds(command: Sequence[str], port: int) -> bool:
    """Of Valkey's container; its client has the older name in Debian."""
    assert command[0] == "valkey-cli"
    there = [program("redis-cli"), "-p", str(port), *command[1:]]
    return subprocess.run(there, capture_output=True, check=False, timeout=10).returncode == 0


def _now(*, micros: bool = False) -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micros else "%Y-%m-%dT%H:%M:%SZ")


def _stamps() -> dict[str, str]:
    return {"lastTransitionTime": _now()}
