"""The sliding window: what it holds, what it forgets, and when it says nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from sklearn.datasets import load_iris

from iris_service.api import middleware
from iris_service.config import DriftSettings
from iris_service.model.drift import BLOCKS, Drift
from iris_service.schemas import GOLDEN_SET
from iris_service.telemetry.answers import WorkerMetrics
from versions import committed_card

FLOWERS = [tuple(row) for row in load_iris().data.tolist()]
SETOSA, VIRGINICA = (1.0, 0.0, 0.0), (0.0, 0.1, 0.9)
SMALL = DriftSettings(window_rows=1000, window_seconds=100.0, minimum_rows=100)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def drift(clock: Clock) -> Drift:
    return Drift(committed_card(), SMALL, clock)


def ask(drift: Drift, rows: int) -> None:
    drift.observe((FLOWERS * (rows // 150 + 1))[:rows], [SETOSA] * rows)


def test_a_worker_begins_with_no_rows_and_no_figures(drift: Drift) -> None:
    figures = drift.figures()
    assert (figures.rows, figures.feature_psi, figures.answer_psi, figures.answer_shares) == (0, {}, None, {})
    assert figures.training_shares == pytest.approx(dict.fromkeys(("setosa", "versicolor", "virginica"), 1 / 3), 1e-5)


@pytest.mark.parametrize(("rows", "given"), [(99, False), (100, True)])
def test_no_figure_is_given_before_there_are_enough_rows(drift: Drift, rows: int, given: bool) -> None:
    ask(drift, rows)
    figures = drift.figures()
    assert figures.rows == rows
    assert (bool(figures.feature_psi), figures.answer_psi is not None, bool(figures.answer_shares)) == (given,) * 3


def test_training_rows_and_their_own_classes_have_not_moved(drift: Drift) -> None:
    answers = [tuple(float(i == label) for i in range(3)) for label in load_iris().target]
    drift.observe(FLOWERS, answers)
    figures = drift.figures()
    assert figures.feature_psi == pytest.approx(dict.fromkeys(committed_card().signature.feature_names, 0), abs=1e-9)
    assert figures.answer_psi == pytest.approx(0.0, abs=1e-9)
    assert figures.answer_shares == pytest.approx(figures.training_shares, abs=1e-5)


def test_shares_are_of_the_classes_answered(drift: Drift) -> None:
    drift.observe(FLOWERS[:100], [SETOSA] * 25 + [VIRGINICA] * 75)
    figures = drift.figures()
    assert figures.answer_shares == {"setosa": 0.25, "versicolor": 0.0, "virginica": 0.75}
    assert figures.answer_psi is not None
    assert figures.answer_psi > 0.25


@pytest.mark.parametrize(("later", "rows"), [(100.0, 200), (100.1, 0)])
def test_no_row_outlives_the_window_also_while_nobody_asks(drift: Drift, clock: Clock, later: float, rows: int) -> None:
    ask(drift, 200)
    clock.now += later
    assert drift.figures().rows == rows


def test_no_more_rows_than_the_window_are_held_and_hardly_fewer(drift: Drift) -> None:
    step = SMALL.window_rows // BLOCKS
    held = []
    for _ in range(500):
        ask(drift, 10)
        held.append(drift.figures().rows)
    assert max(held) == SMALL.window_rows
    assert min(held[held.index(SMALL.window_rows) :]) >= SMALL.window_rows - step


def test_a_batch_larger_than_the_window_is_the_window(drift: Drift) -> None:
    ask(drift, 5000)
    assert drift.figures().rows == 5000
    ask(drift, 10)
    assert drift.figures().rows == 10, "the window moved on by a whole block"


def test_what_was_asked_before_is_forgotten_in_favour_of_what_is_asked_now(drift: Drift) -> None:
    drift.observe([(0.1, 0.1, 0.1, 0.1)] * 1000, [SETOSA] * 1000)
    assert min(drift.figures().feature_psi.values()) > 1
    for _ in range(20):
        ask(drift, 150)
    assert max(drift.figures().feature_psi.values()) < 0.1


@given(st.lists(st.tuples(st.integers(1, 400), st.floats(0, 200)), max_size=60))
def test_the_window_stays_small_and_true_whatever_comes(batches: list[tuple[int, float]]) -> None:
    clock = Clock()
    drift = Drift(committed_card(), SMALL, clock)
    asked: list[tuple[float, int]] = []
    for rows, seconds in batches:
        clock.now += seconds
        ask(drift, rows)
        asked.append((clock.now, rows))
        held = drift.figures().rows
        assert held <= max(SMALL.window_rows, rows + SMALL.window_rows // BLOCKS)
        assert held <= sum(rows for at, rows in asked if clock.now - at <= SMALL.window_seconds)
        assert len(drift._blocks) <= 2 * BLOCKS + 1


def test_a_scrape_in_the_middle_of_the_work_sees_whole_batches(drift: Drift) -> None:
    seen: list[int] = []
    stop = threading.Event()

    def scrape() -> None:
        while not stop.is_set():
            seen.append(drift.figures().rows)

    scraper = threading.Thread(target=scrape)
    scraper.start()
    for _ in range(100):
        ask(drift, 10)
    stop.set()
    scraper.join()
    assert {rows % 10 for rows in seen} == {0}


def exported(drift: Drift) -> list[str]:
    """The series of a scrape, without their values."""
    metrics = WorkerMetrics(CollectorRegistry(), model="iris", version="1", digest="d")
    metrics.show_drift(drift.figures)
    lines = generate_latest(metrics.registry).decode().splitlines()
    return [line.rpartition(" ")[0] for line in lines if line.startswith("iris_drift")]


def of_each(metric: str, label: str, names: Iterable[str]) -> list[str]:
    return [f'iris_drift_{metric}{{{label}="{name}",model="iris",version="1"}}' for name in names]


TRAINING = of_each("training_share", "class", ("setosa", "versicolor", "virginica"))


def test_figures_that_are_not_given_have_no_series(drift: Drift) -> None:
    assert exported(drift) == ['iris_drift_rows{model="iris",version="1"}', *TRAINING]


def test_every_feature_and_class_of_the_card_has_a_series_and_nothing_else_has(drift: Drift) -> None:
    ask(drift, 150)
    assert exported(drift) == [
        'iris_drift_rows{model="iris",version="1"}',
        *of_each("feature_psi", "feature", committed_card().signature.feature_names),
        'iris_drift_answer_psi{model="iris",version="1"}',
        *of_each("answer_share", "class", committed_card().signature.classes),
        *TRAINING,
    ]


def test_no_caller_can_pass_for_the_golden_set() -> None:
    assert not middleware._REQUEST_ID.fullmatch(GOLDEN_SET.encode())
