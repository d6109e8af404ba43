"""What every format is turned into: a function from rows to scores. Checks the scores, rounds them, knows no format."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from iris_service.errors import InvalidInput, PredictionFailed
from iris_service.schemas import Row

Matrix = npt.NDArray[np.float32]
Scorer = Callable[[Matrix], npt.NDArray[np.floating]]
"""Rows by features in, rows by classes out."""

DECIMALS = 7
"""Answers are rounded to this, about what 32 bits hold: 12 trees in 100 are 0.12 and not 0.11999999731779099."""
TOLERANCE = 1e-5
"""How far a row's sum may be from 1, and a value below 0; a thousand small 32-bit numbers can add up to less."""


def matrix(rows: Sequence[Row], features: int) -> Matrix:
    """Rows as 32-bit floats, the precision that forests are trained and served in; raises `InvalidInput`."""
    try:
        table = np.array(rows, dtype=np.float32)
    except (TypeError, ValueError) as exc:
        raise InvalidInput(f"each row must have {features} numbers") from exc
    if table.ndim != 2 or table.shape[1] != features:
        raise InvalidInput(f"each row must have {features} numbers")
    return table


def probabilities(scores: npt.NDArray[np.floating], rows: int, classes: int) -> list[tuple[float, ...]]:
    """Scores as plain floats with at most `DECIMALS` decimals; raises `PredictionFailed` unless each row is a
    distribution over the classes."""
    if scores.shape != (rows, classes):
        raise PredictionFailed(f"the model answered {scores.shape} for {rows} rows of {classes} classes")
    # written so that NaN fails: nothing compares as true with it
    if not (scores.min() >= -TOLERANCE and np.abs(scores.sum(axis=1) - 1).max() <= TOLERANCE):
        raise PredictionFailed("the model answered something that is not a probability")
    # abs: rounding may leave -0.0
    rounded = np.abs(scores.astype(np.float64).clip(0, 1).round(DECIMALS))
    return list(map(tuple, rounded.tolist()))
