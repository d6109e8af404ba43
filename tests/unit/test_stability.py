"""The population stability index: what training data must give, what a shift must give, and what can never come out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_iris

from iris_service.model.card import FeatureProfile
from iris_service.model.stability import POSITIONS, Deciles, count_classes, psi, straightest
from versions import committed_card

FLOWERS = load_iris().data
IRIS = Deciles(committed_card().training.features)
COMMON_ALARM = 0.25
TENTHS = np.full(10, 0.1)


def profile(deciles: Any) -> FeatureProfile:
    return FeatureProfile("x", 0.0, 1.0, 0.5, 0.1, tuple(float(decile) for decile in deciles))


def deciles_of(values: np.ndarray) -> Deciles:
    return Deciles([profile(np.quantile(values, np.arange(1, 10) / 10))])


def psi_of(deciles: Deciles, table: np.ndarray) -> list[float]:
    return deciles.psi(deciles.count([tuple(row) for row in table.tolist()]))


def sample(rows: int, seed: int) -> np.ndarray:
    return FLOWERS[np.random.default_rng(seed).integers(0, 150, rows)]


def test_the_training_rows_themselves_have_an_index_of_zero() -> None:
    """Three of the four features have deciles that many flowers share; sorted into plain bins two are past 0.6."""
    assert psi_of(IRIS, FLOWERS) == pytest.approx([0.0] * 4, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_flowers_drawn_from_the_training_rows_look_like_them(seed: int) -> None:
    assert max(psi_of(IRIS, sample(500, seed))) < 0.05
    assert max(psi_of(IRIS, sample(5000, seed))) < 0.01


@pytest.mark.parametrize("feature", range(4))
def test_a_shifted_feature_is_seen_and_no_other(feature: int) -> None:
    shifted = sample(2000, 0)
    shifted[:, feature] += 0.5
    indices = psi_of(IRIS, shifted.round(1))
    assert indices.pop(feature) > COMMON_ALARM
    assert max(indices) < 0.1


@pytest.mark.parametrize(
    "table",
    [sample(2000, 0) * 10, sample(2000, 0)[:, ::-1], np.tile(FLOWERS[:1], (2000, 1)), np.zeros((2000, 4))],
    ids=["millimetres", "columns in another order", "one flower again and again", "zeros"],
)
def test_what_goes_wrong_in_practice_is_far_beyond_the_alarm(table: np.ndarray) -> None:
    assert min(psi_of(IRIS, table)) > 4 * COMMON_ALARM


def test_numbers_that_came_as_32_bits_are_the_same_flowers() -> None:
    narrow = FLOWERS.astype(np.float32).astype(np.float64)
    assert (narrow != FLOWERS).any()
    assert psi_of(IRIS, narrow) == psi_of(IRIS, FLOWERS)


@pytest.mark.parametrize(
    ("value", "position"),
    [(0.5, 0), (1.0, 1), (1.5, 2), (2.0, 5), (2.5, 8), (3.0, 9), (8.0, 17), (8.5, 18)],
)
def test_a_value_is_found_below_at_or_above_each_decile(value: float, position: int) -> None:
    deciles = Deciles([profile([1, 2, 2, 2, 3, 4, 5, 7, 8])])
    assert deciles.count([(value,)]).tolist() == [[int(at == position) for at in range(POSITIONS)]]


def test_a_feature_that_never_varied_is_as_in_training_until_it_varies() -> None:
    constant = Deciles([profile([3] * 9)])
    assert psi_of(constant, np.full((1000, 1), 3.0)) == pytest.approx([0.0], abs=1e-9)
    assert psi_of(constant, np.full((1000, 1), 3.5))[0] > COMMON_ALARM


@pytest.mark.filterwarnings("ignore:overflow")
def test_deciles_beyond_32_bits_do_no_harm() -> None:
    wide = Deciles([profile([-1e300, *[0.0] * 7, 1e300])])
    assert math.isfinite(psi_of(wide, np.array([[-1e300], [0.0], [1e300]]))[0])


whole_numbers = st.lists(st.integers(-5, 5), min_size=20, max_size=300)
decimals = st.lists(st.floats(-1e6, 1e6, width=32), min_size=20, max_size=300)


@given(whole_numbers | decimals)
def test_any_data_has_next_to_no_index_against_its_own_deciles(values: list[float]) -> None:
    data = np.array(values, dtype=np.float32).astype(float)
    # a decile between two rows is up to one row off, and a tenth of 20 rows is two rows
    assert psi_of(deciles_of(data), data[:, None])[0] <= 100 * (2 / len(data)) ** 2 + 1e-6


@given(whole_numbers | decimals, decimals | whole_numbers)
def test_the_index_is_never_negative_and_always_a_number(training: list[float], asked: list[float]) -> None:
    (index,) = psi_of(deciles_of(np.array(training, float)), np.array(asked, float)[:, None])
    assert math.isfinite(index)
    assert index >= -1e-12


@given(whole_numbers, whole_numbers, st.lists(st.floats(0, 1), min_size=9, max_size=9))
def test_no_other_way_to_deal_out_ties_gives_a_smaller_index(
    training: list[int], asked: list[int], luck: list[float]
) -> None:
    """Each decile is passed after some of the rows that equal it: here after a random share of them."""
    data = np.array(asked, float)
    inner = np.quantile(training, np.arange(1, 10) / 10).round(6).astype(np.float32)
    ways = [(data < decile).sum() + share * (data == decile).sum() for decile, share in zip(inner, luck, strict=True)]
    dealt = np.diff(np.maximum.accumulate([0, *ways]), append=len(data))
    (index,) = psi_of(Deciles([profile(inner)]), data[:, None])
    assert index <= psi(dealt, TENTHS) + 1e-9


@pytest.mark.parametrize(
    ("low", "high", "steps"),
    [
        ([0, 1, 2, 3], [0, 1, 2, 3], [1, 1, 1]),
        ([0, 0, 0, 9], [0, 9, 9, 9], [3, 3, 3]),
        ([0, 5, 5, 9], [0, 9, 9, 9], [5, 2, 2]),
        ([0, 0, 0, 9], [0, 1, 9, 9], [1, 4, 4]),
        ([0, 0, 6, 9], [0, 2, 9, 9], [2, 4, 3]),
        ([0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0]),
    ],
)
def test_a_string_pulled_through_a_tube_is_straight_where_it_can_be(
    low: list[int], high: list[int], steps: list[float]
) -> None:
    assert straightest(low, high).tolist() == pytest.approx(steps)


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=20), st.integers(1, 1000))
def test_equal_shares_have_an_index_of_zero(shares: list[int], times: int) -> None:
    training = np.array(shares) / sum(shares)
    assert psi(np.array(shares) * times, training) == pytest.approx(0.0, abs=1e-9)


@given(arrays(np.int64, 10, elements=st.integers(0, 10**6)).filter(lambda counts: counts.sum() > 0))
def test_the_index_of_counts_is_what_its_definition_gives(counts: np.ndarray) -> None:
    smoothed = [(count + 0.1) / (counts.sum() + 1) for count in counts.tolist()]
    defined = math.fsum((share - 0.1) * math.log(share / 0.1) for share in smoothed)
    assert psi(counts, TENTHS) == pytest.approx(defined, rel=1e-9, abs=1e-12)


@given(st.permutations(range(150)), st.lists(st.integers(1, 149), max_size=5))
def test_neither_order_nor_batches_matter(order: list[int], cuts: list[int]) -> None:
    parts = [part for part in np.split(FLOWERS[order], sorted(cuts)) if len(part)]
    counted = sum((IRIS.count(part.tolist()) for part in parts), start=IRIS.nothing())
    assert np.array_equal(counted, IRIS.count(FLOWERS.tolist()))


def test_an_answer_counts_for_its_likeliest_class() -> None:
    assert count_classes([(0.2, 0.5, 0.3), (1.0, 0.0, 0.0), (0.4, 0.2, 0.4)], 3).tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("counts", "training", "low", "high"),
    [
        ([500, 0, 0], [1.0, 0.0, 0.0], 0.0, 1e-4),
        ([0, 500, 0], [1.0, 0.0, 0.0], 5.0, 30.0),
        ([1, 499, 500], [0.0, 0.5, 0.5], 0.005, 0.05),
        ([334, 333, 333], [1 / 3, 1 / 3, 1 / 3], 0.0, 1e-5),
        ([600, 200, 200], [1 / 3, 1 / 3, 1 / 3], 0.25, 0.35),
    ],
    ids=["as trained", "only what was never trained", "one of what was never trained", "even", "uneven"],
)
def test_classes_that_training_hardly_had_are_no_catastrophe(
    counts: list[int], training: list[float], low: float, high: float
) -> None:
    assert low <= psi(np.array(counts), np.array(training)) <= high
