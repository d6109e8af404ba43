"""Who asks, and whether he may: every request gets its caller here, and no caller more than his share.

Pure ASGI and on the path of every request: a few microseconds and no more. Says 401 and 429, never 403: what is not
yours is not there.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from iris_service.api.api_keys import ApiKeys
from iris_service.api.problems import answer_to
from iris_service.api.quota import Caller, Quota
from iris_service.api.token_review import ApiServer, TokenReview
from iris_service.config import AccessSettings
from iris_service.errors import IrisError, Unauthenticated
from iris_service.telemetry.api import ApiMetrics

FREE = frozenset({"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
"""Asked by machines that have no name."""
OPEN = frozenset({"/", "/docs", "/openapi.json"})
"""For everybody to read."""
OPEN_FOLDER = "/page/"


def is_free(path: str) -> bool:
    """Return whether nobody is asked for a key there, and nothing counted: the page is ten files before it asks."""
    return path in FREE or path in OPEN or path.startswith(OPEN_FOLDER)


class Check(Protocol):
    """A way to find out whose secret it is."""

    async def name_of(self, secret: bytes) -> str | None: ...

    async def close(self) -> None: ...


def check_of(settings: AccessSettings) -> Check | None:
    """Return the check that is asked for, None for none; raises `SettingsError` when it cannot be made."""
    if settings.mode == "api-key":
        assert settings.keys_file is not None
        return ApiKeys(settings.keys_file)
    if settings.mode == "tokenreview":
        return TokenReview(settings.token_cache_seconds, ApiServer(settings).ask)
    return None


class Access:
    """Puts `caller` into the scope: the name that was proved, or None where none is asked for."""

    def __init__(self, app: ASGIApp, check: Check | None, quota: Quota, metrics: ApiMetrics) -> None:
        self._app = app
        self._check = check
        self._quota = quota
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_free(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            name = scope["caller"] = await self._name(scope)
            caller: Caller = _address(scope) if name is None else name
            self._quota.enter(caller)
        except IrisError as exc:
            self._metrics.refused(exc.code)
            await answer_to(exc, scope["request_id"])(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._quota.leave(caller)

    async def _name(self, scope: Scope) -> str | None:
        if self._check is None:
            return None
        secret = _secret(scope["headers"])
        if not secret:
            raise Unauthenticated("send a key or token: Authorization: Bearer ...")
        name = await self._check.name_of(secret)
        if name is None:
            raise Unauthenticated("the key or token is not one that is known here")
        scope["log"]["caller"] = name
        return name


def _secret(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Return the one secret a request carries; two different ones are none."""
    found: set[bytes] = set()
    for name, value in headers:
        if name == b"authorization":
            scheme, _, rest = value.partition(b" ")
            if scheme.lower() == b"bearer":
                found.add(rest.strip())
        elif name == b"x-api-key":
            found.add(value.strip())
    return found.pop() if len(found) == 1 else None


def _address(scope: Scope) -> tuple[str]:
    """Return what stands for a caller without a name: a tuple, which no name is equal to."""
    return network_of(scope["client"][0] if scope["client"] else "")


@lru_cache(4096)
def network_of(address: str) -> tuple[str]:
    """Return the address, of IPv6 the network of 64 bits: whoever has one address there has them all."""
    try:
        found = ip_address(address)
    except ValueError:  # a Unix socket has none
        return (address,)
    if isinstance(found, IPv4Address):
        return (address,)
    if found.ipv4_mapped:
        return (str(found.ipv4_mapped),)
    return (str(IPv6Address(int(found) >> 64 << 64)),)
