"""The operator's settings, and its pauses."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from iris_operator.config import Settings
from iris_operator.errors import InvalidSpec
from iris_operator.loop import LONGEST_PAUSE_SECONDS, pause_seconds
from iris_operator.manifests import Pods


def test_without_an_environment_the_defaults_hold() -> None:
    assert Settings.from_env({}) == Settings()


def test_every_variable_is_read() -> None:
    env = {
        "IRIS_NAMESPACE": "flowers", "IRIS_REDIS_URL": "redis://r:1/0", "IRIS_WORKER_IMAGE": "w:2",
        "IRIS_REDIS_SECRET": "s", "IRIS_WORKER_SERVICE_ACCOUNT": "a", "IRIS_WORKER_PRIORITY_CLASS": "p",
        "IRIS_MODELS_CLAIM": "c", "IRIS_IMAGE_PULL_SECRETS": "x,y", "IRIS_IMAGE_PULL_POLICY": "Always",
        "IRIS_HEALTH_PORT": "1", "IRIS_METRICS_PORT": "2", "IRIS_LOG_LEVEL": "DEBUG", "IRIS_TICK_SECONDS": "0.5",
        "IRIS_REDIS_CA_FILE": "/ca.crt", "IRIS_REDIS_CA_SECRET": "ca",
        "IRIS_WORKER_RESOURCES": '{"limits": {"memory": "1Gi"}}',
        "IRIS_WORKER_PLACEMENT": '{"nodeSelector": {"a": "b"}}',
    }  # fmt: skip
    limits, places = {"limits": {"memory": "1Gi"}}, {"nodeSelector": {"a": "b"}}
    pods = Pods("w:2", "s", "a", "p", "c", ("x", "y"), "Always", "ca", limits, places)
    assert Settings.from_env(env) == Settings("flowers", "redis://r:1/0", "/ca.crt", pods, 1, 2, "DEBUG", 0.5)


def test_what_is_meant_for_workers_is_passed_on_but_for_credentials() -> None:
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=hidden",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "api-key=hidden", "IRIS_DRIFT_MIN_ROWS": "200", "IRIS_LOG_LEVEL": "INFO",
        "IRIS_RESULT_TTL_SECONDS": "60", "IRIS_JOB_ATTEMPTS": "2", "IRIS_JOB_DEADLINE_SECONDS": "90",
    }  # fmt: skip
    assert Settings.from_env(env).pods.passed_on == (
        ("IRIS_DRIFT_MIN_ROWS", "200"),
        ("IRIS_JOB_ATTEMPTS", "2"),
        ("IRIS_JOB_DEADLINE_SECONDS", "90"),
        ("IRIS_RESULT_TTL_SECONDS", "60"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IRIS_HEALTH_PORT", "no"),
        ("IRIS_METRICS_PORT", "70000"),
        ("IRIS_TICK_SECONDS", "0"),
        ("IRIS_LOG_LEVEL", "LOUD"),
        ("IRIS_REDIS_URL", "http://:hunter2@redis"),
        ("IRIS_REDIS_URL", "redis://:hun/ter2@redis:6379"),
        ("IRIS_WORKER_RESOURCES", "{"),
        ("IRIS_WORKER_RESOURCES", "[]"),
        ("IRIS_WORKER_RESOURCES", '{"limit": {}}'),
        ("IRIS_WORKER_PLACEMENT", '{"containers": []}'),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_and_its_password_is_not(name: str, value: str) -> None:
    with pytest.raises(InvalidSpec, match=name) as refusal:
        Settings.from_env({name: value})
    assert "hun" not in str(refusal.value)


def test_pauses_double_up_to_a_limit_and_jitter_shortens_them() -> None:
    assert [pause_seconds(failures, 0.0) for failures in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert pause_seconds(1000, 0.0) == LONGEST_PAUSE_SECONDS
    assert pause_seconds(3, 1.0) == 2.0


def test_a_metrics_port_that_is_taken_is_named_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        environment = {"PATH": "/usr/bin:/bin", "IRIS_METRICS_PORT": str(taken.getsockname()[1])}
        command = [sys.executable, "-m", "iris_operator"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 78
    [line] = ended.stderr.splitlines()
    assert line.startswith("iris-operator: IRIS_METRICS_PORT: cannot listen on")


def test_without_a_cluster_the_operator_says_so_in_one_line_and_is_not_worth_restarting(tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "KUBECONFIG": str(tmp_path / "none"), "IRIS_METRICS_PORT": "0"}
    ended = subprocess.run(
        [sys.executable, "-m", "iris_operator"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 78
    assert [line[:40] for line in ended.stderr.splitlines()] == ["iris-operator: no cluster is configured:"]
