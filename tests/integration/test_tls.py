"""Redis over TLS, with a certificate of our own CA. The server is Debian's: the embedded one has no TLS."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from api_process import ApiProcess
from debian import program
from faults.rig import wait_until
from iris_operator.errors import NotYet
from iris_operator.queues import Queues
from iris_service.config import RedisSettings
from iris_service.jobs.client import connect
from servers import free_port

SUBJECTS = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")


class TlsServer:
    """A Redis on a TLS port and no other, with a certificate for `localhost` and not for its number."""

    def __init__(self, folder: Path) -> None:
        server = program("redis-server")
        self.ca = folder / "ca.crt"
        (folder / "openssl.cnf").write_text("[req]\ndistinguished_name = dn\n[dn]\n")
        authority = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign", "subjectKeyIdentifier=hash")
        openssl(folder, "ca", authority)  # all of it by the book: Python checks that from 3.13 on
        server_is = (
            "subjectAltName=DNS:localhost",
            "authorityKeyIdentifier=keyid",
            "keyUsage=critical,digitalSignature",
        )
        openssl(folder, "server", server_is, "-CA", "ca.crt", "-CAkey", "ca.key")
        self.port = free_port()
        options = {
            "port": "0", "tls-port": str(self.port), "bind": "127.0.0.1", "dir": str(folder), "save": "",
            "tls-cert-file": f"{folder}/server.crt", "tls-key-file": f"{folder}/server.key",
            "tls-ca-cert-file": str(self.ca), "tls-auth-clients": "no", "requirepass": "secret",
        }  # fmt: skip
        command = [server, *(part for name, value in options.items() for part in (f"--{name}", value))]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def url(self, host: str = "localhost") -> str:
        return f"rediss://:secret@{host}:{self.port}/0"

    def answers(self, ca: str, host: str = "localhost") -> bool:
        try:
            with connect(RedisSettings(url=self.url(host), ca_file=ca)) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


def openssl(folder: Path, name: str, extensions: tuple[str, ...], *signer: str) -> None:
    files = ("-keyout", f"{name}.key", "-out", f"{name}.crt", "-config", "openssl.cnf")
    more = [word for extension in extensions for word in ("-addext", extension)]
    command = ["openssl", "req", "-x509", *SUBJECTS, *files, "-subj", f"/CN={name}", *more, *signer]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    started = TlsServer(tmp_path_factory.mktemp("tls"))
    wait_until(lambda: started.answers(str(started.ca)), 20, "a server that speaks TLS")
    yield started
    started.process.kill()
    started.process.wait()


def test_a_server_nobody_vouches_for_is_not_talked_to(server: TlsServer) -> None:
    assert server.answers(str(server.ca))
    assert not server.answers("")
    assert not server.answers(str(server.ca), host="127.0.0.1"), "the certificate is for another name"


def test_the_api_trusts_the_ca_it_is_given(server: TlsServer) -> None:
    api = ApiProcess(server.url(), IRIS_REDIS_CA_FILE=str(server.ca))
    try:
        wait_until(lambda: httpx.get(f"{api.url}/readyz").status_code == 200, 30, "an API that is ready")
    finally:
        assert api.stop() == 0


def test_the_operator_trusts_the_ca_it_is_given(server: TlsServer) -> None:
    async def observe(ca_file: str) -> None:
        queues = Queues(server.url(), "ns", ca_file)
        try:
            await queues.observe(["iris@1"], ["iris"])
        finally:
            await queues.aclose()

    asyncio.run(observe(str(server.ca)))
    with pytest.raises(NotYet, match="certificate"):
        asyncio.run(observe(""))
