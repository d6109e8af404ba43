"""The chart as Helm renders it, with the helm of the cluster tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chart.rendering import Chart
from cluster import choice

CHART = Path(__file__).parents[2] / "charts" / "iris"


@pytest.fixture(scope="session")
def chart() -> Chart:
    """Without helm its tests are skipped and say why; in CI they fail."""
    try:
        helm = choice.find_programs() / "helm"
    except choice.NoCluster as exc:
        if os.environ.get("CI") == "true":
            raise pytest.fail.Exception(str(exc), pytrace=False) from None
        raise pytest.skip.Exception(str(exc)) from None
    return Chart(helm, CHART)
