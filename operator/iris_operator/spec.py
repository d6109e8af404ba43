"""An IrisModel as values: one parser for spec, one parser and one renderer for what status must remember."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from iris_operator.errors import InvalidSpec
from iris_operator.rules import broken

GROUP, VERSION, PLURAL = "serving.iris.dev", "v1alpha1", "irismodels"


@dataclass(frozen=True)
class ModelVersion:
    """A published artifact: immutable, so version, digest and format go together."""

    version: str
    digest: str
    format: str = "onnx"


@dataclass(frozen=True)
class Autoscaling:
    min_replicas: int = 1
    max_replicas: int = 10
    target_queue_length_per_replica: int = 20
    max_queue_wait_seconds: int | None = None
    scale_down_stabilization_seconds: int = 60


@dataclass(frozen=True)
class Worker:
    """How a version's workers run. Without `replicas` and `autoscaling` one worker does."""

    replicas: int | None = None
    autoscaling: Autoscaling | None = None
    job_timeout_seconds: int = 60
    batch_size: int = 256
    resources: Mapping[str, Any] = field(default_factory=dict)

    @property
    def most(self) -> int:
        """How many workers a version may have; without autoscaling, how many it has."""
        if self.autoscaling is not None:
            return self.autoscaling.max_replicas
        return 1 if self.replicas is None else self.replicas


@dataclass(frozen=True)
class Step:
    """Give the new version this share of new jobs, in percent, for at least so long."""

    weight: int
    pause_seconds: int = 60


DEFAULT_STEPS = (Step(10), Step(50))


@dataclass(frozen=True)
class Analysis:
    max_failure_ratio: float = 0.02
    max_p95_seconds: float = 0.5
    minimum_jobs: int = 50
    max_wait_seconds: int = 900
    on_inconclusive: Literal["Hold", "Promote", "Rollback"] = "Hold"


@dataclass(frozen=True)
class Gate:
    golden_set: bool = True
    min_agreement: float = 1.0


@dataclass(frozen=True)
class Rollout:
    strategy: Literal["Canary", "Replace"] = "Canary"
    steps: tuple[Step, ...] = DEFAULT_STEPS
    analysis: Analysis = Analysis()
    gate: Gate = Gate()
    progress_deadline_seconds: int = 600
    auto_rollback: bool = True


@dataclass(frozen=True)
class IrisModelSpec:
    """What the author of an IrisModel asks for."""

    name: str
    namespace: str
    generation: int
    uid: str
    model: ModelVersion
    paused: bool = False
    worker: Worker = Worker()
    rollout: Rollout = Rollout()

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> IrisModelSpec:
        """Read an object the API server has validated and defaulted; raises `InvalidSpec` when it is not one.

        A field that is unknown here is refused: better an error in status than a wish silently not honoured.
        """
        try:
            meta, spec = body["metadata"], dict(body["spec"])
            rules = list(broken(spec))
            read = cls(
                name=meta["name"],
                namespace=meta["namespace"],
                generation=int(meta.get("generation", 0)),
                uid=meta["uid"],
                model=_model(meta["name"], spec.pop("model")),
                paused=bool(spec.pop("paused", False)),
                worker=_worker(spec.pop("worker", {})),
                rollout=_rollout(spec.pop("rollout", {})),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise InvalidSpec(f"the spec cannot be read: {type(exc).__name__} {exc}") from exc
        if rules:
            raise InvalidSpec("; ".join(rules))
        if spec:
            raise InvalidSpec(f"this operator does not know {', '.join(sorted(spec))}")
        return read


def _model(name: str, fields: Mapping[str, Any]) -> ModelVersion:
    rest = dict(fields)
    uri, model = rest.pop("uri"), ModelVersion(**rest)
    if uri != f"models://{name}/{model.version}":  # workers listen where card and version say, jobs go where these do
        raise InvalidSpec(f"model.uri must be models://{name}/{model.version}")
    return model


def _worker(fields: Mapping[str, Any]) -> Worker:
    rest = dict(fields)
    autoscaling = rest.pop("autoscaling", None)
    return Worker(autoscaling=None if autoscaling is None else Autoscaling(**_snake(autoscaling)), **_snake(rest))


def _rollout(fields: Mapping[str, Any]) -> Rollout:
    rest = dict(fields)
    steps = rest.pop("steps", None)
    return Rollout(
        steps=DEFAULT_STEPS if steps is None else tuple(Step(**_snake(step)) for step in steps),
        analysis=Analysis(**_snake(rest.pop("analysis", {}))),
        gate=Gate(**_snake(rest.pop("gate", {}))),
        **_snake(rest),
    )


def _snake(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"".join(f"_{c.lower()}" if c.isupper() else c for c in name): value for name, value in fields.items()}


Phase = Literal["Idle", "Starting", "Proving", "Stepping"]


@dataclass(frozen=True)
class Failure:
    """Why a version was given up; it is not tried again until the spec names another, or is changed where it failed."""

    version: str
    digest: str
    reason: str
    message: str
    generation: int = 0
    """Of the spec it was given up with."""

    def stands(self, wanted: ModelVersion, generation: int) -> bool:
        """Return whether a spec asks for no more than what has failed. A Deployment was refused for all of its spec."""
        if (self.version, self.digest) != (wanted.version, wanted.digest):
            return False
        return self.reason != "DeploymentRefused" or self.generation == generation


@dataclass(frozen=True)
class Counters:
    """Totals of a version, as workers and API processes count them; differences of two are what an analysis judges."""

    done: int = 0
    failed: int = 0
    latency: tuple[int, ...] = ()
    """Jobs by task time, one number a bucket of `LATENCY_BOUNDS`, the last for all beyond."""

    def since(self, earlier: Counters) -> Counters:
        """What happened after `earlier`; all of it when the totals have begun anew."""
        if earlier.done > self.done or earlier.failed > self.failed or len(earlier.latency) != len(self.latency):
            return self
        return Counters(
            self.done - earlier.done,
            self.failed - earlier.failed,
            tuple(now - then for now, then in zip(self.latency, earlier.latency, strict=True)),
        )


LATENCY_BOUNDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0,
    1000.0, 2500.0, 5000.0, 10_000.0, 25_000.0, 50_000.0, 86_400.0,
)  # fmt: skip
"""Upper bounds of the buckets, in seconds; a test holds them against what the workers count."""


