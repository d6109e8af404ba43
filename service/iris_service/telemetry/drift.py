"""How far what is asked and answered has moved from the training data, as metrics. Knows no arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector


@dataclass(frozen=True)
class DriftFigures:
    """How far a worker's window is from the training data; names are those of the card."""

    rows: int
    training_shares: Mapping[str, float]
    """By class; so are the answers' shares."""
    feature_psi: Mapping[str, float] = field(default_factory=dict)
    """Population stability index by feature; empty, as all below, when there are too few rows."""
    answer_psi: float | None = None
    answer_shares: Mapping[str, float] = field(default_factory=dict)


class DriftCollector(Collector):
    """Too few rows give no series at all: NaN would spoil every average over processes."""

    def __init__(self, read: Callable[[], Sequence[tuple[tuple[str, ...], DriftFigures]]]) -> None:
        """`read` returns (model, version) and the figures of each version that this process answers."""
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        seen = self._read()

        def gauge(name: str, text: str, values: Callable[[DriftFigures], Mapping[str, float]], label: str = "") -> Any:
            names = ("model", "version", label) if label else ("model", "version")
            family = GaugeMetricFamily(f"iris_drift_{name}", text, labels=names)
            for of_version, figures in seen:
                for key, value in values(figures).items():
                    family.add_metric((*of_version, key) if label else of_version, value)
            return family

        yield gauge("rows", "Answered rows that are compared with the training data.", lambda f: {"": f.rows})
        yield gauge("feature_psi", "Population stability index of what is asked.", lambda f: f.feature_psi, "feature")
        yield gauge(
            "answer_psi",
            "Population stability index of the classes answered.",
            lambda f: {} if f.answer_psi is None else {"": f.answer_psi},
        )
        yield gauge("answer_share", "Share of the rows answered with a class.", lambda f: f.answer_shares, "class")
        yield gauge("training_share", "Share of a class in the training data.", lambda f: f.training_shares, "class")
