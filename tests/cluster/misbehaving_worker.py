"""`iris worker` around a model that misbehaves as its first argument says; all but the model is the product's own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from iris_service.config import Settings
from iris_service.model import runtime
from iris_service.worker import __main__ as worker

CALLERS_ROW = (5.15, 3.5, 1.4, 0.2)
"""What `load.Load` sends, finer than the golden rows are: versions here do well when they are proven, and badly as soon
as this row is in a batch, whatever else is."""


class Misbehaving:
    """A loaded model, but for what it does with a caller's rows."""

    def __init__(self, model: Any, how: str) -> None:
        self._model = model
        self._how = how

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def predict(self, rows: Sequence[Any]) -> Any:
        answers = self._model.predict(rows)
        if self._how == "wrong-answers":
            return [tuple(reversed(chances)) for chances in answers]
        if CALLERS_ROW in map(tuple, rows):
            if self._how == "failing":
                raise ArithmeticError("this version fails")
            if self._how == "slow":
                time.sleep(1.5)
            if self._how == "crash-on-jobs":
                os._exit(9)
        return answers


def main() -> int:
    how = sys.argv[1]
    if how == "crash":
        return 1
    if how == "never-ready":
        time.sleep(3600)
    load = runtime.load_model
    runtime.load_model = lambda settings: Misbehaving(load(settings), how)  # type: ignore[assignment, return-value]
    return worker.serve(Settings.from_env())


if __name__ == "__main__":
    sys.exit(main())
