"""The population stability index of rows and answers against a card's training data. Pure arithmetic on counts.

Textbooks sort values into the ten bins between the deciles. Where many rows share a value, two deciles fall on it, and
the training data itself then looks shifted. So a row that equals a decile may count for the bin on either side of it,
and the index is the smallest that this allows: training data has an index of 0, whatever its ties.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from iris_service.model.card import FeatureProfile
from iris_service.model.scoring import matrix
from iris_service.schemas import Row

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

POSITIONS = 19
"""Below, at and between nine deciles, and above them."""
SMALLEST_SHARE = 1e-6
"""The card's precision; a class that training rounds to nothing must not make its first answer infinitely odd."""
SMOOTHING_ROWS = 1.0
"""Rows added, spread as in training, so that an empty bin has a logarithm. An empty tenth among 1000 rows then adds
0.69 to the index, as the usual 0.0001 in its place does, and shares as in training still give exactly 0."""

_TENTHS = np.full(10, 0.1)


class Deciles:
    """The nine deciles of each feature: counts rows around them, and says how far the counts are from training."""

    def __init__(self, features: Sequence[FeatureProfile]) -> None:
        with np.errstate(over="ignore"):  # a card may go beyond 32 bits, to infinity
            # 32 bits, as the model sees them: a caller's 32-bit 5.1 is no other flower than the card's 5.1
            deciles = np.array([feature.deciles for feature in features], dtype=np.float32)
        # with the next smaller number beside each, one search tells "at" a decile from below and above it
        just_below = np.nextafter(deciles, np.float32(-np.inf))
        self._steps = np.sort(np.concatenate([deciles, just_below], axis=1), axis=1)
        self._positions = [steps.searchsorted(nine) for steps, nine in zip(self._steps, deciles, strict=True)]

    def nothing(self) -> Counts:
        return np.zeros((len(self._steps), POSITIONS), dtype=np.int64)

    def count(self, rows: Sequence[Row]) -> Counts:
        """How many rows lie at each position: features by `POSITIONS`."""
        columns = matrix(rows, len(self._steps)).T
        found = [steps.searchsorted(column) for steps, column in zip(self._steps, columns, strict=True)]
        return np.stack([np.bincount(positions, minlength=POSITIONS) for positions in found])

    def psi(self, counts: Counts) -> list[float]:
        """The index of each feature, for counts of at least one row."""
        return [psi(_bins(*found), _TENTHS) for found in zip(counts, self._positions, strict=True)]


def count_classes(answers: Sequence[tuple[float, ...]], classes: int) -> Counts:
    """How many answers have each class as the likeliest; of equals the first."""
    return np.bincount(np.array(answers).argmax(axis=1), minlength=classes)


def psi(counts: npt.NDArray[np.number], training: Shares) -> float:
    """The index of counts, at least one row, against the shares of training: never negative, always finite."""
    expected = np.maximum(training, SMALLEST_SHARE)
    observed = (counts + SMOOTHING_ROWS * expected) / (counts.sum() + SMOOTHING_ROWS)
    return float(((observed - expected) * np.log(observed / expected)).sum())


def _bins(counts: Counts, deciles: Counts) -> Shares:
    """Deal the rows counted at each position out to ten bins, as evenly as the nine deciles' positions allow."""
    reached = counts.cumsum()
    at_most = reached[deciles]
    at_least = at_most - counts[deciles]
    return straightest([0, *at_least.tolist(), int(reached[-1])], [0, *at_most.tolist(), int(reached[-1])])


def straightest(low: Sequence[float], high: Sequence[float]) -> Shares:
    """The steps of the straightest path from `low[0]` to `low[-1]` that stays between `low` and `high`.

    A string pulled taut through that tube. Of all paths its steps have the smallest sum of any convex function, and
    so the smallest index.
    """
    steps: list[float] = []
    at, height = 0, float(low[0])
    while at < len(low) - 1:
        turn, slope = _next_turn(at, height, low, high)
        steps += [slope] * (turn - at)
        at, height = turn, height + slope * (turn - at)
    return np.array(steps)


def _next_turn(at: int, height: float, low: Sequence[float], high: Sequence[float]) -> tuple[int, float]:
    """How far the string is straight, and how steep: until the floor would be above the ceiling seen before it."""
    floor, ceiling = (at, -np.inf), (at, np.inf)
    for ahead in range(at + 1, len(low)):
        lowest, highest = (low[ahead] - height) / (ahead - at), (high[ahead] - height) / (ahead - at)
        if lowest > ceiling[1]:
            return ceiling
        if highest < floor[1]:
            return floor
        if highest <= ceiling[1]:
            ceiling = (ahead, highest)
        if lowest >= floor[1]:
            floor = (ahead, lowest)
    return floor  # at the end floor and ceiling are one
