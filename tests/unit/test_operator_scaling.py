"""How many workers a version gets: every rule as a table, and what must hold for any load."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from iris_operator.scaling import (
    MEASURED_AFTER_JOBS,
    STALE_SECONDS,
    UP_FACTOR,
    UP_PERIOD_SECONDS,
    UP_PODS,
    Decision,
    Load,
    Memory,
    Pace,
    Policy,
    decide,
)

POLICY = Policy(minimum=0, maximum=100, target_per_replica=20, max_wait_seconds=None, window_seconds=60)
BY_WAIT = replace(POLICY, max_wait_seconds=20.0)
POLL_SECONDS = 2.0


def load(
    at: float, waiting: int = 0, running: int = 0, busy: int | None = None, answered: int = 0, busy_seconds: float = 0.0
) -> Load:
    return Load(waiting, running, running if busy is None else busy, answered, busy_seconds, observed_at=at)


def measured(seconds_per_job: float, arrivals_per_second: float = 0.0) -> Memory:
    """A memory at time 0 that has seen enough answers; the window is long over."""
    pace = Pace(seconds=1e9, arrived=arrivals_per_second * 1e9, answered=200, busy_seconds=200 * seconds_per_job)
    return Memory(window_began=-1000.0, wanted=((0.0, 0),), sizes=(), last=load(0.0), pace=pace)


def quiet(policy: Policy, current: int, until: float, reading: Load) -> Decision:
    """Decide every poll from time 0 with the same reading, applying each answer."""
    memory, at = Memory(), 0.0
    while True:
        decision = decide(policy, current, replace(reading, observed_at=at), memory, at)
        current, memory, at = decision.replicas, decision.memory, at + POLL_SECONDS
        if at > until:
            return decision


@pytest.mark.parametrize(
    ("waiting", "running", "busy", "replicas"),
    [
        (0, 0, 0, 0),
        (1, 0, 0, 1),
        (0, 1, 1, 1),
        (20, 0, 0, 1),
        (20, 1, 1, 2),
        (59, 1, 1, 3),
        (60, 1, 1, 4),
        (0, 256, 1, 1),  # one worker holds a batch: a second could not help
        (60, 512, 2, 4),
        (0, 3, 0, 1),  # stranded jobs, to be recovered
    ],
)
def test_by_length_each_worker_gets_its_share_of_what_waits_and_what_is_in_hand(
    waiting: int, running: int, busy: int, replicas: int
) -> None:
    assert decide(POLICY, 0, load(0, waiting, running, busy), Memory(), 0).replicas == replicas


@pytest.mark.parametrize(
    ("waiting", "running", "busy", "seconds_per_job", "replicas"),
    [
        (1, 0, 0, 0.001, 1),
        (36, 0, 0, 1.0, 3),  # 36 s of work in 20 - 8 s
        (37, 0, 0, 1.0, 4),
        (36, 0, 0, 0.1, 1),
        (30, 12, 12, 1.0, 3),  # a running job is half done
        (3, 0, 0, 600.0, 3),  # not more workers than jobs
        (0, 256, 1, 10.0, 1),  # nor than batches in hand
    ],
)
def test_by_wait_the_backlog_drains_within_the_time_left_after_a_start(
    waiting: int, running: int, busy: int, seconds_per_job: float, replicas: int
) -> None:
    decision = decide(BY_WAIT, 0, load(2, waiting, running, busy), measured(seconds_per_job), 2)
    assert decision.replicas == replicas


def test_by_wait_the_length_decides_until_enough_jobs_were_measured() -> None:
    unmeasured = replace(measured(1.0), pace=Pace(answered=9, busy_seconds=9.0))
    assert decide(BY_WAIT, 1, load(2, waiting=100), unmeasured, 2).replicas == 5


@pytest.mark.parametrize("policy", [POLICY, BY_WAIT])
def test_workers_keep_up_with_arrivals_even_before_a_backlog_shows(policy: Policy) -> None:
    memory = measured(seconds_per_job=2.0, arrivals_per_second=3.0)
    assert decide(policy, 5, load(2, waiting=1, running=5), memory, 2).replicas == 6


@pytest.mark.parametrize(
    ("current", "waiting", "replicas", "reason"),
    [
        (0, 1, 1, "ScaledUp"),
        (0, 80, 4, "ScaledUp"),
        (0, 100_000, UP_PODS, "UpRateLimited"),
        (10, 100_000, 10 * UP_FACTOR, "UpRateLimited"),
        (80, 100_000, 100, "AtMaximum"),
        (100, 100_000, 100, "AtMaximum"),
        (3, 60, 3, "Steady"),
    ],
)
def test_up_at_once_but_not_beyond_a_doubling(current: int, waiting: int, replicas: int, reason: str) -> None:
    decision = decide(POLICY, current, load(0, waiting), Memory(), 0)
    assert (decision.replicas, decision.reason) == (replicas, reason)


def test_the_next_doubling_waits_for_the_next_period() -> None:
    first = decide(POLICY, 0, load(0, 10_000), Memory(), 0)
    second = decide(POLICY, 4, load(2, 10_000), first.memory, 2)
    third = decide(POLICY, 4, load(UP_PERIOD_SECONDS, 10_000), second.memory, UP_PERIOD_SECONDS)
    assert [first.replicas, second.replicas, third.replicas] == [4, 4, 8]


def test_down_only_when_the_whole_window_wanted_fewer() -> None:
    busy_then_quiet = decide(POLICY, 5, load(0, waiting=100), Memory(), 0)
    memory, replicas = busy_then_quiet.memory, {}
    for at in range(2, 70, 2):
        decision = decide(POLICY, 5, load(at, waiting=20), memory, at)
        memory, replicas[at] = decision.memory, (decision.replicas, decision.reason)
    assert replicas[60] == (5, "DownStabilized")
    assert replicas[62] == (1, "ScaledDown")


def test_the_largest_wish_within_the_window_is_what_remains() -> None:
    memory = replace(measured(0.0), wanted=((10.0, 9), (40.0, 4), (68.0, 1)), last=load(68.0))
    assert decide(POLICY, 9, load(70, 20), memory, 70).replicas == 9
    assert decide(POLICY, 9, load(72, 20), memory, 72).replicas == 4


def test_a_single_job_within_the_window_keeps_one_worker() -> None:
    memory = decide(POLICY, 1, load(0), Memory(), 0).memory
    for at in range(2, 90, 2):
        decision = decide(POLICY, 1, load(at, running=1 if at == 30 else 0), memory, at)
        memory = decision.memory
        assert decision.replicas == 1
    assert decide(POLICY, 1, load(92), memory, 92).replicas == 0


def test_scale_to_zero_needs_an_empty_queue_and_idle_hands_for_a_window() -> None:
    assert quiet(POLICY, 3, 58, load(0)).replicas == 3
    assert quiet(POLICY, 3, 60, load(0)).replicas == 0
    assert quiet(POLICY, 3, 600, load(0, running=1)).replicas == 1


@pytest.mark.parametrize(
    ("current", "busy", "replicas", "reason"),
    [(5, 5, 5, "WorkersBusy"), (5, 3, 3, "ScaledDown"), (5, 9, 5, "WorkersBusy")],
)
def test_busy_workers_are_never_taken_away(current: int, busy: int, replicas: int, reason: str) -> None:
    decision = quiet(POLICY, current, 60, load(0, running=busy))
    assert (decision.replicas, decision.reason) == (replicas, reason)


@pytest.mark.parametrize(("current", "waiting", "replicas"), [(20, 360, 20), (20, 340, 17), (2, 20, 1), (20, 401, 21)])
def test_a_tenth_fewer_is_not_worth_a_change_but_one_more_is(current: int, waiting: int, replicas: int) -> None:
    assert quiet(POLICY, current, 60, load(0, waiting)).replicas == replicas


@pytest.mark.parametrize("reading", [None, load(at=100.0, waiting=500)])
def test_blindness_holds_and_says_so(reading: Load | None) -> None:
    memory = measured(1.0)
    decision = decide(POLICY, 7, reading, memory, now=100.1 + STALE_SECONDS)
    assert decision.replicas == 7
    assert not decision.active
    assert decision.reason == ("RedisUnavailable" if reading is None else "ReadingStale")
    assert decision.memory == memory


def test_after_blindness_a_new_window_begins() -> None:
    memory, sizes = quiet(POLICY, 3, 50, load(0)).memory, {}
    for at in range(62, 124, 2):
        decision = decide(POLICY, 3, load(at), memory, at)
        memory, sizes[at] = decision.memory, decision.replicas
    assert (sizes[62], sizes[120], sizes[122]) == (3, 3, 0)


def test_one_missed_reading_does_not_begin_a_new_window() -> None:
    memory = quiet(POLICY, 3, 50, load(0)).memory
    memory = decide(POLICY, 3, None, memory, 52).memory
    for at in (54, 58):
        memory = decide(POLICY, 3, load(at), memory, at).memory
    assert decide(POLICY, 3, load(60), memory, 60).replicas == 0


def test_after_a_restart_nothing_goes_down_at_once() -> None:
    assert decide(POLICY, 30, load(0), Memory(), 0).replicas == 30


@pytest.mark.parametrize(
    ("current", "reading", "replicas"),
    [(50, load(0), 10), (0, load(0), 2), (50, None, 10), (0, None, 2)],
)
def test_the_bounds_are_obeyed_at_once_even_when_blind(current: int, reading: Load | None, replicas: int) -> None:
    assert decide(replace(POLICY, minimum=2, maximum=10), current, reading, Memory(), 0).replicas == replicas


def test_totals_that_begin_anew_teach_nothing() -> None:
    pace = Pace(seconds=10, arrived=10, answered=50, busy_seconds=5)
    assert pace.after(load(0, answered=1000, busy_seconds=9.0), load(2, answered=3, busy_seconds=0.1)) == pace


def test_a_constant_pace_reads_constant_from_the_second_reading() -> None:
    pace, readings = Pace(), [load(at * 2.0, waiting=7, answered=at * 10, busy_seconds=at * 4.0) for at in range(50)]
    for earlier, later in pairwise(readings):
        pace = pace.after(earlier, later)
        assert pace.arrivals_per_second == pytest.approx(5.0)
    assert pace.seconds_per_job == pytest.approx(0.4)


# --- what holds for any load ------------------------------------------------------------------------------------------

unhurried = settings(deadline=None, max_examples=60)

policies = st.builds(
    lambda low, span, target, wait, window: Policy(low, max(1, low + span), target, wait, window),
    st.integers(0, 5), st.integers(0, 200), st.integers(1, 100), st.none() | st.floats(1, 600), st.integers(0, 120),
)  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> list[Load | None]:
    """Readings two seconds apart as a queue could show them; None where Redis was away."""
    readings: list[Load | None] = []
    answered, busy_seconds = 0, 0.0
    for poll in range(draw(st.integers(1, 45))):
        answered += draw(st.integers(0, 1000))
        busy_seconds += draw(st.floats(0, 100))
        running = draw(st.integers(0, 300))
        busy = draw(st.integers(min(1, running), running))
        seen = load(poll * POLL_SECONDS, draw(st.integers(0, 5000)), running, busy, answered, busy_seconds)
        readings.append(None if draw(st.integers(0, 9)) == 0 else seen)
    return readings


def replay(policy: Policy, current: int, readings: list[Load | None]) -> list[tuple[int, Decision]]:
    """Return (replicas before, decision) for each reading, applying each decision."""
    memory, steps = Memory(), []
    for poll, reading in enumerate(readings):
        decision = decide(policy, current, reading, memory, poll * POLL_SECONDS)
        steps.append((current, decision))
        current, memory = decision.replicas, decision.memory
    return steps


@unhurried
@given(policies, st.integers(0, 250), histories())
def test_any_history_stays_within_bounds_above_the_busy_and_below_a_doubling(
    policy: Policy, current: int, readings: list[Load | None]
) -> None:
    for reading, (before, decision) in zip(readings, replay(policy, current, readings), strict=True):
        assert policy.minimum <= decision.replicas <= policy.maximum
        bounded = max(policy.minimum, min(policy.maximum, before))
        assert decision.replicas <= max(bounded * UP_FACTOR, bounded + UP_PODS)
        if reading is None:
            assert decision.replicas == bounded
        else:
            assert decision.replicas >= min(bounded, reading.busy_workers)


@unhurried
@given(policies, st.integers(0, 250), histories())
def test_the_same_instant_gives_the_same_answer_again(
    policy: Policy, current: int, readings: list[Load | None]
) -> None:
    steps = replay(policy, current, readings)
    now, last = (len(readings) - 1) * POLL_SECONDS, steps[-1][1]
    again = decide(policy, steps[-1][0], readings[-1], last.memory, now)
    assert again == last
    applied = decide(policy, last.replicas, readings[-1], last.memory, now)
    assert applied.replicas == last.replicas


@unhurried
@given(policies, st.integers(0, 250), histories(), st.integers(0, 10_000))
def test_a_longer_queue_never_means_fewer_workers(
    policy: Policy, current: int, readings: list[Load | None], more: int
) -> None:
    before, decision = replay(policy, current, readings)[-1]
    if (reading := readings[-1]) is not None:
        steps = replay(policy, current, [*readings[:-1], replace(reading, waiting=reading.waiting + more)])
        assert steps[-1][0] == before
        assert steps[-1][1].replicas >= decision.replicas


@unhurried
@given(
    policies,
    st.integers(0, 250),
    st.integers(0, 2000),
    st.integers(0, 50),
    st.integers(0, 500),
    st.floats(0.001, 10).map(lambda seconds: round(seconds, 3)),
)
@example(Policy(0, 2, 1, 1.0, 54), 0, 1, 1, 1, 0.25)  # measured late, so that a larger wish is still in the window
def test_a_constant_load_means_a_constant_size_after_one_window(
    policy: Policy, current: int, waiting: int, running: int, answers: int, seconds_per_job: float
) -> None:
    climbing = 7 * UP_PERIOD_SECONDS  # from 0 to 250 in doublings
    measured = ceil(MEASURED_AFTER_JOBS / answers) * POLL_SECONDS if answers else 0  # until then the length decides
    settled = int((measured + max(policy.window_seconds, climbing)) / POLL_SECONDS) + 1
    readings: list[Load | None] = [
        load(poll * POLL_SECONDS, waiting, running, None, poll * answers, poll * answers * seconds_per_job)
        for poll in range(settled + 100)
    ]
    sizes = {decision.replicas for _, decision in replay(policy, current, readings)[settled:]}
    assert len(sizes) == 1


@unhurried
@given(policies, st.integers(1, 250), histories())
def test_nothing_goes_down_within_the_first_window(policy: Policy, current: int, readings: list[Load | None]) -> None:
    current = max(policy.minimum, min(policy.maximum, current))
    for poll, (before, decision) in enumerate(replay(policy, current, readings)):
        if poll * POLL_SECONDS < policy.window_seconds:
            assert decision.replicas >= before
