"""What each alert is for, as series and the time they are looked at: once in trouble, once nearly so.

Series are promtool's: `0+6x10` is 0, 6, 12 ... one a minute. `namespace="a"` stands for an installation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Input = Mapping[str, str]

_REQUESTS = 'iris_http_requests_total{namespace="a",route="/iris/api/v1.0/getpred",status="%s"}'
_SENT_AWAY = 'iris_requests_refused_total{namespace="a",code="%s"}'
_PROBES = 'iris_http_requests_total{namespace="a",route="/readyz",status="503"}'
_JOBS = 'iris_queue_jobs_total{namespace="a",model="iris",version="1",outcome="%s",instance="%s"}'
_WAITING = 'iris_queue_waiting_jobs{namespace="a",model="iris",version="1"}'
_RUNNING = 'iris_queue_running_jobs{namespace="a",model="iris",version="1"}'
_LIMIT = 'iris_queue_limit_jobs{namespace="a"}'
_LEDGER = 'iris_ledger_oldest_job_age_seconds{namespace="a"}'
_UP = 'iris_redis_up{namespace="a",instance="%s"}'
_SWEPT = 'iris_recovery_last_sweep_timestamp_seconds{namespace="a"}'
_PART = 'iris_build_info{namespace="a",component="%s",release="1",instance="%s"}'
_SAYS = 'iris_operator_condition{namespace="a",model="iris",type="%s",status="%s",reason="%s"}'
_ROUND = 'iris_operator_last_success_timestamp_seconds{namespace="a"}'
_LISTED = 'iris_operator_last_listing_timestamp_seconds{namespace="a"}'
_MEMORY = 'iris_redis_memory_%s{namespace="a"}'
_PSI = 'iris_drift_%s_psi{namespace="a",model="iris",version="1",feature="%s",instance="%s"}'
_ANSWERS = 'iris_drift_answer_psi{namespace="a",model="iris",version="1"}'
_ONE = {"namespace": "a"}
_MODEL = {"namespace": "a", "model": "iris"}
_VERSION = {"namespace": "a", "model": "iris", "version": "1"}


@dataclass(frozen=True)
class Case:
    """One alert at one moment. `summary` is the sentence somebody reads when it fires; empty: it must be silent."""

    alert: str
    what: str
    series: Input
    minutes: int
    labels: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""
    description: str = ""
    """Only where it holds a figure."""


CASES = (
    Case(
        "IrisApiDown", "recovery goes on alone",
        {_PART % ("recovery", "r"): "1x10", _PART % ("api", "p"): "1 1 1 1 _x10"}, 12,
        _ONE, "No API process can be scraped",
    ),
    Case(
        "IrisApiDown", "everything is gone at once",
        {_PART % ("recovery", "r"): "1 1 1 1 _x10", _PART % ("api", "p"): "1 1 1 1 _x10"}, 12,
        _ONE, "No API process can be scraped",
    ),
    Case("IrisApiDown", "it was uninstalled the day before", {_PART % ("api", "p"): "1 1 _x1500"}, 1450),
    Case(
        "IrisApiDown", "one of two API processes is gone",
        {_PART % ("recovery", "r"): "1x20", _PART % ("api", "p"): "1 1 1 1 _x10", _PART % ("api", "q"): "1x20"}, 12,
    ),
    Case(
        "IrisApiErrors", "one request in ten fails",
        {_REQUESTS % "200": "0+90x30", _REQUESTS % "503": "0+10x30"}, 20, _ONE,
        "10% of the requests are answered by 5xx",
    ),
    Case(
        "IrisApiErrors", "one in fifty fails, and probes say that it is not ready",
        {_REQUESTS % "200": "0+98x30", _REQUESTS % "503": "0+2x30", _PROBES: "0+60x30"}, 20,
    ),
    Case(
        "IrisApiErrors", "one connection in ten is sent away",
        {_REQUESTS % "200": "0+90x30", _SENT_AWAY % "TOO_MANY_CONNECTIONS": "0+10x30"}, 20, _ONE,
        "10% of the requests are answered by 5xx",
    ),
    Case(
        "IrisApiErrors", "callers send what is no request, or too much of it",
        {_REQUESTS % "200": "0+90x30", _SENT_AWAY % "BAD_REQUEST": "0+90x30", _SENT_AWAY % "QUEUE_FULL": "0+90x30"}, 20,
    ),
    Case("IrisApiErrors", "nobody asks anything", {_REQUESTS % "200": "7x30", _REQUESTS % "503": "1x30"}, 20),
    Case(
        "IrisNoWorkerAnswers", "jobs wait and nothing is answered",
        {_WAITING: "0 3+1x20", _RUNNING: "0x20", _JOBS % ("done", "p"): "50x20"}, 12, _VERSION,
        "Nobody answers the jobs of iris 1", "14 jobs wait, none is in hand, and none was answered in two minutes.",
    ),
    Case(
        "IrisNoWorkerAnswers", "one long job is in hand",
        {_WAITING: "3x20", _RUNNING: "1x20", _JOBS % ("done", "p"): "50x20"}, 12,
    ),
    Case(
        "IrisNoWorkerAnswers", "they are answered so fast that none is ever seen in hand",
        {_WAITING: "3x20", _RUNNING: "0x20", _JOBS % ("done", "p"): "0+60x20"}, 12,
    ),
    Case("IrisNoWorkerAnswers", "nothing waits at night", {_WAITING: "0x20", _RUNNING: "0x20"}, 12),
    Case(
        "IrisQueueNearLimit", "nine tenths are full", {_WAITING: "90x10", _LIMIT: "100x10"}, 6, _VERSION,
        "The queue of iris 1 is 90% full",
    ),
    Case("IrisQueueNearLimit", "half is full", {_WAITING: "50x10", _LIMIT: "100x10"}, 6),
    Case("IrisQueueNearLimit", "it was full for a minute", {_WAITING: "90 90 10x10", _LIMIT: "100x20"}, 6),
    Case(
        "IrisOldestJobTooOld", "a job waits for ten minutes", {_LEDGER: "0+60x10"}, 10, _ONE,
        "A job has waited for its answer for 10m 0s",
    ),
    Case("IrisOldestJobTooOld", "none waits for more than four", {_LEDGER: "240x10"}, 10),
    Case(
        "IrisJobsFailing", "one job in ten ends with an error; two API processes tell the same",
        {
            _JOBS % (outcome, instance): f"0+{jobs}x40"
            for instance in "pq"
            for outcome, jobs in (("done", 90), ("error", 6), ("expired", 4))
        }, 30, _VERSION, "10% of the jobs of iris 1 fail",
    ),
    Case(
        "IrisJobsFailing", "one in fifty does",
        {_JOBS % ("done", "p"): "0+98x40", _JOBS % ("error", "p"): "0+2x40", _JOBS % ("expired", "p"): "0x40"}, 30,
    ),
    Case(
        "IrisJobsQuarantined", "a job could not be read", {_JOBS % ("quarantined", "p"): "0 0 1x10"}, 5, _VERSION,
        "Jobs of iris 1 could not be read and were set aside",
    ),
    Case("IrisJobsQuarantined", "that was long ago", {_JOBS % ("quarantined", "p"): "1x60"}, 50),
    Case(
        "IrisRedisUnreachable", "one API process cannot use it", {_UP % "p": "1x10", _UP % "q": "1 0x10"}, 5, _ONE,
        "An API process cannot use Redis",
    ),
    Case("IrisRedisUnreachable", "it was away for a moment", {_UP % "p": "1 0 1x10"}, 5),
    Case(
        "IrisRedisMemoryHigh", "it uses 95 of the 100 bytes that the API lets it have",
        {_MEMORY % "used_bytes": "95x20", _MEMORY % "max_bytes": "125x20", _MEMORY % "limit_ratio": "0.8x20"}, 10,
        _ONE, "Redis uses 95% of the memory the API lets it have",
    ),
    Case(
        "IrisRedisMemoryHigh", "it uses half of it",
        {_MEMORY % "used_bytes": "50x20", _MEMORY % "max_bytes": "125x20", _MEMORY % "limit_ratio": "0.8x20"}, 10,
    ),
    Case(
        "IrisRedisMemoryHigh", "it has no limit",
        {_MEMORY % "used_bytes": "95x20", _MEMORY % "max_bytes": "0x20", _MEMORY % "limit_ratio": "0.8x20"}, 10,
    ),
    Case(
        "IrisRedisNotDurable", "its disk is full",
        {'iris_redis_persisting{namespace="a"}': "1 0x10", 'iris_redis_may_evict{namespace="a"}': "0x10"}, 5, _ONE,
        "Redis may lose accepted jobs",
    ),
    Case(
        "IrisRedisNotDurable", "it may evict",
        {'iris_redis_persisting{namespace="a"}': "1x10", 'iris_redis_may_evict{namespace="a"}': "1x10"}, 5, _ONE,
        "Redis may lose accepted jobs",
    ),
    Case(
        "IrisRedisNotDurable", "all is well",
        {'iris_redis_persisting{namespace="a"}': "1x10", 'iris_redis_may_evict{namespace="a"}': "0x10"}, 5,
    ),
    Case(
        "IrisRecoveryDown", "it was never there", {_UP % "p": "1x10"}, 5, _ONE, "Recovery does not sweep",
    ),
    Case(
        "IrisRecoveryDown", "it is stuck", {_UP % "p": "1x20", _SWEPT: "0 60 120x20"}, 10, _ONE,
        "Recovery does not sweep",
    ),
    Case("IrisRecoveryDown", "it sweeps", {_UP % "p": "1x20", _SWEPT: "0+60x20"}, 10),
    Case("IrisRecoveryDown", "it cannot, for Redis is away", {_UP % "p": "0x20", _SWEPT: "0 60 120x20"}, 10),
    Case(
        "IrisModelNotReady", "its workers do not come",
        {
            _SAYS % ("Ready", "False", "WaitingForWorkers"): "1x30",
            _SAYS % ("Reconciling", "False", "Stable"): "1x30",
            _SAYS % ("Stalled", "False", "Working"): "1x30",
        }, 20, _MODEL, "IrisModel iris is not ready",
    ),
    Case(
        "IrisModelNotReady", "a rollout is under way",
        {
            _SAYS % ("Ready", "False", "Stepping"): "1x30",
            _SAYS % ("Reconciling", "True", "Stepping"): "1x30",
        }, 20,
    ),
    Case("IrisModelNotReady", "it is ready", {_SAYS % ("Ready", "True", "Ready"): "1x30"}, 20),
    Case(
        "IrisRolloutFailed", "a version was given up", {_SAYS % ("Stalled", "True", "RolledBack"): "1x10"}, 5,
        {**_MODEL, "reason": "RolledBack"}, "IrisModel iris does not get the version it asks for: RolledBack",
    ),
    Case("IrisRolloutFailed", "all is well", {_SAYS % ("Stalled", "False", "Working"): "1x10"}, 5),
    Case(
        "IrisRolloutStuck", "it goes on and on, for one reason and another",
        {
            _SAYS % ("Reconciling", "True", "Stepping"): "1x30",
            _SAYS % ("Reconciling", "True", "Inconclusive"): "_x30 1x60",
        }, 80, _MODEL, "The rollout of iris has been under way for an hour",
    ),
    Case("IrisRolloutStuck", "it takes half an hour", {_SAYS % ("Reconciling", "True", "Stepping"): "1x30"}, 80),
    Case(
        "IrisScaledToMaximum", "more are wanted than may be",
        {_SAYS % ("ScalingActive", "True", "AtMaximum"): "1x30"}, 20, _MODEL,
        "iris wants more workers than its maxReplicas",
    ),
    Case(
        "IrisScaledToMaximum", "a burst passes",
        {
            _SAYS % ("ScalingActive", "True", "AtMaximum"): "1x10",
            _SAYS % ("ScalingActive", "True", "Steady"): "_x11 1x20",
        }, 20,
    ),
    Case(
        "IrisOperatorStale", "it is gone since ten minutes", {_ROUND: "0+60x10 _x30", _LISTED: "0+60x10 _x30"}, 20,
        _ONE, "The operator has seen nothing for 10m 0s",
    ),
    Case(
        "IrisOperatorStale", "its rounds go on, but the API server does not list",
        {_ROUND: "0+60x30", _LISTED: "0 60x30"}, 20, _ONE, "The operator has seen nothing for 19m 0s",
    ),
    Case("IrisOperatorStale", "it goes round", {_ROUND: "0+60x30", _LISTED: "0+60x30"}, 20),
    Case("IrisOperatorStale", "there never was one", {_UP % "p": "1x30"}, 20),
    Case(
        "IrisReconcileFailing", "two looks fail again and again", {'iris_operator_failing{namespace="a"}': "2x30"}, 20,
        _ONE, "The operator fails to look after 2 IrisModels",
    ),
    Case(
        "IrisFeatureDrift", "two workers are asked for other flowers",
        {
            _PSI % ("feature", "petal_width", "p"): "0.4x30",
            _PSI % ("feature", "petal_width", "q"): "0.2x30",
            _PSI % ("feature", "sepal_width", "p"): "0.02x30",
        }, 20, {**_VERSION, "feature": "petal_width"}, "petal_width is not what iris 1 was trained on",
        "Its population stability index is 0.30; up to 0.1 is the same population.",
    ),
    Case("IrisFeatureDrift", "one of two has a noisy sample", {
        _PSI % ("feature", "petal_width", "p"): "0.3x30", _PSI % ("feature", "petal_width", "q"): "0.1x30",
    }, 20),
    Case(
        "IrisAnswerDrift", "everybody has virginicas", {_ANSWERS: "0.5x30"}, 20, _VERSION,
        "iris 1 answers other classes than it was trained on",
        "Their population stability index is 0.50; up to 0.1 is the same population.",
    ),
    Case("IrisAnswerDrift", "there are too few rows for an index", {_ANSWERS: "_x30"}, 20),
    Case("IrisReconcileFailing", "one failed once", {'iris_operator_failing{namespace="a"}': "0 1 0x30"}, 20),
)  # fmt: skip
