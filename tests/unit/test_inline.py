"""Answering in the API process: what is loaded, what goes together into one call of the model, and what is counted."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from cards import card_of
from iris_service.api.inline import loading
from iris_service.api.inline.inline import within
from iris_service.api.inline.loading import held_seconds, load_as_served
from iris_service.api.inline.version import BATCH_ROWS, DRIFT_ROWS, InlineVersion, portions
from iris_service.config import DriftSettings, InlineSettings
from iris_service.errors import ModelRejected
from iris_service.jobs.keys import Target
from iris_service.jobs.tally import Tally
from iris_service.jobs.watch import cards_to_ask_for, merged_cards
from iris_service.model.card import Artifact, Card
from iris_service.model.drift import Drift
from iris_service.model.store import ModelRepository
from iris_service.schemas import Answered, Envelope, Failed, Payload, Row
from iris_service.telemetry.answers import InlineMetrics
from stub_model import RAISES, StubModel, answer_of
from versions import COMMITTED, committed_card, publish

ROW: Row = (5.1, 3.5, 1.4, 0.2)
CURSED: Row = (RAISES, 1.0, 1.0, 1.0)
ONE, TWO, THREE = (Target("iris", number) for number in "123")


DRIFT = {f"iris_drift_{name}" for name in ("rows", "feature_psi", "answer_psi", "answer_share", "training_share")}


def payload(rows: int = 1, row: Row = ROW) -> Payload:
    return Payload((row,) * rows, False, "r" * 32, 1.5)


@pytest.mark.parametrize(
    ("rows", "most", "expected"),
    [
        ([], 4, []),
        ([1], 4, [[1]]),
        ([1, 1, 1, 1], 4, [[1, 1, 1, 1]]),
        ([1, 1, 1, 1, 1], 4, [[1, 1, 1, 1], [1]]),
        ([3, 2, 2], 4, [[3], [2, 2]]),
        ([9], 4, [[9]]),
        ([1, 9, 1], 4, [[1], [9], [1]]),
        ([4, 4], 4, [[4], [4]]),
    ],
)
def test_a_batch_is_cut_into_calls_of_bounded_rows(rows: list[int], most: int, expected: list[list[int]]) -> None:
    cut = [[len(one.rows) for one in part] for part in portions([payload(count) for count in rows], most)]
    assert cut == expected


@pytest.mark.parametrize(
    ("sizes", "limits", "expected"),
    [
        ([], InlineSettings(), []),
        ([10, 10, 10], InlineSettings(versions=3), [ONE, TWO, THREE]),
        ([10, 10, 10], InlineSettings(versions=2), [ONE, TWO]),
        ([10, 10], InlineSettings(artifact_bytes=20), [ONE, TWO]),
        ([10, 11], InlineSettings(artifact_bytes=20), [ONE]),
        ([21, 10], InlineSettings(artifact_bytes=20), [TWO]),
    ],
)
def test_no_more_is_loaded_than_is_allowed(sizes: list[int], limits: InlineSettings, expected: list[Target]) -> None:
    served = {target: card_with(size) for target, size in zip((ONE, TWO, THREE), sizes, strict=False)}
    assert list(within(served, limits)) == expected


def card_with(size: int) -> Card:
    return msgspec.structs.replace(card_of(), artifacts={"onnx": Artifact("model.onnx", size, "sha256:" + "0" * 64)})


@pytest.mark.parametrize(
    ("known", "looks", "expected"),
    [
        (set(), 1, [ONE, TWO]),
        ({ONE}, 1, [TWO]),
        ({ONE}, 2, [ONE, TWO]),
        ({ONE, TWO}, 1, [TWO]),
        ({ONE, TWO}, 2, [ONE]),
        ({ONE, TWO}, 3, [TWO]),
    ],
)
def test_known_cards_are_asked_for_again_one_at_a_time(known: set[Target], looks: int, expected: list[Target]) -> None:
    assert cards_to_ask_for((ONE, TWO), known, looks) == expected


def test_a_card_that_has_not_changed_stays_the_same_object_and_one_that_is_missing_stays() -> None:
    old, same, new = b"card 1", bytes(bytearray(b"card 1")), b"card 2"
    assert merged_cards({ONE: old}, {ONE: same})[ONE] is old
    assert merged_cards({ONE: old}, {ONE: new, TWO: None}) == {ONE: new}
    assert merged_cards({ONE: old}, {ONE: None}) == {ONE: old}


# --- loading ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> ModelRepository:
    """The API's own repository, with the version that is published."""
    publish(tmp_path, "onnx", ModelRepository(COMMITTED).artifact_bytes(committed_card(), "onnx"))
    return ModelRepository(tmp_path)


