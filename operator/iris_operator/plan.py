"""What is seen of a model, and what shall be true: the values between `rollout`, which decides, and `reconcile`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from iris_operator.spec import Counters, ModelVersion, RolloutState


@dataclass(frozen=True)
class Golden:
    """How far the golden set has come through the new version's own queue."""

    answered: bool = False
    agreement: float = 0.0
    """Share of the golden rows whose class came out as labelled."""
    error: str = ""


@dataclass(frozen=True)
class Seen:
    """One version as it is now: its Deployment and its queue."""

    ready_workers: int = 0
    backlog: int = 0
    """Waiting, running and in between; 0 is drained."""
    counters: Counters = field(default_factory=Counters)
    rejected: str = ""
    """What a worker said when it refused the artifact."""
    refused: str = ""
    """What the API server said when it refused the Deployment."""
    golden: Golden | None = None
    """None until the golden set has been sent."""


@dataclass(frozen=True)
class Event:
    """Something worth telling people, once."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """What shall be true now. Doing it twice changes nothing."""

    state: RolloutState
    weights: dict[str, int]
    """Share of new jobs by version, in percent; empty before the first version is proven."""
    workers: tuple[ModelVersion, ...]
    """Versions that need their workers: the stable one, the one on trial, those that still have jobs to answer."""
    redirect: dict[str, str]
    """Queues that take no more jobs: what waits and comes there goes to the other version."""
    remove: tuple[str, ...]
    """Versions whose queue is empty and whose workers go."""
    send_golden: bool = False
    reason: str = "Stable"
    message: str = ""
    events: tuple[Event, ...] = ()
