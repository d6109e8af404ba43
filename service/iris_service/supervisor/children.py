"""The processes of one machine as a list: what runs, with which environment, and how long it may take to stop. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from iris_service.config import Settings
from iris_service.supervisor.child import ChildSpec

API_GRACE_SECONDS = 2.0
"""On top of what it gives its callers."""
RECOVERY_STOP_SECONDS = 10.0
WORKER_GRACE_SECONDS = 2.0
"""On top of the time limit of the job in hand."""


def our_children(settings: Settings, env: Mapping[str, str], workers: int) -> list[ChildSpec]:
    """Recovery, the workers and the API, in the order of their start; `env` holds their settings."""
    job_seconds = settings.jobs.timeout_seconds
    return [
        ChildSpec("recovery", 1, _iris("recovery"), _env_with_port(settings, env, workers + 1), RECOVERY_STOP_SECONDS),
        *(
            ChildSpec(
                name=f"worker-{number}",
                rank=1,
                command=_iris("worker"),
                env=_env_with_port(settings, env, number),
                stop_seconds=job_seconds + WORKER_GRACE_SECONDS,
                says_ready=True,
            )
            for number in range(1, workers + 1)
        ),
        ChildSpec("api", 2, _iris("api"), _api_env(env), _api_stop_seconds(settings), says_ready=True),
    ]


def _api_stop_seconds(settings: Settings) -> float:
    return settings.api.drain_seconds + settings.api.stop_seconds + API_GRACE_SECONDS


def _iris(command: str) -> tuple[str, ...]:
    # -P: a file named like a library in the folder where `iris up` was typed is not that library
    return (sys.executable, "-P", "-m", "iris_service.cli", command)


def _env_with_port(settings: Settings, env: Mapping[str, str], number: int) -> Mapping[str, str]:
    """Several processes cannot share one metrics port: they count up from it, the workers first, then recovery."""
    if port := settings.metrics.port:
        return {**env, "IRIS_METRICS_PORT": str(port + number - 1)}
    return env


def _api_env(env: Mapping[str, str]) -> Mapping[str, str]:
    """The API of one machine keeps /metrics among its pages: whoever may call it may see them."""
    return {name: value for name, value in env.items() if name != "IRIS_METRICS_PORT"}
