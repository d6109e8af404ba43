"""values.yaml and its schema, key by key; and the facts in them that are facts of other files."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from chart.irismodel_schema import CHART, SCHEMA, parts_of_the_crd
from chart.rendering import Chart
from iris_operator.quantity import PATTERN
from iris_service.config import JobSettings
from versions import committed_card

ROOT = CHART.parents[1]
TEXT = (CHART / "values.yaml").read_text()
VALUES: dict[str, Any] = yaml.safe_load(TEXT)
ABOUT: dict[str, Any] = json.loads(SCHEMA.read_text())
OPEN = {"#/definitions/strings", "#/definitions/quantities"}
"""Mappings whose keys are the user's."""
KUBERNETES = {"#/definitions/kubernetes", "#/definitions/kubernetesList", "#/definitions/environment"}
"""What goes into a manifest as it is given."""
IRISMODEL = {"#/definitions/irisModelWorker", "#/definitions/irisModelRollout"}
"""Empty in values.yaml on purpose: what is not set there is not rendered."""


def keys_of_schema(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    if schema.get("$ref") in OPEN | KUBERNETES | IRISMODEL:
        yield path
    elif "$ref" in schema:
        yield from keys_of_schema(ABOUT["definitions"][schema["$ref"].rpartition("/")[2]], path)
    elif "properties" in schema:
        for name, below in schema["properties"].items():
            yield from keys_of_schema(below, f"{path}.{name}".strip("."))
    else:
        yield path


def keys_of_values(values: Any, leaves: set[str], path: str = "") -> Iterator[str]:
    if isinstance(values, dict) and values and path not in leaves:
        for name, below in values.items():
            yield from keys_of_values(below, leaves, f"{path}.{name}".strip("."))
    else:
        yield path


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    known = set(keys_of_schema(ABOUT)) - {"global"}
    assert set(keys_of_values(VALUES, known)) == known


def test_quantities_are_those_the_operator_reads() -> None:
    assert ABOUT["definitions"]["quantities"]["additionalProperties"]["pattern"] == f"^{PATTERN}$"


def objects_in(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for name, below in schema.items():
            yield from objects_in(below, f"{path}/{name}")


def test_no_key_is_allowed_that_is_not_named() -> None:
    free = {path for path, found in objects_in(ABOUT) if found.get("additionalProperties") is not False}
    assert free == {
        "/properties/global",  # Helm's own
        "/definitions/strings", "/definitions/quantities",
        "/definitions/kubernetes", "/definitions/kubernetesList/items",  # the API server knows those
        "/definitions/irisModelWorker/properties/resources/properties/requests",
        "/definitions/irisModelWorker/properties/resources/properties/limits",
    }  # fmt: skip


def test_what_goes_into_the_irismodel_is_checked_as_the_irismodel_is() -> None:
    for name, expected in parts_of_the_crd().items():
        assert ABOUT["definitions"][name] == expected, "python tests/chart/irismodel_schema.py"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"apu": {}}, "apu"),
        ({"api": {"replica": 2}}, "replica"),
        ({"api": {"replicas": -1}}, "/api/replicas"),
        ({"api": {"replicas": 1001}}, "/api/replicas"),
        ({"api": {"drainSeconds": 601}}, "/api/drainSeconds"),
        ({"api": {"sync": "in-line"}}, "/api/sync"),
        ({"api": {"image": {"digest": "sha256:short"}}}, "/api/image/digest"),
        ({"api": {"resources": {"limit": {}}}}, "limit"),
        ({"worker": {"resources": {"limits": {"memory": "512MB"}}}}, "/worker/resources/limits/memory"),
        ({"api": {"env": [{"value": "1"}]}}, "/api/env/0"),
        ({"worker": {"env": [{"name": "IRIS_BATCH_SIZE", "value": "1"}]}}, "/worker/env/0/name"),
        ({"model": {"version": 1}}, "/model/version"),
        ({"model": {"worker": {"replica": 1}}}, "/model/worker"),
        ({"model": {"rollout": {"steps": [{"weight": 100}]}}}, "/model/rollout/steps/0/weight"),
        ({"jobs": {"attempts": 101}}, "/jobs/attempts"),
        ({"jobs": {"deadlineSeconds": 604801}}, "/jobs/deadlineSeconds"),
        ({"jobs": {"resultTtlSeconds": 0}}, "/jobs/resultTtlSeconds"),
        ({"valkey": {"maxMemory": "256Mi"}}, "/valkey/maxMemory"),
        ({"operator": {"clusterWide": True}}, "clusterWide"),
        ({"monitoring": {"serviceMonitor": {"enabled": True}}}, "serviceMonitor"),
        ({"monitoring": {"podMonitor": {"intervalSeconds": 31}}}, "/monitoring/podMonitor/intervalSeconds"),
        ({"monitoring": {"prometheusRule": {"runbookUrl": "a: b"}}}, "/monitoring/prometheusRule/runbookUrl"),
    ],
)
def test_a_misspelt_or_impossible_value_is_refused_by_its_name(
    chart: Chart, values: dict[str, Any], words: str
) -> None:
    assert words in chart.refusal(values)


@pytest.mark.parametrize(
    "values",
    [
        {"api": {"replicas": 1000}},
        {"api": {"drainSeconds": 600}},
        {"jobs": {"attempts": 100, "deadlineSeconds": 604800, "resultTtlSeconds": 604800}},
        {"jobs": {"attempts": 1, "deadlineSeconds": 1, "resultTtlSeconds": 1}},
        {"monitoring": {"podMonitor": {"intervalSeconds": 30}}},
    ],
)
def test_a_value_at_its_bound_is_taken(values: dict[str, Any]) -> None:
    jsonschema.validate(values, ABOUT)


def test_every_key_is_explained() -> None:
    """By a comment above it, or behind it."""
    silent, explained = [], False
    for line in TEXT.splitlines():
        comment = line.lstrip().startswith("#")
        if re.match(r" *[A-Za-z]+:", line) and not explained and " # " not in line and not in_a_list(line):
            silent.append(line.strip())
        explained = comment
    assert silent == ["image:", "image:", "image:", "image:"], "whose keys are explained"


def in_a_list(line: str) -> bool:
    """A peer of a NetworkPolicy: part of an example, no key of ours."""
    return line.strip() in ("matchLabels:", "kubernetes.io/metadata.name: monitoring")


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (project, project)


def test_the_model_is_the_one_in_the_images() -> None:
    model = VALUES["model"]
    card = committed_card(model["version"])
    assert (model["name"], model["digest"]) == (card.model, card.artifacts[model["format"]].digest)


def test_without_being_told_a_job_lives_as_long_as_it_does_elsewhere() -> None:
    jobs, usual = VALUES["jobs"], JobSettings()
    assert jobs == {
        "attempts": usual.attempts, "deadlineSeconds": usual.deadline_seconds,
        "resultTtlSeconds": usual.result_ttl_seconds,
    }  # fmt: skip


def test_the_users_of_the_queue_are_those_of_the_service() -> None:
    source = ROOT / "service" / "iris_service" / "jobs" / "users.acl"
    assert (CHART / "files" / "users.acl").read_text() == source.read_text(), "cp it there"


def test_there_is_one_schema_of_irismodels() -> None:
    assert [path.name for path in (CHART / "crds").iterdir()] == ["irismodels.yaml"]
    assert not [path for path in (CHART / "templates").rglob("*") if "CustomResourceDefinition" in read(path)]


def read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
