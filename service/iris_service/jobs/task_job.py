"""A job as our processes read it from Redis: whoever can write a hash cannot make us run code or call anybody."""

from __future__ import annotations

from typing import Any, ClassVar

from rq.job import Job

from iris_service.jobs.keys import TASK

_FORGEABLE = (b"success_callback_name", b"failure_callback_name", b"stopped_callback_name", b"webhooks")


class ForbiddenTask(Exception):
    """The job names a function this worker was not told to run."""


class FixedTaskJob(Job):
    """A job that can only run known functions, whatever somebody wrote into its hash."""

    allowed_tasks: ClassVar[frozenset[str]] = frozenset({TASK})

    def restore(self, raw_data: dict[bytes, bytes]) -> Any:
        """Read the hash but for what would make us call somebody: callbacks and webhooks."""
        return super().restore({name: value for name, value in raw_data.items() if name not in _FORGEABLE})

    @property
    def func(self) -> Any:
        if self.func_name not in self.allowed_tasks or self.instance is not None:
            raise ForbiddenTask(f"{str(self.func_name)[:100]} is not a task of this worker")
        return super().func
