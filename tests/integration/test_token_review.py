"""The TokenReview client against a small API server that misbehaves; the real one is in tests/cluster."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from api_client import FLOWER, GETPRED, RESULT
from api_process import ApiProcess, api_env
from cluster.certificates import create_certificates
from iris_service.api.token_review import PATH, ApiServer
from iris_service.config import AccessSettings
from iris_service.errors import SettingsError
from servers import Valkey

SHOP = "system:serviceaccount:shop:checkout"


def status(name: str = SHOP, audiences: Any = ("iris",), authenticated: Any = True) -> bytes:
    seen = {"authenticated": authenticated, "user": {"username": name}, "audiences": audiences}
    return json.dumps({"kind": "TokenReview", "status": seen}).encode()


NOBODY = json.dumps({"status": {"user": {}, "error": "invalid bearer token"}}).encode()
REPLIES: dict[str, tuple[int, bytes]] = {
    "good": (201, status()),
    "lab": (201, status("system:serviceaccount:lab:bench")),
    "bad": (201, NOBODY),
    "refused though named": (201, status(authenticated=False)),
    "for another audience": (201, status(audiences=["https://kubernetes.default.svc"])),
    "for no audience": (201, status(audiences=None)),
    "good for nobody": (201, status("")),
    "we may not ask": (403, b'{"kind": "Status", "code": 403}'),
    "we are not known": (401, b"{}"),
    "broken": (500, b"oops"),
    "moved": (302, b""),
    "no JSON": (201, b"<html>"),
    "no status": (201, b"{}"),
    "another shape": (201, b'{"status": {"authenticated": "yes"}}'),
    "a list": (201, b"[]"),
}


class FakeApiServer(ThreadingHTTPServer):
    """Answers reviews as `REPLIES` says, by the token in them."""

    daemon_threads = True

    def __init__(self, certificates: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "apiserver.crt", certificates / "apiserver.key")
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        """Path, our own credentials and the review of each request."""
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, *_: Any) -> None:
        """A client that does not trust us hangs up."""

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, FakeApiServer)
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers["Authorization"], review))
        code, body = REPLIES[review["spec"]["token"]]
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Not to the test's output."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls") / "certificates"
    create_certificates(folder)
    return folder


@pytest.fixture
def server(certificates: Path) -> Iterator[FakeApiServer]:
    server = FakeApiServer(certificates)
    yield server
    server.stop()


@pytest.fixture
def account(certificates: Path, tmp_path: Path) -> Path:
    """What Kubernetes mounts into a pod."""
    (tmp_path / "token").write_text("our own token\n")
    shutil.copy(certificates / "ca.crt", tmp_path)
    return tmp_path


@pytest.fixture
def settings(server: FakeApiServer, account: Path) -> AccessSettings:
    return AccessSettings("tokenreview", api_server=f"127.0.0.1:{server.server_port}", service_account=account)


def test_a_review_names_the_token_the_audience_and_ourselves(server: FakeApiServer, settings: AccessSettings) -> None:
    assert ApiServer(settings).ask(b"good") == SHOP
    [(path, credentials, review)] = server.asked
    assert (path, credentials) == (PATH, "Bearer our own token")
    assert (review["kind"], review["apiVersion"]) == ("TokenReview", "authentication.k8s.io/v1")
    assert review["spec"] == {"token": "good", "audiences": ["iris"]}


@pytest.mark.parametrize("token", ["bad", "refused though named", "for another audience", "for no audience"])
def test_a_token_that_is_not_for_us_is_nobodys(settings: AccessSettings, token: str) -> None:
    assert ApiServer(settings).ask(token.encode()) is None


@pytest.mark.parametrize(
    "token",
    ["good for nobody", "we may not ask", "we are not known", "broken", "moved", "no JSON", "no status",
     "another shape", "a list"],
)  # fmt: skip
def test_an_api_server_that_does_not_say_is_no_answer(settings: AccessSettings, token: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        ApiServer(settings).ask(token.encode())


def test_our_own_token_is_read_anew_for_it_is_replaced(
    server: FakeApiServer, settings: AccessSettings, account: Path
) -> None:
    api_server = ApiServer(settings)
    api_server.ask(b"good")
    (account / "token").write_text("a newer token")
    api_server.ask(b"good")
    assert [asked[1] for asked in server.asked] == ["Bearer our own token", "Bearer a newer token"]


def test_a_server_that_is_not_the_clusters_is_not_told_a_token(
    server: FakeApiServer, settings: AccessSettings, account: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    others = tmp_path_factory.mktemp("others") / "certificates"
    create_certificates(others)
    shutil.copy(others / "ca.crt", account)
    with pytest.raises(OSError, match="certificate verify failed"):
        ApiServer(settings).ask(b"good")
    assert not server.asked


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
def test_without_a_service_account_it_does_not_start(settings: AccessSettings, account: Path, missing: str) -> None:
    (account / missing).unlink()
    with pytest.raises(SettingsError, match="IRIS_SERVICE_ACCOUNT_FOLDER"):
        ApiServer(settings)


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({"IRIS_AUTH": "tokenreview", "KUBERNETES_SERVICE_HOST": ""}, "IRIS_AUTH"),
        ({"IRIS_AUTH": "tokenreview", "KUBERNETES_SERVICE_HOST": "::1"}, "IRIS_SERVICE_ACCOUNT_FOLDER"),
        ({"IRIS_AUTH": "api-key"}, "IRIS_API_KEYS_FILE"),
        ({"IRIS_AUTH": "api-key", "IRIS_API_KEYS_FILE": "/nowhere/keys"}, "IRIS_API_KEYS_FILE"),
    ],
)
def test_an_api_that_cannot_check_who_asks_does_not_start(env: dict[str, str], name: str, tmp_path: Path) -> None:
    env = api_env("redis://127.0.0.1:1/0", IRIS_SERVICE_ACCOUNT_FOLDER=str(tmp_path), **env)
    command = [sys.executable, "-m", "iris_service.api"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 78
    [line] = done.stderr.splitlines()
    assert name in line


def test_tokens_let_in_their_callers_and_a_cluster_that_is_away_turns_nobody_into_a_stranger(
    server: FakeApiServer, account: Path, valkey_server: Valkey
) -> None:
    cluster = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.server_port)}
    api = ApiProcess(valkey_server.url, IRIS_AUTH="tokenreview", IRIS_SERVICE_ACCOUNT_FOLDER=str(account), **cluster)
    try:
        with httpx.Client(base_url=api.url, timeout=20) as http:

            def ask(token: str, path: str = GETPRED, **parameters: float) -> httpx.Response:
                return http.get(path, params=parameters, headers={"Authorization": f"Bearer {token}"})

            job_id = ask("good", **FLOWER).json()["job_id"]
            assert ask("good", f"{RESULT}/{job_id}").status_code == 202
            assert ask("lab", f"{RESULT}/{job_id}").status_code == 404
            assert ask("bad", f"{RESULT}/{job_id}").status_code == 401
            assert ask("broken").status_code == 503
            assert len(server.asked) == 4
            server.stop()
            assert ask("good", f"{RESULT}/{job_id}").status_code == 202, "known for a minute"
            unknown = ask("for another audience")
            assert (unknown.status_code, unknown.json()["code"]) == (503, "AUTHENTICATION_UNAVAILABLE")
            assert int(unknown.headers["retry-after"]) >= 1
            assert http.get("/readyz").status_code == 200
    finally:
        assert api.stop() == 0
    told = json.dumps(api.lines)
    assert SHOP in told
    assert "no authentication" not in told
    assert not [token for token in ("Bearer", "our own token") if token in told]
