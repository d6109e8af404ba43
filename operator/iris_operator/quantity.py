"""Reads the quantities of Kubernetes, "512Mi" or "0.5". Pure; does not know what they are quantities of."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

_FACTORS = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1), "k": Decimal(10**3),
    "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}  # fmt: skip
PATTERN = r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))([eE][+-]?[0-9]{1,3}|[numkMGTPE]|[KMGTPE]i)?"
"""Number, then suffix or exponent, never both; the schema of the chart's values has it too."""


def amount(value: Any) -> Decimal | None:
    """Return how much a quantity is; None when it is none."""
    found = None if isinstance(value, bool) else re.fullmatch(PATTERN, str(value))
    if not found:
        return None
    number, scale = found[1], found[2] or ""
    return Decimal(number) * _FACTORS[scale] if scale in _FACTORS else Decimal(number + scale)