def test_what_workers_serve_is_loaded_and_answers_as_they_do(own: ModelRepository) -> None:
    model = load_as_served(own, committed_card().served_as("onnx"), BATCH_ROWS)
    gold = committed_card().golden[0]
    assert model.predict([gold.row])[0] == pytest.approx(gold.probabilities, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": "9"}, "9"),
        ({"artifacts": {"onnx": Artifact("model.onnx", 1, "sha256:" + "0" * 64)}}, "another card or artifact"),
        ({"libraries": {"onnx": "0"}}, "another card or artifact"),
    ],
)
def test_what_is_not_what_workers_serve_is_not_loaded(own: ModelRepository, change: dict[str, Any], why: str) -> None:
    published = msgspec.structs.replace(committed_card().served_as("onnx"), **change)
    with pytest.raises(ModelRejected, match=why):
        load_as_served(own, published, BATCH_ROWS)


def test_bytes_of_another_digest_are_not_loaded(own: ModelRepository, tmp_path: Path) -> None:
    file = next(tmp_path.rglob("model.onnx"))
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelRejected, match="digest"):
        load_as_served(own, own.card("iris", "1"), BATCH_ROWS)


def test_a_version_whose_golden_rows_come_out_otherwise_is_not_loaded(tmp_path: Path) -> None:
    wrong = tuple(msgspec.structs.replace(gold, probabilities=(0.0, 0.5, 0.5)) for gold in committed_card().golden)
    publish(tmp_path, "onnx", ModelRepository(COMMITTED).artifact_bytes(committed_card(), "onnx"), golden=wrong)
    repository = ModelRepository(tmp_path)
    with pytest.raises(ModelRejected, match="unlike its card"):
        load_as_served(repository, repository.card("iris", "1"), BATCH_ROWS)


def test_a_version_that_would_hold_up_everybody_is_not_loaded(
    own: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "MOST_HOLD_SECONDS", 0.0)
    with pytest.raises(ModelRejected, match=r"256 rows take [0-9.]+ ms"):
        load_as_served(own, own.card("iris", "1"), BATCH_ROWS)


def test_it_is_timed_with_as_many_rows_as_it_may_get() -> None:
    asked: list[int] = []
    assert held_seconds(lambda rows: asked.append(len(rows)), [ROW, CURSED], 5) >= 0
    assert asked == [5, 5, 5]


# --- answering -------------------------------------------------------------------------------------------------------


class Recorder(StubModel):
    """Remembers how many rows each call had."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def predict(self, rows: Sequence[Row]) -> list[tuple[float, ...]]:
        self.calls.append(len(rows))
        return super().predict(rows)


class Rig:
    """A version over the stub, and what it has counted."""

    def __init__(self) -> None:
        self.model = Recorder()
        self.registry = CollectorRegistry()
        self.counted: list[Envelope] = []
        drift = Drift(card_of(), DriftSettings(minimum_rows=100))
        self.metrics = InlineMetrics(self.registry)
        self.version = InlineVersion(self.model, drift, self.metrics, self._count)  # type: ignore[arg-type]

    def _count(self, target: Target, envelopes: Sequence[Envelope]) -> None:
        assert target == ("stub", "1")
        self.counted += envelopes

    def ask(self, *payloads: Payload) -> list[Envelope]:
        async def story() -> list[Envelope]:
            return await asyncio.gather(*map(self.version.answer, payloads))

        return asyncio.run(story())

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"model": "stub", "version": "1", **labels})


def test_requests_that_arrive_together_are_one_call_of_the_model() -> None:
    rig = Rig()
    answers = rig.ask(*[payload(row=(5.0 + number / 100, 3.5, 1.4, 0.2)) for number in range(50)])
    assert rig.model.calls == [50]
    for number, answer in enumerate(answers):
        assert isinstance(answer, Answered)
        assert answer.rows == (answer_of((5.0 + number / 100, 3.5, 1.4, 0.2)),), "to each its own"
        assert (answer.model, answer.version, answer.digest) == ("stub", "1", StubModel.digest)
    assert rig.counted == answers
    assert rig.metric("iris_jobs_finished_total") == 50
    assert (rig.metric("iris_batch_jobs_count"), rig.metric("iris_batch_jobs_sum")) == (1, 50)
    assert rig.metric("iris_job_task_seconds_count") == 50


def test_between_calls_of_bounded_rows_the_event_loop_has_its_turn() -> None:
    rig = Rig()

    async def story() -> int:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        beside = asyncio.create_task(others())
        await asyncio.gather(*(rig.version.answer(payload(64)) for _ in range(12)))
        beside.cancel()
        return turns

    assert asyncio.run(story()) >= 2
    assert rig.model.calls == [256, 256, 256]


def test_a_row_that_the_model_fails_on_fails_alone() -> None:
    rig = Rig()
    good, bad, also_good = rig.ask(payload(), payload(row=CURSED), payload())
    assert isinstance(good, Answered)
    assert isinstance(also_good, Answered)
    assert isinstance(bad, Failed)
    assert (bad.code, bad.error) == ("PREDICTION_FAILED", "the model raised ArithmeticError")
    assert rig.metric("iris_jobs_finished_total") == 2
    assert rig.metric("iris_jobs_failed_total", code="PREDICTION_FAILED") == 1


def test_a_failure_that_never_was_is_there_to_be_seen_increasing() -> None:
    assert Rig().metric("iris_jobs_failed_total", code="PREDICTION_FAILED") == 0


def test_what_was_answered_is_compared_with_the_training_data_at_the_latest_when_it_is_much() -> None:
    rig = Rig()
    rig.ask(payload(DRIFT_ROWS - 1), payload(row=CURSED))
    assert rig.version.drift.figures().rows == 0
    rig.version.observe_drift()
    assert rig.version.drift.figures().rows == DRIFT_ROWS - 1, "and not what failed"
    rig.ask(payload(DRIFT_ROWS))
    assert rig.version.drift.figures().rows == 2 * DRIFT_ROWS - 1


def test_an_api_shows_its_answers_in_the_families_that_the_page_of_metrics_says() -> None:
    rig = Rig()
    rig.metrics.show_drift(lambda: [(("stub", "1"), rig.version.drift.figures())])
    page = (COMMITTED.parent / "docs" / "metrics.md").read_text()
    about_inline = page.partition("With `IRIS_SYNC=inline`")[2].partition("\n")[0]
    shown = {metric.name for metric in rig.registry.collect()}
    assert {name for name in shown if name.removesuffix("_total") not in about_inline} - DRIFT == set()
    assert "`iris_drift_…`" in about_inline


# --- counting --------------------------------------------------------------------------------------------------------


class Pipeline:
    """Takes increments and is told whether to fail."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked: list[tuple[str, str, int]] = []

    def hincrby(self, key: str, field: str, amount: int) -> None:
        self._asked.append((key, field, amount))

    async def execute(self) -> None:
        self._client.flushes += 1
        if self._client.is_away:
            raise ConnectionError("away")
        for key, field, amount in self._asked:
            self._client.fields[key, field] = self._client.fields.get((key, field), 0) + amount


