"""Callers that keep account, for rollouts under load: every job that was accepted must be answered."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from typing import Any

import redis

from cluster.misbehaving_worker import CALLERS_ROW
from iris_service.config import JobSettings, RedisSettings
from iris_service.errors import TryLater
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import Target, result_key
from iris_service.schemas import Answered, Payload, envelope_from_json

QUERY = "sepal_length=5.1&sepal_width=3.5&petal_length=1.4&petal_width=0.2"


class Load:
    """Submits jobs of some models through the API's own `JobQueue`, which follows the operator's routes."""

    def __init__(self, redis_url: str, models: list[str], per_second: float) -> None:
        self.accepted: dict[str, list[str]] = {model: [] for model in models}
        self.refused = 0
        self._redis_url = redis_url
        self._pause = 1 / per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    async def _run(self) -> None:
        await asyncio.gather(*(self._submit(model) for model in self.accepted))

    async def _submit(self, model: str) -> None:
        queue = JobQueue(RedisSettings(url=self._redis_url), JobSettings(), Target(model, "1"))
        await queue.start()
        try:
            while not self._stop.is_set():
                payload = Payload(rows=(CALLERS_ROW,), many=False, request_id="r" * 32, accepted_at=time.time())
                try:
                    self.accepted[model].append(await queue.submit(payload, queue.pick()))
                except TryLater:  # says that it was not accepted, or not for sure
                    self.refused += 1
                await asyncio.sleep(self._pause)
        finally:
            await queue.close()

    def verdict(self, client: redis.Redis, seconds: float = 20) -> dict[str, Counter[str]]:
        """How the jobs of each model ended, by version and outcome; `unanswered` after waiting so long."""
        ends = time.monotonic() + seconds
        while True:
            found = {model: _outcomes(client, job_ids) for model, job_ids in self.accepted.items()}
            if time.monotonic() > ends or not any(outcomes["unanswered"] for outcomes in found.values()):
                return found
            time.sleep(0.2)


def _outcomes(client: redis.Redis, job_ids: list[str]) -> Counter[str]:
    texts = client.mget([result_key(job_id) for job_id in job_ids]) if job_ids else []
    outcomes: Counter[str] = Counter()
    for text in texts:  # type: ignore[union-attr]
        envelope = envelope_from_json(text) if text else None
        if envelope is None:
            outcomes["unanswered"] += 1
        elif isinstance(envelope, Answered):
            outcomes[f"answered by {envelope.version}"] += 1
        else:
            outcomes[f"{envelope.code} from {envelope.version}"] += 1
    return outcomes


class Callers:
    """Submits through HTTP as people do, and asks for every result."""

    def __init__(self, url: str, per_second: float) -> None:
        self.url = f"{url}/iris/api/v1.0"
        self.accepted: list[str] = []
        self.refused: Counter[int] = Counter()
        self._pause = 1 / per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Callers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            status, body = get(f"{self.url}/getpred?{QUERY}")
            if status == 200:
                self.accepted.append(body["job_id"])
            else:
                self.refused[status] += 1

    def verdict(self) -> Counter[str]:
        """How each accepted job ended: its class, or the HTTP status of its result."""
        outcomes: Counter[str] = Counter()
        for job_id in self.accepted:
            status, body = get(f"{self.url}/result/{job_id}?wait=10")
            outcomes[body["result"][0]["class"] if status == 200 else str(status)] += 1
        return outcomes


def get(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        return exc.code, {}
