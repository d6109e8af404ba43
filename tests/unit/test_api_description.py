"""The description of the model: what the card says, what was seen of the route and the queues, and no round trip."""

from __future__ import annotations

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from api_client import api_client
from cards import card_of
from iris_service.api.description import describe
from iris_service.errors import ModelRejected
from iris_service.jobs.keys import Target
from iris_service.jobs.pressure import QueueReading
from iris_service.jobs.route import Route
from iris_service.jobs.watch import Observation
from memory_queue import MemoryQueue

MODEL = "/iris/api/v1.0/model"
ONE, TWO = Target("iris", "1"), Target("iris", "2")
DIGEST = "sha256:" + "0" * 64


def test_the_model_is_described_from_its_card_and_the_last_look() -> None:
    queue = MemoryQueue()
    with api_client(queue) as client:
        answer = client.get(MODEL)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    described = answer.json()
    assert described["features"][2] == {
        "name": "petal_length", "unit": "cm", "minimum": 0.0, "maximum": 30.0,
        "training": {"minimum": 0.0, "maximum": 1.0, "mean": 0.5},
    }  # fmt: skip
    assert [feature["name"] for feature in described.pop("features")] == [
        "sepal_length", "sepal_width", "petal_length", "petal_width",
    ]  # fmt: skip
    assert described == {
        "model": "iris",
        "classes": ["setosa", "versicolor", "virginica"],
        "examples": [{"row": [1.0, 1.0, 1.0, 1.0], "probabilities": [1.0, 0.0, 0.0], "note": ""}],
        "versions": [
            {
                "version": "1", "weight": 100, "artifacts": {"onnx": DIGEST},
                "waiting": 0, "running": 0, "answered_per_second": 0.0,
            },
        ],
        "redis_up": True,
    }  # fmt: skip


def test_it_is_there_while_redis_is_not() -> None:
    queue = MemoryQueue()
    queue.trouble = AssertionError("asked Redis")  # type: ignore[assignment]
    with api_client(queue) as client:
        assert client.get(MODEL).status_code == 200


def test_without_a_card_there_is_nothing_to_describe() -> None:
    with api_client(MemoryQueue(), ModelRejected("no such card")) as client:
        answer = client.get(MODEL)
    assert (answer.status_code, answer.json()["code"]) == (503, "MODEL_NOT_READY")
    assert int(answer.headers["retry-after"]) >= 1


def test_an_open_page_does_not_fill_the_log() -> None:
    with api_client(MemoryQueue()) as client, capture_logs() as lines:
        client.get(MODEL)
    assert [line["log_level"] for line in lines if line.get("route") == MODEL] == ["debug"]


@pytest.mark.parametrize(
    ("shares", "cards", "expected"),
    [
        (((ONE, 90), (TWO, 10)), {ONE, TWO}, [("1", 90, {"onnx": DIGEST}), ("2", 10, {"onnx": DIGEST})]),
        (((ONE, 10), (TWO, 90)), {ONE, TWO}, [("2", 90, {"onnx": DIGEST}), ("1", 10, {"onnx": DIGEST})]),
        (((ONE, 90), (TWO, 10)), {TWO}, [("1", 90, {}), ("2", 10, {"onnx": DIGEST})]),
    ],
)
def test_the_heaviest_version_comes_first_also_while_its_card_is_missing(
    shares: tuple[tuple[Target, int], ...], cards: set[Target], expected: list[tuple[str, int, dict[str, str]]]
) -> None:
    seen = Observation({"iris": Route(shares)}, redis_up=False)
    described = describe("iris", seen, {target: card_of(version=target.version) for target in cards})
    assert [(version.version, version.weight, version.artifacts) for version in described.versions] == expected
    assert not described.redis_up


def test_every_version_tells_how_full_its_queue_is() -> None:
    busy = QueueReading(5, 2, answered_per_second=999.0, lately_per_second=123.456)
    readings = {ONE: busy, TWO: QueueReading(0, 1, answered_per_second=999.0)}
    seen = Observation({"iris": Route(((ONE, 90), (TWO, 10)))}, redis_up=True, queues=readings)
    one, two = describe("iris", seen, {ONE: card_of()}).versions
    assert (one.waiting, one.running, one.answered_per_second) == (5, 2, 123.46)
    assert (two.waiting, two.running, two.answered_per_second) == (0, 1, 0.0)
    away, _ = describe("iris", replace(seen, redis_up=False), {ONE: card_of()}).versions
    assert away.answered_per_second == 0.0, "nobody knows, and the last busy figure would look like work"
