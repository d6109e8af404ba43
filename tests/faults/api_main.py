"""An API process for the fault tests that dies as soon as its jobs are committed, before any caller hears of it."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Sequence

from faults.caller import TARGET
from iris_service.config import Settings
from iris_service.jobs.job_queue import JobQueue
from iris_service.schemas import Payload


class DyingJobQueue(JobQueue):
    async def _flush_submissions(self, queue: str, items: Sequence[tuple[str, bytes]]) -> Sequence[int]:
        await super()._flush_submissions(queue, items)
        os.kill(os.getpid(), signal.SIGKILL)
        return []


async def main(jobs: int) -> None:
    settings = Settings.from_env()
    queue = DyingJobQueue(settings.redis, settings.jobs, TARGET)
    payload = Payload(rows=((1.0, 2.0, 3.0, 4.0),), many=False, request_id="fault", accepted_at=time.time())
    await asyncio.gather(*(queue.submit(payload) for _ in range(jobs)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, required=True)
    asyncio.run(main(parser.parse_args().jobs))
