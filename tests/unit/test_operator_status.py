"""Status and conditions: what is written, and above all when nothing is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_operator import conditions
from iris_operator.conditions import Condition
from iris_operator.plan import Plan
from iris_operator.spec import Failure, IrisModelSpec, ModelVersion, RolloutState
from iris_operator.status import FIGURES_EVERY_SECONDS, Workers, newly_stalled, patch, render
from memory_cluster import merged

V1, V2 = (ModelVersion(version, f"sha256:{version * 64}") for version in "12")
SPEC = IrisModelSpec(name="iris", namespace="ns", generation=1, uid="u", model=V1)
STEADY = Condition("ScalingActive", "True", "Steady", "as many workers as the queue needs: 1")
SERVING = Plan(RolloutState(stable=V1), {"1": 100}, (V1,), {}, (), message="version 1 serves")


def rendered(
    decided: Plan = SERVING,
    old: dict[str, Any] | None = None,
    *,
    backlog: int = 0,
    now: float = 1000.0,
    scaling: Condition = STEADY,
    enough: bool = True,
    spec: IrisModelSpec = SPEC,
) -> dict[str, Any]:
    return render(spec, decided, Workers(1, 1, enough), scaling, backlog, old or {}, now)


def stored(new: dict[str, Any]) -> dict[str, Any]:
    """A status as the API server keeps it after a merge patch."""
    return merged({}, new)


def stated(status: dict[str, Any]) -> dict[str, str]:
    return {item["type"]: item["status"] for item in status["conditions"]}


def test_the_same_again_is_no_write() -> None:
    first = stored(rendered())
    assert patch(first, rendered(old=first, now=9999.0)) == {}


def test_figures_and_wordings_are_written_every_half_minute_or_along_with_something_else() -> None:
    first = stored(rendered())
    louder = replace(STEADY, message="other words")
    for changed in ({"backlog": 7}, {"scaling": louder}):
        assert patch(first, rendered(old=first, now=1001.0, **changed)) == {}
        late = patch(first, rendered(old=first, now=1001.0 + FIGURES_EVERY_SECONDS, **changed))
        assert set(late) <= {"queue", "conditions"}
        assert late["queue"]["observedAt"] == "1970-01-01T00:17:11Z"
    along = patch(first, rendered(old=first, now=1001.0, backlog=7, scaling=replace(STEADY, reason="ScaledUp")))
    assert along["queue"]["backlog"] == 7


def test_a_time_stamp_moves_only_when_a_status_does() -> None:
    first = conditions.merge([], [STEADY], 1, 0.0)
    again = conditions.merge(first, [replace(STEADY, reason="ScaledUp")], 2, 60.0)
    assert again[0]["lastTransitionTime"] == first[0]["lastTransitionTime"] == "1970-01-01T00:00:00Z"
    assert (again[0]["observedGeneration"], again[0]["reason"]) == (2, "ScaledUp")
    other = conditions.merge(again, [replace(STEADY, status="False")], 2, 60.0)
    assert other[0]["lastTransitionTime"] == "1970-01-01T00:01:00Z"


@pytest.mark.parametrize(
    ("decided", "enough", "ready", "reconciling", "stalled", "reason"),
    [
        (SERVING, True, "True", "False", "False", "Ready"),
        (SERVING, False, "False", "False", "False", "WaitingForWorkers"),
        (replace(SERVING, reason="RedisUnavailable"), True, "Unknown", "False", "False", "RedisUnavailable"),
        (replace(SERVING, reason="RedisUnavailable"), False, "False", "False", "False", "RedisUnavailable"),
        (replace(SERVING, reason="Paused"), True, "True", "False", "False", "Ready"),
        (
            replace(SERVING, state=RolloutState(stable=V1, target=V2, phase="Stepping"), reason="Stepping"),
            True, "False", "True", "False", "Stepping",
        ),
        (
            replace(SERVING, state=RolloutState(stable=V1, failed=Failure("2", "d", "r", "m")), reason="RolledBack"),
            True, "False", "False", "True", "RolledBack",
        ),
        (Plan(RolloutState(), {}, (), {}, (), reason="Stable"), False, "False", "False", "False", "WaitingForWorkers"),
    ],
)  # fmt: skip
def test_conditions_say_what_kubectl_wait_and_helm_ask(
    decided: Plan, enough: bool, ready: str, reconciling: str, stalled: str, reason: str
) -> None:
    found = rendered(decided, enough=enough)
    assert stated(found) == {
        "Ready": ready, "Reconciling": reconciling, "Stalled": stalled, "ScalingActive": "True"
    }  # fmt: skip
    assert found["conditions"][0]["reason"] == reason


REFUSED = replace(SERVING, reason="DeploymentRefused", message="no")
FAILING = replace(SERVING, state=RolloutState(stable=V1, target=V2, phase="Stepping"), reason="AnalysisFailed")


@pytest.mark.parametrize(
    ("before", "decided", "told"),
    [
        (SERVING, REFUSED, ["DeploymentRefused"]),
        (REFUSED, REFUSED, []),
        (REFUSED, SERVING, []),
        (SERVING, FAILING, ["RolloutFailed"]),
        (FAILING, replace(FAILING, message="5 of 5 jobs failed"), []),
        (FAILING, replace(FAILING, reason="WorkersLost"), ["RolloutFailed"]),
        (None, FAILING, ["RolloutFailed"]),
        (SERVING, replace(SERVING, state=RolloutState(failed=Failure("2", "d", "r", "m")), reason="RolledBack"), []),
    ],
)
def test_what_stands_still_without_a_rollback_is_told_once(before: Plan | None, decided: Plan, told: list[str]) -> None:
    old = rendered(before) if before else {}
    assert [(event.kind, event.reason) for event in newly_stalled(decided, old)] == [("Warning", it) for it in told]


def test_a_refused_deployment_is_for_somebody_to_mend() -> None:
    found = rendered(REFUSED)
    assert (stated(found)["Stalled"], stated(found)["Ready"]) == ("True", "False")
    assert {item["reason"] for item in found["conditions"][:3]} == {"DeploymentRefused"}


def test_a_pause_stands_beside_a_rollout_that_is_not_going_on() -> None:
    paused = replace(SERVING, state=RolloutState(stable=V1, target=V2, phase="Stepping"), reason="Paused")
    found = rendered(paused, spec=replace(SPEC, paused=True))
    assert (stated(found)["Reconciling"], found["conditions"][0]["reason"]) == ("False", "Paused")


def test_the_version_under_way_is_shown_with_its_step_and_weight() -> None:
    under_way = RolloutState(stable=V1, target=V2, phase="Stepping", step=1)
    found = rendered(replace(SERVING, state=under_way, weights={"1": 50, "2": 50}))
    assert found["target"] == {"version": "2", "digest": V2.digest, "weight": 50, "step": "2/2"}
    gone = patch(stored(found), rendered(old=stored(found)))
    assert gone["target"] is None
    assert gone["rollout"]["target"] is None


_JSON = st.recursive(
    st.none() | st.integers(0, 3) | st.text(max_size=2) | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(st.sampled_from("abc"), _JSON, max_size=3)


@given(_OBJECTS, _OBJECTS)
def test_a_patch_makes_one_status_into_the_other_and_is_empty_only_for_the_same(old: Any, new: Any) -> None:
    kept = merged({}, old)
    result = merged(kept, patch(kept, new))
    assert result == merged({}, new)
    assert patch(result, new) == {}
