"""Every query of every dashboard and alert, asked of a real Prometheus that scrapes the real system under load."""

from __future__ import annotations

import math
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.append(str(Path(__file__).parents[2] / "monitoring"))  # its modules are scripts, not a package

import metrics_page
import write
from monitored import RULES, Monitored
from panels import Panel
from prometheus import Series
from servers import short_folder

pytestmark = pytest.mark.xdist_group("monitoring")

FILLED_IN = {"$namespace": ".*", "$model": ".*", "$version": ".*", "$__rate_interval": "30s"}
PANELS = [panel for dashboard in write.DASHBOARDS.values() for panel in dashboard.panels]
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
ONLY_IN_TROUBLE = {
    "IrisModelNotReady": "what a condition says has a series only while it says so",
    "IrisRolloutFailed": "the same",
    "IrisRolloutStuck": "the same",
    "IrisScaledToMaximum": "the same",
}
"""Alerts whose expressions are empty while all is well; tests/unit/test_alerts.py makes each of them fire."""
EMPTY_NOW = {"target", "failed"}
"""Labels of versions that there are not after a good end; to Prometheus an empty label is none."""
STEPS = {
    "steps": [{"weight": 50, "pauseSeconds": 1}],
    "analysis": {"minimumJobs": 5, "maxWaitSeconds": 60, "maxP95Seconds": 10},
}


@pytest.fixture(scope="module")
def system() -> Iterator[Monitored]:
    """The system after a rollout from version 1 to 2, under load all the while."""
    folder = short_folder()
    system = Monitored(folder, scrape_seconds=1.0, per_second=20)
    try:
        system.apply("1", rollout=STEPS)
        system.eventually('iris_operator_version_info{stable="1"}')
        system.load.start()
        system.apply("2", rollout=STEPS)
        system.eventually('iris_operator_version_info{stable="2",target=""}')
        # the last things to be counted
        system.eventually("iris_drift_answer_psi")
        system.eventually('rate(iris_jobs_finished_total{version="2"}[5s]) > 0')
        yield system
        assert not system.load.surprises
    finally:
        system.stop()
        shutil.rmtree(folder)


def filled_in(expr: str) -> str:
    for name, value in FILLED_IN.items():
        expr = expr.replace(name, value)
    assert "$" not in expr
    return expr


def measured(system: Monitored, expr: str, seconds: float = 10) -> list[Series]:
    """What an expression finds that is a number, which a quantile of nothing is not; waits for the next scrapes."""
    found: list[Series] = []

    def ask() -> bool:
        found[:] = [one for one in system.prometheus.now(expr) if not math.isnan(one.points[-1][1])]
        return bool(found)

    system.prometheus.now(expr)  # raises when it cannot be read
    system.prometheus.eventually(ask, seconds, f"data for {expr}")
    return found


def test_every_process_is_scraped(system: Monitored) -> None:
    found = {series.labels["component"] for series in system.prometheus.now("iris_build_info")}
    assert found == {"api", "worker", "recovery", "operator"}
    # the worker that has just been stopped may have been missed once
    system.prometheus.eventually(lambda: not system.prometheus.now("up == 0"), 10, "nothing is down")


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_every_query_of_a_panel_returns_data(system: Monitored, panel: Panel) -> None:
    lines: list[str] = []
    for query in panel.queries:
        found = measured(system, filled_in(query.expr))
        lines += [query.name(series.labels) for series in found]
        for column in set(panel.columns) - {"Value"} - EMPTY_NOW:
            assert all(series.labels.get(column) for series in found), f"{column} of {query.expr}"
    if panel.kind not in ("table", "figure"):
        assert all(lines), "every line has a name"
        assert len(set(lines)) == len(lines), f"and no other has the same: {lines}"


def test_a_query_without_data_or_without_sense_is_found(system: Monitored) -> None:
    with pytest.raises(AssertionError, match="data for iris_gone_total"):
        measured(system, "iris_gone_total", 0.1)
    with pytest.raises(AssertionError, match="data for histogram_quantile"):
        measured(system, 'histogram_quantile(0.5, rate(iris_recovery_sweep_seconds_bucket{le="1"}[30s]))', 0.1)
    with pytest.raises(ValueError, match="parse error"):
        measured(system, "sum(rate(iris_redis_up)")


def operands(expr: str) -> list[str]:
    """What an alert's expression compares, without the thresholds: all of it is there while all is well."""
    parts, depth = [""], 0
    for piece in re.split(r"(\s(?:unless|or)\s(?:on \([^)]*\)\s)?)", expr):
        if depth == 0 and re.match(r"\s(unless|or)\s", piece):
            parts.append("")
            continue
        parts[-1] += piece
        depth += piece.count("(") - piece.count(")")
    return [re.sub(r"\s(?:==|>|<)\s[\d.]+", "", part) for part in parts]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_is_about_something_that_is_there(system: Monitored, alert: dict[str, Any]) -> None:
    system.prometheus.now(alert["expr"])  # raises when it cannot be read
    if alert["alert"] not in ONLY_IN_TROUBLE:
        for operand in operands(alert["expr"]):
            measured(system, operand)


def test_prometheus_evaluates_every_rule_and_none_fires_while_all_is_well(system: Monitored) -> None:
    def evaluated() -> bool:
        return all(rule["health"] != "unknown" for rule in system.prometheus.rules())

    system.prometheus.eventually(evaluated, 20, "every rule was evaluated")
    found = {rule["name"]: (rule["health"], rule["state"]) for rule in system.prometheus.rules()}
    assert found.keys() == {alert["alert"] for alert in ALERTS}
    assert {name: seen for name, seen in found.items() if seen[0] != "ok"} == {}
    assert {name for name, seen in found.items() if seen[1] == "firing"} == set()


def test_what_is_scraped_is_what_the_page_lists_with_its_labels_and_who_has_it(system: Monitored) -> None:
    tables = metrics_page.tables()
    listed = {row.name: (row, exporter) for exporter, rows in tables.items() for row in rows}
    scraped: set[str] = set()
    for series in system.prometheus.now('{__name__=~"(iris|process)_.+"}'):
        labels = dict(series.labels)
        name, job = labels.pop("__name__"), labels.pop("job")
        base = re.sub("_(bucket|sum|count)$", "", name)
        row, exporter = listed.get(name) or listed[base]
        scraped.add(row.name)
        assert exporter in (job, "all"), f"{name} from {job}"
        found, known = set(labels) - {"instance", "namespace", "le"}, set(row.labels) - {"namespace"}
        assert known - EMPTY_NOW <= found <= known, name
    assert scraped == listed.keys()
