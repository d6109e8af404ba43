"""How many workers each version gets, as tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iris_operator.plan import Plan
from iris_operator.scaling import Load, Memory
from iris_operator.sizing import size
from iris_operator.spec import Autoscaling, IrisModelSpec, ModelVersion, Rollout, RolloutState, Worker

V1, V2 = ModelVersion("1", "sha256:1"), ModelVersion("2", "sha256:2")
SPEC = IrisModelSpec(name="iris", namespace="ns", generation=1, uid="u", model=V2, worker=Worker(replicas=4))
SCALED = replace(SPEC, worker=Worker(autoscaling=Autoscaling(min_replicas=0, max_replicas=8)))
EMPTY = Load(waiting=0, running=0, busy_workers=0, answered_total=0, busy_seconds_total=0.0, observed_at=100.0)
FULL = replace(EMPTY, waiting=60)


def plan(state: RolloutState, share: int = 0) -> Plan:
    under_way = [item for item in (state.stable, state.target) if item]
    return Plan(state, {"1": 100 - share, "2": share}, (*under_way, *state.retiring), {}, ())


def sizes(
    spec: IrisModelSpec, decided: Plan, current: dict[str, int], loads: dict[str, Load] | None = None
) -> dict[str, int]:
    return size(spec, decided, current, loads, {}, 100.0).replicas


@pytest.mark.parametrize(("share", "trial"), [(0, 1), (10, 1), (26, 2), (50, 2), (51, 3), (99, 4)])
def test_with_fixed_replicas_a_version_on_trial_has_its_share_of_them(share: int, trial: int) -> None:
    state = RolloutState(stable=V1, target=V2, phase="Stepping")
    assert sizes(SPEC, plan(state, share), {}) == {"1": 4, "2": trial}


def test_without_any_wish_one_worker_runs_and_with_zero_none_but_what_is_to_be_proven() -> None:
    nobody = replace(SPEC, worker=Worker())
    assert sizes(nobody, plan(RolloutState(stable=V1)), {}) == {"1": 1}
    none = replace(SPEC, worker=Worker(replicas=0))
    assert sizes(none, plan(RolloutState(stable=V1, target=V2)), {}) == {"1": 0, "2": 1}


def test_what_goes_to_full_weight_at_once_has_as_many_workers_before() -> None:
    at_once = Rollout(strategy="Replace")
    state = RolloutState(stable=V1, target=V2, phase="Starting")
    assert sizes(replace(SPEC, rollout=at_once), plan(state), {"1": 4}) == {"1": 4, "2": 4}
    scaled = replace(SCALED, rollout=at_once)
    assert sizes(scaled, plan(state), {"1": 6}, {"1": replace(FULL, waiting=120), "2": EMPTY}) == {"1": 6, "2": 6}
    back = replace(state, recent=(V2,))
    assert sizes(SPEC, plan(back), {"1": 4}) == {"1": 4, "2": 4}, "a recent version comes back whole"


def test_what_retires_keeps_its_workers_until_its_last_job_is_answered() -> None:
    state = RolloutState(stable=V2, retiring=(V1,))
    assert sizes(SPEC, plan(state), {"1": 3, "2": 4}) == {"1": 3, "2": 4}
    assert sizes(SCALED, plan(state), {"1": 0, "2": 0}, {"1": EMPTY, "2": EMPTY}) == {"1": 1, "2": 0}


def test_each_version_follows_its_own_queue_and_the_condition_is_the_stable_one_s() -> None:
    state = RolloutState(stable=V1, target=V2, phase="Stepping")
    found = size(SCALED, plan(state, 50), {"1": 1, "2": 1}, {"1": FULL, "2": EMPTY}, {}, 100.0)
    assert found.replicas == {"1": 3, "2": 1}
    assert (found.condition.status, found.condition.reason) == ("True", "ScaledUp")
    assert set(found.memories) == {"1", "2"}


def test_blind_every_version_keeps_what_it_has() -> None:
    state = RolloutState(stable=V1, target=V2, phase="Stepping")
    found = size(SCALED, plan(state, 50), {"1": 5, "2": 2}, None, {"1": Memory()}, 100.0)
    assert found.replicas == {"1": 5, "2": 2}
    assert (found.condition.status, found.condition.reason) == ("False", "RedisUnavailable")
