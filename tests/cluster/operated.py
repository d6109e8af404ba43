"""The operator as the chart installs it: its ServiceAccount, Role and environment, in a process that tests can kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cluster.helm import Release
from cluster.kube import Kube
from cluster.processes import dying_with_us
from iris_service.model.store import ModelRepository
from servers import Valkey, free_port
from versions import COMMITTED, committed_card

ACCOUNT = "iris-operator"
SECRET = "iris-queue"
AROUND_THE_OPERATOR = {
    "image": {"registry": "example.invalid", "tag": "1"},
    "valkey": {"enabled": False},
    "redis": {"existingSecret": SECRET},
    "model": {"enabled": False},
    "api": {"replicas": 0},
    "recovery": {"replicas": 0},
    "operator": {"nodeSelector": {"iris.test/runs-in": "the-test"}},
}
"""The chart with a Valkey of the test's; its pods stay away, the operator's for want of such a node."""
LONG = os.environ.get("IRIS_LONG_TESTS") == "1"
"""Ten rollouts under random kills, 200 models at once and an API server away for over a minute: ten minutes more."""
FAST_CANARY = {
    "steps": [{"weight": 50, "pauseSeconds": 1}],
    "analysis": {"minimumJobs": 10, "maxP95Seconds": 1.0, "maxWaitSeconds": 60},
    "progressDeadlineSeconds": 20,
}
"""Quick, but with room for a machine that runs other tests too: only what is meant to be slow takes a second."""


class Operated:
    """One namespace with an operator, and a Valkey it writes routes to."""

    def __init__(
        self, helm: Path, kube: Kube, namespace: str, valkey: Valkey, folder: Path, **values: Mapping[str, Any]
    ) -> None:
        self.kube = kube
        self.namespace = namespace
        self.valkey = valkey
        self.log = folder / "operator.log"
        self.health_port, self.metrics_port = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        urls = [f"--from-literal={key}-url={valkey.url}" for key in ("api", "worker", "operator")]
        self("create", "secret", "generic", SECRET, *urls)
        Release(helm, kube, namespace).install({**AROUND_THE_OPERATOR, **values})
        self.account = kube.as_service_account(namespace, ACCOUNT)

    def __call__(self, *arguments: str) -> str:
        """kubectl in the namespace, as its administrator."""
        return self.kube(*arguments, "-n", self.namespace)

    # --- the process ------------------------------------------------------------------------------------------------

    def start(self, **env: str) -> None:
        settings = {
            **self.given(),
            "KUBECONFIG": str(self.account.kubeconfig),
            "IRIS_HEALTH_PORT": str(self.health_port),
            "IRIS_METRICS_PORT": str(self.metrics_port),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                dying_with_us([sys.executable, "-m", "iris_operator"]),
                env={"PATH": os.environ["PATH"], **settings, **env},
                stderr=log,
            )
        wait_until(lambda: self.health()[0] == 200, 30, "a healthy operator", self.last_words)

    def given(self) -> dict[str, str]:
        """The environment that the chart gives the operator."""
        pod = self.kube.get(f"deploy/{ACCOUNT}", "-n", self.namespace)["spec"]["template"]
        env = {item["name"]: item.get("value", "") for item in pod["spec"]["containers"][0]["env"]}
        return env | {"IRIS_NAMESPACE": self.namespace, "IRIS_REDIS_URL": self.valkey.url}

    def stop(self) -> int:
        """SIGTERM, and return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def last_words(self) -> str:
        return "\n".join(self.log.read_text().splitlines()[-30:])

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def said(self, name: str, event: str) -> list[dict[str, Any]]:
        """What the operator has logged of one IrisModel under one heading, oldest first."""
        return [line for line in self.lines() if line.get("name") == name and line["event"] == event]

    def health(self) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}/healthz", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str) -> float:
        """The sum over all series of a metric."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.partition(" ")[0].partition("{")[0] == name)

    # --- IrisModels -------------------------------------------------------------------------------------------------

    def apply(self, name: str, version: str, digest: str, **spec: Any) -> None:
        model = {"version": version, "uri": f"models://{name}/{version}", "digest": digest}
        body = {"apiVersion": "serving.iris.dev/v1alpha1", "kind": "IrisModel", "metadata": {"name": name}}
        self.kube.apply({**body, "spec": {"model": model, **spec}}, "-n", self.namespace, "--force-conflicts")

    def status(self, name: str) -> dict[str, Any]:
        return dict(self.kube.get(f"im/{name}", "-n", self.namespace).get("status") or {})

    def statuses(self) -> dict[str, dict[str, Any]]:
        items = self.kube.get("im", "-n", self.namespace)["items"]
        return {item["metadata"]["name"]: item.get("status") or {} for item in items}

    def wait_for(self, name: str, condition: Callable[[dict[str, Any]], object], seconds: float, what: str) -> float:
        return wait_until(
            lambda: condition(self.status(name)), seconds, what, lambda: f"{self.status(name)}\n{self.last_words()}"
        )

    def wait_ready(self, *names: str, seconds: int = 90) -> None:
        self("wait", "--for=condition=Ready", f"--timeout={seconds}s", *(f"im/{name}" for name in names))

    def route(self, name: str) -> dict[str, int] | None:
        text = self.valkey.client().get(f"iris:route:{name}")
        return json.loads(text) if text else None  # type: ignore[arg-type]


def publish(root: Path, model: str, version: str, source: str = "1") -> str:
    """Publish a committed artifact under another name; returns its digest."""
    card = committed_card(source)
    artifact = card.artifacts["onnx"]
    card = msgspec.structs.replace(card, model=model, version=version, artifacts={"onnx": artifact})
    data = (COMMITTED / "iris" / source / artifact.file).read_bytes()
    ModelRepository(root).publish(card, {artifact.file: data})
    return artifact.digest


def wait_until(
    condition: Callable[[], object], seconds: float, what: str, explain: Callable[[], str] = lambda: ""
) -> float:
    """Return the seconds it took; fails when it took longer than allowed."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds} s: {what}\n{explain()}"
        time.sleep(0.05)
    return time.monotonic() - started


def misbehaving(how: str) -> Sequence[str]:
    return [sys.executable, str(Path(__file__).parent / "misbehaving_worker.py"), how]
