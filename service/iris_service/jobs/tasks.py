"""The task function's name. RQ resolves it; `jobs.worker` runs it in batches."""

from __future__ import annotations

from typing import Any


def predict(_payload: dict[str, Any]) -> None:
    """Stand for a prediction on the queue.

    Only `iris worker` can answer: it takes these jobs in batches and never calls this function. A stock `rq worker`
    does call it, and the job then fails with this sentence instead of pretending to be done.
    """
    raise RuntimeError("predictions are answered by `iris worker`, not by a stock RQ worker")
