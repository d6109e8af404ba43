"""The chart as Helm renders it, with the helm of the cluster tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chart.rendering import Chart
from cluster import choice

CHART = Path(__file__).parents[2] / "charts" / "iris"


@pytest.fixture(scope="session")
def chart() -> Chart:
    """Without helm its tests are skipped and say why; in CI they fail."""
    return Chart(found(lambda: choice.find_programs() / "helm"), CHART)


@pytest.fixture(scope="session")
def chart_of_helm3() -> Chart:
    return Chart(found(choice.find_helm3), CHART)


def found(find: Callable[[], Path]) -> Path:
    try:
        return find()
    except choice.NoCluster as exc:
        if os.environ.get("CI") == "true":
            raise pytest.fail.Exception(str(exc), pytrace=False) from None
        raise pytest.skip.Exception(str(exc)) from None
