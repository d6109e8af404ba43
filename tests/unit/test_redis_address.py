"""The address of a Redis behind Sentinels, as service and operator read it: two copies, one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from iris_operator import address as of_the_operator
from iris_operator.errors import InvalidSpec
from iris_operator.queues import Queues
from iris_service.config import RedisSettings
from iris_service.errors import SettingsError
from iris_service.jobs import address as of_the_service
from iris_service.jobs.client import connect

PLAIN = {
    "hosts": (("a", 26379),), "service": "iris", "db": 0, "username": None, "password": None,
    "sentinel_username": None, "sentinel_password": None, "tls": False,
}  # fmt: skip
CREDENTIALS = {"username": "iris-api", "password": "p@ss/word"}
ASKED = {"sentinel_username": "s", "sentinel_password": "se cret"}

both = pytest.mark.parametrize(
    ("read", "refusal"),
    [(of_the_service.sentinel_address, SettingsError), (of_the_operator.sentinel_address, InvalidSpec)],
    ids=["service", "operator"],
)


@both
@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("sentinel://a/iris", {}),
        ("sentinel://a:1,b:2/iris/3", {"hosts": (("a", 1), ("b", 2)), "db": 3}),
        ("sentinel://a,b:2/iris", {"hosts": (("a", 26379), ("b", 2))}),
        ("sentinel://[::1]:7,[fe80::2]/iris", {"hosts": (("::1", 7), ("fe80::2", 26379))}),
        ("sentinel://iris-api:p%40ss%2Fword@a/iris", CREDENTIALS),
        ("sentinels://a/iris?sentinel_username=s&sentinel_password=se%20cret", {**ASKED, "tls": True}),
    ],
)
def test_an_address_is_read(read: Callable[[str], Any], refusal: type[Exception], url: str, found: Any) -> None:
    assert asdict(read(url)) == {**PLAIN, **found}


@both
@pytest.mark.parametrize("url", ["redis://a/0", "rediss://a/0", "unix:///run/valkey.sock"])
def test_any_other_address_is_somebody_elses(read: Callable[[str], Any], refusal: type[Exception], url: str) -> None:
    assert read(url) is None


@both
@pytest.mark.parametrize(
    "rest", ["a:b/iris", "a:1/iris/x", "a:1", "/iris", "a,,b/iris", "a/iris?sentinel_pasword=x", "a/iris?db=1"]
)
def test_what_is_none_is_refused_without_its_password(
    read: Callable[[str], Any], refusal: type[Exception], rest: str
) -> None:
    with pytest.raises(refusal, match="IRIS_REDIS_URL") as refused:
        read(f"sentinel://u:hunter2@{rest}")
    assert "hunter2" not in str(refused.value)


def test_a_ca_without_tls_is_refused_instead_of_ignored() -> None:
    with pytest.raises(SettingsError, match="IRIS_REDIS_CA_FILE"):
        connect(RedisSettings(url="redis://a/0", ca_file="ca.crt"))
    with pytest.raises(InvalidSpec, match="IRIS_REDIS_CA_FILE"):
        Queues("redis://a/0", "ns", "ca.crt")


def test_the_operator_refuses_an_address_of_another_kind() -> None:
    with pytest.raises(InvalidSpec, match="IRIS_REDIS_URL"):
        Queues("http://a/0", "ns")
