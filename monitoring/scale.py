"""Numbers as people read them, and the ticks of an axis. Pure."""

from __future__ import annotations

import math

from panels import Unit

_BYTES = ("B", "kB", "MB", "GB", "TB")


def written(value: float, unit: Unit) -> str:
    """Return a value with its unit, to three digits at most."""
    if math.isnan(value):
        return "–"
    match unit:
        case "seconds":
            return _seconds(value)
        case "ratio":
            return f"{_short(100 * value)} %"
        case "percent":
            return f"{_short(value)} %"
        case "bytes":
            power = min(len(_BYTES) - 1, int(math.log(value, 1000))) if value >= 1 else 0
            return f"{_short(value / 1000**power)} {_BYTES[power]}"
        case "yes/no":
            return "yes" if value else "no"
        case "count":
            return _short(value)
        case "/s":
            return f"{_short(value)}/s"
        case _:
            return f"{_short(value)} {unit}"


def _short(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"


def _seconds(value: float) -> str:
    if value == 0:
        return "0 s"
    if value < 1:
        return f"{_short(1000 * value)} ms"
    if value < 120:
        return f"{_short(value)} s"
    return f"{_short(value / 60)} min"


def ticks(highest: float, lowest: float = 0.0) -> list[float]:
    """Return round values from at most `lowest`, which is 0 or below, to at least `highest`: three to seven of them."""
    reach = highest - lowest
    if not reach > 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(reach / 4))
    step = next(step for step in (1, 2, 2.5, 5, 10) if step * power * 4 >= reach * 0.999) * power
    first, last = math.floor(lowest / step + 1e-9), math.ceil(highest / step - 1e-9)
    return [step * at for at in range(first, last + 1)]
