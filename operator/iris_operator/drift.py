"""Tells whether an object still is what we want it to be, field by field. Pure.

Only what we render is compared: what the API server defaults and what others own may be as it likes. What we no longer
render shows in the annotation that `manifests` puts on everything it renders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(10**3), "M": Decimal(10**6),
    "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18), "Ki": Decimal(2**10),
    "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip


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
    return _amount(observed) is not None and _amount(observed) == _amount(wanted)


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


def _amount(value: Any) -> Decimal | None:
    """Read a Kubernetes quantity; None when it is not one."""
    if isinstance(value, bool):
        return None
    text = str(value)
    suffix = next((name for name in sorted(_SUFFIXES, key=len, reverse=True) if text.endswith(name)), "")
    try:
        return Decimal(text.removesuffix(suffix)) * _SUFFIXES.get(suffix, Decimal(1))
    except InvalidOperation:
        return None
