"""`python monitoring/write.py` writes what is made from code here: the dashboards of the chart and docs/metrics.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import grafana
import metrics_page
from operator_dashboard import OPERATOR
from panels import Dashboard
from rollout_dashboard import ROLLOUTS
from service_dashboard import SERVICE

ROOT = Path(__file__).parents[1]
DASHBOARDS: Mapping[str, Dashboard] = {"service": SERVICE, "rollout": ROLLOUTS, "operator": OPERATOR}
"""By the name of the file."""


def files() -> dict[Path, str]:
    """Return every file that is made, with its text."""
    folder = ROOT / "charts" / "iris" / "dashboards"
    made = {folder / f"{name}.json": grafana.to_json(dashboard) for name, dashboard in DASHBOARDS.items()}
    return {**made, ROOT / "docs" / "metrics.md": metrics_page.page()}


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
