"""Scores become probabilities, or nothing at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_service.errors import PredictionFailed
from iris_service.model.scoring import DECIMALS, TOLERANCE, probabilities

WEIGHTS = st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3).filter(lambda row: sum(row) > 0.01)


@given(st.lists(WEIGHTS, min_size=1, max_size=20), st.sampled_from([np.float32, np.float64]))
def test_any_distribution_comes_back_as_plain_rounded_floats(rows: list[list[float]], kind: type[np.floating]) -> None:
    scores = np.array([[value / sum(row) for value in row] for row in rows], dtype=kind)
    answers = probabilities(scores, len(rows), 3)
    for answer, expected in zip(answers, scores.tolist(), strict=True):
        assert answer == pytest.approx(expected, abs=0.51 * 10**-DECIMALS)
        assert all(type(share) is float and 0 <= share <= 1 for share in answer)
        assert all(share == round(share, DECIMALS) and math.copysign(1, share) == 1 for share in answer)


def test_the_noise_of_32_bits_is_rounded_away() -> None:
    noisy = np.array([[1.0000001, -1e-8, -0.0], [0.12, 0.88, 0.0]], dtype=np.float32)
    assert probabilities(noisy, 2, 3) == [(1.0, 0.0, 0.0), (0.12, 0.88, 0.0)]


@pytest.mark.parametrize(
    "scores",
    [
        [[math.nan, 0.5, 0.5]],
        [[math.inf, 0.0, 0.0]],
        [[math.inf, -math.inf, 1.0]],
        [[0.5, 0.4, 0.0]],
        [[1.2, -0.2, 0.0]],
        [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
        [[0.5, 0.5 + 2 * TOLERANCE, 0.0]],
        [[0.5, 0.5]],
        [[1.0, 0.0, 0.0]] * 3,
    ],
)
def test_what_is_no_distribution_over_the_classes_is_refused(scores: list[list[float]]) -> None:
    rows = 1 if len(scores) == 3 else len(scores)
    with pytest.raises(PredictionFailed):
        probabilities(np.array(scores, dtype=np.float32), rows, 3)
