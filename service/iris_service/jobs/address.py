"""Where Redis is when Sentinels know it. Reads the address only; `client` connects.

`sentinel://user:password@host1:26379,host2:26379/service/db`; with `sentinels://` everything is TLS. User and password
are those of Redis; Sentinels that ask for their own get `?sentinel_username=` and `?sentinel_password=`.
The operator has a copy of this in `iris_operator.address`; one test holds both.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from iris_service.errors import SettingsError

DEFAULT_PORT = 26379
_QUERY = {"sentinel_username", "sentinel_password"}


@dataclass(frozen=True)
class SentinelAddress:
    """Who to ask, and for what."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    db: int = 0
    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    tls: bool = False


def sentinel_address(url: str) -> SentinelAddress | None:
    """Return the address in a sentinel:// or sentinels:// URL, None for any other.

    Raises `SettingsError`, which does not repeat the URL: there may be a password in it.
    """
    if not url.startswith(("sentinel://", "sentinels://")):
        return None
    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise _refusal("an IPv6 address stands in brackets") from exc
    credentials, _, places = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    service, _, db = parts.path.strip("/").partition("/")
    query = dict(parse_qsl(parts.query))
    try:
        hosts = tuple(_host(place) for place in places.split(","))
        number = int(db or 0)
    except ValueError as exc:
        raise _refusal("ports and the database are numbers") from exc
    if not service or not all(host for host, _ in hosts):
        raise _refusal("it names hosts and, after them, a service")
    if unknown := query.keys() - _QUERY:
        raise _refusal(f"{', '.join(sorted(unknown))} is not known")
    return SentinelAddress(
        hosts,
        unquote(service),
        number,
        unquote(username) or None,
        unquote(password) or None,
        query.get("sentinel_username"),
        query.get("sentinel_password"),
        tls=parts.scheme == "sentinels",
    )


def _host(place: str) -> tuple[str, int]:
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):  # no port; a bare IPv6 address stands in brackets
        host, port = place, str(DEFAULT_PORT)
    return host.strip("[]"), int(port)


def _refusal(why: str) -> SettingsError:
    return SettingsError(
        f"IRIS_REDIS_URL must be like sentinel://user:password@host1:26379,host2:26379/service/0: {why}",
        field="IRIS_REDIS_URL",
    )
