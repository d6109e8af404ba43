"""Every alert fires when it should and is silent when it should not, by promtool; and each has a page to turn to."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from alert_cases import CASES, Case
from debian import program

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts" / "iris" / "rules" / "iris.yaml"
RUNBOOK = ROOT / "docs" / "operations.md"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
}
EACH = pytest.mark.parametrize("alert", ALERTS.values(), ids=lambda alert: alert["alert"])


def as_promtool_wants_it(case: Case) -> dict[str, Any]:
    rule = ALERTS[case.alert]
    annotations = {**rule["annotations"], "summary": case.summary}
    if case.description:
        annotations["description"] = case.description
    fired = [{"exp_labels": {**case.labels, **rule["labels"]}, "exp_annotations": annotations}] if case.summary else []
    return {
        "name": f"{case.alert}: {case.what}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [{"eval_time": f"{case.minutes}m", "alertname": case.alert, "exp_alerts": fired}],
    }


def verdict(cases: list[Case], folder: Path) -> subprocess.CompletedProcess[str]:
    tests = [as_promtool_wants_it(case) for case in cases]
    path = folder / "cases.json"  # JSON is YAML
    path.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    return subprocess.run(
        [program("promtool"), "test", "rules", path.name], cwd=folder, capture_output=True, text=True, check=False
    )


def test_every_alert_fires_in_trouble_and_only_then(tmp_path: Path) -> None:
    done = verdict(list(CASES), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@EACH
def test_an_alert_is_tried_both_ways(alert: dict[str, Any]) -> None:
    about = [bool(case.summary) for case in CASES if case.alert == alert["alert"]]
    assert set(about) == {True, False}


@pytest.mark.parametrize("case", [CASES[0], CASES[1]], ids=["an alert that fires", "one that does not"])
def test_a_case_that_is_wrong_is_found(case: Case, tmp_path: Path) -> None:
    wrong = Case(case.alert, case.what, case.series, case.minutes, case.labels, "" if case.summary else "It fires")
    assert verdict([wrong], tmp_path).returncode == 1


def test_promtool_finds_nothing_to_say_about_the_file() -> None:
    done = subprocess.run([program("promtool"), "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


def test_compose_loads_the_same_file_and_scrapes_what_it_is_about() -> None:
    config = ROOT / "compose" / "prometheus.yml"
    done = subprocess.run([program("promtool"), "check", "config", "--syntax-only", config], check=False)
    assert done.returncode == 0
    mounts = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["prometheus"]["volumes"]
    (loaded,) = yaml.safe_load(config.read_text())["rule_files"]
    assert f"./{RULES.relative_to(ROOT)}:{loaded}:ro" in mounts
    jobs = {job["job_name"] for job in yaml.safe_load(config.read_text())["scrape_configs"]}
    assert jobs == {"api", "worker", "recovery"}, "there is no operator without a cluster"


@EACH
def test_an_alert_says_what_is_wrong_and_where_to_read_on(alert: dict[str, Any]) -> None:
    name, annotations = alert["alert"], alert["annotations"]
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert not annotations["summary"].endswith(".")
    assert len(re.sub(r"{{.*?}}", "x", annotations["summary"])) < 80, "it is a headline"
    assert annotations["description"].endswith(".")
    assert annotations["runbook_url"] == f"docs/operations.md#{name.lower()}"
    section = re.search(rf"^### {name}\n(.*?)(?=^##)", RUNBOOK.read_text() + "##", re.MULTILINE | re.DOTALL)
    assert section, f"docs/operations.md has no section {name}"
    for question in ("**Means**", "**Look**", "**Do**"):
        assert question in section[1], f"{name} does not say {question}"


def test_the_runbook_has_no_section_for_an_alert_that_is_gone() -> None:
    assert set(re.findall(r"^### (Iris\w+)$", RUNBOOK.read_text(), re.MULTILINE)) == ALERTS.keys()
