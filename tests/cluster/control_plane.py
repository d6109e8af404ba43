"""A Kubernetes cluster for tests: our own control plane on loopback, or a kind cluster made for it, kwok its nodes.

Everything but containers is real: admission, RBAC, Pod Security, CEL, server-side apply, garbage collection, rollouts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from cluster import programs
from cluster.certificates import CLIENTS, create_certificates
from cluster.kube import Kube, client_kubeconfig, write_kubeconfig
from cluster.processes import Processes

NODES = ("kwok-0", "kwok-1")
GUEST_NODES = ("iris-kwok-0", "iris-kwok-1")  # in a cluster that has nodes of its own
START_SECONDS = 60


class ControlPlane:
    """etcd, API server, controller-manager, scheduler and kwok of one test process. `kube` is their administrator."""

    def __init__(self, folder_of_programs: Path) -> None:
        self.processes = Processes()
        self.at = programs.Layout.new(folder_of_programs, self.processes.folder)
        self.kube = Kube(folder_of_programs / "kubectl", self.at.kubeconfig("admin"))

    def start(self) -> None:
        """Return when pods can be scheduled and become ready."""
        create_certificates(self.at.certificates)
        for client in CLIENTS:
            client_kubeconfig(self.at.kubeconfig(client), self.at.api_url, self.at.certificates, client)
        self.processes.start("etcd", programs.etcd(self.at))
        self._start_api_server()
        self._start_controllers()
        self.processes.start("kwok", programs.kwok(self.at.programs / "kwok", self.kube.kubeconfig))
        add_nodes(self.kube, NODES)

    def kill_api_server(self) -> None:
        self.processes.kill("kube-apiserver")

    def bring_api_server_back(self) -> None:
        """On its port and with its data. Its controllers begin anew: by themselves they would take half a minute.

        Not kwok: a new one would wait until the leases of its nodes have ended.
        """
        for name in ("kube-controller-manager", "kube-scheduler"):
            self.processes.kill(name)
        self._start_api_server()
        self._start_controllers()

    def _start_controllers(self) -> None:
        self.processes.start("kube-controller-manager", programs.controller_manager(self.at))
        self.processes.start("kube-scheduler", programs.scheduler(self.at))

    def _start_api_server(self) -> None:
        self.processes.start("kube-apiserver", programs.api_server(self.at))
        ends = time.monotonic() + START_SECONDS
        while not self.kube.answers("get", "--raw=/readyz"):
            self.processes.check()
            last_words = self.processes.last_words("kube-apiserver")
            assert time.monotonic() < ends, f"the API server did not come up: {last_words}"
            time.sleep(0.2)

    def stop(self) -> None:
        self.processes.stop()


class KindCluster:
    """A running kind cluster: its own nodes take no pod while the tests run, kwok's nodes take them all."""

    def __init__(self, folder_of_programs: Path, kubeconfig: Path) -> None:
        self.processes = Processes()
        self.programs = folder_of_programs
        self.kube = Kube(folder_of_programs / "kubectl", self.processes.folder / "admin.kubeconfig")
        self.theirs = Kube(folder_of_programs / "kubectl", kubeconfig)
        self.cordoned: list[str] = []

    def start(self) -> None:
        flat = self.theirs("config", "view", "--minify", "--flatten", "--raw", "-o", "json")
        write_kubeconfig(self.kube.kubeconfig, json.loads(flat))
        self.cordoned = [node["metadata"]["name"] for node in self.kube.get("nodes")["items"]]
        self.kube("cordon", *self.cordoned)
        self.processes.start("kwok", programs.kwok(self.programs / "kwok", self.kube.kubeconfig))
        add_nodes(self.kube, GUEST_NODES)

    def stop(self) -> None:
        if self.cordoned:
            self.kube("uncordon", *self.cordoned)
            self.kube("delete", "node", "--ignore-not-found", *GUEST_NODES)
        self.processes.stop()


def add_nodes(kube: Kube, names: Sequence[str]) -> None:
    for name in names:
        kube.apply(programs.fake_node(name))
    kube("wait", "--for=condition=Ready", "--timeout=60s", *(f"node/{name}" for name in names))
