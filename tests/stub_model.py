"""A model for tests of the queue: answers from the row itself, and misbehaves when the row says so."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Sequence

from iris_service.schemas import Feature, Row, Signature

RAISES, KILLS, HANGS, HANGS_IN_C, HANGS_WITH_THE_LOCK, IS_SLOW = 11.0, 12.0, 13.0, 14.0, 15.0, 16.0
"""First value of a row that makes the model do so."""


def answer_of(row: Row) -> tuple[float, ...]:
    """What the stub answers: three numbers that depend on every value of the row."""
    total = sum(row) or 1.0
    return (round(row[0] / total, 7), round(row[1] / total, 7), round((row[2] + row[3]) / total, 7))


class StubModel:
    name = "stub"
    version = "1"
    digest = "sha256:" + "0" * 64
    signature = Signature(
        features=tuple(
            Feature(name, "cm", 0.0, 30.0) for name in ("sepal_length", "sepal_width", "petal_length", "petal_width")
        ),
        classes=("setosa", "versicolor", "virginica"),
    )

    def predict(self, rows: Sequence[Row]) -> list[tuple[float, ...]]:
        for row in rows:
            if row[0] >= RAISES:
                _misbehave(row[0])
        return [answer_of(row) for row in rows]


def _misbehave(how: float) -> None:
    if how == RAISES:
        raise ArithmeticError("this row is cursed")
    if how == KILLS:
        os._exit(9)
    if how == HANGS:
        while True:
            pass
    if how in (HANGS_IN_C, HANGS_WITH_THE_LOCK):  # the alarm would end the sleep, as it ends no real C loop
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    if how == HANGS_IN_C:
        ctypes.CDLL(None).sleep(60)
    if how == HANGS_WITH_THE_LOCK:
        ctypes.PyDLL(None).sleep(60)
    if how == IS_SLOW:
        time.sleep(0.2)
