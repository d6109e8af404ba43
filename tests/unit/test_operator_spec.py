"""One fact in two places: the schema in the chart and the code that reads and writes it, field by field."""

from __future__ import annotations

import dataclasses
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from broken_specs import BROKEN, KEPT, SIGNS
from iris_operator import conditions, rules, status
from iris_operator.conditions import Condition
from iris_operator.errors import InvalidSpec
from iris_operator.plan import Plan
from iris_operator.spec import (
    GROUP,
    LATENCY_BOUNDS,
    PLURAL,
    VERSION,
    Analysis,
    Autoscaling,
    Counters,
    Failure,
    Gate,
    IrisModelSpec,
    ModelVersion,
    Rollout,
    RolloutState,
    Step,
    Worker,
)
from memory_cluster import iris_model

CRD = yaml.safe_load((Path(__file__).parents[2] / "charts" / "iris" / "crds" / "irismodels.yaml").read_text())
(SERVED,) = CRD["spec"]["versions"]
ROOT = SERVED["schema"]["openAPIV3Schema"]
SPEC, STATUS = ROOT["properties"]["spec"], ROOT["properties"]["status"]
WORKER, ROLLOUT = SPEC["properties"]["worker"], SPEC["properties"]["rollout"]

RULES = "x-kubernetes-validations"
QUANTITIES = WORKER["properties"]["resources"]["properties"]

READ_BY = [
    (SPEC["properties"]["model"], ModelVersion, {"uri"}),
    (WORKER, Worker, set()),
    (WORKER["properties"]["autoscaling"], Autoscaling, set()),
    (ROLLOUT, Rollout, set()),
    (ROLLOUT["properties"]["steps"]["items"], Step, set()),
    (ROLLOUT["properties"]["analysis"], Analysis, set()),
    (ROLLOUT["properties"]["gate"], Gate, set()),
]


def body(**spec: Any) -> dict[str, Any]:
    found = iris_model(**spec)
    found["metadata"] |= {"uid": "u", "generation": 3}
    return found


def snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def test_the_names_of_the_kind_are_those_of_the_code() -> None:
    assert (CRD["spec"]["group"], CRD["spec"]["names"]["plural"], SERVED["name"]) == (GROUP, PLURAL, VERSION)
    assert CRD["metadata"]["name"] == f"{PLURAL}.{GROUP}"


@pytest.mark.parametrize(("schema", "kind", "only_in_schema"), READ_BY, ids=lambda item: getattr(item, "__name__", ""))
def test_every_field_of_the_schema_is_read_and_has_the_same_default(
    schema: dict[str, Any], kind: Any, only_in_schema: set[str]
) -> None:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    assert {snake(name) for name in schema["properties"]} - only_in_schema == set(fields)
    for name, property_ in schema["properties"].items():
        if property_.get("type") not in ("object", "array") and "default" in property_:
            assert fields[snake(name)].default == property_["default"], name


def test_the_whole_spec_is_read_and_what_is_not_known_is_refused() -> None:
    assert set(SPEC["properties"]) == {"model", "paused", "worker", "rollout"}
    for path in ((), ("model",), ("worker",), ("worker", "autoscaling"), ("rollout",), ("rollout", "gate")):
        unknown = body(worker={"autoscaling": {}}, rollout={"gate": {}})
        place = unknown["spec"]
        for name in path:
            place = place[name]
        place["surprise"] = 1
        with pytest.raises(InvalidSpec, match="surprise"):
            IrisModelSpec.from_body(unknown)


def test_what_the_schema_leaves_out_means_the_defaults() -> None:
    read = IrisModelSpec.from_body(body())
    assert (read.worker, read.rollout, read.paused, read.generation) == (Worker(), Rollout(), False, 3)


def test_a_full_spec_is_read() -> None:
    read = IrisModelSpec.from_body(
        body(
            paused=True,
            worker={"autoscaling": {"minReplicas": 0, "maxQueueWaitSeconds": 5}, "resources": {"limits": {"cpu": 1}}},
            rollout={"steps": [{"weight": 5}], "analysis": {"onInconclusive": "Promote"}, "gate": {"goldenSet": False}},
        )
    )
    assert read.worker.autoscaling == Autoscaling(min_replicas=0, max_queue_wait_seconds=5)
    assert read.rollout == Rollout(
        steps=(Step(5),), analysis=Analysis(on_inconclusive="Promote"), gate=Gate(golden_set=False)
    )


@pytest.mark.parametrize("uri", ["models://iris/2", "models://other/1", "models://iris/1/", "https://iris/1"])
def test_a_uri_that_names_something_else_is_refused(uri: str) -> None:
    wrong = body()
    wrong["spec"]["model"]["uri"] = uri
    with pytest.raises(InvalidSpec, match="models://iris/1"):
        IrisModelSpec.from_body(wrong)


