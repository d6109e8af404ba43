"""`python monitoring/pictures.py` draws the dashboards for docs/operations.md from a real run of two to three minutes.

A Prometheus scrapes the real processes while a version is rolled out, a worker freezes, and a version that cannot be
loaded is applied and taken back. Only the cluster is in memory: its pods are worker processes of this machine.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # its real processes

import picture
import write
from drawing import Line, Span
from monitored import Monitored
from panels import Panel
from prometheus import Prometheus

IMAGES = write.ROOT / "docs" / "images"
STEP_SECONDS = 1.0
FILLED_IN = {"$namespace": ".*", "$model": ".*", "$version": ".*", "$__rate_interval": "5s"}
SPEC = {
    "worker": {"autoscaling": {"minReplicas": 1, "maxReplicas": 3, "scaleDownStabilizationSeconds": 20}},
    "rollout": {
        "steps": [{"weight": 10, "pauseSeconds": 12}, {"weight": 50, "pauseSeconds": 12}],
        "analysis": {"minimumJobs": 20, "maxWaitSeconds": 60, "maxP95Seconds": 10},
    },
}


def run(system: Monitored) -> Span:
    """Let happen what the pictures show; returns when it began and ended."""
    system.apply("1", **SPEC)
    system.eventually('iris_operator_version_info{stable="1"}')
    start = time.time()
    system.load.start()
    _say("version 1 serves; 15 s of load", 15)
    system.apply("2", **SPEC)
    _say("version 2 is rolled out", 0)
    system.eventually('iris_operator_version_info{stable="2",target=""}', 120)
    _say("version 2 serves", 10)
    system.freeze_a_worker()
    _say("a worker is frozen", 8)
    system.kill_it()
    _say("and killed", 35)
    system.apply("3", **SPEC)
    _say("a version that nobody can load", 0)
    system.eventually('iris_operator_version_info{failed="3"}')
    _say("it was given up", 12)
    system.apply("2", **SPEC)
    system.load.all_alike = True
    _say("version 2 is asked for again, and all flowers are virginicas", 20)
    return Span(start, time.time(), STEP_SECONDS)


def _say(what: str, seconds: float) -> None:
    print(what, flush=True)
    time.sleep(seconds)


def measured(prometheus: Prometheus, panel: Panel, span: Span) -> list[Line]:
    """Ask what a panel asks: over the whole run, or at its end."""
    lines: list[Line] = []
    for query in panel.queries:
        expr = query.expr
        for name, value in FILLED_IN.items():
            expr = expr.replace(name, value)
        at_the_end: Sequence[str] = ("figure", "table")
        found = prometheus.now(expr) if panel.kind in at_the_end else prometheus.between(expr, *span)
        lines += [Line(query.name(series.labels), series.labels, series.points) for series in found]
    return lines


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="iris-"))
    system = Monitored(folder, scrape_seconds=1.0, per_second=30)
    try:
        span = run(system)
        for name, dashboard in write.DASHBOARDS.items():
            lines = {panel.title: measured(system.prometheus, panel, span) for panel in dashboard.panels}
            path = IMAGES / f"dashboard-{name}.svg"
            path.write_text(picture.draw(dashboard, lines, span))
            print(f"{path.relative_to(write.ROOT)}: {path.stat().st_size // 1024} KB")
    finally:
        system.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
