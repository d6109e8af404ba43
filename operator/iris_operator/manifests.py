"""Renders what the operator owns: one worker Deployment a version. Pure; image, secrets and places come from `Pods`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from iris_operator.quantity import amount
from iris_operator.spec import GROUP, VERSION, IrisModelSpec, ModelVersion

MANAGER = "iris-operator"
MANAGED = f"app.kubernetes.io/managed-by={MANAGER}"
"""Label selector of everything that is ours."""
MODEL_LABEL = f"{GROUP}/model"
VERSION_LABEL = f"{GROUP}/version"
DIGEST_ANNOTATION = f"{GROUP}/digest"
RENDERED_ANNOTATION = f"{GROUP}/rendered"
"""Digest of everything we rendered but replicas, so that a field we no longer render is noticed and taken back."""
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
METRICS_PORT = 9100
PLACEMENT = ("nodeSelector", "tolerations", "affinity")
_GRACE_SECONDS = 15
_PLACES = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
_CA_FOLDER = "/etc/iris/redis-ca"
_MOST_RSS_BYTES = 1 << 50
"""The most that a worker's IRIS_WORKER_MAX_RSS_BYTES may be."""


@dataclass(frozen=True)
class Pods:
    """What every worker pod gets from the operator's own settings, and no IrisModel can choose."""

    image: str
    redis_secret: str
    """Name of the Secret, in the same namespace, whose key `worker-url` holds IRIS_REDIS_URL."""
    service_account: str = "default"
    priority_class: str = ""
    models_claim: str = ""
    """PersistentVolumeClaim with a model repository; empty: the one in the image."""
    image_pull_secrets: tuple[str, ...] = ()
    pull_policy: str = "IfNotPresent"
    redis_ca_secret: str = ""
    """Name of a Secret whose key `ca.crt` says who signed Redis' certificate; empty: whom the system trusts."""
    resources: Mapping[str, Any] = field(default_factory=dict)
    """Of workers whose IrisModel asks for none."""
    placement: Mapping[str, Any] = field(default_factory=dict)
    """Any of `PLACEMENT`, as a pod's spec has them."""
    passed_on: tuple[tuple[str, str], ...] = ()
    """Variables that the operator was given for its workers, by name."""


def queue_name(model: str, version: str) -> str:
    """The queue of one version of one model, as API and workers name it."""
    return f"{model}@{version}"


def deployment_name(model: str, version: str) -> str:
    """Return a DNS-1123 name that differs for any two versions, also where letters are lost ("1.0", "1_0", "V1").

    At most 46 characters: with what ReplicaSet and pod append, a pod's name still is its whole host name.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", version.lower())[:11].strip("-") or "v"
    digest = hashlib.sha256(f"{model}\0{version}".encode()).hexdigest()[:6]
    return f"{model[:20].rstrip('-')}-worker-{slug}-{digest}"


def labels(model: str, version: str) -> dict[str, str]:
    """Return the labels that select the pods of one version; immutable, so nothing that may change is among them."""
    return {
        "app.kubernetes.io/name": "iris",
        "app.kubernetes.io/component": "worker",
        "app.kubernetes.io/managed-by": MANAGER,
        MODEL_LABEL: model,
        VERSION_LABEL: version,
    }


def model_selector(model: str) -> str:
    """Return the label selector of all worker pods of a model, as `kubectl scale` and HPA read it."""
    return f"{MANAGED},{MODEL_LABEL}={model}"


def worker_deployment(spec: IrisModelSpec, version: ModelVersion, replicas: int, pods: Pods) -> dict[str, Any]:
    """Return the Deployment of one version's workers, whole: what is not in it, the operator does not own."""
    manifest = _deployment(spec, version, pods)
    rendered = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
    manifest["metadata"]["annotations"][RENDERED_ANNOTATION] = rendered
    manifest["spec"]["replicas"] = replicas
    return manifest


def _deployment(spec: IrisModelSpec, version: ModelVersion, pods: Pods) -> dict[str, Any]:
    name, own_labels = deployment_name(spec.name, version.version), labels(spec.name, version.version)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": spec.namespace,
            "labels": own_labels,
            "annotations": {DIGEST_ANNOTATION: version.digest},
            "ownerReferences": [
                {
                    "apiVersion": f"{GROUP}/{VERSION}",
                    "kind": "IrisModel",
                    "name": spec.name,
                    "uid": spec.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": spec.rollout.progress_deadline_seconds,
            "selector": {"matchLabels": own_labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": own_labels, "annotations": {DIGEST_ANNOTATION: version.digest}},
                "spec": _pod(spec, version, pods),
            },
        },
    }


