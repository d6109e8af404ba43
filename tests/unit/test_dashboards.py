"""What is made from code is what is committed, and says what it should to whoever reads it at night."""

from __future__ import annotations

import copy
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard as GrafanaDashboard

sys.path.append(str(Path(__file__).parents[2] / "monitoring"))  # its modules are scripts, not a package

import grafana
import metrics_page
import write
from iris_service.api.access import FREE
from iris_service.jobs.keys import OUTCOMES
from iris_service.telemetry.api import REFUSED
from panels import COLUMNS, Dashboard, Panel, Section, placed

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts" / "iris" / "rules" / "iris.yaml"
PANELS = [panel for dashboard in write.DASHBOARDS.values() for panel in dashboard.panels]
EACH = pytest.mark.parametrize("dashboard", write.DASHBOARDS.values(), ids=lambda dashboard: dashboard.uid)


@pytest.mark.parametrize("path", write.files(), ids=lambda path: path.name)
def test_what_is_committed_is_what_the_code_makes(path: Path) -> None:
    assert path.read_text() == write.files()[path], "run python monitoring/write.py"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_panel_asks_a_question_and_explains_its_answer(panel: Panel) -> None:
    assert re.fullmatch(r"[A-Z].+\?", panel.title)
    assert len(panel.title) <= 5.4 * panel.width, "it fits above the panel"
    assert panel.description.endswith(".")
    assert panel.queries
    if panel.kind == "table":
        assert panel.columns
    elif panel.kind != "figure" and len(panel.queries) > 1:
        assert all(query.legend for query in panel.queries), "each line has a name"
    if panel.kind == "figure":
        assert len(panel.queries) == 1


def test_no_two_panels_are_the_same() -> None:
    assert [title for title, times in Counter(panel.title for panel in PANELS).items() if times > 1] == []
    queries = Counter(query.expr for panel in PANELS for query in panel.queries)
    assert [expr for expr, times in queries.items() if times > 1] == []


@EACH
def test_the_panels_of_a_section_fill_its_rows(dashboard: Dashboard) -> None:
    taken: Counter[tuple[int, int]] = Counter()
    bottom = 0
    for place, item in placed(dashboard):
        assert place.x + place.width <= COLUMNS
        if isinstance(item, Section):
            assert len(taken) == COLUMNS * bottom, f"a gap above {item.title}"
        columns, rows = range(place.x, place.x + place.width), range(place.y, place.y + place.height)
        taken.update((x, y) for x in columns for y in rows)
        bottom = max(bottom, place.y + place.height)
    assert len(taken) == COLUMNS * bottom, "a gap at the end"
    assert set(taken.values()) == {1}, "two panels overlap"


@EACH
def test_a_query_follows_the_choices_at_the_top_and_nothing_else(dashboard: Dashboard) -> None:
    chosen = {f"${variable.name}" for variable in dashboard.variables} | {"$__rate_interval"}
    for panel in dashboard.panels:
        for query in panel.queries:
            assert set(re.findall(r"\$\w+", query.expr)) <= chosen
            for matchers in re.findall(r"\{([^}]*)\}", query.expr):
                assert matchers.startswith('namespace=~"$namespace"'), query.expr


@EACH
def test_grafana_is_told_the_same_of_every_panel(dashboard: Dashboard) -> None:
    made: dict[str, Any] = json.loads(grafana.to_json(dashboard))
    shown = [panel for panel in made["panels"] if panel["type"] != "row"]
    assert [panel["title"] for panel in shown] == [panel.title for panel in dashboard.panels]
    assert [panel["description"] for panel in shown] == [panel.description for panel in dashboard.panels]
    assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])
    for panel, said in zip(shown, dashboard.panels, strict=True):
        assert [target["expr"] for target in panel["targets"]] == [query.expr for query in said.queries]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
    choices = [choice["name"] for choice in made["templating"]["list"]]
    assert choices == ["datasource", *(variable.name for variable in dashboard.variables)]


def unknown(said: Any, read: Any, path: str = "") -> Iterator[str]:
    """What Grafana's own types have left out of what they have read."""
    if isinstance(said, dict):
        for name, below in said.items():
            where = f"{path}.{name}"
            yield from unknown(below, read[name], where) if name in read else [where]
    elif isinstance(said, list):
        for at, (below, kept) in enumerate(zip(said, read, strict=True)):
            yield from unknown(below, kept, f"{path}[{at}]")
    elif said != read:
        yield f"{path}: {said} became {read}"


