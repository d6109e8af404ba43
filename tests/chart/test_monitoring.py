"""What the chart gives Prometheus and Grafana: nothing unless asked for, and then what their operators understand."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.combinations import COMBINATIONS
from chart.irismodel_schema import CHART
from chart.other_kinds import complaint
from chart.rendering import Chart, Object, of_kind, one, pods
from debian import program
from iris_operator.manifests import METRICS_PORT, labels

RULES = (CHART / "rules" / "iris.yaml").read_text()
IN_DETAIL = COMBINATIONS["monitored, in detail"]
monitored = pytest.mark.parametrize("name", [name for name in COMBINATIONS if name.startswith("monitored")])


def objects_of(objects: list[Object]) -> list[tuple[str, str]]:
    """Kind and name of what is for Prometheus and Grafana."""
    part = "app.kubernetes.io/component"
    return [(o["kind"], o["metadata"]["name"]) for o in objects if o["metadata"]["labels"].get(part) == "monitoring"]


def test_there_is_nothing_of_it_unless_asked_for(chart: Chart) -> None:
    assert objects_of(chart.render()) == []


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("podMonitor", [("PodMonitor", "iris")]),
        ("prometheusRule", [("PrometheusRule", "iris")]),
        ("dashboards", [("ConfigMap", f"iris-dashboard-{name}") for name in ("operator", "rollout", "service")]),
    ],
)
def test_each_can_be_had_alone(chart: Chart, part: str, expected: list[tuple[str, str]]) -> None:
    assert sorted(objects_of(chart.render({"monitoring": {part: {"enabled": True}}}))) == expected


@monitored
def test_the_prometheus_operator_finds_nothing_wrong(chart: Chart, name: str) -> None:
    objects = chart.render(COMBINATIONS[name])
    found = [*of_kind(objects, "PodMonitor"), *of_kind(objects, "PrometheusRule")]
    assert [(one["kind"], one["apiVersion"], complaint(one)) for one in found] == [
        ("PodMonitor", "monitoring.coreos.com/v1", ""),
        ("PrometheusRule", "monitoring.coreos.com/v1", ""),
    ]


def test_a_field_that_it_does_not_have_would_be_found() -> None:
    assert "podMetricEndpoints" in complaint({"kind": "PodMonitor", "spec": {"selector": {}, "podMetricEndpoints": []}})
    rule = {"alert": "A", "expr": "up", "annotations": {"a": 1}}
    assert "rules[0].annotations.a" in complaint(
        {"kind": "PrometheusRule", "spec": {"groups": [{"name": "iris", "rules": [rule]}]}}
    )


@monitored
def test_every_pod_with_metrics_is_scraped_at_the_port_that_has_them_and_no_other(chart: Chart, name: str) -> None:
    objects = chart.render(COMBINATIONS[name])
    (monitor,) = of_kind(objects, "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    selector = monitor["spec"]["selector"]
    (part,) = selector["matchExpressions"]
    seen = {}
    for maker, pod in pods(objects):
        own = pod["metadata"]["labels"]
        ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0].get("ports", ())}
        selected = selector["matchLabels"].items() <= own.items() and own[part["key"]] in part["values"]
        assert selected is (endpoint["port"] in ports), maker
        seen |= {own[part["key"]]: ports[endpoint["port"]]} if selected else {}
    of_the_operator = labels("iris", "1")
    assert selector["matchLabels"].items() <= of_the_operator.items()
    assert of_the_operator[part["key"]] in part["values"]
    third = "worker" if name == "monitored, no operator" else "operator"
    assert seen == dict.fromkeys(("api", "recovery", third), METRICS_PORT)


def test_a_label_of_ours_is_not_lost_to_the_pods_of_prometheus(chart: Chart) -> None:
    """The operator's series name an IrisModel's namespace; dashboards join by job and instance."""
    (endpoint,) = of_kind(chart.render(IN_DETAIL), "PodMonitor")[0]["spec"]["podMetricsEndpoints"]
    assert endpoint["honorLabels"] is True
    assert endpoint["interval"] == "30s"
    assert endpoint["relabelings"] == [{"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "instance"}]


@pytest.mark.parametrize(
    ("name", "runbook"),
    [("monitored", "docs/operations.md"), ("monitored, in detail", "https://wiki.example.com/iris/operations?v=2")],
)
def test_the_alerts_are_those_of_the_rules_file_and_lead_to_the_runbook(
    chart: Chart, name: str, runbook: str, tmp_path: Path
) -> None:
    (rule,) = of_kind(chart.render(COMBINATIONS[name]), "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(RULES.replace("docs/operations.md#", f"{runbook}#"))
    urls = [one["annotations"]["runbook_url"] for group in rule["spec"]["groups"] for one in group["rules"]]
    assert urls
    assert all(url.startswith(f"{runbook}#iris") for url in urls)
    (tmp_path / "rules.json").write_text(json.dumps(rule["spec"]))  # JSON is YAML
    command = [program("promtool"), "check", "rules", tmp_path / "rules.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_dashboard_is_a_config_map_that_grafanas_sidecar_finds(chart: Chart) -> None:
    objects = chart.render(IN_DETAIL)
    for path in (CHART / "dashboards").iterdir():
        found = one(objects, "ConfigMap", f"flowers-dashboard-{path.stem}")
        assert found["data"] == {f"iris-{path.name}": path.read_text()}
        assert found["metadata"]["labels"]["grafana_dashboard"] == "iris"
        assert found["metadata"]["annotations"] == {"grafana_folder": "Iris"}
    plain = one(chart.render(COMBINATIONS["monitored"]), "ConfigMap", "iris-dashboard-service")["metadata"]
    assert plain["labels"]["grafana_dashboard"] == "1"
    assert "annotations" not in plain


def test_what_prometheus_selects_by_wins_over_the_labels_of_everything(chart: Chart) -> None:
    objects: list[dict[str, Any]] = chart.render(IN_DETAIL)
    for kind in ("PodMonitor", "PrometheusRule"):
        (found,) = of_kind(objects, kind)
        assert found["metadata"]["name"] == "flowers"
        assert found["metadata"]["labels"]["release"] == "kube-prometheus-stack"
        assert found["metadata"]["labels"]["team"] == "botany"
