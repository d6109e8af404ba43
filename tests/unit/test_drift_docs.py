"""docs/drift.md says what the code does: metrics, settings and bounds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from iris_service.config import DriftSettings, Settings
from iris_service.errors import SettingsError
from iris_service.telemetry.answers import WorkerMetrics
from iris_service.telemetry.drift import DriftFigures

DOCS = (Path(__file__).parents[2] / "docs" / "drift.md").read_text()


def test_every_metric_is_documented_with_its_own_label_and_no_other_is() -> None:
    metrics = WorkerMetrics(CollectorRegistry(), model="m", version="v", digest="d")
    metrics.show_drift(lambda: DriftFigures(1, {"a": 1.0}, {"f": 0.0}, 0.0, {"a": 1.0}))
    exported = {
        metric.name: set(metric.samples[0].labels) - {"model", "version"}
        for metric in metrics.registry.collect()
        if metric.name.startswith("iris_drift")
    }
    documented = {
        name: {label} - {""}
        for name, label in re.findall(r"^\| `(iris_drift_\w+)` \| `?(\w*)`? ?\|", DOCS, re.MULTILINE)
    }
    assert documented == exported
    assert set(re.findall(r"\b(iris_drift_\w+)", DOCS)) == exported.keys()


def test_the_defaults_are_documented() -> None:
    drift = DriftSettings()
    assert f"The last {drift.window_rows:,} rows, none older than an hour" in DOCS
    assert drift.window_seconds == 3600
    assert f"With fewer than {drift.minimum_rows} rows (`IRIS_DRIFT_MIN_ROWS`" in DOCS


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("IRIS_DRIFT_WINDOW_ROWS", 1000, 10_000_000), ("IRIS_DRIFT_WINDOW_SECONDS", 60, 2_592_000)],
)
def test_the_bounds_are_documented(name: str, low: int, high: int) -> None:
    assert f"`{name}`, {low} to {high:,}".replace("10,000,000", "10 million") in DOCS
    for refused in (low - 1, high + 1):
        with pytest.raises(SettingsError, match=name):
            Settings.from_env({name: str(refused)})
    Settings.from_env({name: str(low)})
    Settings.from_env({name: str(high)})
