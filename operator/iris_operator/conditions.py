"""Conditions as kstatus, `kubectl wait` and Helm read them. Pure; a time stamp moves only when a status does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Condition:
    """One statement about an IrisModel: `reason` is a CamelCase word for machines, `message` a sentence for people."""

    type: str
    status: Status
    reason: str
    message: str


def of_rollout(
    *, serving: bool, ready: bool, seen: bool, under_way: bool, gave_up: bool, paused: bool, reason: str, message: str
) -> tuple[Condition, ...]:
    """Return Ready, Reconciling and Stalled.

    `serving`: a proven version takes new jobs · `ready`: its workers do, as many as it needs · `seen`: Redis could be
    read, else nobody knows · `under_way`: a newer version is being proven · `gave_up`: what the spec names was rolled
    back or stands still.
    """
    as_wanted = serving and ready and not under_way and not gave_up
    is_ready: Status = "False" if not as_wanted else "True" if seen else "Unknown"
    return (
        Condition("Ready", is_ready, "Ready" if is_ready == "True" else reason, message),
        Condition("Reconciling", "True" if under_way and not paused else "False", reason, message),
        Condition("Stalled", "True" if gave_up else "False", reason if gave_up else "Working", message),
    )


def merge(
    old: Sequence[Mapping[str, Any]], new: Sequence[Condition], generation: int, now: float
) -> list[dict[str, Any]]:
    """Return `new` as status shows it, keeping the time of each condition whose status has not changed."""
    before = {condition.get("type"): condition for condition in old}
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [
        {
            "type": condition.type,
            "status": condition.status,
            "observedGeneration": generation,
            "lastTransitionTime": _unchanged_since(before.get(condition.type), condition.status) or stamp,
            "reason": condition.reason,
            "message": condition.message,
        }
        for condition in new
    ]


def _unchanged_since(before: Mapping[str, Any] | None, status: Status) -> str | None:
    return before["lastTransitionTime"] if before and before.get("status") == status else None
