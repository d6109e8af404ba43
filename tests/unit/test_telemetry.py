"""What every registry shows from the start, so that the first time something happens is seen."""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from iris_service.api.problems import STATUSES
from iris_service.api.refusals import REFUSALS
from iris_service.errors import IrisError
from iris_service.schemas import FailureCode
from iris_service.telemetry.answers import FAILED, WorkerMetrics
from iris_service.telemetry.api import REFUSED, ApiMetrics
from iris_service.telemetry.recovery import RecoveryMetrics
from iris_service.telemetry.registry import LATENCY_BUCKETS, Totals, new_registry


def kinds_of(error: type[IrisError]) -> set[type[IrisError]]:
    return {error}.union(*(kinds_of(kind) for kind in error.__subclasses__()))


def test_a_registry_says_which_process_it_is_of_and_what_that_costs() -> None:
    lines = generate_latest(new_registry("worker")).decode().splitlines()
    (info,) = [line for line in lines if line.startswith("iris_build_info{")]
    assert info.startswith('iris_build_info{component="worker",release="')
    assert info.endswith(" 1.0")
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
    assert any(line.startswith("process_cpu_seconds_total ") for line in lines)


def test_no_series_tells_when_another_was_created() -> None:
    registry = new_registry("worker")
    ApiMetrics(registry).accepted.labels("iris", "1").inc()
    WorkerMetrics(registry, model="iris", version="1", digest="d").finished.inc()
    RecoveryMetrics(registry)
    text = generate_latest(registry).decode()
    assert 'iris_jobs_accepted_total{model="iris",version="1"} 1.0' in text
    assert "_created" not in text


NOT_OF_PREDICTIONS = {"NOT_FOUND", "CANCELLED", "ALREADY_ANSWERED", "NOT_LOADED_HERE"}
"""What results, cancelling and the repository of V2 answer."""


def test_every_reason_to_refuse_a_request_is_shown_before_it_is_needed() -> None:
    registry = CollectorRegistry()
    ApiMetrics(registry)
    for code in REFUSED:
        assert registry.get_sample_value("iris_requests_refused_total", {"code": code}) == 0
    known = {error.code for listed in STATUSES for error in kinds_of(listed)} | {refusal.code for refusal in REFUSALS}
    assert set(REFUSED) == known - NOT_OF_PREDICTIONS, "a code that nobody counts, or one that nobody raises"


def test_every_way_a_worker_fails_a_job_is_shown_before_it_is_needed() -> None:
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry, model="iris", version="1", digest="d")
    codes = set(FailureCode.__args__)
    assert set(FAILED) == codes - {"WORKER_LOST", "EXPIRED", "UNREADABLE", "CANCELLED"}
    metrics.failed("TIMEOUT")
    labels = {"model": "iris", "version": "1"}
    found = {code: registry.get_sample_value("iris_jobs_failed_total", {**labels, "code": code}) for code in FAILED}
    assert found == {"BAD_INPUT": 0, "PREDICTION_FAILED": 0, "TIMEOUT": 1}


def test_a_sweep_is_counted_by_what_came_of_it() -> None:
    registry = CollectorRegistry()
    metrics = RecoveryMetrics(registry)
    value = registry.get_sample_value
    assert value("iris_recovery_last_sweep_timestamp_seconds") == 0
    metrics.swept(None, 3, 1.5)
    assert value("iris_recovery_last_sweep_timestamp_seconds") == 0, "it was another's"
    metrics.swept(0.01, 4, 2.5)
    assert [value("iris_ledger_jobs"), value("iris_ledger_oldest_job_age_seconds")] == [4, 2.5]
    assert value("iris_recovery_sweep_seconds_count") == 1
    swept_at = value("iris_recovery_last_sweep_timestamp_seconds")
    metrics.failed()
    assert {r: value("iris_recovery_sweeps_total", {"result": r}) for r in ("done", "left", "failed")} == {
        "done": 1, "left": 1, "failed": 1,
    }  # fmt: skip
    assert math.isnan(value("iris_ledger_jobs") or 0), "what the ledger holds is not known now"
    assert value("iris_recovery_last_sweep_timestamp_seconds") == swept_at


def test_totals_kept_elsewhere_are_a_counter_with_no_series_but_the_last_shown() -> None:
    registry = CollectorRegistry()
    totals = Totals("iris_things", "Things.", ("kind",), registry)
    totals.show({("a",): 3, ("b",): 5})
    totals.show({("b",): 6})
    text = generate_latest(registry).decode()
    assert "# TYPE iris_things_total counter" in text
    assert [line for line in text.splitlines() if line[0] != "#"] == ['iris_things_total{kind="b"} 6.0']
    with pytest.raises(ValueError, match="iris_things"):
        Totals("iris_things", "Again.", (), registry)


def test_buckets_reach_from_one_local_prediction_to_the_longest_wait() -> None:
    assert LATENCY_BUCKETS[0] == 0.0005
    assert LATENCY_BUCKETS[-1] == 30
    assert list(LATENCY_BUCKETS) == sorted(LATENCY_BUCKETS)