class Client:
    def __init__(self) -> None:
        self.is_away, self.flushes = False, 0
        self.fields: dict[tuple[str, str], int] = {}

    def pipeline(self, *, transaction: bool) -> Pipeline:
        assert transaction, "all of it, or nothing"
        return Pipeline(self)


def answered(seconds: float) -> Answered:
    return Answered("iris", "1", "sha256:0", 1.5, 0.0, seconds, ((1.0, 0.0, 0.0),))


FAILED = Failed("iris", "1", 1, "PREDICTION_FAILED", "no", 1.5)


def test_outcomes_and_times_are_counted_apart_from_those_of_jobs() -> None:
    client = Client()
    tally = Tally(client)  # type: ignore[arg-type]

    async def story() -> None:
        await tally.flush()
        assert client.flushes == 0, "nothing to tell, nobody asked"
        tally.add(ONE, [answered(0.001), answered(0.001), FAILED])
        tally.add(ONE, [answered(0.005), answered(0.0051), answered(99.0)])
        tally.add(TWO, [FAILED])
        await tally.flush()

    asyncio.run(story())
    assert client.flushes == 1
    one, two = "iris:counts:iris@1", "iris:counts:iris@2"
    assert client.fields == {
        (one, "inline_done"): 5, (one, "inline_error"): 1, (one, "inline_latency:0"): 2,
        (one, "inline_latency:2"): 1, (one, "inline_latency:3"): 1, (one, "inline_latency:15"): 1,
        (two, "inline_error"): 1,
    }  # fmt: skip


def test_what_cannot_be_counted_now_is_counted_later_and_once() -> None:
    client = Client()
    tally = Tally(client)  # type: ignore[arg-type]

    async def story() -> None:
        client.is_away = True
        tally.add(ONE, [FAILED])
        await tally.flush()
        tally.add(ONE, [FAILED])
        client.is_away = False
        await tally.flush()
        await tally.flush()

    asyncio.run(story())
    assert client.fields == {("iris:counts:iris@1", "inline_error"): 2}


# --- without the libraries -------------------------------------------------------------------------------------------

WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None  # what an import finds where it is not installed
from iris_service.api.__main__ import run, serve
sys.exit(run(serve))
"""


@pytest.mark.parametrize("missing", ["onnxruntime", "numpy"])
def test_without_the_libraries_the_api_refuses_to_start_inline_and_says_what_is_missing(missing: str) -> None:
    env = {"IRIS_SYNC": "inline", "IRIS_PORT": "0", "IRIS_MODELS": str(COMMITTED)}
    command = [sys.executable, "-c", WITHOUT, missing]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 78
    assert ended.stderr.splitlines() == [
        f"IRIS_SYNC=inline needs {missing}, which is not here: install iris-serving with the extra inline"
    ]
