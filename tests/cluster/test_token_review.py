"""ServiceAccount tokens checked by a real API server, for an API that runs as a pod of the cluster would."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from api_client import FLOWER, GETPRED, RESULT
from api_process import ApiProcess
from cluster.kube import Kube
from servers import Valkey

# All that the API needs of the cluster: it may ask whose a token is, and nothing else.
REVIEWER = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "iris-token-reviewer"},
    "rules": [{"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}],
}


def token(kube: Kube, namespace: str, account: str, *options: str) -> str:
    return kube("create", "token", account, "-n", namespace, *options).strip()


@pytest.fixture
def service_account(kube: Kube, namespace: str, tmp_path: Path) -> Iterator[Path]:
    """The API's own ServiceAccount, as it is mounted into its pod."""
    for account in ("iris-api", "checkout", "bench"):
        kube("create", "serviceaccount", account, "-n", namespace)
    kube.apply(REVIEWER)
    subject = {"kind": "ServiceAccount", "name": "iris-api", "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "iris-token-reviewer"}
    binding: dict[str, Any] = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": f"iris-token-reviewer-{namespace}"}, "roleRef": role, "subjects": [subject],
    }  # fmt: skip
    kube.apply(binding)
    (tmp_path / "token").write_text(token(kube, namespace, "iris-api"))
    config = json.loads(kube("config", "view", "--minify", "--flatten", "--raw", "-o", "json"))
    authority = config["clusters"][0]["cluster"]["certificate-authority-data"]
    (tmp_path / "ca.crt").write_bytes(base64.b64decode(authority))
    yield tmp_path
    kube("delete", "clusterrolebinding", binding["metadata"]["name"], "--ignore-not-found")
    kube("delete", "clusterrole", "iris-token-reviewer")


@pytest.fixture
def api(kube: Kube, valkey_server: Valkey, service_account: Path) -> Iterator[ApiProcess]:
    config = json.loads(kube("config", "view", "--minify", "--raw", "-o", "json"))
    address = urlsplit(config["clusters"][0]["cluster"]["server"])
    cluster = {"KUBERNETES_SERVICE_HOST": str(address.hostname), "KUBERNETES_SERVICE_PORT": str(address.port)}
    api = ApiProcess(
        valkey_server.url,
        IRIS_AUTH="tokenreview",
        IRIS_SERVICE_ACCOUNT_FOLDER=str(service_account),
        IRIS_TOKEN_CACHE_SECONDS="0",
        **cluster,
    )
    yield api
    assert api.stop() == 0


def test_a_real_api_server_says_whose_a_token_is(kube: Kube, namespace: str, api: ApiProcess) -> None:
    checkout = token(kube, namespace, "checkout", "--audience=iris")
    bench = token(kube, namespace, "bench", "--audience=iris", "--audience=elsewhere")
    with httpx.Client(base_url=api.url, timeout=20) as http:

        def ask(secret: str, path: str = GETPRED, **parameters: float) -> httpx.Response:
            return http.get(path, params=parameters, headers={"Authorization": f"Bearer {secret}"})

        job_id = ask(checkout, **FLOWER).json()["job_id"]
        assert ask(checkout, f"{RESULT}/{job_id}").status_code == 202
        assert ask(bench, f"{RESULT}/{job_id}").status_code == 404
        for_kubernetes = token(kube, namespace, "checkout")
        for_others = token(kube, namespace, "checkout", "--audience=elsewhere")
        forged = checkout[:-8] + ("A" * 8 if checkout[-8:] != "A" * 8 else "B" * 8)
        for secret in (for_kubernetes, for_others, forged, "nonsense", "a.b.c", "ü", "x" * 10_000):
            refused = http.get(GETPRED, headers={"Authorization": f"Bearer {secret}".encode()})
            assert (refused.status_code, refused.json()["code"]) == (401, "UNAUTHENTICATED"), secret[:20]
    named = {line["caller"] for line in api.lines if "caller" in line}
    assert named == {f"system:serviceaccount:{namespace}:{account}" for account in ("checkout", "bench")}


def test_without_the_right_to_ask_nobody_is_let_in_and_nobody_is_called_a_stranger(
    kube: Kube, namespace: str, api: ApiProcess
) -> None:
    kube("delete", "clusterrolebinding", f"iris-token-reviewer-{namespace}")
    secret = token(kube, namespace, "checkout", "--audience=iris")
    with httpx.Client(base_url=api.url, timeout=20) as http:
        headers = {"Authorization": f"Bearer {secret}"}
        answer = http.get(GETPRED, params=FLOWER, headers=headers)
        ends = time.monotonic() + 30
        while not any("403" in line.get("reason", "") for line in api.lines):  # RBAC is followed a moment later
            assert time.monotonic() < ends, api.lines
            answer = http.get(GETPRED, params=FLOWER, headers=headers)
            assert answer.status_code in (200, 503)
    assert (answer.status_code, answer.json()["code"]) == (503, "AUTHENTICATION_UNAVAILABLE")
