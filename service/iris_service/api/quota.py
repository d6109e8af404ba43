"""How much one caller may ask for: requests a second and at the same time. Knows callers by name only, and no HTTP."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from iris_service.errors import TooManyRequests

Caller = str | tuple[str]
"""A name that was proved, or in a tuple an address."""
MOST_CALLERS = 10_000
"""Callers remembered; who has asked nothing for longest is forgotten first, and may then ask as if anew."""


@dataclass(slots=True)
class _Account:
    tokens: float
    at: float
    in_flight: int = 0


class Quota:
    """The accounts of this process. A bucket holds one second of requests, one at least, and fills as time goes by."""

    def __init__(self, rate: float, in_flight: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = max(1.0, rate)
        self._in_flight = in_flight
        self._clock = clock
        self._accounts: OrderedDict[Caller, _Account] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    def enter(self, caller: Caller) -> None:
        """Count a request that begins; raises `TooManyRequests`, and then it does not count."""
        account = self._accounts.get(caller)
        if account is None:
            account = self._open(caller)
        if account.in_flight >= self._in_flight:
            raise TooManyRequests(f"{self._in_flight} of your requests are in hand already", retry_after_seconds=1)
        if self._rate:
            self._accounts.move_to_end(caller)
            self._take(account)
        account.in_flight += 1

    def leave(self, caller: Caller) -> None:
        """Count a request that ends."""
        account = self._accounts[caller]
        account.in_flight -= 1
        if not self._rate and not account.in_flight:
            del self._accounts[caller]

    def _open(self, caller: Caller) -> _Account:
        if len(self._accounts) >= MOST_CALLERS:
            idle = next((name for name, known in self._accounts.items() if not known.in_flight), None)
            if idle is not None:
                del self._accounts[idle]
        account = self._accounts[caller] = _Account(self._burst, self._clock() if self._rate else 0.0)
        return account

    def _take(self, account: _Account) -> None:
        now = self._clock()
        account.tokens = min(self._burst, account.tokens + (now - account.at) * self._rate)
        account.at = now
        if account.tokens < 1:
            seconds = math.ceil((1 - account.tokens) / self._rate)
            raise TooManyRequests(f"more than {self._rate:g} requests a second", retry_after_seconds=max(1, seconds))
        account.tokens -= 1
