"""Kubernetes ServiceAccount tokens: asks the cluster's API server whose they are, and remembers that for a while.

Knows no HTTP of ours. A token is kept nowhere, only its hash.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import msgspec
import structlog

from iris_service.config import AccessSettings
from iris_service.errors import AuthenticationUnavailable, SettingsError

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
REVIEW_SECONDS = 2.0
"""A caller whose token could not be looked at by then gets its 503."""
AT_ONCE = 8
"""Reviews made at the same time."""
MOST_WAITING = 64
"""Reviews under way or waiting their turn: tokens made up by the thousand must not pile up."""
MOST_TOKENS = 10_000
"""Tokens remembered, good and bad; the one that was asked about first is forgotten first."""
BAD_SECONDS = 5.0
"""How long a bad token is not asked about again: short, for it may become good (a ServiceAccount made just now)."""
RETRY_SECONDS = 2
_MOST_REPLY_BYTES = 1 << 20

_log = structlog.get_logger(__name__)

Ask = Callable[[bytes], str | None]
"""Returns whose token it is, None when nobody's; raises `OSError` or `ValueError` when that could not be found out."""


class TokenReview:
    """The tokens seen by this process."""

    def __init__(self, good_seconds: float, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        self._good_seconds = good_seconds
        self._ask = ask
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[str | None, float]] = OrderedDict()
        """Names by the hash of the token, and until when they hold."""
        self._under_way: dict[bytes, asyncio.Future[str | None]] = {}
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="token-review")

    async def name_of(self, secret: bytes) -> str | None:
        """Return whose token this is, None when nobody's; raises `AuthenticationUnavailable` within seconds."""
        digest = sha256(secret).digest()
        known = self._known.get(digest)
        if known is not None and self._clock() < known[1]:
            return known[0]
        try:
            review = self._under_way.get(digest) or self._begin(digest, secret)
            async with asyncio.timeout(REVIEW_SECONDS):
                return await asyncio.shield(review)  # others may wait for it too
        except (OSError, ValueError, http.client.HTTPException) as exc:  # TimeoutError is an OSError
            _log.warning("token not reviewed", reason=f"{type(exc).__name__}: {exc}"[:200])
            raise AuthenticationUnavailable(
                "tokens cannot be checked right now", retry_after_seconds=RETRY_SECONDS
            ) from exc

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self, digest: bytes, secret: bytes) -> asyncio.Future[str | None]:
        if len(self._under_way) >= MOST_WAITING:
            raise OSError(f"{MOST_WAITING} reviews are under way already")
        review = self._under_way[digest] = asyncio.ensure_future(self._review(digest, secret))
        review.add_done_callback(lambda done: done.cancelled() or done.exception())  # all who waited may have gone
        return review

    async def _review(self, digest: bytes, secret: bytes) -> str | None:
        try:
            name = await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, secret)
        finally:
            del self._under_way[digest]
        self._remember(digest, name)
        return name

    def _remember(self, digest: bytes, name: str | None) -> None:
        self._known.pop(digest, None)
        if len(self._known) >= MOST_TOKENS:
            self._known.popitem(last=False)
        self._known[digest] = name, self._clock() + (BAD_SECONDS if name is None else self._good_seconds)


class ApiServer:
    """The cluster's API server, asked with this pod's own token."""

    def __init__(self, settings: AccessSettings) -> None:
        """Raises `SettingsError` when this pod's own token or the cluster's certificate cannot be read."""
        self._address = settings.api_server
        self._audience = settings.audience
        self._token = settings.service_account / "token"
        self._authority = settings.service_account / "ca.crt"
        try:
            self._token.read_bytes()
            ssl.create_default_context(cafile=self._authority)
        except OSError as exc:  # ssl.SSLError too
            name = "IRIS_SERVICE_ACCOUNT_FOLDER"
            raise SettingsError(
                f"{name}: no usable token and ca.crt in {settings.service_account}", field=name
            ) from exc

    def ask(self, secret: bytes) -> str | None:
        """Return the user name of a token that is good for our audience; blocks, and is an `Ask`."""
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": secret.decode("latin-1"), "audiences": [self._audience]},
        }
        return self._name_in(self._post(json.dumps(review).encode()))

    def _post(self, body: bytes) -> bytes:
        # read each time, as both are replaced now and then
        headers = {"Authorization": f"Bearer {self._token.read_text().strip()}", "Content-Type": "application/json"}
        context = ssl.create_default_context(cafile=self._authority)
        connection = http.client.HTTPSConnection(self._address, timeout=REVIEW_SECONDS, context=context)
        try:
            connection.request("POST", PATH, body, headers)
            reply = connection.getresponse()
            content = reply.read(_MOST_REPLY_BYTES)
        finally:
            connection.close()
        if reply.status not in (200, 201):
            raise ValueError(f"the API server answered {reply.status}; may this pod create tokenreviews?")
        return content

    def _name_in(self, reply: bytes) -> str | None:
        status = _reply.decode(reply).status
        # a server that knows nothing of audiences names none, and then the token may be meant for anybody
        if not status.authenticated or self._audience not in (status.audiences or ()):
            return None
        if not status.user.username:
            raise ValueError("the API server names nobody")
        return status.user.username


class _User(msgspec.Struct):
    username: str = ""


class _Status(msgspec.Struct):
    authenticated: bool = False
    user: _User = msgspec.field(default_factory=_User)
    audiences: list[str] | None = None


class _Reply(msgspec.Struct):
    status: _Status


_reply = msgspec.json.Decoder(_Reply)
