"""What the metrics of every process have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Info, ProcessCollector, disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds; from one local prediction to the longest ?wait=."""


def new_registry(component: str) -> CollectorRegistry:
    """Return a registry that says which process this is, and what it costs.

    Without `_created` series, for the whole process: nobody asks for them, and they are a third of a page.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    info = Info("iris_build", "The component this process is, and the release it is of.", registry=registry)
    info.info({"component": component, "release": _release()})
    return registry


def _release() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("iris-serving")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"


class Totals(Collector):
    """A counter whose values are kept elsewhere, and survive this process."""

    def __init__(self, name: str, documentation: str, labelnames: tuple[str, ...], registry: CollectorRegistry) -> None:
        self._name, self._documentation, self._labelnames = name, documentation, labelnames
        self._values: Mapping[tuple[str, ...], float] = {}
        registry.register(self)

    def show(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Show these totals, by their labels, and no others."""
        self._values = values

    def describe(self) -> Iterable[CounterMetricFamily]:
        return [CounterMetricFamily(self._name, self._documentation, labels=self._labelnames)]

    def collect(self) -> Iterable[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labelnames)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        return [family]
