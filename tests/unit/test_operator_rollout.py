"""Rollout decisions as tables: what is remembered, what is seen, what follows. No cluster, no clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_operator.analysis import judge, p95_seconds
from iris_operator.plan import Golden, Plan, Seen
from iris_operator.rollout import UNREADY_SECONDS, plan, weights
from iris_operator.spec import (
    LATENCY_BOUNDS,
    Analysis,
    Counters,
    Failure,
    Gate,
    IrisModelSpec,
    ModelVersion,
    Rollout,
    RolloutState,
    Step,
)

V1, V2, V3 = (ModelVersion(version, f"sha256:{version * 64}") for version in "123")


def times(jobs_by_seconds: Mapping[float, int]) -> tuple[int, ...]:
    """Jobs by task time, as workers count them."""
    counted = [0] * (len(LATENCY_BOUNDS) + 1)
    for seconds, jobs in jobs_by_seconds.items():
        counted[bisect_left(LATENCY_BOUNDS, seconds)] += jobs
    return tuple(counted)


FAST = times({0.01: 1000})
PROVEN = Golden(answered=True, agreement=1.0)
UP = Seen(ready_workers=1)
STABLE = RolloutState(stable=V1)
STEPPING = RolloutState(stable=V1, target=V2, phase="Stepping", started_at=0, phase_started_at=0)


def spec(model: ModelVersion = V2, **rollout: Any) -> IrisModelSpec:
    rollout.setdefault("steps", (Step(10, 60), Step(50, 60)))
    return IrisModelSpec(
        name="iris",
        namespace="ns",
        generation=1,
        uid="u",
        model=model,
        rollout=Rollout(**rollout),
    )


def counted(done: int, failed: int = 0) -> Counters:
    return Counters(done, failed, FAST)


def test_the_first_version_serves_as_soon_as_it_is_proven() -> None:
    begun = plan(spec(V1), RolloutState(), {}, 100)
    assert (begun.state.phase, begun.weights, begun.workers) == ("Starting", {}, (V1,))
    assert [event.reason for event in begun.events] == ["RolloutStarted"]
    proving = plan(spec(V1), begun.state, {"1": UP}, 101)
    assert (proving.state.phase, proving.send_golden) == ("Proving", False), "what the queue holds is read first"
    asked = plan(spec(V1), proving.state, {"1": UP}, 101)
    assert (asked.state.phase, asked.send_golden, asked.weights) == ("Proving", True, {})
    done = plan(spec(V1), asked.state, {"1": replace(UP, golden=PROVEN)}, 102)
    assert (done.state.stable, done.weights, done.state.phase) == (V1, {"1": 100}, "Idle")


def test_a_good_version_goes_through_every_step_and_retires_the_old_one() -> None:
    state, seen = STABLE, {"1": replace(UP, backlog=3), "2": replace(UP, golden=PROVEN)}
    shares = []
    for now, jobs in ((-2, 0), (-1, 0), (0, 0), (1, 0), (62, 60), (123, 120), (124, 120)):
        decided = plan(spec(), state, {**seen, "2": replace(seen["2"], counters=counted(jobs))}, now)
        state = decided.state
        shares.append(decided.weights.get("2", 0))
    assert shares == [0, 0, 10, 10, 50, 100, 100]
    assert (state.stable, state.retiring, state.recent) == (V2, (V1,), (V1,))
    drained = plan(spec(), state, {"1": UP, "2": UP}, 130)
    assert (drained.remove, drained.redirect, drained.state.retiring) == (("1",), {"1": "2"}, ())


@pytest.mark.parametrize(
    ("state", "there", "now", "reason"),
    [
        (replace(STEPPING, phase="Starting"), Seen(), 601, "ProgressDeadlineExceeded"),
        (replace(STEPPING, phase="Starting"), Seen(rejected="wrong digest"), 1, "ArtifactRejected"),
        (replace(STEPPING, phase="Proving"), replace(UP, golden=Golden()), 601, "ProgressDeadlineExceeded"),
        (replace(STEPPING, phase="Proving"), replace(UP, golden=Golden(True, 0.9)), 1, "GoldenSetDisagrees"),
        (replace(STEPPING, phase="Proving"), replace(UP, golden=Golden(True, 0, "TIMEOUT")), 1, "GoldenSetFailed"),
        (replace(STEPPING, phase="Starting"), Seen(refused="422"), 1, "DeploymentRefused"),
        (STEPPING, replace(UP, refused="422"), 1, "DeploymentRefused"),
        (STEPPING, replace(UP, counters=counted(0, 2)), 1, "AnalysisFailed"),
        (STEPPING, replace(UP, counters=counted(97, 3)), 1, "AnalysisFailed"),
        (STEPPING, replace(UP, counters=Counters(60, 0, times({2.5: 60}))), 1, "AnalysisFailed"),
        (replace(STEPPING, unready_since=0.0), Seen(), 601, "WorkersLost"),
        (replace(STEPPING, unready_since=0.0, unready_seconds=599), Seen(), 2, "WorkersLost"),
    ],
)
def test_a_bad_version_is_rolled_back_by_itself(state: RolloutState, there: Seen, now: float, reason: str) -> None:
    decided = plan(spec(), state, {"1": UP, "2": replace(there, backlog=5)}, now)
    assert decided.weights == {"1": 100}
    assert decided.redirect == {"2": "1"}
    assert decided.state.failed is not None
    assert (decided.state.failed.version, decided.state.failed.reason) == ("2", reason)
    assert [event.reason for event in decided.events] == ["RolledBack"]
    later = plan(spec(), decided.state, {"1": UP, "2": replace(there, backlog=5)}, now + 3600)
    assert (later.state, later.events) == (decided.state, ()), "it is not tried again"
    assert plan(spec(), decided.state, {"1": UP, "2": Seen()}, now + 1).remove == ("2",)
    assert plan(spec(V3), decided.state, {"1": UP}, now + 1).state.target == V3, "another version is"


def test_without_auto_rollback_a_bad_version_is_only_reported() -> None:
    decided = plan(spec(auto_rollback=False), STEPPING, {"1": UP, "2": replace(UP, counters=counted(0, 9))}, 1)
    assert (decided.state, decided.reason) == (STEPPING, "AnalysisFailed")
    assert decided.weights == {"1": 90, "2": 10}


@pytest.mark.parametrize(
    ("on_inconclusive", "now", "share", "reason"),
    [
        ("Hold", 61, 10, "Inconclusive"),
        ("Hold", 100_000, 10, "Inconclusive"),
        ("Promote", 899, 10, "Inconclusive"),
        ("Promote", 901, 50, "Stepping"),
        ("Rollback", 899, 10, "Inconclusive"),
        ("Rollback", 901, 0, "RolledBack"),
    ],
)
def test_too_few_jobs_are_inconclusive_and_never_success(
    on_inconclusive: Any, now: float, share: int, reason: str
) -> None:
    analysis = Analysis(on_inconclusive=on_inconclusive)
    decided = plan(spec(analysis=analysis), STEPPING, {"1": UP, "2": replace(UP, counters=counted(49))}, now)
    assert (decided.weights.get("2", 0), decided.reason) == (share, reason)


def test_going_back_to_a_recent_version_needs_no_steps() -> None:
    state = RolloutState(stable=V2, recent=(V1,), retiring=(V1,))
    asked = plan(spec(V1), state, {"1": UP, "2": UP}, 5)
    assert (asked.state.phase, asked.state.retiring, asked.remove) == ("Starting", (), ())
    decided = plan(spec(V1), asked.state, {"1": UP, "2": UP}, 6)
    assert (decided.weights, decided.state.stable, decided.state.retiring) == ({"1": 100}, V1, (V2,))
    assert plan(spec(V1), decided.state, {"1": UP, "2": UP}, 7).remove == ("2",)


def test_a_version_is_removed_only_after_a_look_that_began_without_it() -> None:
    promoted = plan(spec(), replace(STEPPING, phase="Proving"), {"1": UP, "2": replace(UP, golden=PROVEN)}, 5)
    assert promoted.remove == ()
    last = replace(STEPPING, step=1)
    done = plan(spec(), last, {"1": UP, "2": replace(UP, counters=counted(60))}, 61)
    assert (done.weights, done.remove, done.state.retiring) == ({"2": 100}, (), (V1,))
    assert V1 in done.workers, "it keeps its workers until its last job is answered"
    assert plan(spec(), done.state, {"1": replace(UP, backlog=1), "2": UP}, 62).remove == ()
    assert plan(spec(), done.state, {"2": UP}, 62).remove == (), "a queue that was not read is not empty"
    assert plan(spec(), done.state, {"1": UP, "2": UP}, 63).remove == ("1",)


def test_what_an_earlier_try_left_behind_says_nothing_of_the_next() -> None:
    begun = plan(spec(), STABLE, {"1": UP, "2": replace(UP, rejected="the repository was not there")}, 5)
    assert (begun.state.phase, begun.state.failed) == ("Starting", None)
    assert plan(spec(), begun.state, {"1": UP, "2": Seen(rejected="no")}, 6).reason == "RolledBack"


def test_a_refused_deployment_fails_a_version_at_once_and_until_the_spec_changes_in_any_way() -> None:
    refused = {"1": UP, "2": Seen(refused="422: requests must be at most limits")}
    begun = plan(spec(), STABLE, refused, 5)
    assert [event.reason for event in begun.events] == ["RolloutStarted", "RolledBack"]
    assert begun.state.failed == Failure("2", V2.digest, "DeploymentRefused", refused["2"].refused, generation=1)
    assert plan(spec(), begun.state, {"1": UP, "2": Seen()}, 6).state.target is None
    edited = plan(replace(spec(), generation=2), begun.state, {"1": UP, "2": Seen()}, 6)
    assert (edited.state.target, edited.state.failed) == (V2, None)
    other = replace(begun.state, failed=Failure("2", V2.digest, "AnalysisFailed", "m", generation=1))
    assert plan(replace(spec(), generation=2), other, {"1": UP, "2": Seen()}, 6).state.target is None


def test_a_stable_version_whose_deployment_is_refused_serves_on_and_says_so() -> None:
    decided = plan(spec(V1), STABLE, {"1": replace(UP, refused="422: no")}, 5)
    assert (decided.reason, decided.state, decided.weights, decided.events) == (
        "DeploymentRefused", STABLE, {"1": 100}, (),
    )  # fmt: skip
    assert decided.message == "version 1 serves with the workers it has: 422: no"


@pytest.mark.parametrize("known", [{"stable": V1}, {"stable": V2, "retiring": (V1,)}, {"abandoned": (V1,)}])
def test_another_artifact_under_a_version_in_use_is_refused(known: Any) -> None:
    other = replace(V1, digest=V3.digest)
    decided = plan(spec(other), RolloutState(**known), {"1": UP, "2": UP}, 5)
    assert decided.state.failed is not None
    assert (decided.state.failed.reason, decided.state.target) == ("VersionReused", None)
    assert [event.reason for event in decided.events] == ["VersionReused"]
    later = plan(spec(other), decided.state, {"1": UP, "2": UP}, 6)
    assert (later.events, later.state.target) == ((), None)


def test_a_version_on_trial_without_workers_takes_no_new_jobs_until_it_has_one_again() -> None:
    analysis = Analysis(max_wait_seconds=900)
    lost = plan(spec(analysis=analysis), STEPPING, {"1": UP, "2": Seen()}, 10)
    assert lost.weights == {"1": 90, "2": 10}, "a moment is no reason"
    away = plan(spec(analysis=analysis), lost.state, {"1": UP, "2": Seen()}, 11 + UNREADY_SECONDS)
    assert (away.weights, away.state.phase) == ({"1": 100}, "Stepping")
    assert (lost.redirect, away.redirect) == ({}, {"2": "1"}), "what waits for it is answered by the stable one"
    assert V2 in away.workers, "it may come back"
    back = plan(spec(analysis=analysis), away.state, {"1": UP, "2": UP}, 20)
    assert (back.weights, back.redirect) == ({"1": 90, "2": 10}, {})


@pytest.mark.parametrize("phase", ["Starting", "Proving"])
def test_a_queue_that_callers_do_not_use_yet_is_not_closed(phase: Any) -> None:
    state = replace(STEPPING, phase=phase, unready_since=0.0)
    assert plan(spec(), state, {"1": UP, "2": Seen(golden=Golden())}, 100).redirect == {}


def test_a_version_whose_workers_die_again_and_again_is_given_up_when_they_were_away_for_the_deadline_in_all() -> None:
    state, now = STEPPING, 0.0
    for _ in range(6):
        state = plan(spec(), state, {"1": UP, "2": Seen()}, now).state
        now += 101  # as a pod in back-off is
        state = plan(spec(), state, {"1": UP, "2": UP}, now).state
    assert (state.phase, state.unready_seconds) == ("Stepping", 606)
    assert RolloutState.from_status({"rollout": state.to_status()}) == state
    decided = plan(spec(), state, {"1": UP, "2": Seen()}, now)
    assert decided.state.failed is not None
    assert decided.state.failed.reason == "WorkersLost"
    passed = plan(spec(), state, {"1": UP, "2": replace(UP, counters=counted(60))}, now)
    assert (passed.state.step, passed.state.unready_seconds) == (1, 0), "each step begins anew"


@pytest.mark.parametrize("on_inconclusive", ["Hold", "Promote"])
@pytest.mark.parametrize("jobs", [0, 60])
def test_no_step_is_passed_without_a_ready_worker(on_inconclusive: Any, jobs: int) -> None:
    analysis = Analysis(on_inconclusive=on_inconclusive, max_wait_seconds=70)
    decided = plan(spec(analysis=analysis), STEPPING, {"1": UP, "2": Seen(counters=counted(jobs))}, 71)
    assert (decided.state.step, decided.reason, decided.events) == (0, "WaitingForWorkers", ())


def test_time_on_hold_counts_neither_for_a_deadline_nor_for_a_step() -> None:
    starting = replace(STEPPING, phase="Starting", started_at=100, phase_started_at=100)
    held = plan(spec(), starting, None, 200).state
    still = plan(replace(spec(), paused=True), held, {}, 10_000).state
    assert (held.held_since, still.held_since) == (200, 200)
    assert plan(spec(), still, {"1": UP, "2": Seen()}, 10_000).reason == "WaitingForWorkers"
    resumed = plan(spec(), still, {"1": UP, "2": Seen()}, 10_000).state
    assert (resumed.held_since, resumed.started_at, resumed.phase_started_at) == (None, 100, 9_900)
    assert plan(spec(), resumed, {"1": UP, "2": Seen()}, 9_900 + 599).reason == "WaitingForWorkers"
    assert plan(spec(), resumed, {"1": UP, "2": Seen()}, 9_900 + 601).reason == "RolledBack"


def test_replace_goes_from_the_gate_straight_to_full_weight() -> None:
    seen = {"1": UP, "2": replace(UP, golden=PROVEN)}
    state = replace(STEPPING, phase="Proving")
    assert plan(spec(strategy="Replace"), state, seen, 5).weights == {"2": 100}


def test_without_a_gate_nothing_is_sent_ahead() -> None:
    decided = plan(spec(gate=Gate(golden_set=False)), replace(STEPPING, phase="Starting"), {"1": UP, "2": UP}, 5)
    assert (decided.send_golden, decided.weights) == (False, {"1": 90, "2": 10})


def test_a_change_of_spec_in_mid_rollout_abandons_the_version_under_way() -> None:
    decided = plan(spec(V3), STEPPING, {"1": UP, "2": replace(UP, backlog=4)}, 5)
    assert (decided.state.target, decided.state.phase) == (V3, "Starting")
    assert [event.reason for event in decided.events] == ["RolloutAbandoned", "RolloutStarted"]
    assert (decided.weights, decided.redirect) == ({"1": 100}, {"2": "1"})
    back = plan(spec(V1), STEPPING, {"1": UP, "2": replace(UP, backlog=4)}, 5)
    assert (back.state.target, back.weights, back.redirect) == (None, {"1": 100}, {"2": "1"})


@pytest.mark.parametrize(("paused", "seen", "reason"), [(True, {}, "Paused"), (False, None, "RedisUnavailable")])
def test_paused_or_blind_the_operator_leaves_everything_as_it_is(paused: bool, seen: Any, reason: str) -> None:
    decided = plan(replace(spec(V3), paused=paused), STEPPING, seen, 10_000)
    assert (decided.reason, decided.weights) == (reason, {"1": 90, "2": 10})
    assert decided.state == replace(STEPPING, held_since=10_000)
    assert (decided.remove, decided.redirect, decided.events) == ((), {}, ())


@pytest.mark.parametrize(
    ("done", "failed", "pause_over", "verdict"),
    [
        (0, 0, False, "Wait"),
        (0, 0, True, "Inconclusive"),
        (0, 1, True, "Inconclusive"),
        (0, 2, False, "Fail"),
        (49, 1, False, "Wait"),
        (49, 1, True, "Pass"),
        (48, 2, True, "Fail"),
        (980, 20, True, "Pass"),
        (979, 21, True, "Fail"),
    ],
)
def test_the_verdict_needs_evidence_to_fail_and_time_and_jobs_to_pass(
    done: int, failed: int, pause_over: bool, verdict: str
) -> None:
    assert judge(Analysis(), counted(done, failed), pause_over)[0] == verdict


@pytest.mark.parametrize(
    ("latency", "seconds"),
    [
        ((), 0.0),
        (times({}), 0.0),
        (times({0.001: 100}), 0.00095),
        (times({0.005: 95, 0.01: 5}), 0.005),
        (times({0.01: 19, 0.025: 1}), 0.01),
        (times({0.005: 90, 0.025: 10}), 0.0175),
        (times({86_400: 100}), 84_580),
        (times({86_401: 1}), float("inf")),
    ],
)
def test_p95_lies_within_its_bucket_as_if_jobs_were_spread_evenly(latency: tuple[int, ...], seconds: float) -> None:
    assert p95_seconds(latency) == pytest.approx(seconds)


@pytest.mark.parametrize("allowed", LATENCY_BOUNDS)
def test_a_bound_that_is_one_of_a_bucket_is_judged_to_the_job(allowed: float) -> None:
    analysis = Analysis(max_p95_seconds=allowed)
    just = {allowed: 95, allowed * 1.01: 5}
    assert judge(analysis, Counters(100, 0, times(just)), True)[0] == "Pass"
    assert judge(analysis, Counters(100, 0, times({allowed: 94, allowed * 1.01: 6})), True)[0] == "Fail"


@pytest.mark.parametrize(
    ("allowed", "slow_jobs", "verdict"),
    [(0.49, 100, "Pass"), (0.48, 100, "Fail"), (0.48, 50, "Pass"), (0.26, 5, "Pass"), (0.26, 50, "Fail")],
)
def test_any_other_bound_is_judged_as_if_jobs_were_spread_evenly_within_its_bucket(
    allowed: float, slow_jobs: int, verdict: str
) -> None:
    seen = Counters(100, 0, times({0.1: 100 - slow_jobs, 0.4: slow_jobs}))
    assert judge(Analysis(max_p95_seconds=allowed), seen, True)[0] == verdict


def test_counters_that_began_anew_are_taken_whole() -> None:
    assert counted(3).since(counted(100)) == counted(3)
    assert Counters(9, 2, (1, 2)).since(Counters(4, 1, (1, 0))) == Counters(5, 1, (0, 2))


@pytest.mark.parametrize(
    "state",
    [
        STABLE,
        STEPPING,
        replace(STEPPING, unready_since=3.5, unready_seconds=2.5, held_since=4.5, baseline=counted(3, 1)),
        RolloutState(stable=V2, recent=(V1,), failed=Failure("3", "d", "r", "m"), retiring=(V1,), abandoned=(V3,)),
    ],
)
def test_a_restart_remembers_everything(state: RolloutState) -> None:
    assert RolloutState.from_status({"rollout": state.to_status()}) == state


_SEEN = st.builds(
    Seen,
    ready_workers=st.integers(0, 2),
    backlog=st.integers(0, 3),
    counters=st.builds(counted, st.integers(0, 200), st.integers(0, 5)),
    rejected=st.sampled_from(["", "", "", "wrong digest"]),
    golden=st.sampled_from([None, Golden(), PROVEN, Golden(True, 0.5)]),
)  # fmt: skip
_MOMENT = st.tuples(
    st.sampled_from([V1, V2, V3]),
    st.one_of(st.none(), st.dictionaries(st.sampled_from("123"), _SEEN)),
    st.integers(1, 700),
)


@given(st.lists(_MOMENT, min_size=1, max_size=25))
def test_whatever_happens_every_new_job_has_one_place_to_go(story: list[Any]) -> None:
    state, now, was_stable = RolloutState(), 0.0, False
    for model, seen, seconds in story:
        now += seconds
        decided = plan(spec(model), state, seen, now)
        _check(decided, was_stable)
        settled = decided.state
        for _ in range(4):  # start, prove, give up, drain
            settled = plan(spec(model), settled, seen, now).state
        assert plan(spec(model), settled, seen, now).state == settled or settled.phase != "Idle"
        state, was_stable = decided.state, decided.state.stable is not None


def _check(decided: Plan, was_stable: bool) -> None:
    state = decided.state
    assert sum(decided.weights.values()) == (100 if state.stable else 0)
    assert state.stable is not None or not was_stable, "a stable version is never lost"
    served = {version.version for version in decided.workers}
    assert set(decided.weights) <= served, "no share without workers"
    assert not served & set(decided.remove), "no workers removed that are needed"
    assert not set(decided.weights) & set(decided.redirect), "no share for a closed queue"
    assert set(decided.redirect.values()) <= served
    for item in (*state.retiring, *state.abandoned):
        assert item.version not in decided.weights, "what leaves takes no new jobs"
    if state.failed and not (state.target and state.target.version == state.failed.version):
        assert decided.weights.get(state.failed.version, 0) == 0 or state.stable == ModelVersion(
            state.failed.version, state.failed.digest
        )


def test_weights_follow_from_the_state_alone() -> None:
    assert weights(spec(), replace(STEPPING, step=7), 0) == {"1": 50, "2": 50}