def read_by_grafana(made: dict[str, Any]) -> dict[str, Any]:
    register_default_plugins()
    found: dict[str, Any] = json.loads(JSONEncoder().encode(GrafanaDashboard.from_json(copy.deepcopy(made))))
    return found


@EACH
def test_grafana_knows_every_word_of_a_dashboard(dashboard: Dashboard) -> None:
    made = grafana.model(dashboard)
    assert list(unknown(made, read_by_grafana(made))) == []


def test_a_word_that_grafana_does_not_know_would_be_found() -> None:
    made = json.loads(grafana.to_json(write.DASHBOARDS["service"]))
    at, panel = next((at, one) for at, one in enumerate(made["panels"]) if one["type"] == "timeseries")
    for part in (made, panel, panel["options"]["legend"], panel["fieldConfig"]["defaults"]["custom"]):
        part["wrods"] = 1
    assert sorted(unknown(made, read_by_grafana(made))) == [
        f".panels[{at}].fieldConfig.defaults.custom.wrods", f".panels[{at}].options.legend.wrods",
        f".panels[{at}].wrods", ".wrods",
    ]  # fmt: skip


def named(expr: str) -> set[str]:
    """The metrics that an expression names."""
    return set(re.findall(r"\b((?:iris|process)_\w+)", re.sub(r'"[^"]*"', "", expr)))


def known() -> set[str]:
    names: set[str] = set()
    for rows in metrics_page.tables().values():
        for row in rows:
            suffixes = ("_bucket", "_sum", "_count") if row.type == "histogram" else ("",)
            names |= {row.name + suffix for suffix in suffixes}
    return names


def test_no_dashboard_names_a_metric_that_does_not_exist() -> None:
    queries = [query.expr for panel in PANELS for query in panel.queries]
    queries += [variable.metric for dashboard in write.DASHBOARDS.values() for variable in dashboard.variables]
    assert {name for expr in queries for name in named(expr)} - known() == set()


def test_no_alert_names_a_metric_that_does_not_exist() -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert rules
    assert {name for rule in rules for name in named(rule["expr"])} - known() == set()


def test_probes_are_left_out_of_what_callers_get_and_nothing_else_is() -> None:
    text = "".join(query.expr for panel in PANELS for query in panel.queries) + RULES.read_text()
    (left_out,) = set(re.findall(r'route!~"([^"]*)"', text))
    assert all(re.fullmatch(left_out, path) for path in FREE)
    assert not re.fullmatch(left_out, "/iris/api/v1.0/getpred")
    assert not re.fullmatch(left_out, "/v2/models/{model}/infer")


def test_an_outcome_or_a_code_in_a_query_is_one_there_is() -> None:
    text = "".join(query.expr for panel in PANELS for query in panel.queries) + RULES.read_text()
    asked = {name for found in re.findall(r'outcome=~?"([^"]*)"', text) for name in found.split("|")}
    assert asked <= set(OUTCOMES)
    assert {name for found in re.findall(r'code=~"([^"]*)"', text) for name in found.split("|")} <= set(REFUSED)
    (row,) = [row for row in metrics_page.tables()["api"] if row.name == "iris_queue_jobs_total"]
    assert {name for name in OUTCOMES if name not in row.meaning} == set()


def test_every_metric_of_ours_is_looked_at_by_a_dashboard_or_an_alert() -> None:
    text = "".join(query.expr for panel in PANELS for query in panel.queries) + RULES.read_text()
    ours = {row.name for rows in metrics_page.tables().values() for row in rows if row.name.startswith("iris_")}
    assert {name for name in ours if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", text)} == set()


def test_the_page_says_of_every_metric_what_it_is() -> None:
    rows = [row for rows in metrics_page.tables().values() for row in rows]
    assert len({row.name for row in rows}) == len(rows) > 50
    for row in rows:
        assert row.unit, row.name
        assert row.meaning.endswith("."), row.name
        assert (row.type == "counter") == row.name.endswith("_total"), row.name


def test_a_name_that_no_registry_has_would_be_found() -> None:
    found = named('sum(rate(iris_gone_total{status="iris_quoted"}[5m])) / iris_redis_up')
    assert found == {"iris_gone_total", "iris_redis_up"}
    assert found - known() == {"iris_gone_total"}
