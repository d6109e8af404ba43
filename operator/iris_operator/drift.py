"""Tells whether an object still is what we want it to be, field by field. Pure.

Only what we render is compared: what the API server defaults and what others own may be as it likes. What we no longer
render shows in the annotation that `manifests` puts on everything it renders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from iris_operator.quantity import amount

_KEYS = ("mountPath", "containerPort", "uid", "name")
"""What tells the entries of a list apart, the first that an entry has; others may add entries of their own."""


def covers(observed: Any, wanted: Any) -> bool:
    """Return whether `observed` holds everything `wanted` says. "500m" holds "0.5"; an absent field holds an empty."""
    if isinstance(wanted, Mapping):
        there = observed or {}
        return isinstance(there, Mapping) and all(covers(there.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return _covers_list(observed or [], wanted)
    if observed == wanted:
        return True
    if observed is None or wanted is None:
        return wanted in ("", 0, False, None) and observed in ("", 0, False, None)
    return amount(observed) is not None and amount(observed) == amount(wanted)


def _covers_list(observed: Sequence[Any], wanted: Sequence[Any]) -> bool:
    key = _key_of(wanted)
    if key is None:
        return len(observed) == len(wanted) and all(map(covers, observed, wanted))
    there = {item.get(key): item for item in observed if isinstance(item, Mapping)}
    return all(item[key] in there and covers(there[item[key]], item) for item in wanted)


def _key_of(wanted: Sequence[Any]) -> str | None:
    if not wanted or not all(isinstance(item, Mapping) for item in wanted):
        return None
    return next((key for key in _KEYS if all(key in item for item in wanted)), None)
