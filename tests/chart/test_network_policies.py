"""Who may talk to whom: what is needed is open, everything else is closed."""

from __future__ import annotations

from typing import Any

import pytest

from chart.combinations import COMBINATIONS, EXTERNAL
from chart.policies import Place, allowed
from chart.rendering import Chart, Object, of_kind, pods
from iris_operator.manifests import METRICS_PORT, labels

API_SERVER = Place(address="10.0.0.1")
INTERNET = Place(address="93.184.215.14")
DNS = Place({"k8s-app": "kube-dns"}, namespace="kube-system", ports={"dns": 53})
STRANGER = Place({"app": "other"})
ELSEWHERE = Place({"app": "other"}, namespace="elsewhere")
PROMETHEUS = Place({"app.kubernetes.io/name": "prometheus"}, namespace="monitoring")
INGRESS = Place({"app": "controller"}, namespace="ingress")
REDIS = Place(address="10.1.2.3")
OF_THE_OPERATOR = Place(labels("iris", "1"), ports={"metrics": METRICS_PORT})
"""A worker pod as the operator makes it."""


def parts(objects: list[Object]) -> dict[str, Place]:
    found = {}
    for _, pod in pods(objects):
        own = pod["metadata"]["labels"]
        (container,) = pod["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
        found[own["app.kubernetes.io/component"]] = Place(own, ports=ports)
    return {"worker": OF_THE_OPERATOR, **found}


def judge(chart: Chart, values: dict[str, Any]) -> tuple[list[Object], dict[str, Place]]:
    objects = chart.render(values)
    return of_kind(objects, "NetworkPolicy"), parts(objects)


@pytest.mark.parametrize("values", [{}, {"operator": {"enabled": False}}], ids=["operator", "no operator"])
def test_what_is_needed_is_open(chart: Chart, values: dict[str, Any]) -> None:
    policies, part = judge(chart, values)
    on_the_queue = [part[name] for name in ("api", "worker", "recovery", "operator") if name in part]
    for pod in on_the_queue:
        assert allowed(policies, pod, part["valkey"], 6379)
        assert allowed(policies, PROMETHEUS, pod, pod.ports["metrics"])
    for pod in (*on_the_queue, part["test"]):
        assert allowed(policies, pod, DNS, 53, "UDP")
        assert allowed(policies, pod, DNS, 53)
    assert allowed(policies, part["test"], part["api"], 8000)
    for caller in (STRANGER, ELSEWHERE, INGRESS, INTERNET):
        assert allowed(policies, caller, part["api"], 8000)
    if "operator" in part:
        assert allowed(policies, part["operator"], API_SERVER, 443)
        assert allowed(policies, part["operator"], API_SERVER, 6443)


def test_everything_else_is_closed(chart: Chart) -> None:
    policies, part = judge(chart, {})
    everybody = {**part, "stranger": STRANGER, "elsewhere": ELSEWHERE, "internet": INTERNET, "prometheus": PROMETHEUS}
    open_ways = {
        (source, target, port)
        for source, pod in everybody.items()
        for target, other in part.items()
        for port in (22, 443, 6379, 8000, 8080, 9100)
        if source != target and allowed(policies, pod, other, port)
    }
    wanted = {(source, "valkey", 6379) for source in ("api", "worker", "recovery", "operator")}
    wanted |= {(source, "api", 8000) for source in ("test", "stranger", "elsewhere", "internet", "prometheus")}
    wanted |= {("prometheus", target, 9100) for target in ("api", "worker", "recovery", "operator")}
    assert open_ways == wanted
    for name, pod in part.items():
        assert allowed(policies, pod, INTERNET, 443) is (name == "operator"), "only the API server's port, and only it"
        assert not allowed(policies, pod, INTERNET, 80), name
        assert not allowed(policies, pod, STRANGER, 8000), name


def test_a_queue_of_ones_own_is_reached_where_it_is(chart: Chart) -> None:
    policies, part = judge(chart, EXTERNAL)
    assert all(allowed(policies, part[name], REDIS, 6379) for name in ("api", "worker", "recovery", "operator"))
    assert not allowed(policies, part["api"], REDIS, 26379)
    policies, part = judge(chart, COMBINATIONS["a queue of one's own, no operator"])
    assert allowed(policies, part["api"], REDIS, 26379)
    assert not allowed(policies, part["api"], INTERNET, 6379)


@pytest.mark.parametrize(("mode", "asks"), [("none", False), ("tokenreview", True)])
def test_an_api_reaches_the_api_server_where_that_says_whose_a_token_is(chart: Chart, mode: str, asks: bool) -> None:
    policies, part = judge(chart, {"api": {"auth": {"mode": mode}}})
    assert allowed(policies, part["api"], API_SERVER, 6443) is asks


def test_policies_can_be_narrowed(chart: Chart) -> None:
    policies, part = judge(chart, COMBINATIONS["narrow policies"])
    assert allowed(policies, INGRESS, part["api"], 8000)
    assert allowed(policies, part["test"], part["api"], 8000), "helm test goes on working"
    assert not allowed(policies, ELSEWHERE, part["api"], 8000)
    assert not allowed(policies, PROMETHEUS, part["api"], 9100)
    assert allowed(policies, part["operator"], API_SERVER, 443)
    assert not allowed(policies, part["operator"], INTERNET, 443)


def test_api_and_workers_can_be_let_out_to_a_collector(chart: Chart) -> None:
    collector = Place(namespace="tracing")
    policies, part = judge(chart, COMBINATIONS["watched"])
    assert {name for name, pod in part.items() if allowed(policies, pod, collector, 4318)} == {
        "api", "worker", "recovery",
    }  # fmt: skip
    policies, part = judge(chart, {})
    assert not any(allowed(policies, pod, collector, 4318) for pod in part.values())


def test_policies_can_be_left_to_others(chart: Chart) -> None:
    assert of_kind(chart.render({"networkPolicy": {"enabled": False}}), "NetworkPolicy") == []