@dataclass(frozen=True)
class RolloutState:
    """All that a rollout must remember between two looks; in status, so a restart loses nothing. Times are Unix."""

    stable: ModelVersion | None = None
    recent: tuple[ModelVersion, ...] = ()
    """Versions that were stable not long ago, newest first: going back to one of them needs no new proof."""
    target: ModelVersion | None = None
    phase: Phase = "Idle"
    step: int = 0
    started_at: float = 0.0
    phase_started_at: float = 0.0
    unready_since: float | None = None
    unready_seconds: float = 0.0
    """How long no worker of it was ready since its step began, before `unready_since`."""
    baseline: Counters = Counters()
    failed: Failure | None = None
    held_since: float | None = None
    """Since when nothing may be decided (paused, Redis away): that time counts towards no deadline and no step."""
    retiring: tuple[ModelVersion, ...] = ()
    """Versions replaced by a better one: their own workers answer what still waits."""
    abandoned: tuple[ModelVersion, ...] = ()
    """Versions given up: what waits for them is answered by the stable one."""

    @classmethod
    def from_status(cls, status: Mapping[str, Any]) -> RolloutState:
        """Read `status.rollout`; a missing or unreadable one is a model never rolled out."""
        try:
            kept = dict(status["rollout"])
            return cls(
                stable=_version(kept.get("stable")),
                recent=_versions(kept.get("recent", ())),
                target=_version(kept.get("target")),
                phase=kept.get("phase", "Idle"),
                step=int(kept.get("step", 0)),
                started_at=float(kept.get("startedAt", 0)),
                phase_started_at=float(kept.get("phaseStartedAt", 0)),
                unready_since=kept.get("unreadySince"),
                unready_seconds=float(kept.get("unreadySeconds", 0)),
                baseline=_counters(kept.get("baseline", {})),
                failed=Failure(**kept["failed"]) if kept.get("failed") else None,
                held_since=kept.get("heldSince"),
                retiring=_versions(kept.get("retiring", ())),
                abandoned=_versions(kept.get("abandoned", ())),
            )
        except (KeyError, TypeError, ValueError):
            return cls()

    def to_status(self) -> dict[str, Any]:
        kept: dict[str, Any] = {
            "stable": asdict(self.stable) if self.stable else None,
            "recent": [asdict(item) for item in self.recent],
            "target": asdict(self.target) if self.target else None,
            "phase": self.phase,
            "step": self.step,
            "startedAt": self.started_at,
            "phaseStartedAt": self.phase_started_at,
            "unreadySince": self.unready_since,
            "unreadySeconds": self.unready_seconds,
            "baseline": {**asdict(self.baseline), "latency": list(self.baseline.latency)},
            "failed": asdict(self.failed) if self.failed else None,
            "heldSince": self.held_since,
            "retiring": [asdict(item) for item in self.retiring],
            "abandoned": [asdict(item) for item in self.abandoned],
        }
        return kept


def _version(fields: Mapping[str, Any] | None) -> ModelVersion | None:
    return ModelVersion(**fields) if fields else None


def _versions(items: Iterable[Mapping[str, Any]]) -> tuple[ModelVersion, ...]:
    return tuple(ModelVersion(**item) for item in items)


def _counters(fields: Mapping[str, Any]) -> Counters:
    return Counters(fields.get("done", 0), fields.get("failed", 0), tuple(fields.get("latency", ())))
