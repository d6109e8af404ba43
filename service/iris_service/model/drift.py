"""How far what a worker is asked, and answers, has moved from its card's training data, over a sliding window.

Keeps counts, never rows, in blocks that leave the window whole. Knows nothing of jobs or metrics.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from iris_service.config import DriftSettings
from iris_service.model.card import Card
from iris_service.model.stability import Counts, Deciles, count_classes, psi
from iris_service.schemas import Row
from iris_service.telemetry.drift import DriftFigures

BLOCKS = 20
"""The window moves by a twentieth of its rows or of its time: 41 blocks at the most, of 700 bytes for four features."""


@dataclass
class _Block:
    began_at: float
    rows: int
    features: Counts
    classes: Counts


class Drift:
    """Counts the rows that a worker has answered and compares those in its window with the card. Begins empty."""

    def __init__(self, card: Card, settings: DriftSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._features = card.signature.feature_names
        self._classes = card.signature.classes
        self._deciles = Deciles(card.training.features)
        self._class_shares = np.array(card.training.class_shares)
        self._blocks: deque[_Block] = deque()
        self._lock = threading.Lock()  # the worker counts, a thread that serves metrics reads

    def observe(self, rows: Sequence[Row], answers: Sequence[tuple[float, ...]]) -> None:
        """Count rows, at least one, and the probabilities that the model answered for each."""
        features, classes = self._deciles.count(rows), count_classes(answers, len(self._classes))
        with self._lock:
            now = self._clock()
            block = self._open_block(now)
            block.rows += len(rows)
            block.features += features
            block.classes += classes
            self._forget(now)

    def figures(self) -> DriftFigures:
        """The window at this moment; with fewer rows than asked for, only their number."""
        with self._lock:
            self._forget(self._clock())
            rows = self._rows()
            features = sum((block.features for block in self._blocks), start=self._deciles.nothing())
            classes = sum((block.classes for block in self._blocks), start=np.zeros(len(self._classes), np.int64))
        training = self._by_class(self._class_shares)
        if rows < self._settings.minimum_rows:
            return DriftFigures(rows, training)
        return DriftFigures(
            rows=rows,
            training_shares=training,
            feature_psi=dict(zip(self._features, self._deciles.psi(features), strict=True)),
            answer_psi=psi(classes, self._class_shares),
            answer_shares=self._by_class(classes / rows),
        )

    def _by_class(self, shares: Counts | np.ndarray) -> dict[str, float]:
        return dict(zip(self._classes, shares.tolist(), strict=True))

    def _open_block(self, now: float) -> _Block:
        newest = self._blocks[-1] if self._blocks else None
        if newest is None or self._is_full(newest, now):
            newest = _Block(now, 0, self._deciles.nothing(), np.zeros(len(self._classes), np.int64))
            self._blocks.append(newest)
        return newest

    def _is_full(self, block: _Block, now: float) -> bool:
        settings = self._settings
        return block.rows >= settings.window_rows / BLOCKS or now - block.began_at >= settings.window_seconds / BLOCKS

    def _forget(self, now: float) -> None:
        """Drop what is too old or too much. One block stays however large: it is what was asked last."""
        while self._blocks and now - self._blocks[0].began_at > self._settings.window_seconds:
            self._blocks.popleft()
        while len(self._blocks) > 1 and self._rows() > self._settings.window_rows:
            self._blocks.popleft()

    def _rows(self) -> int:
        return sum(block.rows for block in self._blocks)