def _pod(spec: IrisModelSpec, version: ModelVersion, pods: Pods) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}]
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108  a volume of the pod's own
    if pods.models_claim:
        volumes.append({"name": "models", "persistentVolumeClaim": {"claimName": pods.models_claim, "readOnly": True}})
        mounts.append({"name": "models", "mountPath": "/app/models", "readOnly": True})
    if pods.redis_ca_secret:
        secret = {"secretName": pods.redis_ca_secret, "items": [{"key": "ca.crt", "path": "ca.crt"}]}
        volumes.append({"name": "redis-ca", "secret": secret})
        mounts.append({"name": "redis-ca", "mountPath": _CA_FOLDER, "readOnly": True})
    rendered: dict[str, Any] = {
        "serviceAccountName": pods.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": spec.worker.job_timeout_seconds + _GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "worker",
                "image": pods.image,
                "imagePullPolicy": pods.pull_policy,
                "args": ["worker"],
                "env": _environment(spec, version, pods),
                "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
                "readinessProbe": _probe("/healthz", period=2, failures=3),
                "livenessProbe": _probe("/healthz", period=10, failures=6),
                "resources": _resources(spec, pods),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
        "topologySpreadConstraints": [_spread(labels(spec.name, version.version), place) for place in _PLACES],
        **pods.placement,
    }
    if pods.priority_class:
        rendered["priorityClassName"] = pods.priority_class
    if pods.image_pull_secrets:
        rendered["imagePullSecrets"] = [{"name": name} for name in pods.image_pull_secrets]
    return rendered


def _resources(spec: IrisModelSpec, pods: Pods) -> dict[str, Any]:
    return dict(spec.worker.resources or pods.resources)


def max_rss_bytes(resources: Mapping[str, Any]) -> int:
    """Return the memory beyond which a worker ends itself: three quarters of its limit, or 0 (never) without a limit.

    The rest is for what it may grow by between two looks of its watchdog, half a second apart, and for what counts
    against the limit beside it. At the limit the kernel ends it, without a line in its log. Where there is no operator
    the chart reckons the same (iris.maxRssBytes).
    """
    limit = amount((resources.get("limits") or {}).get("memory"))
    if limit is None or limit <= 0:
        return 0
    return max(1, int(min(limit * 3 / 4, Decimal(_MOST_RSS_BYTES))))


def _environment(spec: IrisModelSpec, version: ModelVersion, pods: Pods) -> list[dict[str, Any]]:
    plain: Mapping[str, str] = {
        "IRIS_MODEL": spec.name,
        "IRIS_MODEL_VERSION": version.version,
        "IRIS_MODEL_DIGEST": version.digest,
        "IRIS_MODEL_FORMAT": version.format,
        "IRIS_JOB_TIMEOUT_SECONDS": str(spec.worker.job_timeout_seconds),
        "IRIS_BATCH_SIZE": str(spec.worker.batch_size),
        "IRIS_WORKER_MAX_RSS_BYTES": str(max_rss_bytes(_resources(spec, pods))),
        "IRIS_METRICS_HOST": "0.0.0.0",  # noqa: S104  scraped from outside the pod
        "IRIS_METRICS_PORT": str(METRICS_PORT),
        **({"IRIS_REDIS_CA_FILE": f"{_CA_FOLDER}/ca.crt"} if pods.redis_ca_secret else {}),
        **dict(pods.passed_on),
    }
    secret = {"secretKeyRef": {"name": pods.redis_secret, "key": "worker-url"}}
    return [
        *({"name": name, "value": value} for name, value in plain.items()),
        {"name": "IRIS_REDIS_URL", "valueFrom": secret},
    ]


def _spread(own_labels: Mapping[str, str], place: str) -> dict[str, Any]:
    """Workers of one version apart where that is possible: one lost node or zone takes few of them along."""
    return {
        "maxSkew": 1,
        "topologyKey": place,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(own_labels)},
        "matchLabelKeys": ["pod-template-hash"],
    }


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "metrics"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