@pytest.mark.parametrize("missing", ["version", "uri", "digest"])
def test_a_model_without_a_part_of_its_name_is_refused(missing: str) -> None:
    wrong = body()
    del wrong["spec"]["model"][missing]
    with pytest.raises(InvalidSpec):
        IrisModelSpec.from_body(wrong)


def changed(path: str, value: object) -> dict[str, Any]:
    found = body()
    *parents, last = path.split(".")
    place = found["spec"]
    for name in parents:
        place = place.setdefault(name, {})
    place[last] = value
    return found


@pytest.mark.parametrize(("path", "value", "why"), [item[:3] for item in BROKEN], ids=lambda item: str(item)[:60])
def test_what_breaks_a_rule_is_refused_here_too(path: str, value: object, why: str) -> None:
    with pytest.raises(InvalidSpec, match=f"^{re.escape(why)}$"):
        IrisModelSpec.from_body(changed(path, value))


@pytest.mark.parametrize(("path", "value"), KEPT, ids=lambda item: str(item)[:60])
def test_what_just_keeps_the_rules_is_read(path: str, value: object) -> None:
    assert IrisModelSpec.from_body(changed(path, value))


def test_the_rules_of_the_schema_are_those_of_the_code() -> None:
    of_schema = {rule["message"] for _, schema in walk(SPEC, "spec") for rule in schema.get(RULES, ())}
    of_transitions = {rule["message"] for rule in SPEC["properties"]["model"][RULES]}
    assert of_schema - of_transitions == {item[2] for item in BROKEN} - {SIGNS}
    assert QUANTITIES["requests"] == QUANTITIES["limits"]
    assert QUANTITIES["limits"]["additionalProperties"]["pattern"] == rules.QUANTITY
    (names,) = (rule["rule"] for rule in QUANTITIES["limits"][RULES])
    assert f"'{rules.QUALIFIED}'" in names
    assert all(f"'{name}'" in names for name in rules.RESOURCES)


def test_every_task_time_that_may_be_allowed_is_told_apart_and_no_other_may_be() -> None:
    allowed = ROLLOUT["properties"]["analysis"]["properties"]["maxP95Seconds"]
    assert (allowed["minimum"], allowed["maximum"]) == (LATENCY_BOUNDS[0], LATENCY_BOUNDS[-1])
    assert LATENCY_BOUNDS[-1] == WORKER["properties"]["jobTimeoutSeconds"]["maximum"], "no job takes longer"
    assert all(one < other <= 2.5 * one for one, other in pairwise(LATENCY_BOUNDS))
    kept = STATUS["properties"]["rollout"]["properties"]["baseline"]["properties"]["latency"]
    assert kept["maxItems"] >= len(LATENCY_BOUNDS) + 1


def test_every_number_text_and_list_is_bounded_and_every_parent_of_a_default_has_one() -> None:
    # what a strategy does not honour must not be there unless somebody has written it
    optional = ("spec", "model", "autoscaling", "analysis", "items", "requests", "limits")
    for path, schema in walk(SPEC, "spec"):
        kind = schema.get("type")
        if kind == "string" and "enum" not in schema:
            assert "maxLength" in schema, path
        if kind in ("integer", "number"):
            assert {"minimum", "maximum"} <= set(schema), path
        if kind == "array":
            assert "maxItems" in schema, path
        if kind == "object" and not path.endswith(optional):
            assert schema["default"] == {}, path


def test_nothing_the_operator_writes_is_pruned() -> None:
    version = ModelVersion("1", "sha256:1")
    state = RolloutState(
        stable=version, recent=(version,), target=version, phase="Stepping", step=1, unready_since=1.5,
        unready_seconds=3.5, held_since=2.5, baseline=Counters(1, 1, (1,) * (len(LATENCY_BOUNDS) + 1)),
        failed=Failure("2", "d", "r", "m", 7), retiring=(version,), abandoned=(version,),
    )  # fmt: skip
    decided = Plan(state=state, weights={"1": 100}, workers=(version,), redirect={}, remove=())
    written = status.render(
        IrisModelSpec.from_body(body()),
        decided,
        status.Workers(1, 1, True),
        Condition("A", "True", "B", "c"),
        1,
        {},
        5.0,
    )
    assert pruned(written, STATUS, "status") == []
    assert set(written) == set(STATUS["properties"])
    merged = conditions.merge([], [Condition("A", "True", "B", "c")], 1, 5.0)
    required = STATUS["properties"]["conditions"]["items"]["required"]
    assert set(required) <= set(merged[0])


def walk(schema: Any, path: str) -> Any:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}.items")


def pruned(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    """The fields of a value that the schema does not know, so that the API server would drop them."""
    if isinstance(value, dict):
        known = schema.get("properties", {})
        lost = [f"{path}.{name}" for name in value if name not in known]
        return lost + [
            item for name in value if name in known for item in pruned(value[name], known[name], f"{path}.{name}")
        ]
    if isinstance(value, list):
        return [item for entry in value for item in pruned(entry, schema["items"], f"{path}[]")]
    return []
