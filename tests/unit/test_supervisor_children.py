"""Which processes run on one machine."""

from __future__ import annotations

from iris_service.config import Settings
from iris_service.supervisor.children import our_children

SECRET = "redis://:a-password@127.0.0.1:6379/0"


def test_recovery_and_workers_start_before_the_api_and_stop_after_it() -> None:
    specs = our_children(Settings(), {}, workers=2)
    assert [(spec.name, spec.rank) for spec in specs] == [("recovery", 1), ("worker-1", 1), ("worker-2", 1), ("api", 2)]


def test_without_workers_jobs_are_accepted_and_wait() -> None:
    assert [spec.name for spec in our_children(Settings(), {}, workers=0)] == ["recovery", "api"]


def test_a_worker_may_finish_the_job_in_hand() -> None:
    settings = Settings.from_env({"IRIS_JOB_TIMEOUT_SECONDS": "60"})
    [worker] = [spec for spec in our_children(settings, {}, workers=1) if spec.name == "worker-1"]
    assert worker.stop_seconds == 62


def test_settings_travel_in_the_environment_and_never_on_the_command_line() -> None:
    for spec in our_children(Settings(), {"IRIS_REDIS_URL": SECRET}, workers=1):
        assert spec.env["IRIS_REDIS_URL"] == SECRET
        assert not any("a-password" in part for part in spec.command)


def test_workers_and_then_recovery_count_up_from_the_metrics_port_and_the_api_needs_none() -> None:
    env = {"IRIS_METRICS_PORT": "9100"}
    ports = {spec.name: spec.env.get("IRIS_METRICS_PORT") for spec in our_children(Settings.from_env(env), env, 2)}
    assert ports == {"worker-1": "9100", "worker-2": "9101", "recovery": "9102", "api": None}


def test_a_metrics_port_from_the_system_is_left_to_the_system() -> None:
    env = {"IRIS_METRICS_PORT": "0"}
    specs = our_children(Settings.from_env(env), env, workers=2)
    assert {spec.env["IRIS_METRICS_PORT"] for spec in specs if spec.name != "api"} == {"0"}


def test_a_draining_api_is_given_the_time_for_it() -> None:
    specs = [our_children(Settings.from_env({"IRIS_DRAIN_SECONDS": text}), {}, workers=0) for text in ("0", "8")]
    assert specs[1][-1].stop_seconds - specs[0][-1].stop_seconds == 8
